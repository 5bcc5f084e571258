/** rename(2). */
import { describe, expect, test } from 'vitest';
import { O_RDONLY, S_IFIFO, S_IFLNK, S_IFMT } from './support/constants.ts';
import { canMount, mounted } from './support/mounted.ts';
import { failsOnBadPaths, failsOnMissing, failsWithoutWritableParent, makeFile } from './support/path-errors.ts';
import { type Caller, must } from './support/process.ts';

const fs = mounted();

describe.skipIf(!canMount)('rename: the old name', () => {
  failsOnBadPaths(fs, (by, path) => by.rename(path, fs.box.path('new')));
  failsOnMissing(fs, (by, path) => by.rename(path, fs.box.path('new')));
});

describe.skipIf(!canMount)('rename: the new name', () => {
  const renameTo = async (by: Caller, path: string) => {
    const dir = await fs.directory();
    await makeFile(by, `${dir}/old`);
    return by.rename(`${dir}/old`, path);
  };
  failsOnBadPaths(fs, renameTo);
  failsWithoutWritableParent(fs, renameTo);
});

describe.skipIf(!canMount)('rename', () => {
  test('the file stays the same under another name, of every kind', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`, 0o640, 'content');
    await must(fs.alice.mknod(`${dir}/fifo`, S_IFIFO | 0o600));
    await must(fs.alice.symlink('nowhere', `${dir}/symlink`));
    await must(fs.alice.mkdir(`${dir}/directory`, 0o755));
    for (const name of ['file', 'fifo', 'symlink', 'directory']) {
      const before = await must(fs.root.lstat(`${dir}/${name}`));
      expect(await fs.alice.rename(`${dir}/${name}`, `${dir}/new-${name}`)).toBe(0);
      expect(await fs.root.lstat(`${dir}/${name}`)).toBe('ENOENT');
      const after = await must(fs.root.lstat(`${dir}/new-${name}`));
      expect(after).toMatchObject({ ino: before.ino, mode: before.mode, nlink: before.nlink, mtime: before.mtime });
      expect(after.ctime).toBeGreaterThanOrEqual(before.ctime);
    }
  });

  test('a file replaces another, which lives on where it has names or is open', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/old`, 0o644, 'old');
    await makeFile(fs.alice, `${dir}/new`, 0o644, 'replaced');
    await must(fs.alice.link(`${dir}/new`, `${dir}/kept`));
    const fd = await must(fs.alice.open(`${dir}/new`, O_RDONLY));
    const { ino } = await must(fs.root.stat(`${dir}/old`));
    expect(await fs.alice.rename(`${dir}/old`, `${dir}/new`)).toBe(0);
    expect(await fs.root.stat(`${dir}/new`)).toMatchObject({ ino, size: 3 });
    expect(await fs.root.stat(`${dir}/kept`)).toMatchObject({ nlink: 1, size: 8 });
    await must(fs.alice.rename(`${dir}/new`, `${dir}/kept`));
    expect(await fs.root.fstat(fd)).toMatchObject({ nlink: 0, size: 8 });
    expect(String(await fs.alice.read(fd, 100))).toBe('replaced');
    await must(fs.alice.close(fd));
  });

  test('two names of one file: nothing happens', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/one`);
    await must(fs.alice.link(`${dir}/one`, `${dir}/two`));
    const before = await must(fs.root.stat(dir));
    expect(await fs.alice.rename(`${dir}/one`, `${dir}/two`)).toBe(0);
    expect(await fs.alice.rename(`${dir}/one`, `${dir}/one`)).toBe(0);
    expect(await fs.root.stat(`${dir}/one`)).toMatchObject({ nlink: 2 });
    expect(await fs.root.stat(dir)).toEqual(before);
  });

  test('a directory that moves takes its link from the old parent to the new one, and its ".." along', async () => {
    const dir = await fs.directory();
    for (const name of ['a', 'b', 'a/moved', 'a/moved/below']) await must(fs.alice.mkdir(`${dir}/${name}`, 0o755));
    expect(await fs.alice.rename(`${dir}/a/moved`, `${dir}/b/moved`)).toBe(0);
    expect(await fs.root.stat(`${dir}/a`)).toMatchObject({ nlink: 2 });
    expect(await fs.root.stat(`${dir}/b`)).toMatchObject({ nlink: 3 });
    expect(await fs.root.stat(`${dir}/b/moved/..`)).toEqual(await fs.root.stat(`${dir}/b`));
    expect(await fs.root.stat(`${dir}/b/moved/below`)).toMatchObject({ nlink: 2 });
  });

  test('a directory replaces an empty directory', async () => {
    const dir = await fs.directory();
    for (const name of ['old', 'old/below', 'empty']) await must(fs.alice.mkdir(`${dir}/${name}`, 0o755));
    const before = await must(fs.root.stat(dir));
    expect(await fs.alice.rename(`${dir}/old`, `${dir}/empty`)).toBe(0);
    expect(await fs.root.stat(`${dir}/empty/below`)).toMatchObject({ nlink: 2 });
    expect(await fs.root.stat(dir)).toMatchObject({ nlink: before.nlink - 1 });
  });

  test('changes mtime and ctime of both directories', async () => {
    const dir = await fs.directory();
    for (const name of ['a', 'b']) await must(fs.alice.mkdir(`${dir}/${name}`, 0o755));
    await makeFile(fs.alice, `${dir}/a/file`);
    const before = await Promise.all(['a', 'b'].map((name) => must(fs.root.stat(`${dir}/${name}`))));
    await must(fs.alice.rename(`${dir}/a/file`, `${dir}/b/file`));
    for (const [i, name] of ['a', 'b'].entries()) {
      const after = await must(fs.root.stat(`${dir}/${name}`));
      expect(after.mtime).toBeGreaterThan(before[i]?.mtime ?? 0n);
      expect(after.ctime).toBe(after.mtime);
    }
  });

  test('a symbolic link is renamed itself, and replaced itself', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`);
    await must(fs.alice.symlink('file', `${dir}/link`));
    expect(await fs.alice.rename(`${dir}/link`, `${dir}/moved`)).toBe(0);
    expect((await must(fs.root.lstat(`${dir}/moved`))).mode & S_IFMT).toBe(S_IFLNK);
    await makeFile(fs.alice, `${dir}/other`, 0o644, 'other');
    expect(await fs.alice.rename(`${dir}/other`, `${dir}/moved`)).toBe(0);
    expect(await fs.root.lstat(`${dir}/moved`)).toMatchObject({ size: 5 });
    expect(await fs.root.stat(`${dir}/file`)).toMatchObject({ size: 0 });
  });

  test('EISDIR, ENOTDIR: a directory and something else do not replace each other', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`);
    await must(fs.alice.mkdir(`${dir}/directory`, 0o755));
    await must(fs.alice.symlink('directory', `${dir}/link`));
    expect(await fs.alice.rename(`${dir}/file`, `${dir}/directory`)).toBe('EISDIR');
    expect(await fs.alice.rename(`${dir}/link`, `${dir}/directory`)).toBe('EISDIR');
    expect(await fs.alice.rename(`${dir}/directory`, `${dir}/file`)).toBe('ENOTDIR');
    expect(await fs.alice.rename(`${dir}/directory`, `${dir}/link`)).toBe('ENOTDIR');
    expect(await fs.alice.rename(`${dir}/file`, `${dir}/new/`)).toBe('ENOTDIR');
  });

  test('ENOTEMPTY: over a directory that holds something', async () => {
    const dir = await fs.directory();
    for (const name of ['old', 'full', 'full/below']) await must(fs.alice.mkdir(`${dir}/${name}`, 0o755));
    expect(await fs.alice.rename(`${dir}/old`, `${dir}/full`)).toBe('ENOTEMPTY');
    expect(await fs.alice.rename(`${dir}/full/below`, `${dir}/full`)).toBe('ENOTEMPTY');
  });

  test('EINVAL: a directory into itself', async () => {
    const dir = await fs.directory();
    for (const name of ['a', 'a/b', 'a/b/c']) await must(fs.alice.mkdir(`${dir}/${name}`, 0o755));
    expect(await fs.alice.rename(`${dir}/a`, `${dir}/a/new`)).toBe('EINVAL');
    expect(await fs.alice.rename(`${dir}/a`, `${dir}/a/b/c/new`)).toBe('EINVAL');
  });

  test('EBUSY: "." and ".." are no names to be had', async () => {
    const dir = await fs.directory();
    await must(fs.alice.mkdir(`${dir}/a`, 0o755));
    expect(await fs.alice.rename(`${dir}/a/.`, `${dir}/b`)).toBe('EBUSY');
    expect(await fs.alice.rename(`${dir}/a`, `${dir}/a/..`)).toBe('EBUSY');
  });

  test('EXDEV: into another filesystem', async () => {
    const dir = await fs.directory();
    await makeFile(fs.root, `${dir}/file`);
    expect(await fs.root.rename(`${dir}/file`, `${fs.box.dir}/outside`)).toBe('EXDEV');
  });

  test('EPERM: a sticky directory guards both names', async () => {
    const dir = await fs.directory();
    await must(fs.root.chmod(dir, 0o1777));
    await makeFile(fs.alice, `${dir}/alice`);
    await makeFile(fs.bob, `${dir}/bob`);
    expect(await fs.bob.rename(`${dir}/alice`, `${dir}/mine`)).toBe('EPERM');
    expect(await fs.bob.rename(`${dir}/bob`, `${dir}/alice`)).toBe('EPERM');
    expect(await fs.alice.rename(`${dir}/alice`, `${dir}/mine`)).toBe(0);
    await must(fs.root.chown(dir, 4002, 0));
    expect(await fs.bob.rename(`${dir}/mine`, `${dir}/bobs`)).toBe(0);
  });

  test('EACCES: a directory that changes its parent has to be writable itself', async () => {
    const dir = await fs.directory();
    await must(fs.alice.mkdir(`${dir}/parent`, 0o777));
    await must(fs.root.mkdir(`${dir}/locked`, 0o755));
    expect(await fs.alice.rename(`${dir}/locked`, `${dir}/renamed`)).toBe(0);
    expect(await fs.alice.rename(`${dir}/renamed`, `${dir}/parent/renamed`)).toBe('EACCES');
  });
});
