/** Who may do what: path_resolution(7), inode(7), chmod(2), chown(2), utimensat(2), open(2), xattr(7). */
import { describe, expect } from 'vitest';
import type { Caller, Vfs } from '../../fs/vfs.ts';
import { alice, bob, errnoOfCall, n, root } from '../support/filesystem.ts';
import { at, makeDir, makeFile, test } from './fixture.ts';

const O_RDONLY = 0;
const O_WRONLY = 1;
const O_RDWR = 2;
const O_TRUNC = 0o1000;
/** In alice's supplementary group only. */
const carol: Caller = { uid: 1002, gid: 1002, groups: [1002, 50], pid: 4, access: 'engine' };
const trusted: Caller = { ...bob, access: 'kernel' };

async function owned(vfs: Vfs, name: string, mode: number, by: Caller, gid = by.gid): Promise<number> {
  const ino = await makeFile(vfs, name, 0o600);
  await vfs.setattr(ino, { uid: by.uid, gid }, root);
  await vfs.setattr(ino, { mode }, root);
  return ino;
}

function open(vfs: Vfs, ino: number, flags: number, by: Caller): Promise<string | undefined> {
  return errnoOfCall(async () => vfs.release(await vfs.open(ino, flags, by)));
}

describe('permission bits', () => {
  test('the first class that fits decides, even if a later one would allow more', async ({ vfs }) => {
    const ino = await owned(vfs, 'f', 0o047, alice, 50);
    expect(await open(vfs, ino, O_RDONLY, alice)).toBe('EACCES');
    expect(await open(vfs, ino, O_RDONLY, carol)).toBeUndefined();
    expect(await open(vfs, ino, O_WRONLY, carol)).toBe('EACCES');
    expect(await open(vfs, ino, O_RDWR, bob)).toBeUndefined();
  });

  test('root reads and writes everything, and executes what anybody may execute', async ({ vfs }) => {
    const ino = await owned(vfs, 'f', 0o000, alice);
    expect(await open(vfs, ino, O_RDWR, root)).toBeUndefined();
    expect(await errnoOfCall(() => vfs.access(ino, 1, root))).toBe('EACCES');
    await vfs.setattr(ino, { mode: 0o001 }, root);
    expect(await errnoOfCall(() => vfs.access(ino, 1, root))).toBeUndefined();
  });

  test('what the kernel has checked is not checked again', async ({ vfs }) => {
    const ino = await owned(vfs, 'f', 0o000, alice);
    expect(await open(vfs, ino, O_RDWR, trusted)).toBeUndefined();
    expect(await errnoOfCall(() => vfs.setattr(ino, { mode: 0o777, uid: 7 }, trusted))).toBeUndefined();
  });

  test('access(2) answers for each of the three', async ({ vfs }) => {
    const ino = await owned(vfs, 'f', 0o540, alice);
    const may = async (mask: number, by: Caller) => (await errnoOfCall(() => vfs.access(ino, mask, by))) === undefined;
    expect([await may(4, alice), await may(2, alice), await may(1, alice), await may(5, alice)]).toEqual([
      true,
      false,
      true,
      true,
    ]);
    expect(await may(4, bob)).toBe(false);
    expect(await may(0, bob)).toBe(true);
  });

  test('looking up needs search permission, changing entries write permission as well', async ({ vfs }) => {
    const dir = await makeDir(vfs, 'd');
    await makeFile(vfs, 'd/f');
    const attempts = [
      () => vfs.create(dir, n('new'), 0o644, 2, bob),
      () => vfs.mkdir(dir, n('new'), 0o755, bob),
      () => vfs.symlink(dir, n('new'), Buffer.from('x'), bob),
      () => vfs.tmpfile(dir, 0o600, 2, bob),
      () => vfs.unlink(dir, n('f'), bob),
      () => vfs.rename(dir, n('f'), dir, n('g'), 'replace', bob),
    ];
    for (const mode of [0o755, 0o752, 0o754]) {
      await vfs.setattr(dir, { mode }, root);
      for (const attempt of attempts) expect(await errnoOfCall(attempt), mode.toString(8)).toBe('EACCES');
    }
    expect(await errnoOfCall(() => vfs.lookup(dir, n('f'), bob))).toBe('EACCES');
    await vfs.setattr(dir, { mode: 0o751 }, root);
    expect((await vfs.lookup(dir, n('f'), bob)).nlink).toBe(1);
    expect(await errnoOfCall(() => vfs.opendir(dir, bob))).toBe('EACCES');
  });

  test('O_TRUNC needs write permission, however the file is opened', async ({ vfs }) => {
    const ino = await owned(vfs, 'f', 0o644, alice);
    await vfs.setattr(ino, { size: 100 }, root);
    expect(await open(vfs, ino, O_RDONLY | O_TRUNC, bob)).toBe('EACCES');
    expect((await vfs.getattr(ino, root)).size).toBe(100);
    expect(await open(vfs, ino, O_WRONLY | O_TRUNC, alice)).toBeUndefined();
    expect((await vfs.getattr(ino, root)).size).toBe(0);
  });

  test('truncate needs write permission, ftruncate a handle for writing', async ({ vfs }) => {
    const ino = await owned(vfs, 'f', 0o600, alice);
    const writing = await vfs.open(ino, O_RDWR, alice);
    const reading = await vfs.open(ino, O_RDONLY, alice);
    expect(await errnoOfCall(() => vfs.setattr(ino, { size: 1 }, bob))).toBe('EACCES');
    expect(await errnoOfCall(() => vfs.setattr(ino, { size: 1 }, bob, reading))).toBe('EACCES');
    expect((await vfs.setattr(ino, { size: 2 }, bob, writing)).size).toBe(2);
    await vfs.release(writing);
    await vfs.release(reading);
  });

  test('EBADF to read where only writing was opened, and the other way round', async ({ vfs }) => {
    const ino = await owned(vfs, 'f', 0o600, alice);
    const writing = await vfs.open(ino, O_WRONLY, alice);
    const reading = await vfs.open(ino, O_RDONLY, alice);
    const appending = await vfs.open(ino, O_WRONLY | 0o2000, alice);
    expect(await errnoOfCall(() => vfs.read(writing, 0, 1, alice, () => 0))).toBe('EBADF');
    expect(await errnoOfCall(() => vfs.write(reading, 0, Buffer.from('x'), alice))).toBe('EBADF');
    expect(await errnoOfCall(() => vfs.fallocate(reading, 'allocate', 0, 1, alice))).toBe('EBADF');
    expect(await errnoOfCall(() => vfs.copyRange(writing, 0, writing, 10, 1, alice))).toBe('EBADF');
    expect(await errnoOfCall(() => vfs.copyRange(reading, 0, reading, 10, 1, alice))).toBe('EBADF');
    // copy_file_range(2): EBADF for a target opened with O_APPEND
    expect(await errnoOfCall(() => vfs.copyRange(reading, 0, appending, 0, 1, alice))).toBe('EBADF');
    for (const handle of [writing, reading, appending]) await vfs.release(handle);
  });

  test('EISDIR to open a directory for writing', async ({ vfs }) => {
    const dir = await makeDir(vfs, 'd');
    expect(await open(vfs, dir, O_WRONLY, root)).toBe('EISDIR');
    expect(await open(vfs, dir, O_TRUNC, root)).toBe('EISDIR');
  });

  test('EPERM for a device node that root did not make', async ({ vfs }) => {
    await vfs.setattr(vfs.rootIno, { mode: 0o777 }, root);
    expect(await errnoOfCall(() => vfs.mknod(vfs.rootIno, n('mem'), 0o020666, 0x101, alice))).toBe('EPERM');
    expect(await errnoOfCall(() => vfs.mknod(vfs.rootIno, n('sda'), 0o060666, 0x800, alice))).toBe('EPERM');
    expect(await errnoOfCall(() => vfs.mknod(vfs.rootIno, n('fifo'), 0o010666, 0, alice))).toBeUndefined();
  });
});

