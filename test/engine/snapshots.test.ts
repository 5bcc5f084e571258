/** Snapshots in `.snapshots`: read-only trees, how they are found, and how they go again. */
import { describe, expect } from 'vitest';
import type { Caller, Vfs } from '../../fs/vfs.ts';
import { alice, bob, errnoOfCall, Lab, n, readAll, root, withHandle, writeFile } from '../support/filesystem.ts';
import { at, bs, clientRecord, list, makeDir, makeFile, pattern, test } from './fixture.ts';
import { deleteSnapshot, describeTree, makeTree, reaped, takeSnapshot, until, withLeases } from './trees.ts';

const O_RDWR = 2;
const O_TRUNC = 0o1000;

/** A file of four blocks in a directory of its own, and a snapshot `s` of that. */
async function snapped(vfs: Vfs): Promise<{ dir: number; file: number; copy: number }> {
  const dir = await makeDir(vfs, 'd');
  const file = await writeFile(vfs, 'f', pattern(4 * bs));
  await vfs.rename(vfs.rootIno, n('f'), dir, n('f'), 'replace', root);
  await takeSnapshot(vfs, 'd', 's');
  return { dir, file, copy: (await at(vfs, 'd/.snapshots/s/f')).ino };
}

describe('what a snapshot shows', () => {
  test('is the directory as it was, whatever happens to it', async ({ lab, vfs }) => {
    const dir = await makeTree(vfs, 'd', 3, 4);
    const before = await describeTree(vfs, dir);
    const snapshot = await takeSnapshot(vfs, 'd', 's');
    expect(await describeTree(vfs, snapshot)).toEqual(before);
    const d0 = (await at(vfs, 'd/d0')).ino;
    await vfs.setattr((await at(vfs, 'd/d0/f0')).ino, { size: 0, mode: 0o600 }, root);
    await vfs.unlink(d0, n('f1'), root);
    await vfs.rename(d0, n('f2'), vfs.rootIno, n('moved'), 'replace', root);
    await makeFile(vfs, 'd/d1/new');
    expect(await describeTree(vfs, snapshot)).toEqual(before);
    await lab.remount();
    expect(await describeTree(lab.vfs, snapshot)).toEqual(before);
  });

  test('an overwrite goes to new blocks, and only the snapshot keeps the old ones', async ({ lab, vfs }) => {
    const { file, copy } = await snapped(vfs);
    expect(lab.fs.status().blocks).toMatchObject({ file: 4, shared: 4 });
    await withHandle(vfs, file, O_RDWR, (handle) => vfs.write(handle, bs, pattern(2 * bs, 3), root));
    expect(lab.fs.status().blocks).toMatchObject({ file: 6, shared: 2 });
    expect((await readAll(vfs, copy)).equals(pattern(4 * bs))).toBe(true);
  });

  test('is a tree that can be cloned, and the clone can be written', async ({ lab, vfs }) => {
    const { copy } = await snapped(vfs);
    const clone = await lab.fs.cloneTree((await at(vfs, 'd/.snapshots/s')).ino, vfs.rootIno, n('restored'), root);
    const file = (await vfs.lookup(clone.ino, n('f'), root)).ino;
    await withHandle(vfs, file, O_RDWR, (handle) => vfs.write(handle, 0, pattern(10, 5), root));
    const single = await lab.fs.cloneFile(copy, vfs.rootIno, n('single'), root);
    await vfs.setattr(single.ino, { size: 0 }, root);
    expect((await readAll(vfs, copy)).equals(pattern(4 * bs))).toBe(true);
  });
});

