/** mkdir(2). */
import { describe, expect, test } from 'vitest';
import { O_DIRECTORY, O_RDONLY, S_IFDIR } from './support/constants.ts';
import { canMount, mounted } from './support/mounted.ts';
import { failsOnBadPaths, failsWithoutWritableParent, makeFile } from './support/path-errors.ts';
import { must } from './support/process.ts';

const fs = mounted();

describe.skipIf(!canMount)('mkdir', () => {
  failsOnBadPaths(fs, (by, path) => by.mkdir(path, 0o755));
  failsWithoutWritableParent(fs, (by, path) => by.mkdir(path, 0o755));

  test('the new directory is empty, belongs to its maker and counts in its parent', async () => {
    const dir = await fs.directory();
    const before = await must(fs.root.stat(dir));
    expect(await fs.alice.mkdir(`${dir}/new`, 0o777)).toBe(0);
    const made = await must(fs.root.stat(`${dir}/new`));
    expect(made).toMatchObject({ mode: S_IFDIR | 0o755, nlink: 2, uid: 4001, gid: 4001 });
    expect([made.atime, made.mtime, made.ctime]).toEqual([made.btime, made.btime, made.btime]);
    const after = await must(fs.root.stat(dir));
    expect(after.nlink).toBe(before.nlink + 1);
    expect(after.mtime).toBeGreaterThan(before.mtime);
    expect(after.ctime).toBe(after.mtime);
  });

  test('the mode passes through the umask', async () => {
    const dir = await fs.directory();
    for (const umask of [0, 0o022, 0o077, 0o151, 0o777]) {
      expect(await fs.alice.with({ umask }).mkdir(`${dir}/${umask}`, 0o777)).toBe(0);
      expect(await fs.root.stat(`${dir}/${umask}`)).toMatchObject({ mode: S_IFDIR | (0o777 & ~umask) });
    }
    expect(await fs.alice.with({ umask: 0 }).mkdir(`${dir}/sticky`, 0o1755)).toBe(0);
    expect(await fs.root.stat(`${dir}/sticky`)).toMatchObject({ mode: S_IFDIR | 0o1755 });
  });

  test('a set-group-ID directory hands down its group and the bit', async () => {
    const dir = await fs.directory();
    await must(fs.root.chown(dir, 0, 4100));
    await must(fs.root.chmod(dir, 0o2777));
    for (const by of [fs.alice, fs.bob, fs.root]) {
      const path = `${dir}/${by.identity.uid}`;
      expect(await by.mkdir(path, 0o755)).toBe(0);
      expect(await fs.root.stat(path)).toMatchObject({ mode: S_IFDIR | 0o2755, gid: 4100, uid: by.identity.uid });
    }
  });

  test('EEXIST: the name is taken, by whatever', async () => {
    const dir = await fs.directory();
    await makeFile(fs.root, `${dir}/file`);
    await fs.root.mkdir(`${dir}/directory`, 0o755);
    await fs.root.symlink('nowhere', `${dir}/dangling`);
    for (const name of ['file', 'directory', 'dangling', '.', '..'])
      expect(await fs.alice.mkdir(`${dir}/${name}`, 0o755)).toBe('EEXIST');
  });

  test('a slash after the name is allowed', async () => {
    const dir = await fs.directory();
    expect(await fs.alice.mkdir(`${dir}/new/`, 0o755)).toBe(0);
  });

  test('ENOENT: the directory it would be made in was removed', async () => {
    const dir = await fs.directory();
    await must(fs.alice.mkdir(`${dir}/gone`, 0o755));
    const fd = await must(fs.alice.open(`${dir}/gone`, O_RDONLY | O_DIRECTORY));
    await must(fs.alice.rmdir(`${dir}/gone`));
    expect(await fs.alice.mkdir(`/proc/self/fd/${fd}/new`, 0o755)).toBe('ENOENT');
    await must(fs.alice.close(fd));
  });
});
