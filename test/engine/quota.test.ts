/** Quotas of directory trees: what counts, what is refused and when, and that a crash never makes the counts wrong. */
import { constants } from 'node:fs';
import { describe, expect } from 'vitest';
import type { QuotaStatus } from '../../fs/engine/filesystem.ts';
import { alice, errnoOfCall, type Lab, n, root, withHandle, writeFile } from '../support/filesystem.ts';
import { at, bs, makeDir, makeFile, pattern, test } from './fixture.ts';

const { O_RDWR } = constants;

async function quotaOf(lab: Lab, ino: number): Promise<QuotaStatus> {
  const [quota] = await lab.fs.quotas(ino);
  if (quota === undefined) throw new Error(`inode ${ino} counts in no quota`);
  return quota;
}

/** Blocks and inodes used. */
async function used(lab: Lab, ino: number): Promise<[number, number]> {
  const { bytes, inodes } = await quotaOf(lab, ino);
  return [bytes / bs, inodes];
}

/** A directory with a quota of so many blocks and inodes. */
async function limited(lab: Lab, name: string, blocks = Infinity, inodes = Infinity): Promise<number> {
  const ino = await makeDir(lab.vfs, name, 0o777);
  await lab.fs.setQuota(ino, blocks * bs, inodes);
  return ino;
}

const write = (lab: Lab, ino: number, offset: number, length: number, by = root) =>
  withHandle(lab.vfs, ino, O_RDWR, (handle) => lab.vfs.write(handle, offset, pattern(length), by));

const full = async (call: () => unknown) => expect(await errnoOfCall(call)).toBe('EDQUOT');
const crossing = async (call: () => unknown) => expect(await errnoOfCall(call)).toBe('EXDEV');

