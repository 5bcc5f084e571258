import { describe, expect, test } from 'vitest';
import { FileData, newCounters } from '../../client/file-data.ts';
import type { PlacedExtent } from '../../client/layout-cache.ts';
import { Lease } from '../../client/lease.ts';
import { clientLimits } from '../../client/limits.ts';
import { extentState } from '../../fs/engine/leases.ts';
import { MemoryEngine } from './memory-engine.ts';
import { pattern } from './rig.ts';

const block = 4096;

/** A file whose device is memory full of 0xee, with a lease that the test can end. */
function fileOn(engine: MemoryEngine, size: number) {
  const clock = { now: 0 };
  const lease = new Lease(() => clock.now);
  lease.begin(1000, 0);
  const counters = newCounters();
  const data = new FileData(lease, counters, size);
  data.sizeIs(size);
  const lay = (state: number, from: number, blocks: number, storage: number): PlacedExtent => ({
    state,
    offset: from * block,
    length: blocks * block,
    place: state === extentState.none ? undefined : { engine, storageOffset: storage * block },
  });
  return { data, lay, clock, counters };
}

const read = (data: FileData, position: number, length: number): Buffer => {
  const target = Buffer.alloc(length, 0x11);
  return target.subarray(0, data.read(target, position));
};

describe('reading under a layout', () => {
  test('takes each piece from where it lies, and holes are zeros', () => {
    const engine = new MemoryEngine(16 * block);
    engine.bytes.set(pattern(2 * block, 1), 4 * block);
    const { data, lay } = fileOn(engine, 3 * block);
    data.cache.insert([lay(extentState.read, 0, 1, 4), lay(extentState.none, 1, 1, 0), lay(extentState.read, 2, 1, 5)]);
    const expected = Buffer.concat([
      pattern(2 * block, 1).subarray(0, block),
      Buffer.alloc(block),
      pattern(2 * block, 1).subarray(block),
    ]);
    expect(read(data, 0, 3 * block).equals(expected)).toBe(true);
    expect(read(data, 4000, 5000).equals(expected.subarray(4000, 9000))).toBe(true);
  });

  test('ends at the end of the file, though the block goes on', () => {
    const engine = new MemoryEngine(block);
    const { data, lay } = fileOn(engine, 100);
    data.cache.insert([lay(extentState.read, 0, 1, 0)]);
    expect(read(data, 90, 50)).toHaveLength(10);
    expect(read(data, 100, 50)).toHaveLength(0);
  });

  test('ends at a gap in what is held', () => {
    const { data, lay } = fileOn(new MemoryEngine(4 * block), 3 * block);
    data.cache.insert([lay(extentState.read, 0, 1, 0), lay(extentState.read, 2, 1, 1)]);
    expect(read(data, block - 10, 100)).toHaveLength(10);
    expect(read(data, block, 100)).toHaveLength(0);
  });

  test('does nothing while the size may have shrunk unseen', () => {
    const { data, lay } = fileOn(new MemoryEngine(block), block);
    data.cache.insert([lay(extentState.read, 0, 1, 0)]);
    data.doubtSize();
    expect(read(data, 0, 10)).toHaveLength(0);
  });

  test('does not start when the lease could have ended', () => {
    const engine = new MemoryEngine(block);
    const { data, lay, clock } = fileOn(engine, block);
    data.cache.insert([lay(extentState.readWrite, 0, 1, 0)]);
    clock.now = 900;
    expect(read(data, 0, 10)).toHaveLength(0);
    expect(data.write(Buffer.alloc(10), 0)).toBe(0);
    expect([engine.reads, engine.writes]).toEqual([0, 0]);
  });
});

