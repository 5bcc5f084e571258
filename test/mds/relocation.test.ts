/** Blocks that move below clients that hold layouts on them: nothing moves before they are back (docs/recalls.md). */
import { describe, expect } from 'vitest';
import type { MappedExtent } from '../../fs/vfs.ts';
import { operations } from '../../mds/protocol/ops.ts';
import { Holder } from './holder.ts';
import type { RawClient } from './raw-client.ts';
import { block } from './recall-table.ts';
import type { Rig } from './rig.ts';
import { test as base } from './rig-test.ts';

const [read, rw] = [1, 2] as const;

/** LAYOUTGET gives up soon. */
const test = base.override({ options: { layoutWaitMs: 100 } });

/** Where a byte of the file lies on the device. */
async function placeOf(rig: Rig, ino: number, offset: number): Promise<number> {
  const extents: readonly MappedExtent[] = await rig.lab.fs.map(ino);
  const extent = extents.find((each) => each.offset <= offset && offset < each.offset + each.length);
  if (extent === undefined) throw new Error(`byte ${offset} of inode ${ino} has no block`);
  return extent.storageOffset + offset - extent.offset;
}

/** Empties `blocks` blocks of the device. Settles with its state when it is over. */
async function evacuate(rig: Rig, by: RawClient, storage: number, blocks: number): Promise<string | undefined> {
  await by.call(operations.JOB_START, [[1, storage, blocks * block, false]], 3);
  await rig.until('the job to be over', () => rig.lab.fs.job()?.state !== 'running');
  return rig.lab.fs.job()?.state;
}

const bytesAt = (rig: Rig, storage: number, length: number): string => {
  const bytes = Buffer.alloc(length);
  rig.lab.fs.device.read(storage, bytes);
  return bytes.toString('latin1');
};

