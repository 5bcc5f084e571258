/** rmdir(2), unlinkat with AT_REMOVEDIR. */
import { describe, expect, test } from 'vitest';
import { AT_FDCWD, AT_REMOVEDIR, O_CREAT, O_DIRECTORY, O_RDONLY, O_WRONLY, S_IFIFO } from './support/constants.ts';
import { canMount, isRemote, mounted } from './support/mounted.ts';
import { failsOnBadPaths, failsOnMissing, failsWithoutWritableParent, makeFile } from './support/path-errors.ts';
import { must } from './support/process.ts';

const fs = mounted();

describe.skipIf(!canMount)('rmdir', () => {
  failsOnBadPaths(fs, (by, path) => by.rmdir(path));
  failsOnMissing(fs, (by, path) => by.rmdir(path));
  failsWithoutWritableParent(fs, async (by, path) => {
    await fs.root.mkdir(path, 0o755);
    return by.rmdir(path);
  });

  test('an empty directory goes, and its link to the parent with it', async () => {
    const dir = await fs.directory();
    await must(fs.alice.mkdir(`${dir}/empty`, 0o755));
    const before = await must(fs.root.stat(dir));
    expect(await fs.alice.rmdir(`${dir}/empty`)).toBe(0);
    expect(await fs.root.stat(`${dir}/empty`)).toBe('ENOENT');
    const after = await must(fs.root.stat(dir));
    expect(after.nlink).toBe(before.nlink - 1);
    expect(after.mtime).toBeGreaterThan(before.mtime);
    await must(fs.alice.mkdir(`${dir}/again`, 0o755));
    expect(await fs.alice.unlinkat(AT_FDCWD, `${dir}/again`, AT_REMOVEDIR)).toBe(0);
  });

  test('ENOTEMPTY: something is in it, whatever', async () => {
    const dir = await fs.directory();
    await must(fs.alice.mkdir(`${dir}/full`, 0o755));
    const fillings = [
      { make: () => makeFile(fs.alice, `${dir}/full/x`), clear: () => fs.alice.unlink(`${dir}/full/x`) },
      { make: () => fs.alice.mkdir(`${dir}/full/x`, 0o755), clear: () => fs.alice.rmdir(`${dir}/full/x`) },
      { make: () => fs.alice.symlink('nowhere', `${dir}/full/x`), clear: () => fs.alice.unlink(`${dir}/full/x`) },
      { make: () => fs.alice.mknod(`${dir}/full/x`, S_IFIFO | 0o644), clear: () => fs.alice.unlink(`${dir}/full/x`) },
    ];
    for (const { make, clear } of fillings) {
      await make();
      expect(await fs.alice.rmdir(`${dir}/full`)).toBe('ENOTEMPTY');
      await must(clear());
    }
    expect(await fs.alice.rmdir(`${dir}/full`)).toBe(0);
  });

  test('ENOTDIR: anything that is not a directory, a symbolic link to one too', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`);
    await must(fs.alice.mkdir(`${dir}/directory`, 0o755));
    await must(fs.alice.symlink('directory', `${dir}/link`));
    await must(fs.alice.mknod(`${dir}/fifo`, S_IFIFO | 0o644));
    for (const name of ['file', 'link', 'fifo']) expect(await fs.alice.rmdir(`${dir}/${name}`)).toBe('ENOTDIR');
  });

  test('EINVAL, ENOTEMPTY: "." and ".."', async () => {
    const dir = await fs.directory();
    await must(fs.alice.mkdir(`${dir}/a`, 0o755));
    expect(await fs.alice.rmdir(`${dir}/a/.`)).toBe('EINVAL');
    expect(await fs.alice.rmdir(`${dir}/a/..`)).toBe('ENOTEMPTY');
  });

  test('EBUSY: the root of the mount', async () => {
    expect(await fs.root.rmdir(fs.box.mountPoint)).toBe('EBUSY');
  });

  test('EPERM: a sticky directory, unless one owns it or the victim', async () => {
    const dir = await fs.directory();
    await must(fs.root.chmod(dir, 0o1777));
    for (const name of ['one', 'two', 'three']) await must(fs.alice.mkdir(`${dir}/${name}`, 0o777));
    expect(await fs.bob.rmdir(`${dir}/one`)).toBe('EPERM');
    expect(await fs.alice.rmdir(`${dir}/one`)).toBe(0);
    await must(fs.root.chown(dir, 4002, 0));
    expect(await fs.bob.rmdir(`${dir}/two`)).toBe(0);
    expect(await fs.root.rmdir(`${dir}/three`)).toBe(0);
  });

  // Over a server it is gone with its name: ESTALE (docs/remote-mount.md).
  test.skipIf(isRemote)('a removed directory that is open is empty, and takes nothing new', async () => {
    const dir = await fs.directory();
    await must(fs.alice.mkdir(`${dir}/gone`, 0o755));
    const fd = await must(fs.alice.open(`${dir}/gone`, O_RDONLY | O_DIRECTORY));
    await must(fs.alice.rmdir(`${dir}/gone`));
    expect(await fs.root.fstat(fd)).toMatchObject({ nlink: 0 });
    expect(await fs.alice.openat(fd, 'file', O_CREAT | O_WRONLY, 0o644)).toBe('ENOENT');
    expect(await fs.alice.openat(fd, 'file', O_RDONLY)).toBe('ENOENT');
    expect(await fs.alice.getdents(fd)).toBe('ENOENT');
    await must(fs.alice.close(fd));
  });
});
