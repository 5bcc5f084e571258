/** Reads and writes by an engine whose transfers take their time. */
import { describe, expect, test } from 'vitest';
import { FileData, newCounters } from '../../client/file-data.ts';
import type { PlacedExtent } from '../../client/layout-cache.ts';
import { Lease } from '../../client/lease.ts';
import { everything } from '../../client/ranges.ts';
import { extentState } from '../../fs/engine/leases.ts';
import { FsError } from '../../fs/errors.ts';
import { MemoryEngine } from './memory-engine.ts';
import { patternOf as pattern } from './pattern.ts';
import { SlowEngine } from './slow-engine.ts';

const block = 4096;

function fileOn(engine: SlowEngine<MemoryEngine>, size: number) {
  const clock = { now: 0 };
  const lease = new Lease(() => clock.now);
  lease.begin(1000, 0);
  const data = new FileData(lease, newCounters(), size);
  data.sizeIs(size);
  const lay = (state: number, from: number, blocks: number, storage: number): PlacedExtent => ({
    state,
    offset: from * block,
    length: blocks * block,
    place: { engine, storageOffset: storage * block },
  });
  return { data, lay, clock };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('by an asynchronous engine', () => {
  test('the way without promises moves nothing', () => {
    const { data, lay } = fileOn(new SlowEngine(new MemoryEngine(8 * block)), 8 * block);
    data.cache.insert([lay(extentState.readWrite, 0, 4, 0), lay(extentState.invalid, 4, 4, 4)]);
    expect(data.read(Buffer.alloc(block), 0)).toBe(0);
    expect(data.write(Buffer.alloc(block), 0)).toBe(0);
    expect(data.write(Buffer.alloc(block), 4 * block)).toBe(0);
    expect(data.dirtyRanges).toBe(0);
  });

  test('a read takes each piece from where it lies, in transfers of its size, so many at once', async () => {
    const engine = new SlowEngine(new MemoryEngine(16 * block), { transferMax: 2 * block, transfersMax: 3 });
    const content = pattern(16 * block, 1);
    engine.memory.bytes.set(content);
    const { data, lay } = fileOn(engine, 14 * block);
    data.cache.insert([
      lay(extentState.read, 0, 6, 8),
      { state: extentState.none, offset: 6 * block, length: block, place: undefined },
      lay(extentState.read, 7, 7, 0),
    ]);
    engine.hold = true;
    const target = Buffer.alloc(13 * block);
    const reading = data.transfers.read(target, 10);
    expect(engine.pending.map(({ length }) => length)).toEqual([2 * block, 2 * block, 2 * block - 10]);
    expect(data.transfers.busy).toBe(true);
    engine.hold = false;
    for (const { go } of engine.pending) go();
    expect(await reading).toEqual({ bytes: 13 * block, failure: undefined });
    const whole = Buffer.concat([
      content.subarray(8 * block, 14 * block),
      Buffer.alloc(block),
      content.subarray(0, 7 * block),
    ]);
    expect(target.equals(whole.subarray(10, 10 + target.length))).toBe(true);
    expect(data.transfers.busy).toBe(false);
  });

  test('a write fills blank blocks as a whole, with the old bytes or zeros around', async () => {
    const engine = new SlowEngine(new MemoryEngine(16 * block));
    engine.memory.bytes.fill(0x44, 0, 4 * block);
    const { data, lay } = fileOn(engine, 8 * block);
    // Copy-on-write of blocks 0 to 3, and blocks 4 to 7 without any content.
    data.cache.insert([lay(extentState.read, 0, 4, 0), lay(extentState.invalid, 0, 8, 8)]);
    const source = pattern(5 * block, 3);
    expect(await data.transfers.write(source, block + 100)).toEqual({ bytes: 5 * block, failure: undefined });
    const bytes = Buffer.from(engine.memory.bytes);
    const file = bytes.subarray(8 * block);
    expect(
      file.subarray(0, block).every((byte) => byte === 0xee),
      'untouched',
    ).toBe(true);
    expect(
      file.subarray(block, block + 100).every((byte) => byte === 0x44),
      'old',
    ).toBe(true);
    expect(file.subarray(block + 100, 6 * block + 100).equals(source)).toBe(true);
    expect(
      file.subarray(6 * block + 100, 7 * block).every((byte) => byte === 0),
      'zeros',
    ).toBe(true);
    expect(data.takeUncommitted()).toMatchObject({
      ranges: [{ offset: block, length: 6 * block }],
      lastWriteOffset: 6 * block + 99,
    });
    const back = Buffer.alloc(6 * block);
    await data.transfers.read(back, block);
    expect(back.equals(file.subarray(block, 7 * block))).toBe(true);
  });

  test('two writes into one blank block follow each other, and both count', async () => {
    const engine = new SlowEngine(new MemoryEngine(4 * block));
    const { data, lay } = fileOn(engine, 0);
    data.cache.insert([lay(extentState.invalid, 0, 1, 2)]);
    engine.hold = true;
    const first = data.transfers.write(Buffer.alloc(1000, 1), 0);
    const second = data.transfers.write(Buffer.alloc(1000, 2), 2000);
    await turn();
    expect(engine.pending.length, 'the second waits').toBe(1);
    engine.hold = false;
    engine.pending[0]?.go();
    expect((await first).bytes + (await second).bytes).toBe(2000);
    const whole = Buffer.from(engine.memory.bytes.subarray(2 * block, 3 * block));
    expect([whole[0], whole[999], whole[1000], whole[2000], whole[2999], whole[3000]]).toEqual([1, 1, 0, 2, 2, 0]);
  });

  test('a recall cuts a write at what is under way: that is committed, the rest is not begun', async () => {
    const engine = new SlowEngine(new MemoryEngine(16 * block), { transferMax: block, transfersMax: 2 });
    const { data, lay } = fileOn(engine, 0);
    data.cache.insert([lay(extentState.invalid, 0, 8, 8)]);
    engine.hold = true;
    const writing = data.transfers.write(pattern(8 * block, 1), 0);
    await turn();
    expect(engine.pending.length).toBe(2);
    data.leave(everything);
    let quiet = false;
    const quieted = data.transfers.quiet(everything).then(() => {
      quiet = true;
    });
    await turn();
    expect(quiet, 'not before they are over').toBe(false);
    for (const { go } of engine.pending) go();
    await quieted;
    expect(data.takeUncommitted()).toMatchObject({
      ranges: [{ offset: 0, length: 2 * block }],
      lastWriteOffset: 2 * block - 1,
      written: [{ offset: 0, length: 2 * block, place: { storageOffset: 8 * block } }],
    });
    expect(await writing).toEqual({ bytes: 2 * block, failure: undefined });
    expect(engine.pending.length, 'nothing else was begun').toBe(2);
  });

  test('what was under way when all layouts became void counts for nothing', async () => {
    const engine = new SlowEngine(new MemoryEngine(8 * block));
    const { data, lay } = fileOn(engine, 4 * block);
    data.cache.insert([lay(extentState.readWrite, 0, 4, 0)]);
    engine.hold = true;
    const reading = data.transfers.read(Buffer.alloc(block), 0);
    const writing = data.transfers.write(Buffer.alloc(block), block);
    await turn();
    data.voidLayouts();
    for (const { go } of engine.pending) go();
    expect((await reading).bytes).toBe(0);
    expect((await writing).bytes).toBe(0);
    expect(data.takeUncommitted()).toBe(undefined);
  });

  test('nothing begins past the end of the lease, and what was read counts for nothing', async () => {
    const engine = new SlowEngine(new MemoryEngine(8 * block), { transferMax: block, transfersMax: 1 });
    const { data, lay, clock } = fileOn(engine, 4 * block);
    data.cache.insert([lay(extentState.readWrite, 0, 4, 0)]);
    engine.hold = true;
    const reading = data.transfers.read(Buffer.alloc(4 * block), 0);
    await turn();
    clock.now = 1000;
    engine.pending[0]?.go();
    expect((await reading).bytes).toBe(0);
    expect(engine.pending.length).toBe(1);
    expect(await data.transfers.write(Buffer.alloc(block), 0)).toEqual({ bytes: 0, failure: undefined });
  });

  test('a transfer that fails ends it, with the reason and what came before', async () => {
    const engine = new SlowEngine(new MemoryEngine(8 * block), { transferMax: block, transfersMax: 3 });
    const { data, lay } = fileOn(engine, 8 * block);
    data.cache.insert([lay(extentState.readWrite, 0, 8, 0)]);
    engine.hold = true;
    const writing = data.transfers.write(Buffer.alloc(8 * block), 0);
    await turn();
    const [first, second, third] = engine.pending;
    second?.fail(new FsError('EACCES', { detail: 'the key is closed' }));
    third?.go();
    first?.go();
    expect(await writing).toEqual({
      bytes: block,
      failure: expect.stringContaining('slow: EACCES: the key is closed'),
    });
    expect(data.transfers.busy).toBe(false);
  });

  test('a transfer that timed out is under way until the engine says that it is over', async () => {
    const engine = new SlowEngine(new MemoryEngine(8 * block));
    const { data, lay } = fileOn(engine, 8 * block);
    data.cache.insert([lay(extentState.readWrite, 0, 8, 0)]);
    engine.hold = true;
    const writing = data.transfers.write(Buffer.alloc(block), 0);
    await turn();
    const end = engine.pending[0]?.timeOut();
    expect(await writing).toEqual({ bytes: 0, failure: expect.stringContaining('slow: ETIMEDOUT') });
    expect(data.transfers.busy).toBe(true);
    let quiet = false;
    const quieted = data.transfers.quiet({ offset: 0, length: 1 }).then(() => {
      quiet = true;
    });
    await data.transfers.quiet({ offset: 2 * block, length: block });
    await turn();
    expect(quiet).toBe(false);
    end?.();
    await quieted;
    expect(data.transfers.busy).toBe(false);
  });
});