describe('an evacuation', () => {
  test('leaves the blocks where they are, whole and the file’s, until their readers returned them', async ({ rig }) => {
    const [by, client] = [await rig.client({ owner: 'by' }), await rig.client({ owner: 'holder' })];
    const { ino } = await by.create('f', Buffer.alloc(4 * block, 'a'));
    const storage = await placeOf(rig, ino, block);
    const holder = await Holder.of(client, ino, read, 0, 4 * block);
    const { blocks } = rig.lab.fs.status();
    const done = holder.through(evacuate(rig, by, storage, 1), async () => {
      expect(bytesAt(rig, storage, block)).toBe('a'.repeat(block));
      expect(await placeOf(rig, ino, block)).toBe(storage);
      expect(rig.lab.fs.status().blocks).toMatchObject({ file: blocks.file, freeing: 0, quarantined: 0 });
    });
    expect(await done).toBe('done');
    expect(holder.asked).toEqual([[3, 1, 1, true]]);
    expect(await placeOf(rig, ino, block)).not.toBe(storage);
    expect(rig.lab.fs.status().blocks).toMatchObject({ file: blocks.file, freeing: 0, quarantined: 0 });
  });

  test('grants nothing on what moves until it has moved, and everything else at once', async ({ rig }) => {
    const [by, client] = [await rig.client({ owner: 'by' }), await rig.client({ owner: 'holder' })];
    const { ino, stateid } = await by.create('f', Buffer.alloc(4 * block, 'a'));
    const storage = await placeOf(rig, ino, block);
    const holder = await Holder.of(client, ino, read, 0, 4 * block);
    const done = holder.through(evacuate(rig, by, storage, 1), async () => {
      const refused = by.statusOf(operations.LAYOUTGET, [ino, stateid, read, block, block, block, 64, false], 4);
      await rig.until('the get waits', () => rig.server.status().breaks.some(({ reason }) => reason === 'layout'));
      rig.clock.advance(100);
      expect(await refused).toBe('LAYOUTTRYLATER');
      const beside = await by.layout(ino, stateid, read, 2 * block, block, 5);
      expect(beside.segment).toEqual([read, 2 * block, block]);
    });
    expect(await done).toBe('done');
    const [segment] = (await by.layout(ino, await by.open(ino), read, block, block)).extents;
    expect(segment?.[4]).toBe(await placeOf(rig, ino, block));
  });

  test('waits without keeping anybody else: reads, writes beside it, names', async ({ rig }) => {
    const [by, client] = [await rig.client({ owner: 'by' }), await rig.client({ owner: 'holder' })];
    const { ino, stateid } = await by.create('f', Buffer.alloc(4 * block, 'a'));
    const storage = await placeOf(rig, ino, block);
    const holder = await Holder.of(client, ino, rw, block, block);
    const done = holder.through(evacuate(rig, by, storage, 1), async () => {
      const [seen] = await by.call(operations.READ, [stateid, block, block]);
      expect(Buffer.from(seen).toString('latin1')).toBe('a'.repeat(block));
      await by.call(operations.WRITE, [stateid, 3 * block, 2, Buffer.alloc(block, 'b')]);
      await by.create('g', Buffer.alloc(block));
    });
    expect(await done).toBe('done');
  });

  test('looks again after the wait: what the holder committed meanwhile is what moves', async ({ rig }) => {
    const [by, client] = [await rig.client({ owner: 'by' }), await rig.client({ owner: 'holder' })];
    const { ino, stateid } = await by.create('f', Buffer.alloc(2 * block, 'a'));
    const storage = await placeOf(rig, ino, block);
    const holder = await Holder.of(client, ino, rw, block, block);
    const done = holder.through(evacuate(rig, by, storage, 1), (recall) => {
      rig.lab.fs.device.write(storage, Buffer.alloc(block, 'b'));
      return holder.commit(recall, block, block);
    });
    expect(await done).toBe('done');
    expect(holder.asked).toEqual([[3, 1, 1, true]]);
    const [seen] = await by.call(operations.READ, [stateid, 0, 2 * block]);
    expect(Buffer.from(seen).toString('latin1')).toBe('a'.repeat(block) + 'b'.repeat(block));
    expect(await placeOf(rig, ino, block)).not.toBe(storage);
  });

  test('of blocks that a client has not committed: its commit makes them the file’s, and they move then', async ({
    rig,
  }) => {
    const [by, client] = [await rig.client({ owner: 'by' }), await rig.client({ owner: 'holder' })];
    const { ino } = await by.create('f');
    const open = await client.open(ino);
    const { extents } = await client.layout(ino, open, rw, 0, 2 * block, 1);
    const storage = extents[0]?.[4] ?? 0;
    const holder = Holder.watching(client, ino);
    rig.lab.fs.device.write(storage, Buffer.alloc(2 * block, 'c'));
    const done = holder.through(evacuate(rig, by, storage, 2), (recall) =>
      holder.commit(recall, 0, 2 * block, 2 * block - 1),
    );
    expect(await done).toBe('done');
    expect(holder.asked).toEqual([[3, 0, 2, true]]);
    const moved = await placeOf(rig, ino, 0);
    expect(moved).not.toBe(storage);
    expect(bytesAt(rig, moved, 2 * block)).toBe('c'.repeat(2 * block));
  });

  test('asks the holders of each file that maps the blocks, once', async ({ rig }) => {
    const blocks = 300; // many slices
    const by = await rig.client({ owner: 'by' });
    const { ino, stateid } = await by.create('f', Buffer.alloc(200 * block, 'a'));
    await by.call(operations.WRITE, [stateid, 200 * block, 2, Buffer.alloc(100 * block, 'b')]);
    const [[clone]] = await by.call(operations.CLONE, [ino, by.rootIno, Buffer.from('clone')]);
    const storage = await placeOf(rig, ino, 0);
    const holders = [
      await Holder.of(await rig.client({ owner: 'one' }), ino, read, 0, blocks * block),
      await Holder.of(await rig.client({ owner: 'two' }), clone, read, 0, blocks * block),
    ];
    const done = evacuate(rig, by, storage, blocks);
    expect(await Promise.all(holders.map((holder) => holder.through(done)))).toEqual(['done', 'done']);
    for (const holder of holders) expect(holder.asked).toEqual([[3, 0, blocks, true]]);
    expect(await placeOf(rig, clone, 0)).toBe(await placeOf(rig, ino, 0));
    expect(await placeOf(rig, ino, 0)).not.toBe(storage);
  });

  test('of a client that does not return goes on when its deadline has passed and what it reaches is put away', async ({
    rig,
  }) => {
    const [by, client] = [await rig.client({ owner: 'by' }), await rig.client({ owner: 'holder' })];
    const { ino, stateid } = await by.create('f', Buffer.alloc(2 * block, 'a'));
    const storage = await placeOf(rig, ino, block);
    const holder = await Holder.of(client, ino, rw, block, block);
    const done = evacuate(rig, by, storage, 1);
    await holder.recalled();
    await holder.settled();
    expect(rig.lab.fs.job()?.state).toBe('running');
    await by.call(operations.SEQUENCE, []);
    rig.clock.advance(9_999);
    await holder.settled();
    await by.call(operations.SEQUENCE, []);
    expect(rig.lab.fs.job()?.state).toBe('running');
    rig.clock.advance(1);
    // Its blocks are out of everybody's reach but its own, so that the range cannot be emptied.
    expect(await done).toBe('failed');
    expect(rig.lab.fs.job()?.error?.detail).toMatch(/may still reach/);
    expect(await placeOf(rig, ino, block)).not.toBe(storage);
    const [seen] = await by.call(operations.READ, [stateid, 0, 2 * block]);
    expect(Buffer.from(seen).toString('latin1')).toBe('a'.repeat(2 * block));
  });
});

