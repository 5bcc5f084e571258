/** The attribute `cow`: no overwrite happens in place, whoever writes (docs/files.md). */
import { describe, expect } from 'vitest';
import type { LayoutExtent } from '../../fs/engine/leases.ts';
import { extentState } from '../../fs/engine/leases.ts';
import type { Vfs } from '../../fs/vfs.ts';
import { alice, bob, errnoOfCall, Lab, n, readAll, root, withHandle, writeFile } from '../support/filesystem.ts';
import { FakeLeases } from './fake-leases.ts';
import { bs, makeDir, makeFile, pattern, test } from './fixture.ts';

const { read, readWrite, invalid } = extentState;
const client = 7;
const attribute = 'system.iopmemfs.cow';

async function setCow(vfs: Vfs, ino: number, value: 'on' | 'off', by = root): Promise<void> {
  await vfs.setxattr(ino, attribute, Buffer.from(value), 'either', by);
}

async function isCow(vfs: Vfs, ino: number): Promise<string> {
  return Buffer.from(await vfs.getxattr(ino, attribute, root)).toString();
}

async function cowFile(lab: Lab, content: Uint8Array): Promise<number> {
  const ino = await writeFile(lab.vfs, 'cow', content);
  await setCow(lab.vfs, ino, 'on');
  return ino;
}

async function placesOf(lab: Lab, ino: number): Promise<readonly number[]> {
  const extents = await lab.fs.map(ino);
  return extents.flatMap(({ storageOffset, length }) =>
    Array.from({ length: length / bs }, (_, i) => storageOffset + i * bs),
  );
}

function shape(extents: readonly LayoutExtent[]): [number, number, number][] {
  return extents.map(({ state, offset, length }) => [state, offset / bs, length / bs]);
}

async function grant(lab: Lab, ino: number, from: number, blocks: number): Promise<readonly LayoutExtent[]> {
  return lab.fs.layouts.mapForWrite(ino, { offset: from * bs, length: blocks * bs }, client);
}

/** The client stores whole blocks where it may write. */
function dma(lab: Lab, extents: readonly LayoutExtent[], fileBlock: number, data: Uint8Array): void {
  for (const { state, offset, length, storageOffset } of extents) {
    const at = fileBlock * bs;
    if (state === read || at < offset || at >= offset + length) continue;
    lab.fs.device.write(storageOffset + at - offset, data);
  }
}

function commit(lab: Lab, ino: number, from: number, blocks: number, lastWriteOffset?: number) {
  const ranges = [{ offset: from * bs, length: blocks * bs }];
  return lab.fs.layouts.commitLayout(ino, { ranges, lastWriteOffset, mtimeNs: undefined }, client);
}

function giveBack(lab: Lab, ino: number) {
  return lab.fs.layouts.releaseProvisional(ino, { offset: 0, length: Infinity }, client);
}

describe('the attribute', () => {
  test('is off unless set, is the owner’s and root’s, and outlives a mount', async ({ lab }) => {
    const { vfs } = lab;
    await vfs.setattr(vfs.rootIno, { mode: 0o777 }, root);
    const ino = await makeFile(vfs, 'f', 0o666, alice);
    expect(await isCow(vfs, ino)).toBe('off');
    expect(await errnoOfCall(() => setCow(vfs, ino, 'on', bob))).toBe('EPERM');
    await setCow(vfs, ino, 'on', alice);
    await lab.remount();
    expect(await isCow(lab.vfs, ino)).toBe('on');
    await setCow(lab.vfs, ino, 'off');
    expect(await isCow(lab.vfs, ino)).toBe('off');
  });

  test('comes to what is made in a directory that has it, and to what is made below', async ({ vfs }) => {
    const dir = await makeDir(vfs, 'd');
    await setCow(vfs, dir, 'on');
    const below = await makeDir(vfs, 'd/e');
    const file = await makeFile(vfs, 'd/e/f');
    expect([await isCow(vfs, below), await isCow(vfs, file)]).toEqual(['on', 'on']);
    const moved = await makeFile(vfs, 'g');
    await vfs.rename(vfs.rootIno, n('g'), dir, n('g'), 'replace', root);
    expect(await isCow(vfs, moved)).toBe('off');
  });

  test('EINVAL for another value, EOPNOTSUPP for what is neither file nor directory, EEXIST to create it', async ({
    vfs,
  }) => {
    const file = await makeFile(vfs, 'f');
    const { ino: fifo } = await vfs.mknod(vfs.rootIno, n('fifo'), 0o010600, 0, root);
    const set = (ino: number, value: string, mode: 'either' | 'create' = 'either') =>
      errnoOfCall(() => vfs.setxattr(ino, attribute, Buffer.from(value), mode, root));
    expect(await set(file, 'yes')).toBe('EINVAL');
    expect(await set(fifo, 'on')).toBe('EOPNOTSUPP');
    expect(await set(file, 'on', 'create')).toBe('EEXIST');
    expect(await errnoOfCall(() => vfs.removexattr(file, attribute, root))).toBe('EOPNOTSUPP');
  });

  test.for(['on', 'off'] as const)('layouts for writing go before it is turned %s', async (value, { lab }) => {
    const ino = await writeFile(lab.vfs, 'f', pattern(bs));
    await setCow(lab.vfs, ino, value === 'on' ? 'off' : 'on');
    const leases = new FakeLeases();
    lab.fs.setLeases(leases);
    const held = leases.hold(ino, 0, bs, client, 'write');
    const reader = leases.hold(ino, 0, bs, client + 1, 'read');
    const set = setCow(lab.vfs, ino, value);
    expect(leases.recalled).toHaveLength(1);
    leases.giveBack(held);
    await set;
    leases.giveBack(reader);
    expect(await isCow(lab.vfs, ino)).toBe(value);
  });
});