describe('sticky directories', () => {
  test('only the owner of the file, of the directory, or root removes or renames', async ({ vfs }) => {
    const dir = await makeDir(vfs, 'tmp');
    await vfs.setattr(dir, { mode: 0o1777, uid: carol.uid }, root);
    const makeAll = async () => {
      for (const name of ['a', 'b', 'c'])
        if (await errnoOfCall(() => at(vfs, `tmp/${name}`))) await makeFile(vfs, `tmp/${name}`, 0o644, alice);
    };
    await makeAll();
    expect(await errnoOfCall(() => vfs.unlink(dir, n('a'), bob))).toBe('EPERM');
    expect(await errnoOfCall(() => vfs.rename(dir, n('a'), dir, n('x'), 'replace', bob))).toBe('EPERM');
    const own = await makeFile(vfs, 'tmp/own', 0o644, bob);
    expect(await errnoOfCall(() => vfs.rename(dir, n('own'), dir, n('a'), 'replace', bob))).toBe('EPERM');
    expect(await errnoOfCall(() => vfs.rename(dir, n('own'), dir, n('a'), 'exchange', bob))).toBe('EPERM');
    expect((await vfs.getattr(own, root)).nlink).toBe(1);
    expect(await errnoOfCall(() => vfs.unlink(dir, n('a'), alice))).toBeUndefined();
    expect(await errnoOfCall(() => vfs.unlink(dir, n('b'), carol))).toBeUndefined();
    expect(await errnoOfCall(() => vfs.unlink(dir, n('c'), root))).toBeUndefined();
  });

  test('the same for rmdir', async ({ vfs }) => {
    const dir = await makeDir(vfs, 'tmp');
    await vfs.setattr(dir, { mode: 0o1777 }, root);
    await makeDir(vfs, 'tmp/d', 0o777, alice);
    expect(await errnoOfCall(() => vfs.rmdir(dir, n('d'), bob))).toBe('EPERM');
    expect(await errnoOfCall(() => vfs.rmdir(dir, n('d'), alice))).toBeUndefined();
  });
});