describe('what counts', () => {
  test('blocks of files and inodes below the directory, itself included, as they come and go', async ({ lab }) => {
    const dir = await limited(lab, 'd', 100, 100);
    expect(await used(lab, dir)).toEqual([0, 1]);
    await makeDir(lab.vfs, 'd/sub');
    const file = await makeFile(lab.vfs, 'd/sub/file');
    await write(lab, file, 0, 3 * bs);
    expect(await used(lab, dir)).toEqual([3, 3]);
    expect(await used(lab, file)).toEqual([3, 3]);
    await write(lab, file, 0, bs); // in place
    await write(lab, file, 10 * bs, 1); // behind a hole
    expect(await used(lab, dir)).toEqual([4, 3]);
    await lab.vfs.setattr(file, { size: bs }, root);
    expect(await used(lab, dir)).toEqual([1, 3]);
    await lab.vfs.symlink(dir, n('link'), Buffer.from('target'), root);
    expect(await used(lab, dir)).toEqual([1, 4]);
    await lab.vfs.unlink((await at(lab.vfs, 'd/sub')).ino, n('file'), root);
    await lab.vfs.rmdir(dir, n('sub'), root);
    expect(await used(lab, dir)).toEqual([0, 2]);
  });

  test('reserved blocks, and those granted to a client for writing', async ({ lab }) => {
    const dir = await limited(lab, 'd', 100);
    const file = await makeFile(lab.vfs, 'd/file');
    await withHandle(lab.vfs, file, O_RDWR, (handle) =>
      lab.vfs.fallocate(handle, 'allocate-keep-size', 0, 5 * bs, root),
    );
    expect(await used(lab, dir)).toEqual([5, 2]);
    await lab.fs.layouts.mapForWrite(file, { offset: 0, length: 8 * bs }, 7);
    expect(await used(lab, dir)).toEqual([8, 2]);
    await lab.fs.layouts.commitLayout(
      file,
      { ranges: [{ offset: 0, length: 6 * bs }], lastWriteOffset: 6 * bs - 1, mtimeNs: undefined },
      7,
    );
    expect(await used(lab, dir)).toEqual([8, 2]);
    await lab.fs.layouts.releaseProvisional(file, { offset: 0, length: Infinity }, 7);
    expect(await used(lab, dir)).toEqual([6, 2]);
  });

  test('blocks granted to a client that was fenced no more', async ({ lab }) => {
    const dir = await limited(lab, 'd', 100);
    const file = await makeFile(lab.vfs, 'd/file');
    await write(lab, file, 0, bs);
    await lab.fs.layouts.mapForWrite(file, { offset: 0, length: 4 * bs }, 7);
    await lab.fs.layouts.quarantine(7, [{ ino: file, offset: 0, length: 4 * bs, access: 'write' }]);
    expect(await used(lab, dir)).toEqual([1, 2]);
  });

  test('shared blocks count in each file that maps them, and stay when they are copied', async ({ lab }) => {
    const dir = await limited(lab, 'd', 10);
    const file = await makeFile(lab.vfs, 'd/file');
    await write(lab, file, 0, 4 * bs);
    const clone = await lab.fs.cloneFile(file, dir, n('clone'), root);
    expect(await used(lab, dir)).toEqual([8, 3]);
    await write(lab, clone.ino, 0, 4 * bs);
    expect(await used(lab, dir)).toEqual([8, 3]);
    const outside = await lab.fs.cloneFile(file, lab.vfs.rootIno, n('outside'), root);
    expect(await lab.fs.quotas(outside.ino)).toEqual([]);
    expect(await used(lab, dir)).toEqual([8, 3]);
  });

  test('a file without a name until its last user is gone', async ({ lab }) => {
    const dir = await limited(lab, 'd', 10);
    const { attr, handle } = await lab.vfs.tmpfile(dir, 0o600, O_RDWR, root);
    await lab.vfs.write(handle, 0, pattern(2 * bs), root);
    expect(await used(lab, dir)).toEqual([2, 2]);
    await lab.vfs.link(attr.ino, dir, n('named'), root);
    await lab.vfs.unlink(dir, n('named'), root);
    expect(await used(lab, dir)).toEqual([2, 2]);
    await lab.vfs.release(handle);
    expect(await used(lab, dir)).toEqual([0, 1]);
  });

  test('the same after a remount', async ({ lab }) => {
    const dir = await limited(lab, 'd', 100, 50);
    const file = await makeFile(lab.vfs, 'd/file');
    await write(lab, file, 0, 3 * bs);
    await lab.remount();
    const { bytesMax, inodesMax, path, inForce } = await quotaOf(lab, dir);
    expect([bytesMax / bs, inodesMax, path, inForce]).toEqual([100, 50, '/d', true]);
    expect(await used(lab, dir)).toEqual([3, 2]);
    await write(lab, file, 3 * bs, bs);
    expect(await used(lab, dir)).toEqual([4, 2]);
  });
});

async function makeTree(lab: Lab): Promise<number> {
  const dir = await makeDir(lab.vfs, 'source');
  await makeDir(lab.vfs, 'source/sub');
  for (const name of ['a', 'sub/b']) await write(lab, await makeFile(lab.vfs, `source/${name}`), 0, 4 * bs);
  return dir;
}

