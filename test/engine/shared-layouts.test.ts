/**
 * Layouts for writing over blocks that other files map too: the client copies (RFC 5663 §2.3.5), the commit flips.
 * What is asked of the leases stands in leases.test.ts; here the client keeps what it has, as if nobody had recalled it.
 */
import { describe, expect } from 'vitest';
import { type BreakReason, extentState, type LayoutExtent } from '../../fs/engine/leases.ts';
import type { FallocateMode } from '../../fs/vfs.ts';
import { errnoOfCall, Lab, n, readAll, root, withHandle, writeFile } from '../support/filesystem.ts';
import { FakeLeases } from './fake-leases.ts';
import { bs, clientRecord, makeDir, makeFile, pattern, test } from './fixture.ts';
import {
  afterCrash,
  client,
  commit,
  dma,
  everyBlock,
  giveBack,
  grantRead,
  grantWrite,
  other,
  segment,
  shape,
} from './layout-steps.ts';

const { readWrite, read, invalid } = extentState;

/** A file of some blocks, and a clone of it. */
async function pair(lab: Lab, blocks = 4): Promise<{ readonly ino: number; readonly clone: number }> {
  const ino = await writeFile(lab.vfs, 'f', pattern(blocks * bs));
  const { ino: clone } = await lab.fs.cloneFile(ino, lab.vfs.rootIno, n('clone'), root);
  await lab.vfs.syncfs();
  return { ino, clone };
}

const places = async (lab: Lab, ino: number): Promise<readonly number[]> => everyBlock(await lab.fs.map(ino));

const targets = (extents: readonly LayoutExtent[]): readonly number[] =>
  everyBlock(extents.filter(({ state }) => state !== read));

async function expectContent(lab: Lab, ino: number, content: Buffer, what?: string): Promise<void> {
  expect((await readAll(lab.vfs, ino)).equals(content), what).toBe(true);
}

/** With `blocks` of pattern `seed` from block `from` on. */
function over(content: Buffer, from: number, blocks: number, seed: number): Buffer {
  const next = Buffer.from(content);
  pattern(blocks * bs, seed).copy(next, from * bs);
  return next;
}

function writeLocally(lab: Lab, ino: number, offset: number, data: Uint8Array): Promise<number> {
  return withHandle(lab.vfs, ino, 2, (handle) => lab.vfs.write(handle, offset, data, root));
}

function allocate(lab: Lab, ino: number, mode: FallocateMode): Promise<void> {
  return withHandle(lab.vfs, ino, 2, (handle) => lab.vfs.fallocate(handle, mode, bs, bs, root));
}

async function unlink(lab: Lab, name: string): Promise<void> {
  await lab.vfs.unlink(lab.vfs.rootIno, n(name), root);
  await lab.vfs.syncfs();
}