test('a directory that changes its parent must be writable itself, since its .. changes', async ({ vfs }) => {
  await vfs.setattr(vfs.rootIno, { mode: 0o777 }, root);
  const [from, to] = [await makeDir(vfs, 'from', 0o777, alice), await makeDir(vfs, 'to', 0o777, alice)];
  await makeDir(vfs, 'from/d', 0o755, alice);
  await makeDir(vfs, 'to/own', 0o755, bob);
  expect(await errnoOfCall(() => vfs.rename(from, n('d'), to, n('d'), 'replace', bob))).toBe('EACCES');
  expect(await errnoOfCall(() => vfs.rename(to, n('own'), from, n('d'), 'exchange', bob))).toBe('EACCES');
  expect(await errnoOfCall(() => vfs.rename(from, n('d'), from, n('e'), 'replace', bob))).toBeUndefined();
  expect(await errnoOfCall(() => vfs.rename(from, n('e'), to, n('d'), 'replace', alice))).toBeUndefined();
});

describe('set-group-ID directories', () => {
  test('give their group to what is made in them, and the bit to directories', async ({ vfs }) => {
    const dir = await makeDir(vfs, 'd');
    await vfs.setattr(dir, { gid: 50 }, root);
    await vfs.setattr(dir, { mode: 0o2777 }, root);
    await makeFile(vfs, 'd/f', 0o644, alice);
    expect(await at(vfs, 'd/f')).toMatchObject({ gid: 50, mode: 0o100644 });
    await makeDir(vfs, 'd/e', 0o755, alice);
    expect(await at(vfs, 'd/e')).toMatchObject({ gid: 50, mode: 0o42755 });
  });

  test('no set-group-ID program for a group the maker is not in (CVE-2018-13405)', async ({ vfs }) => {
    const dir = await makeDir(vfs, 'd');
    await vfs.setattr(dir, { gid: 50 }, root);
    await vfs.setattr(dir, { mode: 0o2777 }, root);
    await makeFile(vfs, 'd/bob', 0o2755, bob);
    await makeFile(vfs, 'd/alice', 0o2755, alice);
    expect((await at(vfs, 'd/bob')).mode).toBe(0o100755);
    expect((await at(vfs, 'd/alice')).mode).toBe(0o102755);
  });
});

