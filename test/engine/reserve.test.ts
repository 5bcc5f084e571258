/** What is kept for root: others get ENOSPC before, and what frees space may use it. */
import { constants } from 'node:fs';
import { expect } from 'vitest';
import { alice, errnoOfCall, type Lab, n, root, withHandle } from '../support/filesystem.ts';
import { at, bs, makeFile, pattern, test } from './fixture.ts';

const { O_RDWR } = constants;
const kept = Math.floor(((16 << 20) / bs) * 0.05);

const allocate = (lab: Lab, ino: number, blocks: number, by = root, from = 0) =>
  withHandle(lab.vfs, ino, O_RDWR, (handle) => lab.vfs.fallocate(handle, 'allocate', from * bs, blocks * bs, by));
const write = (lab: Lab, ino: number, offset: number, length: number, by = root) =>
  withHandle(lab.vfs, ino, O_RDWR, (handle) => lab.vfs.write(handle, offset, pattern(length), by));

/** A file of all blocks but those of the reserve and `left` more. */
async function fill(lab: Lab, left: number): Promise<number> {
  await lab.fs.setReserve(500);
  const file = await makeFile(lab.vfs, 'file', 0o666);
  await allocate(lab, file, (await lab.vfs.statfs()).blocksAvailable - left, alice);
  return (await lab.vfs.getattr(file, root)).size / bs;
}

test('statfs: free, but not available', async ({ lab }) => {
  const before = await lab.vfs.statfs();
  expect(before.blocksAvailable).toBe(before.blocksFree);
  await lab.fs.setReserve(500);
  expect(await lab.vfs.statfs()).toMatchObject({
    blocksFree: before.blocksFree,
    blocksAvailable: before.blocksFree - kept,
  });
  await lab.remount();
  expect((await lab.vfs.statfs()).blocksAvailable).toBe(before.blocksFree - kept);
  await lab.fs.setReserve(0);
  expect((await lab.vfs.statfs()).blocksAvailable).toBe(before.blocksFree);
  expect(await errnoOfCall(() => lab.fs.setReserve(5001))).toBe('EINVAL');
  expect(await errnoOfCall(() => lab.fs.setReserve(0.5))).toBe('EINVAL');
});

test('others write up to it, root to the end', async ({ lab }) => {
  const end = await fill(lab, 4);
  const file = (await at(lab.vfs, 'file')).ino;
  expect(await write(lab, file, end * bs, 6 * bs, alice)).toBe(4 * bs);
  expect(await lab.vfs.statfs()).toMatchObject({ blocksFree: kept, blocksAvailable: 0 });
  expect(await errnoOfCall(() => write(lab, file, (end + 4) * bs, 1, alice))).toBe('ENOSPC');
  expect(await errnoOfCall(() => allocate(lab, file, 1, alice, end + 4))).toBe('ENOSPC');
  expect(await write(lab, file, 0, bs, alice)).toBe(bs); // in its own blocks
  await lab.vfs.mkdir(lab.vfs.rootIno, n('directory'), 0o755, root); // names take no blocks
  await allocate(lab, file, kept, root, end + 4);
  expect(await errnoOfCall(() => write(lab, file, (end + 4 + kept) * bs, 1, root))).toBe('ENOSPC');
  expect(await lab.vfs.statfs()).toMatchObject({ blocksFree: 0, blocksAvailable: 0 });
});

test('no block of it is granted to a client', async ({ lab }) => {
  const end = await fill(lab, 2);
  const file = (await at(lab.vfs, 'file')).ino;
  const grant = (blocks: number) => lab.fs.layouts.mapForWrite(file, { offset: end * bs, length: blocks * bs }, 7);
  expect(await errnoOfCall(() => grant(3))).toBe('ENOSPC');
  await grant(2);
  await lab.fs.layouts.releaseProvisional(file, { offset: 0, length: Infinity }, 7);
});

test('others free with it: the last block of a file that is cut, the edges of a hole, are copied if shared', async ({
  lab,
}) => {
  const { vfs, fs } = lab;
  const shared = await makeFile(vfs, 'shared', 0o666);
  await write(lab, shared, 0, 8 * bs);
  await fs.cloneFile(shared, vfs.rootIno, n('clone'), root);
  await fill(lab, 0);
  expect(await errnoOfCall(() => write(lab, shared, 10, 1, alice))).toBe('ENOSPC');
  await withHandle(vfs, shared, O_RDWR, (handle) => vfs.fallocate(handle, 'punch', 10, 3 * bs, alice));
  await vfs.setattr(shared, { size: 6 * bs + 1 }, alice);
  expect((await vfs.getattr(shared, root)).size).toBe(6 * bs + 1);
});

test('what is set when the filesystem is full takes effect as blocks go', async ({ lab }) => {
  const file = await makeFile(lab.vfs, 'file', 0o666);
  await allocate(lab, file, (await lab.vfs.statfs()).blocksFree);
  await lab.fs.setReserve(500);
  await lab.vfs.setattr(file, { size: bs }, root);
  await allocate(lab, file, (await lab.vfs.statfs()).blocksAvailable, alice, 1);
  expect((await lab.vfs.statfs()).blocksFree).toBe(kept);
});

test('inodes take no blocks: there are more to be had on a full device, as far as the disk of the metadata goes', async ({
  lab,
}) => {
  const file = await makeFile(lab.vfs, 'file');
  await allocate(lab, file, (await lab.vfs.statfs()).blocksFree);
  const { blocksFree, files, filesFree } = await lab.vfs.statfs();
  expect(blocksFree).toBe(0);
  expect(filesFree).toBeGreaterThan(0);
  expect(files - filesFree).toBe(2);
  await makeFile(lab.vfs, 'another');
});
