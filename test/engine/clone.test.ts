/** Blocks shared between files, and copy-on-write: FICLONE, copy_file_range(2). */
import { describe, expect } from 'vitest';
import type { Filesystem } from '../../fs/engine/filesystem.ts';
import { extentState } from '../../fs/engine/leases.ts';
import { decodeInode, encodeInode } from '../../fs/format/codec.ts';
import { inodeKey } from '../../fs/format/keys.ts';
import { INODE_COW } from '../../fs/format/records.ts';
import { openLevelStore } from '../../fs/meta/level-store.ts';
import { alice, errnoOfCall, type Lab, n, readAll, root, withHandle, writeFile } from '../support/filesystem.ts';
import { bs, makeDir, makeFile, pattern, test } from './fixture.ts';

/** For each block of the file: its block on the device and the files that map it; undefined for a hole. */
async function blocks(fs: Filesystem, ino: number): Promise<([block: number, shares: number] | undefined)[]> {
  const found: ([number, number] | undefined)[] = [];
  for (const { offset, length, storageOffset, shares } of await fs.map(ino)) {
    while (found.length < offset / bs) found.push(undefined);
    for (let i = 0; i < length / bs; i++) found.push([storageOffset / bs + i, shares]);
  }
  return found;
}

const places = async (fs: Filesystem, ino: number) => (await blocks(fs, ino)).map((each) => each?.[0]);
const shares = async (fs: Filesystem, ino: number) => (await blocks(fs, ino)).map((each) => each?.[1]);

async function clone(lab: Lab, ino: number, name: string): Promise<number> {
  return (await lab.fs.cloneFile(ino, lab.vfs.rootIno, n(name), root)).ino;
}

function writeAt(lab: Lab, ino: number, offset: number, data: Uint8Array): Promise<number> {
  return withHandle(lab.vfs, ino, 2, (handle) => lab.vfs.write(handle, offset, data, root));
}

function copy(
  lab: Lab,
  from: number,
  fromOffset: number,
  to: number,
  toOffset: number,
  length: number,
): Promise<number> {
  return withHandle(lab.vfs, from, 0, (a) =>
    withHandle(lab.vfs, to, 2, (b) => lab.vfs.copyRange(a, fromOffset, b, toOffset, length, root)),
  );
}