describe('nothing in a snapshot changes: EROFS', () => {
  test('for root, by every operation', async ({ lab, vfs }) => {
    const { dir, copy, file } = await snapped(vfs);
    const snapshot = (await at(vfs, 'd/.snapshots/s')).ino;
    const before = await vfs.getattr(copy, root);
    const handle = await vfs.open(copy, 0, root);
    const other = await vfs.open(file, O_RDWR, root);
    const client = lab.fs.newClientId();
    const changes: Record<string, () => unknown> = {
      open: () => vfs.open(copy, O_RDWR, root),
      truncating: () => vfs.open(copy, O_TRUNC, root),
      access: () => vfs.access(copy, 2, root),
      mode: () => vfs.setattr(copy, { mode: 0o777 }, root),
      owner: () => vfs.setattr(copy, { uid: 1 }, root),
      size: () => vfs.setattr(copy, { size: 1 }, root),
      times: () => vfs.setattr(copy, { mtime: 'now' }, root),
      'mode of the root': () => vfs.setattr(snapshot, { mode: 0o777 }, root),
      setxattr: () => vfs.setxattr(copy, 'user.x', Buffer.from('x'), 'either', root),
      flags: () => vfs.setxattr(copy, 'system.iopmemfs.flags', Buffer.from('immutable'), 'either', root),
      removexattr: () => vfs.removexattr(copy, 'user.x', root),
      create: () => vfs.create(snapshot, n('x'), 0o644, 0, root),
      mkdir: () => vfs.mkdir(snapshot, n('x'), 0o755, root),
      mknod: () => vfs.mknod(snapshot, n('x'), 0o010644, 0, root),
      symlink: () => vfs.symlink(snapshot, n('x'), Buffer.from('x'), root),
      tmpfile: () => vfs.tmpfile(snapshot, 0o600, O_RDWR, root),
      'link into it': () => vfs.link(file, snapshot, n('x'), root),
      'link out of it': () => vfs.link(copy, dir, n('x'), root),
      unlink: () => vfs.unlink(snapshot, n('f'), root),
      rmdir: () => vfs.rmdir(snapshot, n('f'), root),
      'rename in it': () => vfs.rename(snapshot, n('f'), snapshot, n('g'), 'replace', root),
      'rename out of it': () => vfs.rename(snapshot, n('f'), dir, n('g'), 'replace', root),
      'rename into it': () => vfs.rename(dir, n('f'), snapshot, n('g'), 'replace', root),
      exchange: () => vfs.rename(dir, n('f'), snapshot, n('f'), 'exchange', root),
      'clone into it': () => lab.fs.cloneFile(file, snapshot, n('x'), root),
      'tree into it': () => lab.fs.cloneTree(dir, snapshot, n('x'), root),
      layout: () => lab.fs.layouts.mapForWrite(copy, { offset: 0, length: bs }, client),
      'file in .snapshots': async () => vfs.create((await at(vfs, 'd/.snapshots')).ino, n('x'), 0o644, 0, root),
      'mode of .snapshots': async () => vfs.setattr((await at(vfs, 'd/.snapshots')).ino, { mode: 0o777 }, root),
      'rename of a snapshot': async () => {
        const { ino } = await at(vfs, 'd/.snapshots');
        await vfs.rename(ino, n('s'), ino, n('t'), 'replace', root);
      },
    };
    for (const [name, change] of Object.entries(changes)) expect(await errnoOfCall(change), name).toBe('EROFS');
    expect(await errnoOfCall(() => vfs.write(handle, 0, pattern(1), root))).toBe('EBADF');
    expect(await errnoOfCall(() => vfs.copyRange(other, 0, handle, 0, bs, root))).toBe('EBADF');
    expect(await vfs.copyRange(handle, 0, other, 0, bs, root), 'reading is possible in every way').toBe(bs);
    await vfs.release(handle);
    await vfs.release(other);
    expect(await vfs.getattr(copy, root)).toEqual(before);
  });

  test('the time of access neither', async ({ vfs }) => {
    const { copy } = await snapped(vfs);
    const always: Caller = { ...root, atime: 'always' };
    const before = await vfs.getattr(copy, root);
    await readAll(vfs, copy, always);
    expect((await vfs.getattr(copy, root)).atime).toEqual(before.atime);
  });

  test('layouts for reading are granted', async ({ lab, vfs }) => {
    const { copy } = await snapped(vfs);
    const client = lab.fs.newClientId();
    await lab.fs.putClient(clientRecord(client));
    const extents = await lab.fs.layouts.mapForRead(copy, { offset: 0, length: 4 * bs }, client);
    expect(extents.reduce((sum, { length }) => sum + length, 0)).toBe(4 * bs);
    lab.fs.layouts.forgetGrant(copy, client);
  });
});