describe('chmod', () => {
  test('EPERM for all but the owner and root', async ({ vfs }) => {
    const ino = await owned(vfs, 'f', 0o666, alice);
    expect(await errnoOfCall(() => vfs.setattr(ino, { mode: 0o600 }, bob))).toBe('EPERM');
    expect((await vfs.setattr(ino, { mode: 0o4755 }, alice)).mode).toBe(0o104755);
  });

  test('an owner outside the group of the file loses set-group-ID', async ({ vfs }) => {
    const ino = await owned(vfs, 'f', 0o644, alice, 777);
    expect((await vfs.setattr(ino, { mode: 0o2755 }, alice)).mode).toBe(0o100755);
    expect((await vfs.setattr(ino, { mode: 0o2755 }, root)).mode).toBe(0o102755);
  });
});

describe('chown', () => {
  test('only root gives files away; an owner chooses among its own groups', async ({ vfs }) => {
    const ino = await owned(vfs, 'f', 0o644, alice);
    expect(await errnoOfCall(() => vfs.setattr(ino, { uid: bob.uid }, alice))).toBe('EPERM');
    expect(await errnoOfCall(() => vfs.setattr(ino, { gid: 777 }, alice))).toBe('EPERM');
    expect(await errnoOfCall(() => vfs.setattr(ino, { gid: bob.gid }, bob))).toBe('EPERM');
    expect((await vfs.setattr(ino, { gid: 50 }, alice)).gid).toBe(50);
    expect((await vfs.setattr(ino, { uid: bob.uid, gid: 777 }, root)).uid).toBe(bob.uid);
  });

  test('nothing changes where one of several changes is refused', async ({ vfs }) => {
    const ino = await owned(vfs, 'f', 0o644, alice);
    const before = await vfs.getattr(ino, root);
    expect(await errnoOfCall(() => vfs.setattr(ino, { size: 10, mode: 0o600, uid: 5 }, alice))).toBe('EPERM');
    expect(await errnoOfCall(() => vfs.setattr(ino, { size: 10, mode: 0o600 }, bob))).toBe('EPERM');
    expect(await vfs.getattr(ino, root)).toEqual(before);
  });
});

describe('utimensat', () => {
  test('the current time is for all who may write, EACCES for the others; any other time for the owner', async ({
    vfs,
  }) => {
    const ino = await owned(vfs, 'f', 0o602, alice);
    const then = { sec: 1, nsec: 2 };
    expect(await errnoOfCall(() => vfs.setattr(ino, { atime: 'now', mtime: 'now' }, bob))).toBeUndefined();
    expect(await errnoOfCall(() => vfs.setattr(ino, { atime: 'now' }, bob))).toBe('EPERM');
    expect(await errnoOfCall(() => vfs.setattr(ino, { atime: then, mtime: then }, bob))).toBe('EPERM');
    await vfs.setattr(ino, { mode: 0o400 }, root);
    expect(await errnoOfCall(() => vfs.setattr(ino, { atime: 'now', mtime: 'now' }, bob))).toBe('EACCES');
    expect(await errnoOfCall(() => vfs.setattr(ino, { atime: 'now', mtime: 'now' }, alice))).toBeUndefined();
    const attr = await vfs.setattr(ino, { mtime: then }, alice);
    expect(attr.mtime).toEqual(then);
    expect(attr.ctime.sec).toBeGreaterThan(1);
  });

  test('times before 1970 and past what a double counts come back from the store', async ({ lab }) => {
    const ino = await makeFile(lab.vfs, 'f');
    const changes = { atime: { sec: -5, nsec: 999_999_999 }, mtime: { sec: 2 ** 63, nsec: 0 } };
    await lab.vfs.setattr(ino, changes, root);
    await lab.remount();
    const attr = await lab.vfs.getattr(ino, root);
    expect(attr.atime).toEqual({ sec: -5, nsec: 999_999_999 });
    expect(attr.mtime.sec).toBe(Number.MAX_SAFE_INTEGER);
  });
});