describe('a clone', () => {
  test('has the content and the blocks of its source, and takes no space', async ({ lab }) => {
    const content = pattern(5 * bs + 100);
    const ino = await writeFile(lab.vfs, 'source', content);
    const { file, free } = lab.fs.status().blocks;
    const copied = await lab.fs.cloneFile(ino, lab.vfs.rootIno, n('clone'), root);
    expect(copied).toMatchObject({ size: content.length, mode: 0o100644, nlink: 1, blocks: 48 });
    expect((await readAll(lab.vfs, copied.ino)).equals(content)).toBe(true);
    expect(await places(lab.fs, copied.ino)).toEqual(await places(lab.fs, ino));
    expect(await shares(lab.fs, ino)).toEqual([2, 2, 2, 2, 2, 2]);
    expect(lab.fs.status().blocks).toMatchObject({ file, free, shared: 6 });
  });

  test('that is written to gets blocks of its own for what is written; the source keeps its own', async ({ lab }) => {
    const content = pattern(6 * bs);
    const ino = await writeFile(lab.vfs, 'source', content);
    const copied = await clone(lab, ino, 'clone');
    const before = await places(lab.fs, ino);
    await writeAt(lab, copied, 2 * bs + 100, pattern(bs, 2));
    expect(await places(lab.fs, ino)).toEqual(before);
    expect((await readAll(lab.vfs, ino)).equals(content)).toBe(true);
    const after = await places(lab.fs, copied);
    expect(after.map((block, i) => block === before[i])).toEqual([true, true, false, false, true, true]);
    const whole = Buffer.from(content);
    pattern(bs, 2).copy(whole, 2 * bs + 100);
    expect((await readAll(lab.vfs, copied)).equals(whole)).toBe(true);
    expect(await shares(lab.fs, ino)).toEqual([2, 2, 1, 1, 2, 2]);
  });

  test('keeps what it had when the source is written to, shortened, punched or zeroed', async ({ lab }) => {
    const content = pattern(8 * bs);
    const ino = await writeFile(lab.vfs, 'source', content);
    const copied = await clone(lab, ino, 'clone');
    const before = await places(lab.fs, copied);
    await writeAt(lab, ino, 0, pattern(10, 2));
    await withHandle(lab.vfs, ino, 2, async (handle) => {
      await lab.vfs.fallocate(handle, 'punch', bs + 10, 2 * bs, root);
      await lab.vfs.fallocate(handle, 'zero', 4 * bs + 5, 10, root);
      await lab.vfs.fallocate(handle, 'collapse', 5 * bs, bs, root);
    });
    await lab.vfs.setattr(ino, { size: 6 * bs + 7 }, root);
    await lab.vfs.syncfs();
    expect(await places(lab.fs, copied)).toEqual(before);
    expect((await readAll(lab.vfs, copied)).equals(content)).toBe(true);
    const whole = Buffer.from(content);
    pattern(10, 2).copy(whole);
    whole.fill(0, bs + 10, 3 * bs + 10);
    whole.fill(0, 4 * bs + 5, 4 * bs + 15);
    const collapsed = Buffer.concat([whole.subarray(0, 5 * bs), whole.subarray(6 * bs, 7 * bs + 7)]);
    expect((await readAll(lab.vfs, ino)).equals(collapsed)).toBe(true);
  });

  test('of a clone is a third sharer; blocks are free when the last one gives them up', async ({ lab }) => {
    const ino = await writeFile(lab.vfs, 'a', pattern(4 * bs));
    await lab.vfs.syncfs();
    const { free } = lab.fs.status().blocks;
    const b = await clone(lab, ino, 'b');
    const c = await clone(lab, b, 'c');
    expect(await shares(lab.fs, c)).toEqual([3, 3, 3, 3]);
    await lab.vfs.unlink(lab.vfs.rootIno, n('a'), root);
    await writeAt(lab, b, 0, pattern(bs, 9));
    await lab.vfs.syncfs();
    expect(await shares(lab.fs, c)).toEqual([1, 2, 2, 2]);
    expect((await readAll(lab.vfs, c)).equals(pattern(4 * bs))).toBe(true);
    await lab.vfs.unlink(lab.vfs.rootIno, n('b'), root);
    await lab.vfs.unlink(lab.vfs.rootIno, n('c'), root);
    await lab.vfs.syncfs();
    expect(lab.fs.status().blocks).toMatchObject({ free: free + 4, shared: 0 });
  });

  test('that is alone again is written in place', async ({ lab }) => {
    const ino = await writeFile(lab.vfs, 'a', pattern(4 * bs));
    const b = await clone(lab, ino, 'b');
    const before = await places(lab.fs, b);
    await lab.vfs.unlink(lab.vfs.rootIno, n('a'), root);
    await lab.vfs.syncfs();
    await writeAt(lab, b, 0, pattern(4 * bs, 2));
    expect(await places(lab.fs, b)).toEqual(before);
  });

  test('shares after a remount as before', async ({ lab }) => {
    const ino = await writeFile(lab.vfs, 'a', pattern(4 * bs));
    const b = await clone(lab, ino, 'b');
    await writeAt(lab, b, bs, pattern(bs, 2));
    const before = [await blocks(lab.fs, ino), await blocks(lab.fs, b), lab.fs.status().blocks.shared];
    await lab.remount();
    expect([await blocks(lab.fs, ino), await blocks(lab.fs, b), lab.fs.status().blocks.shared]).toEqual(before);
    await writeAt(lab, ino, 2 * bs, pattern(bs, 3));
    expect((await readAll(lab.vfs, b)).subarray(2 * bs).equals(pattern(4 * bs).subarray(2 * bs))).toBe(true);
  });

  test('leaves holes and preallocation behind, and ends where the source ends', async ({ lab }) => {
    const ino = await makeFile(lab.vfs, 'a');
    await writeAt(lab, ino, 2 * bs, pattern(bs));
    await withHandle(lab.vfs, ino, 2, (handle) => lab.vfs.fallocate(handle, 'allocate', 3 * bs, 2 * bs + 9, root));
    const b = await clone(lab, ino, 'b');
    expect((await lab.vfs.getattr(b, root)).size).toBe(5 * bs + 9);
    expect((await blocks(lab.fs, b)).length).toBe(3);
    expect((await readAll(lab.vfs, b)).equals(await readAll(lab.vfs, ino))).toBe(true);
  });

  test('EISDIR, EINVAL, EEXIST, EACCES, ENOENT', async ({ vfs, lab }) => {
    const dir = await makeDir(vfs, 'd');
    const file = await makeFile(vfs, 'f', 0o600);
    const link = (await vfs.symlink(vfs.rootIno, n('l'), Buffer.from('x'), root)).ino;
    await vfs.setattr(vfs.rootIno, { mode: 0o777 }, root);
    const attempt = (ino: number, name: string, by = root) =>
      errnoOfCall(() => lab.fs.cloneFile(ino, vfs.rootIno, n(name), by));
    expect(await attempt(dir, 'new')).toBe('EISDIR');
    expect(await attempt(link, 'new')).toBe('EINVAL');
    expect(await attempt(file, 'd')).toBe('EEXIST');
    expect(await attempt(file, 'new', alice)).toBe('EACCES');
    expect(await attempt(9999, 'new')).toBe('ESTALE');
  });
});

