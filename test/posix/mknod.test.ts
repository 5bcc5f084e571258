/** mknod(2), mkfifo(3), and bind(2) of a Unix socket. */
import { describe, expect, test } from 'vitest';
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFREG, S_IFSOCK } from './support/constants.ts';
import { canMount, mounted } from './support/mounted.ts';
import { failsOnBadPaths, failsWithoutWritableParent, makeFile } from './support/path-errors.ts';
import { must } from './support/process.ts';
import { makedev } from './support/structs.ts';

const fs = mounted();

describe.skipIf(!canMount)('mknod', () => {
  failsOnBadPaths(fs, (by, path) => by.mknod(path, S_IFIFO | 0o644));
  failsWithoutWritableParent(fs, (by, path) => by.mknod(path, S_IFIFO | 0o644));

  test('fifos, sockets and files are for everybody, through the umask', async () => {
    const dir = await fs.directory();
    for (const type of [S_IFIFO, S_IFSOCK, S_IFREG]) {
      expect(await fs.alice.with({ umask: 0o027 }).mknod(`${dir}/${type}`, type | 0o777)).toBe(0);
      expect(await fs.root.lstat(`${dir}/${type}`)).toMatchObject({
        mode: type | 0o750,
        nlink: 1,
        size: 0,
        uid: 4001,
        gid: 4001,
      });
    }
    expect(await fs.alice.mknod(`${dir}/typeless`, 0o644)).toBe(0);
    expect(await fs.root.lstat(`${dir}/typeless`)).toMatchObject({ mode: S_IFREG | 0o644 });
  });

  test('devices are for root, and keep large numbers', async () => {
    const dir = await fs.directory();
    const devices = [
      { major: 1, minor: 3 },
      { major: 259, minor: 70_000 },
      { major: 4095, minor: 0xfffff },
    ];
    for (const [i, device] of devices.entries()) {
      for (const type of [S_IFCHR, S_IFBLK]) {
        const path = `${dir}/${type}-${i}`;
        expect(await fs.root.mknod(path, type | 0o600, makedev(device.major, device.minor))).toBe(0);
        expect(await fs.root.lstat(path)).toMatchObject({ mode: type | 0o600, rdev: device });
      }
    }
  });

  test('EPERM: a device made by an ordinary user', async () => {
    const dir = await fs.directory();
    expect(await fs.alice.mknod(`${dir}/char`, S_IFCHR | 0o600, makedev(1, 3))).toBe('EPERM');
    expect(await fs.alice.mknod(`${dir}/block`, S_IFBLK | 0o600, makedev(1, 3))).toBe('EPERM');
  });

  test('EPERM, EINVAL: a directory, or no type at all', async () => {
    const dir = await fs.directory();
    expect(await fs.root.mknod(`${dir}/directory`, S_IFDIR | 0o755)).toBe('EPERM');
    expect(await fs.root.mknod(`${dir}/nothing`, 0o030000)).toBe('EINVAL');
  });

  test('EEXIST: the name is taken, also by a symbolic link to nowhere', async () => {
    const dir = await fs.directory();
    await makeFile(fs.root, `${dir}/file`);
    await fs.root.symlink('nowhere', `${dir}/dangling`);
    await fs.root.mkdir(`${dir}/directory`, 0o755);
    for (const name of ['file', 'dangling', 'directory'])
      expect(await fs.alice.mknod(`${dir}/${name}`, S_IFIFO | 0o644)).toBe('EEXIST');
  });

  test('changes mtime and ctime of the directory', async () => {
    const dir = await fs.directory();
    const before = await must(fs.root.stat(dir));
    await must(fs.alice.mknod(`${dir}/fifo`, S_IFIFO | 0o644));
    const after = await must(fs.root.stat(dir));
    expect(after.mtime).toBeGreaterThan(before.mtime);
    expect(after.ctime).toBeGreaterThan(before.ctime);
    expect(after.nlink).toBe(before.nlink);
  });

  test('binding a Unix socket makes its file, once', async () => {
    const dir = await fs.directory();
    const address = Buffer.concat([Buffer.of(1, 0), Buffer.from(`${dir}/socket`), Buffer.of(0)]);
    const one = await must(fs.alice.socket(1, 1));
    const two = await must(fs.alice.socket(1, 1));
    expect(await fs.alice.bind(one, address)).toBe(0);
    expect(await fs.root.lstat(`${dir}/socket`)).toMatchObject({ mode: S_IFSOCK | 0o755, uid: 4001 });
    expect(await fs.alice.bind(two, address)).toBe('EADDRINUSE');
    await must(fs.alice.close(one));
    await must(fs.alice.close(two));
  });
});