describe('copies of trees', () => {
  test('count where they are made, all or nothing', async ({ lab }) => {
    const source = await makeTree(lab);
    const dir = await limited(lab, 'd', 12, 6);
    await lab.fs.cloneTree(source, dir, n('copy'), root);
    expect(await used(lab, dir)).toEqual([8, 5]);
    expect(await errnoOfCall(() => lab.fs.cloneTree(source, dir, n('another'), root))).toBe('EDQUOT');
    await expect.poll(() => used(lab, dir), { timeout: 30_000 }).toEqual([8, 5]);
    await lab.fs.setQuota(dir, 12 * bs, Infinity);
    expect(await errnoOfCall(() => lab.fs.cloneTree(source, dir, n('another'), root))).toBe('EDQUOT');
    await expect.poll(() => used(lab, dir), { timeout: 30_000 }).toEqual([8, 5]);
    await lab.fs.setQuota(dir, 16 * bs, Infinity);
    await lab.fs.cloneTree(source, dir, n('another'), root);
    expect(await used(lab, dir)).toEqual([16, 9]);
  });

  test('snapshots count with the directory they are of, and are counted when a quota is set', async ({ lab }) => {
    const { vfs, fs } = lab;
    const dir = await makeTree(lab);
    const snapshots = (await vfs.lookup(dir, n('.snapshots'), root)).ino;
    await vfs.mkdir(snapshots, n('one'), 0o755, root);
    await fs.setQuota(dir, 20 * bs, Infinity);
    expect(await used(lab, dir)).toEqual([16, 8]);
    await full(() => vfs.mkdir(snapshots, n('two'), 0o755, root));
    await expect.poll(() => used(lab, dir), { timeout: 30_000 }).toEqual([16, 8]);
    await vfs.rmdir(snapshots, n('one'), root);
    // What goes in the background makes room; whoever needs it waits.
    await write(lab, await makeFile(vfs, 'source/more'), 0, 12 * bs);
    expect((await used(lab, dir))[0]).toBe(20);
    await expect.poll(() => used(lab, dir), { timeout: 30_000 }).toEqual([20, 5]);
    const inSnapshots = (await vfs.mkdir(vfs.rootIno, n('x'), 0o755, root)).ino;
    const one = await vfs.mkdir((await vfs.lookup(inSnapshots, n('.snapshots'), root)).ino, n('s'), 0o755, root);
    expect(await errnoOfCall(() => fs.setQuota(one.ino, bs, Infinity))).toBe('EROFS');
  });
});

