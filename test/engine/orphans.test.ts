/** Files without a name live on until their last user goes; after a crash, until the next mount. */
import { expect } from 'vitest';
import type { Vfs } from '../../fs/vfs.ts';
import { errnoOfCall, type Lab, n, readAll, readRange, root, writeFile } from '../support/filesystem.ts';
import { bs, clientRecord, makeDir, pattern, test } from './fixture.ts';

/** An open file of 10 blocks without a name. */
async function orphan(vfs: Vfs) {
  const ino = await writeFile(vfs, 'f', pattern(10 * bs));
  const handle = await vfs.open(ino, 2, root);
  await vfs.unlink(vfs.rootIno, n('f'), root);
  return { ino, handle };
}

async function used(lab: Lab): Promise<{ inodes: number; file: number; freeing: number }> {
  await lab.vfs.syncfs();
  const { inodes, blocks } = lab.fs.status();
  return { inodes, file: blocks.file, freeing: blocks.freeing };
}

test('an open file without a name can be read, written, stated and truncated', async ({ vfs }) => {
  const { ino, handle } = await orphan(vfs);
  expect((await vfs.getattr(ino, root)).nlink).toBe(0);
  await vfs.write(handle, 20 * bs, pattern(100, 2), root);
  expect((await readRange(vfs, handle, 20 * bs, 100)).equals(pattern(100, 2))).toBe(true);
  await vfs.setattr(ino, { size: 50 }, root, handle);
  expect((await readRange(vfs, handle, 0, 100)).equals(pattern(50))).toBe(true);
  await vfs.release(handle);
});

test('its blocks are free when the last of its handles goes, not before', async ({ lab }) => {
  const before = await used(lab);
  const { ino, handle } = await orphan(lab.vfs);
  const second = await lab.vfs.open(ino, 0, root);
  expect(await used(lab)).toMatchObject({ inodes: before.inodes + 1, file: 10 });
  await lab.vfs.release(handle);
  expect(await used(lab)).toMatchObject({ file: 10 });
  await lab.vfs.release(second);
  expect(await used(lab)).toEqual(before);
  expect(await errnoOfCall(() => lab.vfs.getattr(ino, root))).toBe('ESTALE');
});

test('a reference of the kernel keeps it as well as a handle does', async ({ lab }) => {
  const before = await used(lab);
  const { ino, handle } = await orphan(lab.vfs);
  lab.vfs.remember(ino, 1);
  lab.vfs.remember(ino, 2);
  await lab.vfs.release(handle);
  lab.vfs.forget(ino, 2);
  expect(await used(lab)).toMatchObject({ file: 10 });
  lab.vfs.forget(ino, 1);
  expect(await used(lab)).toEqual(before);
});

test('forgetting inodes that have names, or that nobody knows, does nothing', async ({ lab }) => {
  const ino = await writeFile(lab.vfs, 'f', pattern(10));
  lab.vfs.remember(ino, 1);
  lab.vfs.forget(ino, 1);
  lab.vfs.forget(ino, 5);
  lab.vfs.forget(99_999, 1);
  expect((await readAll(lab.vfs, ino)).equals(pattern(10))).toBe(true);
});

test('after a crash the next mount removes it, and its attributes', async ({ lab }) => {
  const before = await used(lab);
  const { ino, handle } = await orphan(lab.vfs);
  await lab.vfs.setxattr(ino, 'user.a', Buffer.from('x'), 'either', root);
  await lab.vfs.syncfs();
  const crashed = await lab.afterCrash();
  try {
    expect(await used(crashed)).toEqual(before);
    expect(await errnoOfCall(() => crashed.vfs.getattr(ino, root))).toBe('ESTALE');
    expect(await crashed.problems()).toEqual([]);
  } finally {
    await crashed.remove();
  }
  await lab.vfs.release(handle);
});

test('after an unmount with the file still open, too', async ({ lab }) => {
  const before = await used(lab);
  await orphan(lab.vfs);
  await lab.remount();
  expect(await used(lab)).toEqual(before);
});

test('a crash before the unlink was durable leaves the file with its name', async ({ lab }) => {
  const ino = await writeFile(lab.vfs, 'f', pattern(10));
  await lab.vfs.syncfs();
  const handle = await lab.vfs.open(ino, 0, root);
  await lab.vfs.unlink(lab.vfs.rootIno, n('f'), root);
  const crashed = await lab.afterCrash();
  try {
    expect((await crashed.vfs.lookup(crashed.vfs.rootIno, n('f'), root)).nlink).toBe(1);
    expect((await readAll(crashed.vfs, ino)).equals(pattern(10))).toBe(true);
  } finally {
    await crashed.remove();
  }
  await lab.vfs.release(handle);
});

test('directories and files never named are removed at mount as well', async ({ lab }) => {
  const before = await used(lab);
  const dir = await makeDir(lab.vfs, 'd');
  await lab.vfs.opendir(dir, root);
  await lab.vfs.rmdir(lab.vfs.rootIno, n('d'), root);
  const { handle } = await lab.vfs.tmpfile(lab.vfs.rootIno, 0o600, 2, root);
  await lab.vfs.write(handle, 0, pattern(5 * bs), root);
  await lab.vfs.syncfs();
  await lab.remount();
  expect(await used(lab)).toEqual(before);
});

test('a file that was given a name again is not removed', async ({ lab }) => {
  const { attr, handle } = await lab.vfs.tmpfile(lab.vfs.rootIno, 0o600, 2, root);
  await lab.vfs.write(handle, 0, pattern(100), root);
  await lab.vfs.syncfs();
  await lab.vfs.link(attr.ino, lab.vfs.rootIno, n('named'), root);
  await lab.vfs.release(handle);
  await lab.remount();
  expect((await readAll(lab.vfs, attr.ino)).equals(pattern(100))).toBe(true);
});

test('a mount only for reading leaves it to the next one', async ({ lab }) => {
  const before = await used(lab);
  await orphan(lab.vfs);
  await lab.unmount();
  await lab.mount(undefined, { readOnly: true });
  expect(lab.fs.status()).toMatchObject({ inodes: before.inodes + 1 });
  await lab.remount();
  expect(await used(lab)).toEqual(before);
});

test('removed at mount, its blocks stay out of reach of clients from before, who may hold layouts on them', async ({
  lab,
}) => {
  const client = lab.fs.newClientId();
  await lab.fs.putClient(clientRecord(client));
  const { ino } = await orphan(lab.vfs);
  const extents = await lab.fs.layouts.mapForWrite(ino, { offset: 0, length: 10 * bs }, client);
  await lab.remount();
  expect(lab.fs.status().blocks).toMatchObject({ file: 0, quarantined: 10 });
  const filler = await writeFile(lab.vfs, 'filler', Buffer.alloc(lab.fs.status().blocks.free * bs, 3));
  lab.fs.device.write(extents[0]?.storageOffset ?? 0, Buffer.alloc(10 * bs, 0xee));
  expect((await readAll(lab.vfs, filler)).every((byte) => byte === 3)).toBe(true);
  await lab.fs.layouts.releaseQuarantine(client);
  expect(lab.fs.status().blocks).toMatchObject({ quarantined: 0, free: 10 });
});

test('removed at mount, nothing of it waits for a client that had ended before the grant was on record', async ({
  lab,
}) => {
  const { ino } = await orphan(lab.vfs);
  await lab.fs.layouts.mapForRead(ino, { offset: 0, length: 10 * bs }, 9);
  await lab.remount();
  expect(lab.fs.status().blocks).toMatchObject({ file: 0, quarantined: 0 });
  expect(lab.fs.layouts.granted(9).size).toBe(0);
});