describe('a grant for writing over shared blocks', () => {
  test('shows the old block below a new one, copies nothing, and changes no file', async ({ lab }) => {
    const { ino, clone } = await pair(lab);
    const [before, change] = [await places(lab, ino), (await lab.vfs.getattr(ino, root)).change];
    const extents = await grantWrite(lab, ino, 1, 2);
    expect(shape(extents)).toEqual([
      [read, 1, 2],
      [invalid, 1, 2],
    ]);
    expect(extents[0]?.storageOffset).toBe(before[1]);
    expect(lab.fs.status().blocks).toMatchObject({ provisional: 2, file: 4, shared: 4 });
    expect((await lab.vfs.getattr(ino, root)).change).toBe(change);
    dma(lab.fs, extents, bs, pattern(2 * bs, 9));
    expect([await places(lab, ino), await places(lab, clone)]).toEqual([before, before]);
    await expectContent(lab, ino, pattern(4 * bs), 'uncommitted');
    await afterCrash(lab, (crashed) => expectContent(crashed, ino, pattern(4 * bs), 'after a crash'));
    await giveBack(lab, ino);
    await expectContent(lab, ino, pattern(4 * bs), 'returned');
    await lab.vfs.syncfs();
    expect(lab.fs.status().blocks).toMatchObject({ provisional: 0, freeing: 0, file: 4, shared: 4 });
  });

  test('leaves blocks of the file alone as they are, and provides for holes as ever', async ({ lab }) => {
    const { ino } = await pair(lab);
    await withHandle(lab.vfs, ino, 2, async (handle) => {
      await lab.vfs.write(handle, bs, pattern(bs, 2), root);
      await lab.vfs.fallocate(handle, 'punch', 2 * bs, bs, root);
      await lab.vfs.fallocate(handle, 'allocate', 4 * bs, bs, root);
    });
    expect(shape(await grantWrite(lab, ino, 0, 6))).toEqual([
      [read, 0, 1],
      [invalid, 0, 1],
      [readWrite, 1, 1],
      [invalid, 2, 1],
      [read, 3, 1],
      [invalid, 3, 1],
      [invalid, 4, 1],
      [invalid, 5, 1],
    ]);
    expect(lab.fs.status().blocks.provisional).toBe(4);
    await giveBack(lab, ino);
  });

  test('asked for again shows the same blocks, also when the other file has gone since', async ({ lab }) => {
    const { ino } = await pair(lab);
    const first = await grantWrite(lab, ino, 1, 2);
    expect(await grantWrite(lab, ino, 1, 2)).toEqual(first);
    dma(lab.fs, first, bs, pattern(2 * bs, 5));
    await unlink(lab, 'clone');
    expect(await grantWrite(lab, ino, 1, 2), 'the client may have written to it').toEqual(first);
    expect(await lab.fs.layouts.reach(ino, { offset: 0, length: 4 * bs }, 9)).toMatchObject({ written: bs, own: bs });
    expect(shape(await grantWrite(lab, ino, 0, 4)), 'but the rest is its own').toEqual([
      [readWrite, 0, 1],
      [read, 1, 2],
      [invalid, 1, 2],
      [readWrite, 3, 1],
    ]);
    await commit(lab, ino, bs, 2 * bs);
    await expectContent(lab, ino, over(pattern(4 * bs), 1, 2, 5));
    await lab.vfs.syncfs();
    expect(lab.fs.status().blocks).toMatchObject({ provisional: 0, freeing: 0, file: 4, shared: 0 });
  });

  test('is durable before it leaves: after a crash its blocks are nobody else’s', async ({ lab }) => {
    const { ino } = await pair(lab);
    const taken = targets(await grantWrite(lab, ino, 0, 4));
    await afterCrash(lab, async (crashed) => {
      expect(crashed.fs.status().blocks.provisional).toBe(4);
      const big = await writeFile(crashed.vfs, 'big', Buffer.alloc(crashed.fs.status().blocks.free * bs, 1));
      const reused = new Set(await places(crashed, big));
      expect(taken.filter((place) => reused.has(place))).toEqual([]);
    });
    await giveBack(lab, ino);
  });

  test('ENOSPC where there is no room for it, and nothing was provided', async () => {
    const lab = await Lab.create(32 * bs);
    try {
      const { ino } = await pair(lab, 8);
      const { free } = lab.fs.status().blocks;
      await writeFile(lab.vfs, 'filler', Buffer.alloc((free - 3) * bs));
      expect(await errnoOfCall(() => grantWrite(lab, ino, 0, 8))).toBe('ENOSPC');
      expect(lab.fs.status().blocks.provisional).toBe(0);
      const extents = await grantWrite(lab, ino, 2, 3);
      dma(lab.fs, extents, 2 * bs, pattern(3 * bs, 4));
      expect(lab.fs.status().blocks.free, 'the commit needs no more').toBe(0);
      await commit(lab, ino, 2 * bs, 3 * bs);
      await expectContent(lab, ino, over(pattern(8 * bs), 2, 3, 4));
      expect(await lab.problems()).toEqual([]);
    } finally {
      await lab.remove();
    }
  });

  test('counts in the quota while it is out, and the commit makes it no more than before', async ({ lab }) => {
    const dir = await makeDir(lab.vfs, 'd');
    await lab.fs.setQuota(dir, 8 * bs, Infinity);
    const ino = await writeFile(lab.vfs, 'g', pattern(6 * bs));
    const { ino: clone } = await lab.fs.cloneFile(ino, dir, n('clone'), root);
    const used = async () => (await lab.fs.quotas(dir))[0]?.bytes;
    expect(await used()).toBe(6 * bs);
    expect(await errnoOfCall(() => grantWrite(lab, clone, 0, 3))).toBe('EDQUOT');
    await grantWrite(lab, clone, 0, 2);
    expect(await used()).toBe(8 * bs);
    await commit(lab, clone, 0, bs);
    expect(await used(), 'one of two').toBe(7 * bs);
    await giveBack(lab, clone);
    expect(await used()).toBe(6 * bs);
  });
});

