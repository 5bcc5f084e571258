import { fc, test } from '@fast-check/vitest';
import { describe, expect } from 'vitest';
import { ByteWindow, openWindow, type Words, WordWindow } from '../../fs/bar/window.ts';

/** Device words that note each access; nothing but an index or the shape of the array may be asked of them. */
function watched<W>(words: Words<W>): { words: Words<W>; reads: number[]; writes: number[] } {
  const reads: number[] = [];
  const writes: number[] = [];
  const proxy = new Proxy(words, {
    get(target, key) {
      const index = Number(key);
      if (Number.isInteger(index)) reads.push(index);
      else expect(['length', 'BYTES_PER_ELEMENT']).toContain(key);
      return Reflect.get(target, key);
    },
    set(target, key, value) {
      writes.push(Number(key));
      return Reflect.set(target, key, value);
    },
  });
  return { words: proxy, reads, writes };
}

function watchedWindow(size: number) {
  const bytes = new Uint8Array(size);
  const device = watched<number>(new Uint32Array(bytes.buffer));
  return { bytes, device, window: new WordWindow(bytes, device.words, (memory) => new Uint32Array(memory)) };
}

describe('a device that takes only whole words', () => {
  test('gets each word of an aligned write once, and is not read', () => {
    const { window, device, bytes } = watchedWindow(64);
    window.write(8, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8));
    expect(device).toMatchObject({ reads: [], writes: [2, 3] });
    expect([...bytes.subarray(7, 17)]).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 0]);
  });

  test('gives the edge words of an unaligned write before it takes them back', () => {
    const { window, device, bytes } = watchedWindow(64);
    bytes.fill(9);
    window.write(6, Uint8Array.of(1, 2, 3, 4, 5, 6, 7));
    expect(device).toMatchObject({ reads: [1, 3], writes: [1, 2, 3] });
    expect([...bytes.subarray(5, 14)]).toEqual([9, 1, 2, 3, 4, 5, 6, 7, 9]);
  });

  test('keeps both ends of a word that is written in its middle', () => {
    const { window, device, bytes } = watchedWindow(64);
    bytes.fill(9);
    window.zero(5, 2);
    expect(device.writes).toEqual([1]);
    expect([...bytes.subarray(4, 8)]).toEqual([9, 0, 0, 9]);
  });

  test('is read in whole words that cover the range, and no others', () => {
    const { window, device } = watchedWindow(64);
    window.read(7, new Uint8Array(6));
    expect(device).toMatchObject({ reads: [1, 2, 3], writes: [] });
  });

  test('is touched within its bounds only', () => {
    const { window, device } = watchedWindow(8192);
    window.read(0, new Uint8Array(8192));
    window.zero(1, 8190);
    window.copyTo(1, 4001, window, 4100);
    expect(Math.max(...device.reads, ...device.writes)).toBe(2047);
    expect(Math.min(...device.reads, ...device.writes)).toBe(0);
  });
});

const size = 10_000;
const range = fc.nat(size).chain((at) => fc.record({ at: fc.constant(at), length: fc.nat(size - at) }));

test.prop([range, fc.constantFrom<(4 | 8)[]>(4, 8)])('words and bytes hold the same', ({ at, length }, width) => {
  const bytes = Uint8Array.from({ length: size }, (_, i) => (i * 7 + (i >> 8)) & 0xff);
  const plain = new ByteWindow(bytes.slice());
  const words = openWindow(bytes.slice().buffer, width);
  const source = Uint8Array.from({ length }, (_, i) => i & 0xff);
  const targets = [plain, words].map((window) => {
    const target = new Uint8Array(length);
    window.read(at, target);
    window.write(at, source);
    window.zero(at + Math.floor(length / 3), Math.floor(length / 3));
    return target;
  });
  expect(targets[0]).toEqual(targets[1]);
  expect(words.bytes).toEqual(plain.bytes);
});