describe('EDQUOT', () => {
  test('a write is short where the quota ends in it, and fails where there is nothing left', async ({ lab }) => {
    const dir = await limited(lab, 'd', 4);
    const file = await makeFile(lab.vfs, 'd/file');
    expect(await write(lab, file, 100, 6 * bs)).toBe(4 * bs - 100);
    expect(await errnoOfCall(() => write(lab, file, 4 * bs, 1))).toBe('EDQUOT');
    expect((await lab.vfs.getattr(file, root)).size).toBe(4 * bs);
    expect(await write(lab, file, 0, 4 * bs)).toBe(4 * bs); // in place
    expect(await used(lab, dir)).toEqual([4, 2]);
    expect(await write(lab, await writeFile(lab.vfs, 'outside', pattern(1)), 0, 5 * bs)).toBe(5 * bs);
  });

  test('root has no more than others', async ({ lab }) => {
    await limited(lab, 'd', 1);
    const file = await makeFile(lab.vfs, 'd/file', 0o666);
    expect(await write(lab, file, 0, bs, alice)).toBe(bs);
    expect(await errnoOfCall(() => write(lab, file, bs, 1, alice))).toBe('EDQUOT');
    expect(await errnoOfCall(() => write(lab, file, bs, 1, root))).toBe('EDQUOT');
  });

  test('fallocate takes all or nothing; holes count, what is there does not', async ({ lab }) => {
    const dir = await limited(lab, 'd', 4);
    const file = await makeFile(lab.vfs, 'd/file');
    await write(lab, file, bs, bs);
    const allocate = (mode: 'allocate' | 'allocate-keep-size' | 'zero', length: number) =>
      withHandle(lab.vfs, file, O_RDWR, (handle) => lab.vfs.fallocate(handle, mode, 0, length, root));
    for (const mode of ['allocate', 'allocate-keep-size', 'zero'] as const) {
      expect(await errnoOfCall(() => allocate(mode, 5 * bs)), mode).toBe('EDQUOT');
      expect(await used(lab, dir)).toEqual([1, 2]);
    }
    await allocate('allocate', 4 * bs);
    await allocate('zero', 4 * bs);
    expect(await used(lab, dir)).toEqual([4, 2]);
  });

  test('everything that makes an inode, when the inodes are used up', async ({ lab }) => {
    const { vfs } = lab;
    const dir = await limited(lab, 'd', Infinity, 2);
    const file = await makeFile(vfs, 'd/file');
    await full(() => vfs.create(dir, n('a'), 0o644, O_RDWR, root));
    await full(() => vfs.mkdir(dir, n('a'), 0o755, root));
    await full(() => vfs.mknod(dir, n('a'), 0o010644, 0, root));
    await full(() => vfs.symlink(dir, n('a'), Buffer.from('x'), root));
    await full(() => vfs.tmpfile(dir, 0o600, O_RDWR, root));
    await full(() => lab.fs.cloneFile(file, dir, n('a'), root));
    // Names cost nothing, and neither do attributes.
    await vfs.link(file, dir, n('another'), root);
    await vfs.rename(dir, n('another'), dir, n('third'), 'replace', root);
    await vfs.setxattr(file, 'user.a', pattern(5000), 'either', root);
    await vfs.unlink(dir, n('third'), root);
    await vfs.unlink(dir, n('file'), root);
    await vfs.mkdir(dir, n('a'), 0o755, root);
  });

  test('clone and copy_file_range, of what the target would map more', async ({ lab }) => {
    const { vfs } = lab;
    const dir = await limited(lab, 'd', 6);
    const source = await writeFile(vfs, 'source', pattern(8 * bs));
    expect(await errnoOfCall(() => lab.fs.cloneFile(source, dir, n('clone'), root))).toBe('EDQUOT');
    expect(await used(lab, dir)).toEqual([0, 1]);
    const target = await makeFile(vfs, 'd/target');
    await write(lab, target, 0, 4 * bs);
    const copy = (from: number, to: number, length: number) =>
      withHandle(vfs, source, 0, (input) =>
        withHandle(vfs, target, O_RDWR, (output) => vfs.copyRange(input, from, output, to, length, root)),
      );
    expect(await errnoOfCall(() => copy(0, 0, 7 * bs))).toBe('EDQUOT');
    expect(await copy(0, 0, 6 * bs)).toBe(6 * bs);
    expect(await used(lab, dir)).toEqual([6, 2]);
    expect(await copy(0, 0, 6 * bs)).toBe(6 * bs); // the same again
    expect(await errnoOfCall(() => copy(0, 6 * bs + 1, 10))).toBe('EDQUOT');
  });

  test('a layout for writing, of holes alone', async ({ lab }) => {
    const dir = await limited(lab, 'd', 4);
    const file = await makeFile(lab.vfs, 'd/file');
    await write(lab, file, 0, 2 * bs);
    const grant = (blocks: number) => lab.fs.layouts.mapForWrite(file, { offset: 0, length: blocks * bs }, 7);
    expect(await errnoOfCall(() => grant(5))).toBe('EDQUOT');
    expect(await used(lab, dir)).toEqual([2, 2]);
    await grant(4);
    expect(await errnoOfCall(() => write(lab, file, 8 * bs, 1))).toBe('EDQUOT');
    await lab.fs.layouts.releaseProvisional(file, { offset: 0, length: Infinity }, 7);
  });

  test('never for what frees, for copies of shared blocks, for truncate to more: also above the limit', async ({
    lab,
  }) => {
    const { vfs } = lab;
    const dir = await limited(lab, 'd', 20, 20);
    const file = await makeFile(vfs, 'd/file');
    await write(lab, file, 0, 8 * bs);
    const { ino: clone } = await lab.fs.cloneFile(file, dir, n('clone'), root);
    await lab.fs.setQuota(dir, 4 * bs, 1);
    expect(await write(lab, clone, 0, 8 * bs)).toBe(8 * bs);
    await vfs.setattr(clone, { size: 100 * bs }, root);
    await vfs.setattr(clone, { size: 7 * bs + 5 }, root);
    await withHandle(vfs, file, O_RDWR, (handle) => vfs.fallocate(handle, 'punch', 10, 3 * bs, root));
    await withHandle(vfs, file, O_RDWR, (handle) => vfs.fallocate(handle, 'collapse', 0, bs, root));
    await vfs.rename(dir, n('file'), dir, n('renamed'), 'replace', root);
    await vfs.unlink(dir, n('clone'), root);
    await vfs.unlink(dir, n('renamed'), root);
    expect(await used(lab, dir)).toEqual([0, 1]);
  });
});