describe('a commit over shared blocks', () => {
  test('puts the new block in the place of the old one, where the client goes on writing', async ({ lab }) => {
    const { ino, clone } = await pair(lab);
    const before = await places(lab, ino);
    const extents = await grantWrite(lab, ino, 0, 4);
    dma(lab.fs, extents, 0, pattern(4 * bs, 2));
    expect(await commit(lab, ino, 0, 4 * bs)).toEqual({ size: undefined });
    expect(await places(lab, ino)).toEqual(targets(extents));
    expect(await places(lab, clone)).toEqual(before);
    await expectContent(lab, ino, pattern(4 * bs, 2));
    await expectContent(lab, clone, pattern(4 * bs));
    await afterCrash(lab, async (crashed) => {
      await expectContent(crashed, ino, pattern(4 * bs, 2), 'after a crash');
      await expectContent(crashed, clone, pattern(4 * bs), 'the clone after a crash');
    });
    dma(lab.fs, extents, 0, pattern(bs, 3));
    await expectContent(lab, ino, over(pattern(4 * bs, 2), 0, 1, 3), 'in place');
    expect(shape(await grantWrite(lab, ino, 0, 4))).toEqual([[readWrite, 0, 4]]);
    expect(lab.fs.status().blocks).toMatchObject({ provisional: 0, file: 8, shared: 0 });
  });

  test('of a part leaves the rest as it was, and what is not committed goes with the layout', async ({ lab }) => {
    const { ino, clone } = await pair(lab);
    const extents = await grantWrite(lab, ino, 0, 4);
    dma(lab.fs, extents, 0, pattern(4 * bs, 2));
    await commit(lab, ino, bs, bs);
    const expected = Buffer.from(pattern(4 * bs));
    pattern(4 * bs, 2).copy(expected, bs, bs, 2 * bs);
    await expectContent(lab, ino, expected);
    expect(lab.fs.status().blocks).toMatchObject({ provisional: 3, shared: 3 });
    expect(shape(await grantWrite(lab, ino, 0, 4))).toEqual([
      [read, 0, 1],
      [invalid, 0, 1],
      [readWrite, 1, 1],
      [read, 2, 2],
      [invalid, 2, 2],
    ]);
    await lab.fs.layouts.releaseProvisional(ino, { offset: 2 * bs, length: bs }, client);
    await commit(lab, ino, 3 * bs, bs);
    pattern(4 * bs, 2).copy(expected, 3 * bs, 3 * bs);
    await giveBack(lab, ino);
    await expectContent(lab, ino, expected);
    await expectContent(lab, clone, pattern(4 * bs));
    await lab.vfs.syncfs();
    expect(lab.fs.status().blocks).toMatchObject({ provisional: 0, freeing: 0, shared: 2, file: 6 });
  });

  test('past the end of the file: it grows, with zeros between', async ({ lab }) => {
    const ino = await writeFile(lab.vfs, 'f', pattern(bs + 100));
    const { ino: clone } = await lab.fs.cloneFile(ino, lab.vfs.rootIno, n('clone'), root);
    const extents = await grantWrite(lab, ino, 1, 2);
    expect(shape(extents)).toEqual([
      [read, 1, 1],
      [invalid, 1, 1],
      [invalid, 2, 1],
    ]);
    dma(lab.fs, extents, 2 * bs, pattern(bs, 4));
    expect(await commit(lab, ino, 2 * bs, bs, 2 * bs + 9)).toEqual({ size: 2 * bs + 10 });
    const expected = Buffer.alloc(2 * bs + 10);
    pattern(bs + 100).copy(expected);
    pattern(10, 4).copy(expected, 2 * bs);
    await expectContent(lab, ino, expected);
    // The block that the file ended in, whole, with what the client added to it.
    const block = Buffer.alloc(bs);
    pattern(bs + 100).copy(block, 0, bs);
    block.fill(7, 200, 300);
    dma(lab.fs, extents, bs, block);
    expect(await commit(lab, ino, bs, bs)).toEqual({ size: undefined });
    block.copy(expected, bs);
    await expectContent(lab, ino, expected);
    await expectContent(lab, clone, pattern(bs + 100), 'the clone');
    await giveBack(lab, ino);
  });

  test('leaves nothing behind the end of the file that shows when it grows', async ({ lab }) => {
    const ino = await writeFile(lab.vfs, 'f', pattern(100));
    await lab.fs.cloneFile(ino, lab.vfs.rootIno, n('clone'), root);
    const extents = await grantWrite(lab, ino, 0, 1);
    dma(lab.fs, extents, 0, pattern(bs, 2));
    expect(await commit(lab, ino, 0, bs, 199)).toEqual({ size: 200 });
    await giveBack(lab, ino);
    await lab.vfs.setattr(ino, { size: bs }, root);
    const expected = Buffer.alloc(bs);
    pattern(bs, 2).copy(expected, 0, 0, 200);
    await expectContent(lab, ino, expected);
  });

  test('frees the old block with the last file that maps it, once it is durable', async ({ lab }) => {
    const { ino } = await pair(lab);
    const [old] = await places(lab, ino);
    const extents = await grantWrite(lab, ino, 0, 1);
    await unlink(lab, 'clone');
    expect(lab.fs.status().blocks).toMatchObject({ file: 4, provisional: 1 });
    dma(lab.fs, extents, 0, pattern(bs, 2));
    await commit(lab, ino, 0, bs);
    expect(lab.fs.status().blocks).toMatchObject({ file: 4, provisional: 0, shared: 0, freeing: 0 });
    expect(await places(lab, ino)).not.toContain(old);
  });

  test('leaves the old block to readers of the other file (I6)', async ({ lab }) => {
    const { ino, clone } = await pair(lab, 1);
    const [{ storageOffset } = { storageOffset: 0 }] = await grantRead(lab, clone, 0, 1, other);
    const extents = await grantWrite(lab, ino, 0, 1);
    dma(lab.fs, extents, 0, pattern(bs, 2));
    await commit(lab, ino, 0, bs);
    await writeFile(lab.vfs, 'filler', Buffer.alloc(lab.fs.status().blocks.free * bs, 0xff));
    const found = Buffer.alloc(bs);
    lab.fs.device.read(storageOffset, found);
    expect(found.equals(pattern(bs))).toBe(true);
  });

  test('of two clients on parts of one file takes from each its own', async ({ lab }) => {
    const { ino, clone } = await pair(lab);
    const [mine, theirs] = [await grantWrite(lab, ino, 0, 2), await grantWrite(lab, ino, 2, 2, other)];
    dma(lab.fs, mine, 0, pattern(2 * bs, 2));
    dma(lab.fs, theirs, 2 * bs, pattern(2 * bs, 3));
    await commit(lab, ino, 2 * bs, 2 * bs, undefined, other);
    await expectContent(lab, ino, over(pattern(4 * bs), 2, 2, 3));
    await commit(lab, ino, 0, 4 * bs);
    await expectContent(lab, ino, over(over(pattern(4 * bs), 2, 2, 3), 0, 2, 2));
    await expectContent(lab, clone, pattern(4 * bs));
    expect(await errnoOfCall(() => grantWrite(lab, ino, 0, 4, other))).toBe(undefined);
  });

  test('does not make what a snapshot holds another', async ({ lab }) => {
    const dir = await makeDir(lab.vfs, 'd');
    const ino = await makeFile(lab.vfs, 'd/f');
    await writeLocally(lab, ino, 0, pattern(2 * bs));
    const { ino: snapshots } = await lab.vfs.lookup(dir, n('.snapshots'), root);
    const { ino: snapshot } = await lab.vfs.mkdir(snapshots, n('s'), 0o755, root);
    const { ino: held } = await lab.vfs.lookup(snapshot, n('f'), root);
    dma(lab.fs, await grantWrite(lab, ino, 0, 2), 0, pattern(2 * bs, 2));
    await commit(lab, ino, 0, bs);
    await expectContent(lab, held, pattern(2 * bs));
    await lab.vfs.rmdir(snapshots, n('s'), root);
    await commit(lab, ino, bs, bs);
    await expectContent(lab, ino, pattern(2 * bs, 2));
  });
});

