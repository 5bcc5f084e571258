/** link(2), linkat. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { AT_FDCWD, AT_SYMLINK_FOLLOW, O_RDONLY, S_IFIFO, S_IFLNK, S_IFMT } from './support/constants.ts';
import { canMount, mounted } from './support/mounted.ts';
import { failsOnBadPaths, failsOnMissing, failsWithoutWritableParent, makeFile } from './support/path-errors.ts';
import { must } from './support/process.ts';

const fs = mounted();
const protectedHardlinks = readFileSync('/proc/sys/fs/protected_hardlinks', 'utf8').trim() === '1';

describe.skipIf(!canMount)('link: the old name', () => {
  failsOnBadPaths(fs, (by, path) => by.link(path, fs.box.path('new')));
  failsOnMissing(fs, (by, path) => by.link(path, fs.box.path('new')));
});

describe.skipIf(!canMount)('link: the new name', () => {
  const linkTo = async (by: typeof fs.alice, path: string) => {
    const dir = await fs.directory();
    await makeFile(by, `${dir}/old`);
    return by.link(`${dir}/old`, path);
  };
  failsOnBadPaths(fs, linkTo);
  failsWithoutWritableParent(fs, linkTo);
});

describe.skipIf(!canMount)('link', () => {
  test('both names are the same file, until the last one goes', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/one`, 0o644, 'content');
    expect(await fs.alice.link(`${dir}/one`, `${dir}/two`)).toBe(0);
    const one = await must(fs.root.stat(`${dir}/one`));
    expect(one.nlink).toBe(2);
    expect(await fs.root.stat(`${dir}/two`)).toEqual(one);
    await must(fs.alice.chmod(`${dir}/two`, 0o600));
    expect(await fs.root.stat(`${dir}/one`)).toEqual(await fs.root.stat(`${dir}/two`));
    await must(fs.alice.unlink(`${dir}/one`));
    expect(await fs.root.stat(`${dir}/two`)).toMatchObject({ nlink: 1, ino: one.ino });
    const fd = await must(fs.alice.open(`${dir}/two`, O_RDONLY));
    expect(String(await fs.alice.read(fd, 100))).toBe('content');
    await must(fs.alice.close(fd));
  });

  test('changes ctime of the file, and mtime and ctime of the directory', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/one`);
    const [file, directory] = [await must(fs.root.stat(`${dir}/one`)), await must(fs.root.stat(dir))];
    await must(fs.alice.link(`${dir}/one`, `${dir}/two`));
    const [fileAfter, directoryAfter] = [await must(fs.root.stat(`${dir}/one`)), await must(fs.root.stat(dir))];
    expect(fileAfter.ctime).toBeGreaterThan(file.ctime);
    expect(fileAfter).toMatchObject({ atime: file.atime, mtime: file.mtime });
    expect(directoryAfter.mtime).toBeGreaterThan(directory.mtime);
    expect(directoryAfter.ctime).toBeGreaterThan(directory.ctime);
  });

  test('a symbolic link is linked itself, or followed where linkat is told so', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`);
    await must(fs.alice.symlink('file', `${dir}/symlink`));
    expect(await fs.alice.link(`${dir}/symlink`, `${dir}/hard`)).toBe(0);
    expect((await must(fs.root.lstat(`${dir}/hard`))).mode & S_IFMT).toBe(S_IFLNK);
    expect(await fs.alice.linkat(AT_FDCWD, `${dir}/symlink`, `${dir}/followed`, AT_SYMLINK_FOLLOW)).toBe(0);
    expect((await must(fs.root.lstat(`${dir}/followed`))).ino).toBe((await must(fs.root.lstat(`${dir}/file`))).ino);
  });

  test('special files have links too', async () => {
    const dir = await fs.directory();
    await must(fs.alice.mknod(`${dir}/fifo`, S_IFIFO | 0o600));
    expect(await fs.alice.link(`${dir}/fifo`, `${dir}/second`)).toBe(0);
    expect(await fs.root.stat(`${dir}/second`)).toMatchObject({ mode: S_IFIFO | 0o600, nlink: 2 });
  });

  test('EEXIST: the new name is taken, also by a symbolic link to nowhere', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/one`);
    await makeFile(fs.alice, `${dir}/two`);
    await must(fs.alice.symlink('nowhere', `${dir}/dangling`));
    await must(fs.alice.mkdir(`${dir}/directory`, 0o755));
    for (const name of ['one', 'two', 'dangling', 'directory'])
      expect(await fs.alice.link(`${dir}/one`, `${dir}/${name}`)).toBe('EEXIST');
    expect(await fs.root.stat(`${dir}/one`)).toMatchObject({ nlink: 1 });
  });

  test('EPERM: directories have one name, even for root', async () => {
    const dir = await fs.directory();
    await must(fs.root.mkdir(`${dir}/directory`, 0o755));
    expect(await fs.root.link(`${dir}/directory`, `${dir}/second`)).toBe('EPERM');
  });

  test.runIf(protectedHardlinks)('EPERM: a file that one may not write (proc(5), protected_hardlinks)', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`, 0o644);
    expect(await fs.bob.link(`${dir}/file`, `${dir}/mine`)).toBe('EPERM');
  });

  test('EXDEV: into another filesystem', async () => {
    const dir = await fs.directory();
    await makeFile(fs.root, `${dir}/file`);
    expect(await fs.root.link(`${dir}/file`, `${fs.box.dir}/outside`)).toBe('EXDEV');
  });

  test('ENOENT: a file whose last name is gone gets no new one', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`);
    const fd = await must(fs.alice.open(`${dir}/file`, O_RDONLY));
    await must(fs.alice.unlink(`${dir}/file`));
    expect(await fs.alice.linkat(AT_FDCWD, `/proc/self/fd/${fd}`, `${dir}/back`, AT_SYMLINK_FOLLOW)).toBe('ENOENT');
    await must(fs.alice.close(fd));
  });
});