describe('a write', () => {
  test('goes to new blocks, with what it leaves of the old ones around it', async ({ lab }) => {
    const ino = await cowFile(lab, pattern(4 * bs));
    const before = await placesOf(lab, ino);
    const expected = pattern(4 * bs);
    const data = pattern(bs, 9);
    data.copy(expected, bs + 100);
    await withHandle(lab.vfs, ino, 2, (handle) => lab.vfs.write(handle, bs + 100, data, root));
    const after = await placesOf(lab, ino);
    expect(after.map((place, i) => place === before[i])).toEqual([true, false, false, true]);
    expect(before).not.toContain(after[1]);
    expect((await readAll(lab.vfs, ino)).equals(expected)).toBe(true);
  });

  test('gives the old blocks back once its group is durable', async ({ lab }) => {
    const ino = await cowFile(lab, pattern(64 * bs));
    await lab.vfs.syncfs();
    const { free } = lab.fs.status().blocks;
    await withHandle(lab.vfs, ino, 2, (handle) => lab.vfs.write(handle, 0, pattern(64 * bs, 2), root));
    expect(lab.fs.status().blocks).toMatchObject({ free: free - 64, freeing: 64, file: 64 });
    await lab.vfs.syncfs();
    expect(lab.fs.status().blocks).toMatchObject({ free, freeing: 0, file: 64 });
  });

  test('over blocks that follow each other leaves one extent when all of them were written', async ({ lab }) => {
    const ino = await cowFile(lab, pattern(256 * bs));
    await withHandle(lab.vfs, ino, 2, async (handle) => {
      for (let i = 0; i < 256; i++) await lab.vfs.write(handle, i * bs, pattern(bs, i), root);
    });
    expect(await lab.fs.map(ino)).toHaveLength(1);
  });

  test('takes one new block however often it is written before a sync, and another one after it', async ({ lab }) => {
    const ino = await cowFile(lab, pattern(4 * bs));
    await lab.vfs.syncfs();
    await withHandle(lab.vfs, ino, 2, async (handle) => {
      for (let i = 0; i < 20; i++) await lab.vfs.write(handle, 100, pattern(10, i), root);
      expect(lab.fs.status().blocks).toMatchObject({ file: 4, freeing: 1 });
      const [place] = await placesOf(lab, ino);
      await lab.vfs.syncfs();
      await lab.vfs.write(handle, 100, pattern(10, 1), root);
      expect((await placesOf(lab, ino))[0]).not.toBe(place);
    });
  });

  test('to a block that a clone came to share before the sync is the writer’s alone', async ({ lab }) => {
    const ino = await cowFile(lab, pattern(bs));
    await withHandle(lab.vfs, ino, 2, async (handle) => {
      await lab.vfs.write(handle, 0, pattern(bs, 2), root);
      const { ino: clone } = await lab.fs.cloneFile(ino, lab.vfs.rootIno, n('clone'), root);
      await lab.vfs.write(handle, 0, pattern(bs, 3), root);
      expect((await readAll(lab.vfs, clone)).equals(pattern(bs, 2))).toBe(true);
    });
  });

  test('ENOSPC, and nothing of it, where there is not room for all of it', async ({ lab }) => {
    const { free } = lab.fs.status().blocks;
    const filler = await writeFile(lab.vfs, 'filler', Buffer.alloc(0));
    const ino = await cowFile(lab, pattern(8 * bs));
    await withHandle(lab.vfs, filler, 2, (handle) =>
      lab.vfs.fallocate(handle, 'allocate', 0, (free - 8 - 4) * bs, root),
    );
    const write = (blocks: number) =>
      withHandle(lab.vfs, ino, 2, (handle) => lab.vfs.write(handle, 0, pattern(blocks * bs, 3), root));
    expect(await errnoOfCall(() => write(5))).toBe('ENOSPC');
    expect((await readAll(lab.vfs, ino)).equals(pattern(8 * bs))).toBe(true);
    // More than there is at once, for what is overwritten comes back.
    for (let i = 0; i < 10; i++) expect(await write(4)).toBe(4 * bs);
    expect((await readAll(lab.vfs, ino)).subarray(0, 4 * bs).equals(pattern(4 * bs, 3))).toBe(true);
  });

  test('recalls every layout on the blocks that it moves, those for reading too', async ({ lab }) => {
    const ino = await cowFile(lab, pattern(4 * bs));
    const leases = new FakeLeases();
    lab.fs.setLeases(leases);
    const elsewhere = leases.hold(ino, 2 * bs, bs, client, 'read');
    const held = leases.hold(ino, 0, bs, client, 'read');
    const write = withHandle(lab.vfs, ino, 2, (handle) => lab.vfs.write(handle, 0, pattern(10), { ...root, client }));
    await Promise.resolve();
    expect(leases.recalled).toMatchObject([{ offset: 0, length: bs, reason: 'remap' }]);
    leases.giveBack(held);
    await write;
    expect(leases.recalled).toHaveLength(1);
    leases.giveBack(elsewhere);
  });
});