describe('what the file has is seen, and what was provided is not', () => {
  test('in attributes, maps, holes and preallocation', async ({ lab }) => {
    const { ino } = await pair(lab);
    const [attr, map] = [await lab.vfs.getattr(ino, root), await lab.fs.map(ino)];
    dma(lab.fs, await grantWrite(lab, ino, 0, 8), 0, pattern(8 * bs, 2));
    expect(await lab.vfs.getattr(ino, root)).toMatchObject({ blocks: attr.blocks, size: attr.size });
    expect(await lab.fs.map(ino)).toEqual(map);
    await withHandle(lab.vfs, ino, 2, async (handle) => {
      expect(await lab.vfs.seek(handle, 0, 'hole', root)).toBe(4 * bs);
    });
    expect(await grantRead(lab, ino, 0, 4, other)).toMatchObject([
      { state: read, storageOffset: map[0]?.storageOffset },
    ]);
    await giveBack(lab, ino);
  });
});

describe('operations on a file with such layouts', () => {
  const operations: readonly [string, (lab: Lab, ino: number) => unknown, BreakReason][] = [
    ['write', (lab, ino) => writeLocally(lab, ino, bs, pattern(10)), 'remap'],
    ['truncate', (lab, ino) => lab.vfs.setattr(ino, { size: bs + 5 }, root), 'unmap'],
    ['punch', (lab, ino) => allocate(lab, ino, 'punch'), 'unmap'],
    ['zero', (lab, ino) => allocate(lab, ino, 'zero'), 'unmap'],
    ['collapse', (lab, ino) => allocate(lab, ino, 'collapse'), 'unmap'],
    ['insert', (lab, ino) => allocate(lab, ino, 'insert'), 'unmap'],
    ['clone', (lab, ino) => lab.fs.cloneFile(ino, lab.vfs.rootIno, n(`clone of ${ino}`), root), 'share'],
    ['cow', (lab, ino) => lab.vfs.setxattr(ino, 'system.iopmemfs.cow', Buffer.from('on'), 'either', root), 'share'],
  ];

  test.for(operations)('%s waits for the holder, whether it commits or not', async ([, operation, reason], { lab }) => {
    for (const commits of [true, false]) {
      const ino = await writeFile(lab.vfs, `f${commits}`, pattern(4 * bs));
      const { ino: clone } = await lab.fs.cloneFile(ino, lab.vfs.rootIno, n(`clone${commits}`), root);
      const leases = new FakeLeases();
      lab.fs.setLeases(leases);
      const held = leases.hold(ino, 0, 4 * bs, client);
      const extents = await grantWrite(lab, ino, 0, 4);
      dma(lab.fs, extents, 0, pattern(4 * bs, 2));
      const done = Promise.resolve(operation(lab, ino));
      await new Promise(setImmediate);
      expect(leases.recalled).toMatchObject([{ ino, reason }]);
      await expectContent(lab, clone, pattern(4 * bs));
      if (commits) await commit(lab, ino, 0, 4 * bs);
      await giveBack(lab, ino);
      leases.giveBack(held);
      await done;
      expect((await readAll(lab.vfs, ino)).subarray(0, bs).equals(pattern(bs, commits ? 2 : 1))).toBe(true);
      await expectContent(lab, clone, pattern(4 * bs), 'the other file');
      expect(lab.fs.status().blocks.provisional).toBe(0);
    }
  });

  test('a write in place of the holder itself takes the layout too: its commit would undo the write', async ({
    lab,
  }) => {
    const { ino } = await pair(lab);
    await grantWrite(lab, ino, 1, 1);
    await unlink(lab, 'clone');
    const leases = new FakeLeases();
    lab.fs.setLeases(leases);
    const held = leases.hold(ino, bs, bs, client);
    const written = withHandle(lab.vfs, ino, 2, (handle) =>
      lab.vfs.write(handle, 0, pattern(4 * bs, 3), { ...root, client }),
    );
    await new Promise(setImmediate);
    expect(leases.recalled).toMatchObject([{ ino, reason: 'remap' }]);
    await giveBack(lab, ino);
    leases.giveBack(held);
    await written;
    await expectContent(lab, ino, pattern(4 * bs, 3));
  });

  test('preallocation of what is shared asks for nothing', async ({ lab }) => {
    const { ino } = await pair(lab);
    const leases = new FakeLeases();
    lab.fs.setLeases(leases);
    const held = leases.hold(ino, 0, 4 * bs, client);
    const extents = await grantWrite(lab, ino, 0, 4);
    dma(lab.fs, extents, 0, pattern(4 * bs, 2));
    await withHandle(lab.vfs, ino, 2, (handle) => lab.vfs.fallocate(handle, 'allocate', bs, 6 * bs, root));
    expect(leases.recalled).toEqual([]);
    await expectContent(lab, ino, Buffer.concat([pattern(4 * bs), Buffer.alloc(3 * bs)]));
    await commit(lab, ino, 0, 4 * bs);
    await expectContent(lab, ino, Buffer.concat([pattern(4 * bs, 2), Buffer.alloc(3 * bs)]));
    leases.giveBack(held);
  });

  test('without a metadata server what a former client was provided with goes to quarantine', async ({ lab }) => {
    const { ino } = await pair(lab);
    await grantWrite(lab, ino, 0, 5);
    await lab.remount();
    await writeLocally(lab, ino, bs, pattern(10));
    expect(lab.fs.status().blocks).toMatchObject({ provisional: 4, quarantined: 1 });
    await withHandle(lab.vfs, ino, 2, (handle) => lab.vfs.fallocate(handle, 'allocate', 4 * bs, bs, root));
    expect(lab.fs.status().blocks).toMatchObject({ provisional: 3, quarantined: 2 });
    await lab.vfs.setattr(ino, { size: 0 }, root);
    expect(lab.fs.status().blocks).toMatchObject({ provisional: 0, quarantined: 5 });
    await lab.fs.layouts.releaseQuarantine(client);
    expect(lab.fs.status().blocks.quarantined).toBe(0);
  });

  test('the file goes: what was provided does not become free before the holder has', async ({ lab }) => {
    const { ino, clone } = await pair(lab);
    await grantWrite(lab, ino, 0, 4);
    await unlink(lab, 'f');
    expect(lab.fs.status().blocks).toMatchObject({ provisional: 0, quarantined: 4, file: 4 });
    await expectContent(lab, clone, pattern(4 * bs));
    await lab.fs.layouts.releaseQuarantine(client);
  });

  test('blocks that others read meanwhile are moved for all of their files', async ({ lab }) => {
    const { ino, clone } = await pair(lab);
    const before = await places(lab, ino);
    const leases = new FakeLeases();
    lab.fs.setLeases(leases);
    const held = leases.hold(ino, 0, 4 * bs, client);
    const extents = await grantWrite(lab, ino, 0, 4);
    dma(lab.fs, extents, 0, pattern(4 * bs, 2));
    lab.fs.startJob({ kind: 'evacuate', offset: before[0] ?? 0, length: 4 * bs, retire: false });
    while (leases.recalled.every((asked) => asked.ino !== ino)) await new Promise(setImmediate);
    await commit(lab, ino, 0, bs);
    await giveBack(lab, ino);
    leases.giveBack(held);
    while (lab.fs.job()?.state === 'running') await new Promise(setImmediate);
    expect(lab.fs.job()).toMatchObject({ state: 'done' });
    expect((await places(lab, clone)).filter((place) => before.includes(place))).toEqual([]);
    await expectContent(lab, ino, over(pattern(4 * bs), 0, 1, 2));
    await expectContent(lab, clone, pattern(4 * bs));
  });
});