describe('writing into INVALID_DATA (RFC 5663 §2.3.5)', () => {
  test('fills the rest of the block with zeros, once', () => {
    const engine = new MemoryEngine(4 * block);
    const { data, lay } = fileOn(engine, 0);
    data.cache.insert([lay(extentState.invalid, 0, 2, 1)]);
    expect(data.write(Buffer.from('abc'), 100)).toBe(3);
    const expected = Buffer.alloc(block);
    expected.write('abc', 100);
    expect(Buffer.compare(engine.bytes.subarray(block, 2 * block), expected)).toBe(0);
    expect(engine.bytes[2 * block], 'the next block is not touched').toBe(0xee);
    expect(engine.bytes[block - 1], 'nor the one before').toBe(0xee);

    data.write(Buffer.from('xyz'), 200);
    expected.write('xyz', 200);
    expect(Buffer.compare(engine.bytes.subarray(block, 2 * block), expected)).toBe(0);
  });

  test('what was written is read back under the same layout, before any commit', () => {
    const { data, lay } = fileOn(new MemoryEngine(4 * block), 0);
    data.cache.insert([lay(extentState.invalid, 0, 4, 0)]);
    const content = pattern(2 * block, 3);
    data.write(content, 1000);
    expect(read(data, 1000, content.length).equals(content)).toBe(true);
    expect(read(data, 0, 1000).every((byte) => byte === 0)).toBe(true);
  });

  test('blocks not yet written read as zeros, never as what the device holds', () => {
    const { data, lay } = fileOn(new MemoryEngine(4 * block), 2 * block);
    data.cache.insert([lay(extentState.invalid, 0, 2, 0)]);
    expect(read(data, 0, 2 * block).every((byte) => byte === 0)).toBe(true);
  });

  test('over READ_DATA the rest of the block is the old data, and the new place is read from then on', () => {
    const engine = new MemoryEngine(8 * block);
    const old = pattern(2 * block, 4);
    engine.bytes.set(old, 4 * block);
    const { data, lay } = fileOn(engine, 2 * block);
    data.cache.insert([lay(extentState.read, 0, 2, 4), lay(extentState.invalid, 0, 2, 0)]);
    expect(read(data, 0, 2 * block).equals(old), 'before the write: the old data').toBe(true);

    const written = Buffer.from('new bytes across the border of two blocks');
    data.write(written, block - 20);
    const merged = Buffer.from(old);
    written.copy(merged, block - 20);
    expect(Buffer.compare(engine.bytes.subarray(0, 2 * block), merged)).toBe(0);
    expect(Buffer.compare(engine.bytes.subarray(4 * block, 6 * block), old), 'the source stays').toBe(0);
    engine.bytes.fill(0, 4 * block);
    expect(read(data, 0, 2 * block).equals(merged)).toBe(true);
  });

  test('whole blocks are written once and nothing is filled', () => {
    const engine = new MemoryEngine(8 * block);
    const { data, lay } = fileOn(engine, 0);
    data.cache.insert([lay(extentState.invalid, 0, 8, 0)]);
    data.write(pattern(4 * block, 5), block);
    expect(engine.writes).toBe(1);
  });
});

