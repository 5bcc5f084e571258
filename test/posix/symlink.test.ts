/** symlink(2), readlink(2). */
import { describe, expect, test } from 'vitest';
import { PATH_MAX, S_IFLNK } from './support/constants.ts';
import { canMount, mounted } from './support/mounted.ts';
import { failsOnBadPaths, failsOnMissing, failsWithoutWritableParent, makeFile } from './support/path-errors.ts';
import { must } from './support/process.ts';

const fs = mounted();

describe.skipIf(!canMount)('symlink', () => {
  failsOnBadPaths(fs, (by, path) => by.symlink('target', path));
  failsWithoutWritableParent(fs, (by, path) => by.symlink('target', path));

  test('holds its target as it was given, whether that is there or not', async () => {
    const dir = await fs.directory();
    const targets = ['x', '/absolute/path', '../..//./odd', ' spaces \n', 'n'.repeat(PATH_MAX - 1)];
    for (const [i, target] of targets.entries()) {
      expect(await fs.alice.symlink(target, `${dir}/${i}`)).toBe(0);
      expect(String(await fs.alice.readlink(`${dir}/${i}`))).toBe(target);
      expect(await fs.root.lstat(`${dir}/${i}`)).toMatchObject({
        size: target.length,
        mode: S_IFLNK | 0o777,
        nlink: 1,
      });
    }
  });

  test('a target of bytes that are no text', async () => {
    const dir = await fs.directory();
    const target = Buffer.from(Array.from({ length: 255 }, (_, i) => i + 1));
    expect(await fs.alice.symlink(Buffer.concat([target, Buffer.of(0)]), `${dir}/link`)).toBe(0);
    expect(await fs.alice.readlink(`${dir}/link`)).toEqual(target);
  });

  test('belongs to its maker, whatever the umask', async () => {
    const dir = await fs.directory();
    expect(await fs.alice.with({ umask: 0o777 }).symlink('target', `${dir}/link`)).toBe(0);
    expect(await fs.root.lstat(`${dir}/link`)).toMatchObject({ uid: 4001, gid: 4001, mode: S_IFLNK | 0o777 });
  });

  test('ENAMETOOLONG: a target of PATH_MAX bytes', async () => {
    const dir = await fs.directory();
    expect(await fs.alice.symlink('n'.repeat(PATH_MAX), `${dir}/link`)).toBe('ENAMETOOLONG');
  });

  test('ENOENT: an empty target', async () => {
    const dir = await fs.directory();
    expect(await fs.alice.symlink('', `${dir}/link`)).toBe('ENOENT');
  });

  test('EEXIST: the name is taken, also by a symbolic link to nowhere', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`);
    await must(fs.alice.symlink('nowhere', `${dir}/dangling`));
    for (const name of ['file', 'dangling', '.'])
      expect(await fs.alice.symlink('target', `${dir}/${name}`)).toBe('EEXIST');
  });

  test('changes mtime and ctime of the directory', async () => {
    const dir = await fs.directory();
    const before = await must(fs.root.stat(dir));
    await must(fs.alice.symlink('target', `${dir}/link`));
    const after = await must(fs.root.stat(dir));
    expect(after.mtime).toBeGreaterThan(before.mtime);
    expect(after.ctime).toBe(after.mtime);
  });
});

describe.skipIf(!canMount)('readlink', () => {
  failsOnBadPaths(fs, (by, path) => by.readlink(path));
  failsOnMissing(fs, (by, path) => by.readlink(path));

  test('a small buffer takes the beginning', async () => {
    const dir = await fs.directory();
    await must(fs.alice.symlink('target', `${dir}/link`));
    expect(String(await fs.alice.readlink(`${dir}/link`, 3))).toBe('tar');
    expect(await fs.alice.readlink(`${dir}/link`, 0)).toBe('EINVAL');
  });

  test('EINVAL: not a symbolic link', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`);
    expect(await fs.alice.readlink(`${dir}/file`)).toBe('EINVAL');
    expect(await fs.alice.readlink(dir)).toBe('EINVAL');
  });
});
