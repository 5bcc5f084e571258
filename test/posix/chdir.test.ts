/** chdir(2), fchdir(2), getcwd(3). */
import { afterEach, describe, expect, test } from 'vitest';
import { AT_FDCWD, O_CREAT, O_DIRECTORY, O_PATH, O_RDONLY, O_WRONLY } from './support/constants.ts';
import { canMount, filesystems, mounted } from './support/mounted.ts';
import { failsOnBadPaths, failsOnMissing, makeFile } from './support/path-errors.ts';
import { must } from './support/process.ts';

const fs = mounted();

describe.skipIf(!canMount)('chdir', () => {
  afterEach(() => fs.root.chdir('/'));
  failsOnBadPaths(fs, (by, path) => by.chdir(path));
  failsOnMissing(fs, (by, path) => by.chdir(path));

  test.for(filesystems)(
    'on %s: paths go on from there, and getcwd knows it, also when it moves',
    async (filesystem) => {
      const dir = await fs.directoryOn(filesystem);
      await must(fs.alice.mkdir(`${dir}/a`, 0o755));
      await must(fs.alice.mkdir(`${dir}/a/b`, 0o755));
      expect(await fs.alice.chdir(`${dir}/a/b`)).toBe(0);
      expect(await fs.alice.getcwd()).toBe(`${dir}/a/b`);
      await makeFile(fs.alice, 'file', 0o644, 'content');
      expect(await fs.alice.stat(`${dir}/a/b/file`)).toMatchObject({ size: 7 });
      await must(fs.alice.rename(`${dir}/a`, `${dir}/c`));
      expect(await fs.alice.getcwd()).toBe(`${dir}/c/b`);
      expect(await fs.alice.stat('../../c/b/file')).toMatchObject({ size: 7 });
      expect(await fs.alice.chdir('..')).toBe(0);
      expect(await fs.alice.getcwd()).toBe(`${dir}/c`);
    },
  );

  test.for(filesystems)('on %s: a removed directory has no path and takes no names', async (filesystem) => {
    const dir = await fs.directoryOn(filesystem);
    await must(fs.alice.mkdir(`${dir}/gone`, 0o755));
    await must(fs.alice.chdir(`${dir}/gone`));
    await must(fs.alice.rmdir(`${dir}/gone`));
    expect(await fs.alice.getcwd()).toBe('ENOENT');
    expect(await fs.alice.openat(AT_FDCWD, 'file', O_CREAT | O_WRONLY, 0o644)).toBe('ENOENT');
    expect(await fs.alice.mkdir('directory', 0o755)).toBe('ENOENT');
    expect(await fs.alice.stat('.')).toMatchObject({ nlink: 0 });
    expect(await fs.alice.chdir('..')).toBe(0);
    expect(await fs.alice.getcwd()).toBe(dir);
  });

  test.for(filesystems)('on %s: ENOTDIR, EACCES; fchdir EBADF, and where it may not search', async (filesystem) => {
    const dir = await fs.directoryOn(filesystem);
    await makeFile(fs.alice, `${dir}/file`);
    await must(fs.alice.mkdir(`${dir}/private`, 0o700));
    expect(await fs.alice.chdir(`${dir}/file`)).toBe('ENOTDIR');
    expect(await fs.bob.chdir(`${dir}/private`)).toBe('EACCES');
    const file = await must(fs.alice.open(`${dir}/file`, O_RDONLY));
    expect(await fs.alice.fchdir(file)).toBe('ENOTDIR');
    await must(fs.alice.close(file));
    expect(await fs.alice.fchdir(file)).toBe('EBADF');
    for (const flags of [O_RDONLY, O_PATH]) {
      const fd = await must(fs.alice.open(`${dir}/private`, flags | O_DIRECTORY));
      expect(await fs.bob.fchdir(fd)).toBe('EACCES');
      expect(await fs.alice.fchdir(fd)).toBe(0);
      expect(await fs.alice.getcwd()).toBe(`${dir}/private`);
      await must(fs.alice.close(fd));
    }
  });
});
