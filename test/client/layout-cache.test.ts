import { fc, test } from '@fast-check/vitest';
import { describe, expect, test as plain } from 'vitest';
import { isWritable, LayoutCache, type PlacedExtent } from '../../client/layout-cache.ts';
import { extentState } from '../../fs/engine/leases.ts';
import { MemoryEngine } from './memory-engine.ts';

const engine = new MemoryEngine(0);
const block = 4096;

function extent(state: number, from: number, blocks: number, storage = 0): PlacedExtent {
  const place = state === extentState.none ? undefined : { engine, storageOffset: storage * block };
  return { state, offset: from * block, length: blocks * block, place };
}

/** Two blocks for writing, two for reading. */
function filled(): LayoutCache {
  const cache = new LayoutCache();
  cache.insert([extent(extentState.readWrite, 0, 2, 100), extent(extentState.read, 2, 2, 300)]);
  return cache;
}

describe('a cache of layout segments', () => {
  plain('finds the segment of a byte, first and last included', () => {
    const cache = new LayoutCache();
    cache.insert([extent(extentState.read, 2, 3, 100)]);
    expect(cache.find(2 * block - 1)).toBeUndefined();
    expect(cache.find(2 * block)).toMatchObject({ kind: 'data', writable: false, offset: 2 * block });
    expect(cache.find(5 * block - 1)).toBeDefined();
    expect(cache.find(5 * block)).toBeUndefined();
  });

  plain('joins what goes on in the file and on the device, and nothing else', () => {
    const cache = new LayoutCache();
    cache.insert([extent(extentState.read, 0, 2, 100), extent(extentState.read, 2, 2, 102)]);
    expect(cache.size).toBe(1);
    cache.insert([extent(extentState.read, 4, 2, 200), extent(extentState.readWrite, 6, 1, 202)]);
    expect(cache.size).toBe(3);
  });

  plain('READ covers reading, RW covers both', () => {
    const cache = new LayoutCache();
    cache.insert([extent(extentState.readWrite, 0, 2, 100), extent(extentState.read, 2, 2, 300)]);
    expect(cache.covered(0, 4 * block, false)).toBe(4 * block);
    expect(cache.covered(0, 4 * block, true)).toBe(2 * block);
    expect(cache.covered(3 * block, 2 * block, false)).toBe(block);
    expect(cache.covered(4 * block, block, false)).toBe(0);
  });

  plain('a layout for reading does not replace one for writing: what we write is newer', () => {
    const cache = new LayoutCache();
    cache.insert([extent(extentState.invalid, 1, 2, 100)]);
    cache.insert([extent(extentState.none, 0, 4)]);
    expect(cache.find(block)).toMatchObject({ kind: 'blank' });
    expect(cache.find(0)).toMatchObject({ kind: 'hole' });
    expect(cache.find(3 * block)).toMatchObject({ kind: 'hole', length: block });
  });

  plain('a second grant of what was filled here, and is not committed, does not make it blank again', () => {
    const cache = new LayoutCache();
    cache.insert([extent(extentState.invalid, 1, 2, 101)]);
    cache.markWritten({ offset: block, length: block });
    cache.insert([extent(extentState.invalid, 0, 4, 100)]);
    expect([0, 1, 2, 3].map((at) => cache.find(at * block)?.kind)).toEqual(['blank', 'data', 'blank', 'blank']);
  });

  plain('a layout for writing replaces one for reading', () => {
    const cache = new LayoutCache();
    cache.insert([extent(extentState.none, 0, 4)]);
    cache.insert([extent(extentState.invalid, 1, 2, 100)]);
    expect(cache.covered(0, 4 * block, true)).toBe(0);
    expect(cache.covered(block, 2 * block, true)).toBe(2 * block);
    expect(cache.covered(0, 4 * block, false)).toBe(4 * block);
  });

  plain('READ_DATA below INVALID_DATA is what the blank blocks held before (RFC 5663 §2.3)', () => {
    const cache = new LayoutCache();
    cache.insert([
      extent(extentState.read, 0, 1, 500),
      extent(extentState.invalid, 0, 4, 100),
      extent(extentState.read, 2, 1, 700),
    ]);
    const kinds = [0, 1, 2, 3].map((at) => {
      const segment = cache.find(at * block);
      return segment?.kind === 'blank' ? segment.old?.storageOffset : 'none';
    });
    expect(kinds).toEqual([500 * block, undefined, 700 * block, undefined]);
    expect(cache.covered(0, 4 * block, true)).toBe(4 * block);
  });

  plain('a block that was filled reads and writes in place', () => {
    const cache = new LayoutCache();
    cache.insert([extent(extentState.invalid, 0, 4, 100)]);
    cache.markWritten({ offset: block, length: 2 * block });
    expect([0, 1, 2, 3].map((at) => cache.find(at * block)?.kind)).toEqual(['blank', 'data', 'data', 'blank']);
    expect(cache.find(block)).toMatchObject({ writable: true, place: { storageOffset: 101 * block } });
    cache.markWritten({ offset: 0, length: 4 * block });
    expect(cache.size).toBe(1);
  });

  plain('a recall for writing leaves what is for reading, and the other way round', () => {
    const everything = { offset: 0, length: Infinity };
    const readers = filled();
    readers.remove(everything, 'writable');
    expect([readers.find(0), readers.find(2 * block)?.kind]).toEqual([undefined, 'data']);
    const writers = filled();
    writers.remove(everything, 'readable');
    expect([writers.find(0)?.kind, writers.find(2 * block)]).toEqual(['data', undefined]);
  });
});