describe('copy_file_range', () => {
  test('shares whole blocks where both sides begin at one', async ({ lab }) => {
    const a = await writeFile(lab.vfs, 'a', pattern(6 * bs));
    const b = await writeFile(lab.vfs, 'b', pattern(8 * bs, 2));
    expect(await copy(lab, a, bs, b, 3 * bs, 2 * bs)).toBe(2 * bs);
    const [from, to] = [await places(lab.fs, a), await places(lab.fs, b)];
    expect(to.slice(3, 5)).toEqual(from.slice(1, 3));
    const whole = pattern(8 * bs, 2);
    pattern(6 * bs).copy(whole, 3 * bs, bs, 3 * bs);
    expect((await readAll(lab.vfs, b)).equals(whole)).toBe(true);
  });

  test('copies where they do not', async ({ lab }) => {
    const a = await writeFile(lab.vfs, 'a', pattern(6 * bs));
    const b = await writeFile(lab.vfs, 'b', pattern(8 * bs, 2));
    expect(await copy(lab, a, 10, b, 20, 3 * bs)).toBe(3 * bs);
    expect(lab.fs.status().blocks.shared).toBe(0);
    const whole = pattern(8 * bs, 2);
    pattern(6 * bs).copy(whole, 20, 10, 10 + 3 * bs);
    expect((await readAll(lab.vfs, b)).equals(whole)).toBe(true);
  });

  test('shares the part block at the end only where both files end in it', async ({ lab }) => {
    const a = await writeFile(lab.vfs, 'a', pattern(bs + 100));
    const b = await makeFile(lab.vfs, 'b');
    expect(await copy(lab, a, 0, b, 0, bs + 100)).toBe(bs + 100);
    expect(await shares(lab.fs, b)).toEqual([2, 2]);
    const longer = await writeFile(lab.vfs, 'longer', pattern(2 * bs, 2));
    expect(await copy(lab, a, 0, longer, 0, bs + 100)).toBe(bs);
    expect(await copy(lab, a, bs, longer, bs, 100)).toBe(100);
    expect(await shares(lab.fs, longer)).toEqual([3, 1]);
    const whole = Buffer.concat([pattern(bs + 100), pattern(2 * bs, 2).subarray(bs + 100)]);
    expect((await readAll(lab.vfs, longer)).equals(whole)).toBe(true);
  });

  test('ends with the source: 0 at its end and past it', async ({ lab }) => {
    const a = await writeFile(lab.vfs, 'a', pattern(bs));
    const b = await makeFile(lab.vfs, 'b');
    expect(await copy(lab, a, 100, b, 0, 1e9)).toBe(bs - 100);
    expect(await copy(lab, a, bs, b, 0, 10)).toBe(0);
    expect(await copy(lab, a, 5 * bs, b, 0, 10)).toBe(0);
  });

  test('within one file: shares, moves nothing else; EINVAL where the ranges overlap', async ({ lab }) => {
    const a = await writeFile(lab.vfs, 'a', pattern(4 * bs));
    expect(await errnoOfCall(() => copy(lab, a, 0, a, bs, 2 * bs))).toBe('EINVAL');
    expect(await errnoOfCall(() => copy(lab, a, bs, a, bs - 1, 2))).toBe('EINVAL');
    expect(await copy(lab, a, 0, a, 2 * bs, 2 * bs)).toBe(2 * bs);
    const half = pattern(4 * bs).subarray(0, 2 * bs);
    expect((await readAll(lab.vfs, a)).equals(Buffer.concat([half, half]))).toBe(true);
    expect(await shares(lab.fs, a)).toEqual([2, 2, 2, 2]);
    await writeAt(lab, a, 0, pattern(10, 5));
    expect((await readAll(lab.vfs, a)).subarray(2 * bs).equals(half)).toBe(true);
  });

  test('a hole of the source is a hole of the target', async ({ lab }) => {
    const a = await makeFile(lab.vfs, 'a');
    await lab.vfs.setattr(a, { size: 2 * bs }, root);
    const b = await writeFile(lab.vfs, 'b', pattern(2 * bs));
    expect(await copy(lab, a, 0, b, 0, 2 * bs)).toBe(2 * bs);
    expect(await blocks(lab.fs, b)).toEqual([]);
    expect((await readAll(lab.vfs, b)).equals(Buffer.alloc(2 * bs))).toBe(true);
  });

  test('EISDIR, EINVAL, EFBIG', async ({ lab }) => {
    const a = await writeFile(lab.vfs, 'a', pattern(bs));
    const b = await makeFile(lab.vfs, 'b');
    const dir = await lab.vfs.opendir(lab.vfs.rootIno, root);
    await withHandle(lab.vfs, b, 2, async (handle) => {
      expect(await errnoOfCall(() => lab.vfs.copyRange(dir, 0, handle, 0, 1, root))).toBe('EISDIR');
    });
    await lab.vfs.release(dir);
    expect(await errnoOfCall(() => copy(lab, a, 0, b, 2 ** 53 - 4096, bs))).toBe('EFBIG');
  });
});

