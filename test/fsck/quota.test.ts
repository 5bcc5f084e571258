/** Pass 6: quotas. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openDevice } from '../../fs/bar/open.ts';
import { decodeInode, decodeQuota, encodeInode, encodeQuota } from '../../fs/format/codec.ts';
import { inodeKey, quotaKey } from '../../fs/format/keys.ts';
import type { InodeRecord, QuotaRecord } from '../../fs/format/records.ts';
import { checkFilesystem } from '../../fs/fsck/check.ts';
import { problemText } from '../../fs/fsck/problem.ts';
import { limits } from '../../fs/limits.ts';
import { openLevelStore } from '../../fs/meta/level-store.ts';
import type { MetaStore, StoreOp } from '../../fs/meta/store.ts';
import { Lab, n, root, withHandle, writeFile } from '../support/filesystem.ts';

const bs = limits.blockSize;

let lab: Lab;
/** /tree (with the quota), /tree/sub, /tree/sub/file of three blocks, and /outside. */
let at: { tree: number; sub: number; file: number; outside: number; quota: number };

beforeEach(async () => {
  lab = await Lab.create();
  const { vfs, fs } = lab;
  const tree = (await vfs.mkdir(vfs.rootIno, n('tree'), 0o755, root)).ino;
  await fs.setQuota(tree, 100 * bs, 100);
  const sub = (await vfs.mkdir(tree, n('sub'), 0o755, root)).ino;
  const { attr, handle } = await vfs.create(sub, n('file'), 0o644, 2, root);
  await vfs.write(handle, 0, Buffer.alloc(2 * bs, 'd'), root);
  await vfs.release(handle);
  await withHandle(vfs, attr.ino, 2, (open) => vfs.fallocate(open, 'allocate', 4 * bs, bs, root));
  const outside = await writeFile(vfs, 'outside', Buffer.alloc(bs));
  const quota = (await fs.quotas(tree))[0]?.id ?? 0;
  at = { tree, sub, file: attr.ino, outside, quota };
  await lab.unmount();
});

afterEach(() => lab.remove());

async function problems(): Promise<readonly string[]> {
  const device = await openDevice(lab.image, { writable: false });
  const store = await openLevelStore(lab.meta, { create: false });
  try {
    const summary = await checkFilesystem({ device, store, onPass: () => {}, onProblem: () => {} });
    return summary.problems.map((problem) => `${problem.pass} ${problem.code}: ${problemText(problem)}`);
  } finally {
    await store.close();
    await device.close();
  }
}

async function damage(op: (store: MetaStore) => StoreOp): Promise<void> {
  const store = await openLevelStore(lab.meta, { create: false });
  try {
    await store.batch([op(store)]);
  } finally {
    await store.close();
  }
}

const quotaChange =
  (change: Partial<QuotaRecord>) =>
  (store: MetaStore): StoreOp => {
    const key = quotaKey(at.quota);
    return { key, value: encodeQuota({ ...decodeQuota(key, store.get(key) ?? Buffer.alloc(0)), ...change }) };
  };

const inodeChange =
  (ino: number, change: Partial<InodeRecord>) =>
  (store: MetaStore): StoreOp => {
    const key = inodeKey(ino);
    return { key, value: encodeInode({ ...decodeInode(key, store.get(key) ?? Buffer.alloc(0)), ...change }) };
  };

test('sound ones are counted', async () => {
  expect(await problems()).toEqual([]);
});

test('blocks that were counted wrong', async () => {
  await damage(quotaChange({ blocks: 4 }));
  expect(await problems()).toEqual([
    `6 quota: inode ${at.tree} (/tree): quota says 4 blocks and 3 inodes, counted are 3 and 3`,
  ]);
});

test('inodes that were counted wrong', async () => {
  await damage(quotaChange({ inodes: 2 }));
  expect(await problems()).toEqual([
    `6 quota: inode ${at.tree} (/tree): quota says 3 blocks and 2 inodes, counted are 3 and 3`,
  ]);
});

test('a file that does not count where it should', async () => {
  await damage(inodeChange(at.file, { quota: 0 }));
  expect(await problems()).toEqual([
    `6 quota: inode ${at.tree} (/tree): quota says 3 blocks and 3 inodes, counted are 0 and 2`,
  ]);
});

test('a directory that is not in the tree of its parent', async () => {
  await damage(inodeChange(at.sub, { quota: 0 }));
  expect(await problems()).toEqual([
    `6 quota: inode ${at.sub} (/tree/sub): counts in quota 0, its parent in ${at.quota}`,
    expect.stringContaining('counted are 3 and 2'),
  ]);
});

test('a quota set on what is no directory of it', async () => {
  await damage(quotaChange({ root: at.outside }));
  expect(await problems()).toEqual([
    `6 quota: inode ${at.tree} (/tree): counts in quota ${at.quota}, its parent in 0`,
    expect.stringContaining(`is not a directory that counts in quota ${at.quota}, which is set on it`),
  ]);
});

test('what a removed quota left behind is no damage', async () => {
  await damage(() => ({ key: quotaKey(at.quota), value: undefined }));
  expect(await problems()).toEqual([]);
});