const size = 24;
const at = fc.record({ from: fc.nat(size - 1), blocks: fc.integer({ min: 1, max: 8 }) });
const step = fc.oneof(
  fc.record({
    do: fc.constant('insert' as const),
    at,
    state: fc.constantFrom(extentState.readWrite, extentState.read, extentState.invalid, extentState.none),
    storage: fc.nat(1000),
  }),
  fc.record({ do: fc.constant('remove' as const), at, which: fc.constantFrom('all', 'writable', 'readable') }),
  fc.record({ do: fc.constant('written' as const), at }),
);

test.prop([fc.array(step, { maxLength: 40 })])('is, block by block, what an array of blocks would be', (steps) => {
  const cache = new LayoutCache();
  const model = new Map<number, { kind: string; writable: boolean; storage: number | undefined }>();
  for (const one of steps) {
    const blocks = Array.from({ length: one.at.blocks }, (_, index) => one.at.from + index);
    const range = { offset: one.at.from * block, length: one.at.blocks * block };
    if (one.do === 'insert') {
      cache.insert([extent(one.state, one.at.from, one.at.blocks, one.storage)]);
      const writable = one.state === extentState.readWrite || one.state === extentState.invalid;
      const kind = one.state === extentState.none ? 'hole' : one.state === extentState.invalid ? 'blank' : 'data';
      for (const [index, number] of blocks.entries()) {
        const held = model.get(number);
        if (held !== undefined && (held.writable || !writable)) continue;
        const storage = kind === 'hole' ? undefined : (one.storage + index) * block;
        model.set(number, { kind, writable, storage });
      }
    } else if (one.do === 'remove') {
      cache.remove(range, one.which);
      for (const number of blocks) {
        const held = model.get(number);
        if (held !== undefined && (one.which === 'all' || held.writable === (one.which === 'writable'))) {
          model.delete(number);
        }
      }
    } else {
      cache.markWritten(range);
      for (const number of blocks) {
        const held = model.get(number);
        if (held?.kind === 'blank') model.set(number, { ...held, kind: 'data' });
      }
    }
    for (let number = 0; number < size + 8; number++) {
      const found = cache.find(number * block + 7);
      const seen =
        found === undefined
          ? undefined
          : {
              kind: found.kind,
              writable: isWritable(found),
              storage: found.kind === 'hole' ? undefined : found.place.storageOffset + number * block - found.offset,
            };
      expect(seen, `block ${number}`).toEqual(model.get(number));
    }
  }
});
