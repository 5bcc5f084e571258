/** How far a file goes on in the same way: what a layout can take in without using space. */
import { constants } from 'node:fs';
import { expect } from 'vitest';
import type { Lab } from '../support/filesystem.ts';
import { n, root, withHandle, writeFile } from '../support/filesystem.ts';
import { bs, makeFile, test } from './fixture.ts';

/** In blocks. */
async function reach(lab: Lab, ino: number, from: number, to: number, extentsMax = 64) {
  const range = { offset: from * bs, length: (to - from) * bs };
  const { written, own, listed } = await lab.fs.layouts.reach(ino, range, extentsMax);
  return [written / bs, own / bs, listed / bs];
}

test('to unwritten blocks, to holes, to the end of what is looked at', async ({ lab }) => {
  const ino = await makeFile(lab.vfs, 'a');
  expect(await reach(lab, ino, 0, 10)).toEqual([0, 0, 10]);
  await withHandle(lab.vfs, ino, constants.O_RDWR, async (handle) => {
    await lab.vfs.write(handle, 0, Buffer.alloc(2 * bs, 1), root);
    await lab.vfs.fallocate(handle, 'allocate', 2 * bs, 2 * bs, root);
    await lab.vfs.write(handle, 6 * bs, Buffer.alloc(bs, 1), root);
  });
  expect(await reach(lab, ino, 0, 10)).toEqual([2, 4, 10]);
  expect(await reach(lab, ino, 1, 2)).toEqual([2, 2, 2]);
  expect(await reach(lab, ino, 2, 10)).toEqual([2, 4, 10]);
  expect(await reach(lab, ino, 4, 10)).toEqual([4, 4, 10]);
  expect(await reach(lab, ino, 6, 10)).toEqual([7, 7, 10]);
  expect(await reach(lab, ino, 0, 10, 1)).toEqual([2, 2, 2]);
  expect(await reach(lab, ino, 0, 10, 3)).toEqual([2, 4, 6]);
});

test('to what another file shares, and nowhere in a file that is copied on each write', async ({ lab }) => {
  const ino = await writeFile(lab.vfs, 'a', Buffer.alloc(4 * bs, 1));
  await lab.fs.cloneFile(ino, lab.vfs.rootIno, n('b'), root);
  await withHandle(lab.vfs, ino, constants.O_RDWR, (handle) => lab.vfs.write(handle, 0, Buffer.alloc(2 * bs, 2), root));
  expect(await reach(lab, ino, 0, 4)).toEqual([2, 2, 4]);
  expect(await reach(lab, ino, 2, 4)).toEqual([2, 2, 4]);

  const cow = await makeFile(lab.vfs, 'c');
  await lab.vfs.setxattr(cow, 'system.iopmemfs.cow', Buffer.from('on'), 'either', root);
  await withHandle(lab.vfs, cow, constants.O_RDWR, (handle) => lab.vfs.write(handle, 0, Buffer.alloc(4 * bs, 1), root));
  expect(await reach(lab, cow, 0, 4)).toEqual([0, 0, 4]);
});