describe('what waits for its commit', () => {
  test('whole blocks, in order, with the last byte written', () => {
    const { data, lay } = fileOn(new MemoryEngine(16 * block), 0);
    data.cache.insert([lay(extentState.invalid, 0, 16, 0)]);
    data.write(Buffer.alloc(10), 8 * block + 5);
    data.write(Buffer.alloc(10), 100);
    data.write(Buffer.alloc(block), block);
    expect(data.size).toBe(8 * block + 15);
    const taken = data.takeUncommitted();
    expect(taken).toMatchObject({
      ranges: [
        { offset: 0, length: 2 * block },
        { offset: 8 * block, length: block },
      ],
      lastWriteOffset: 8 * block + 14,
    });
    const places = taken?.written.map(({ offset, length, place }) => [offset, length, place.storageOffset]);
    expect(places).toEqual([
      [0, 2 * block, 0],
      [8 * block, block, 8 * block],
    ]);
    expect(data.takeUncommitted()).toBeUndefined();
  });

  test('in place it is rounded to huge pages, so that random writes make few ranges, but never beyond what holds data', () => {
    const blocks = 1024;
    const { data, lay } = fileOn(new MemoryEngine(blocks * block), blocks * block);
    data.cache.insert([
      lay(extentState.readWrite, 0, blocks - 8, 0),
      lay(extentState.invalid, blocks - 8, 8, blocks - 8),
    ]);
    for (let at = 0; at < blocks - 8; at += 3) data.write(Buffer.alloc(1), at * block);
    expect(data.takeUncommitted()?.ranges).toEqual([{ offset: 0, length: (blocks - 8) * block }]);
    data.write(Buffer.alloc(1), 10 * block);
    const { ranges, lastWriteOffset } = data.takeUncommitted() ?? {};
    expect({ ranges, lastWriteOffset }).toEqual({
      ranges: [{ offset: 0, length: 2 ** 21 }],
      lastWriteOffset: 10 * block,
    });
  });

  test('where it lies is known still when its layout is being given back, and after a commit that failed', () => {
    const { data, lay } = fileOn(new MemoryEngine(16 * block), 0);
    data.cache.insert([lay(extentState.invalid, 0, 16, 0)]);
    data.write(Buffer.alloc(block), 0);
    data.write(Buffer.alloc(block), 4 * block);
    data.leave({ offset: 0, length: 2 * block });
    expect(data.cache.covered(0, block, true)).toBe(0);
    for (let rounds = 0; rounds < 2; rounds++) {
      const taken = data.takeUncommitted();
      expect(taken?.written.map(({ offset, place }) => [offset, place.storageOffset])).toEqual([
        [0, 0],
        [4 * block, 4 * block],
      ]);
      if (taken !== undefined) data.putBack(taken);
      data.leave({ offset: 0, length: Infinity });
    }
  });

  test('the last byte counts from what is uncommitted: an earlier end of file must not come back', () => {
    const { data, lay } = fileOn(new MemoryEngine(16 * block), 0);
    data.cache.insert([lay(extentState.invalid, 0, 16, 0)]);
    data.write(Buffer.alloc(10), 8 * block);
    data.takeUncommitted();
    data.write(Buffer.alloc(10), 0);
    expect(data.takeUncommitted()?.lastWriteOffset).toBe(9);
  });

  test('a commit that did not get through can be tried again with what came since', () => {
    const { data, lay } = fileOn(new MemoryEngine(16 * block), 0);
    data.cache.insert([lay(extentState.invalid, 0, 16, 0)]);
    data.write(Buffer.alloc(10), 4 * block);
    const failed = data.takeUncommitted();
    data.write(Buffer.alloc(10), 0);
    if (failed !== undefined) data.putBack(failed);
    expect(data.takeUncommitted()).toMatchObject({ lastWriteOffset: 4 * block + 9, ranges: { length: 2 } });
  });

  test('separate ranges are bounded: then writing waits for a commit', () => {
    const blocks = 2 * clientLimits.dirtyRangesMax + 2;
    const { data, lay } = fileOn(new MemoryEngine(blocks * block), 0);
    data.cache.insert([lay(extentState.invalid, 0, blocks, 0)]);
    for (let at = 0; at < clientLimits.dirtyRangesMax; at++)
      expect(data.write(Buffer.alloc(1), 2 * at * block)).toBe(1);
    expect(data.write(Buffer.alloc(1), (blocks - 1) * block)).toBe(0);
    data.takeUncommitted();
    expect(data.write(Buffer.alloc(1), (blocks - 1) * block)).toBe(1);
  });

  test('the size the server tells counts, but never less than what is written here', () => {
    const { data, lay } = fileOn(new MemoryEngine(16 * block), 0);
    data.cache.insert([lay(extentState.invalid, 0, 16, 0)]);
    data.write(Buffer.alloc(10), 100);
    data.sizeIs(50);
    expect(data.size).toBe(110);
    data.takeUncommitted();
    data.sizeIs(50);
    expect(data.size).toBe(50);
  });
});

test('one call copies no more than a slice, so that the loop and the lease get their turn', () => {
  const { data, lay, counters } = fileOn(
    new MemoryEngine(clientLimits.directSlice + block),
    clientLimits.directSlice + block,
  );
  data.cache.insert([lay(extentState.readWrite, 0, clientLimits.directSlice / block + 1, 0)]);
  expect(data.read(Buffer.alloc(clientLimits.directSlice + block), 0)).toBe(clientLimits.directSlice);
  expect(data.write(Buffer.alloc(clientLimits.directSlice + block), 0)).toBe(clientLimits.directSlice);
  expect(counters).toMatchObject({
    directBytesRead: clientLimits.directSlice,
    directBytesWritten: clientLimits.directSlice,
  });
});

test('a write is all within what may be written, or stops before it', () => {
  const engine = new MemoryEngine(4 * block);
  const { data, lay } = fileOn(engine, 4 * block);
  data.cache.insert([lay(extentState.readWrite, 0, 1, 0), lay(extentState.read, 1, 1, 1)]);
  expect(data.write(Buffer.alloc(2 * block, 7), 0)).toBe(block);
  expect(engine.bytes[block]).toBe(0xee);
});