describe('.snapshots', () => {
  test('is found in every directory and listed in none', async ({ lab, vfs }) => {
    const { dir } = await snapped(vfs);
    expect(await list(vfs, dir)).toEqual(['.', '..', 'f']);
    expect(await list(vfs, (await at(vfs, '.snapshots')).ino)).toEqual(['.', '..']);
    expect(await list(vfs, (await at(vfs, 'd/.snapshots')).ino)).toEqual(['.', '..', 's']);
    expect(lab.fs.status().inodes).toBe(5);
  });

  test('".." leads from the snapshot to it, and from it to the directory', async ({ vfs }) => {
    const { dir } = await snapped(vfs);
    const snapshots = await at(vfs, 'd/.snapshots');
    const snapshot = await at(vfs, 'd/.snapshots/s');
    expect((await vfs.lookup(snapshot.ino, '..', root)).ino).toBe(snapshots.ino);
    expect((await vfs.lookup(snapshots.ino, '..', root)).ino).toBe(dir);
    expect((await vfs.lookup(snapshots.ino, '.', root)).ino).toBe(snapshots.ino);
    expect((await vfs.getattr(dir, root)).nlink, 'a snapshot is no link to the directory').toBe(2);
  });

  test('is not in a snapshot, nor in itself: there are no snapshots of snapshots', async ({ vfs }) => {
    await snapped(vfs);
    expect(await errnoOfCall(() => at(vfs, 'd/.snapshots/s/.snapshots'))).toBe('ENOENT');
    expect(await errnoOfCall(() => at(vfs, 'd/.snapshots/.snapshots'))).toBe('ENOENT');
    await takeSnapshot(vfs, '', 'all');
    expect(await errnoOfCall(() => at(vfs, '.snapshots/all/d/.snapshots'))).toBe('ENOENT');
    expect(await list(vfs, (await at(vfs, '.snapshots/all/d')).ino)).toEqual(['.', '..', 'f']);
  });

  test('its name is taken, and it stays where it is', async ({ vfs }) => {
    const { dir } = await snapped(vfs);
    const name = n('.snapshots');
    const file = await writeFile(vfs, 'x', pattern(1));
    expect(await errnoOfCall(() => vfs.mkdir(dir, name, 0o755, root))).toBe('EEXIST');
    expect(await errnoOfCall(() => vfs.create(dir, name, 0o644, 0, root))).toBe('EEXIST');
    expect(await errnoOfCall(() => vfs.link(file, dir, name, root))).toBe('EEXIST');
    expect(await errnoOfCall(() => vfs.rename(vfs.rootIno, n('x'), dir, name, 'replace', root))).toBe('EBUSY');
    expect(await errnoOfCall(() => vfs.rename(dir, name, dir, n('y'), 'replace', root))).toBe('EBUSY');
    expect(await errnoOfCall(() => vfs.rmdir(dir, name, root))).toBe('EBUSY');
    expect(await errnoOfCall(() => vfs.unlink(dir, name, root))).toBe('EBUSY');
  });

  test('makes and deletes for the owner of the directory, shows to those who may look into it', async ({ vfs }) => {
    const dir = await makeDir(vfs, 'd', 0o777);
    await vfs.setattr(dir, { uid: alice.uid }, root);
    const { ino, mode, uid } = await vfs.lookup(dir, n('.snapshots'), bob);
    expect({ mode: mode & 0o7777, uid }).toEqual({ mode: 0o755, uid: alice.uid });
    expect(await errnoOfCall(() => vfs.mkdir(ino, n('s'), 0o755, bob))).toBe('EACCES');
    await vfs.mkdir(ino, n('s'), 0o755, alice);
    expect((await vfs.lookup(ino, n('s'), bob)).ino).toBe((await at(vfs, 'd/.snapshots/s')).ino);
    expect(await errnoOfCall(() => vfs.rmdir(ino, n('s'), bob))).toBe('EACCES');
    await vfs.setattr(dir, { mode: 0o700 }, root);
    expect(await errnoOfCall(() => vfs.lookup(ino, n('s'), bob))).toBe('EACCES');
    await vfs.rmdir(ino, n('s'), alice);
  });

  test('moves with its directory, which cannot be removed while there are snapshots', async ({ lab, vfs }) => {
    const { dir } = await snapped(vfs);
    await vfs.rename(vfs.rootIno, n('d'), vfs.rootIno, n('e'), 'replace', root);
    expect((await readAll(vfs, (await at(vfs, 'e/.snapshots/s/f')).ino)).equals(pattern(4 * bs))).toBe(true);
    await vfs.unlink(dir, n('f'), root);
    await makeDir(vfs, 'other');
    expect(await errnoOfCall(() => vfs.rmdir(vfs.rootIno, n('e'), root))).toBe('ENOTEMPTY');
    const onto = () => vfs.rename(vfs.rootIno, n('other'), vfs.rootIno, n('e'), 'replace', root);
    expect(await errnoOfCall(onto)).toBe('ENOTEMPTY');
    await lab.remount();
    expect(await errnoOfCall(() => lab.vfs.rmdir(lab.vfs.rootIno, n('e'), root))).toBe('ENOTEMPTY');
    await deleteSnapshot(lab.vfs, 'e', 's');
    await lab.vfs.rmdir(lab.vfs.rootIno, n('e'), root);
    expect(await errnoOfCall(() => lab.vfs.getattr(dir, root))).toBe('ESTALE');
  });

  test('names: what is there is not made again, what is not there is not deleted', async ({ vfs }) => {
    await snapped(vfs);
    const { ino } = await at(vfs, 'd/.snapshots');
    expect(await errnoOfCall(() => takeSnapshot(vfs, 'd', 's'))).toBe('EEXIST');
    expect(await errnoOfCall(() => takeSnapshot(vfs, 'd', '.snapshots'))).toBe('EEXIST');
    expect(await errnoOfCall(() => vfs.rmdir(ino, n('t'), root))).toBe('ENOENT');
    for (const name of ['t', 'z'.repeat(255)]) {
      await takeSnapshot(vfs, 'd', name);
      expect((await at(vfs, `d/.snapshots/${name}`)).ino).toBeGreaterThan(ino - 2 ** 52);
    }
  });

  test('on a mount only for reading, snapshots can be read', async ({ lab, vfs }) => {
    await snapped(vfs);
    await lab.unmount();
    await lab.mount(undefined, { readOnly: true });
    expect((await readAll(lab.vfs, (await at(lab.vfs, 'd/.snapshots/s/f')).ino)).length).toBe(4 * bs);
    expect(await errnoOfCall(() => takeSnapshot(lab.vfs, 'd', 't'))).toBe('EROFS');
    expect(await errnoOfCall(() => deleteSnapshot(lab.vfs, 'd', 's'))).toBe('EROFS');
  });
});