describe('a grant for writing', () => {
  test('shows the old blocks below new ones, and new ones alone where there is no data', async ({ lab }) => {
    const ino = await cowFile(lab, pattern(2 * bs));
    await withHandle(lab.vfs, ino, 2, (handle) => lab.vfs.fallocate(handle, 'allocate', 2 * bs, bs, root));
    const before = await placesOf(lab, ino);
    const extents = await grant(lab, ino, 0, 4);
    expect(shape(extents)).toEqual([
      [read, 0, 2],
      [invalid, 0, 2],
      [invalid, 2, 1],
      [invalid, 3, 1],
    ]);
    expect(extents.filter(({ state }) => state === invalid).some((e) => before.includes(e.storageOffset))).toBe(false);
    expect(lab.fs.status().blocks.provisional).toBe(4);
    await giveBack(lab, ino);
  });

  test('the commit takes what it names, and the stage stays the client’s', async ({ lab }) => {
    const ino = await cowFile(lab, pattern(4 * bs));
    const before = await placesOf(lab, ino);
    const extents = await grant(lab, ino, 0, 4);
    dma(lab, extents, 1, pattern(bs, 5));
    dma(lab, extents, 2, pattern(bs, 6));
    expect((await readAll(lab.vfs, ino)).equals(pattern(4 * bs)), 'uncommitted').toBe(true);

    await commit(lab, ino, 1, 1);
    const expected = pattern(4 * bs);
    pattern(bs, 5).copy(expected, bs);
    expect((await readAll(lab.vfs, ino)).equals(expected), 'committed').toBe(true);
    const after = await placesOf(lab, ino);
    expect(after.map((place, i) => place === before[i])).toEqual([true, false, true, true]);

    // Written to again, which the file does not see before the next commit.
    dma(lab, extents, 1, pattern(bs, 7));
    expect((await readAll(lab.vfs, ino)).equals(expected), 'written again').toBe(true);
    await commit(lab, ino, 1, 1);
    pattern(bs, 7).copy(expected, bs);
    expect((await readAll(lab.vfs, ino)).equals(expected), 'committed again').toBe(true);

    await giveBack(lab, ino);
    expect((await readAll(lab.vfs, ino)).equals(expected), 'returned').toBe(true);
    await lab.vfs.syncfs();
    expect(lab.fs.status().blocks).toMatchObject({ provisional: 0, freeing: 0, file: 4 });
  });

  test('granted again it shows the committed blocks below the same stage', async ({ lab }) => {
    const ino = await cowFile(lab, pattern(bs));
    const first = await grant(lab, ino, 0, 1);
    dma(lab, first, 0, pattern(bs, 2));
    await commit(lab, ino, 0, 1);
    const second = await grant(lab, ino, 0, 1);
    const [place] = await placesOf(lab, ino);
    expect(second.map(({ state, storageOffset }) => [state, storageOffset])).toEqual([
      [read, place],
      [invalid, first[1]?.storageOffset],
    ]);
    await giveBack(lab, ino);
  });

  test('a file that grows by a commit has zeros between its old end and what was written', async ({ lab }) => {
    const ino = await cowFile(lab, pattern(100));
    const extents = await grant(lab, ino, 0, 3);
    dma(lab, extents, 2, pattern(bs, 4));
    expect(await commit(lab, ino, 2, 1, 2 * bs + 49)).toEqual({ size: 2 * bs + 50 });
    const expected = Buffer.alloc(2 * bs + 50);
    pattern(100).copy(expected);
    pattern(50, 4).copy(expected, 2 * bs);
    const found = await readAll(lab.vfs, ino);
    pattern(bs, 4).copy(expected, 2 * bs, 0, 50);
    expect(found.equals(expected)).toBe(true);
    await giveBack(lab, ino);
  });

  test('a fenced client loses its stage to quarantine, and the file stays where it is', async ({ lab }) => {
    const ino = await cowFile(lab, pattern(4 * bs));
    const before = await placesOf(lab, ino);
    await grant(lab, ino, 0, 4);
    await lab.fs.layouts.quarantine(client, [{ ino, offset: 0, length: 4 * bs, access: 'write' }]);
    expect(await placesOf(lab, ino)).toEqual(before);
    expect(lab.fs.status().blocks).toMatchObject({ provisional: 0, quarantined: 4 });
    await lab.fs.layouts.releaseQuarantine(client);
    expect(lab.fs.status().blocks.quarantined).toBe(0);
  });

  test('in place again once the attribute is off', async ({ lab }) => {
    const ino = await cowFile(lab, pattern(bs));
    await setCow(lab.vfs, ino, 'off');
    expect(shape(await grant(lab, ino, 0, 1))).toEqual([[readWrite, 0, 1]]);
  });

  test('EDQUOT at the commit where the quota has room for the stage only', async ({ lab }) => {
    const dir = await makeDir(lab.vfs, 'd');
    await setCow(lab.vfs, dir, 'on');
    await lab.fs.setQuota(dir, 6 * bs, Infinity);
    const ino = await makeFile(lab.vfs, 'd/f');
    dma(lab, await grant(lab, ino, 0, 4), 0, pattern(4 * bs));
    expect(await errnoOfCall(() => commit(lab, ino, 0, 4, 4 * bs - 1))).toBe('EDQUOT');
    await commit(lab, ino, 0, 2, 2 * bs - 1);
    expect(await lab.fs.quotas(dir)).toMatchObject([{ bytes: 6 * bs }]);
    // What takes the place of blocks of the file is no more than before.
    await commit(lab, ino, 0, 2, 2 * bs - 1);
    await giveBack(lab, ino);
    expect(await lab.fs.quotas(dir)).toMatchObject([{ bytes: 2 * bs }]);
  });

  test('ENOSPC at the commit where there is no room for the copy; the stage is kept', async ({ lab }) => {
    const ino = await cowFile(lab, pattern(4 * bs));
    const extents = await grant(lab, ino, 0, 4);
    dma(lab, extents, 0, pattern(bs, 2));
    const { free } = lab.fs.status().blocks;
    const filler = await writeFile(lab.vfs, 'filler', Buffer.alloc(0));
    await withHandle(lab.vfs, filler, 2, (handle) => lab.vfs.fallocate(handle, 'allocate', 0, (free - 3) * bs, root));
    expect(await errnoOfCall(() => commit(lab, ino, 0, 4))).toBe('ENOSPC');
    expect((await readAll(lab.vfs, ino)).equals(pattern(4 * bs))).toBe(true);
    await commit(lab, ino, 0, 1);
    const expected = pattern(4 * bs);
    pattern(bs, 2).copy(expected);
    expect((await readAll(lab.vfs, ino)).equals(expected)).toBe(true);
    await giveBack(lab, ino);
  });
});