describe('names do not cross from tree to tree: EXDEV', () => {
  test('rename and link, in, out and between; within a tree as ever', async ({ lab }) => {
    const { vfs } = lab;
    const [a, b] = [await limited(lab, 'a', 10), await limited(lab, 'b', 10)];
    const [inA, outside] = [await makeFile(vfs, 'a/file'), await makeFile(vfs, 'outside')];
    await makeDir(vfs, 'a/sub');
    const sub = (await at(vfs, 'a/sub')).ino;
    const top = vfs.rootIno;
    await crossing(() => vfs.rename(top, n('outside'), a, n('x'), 'replace', root));
    await crossing(() => vfs.rename(a, n('file'), top, n('x'), 'replace', root));
    await crossing(() => vfs.rename(a, n('file'), b, n('x'), 'replace', root));
    await crossing(() => vfs.rename(a, n('sub'), b, n('x'), 'replace', root));
    await crossing(() => vfs.rename(a, n('file'), top, n('outside'), 'exchange', root));
    await crossing(() => vfs.link(outside, a, n('x'), root));
    await crossing(() => vfs.link(inA, top, n('x'), root));
    await crossing(() => vfs.link(inA, b, n('x'), root));
    await vfs.rename(a, n('file'), sub, n('file'), 'replace', root);
    await vfs.link(inA, a, n('again'), root);
    // The directory itself is an entry of one that is in no tree.
    await vfs.rename(top, n('a'), top, n('c'), 'replace', root);
    expect((await quotaOf(lab, a)).path).toBe('/c');
  });

  test('what was removed does not stand between', async ({ lab }) => {
    const a = await limited(lab, 'a', 10);
    await makeFile(lab.vfs, 'a/file');
    await lab.fs.removeQuota(a);
    await lab.vfs.rename(a, n('file'), lab.vfs.rootIno, n('file'), 'replace', root);
  });
});