describe('a deleted snapshot', () => {
  test('is gone at once, and its blocks soon', async ({ lab, vfs }) => {
    const { file } = await snapped(vfs);
    const { inodes } = lab.fs.status();
    await takeSnapshot(vfs, 'd', 't');
    await withHandle(vfs, file, O_RDWR, (handle) => vfs.write(handle, 0, pattern(4 * bs, 2), root));
    await deleteSnapshot(vfs, 'd', 's');
    expect(lab.fs.status().reaping.trees).toBe(1);
    expect(await list(vfs, (await at(vfs, 'd/.snapshots')).ino)).toEqual(['.', '..', 't']);
    await reaped(lab);
    expect(lab.fs.status(), 'the other one has them still').toMatchObject({ inodes, blocks: { file: 8, shared: 0 } });
    await deleteSnapshot(vfs, 'd', 't');
    await reaped(lab);
    expect(lab.fs.status()).toMatchObject({ inodes: inodes - 2, blocks: { file: 4, shared: 0 } });
  });

  test('lets those who have something of it open finish', async ({ lab, vfs }) => {
    const { file, copy } = await snapped(vfs);
    await vfs.setattr(file, { size: 0 }, root);
    const handle = await vfs.open(copy, 0, root);
    const top = await vfs.opendir((await at(vfs, 'd/.snapshots/s')).ino, root);
    await deleteSnapshot(vfs, 'd', 's');
    await reaped(lab);
    expect(await vfs.read(handle, 0, 4 * bs, root, (pieces) => Buffer.concat(pieces).equals(pattern(4 * bs)))).toBe(
      true,
    );
    expect((await vfs.readdir(top, 0, 10, root)).length).toBe(2);
    expect(lab.fs.status()).toMatchObject({ inodes: 5, blocks: { file: 4 } });
    await vfs.release(handle);
    await vfs.release(top);
    await vfs.syncfs();
    expect(lab.fs.status()).toMatchObject({ inodes: 3, blocks: { file: 0 } });
  });

  test('a part of it that is being cloned just then is not cloned', async () => {
    await withLeases(async (lab, leases) => {
      const { vfs } = lab;
      await makeTree(vfs, 'd', 3, 3);
      await takeSnapshot(vfs, 'd', 's');
      const part = await at(vfs, 'd/.snapshots/s/d1');
      const held = leases.hold((await at(vfs, 'd/.snapshots/s/d1/f1')).ino, 0, bs, 9);
      const clone = errnoOfCall(() => lab.fs.cloneTree(part.ino, vfs.rootIno, n('c'), root));
      await until('the clone waits', () => leases.recalled.length > 0);
      await deleteSnapshot(vfs, 'd', 's');
      leases.giveBack(held);
      expect(await clone).toBe('ENOENT');
      await reaped(lab);
      expect(lab.fs.status().inodes).toBe(1 + 13);
    });
  });

  test('whose root is closed while there is still something below it goes as a whole', async () => {
    await withLeases(async (lab, leases) => {
      const { vfs } = lab;
      const { file, copy } = await snapped(vfs);
      await vfs.setattr(file, { size: 0 }, root);
      const handle = await vfs.opendir((await at(vfs, 'd/.snapshots/s')).ino, root);
      const held = leases.hold(copy, 0, 4 * bs, 9, 'read');
      await deleteSnapshot(vfs, 'd', 's');
      await until('the layout is recalled', () => leases.recalled.length > 0);
      await vfs.release(handle);
      const crashed = await lab.crashed();
      expect(await crashed.problems()).toEqual([]);
      await crashed.remove();
      leases.giveBack(held);
      await reaped(lab);
      expect(lab.fs.status()).toMatchObject({ inodes: 3, blocks: { file: 0 } });
    });
  });

  test('layouts for reading on its files are recalled before their blocks go', async () => {
    await withLeases(async (lab, leases) => {
      const { vfs } = lab;
      const { file, copy } = await snapped(vfs);
      await vfs.setattr(file, { size: 0 }, root);
      const held = leases.hold(copy, 0, 4 * bs, 9, 'read');
      await deleteSnapshot(vfs, 'd', 's');
      await until('it is recalled', () =>
        leases.recalled.some(({ ino, reason }) => ino === copy && reason === 'unmap'),
      );
      await vfs.syncfs();
      expect(lab.fs.status().blocks).toMatchObject({ file: 4, freeing: 0 });
      leases.giveBack(held);
      await reaped(lab);
      expect(lab.fs.status().blocks).toMatchObject({ file: 0, freeing: 0 });
    });
  });

  test('who needs the space waits for it', async () => {
    const lab = await Lab.create(4 << 20);
    try {
      const { vfs } = lab;
      const dir = await makeDir(vfs, 'd');
      const ino = await writeFile(vfs, 'f', Buffer.alloc(600 * bs, 1));
      await vfs.rename(vfs.rootIno, n('f'), dir, n('f'), 'replace', root);
      await takeSnapshot(vfs, 'd', 's');
      await vfs.unlink(dir, n('f'), root);
      await vfs.syncfs();
      const big = await makeFile(vfs, 'big');
      const write = () =>
        withHandle(vfs, big, O_RDWR, (handle) => vfs.write(handle, 0, Buffer.alloc(800 * bs, 2), root));
      await deleteSnapshot(vfs, 'd', 's');
      expect(await write()).toBe(800 * bs);
      expect(await errnoOfCall(() => vfs.getattr(ino, root))).toBe('ESTALE');
    } finally {
      await lab.remove();
    }
  });

  test('a crash on the way: the next mount goes on, and each state is sound', async () => {
    await withLeases(async (lab, leases) => {
      const { vfs } = lab;
      const dir = await makeTree(vfs, 'd', 10, 60);
      await vfs.link((await at(vfs, 'd/d1/f1')).ino, (await at(vfs, 'd/d8')).ino, n('link'), root);
      const { inodes, blocks } = lab.fs.status();
      await takeSnapshot(vfs, 'd', 's');
      const paths = ['d0/f0', 'd4/f30', 'd9/f59'];
      const held = await Promise.all(
        paths.map(async (path) => leases.hold((await at(vfs, `d/.snapshots/s/${path}`)).ino, 0, bs, 9, 'read')),
      );
      await deleteSnapshot(vfs, 'd', 's');
      for (const [i, each] of held.entries()) {
        await until(`it waits for ${paths[i]}`, () => leases.recalled.length === i + 1);
        await vfs.syncfs();
        const crashed = await lab.crashed();
        try {
          expect(await crashed.problems(), 'before the mount').toEqual([]);
          await crashed.mount();
          expect(await list(crashed.vfs, (await at(crashed.vfs, 'd/.snapshots')).ino)).toEqual(['.', '..']);
          await reaped(crashed);
          expect(crashed.fs.status()).toMatchObject({ inodes, blocks: { file: blocks.file, shared: 0 } });
          expect(await crashed.problems(), 'after the mount').toEqual([]);
        } finally {
          await crashed.remove();
        }
        leases.giveBack(each);
      }
      await reaped(lab);
      expect(lab.fs.status()).toMatchObject({ inodes, blocks: { file: blocks.file, shared: 0 } });
      expect((await describeTree(vfs, dir)).size).toBe(inodes);
    });
  });

  test('unmounted on the way, and not done by a mount only for reading', async ({ lab, vfs }) => {
    await makeTree(vfs, 'd', 10, 100);
    const { inodes } = lab.fs.status();
    await takeSnapshot(vfs, 'd', 's');
    await deleteSnapshot(vfs, 'd', 's');
    await lab.unmount();
    await lab.mount(undefined, { readOnly: true });
    expect(lab.fs.status().inodes).toBeGreaterThan(inodes);
    await lab.remount();
    await reaped(lab);
    expect(lab.fs.status()).toMatchObject({ inodes });
  });

  test('its blocks stay out of reach of clients from before a crash, who may hold layouts on them', async ({
    lab,
    vfs,
  }) => {
    const { file, copy } = await snapped(vfs);
    const client = lab.fs.newClientId();
    await lab.fs.putClient(clientRecord(client));
    await lab.fs.layouts.mapForRead(copy, { offset: 0, length: 4 * bs }, client);
    await vfs.setattr(file, { size: 0 }, root);
    await deleteSnapshot(vfs, 'd', 's');
    await lab.remount();
    await reaped(lab);
    expect(lab.fs.status().blocks).toMatchObject({ file: 0, quarantined: 4 });
    await lab.fs.layouts.releaseQuarantine(client);
    expect(lab.fs.status().blocks).toMatchObject({ quarantined: 0 });
  });

  test('is not torn from under a clone of it', async () => {
    await withLeases(async (lab, leases) => {
      const { vfs } = lab;
      await makeTree(vfs, 'd', 3, 3);
      const snapshot = await takeSnapshot(vfs, 'd', 's');
      const whole = await describeTree(vfs, snapshot);
      const held = leases.hold((await at(vfs, 'd/.snapshots/s/d1/f1')).ino, 0, bs, 9);
      const clone = lab.fs.cloneTree(snapshot, vfs.rootIno, n('c'), root);
      await until('the clone waits', () => leases.recalled.length > 0);
      let isDeleted = false;
      const deleted = deleteSnapshot(vfs, 'd', 's').then(() => {
        isDeleted = true;
      });
      for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve));
      expect(isDeleted).toBe(false);
      leases.giveBack(held);
      await Promise.all([clone, deleted]);
      await reaped(lab);
      expect([...(await describeTree(vfs, (await at(vfs, 'c')).ino)).keys()]).toEqual([...whole.keys()]);
      expect(lab.fs.status().inodes).toBe(1 + 2 * whole.size);
    });
  });
});