describe('a file that is put together', () => {
  test('is asked back for the stretch that moves, once, and lies together afterwards', async ({ rig }) => {
    const by = await rig.client({ owner: 'by' });
    const [f, g] = [await by.create('f'), await by.create('g')];
    const blocks = 40;
    for (let at = 0; at < blocks; at++) {
      for (const { stateid } of [f, g]) await by.call(operations.FALLOCATE, [stateid, 0, at * block, block]);
    }
    await by.call(operations.WRITE, [f.stateid, 0, 2, Buffer.alloc(blocks * block, 'a')]);
    expect((await rig.lab.fs.map(f.ino)).length).toBeGreaterThan(1);
    const holder = await Holder.of(await rig.client({ owner: 'holder' }), f.ino, read, 0, blocks * block);
    const done = (async () => {
      await by.call(operations.JOB_START, [[0, f.ino]], 3);
      await rig.until('the job to be over', () => rig.lab.fs.job()?.state !== 'running');
      return rig.lab.fs.job()?.state;
    })();
    expect(await holder.through(done)).toBe('done');
    expect(holder.asked).toEqual([[3, 0, blocks, true]]);
    expect(await rig.lab.fs.map(f.ino)).toHaveLength(1);
    const [data] = await by.call(operations.READ, [f.stateid, 0, blocks * block]);
    expect(Buffer.from(data).toString('latin1')).toBe('a'.repeat(blocks * block));
  });
});

describe('a filesystem that is made smaller', () => {
  test('asks back what lies behind its new end', async ({ rig }) => {
    const by = await rig.client({ owner: 'by' });
    const { size } = rig.lab.fs.device;
    const mebibyte = 1 << 20;
    const big = await by.create('big');
    await by.call(operations.FALLOCATE, [big.stateid, 0, 0, size - mebibyte]);
    const f = await by.create('f', Buffer.alloc(4 * block, 'a'));
    await by.call(operations.CLOSE, [big.stateid]);
    await by.call(operations.REMOVE, [by.rootIno, Buffer.from('big'), false]);
    await by.call(operations.SYNCFS, []);
    expect(await placeOf(rig, f.ino, 0)).toBeGreaterThan(size / 2);
    const holder = await Holder.of(await rig.client({ owner: 'holder' }), f.ino, read, 0, 4 * block);
    const done = (async () => {
      await by.call(operations.JOB_START, [[2, size / 2]], 3);
      await rig.until('the job to be over', () => rig.lab.fs.job()?.state !== 'running');
      return rig.lab.fs.job()?.error ?? rig.lab.fs.job()?.state;
    })();
    expect(await holder.through(done)).toBe('done');
    expect(holder.asked).toEqual([[3, 0, 4, true]]);
    expect(await placeOf(rig, f.ino, 0)).toBeLessThan(size / 2);
    const [data] = await by.call(operations.READ, [f.stateid, 0, 4 * block]);
    expect(Buffer.from(data).toString('latin1')).toBe('a'.repeat(4 * block));
  });
});