describe('a fence', () => {
  test('takes what was provided, and copies nothing that the client could only read', async ({ lab }) => {
    const { ino, clone } = await pair(lab);
    await writeLocally(lab, ino, 3 * bs, pattern(bs, 3));
    const [mine, before] = [await grantWrite(lab, ino, 0, 4), await places(lab, ino)];
    await lab.fs.layouts.quarantine(client, [segment(ino, 0, 4, 'write')]);
    const after = await places(lab, ino);
    expect(after.map((place, i) => place === before[i])).toEqual([true, true, true, false]);
    expect(await places(lab, clone)).toEqual([...before.slice(0, 3), (await places(lab, clone))[3]]);
    expect(lab.fs.status().blocks).toMatchObject({ provisional: 0, quarantined: 4 });
    dma(lab.fs, mine, 0, Buffer.alloc(4 * bs, 0xbb));
    await expectContent(lab, ino, over(pattern(4 * bs), 3, 1, 3), 'a late write');
    await expectContent(lab, clone, pattern(4 * bs));
    // The old ones are held once no file maps them any more.
    await unlink(lab, 'clone');
    await lab.vfs.setattr(ino, { size: 0 }, root);
    await lab.vfs.syncfs();
    expect(lab.fs.status().blocks.quarantined).toBe(7);
    await lab.fs.layouts.releaseQuarantine(client);
    expect(lab.fs.status().blocks.quarantined).toBe(0);
  });

  test('copies nothing where the other file has gone since', async ({ lab }) => {
    const { ino } = await pair(lab);
    const before = await places(lab, ino);
    await grantWrite(lab, ino, 0, 2);
    await unlink(lab, 'clone');
    await grantWrite(lab, ino, 2, 2);
    await lab.fs.layouts.quarantine(client, [segment(ino, 0, 4, 'write')]);
    expect((await places(lab, ino)).map((place, i) => place === before[i])).toEqual([true, true, false, false]);
    await lab.fs.layouts.releaseQuarantine(client);
  });

  test('of a client of a former run does the same', async ({ lab }) => {
    await lab.fs.putClient(clientRecord(client));
    const { ino, clone } = await pair(lab);
    const before = await places(lab, ino);
    const mine = await grantWrite(lab, ino, 0, 2);
    dma(lab.fs, mine, 0, pattern(bs, 2));
    await commit(lab, ino, 0, bs);
    await lab.remount();
    expect(lab.fs.status().blocks.provisional).toBe(1);
    await lab.fs.layouts.quarantineFormer([client]);
    expect((await places(lab, ino)).slice(1)).toEqual(before.slice(1));
    expect(targets(mine)).not.toContain((await places(lab, ino))[0]);
    dma(lab.fs, mine, 0, Buffer.alloc(2 * bs, 0xbb));
    await expectContent(lab, ino, over(pattern(4 * bs), 0, 1, 2));
    await expectContent(lab, clone, pattern(4 * bs));
    await lab.fs.layouts.releaseQuarantine(client);
  });
});