/** Nothing sets the attribute yet but the record itself. */
async function cowFile(lab: Lab, content: Buffer): Promise<number> {
  const ino = await writeFile(lab.vfs, 'cow', content);
  await lab.unmount();
  const store = await openLevelStore(lab.meta, { create: false });
  const key = inodeKey(ino);
  const record = decodeInode(key, store.get(key) ?? new Uint8Array(0));
  await store.batch([{ key, value: encodeInode({ ...record, flags: record.flags | INODE_COW }) }]);
  await store.close();
  await lab.mount();
  return ino;
}

describe('a file that asks for copy-on-write', () => {
  test('is never overwritten in place: until it is durable a crash shows the old content whole', async ({ lab }) => {
    const content = pattern(4 * bs);
    const ino = await cowFile(lab, content);
    const before = await places(lab.fs, ino);
    await writeAt(lab, ino, 100, pattern(2 * bs, 2));
    const after = await places(lab.fs, ino);
    expect(after.map((block, i) => block === before[i])).toEqual([false, false, false, true]);
    const crashed = await lab.afterCrash();
    try {
      expect((await readAll(crashed.vfs, ino)).equals(content)).toBe(true);
      expect(await crashed.problems()).toEqual([]);
    } finally {
      await crashed.remove();
    }
    await lab.vfs.syncfs();
    const synced = await lab.afterCrash();
    try {
      const whole = Buffer.from(content);
      pattern(2 * bs, 2).copy(whole, 100);
      expect((await readAll(synced.vfs, ino)).equals(whole)).toBe(true);
    } finally {
      await synced.remove();
    }
  });

  test('is zeroed in steps that copy no block twice', async ({ lab }) => {
    const length = (1 << 20) + 2 * bs;
    const ino = await cowFile(lab, pattern(length));
    await lab.vfs.syncfs();
    const filler = await makeFile(lab.vfs, 'filler');
    const spare = lab.fs.status().blocks.free - length / bs;
    await withHandle(lab.vfs, filler, 2, (handle) => lab.vfs.fallocate(handle, 'allocate', 0, spare * bs, root));
    expect(lab.fs.status().blocks.free).toBe(length / bs);
    await withHandle(lab.vfs, ino, 2, (handle) => {
      const zeroed = lab.vfs.fallocate(handle, 'zero', 10, length - 10, root);
      expect(zeroed, 'it had to wait for space').toBeUndefined();
    });
    expect((await readAll(lab.vfs, ino)).subarray(10).equals(Buffer.alloc(length - 10))).toBe(true);
  });
});

