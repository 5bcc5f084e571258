import { describe, expect, test } from 'vitest';
import { exactWindow, readWindow, writeWindow } from '../../client/windows.ts';

const MiB = 2 ** 20;

describe('what is leased for reading', () => {
  test('a small file as a whole, in blocks', () => {
    expect(readWindow({ offset: 5000, length: 10 }, 3 * MiB + 1)).toEqual({ offset: 0, length: 3 * MiB + 4096 });
  });
  test('a large file in windows of 64 MiB', () => {
    expect(readWindow({ offset: 70 * MiB, length: 4096 }, 1000 * MiB)).toEqual({ offset: 64 * MiB, length: 64 * MiB });
    expect(readWindow({ offset: 63 * MiB, length: 2 * MiB }, 1000 * MiB)).toEqual({ offset: 0, length: 128 * MiB });
  });
});

describe('what is leased for writing', () => {
  test('the huge pages that are touched', () => {
    expect(writeWindow({ offset: 5 * MiB, length: 10 }, undefined)).toEqual({ offset: 4 * MiB, length: 2 * MiB });
    expect(writeWindow({ offset: 1 * MiB, length: 2 * MiB }, undefined)).toEqual({ offset: 0, length: 4 * MiB });
  });
  test('in sequence twice as much each time, up to 64 MiB', () => {
    let last: { offset: number; length: number } | undefined;
    const asked: number[] = [];
    for (let at = 0; at < 512 * MiB; at = last.offset + last.length) {
      last = writeWindow({ offset: at, length: 4096 }, last);
      expect(last.offset).toBe(at);
      asked.push(last.length / MiB);
    }
    expect(asked.slice(0, 8)).toEqual([2, 4, 8, 16, 32, 64, 64, 64]);
  });
  test('elsewhere it begins anew', () => {
    expect(writeWindow({ offset: 100 * MiB, length: 1 }, { offset: 0, length: 64 * MiB })).toEqual({
      offset: 100 * MiB,
      length: 2 * MiB,
    });
  });
});

test('where others work, only the blocks themselves', () => {
  expect(exactWindow({ offset: 4097, length: 4096 })).toEqual({ offset: 4096, length: 8192 });
});