describe('set-user-ID, set-group-ID and file capabilities', () => {
  const capability = 'security.capability';
  const change: Record<string, (vfs: Vfs, ino: number, by: Caller) => unknown> = {
    write: async (vfs, ino, by) => {
      const handle = await vfs.open(ino, O_WRONLY, by);
      await vfs.write(handle, 0, Buffer.from('x'), by);
      await vfs.release(handle);
    },
    truncate: (vfs, ino, by) => vfs.setattr(ino, { size: 3 }, by),
    'open O_TRUNC': async (vfs, ino, by) => vfs.release(await vfs.open(ino, O_WRONLY | O_TRUNC, by)),
    fallocate: async (vfs, ino, by) => {
      const handle = await vfs.open(ino, O_WRONLY, by);
      await vfs.fallocate(handle, 'punch', 0, 4096, by);
      await vfs.release(handle);
    },
    copy_file_range: async (vfs, ino, by) => {
      const handle = await vfs.open(ino, O_RDWR, by);
      await vfs.copyRange(handle, 0, handle, 8192, 4096, by);
      await vfs.release(handle);
    },
  };

  async function privileged(vfs: Vfs, mode = 0o6777): Promise<number> {
    const ino = await owned(vfs, `f${mode}`, mode, alice);
    await vfs.setattr(ino, { size: 8192 }, root);
    await vfs.setxattr(ino, capability, Buffer.from('cap'), 'either', root);
    return ino;
  }

  for (const [name, apply] of Object.entries(change)) {
    test(`are lost by ${name} of anybody but root`, async ({ lab }) => {
      const ino = await privileged(lab.vfs);
      await apply(lab.vfs, ino, root);
      expect((await lab.vfs.getattr(ino, root)).mode).toBe(0o106777);
      expect(await lab.vfs.listxattr(ino, root)).toEqual([capability]);
      await lab.remount();
      await apply(lab.vfs, ino, bob);
      expect((await lab.vfs.getattr(ino, root)).mode).toBe(0o100777);
      await lab.remount();
      expect(await lab.vfs.listxattr(ino, root)).toEqual([]);
    });
  }

  test('are lost by chown, also by root; a directory keeps them', async ({ lab }) => {
    const ino = await privileged(lab.vfs);
    await lab.remount();
    const { vfs } = lab;
    expect((await vfs.setattr(ino, { gid: 50 }, root)).mode).toBe(0o100777);
    expect(await vfs.listxattr(ino, root)).toEqual([]);
    const dir = await makeDir(vfs, 'd');
    await vfs.setattr(dir, { mode: 0o2755 }, root);
    expect((await vfs.setattr(dir, { gid: 50 }, root)).mode).toBe(0o42755);
  });

  test('are lost when a peer is allowed to write, for nobody sees what it writes', async ({ lab }) => {
    const ino = await privileged(lab.vfs);
    await lab.remount();
    await lab.fs.layouts.mapForWrite(ino, { offset: 0, length: 4096 }, 7);
    expect((await lab.vfs.getattr(ino, root)).mode).toBe(0o100777);
    expect(await lab.vfs.listxattr(ino, root)).toEqual([]);
    await lab.fs.layouts.releaseProvisional(ino, { offset: 0, length: 4096 }, 7);
  });

  test('set-group-ID without group execution stays with writers of the group, others take it', async ({ vfs }) => {
    const ino = await privileged(vfs, 0o6766);
    await vfs.setattr(ino, { size: 3 }, alice);
    expect((await vfs.getattr(ino, root)).mode).toBe(0o102766);
    await vfs.setattr(ino, { size: 3 }, bob);
    expect((await vfs.getattr(ino, root)).mode).toBe(0o100766);
  });
});