describe('set, change, remove', () => {
  test('on a directory with content, which counts then', async ({ lab }) => {
    const { vfs } = lab;
    await makeDir(vfs, 'd');
    for (let d = 0; d < 3; d++) {
      await makeDir(vfs, `d/${d}`);
      for (let f = 0; f < 100; f++) await write(lab, await makeFile(vfs, `d/${d}/${f}`), 0, bs);
    }
    const dir = (await at(vfs, 'd')).ino;
    await lab.fs.setQuota(dir, 301 * bs, 304 + 1);
    expect(await used(lab, dir)).toEqual([300, 304]);
    const last = await makeFile(vfs, 'd/2/last');
    expect(await write(lab, last, 0, 2 * bs)).toBe(bs);
    expect(await errnoOfCall(() => makeFile(vfs, 'd/1/more'))).toBe('EDQUOT');
  });

  test('another limit, also below what is used; then none', async ({ lab }) => {
    const dir = await limited(lab, 'd', 4);
    const file = await makeFile(lab.vfs, 'd/file');
    await write(lab, file, 0, 4 * bs);
    await lab.fs.setQuota(dir, 2 * bs, Infinity);
    expect(await errnoOfCall(() => write(lab, file, 4 * bs, 1))).toBe('EDQUOT');
    await lab.fs.setQuota(dir, 5 * bs, Infinity);
    expect(await write(lab, file, 4 * bs, 1)).toBe(1);
    await lab.fs.removeQuota(dir);
    expect(await lab.fs.quotas()).toEqual([]);
    expect(await write(lab, file, 5 * bs, 10 * bs)).toBe(10 * bs);
    await lab.fs.setQuota(dir, 20 * bs, Infinity);
    expect(await used(lab, dir)).toEqual([15, 2]);
  });

  test('not within a tree, not around one, not on a file, not below a block', async ({ lab }) => {
    const { vfs, fs } = lab;
    await makeDir(vfs, 'd');
    await makeDir(vfs, 'd/tree');
    const inner = await makeDir(vfs, 'd/tree/inner');
    const [tree, dir] = [(await at(vfs, 'd/tree')).ino, (await at(vfs, 'd')).ino];
    await fs.setQuota(tree, 10 * bs, Infinity);
    expect(await errnoOfCall(() => fs.setQuota(inner, 10 * bs, Infinity))).toBe('EINVAL');
    expect(await errnoOfCall(() => fs.setQuota(dir, 10 * bs, Infinity))).toBe('EINVAL');
    expect(await errnoOfCall(() => fs.setQuota(vfs.rootIno, 10 * bs, Infinity))).toBe('EINVAL');
    expect(await errnoOfCall(() => fs.setQuota(tree, 10, Infinity))).toBe('EINVAL');
    expect(await errnoOfCall(() => fs.removeQuota(inner))).toBe('ENODATA');
    const file = await makeFile(vfs, 'd/file');
    expect(await errnoOfCall(() => fs.setQuota(file, 10 * bs, Infinity))).toBe('ENOTDIR');
  });

  test('it goes with its directory, though a file of it is open', async ({ lab }) => {
    const { vfs } = lab;
    const dir = await limited(lab, 'd', 10);
    const { handle } = await vfs.create(dir, n('open'), 0o644, O_RDWR, root);
    await vfs.write(handle, 0, pattern(bs), root);
    await vfs.unlink(dir, n('open'), root);
    await vfs.rmdir(vfs.rootIno, n('d'), root);
    expect(await lab.fs.quotas()).toEqual([]);
    expect(await vfs.write(handle, bs, pattern(20 * bs), root)).toBe(20 * bs);
    await vfs.release(handle);
  });

  test('on the whole filesystem', async ({ lab }) => {
    await lab.fs.setQuota(lab.vfs.rootIno, 8 * bs, Infinity);
    const file = await makeFile(lab.vfs, 'file');
    expect(await write(lab, file, 0, 9 * bs)).toBe(8 * bs);
    expect(await quotaOf(lab, file)).toMatchObject({ path: '/', bytes: 8 * bs, inodes: 2 });
  });
});

describe('statfs', () => {
  test('of a tree: its limit is the size, what is left is free', async ({ lab }) => {
    const dir = await limited(lab, 'd', 100, 10);
    const file = await makeFile(lab.vfs, 'd/file');
    await write(lab, file, 0, 30 * bs);
    const stat = { blocks: 100, blocksFree: 70, blocksAvailable: 70, files: 10, filesFree: 8 };
    expect(await lab.vfs.statfs(dir)).toMatchObject(stat);
    expect(await lab.vfs.statfs(file)).toMatchObject(stat);
    expect((await lab.vfs.statfs()).blocks).toBe((16 << 20) / bs - 2);
    const { blocks, blocksFree } = await lab.vfs.statfs();
    expect(await lab.vfs.statfs(lab.vfs.rootIno)).toMatchObject({ blocks, blocksFree });
  });

  test('available is no more than the filesystem has; over the limit there is nothing', async ({ lab }) => {
    const { blocksFree } = await lab.vfs.statfs();
    const dir = await limited(lab, 'd', blocksFree);
    const big = await writeFile(lab.vfs, 'big', pattern(1));
    await withHandle(lab.vfs, big, O_RDWR, (handle) =>
      lab.vfs.fallocate(handle, 'allocate', 0, (blocksFree - 10) * bs, root),
    );
    expect(await lab.vfs.statfs(dir)).toMatchObject({ blocks: blocksFree, blocksFree, blocksAvailable: 10 });
    const file = await makeFile(lab.vfs, 'd/file');
    await write(lab, file, 0, 5 * bs);
    await lab.fs.setQuota(dir, 3 * bs, Infinity);
    expect(await lab.vfs.statfs(dir)).toMatchObject({ blocks: 3, blocksFree: 0, blocksAvailable: 0 });
  });
});