/** Two files on the same blocks, durably; then `change` makes the first give its blocks up, not durably. */
async function crashAfter(lab: Lab, change: (a: number) => unknown): Promise<void> {
  const content = pattern(4 * bs);
  const a = await writeFile(lab.vfs, 'a', content);
  const b = await clone(lab, a, 'b');
  await lab.vfs.syncfs();
  await change(a);
  const before = await places(lab.fs, b);
  await writeAt(lab, b, 100, pattern(2 * bs, 2));
  expect((await places(lab.fs, b)).slice(0, 3)).not.toEqual(before.slice(0, 3));
  const crashed = await lab.afterCrash();
  try {
    expect((await readAll(crashed.vfs, a)).equals(content)).toBe(true);
    expect((await readAll(crashed.vfs, b)).equals(content)).toBe(true);
  } finally {
    await crashed.remove();
  }
  // Once it is durable the blocks are written in place, whatever else waits.
  const c = await clone(lab, b, 'c');
  await lab.vfs.setattr(c, { size: 0 }, root);
  await lab.vfs.syncfs();
  const other = await clone(lab, await writeFile(lab.vfs, 'other', content), 'other2');
  await lab.vfs.setattr(other, { size: 0 }, root);
  const now = await places(lab.fs, b);
  await writeAt(lab, b, 100, pattern(2 * bs, 3));
  expect(await places(lab.fs, b)).toEqual(now);
}

describe('after a crash no file shows what was written to another that had shared its blocks', () => {
  test('by copy-on-write', async ({ lab }) => {
    await crashAfter(lab, (a) => writeAt(lab, a, 0, pattern(4 * bs, 9)));
  });

  test('by unlink', async ({ lab }) => {
    await crashAfter(lab, () => lab.vfs.unlink(lab.vfs.rootIno, n('a'), root));
  });

  test('by truncate', async ({ lab }) => {
    await crashAfter(lab, (a) => lab.vfs.setattr(a, { size: 0 }, root));
  });

  test('nor does a peer write to such blocks', async ({ lab }) => {
    const a = await writeFile(lab.vfs, 'a', pattern(4 * bs));
    const b = await clone(lab, a, 'b');
    await lab.vfs.syncfs();
    const before = await places(lab.fs, b);
    await lab.vfs.setattr(a, { size: 0 }, root);
    const [old, extent] = await lab.fs.layouts.mapForWrite(b, { offset: 0, length: 4 * bs }, 7);
    expect([old?.state, extent?.state]).toEqual([extentState.read, extentState.invalid]);
    expect((old?.storageOffset ?? 0) / bs).toBe(before[0]);
    expect((extent?.storageOffset ?? 0) / bs).not.toBe(before[0]);
    await lab.fs.layouts.releaseProvisional(b, { offset: 0, length: 4 * bs }, 7);
  });
});
