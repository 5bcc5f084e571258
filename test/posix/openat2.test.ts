/** openat2(2): how a path may be resolved. open(2) O_PATH: a place, not a file. creat(2), close(2), dup(2). */
import { describe, expect, test } from 'vitest';
import {
  AT_FDCWD,
  O_CREAT,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_PATH,
  O_RDONLY,
  O_RDWR,
  O_WRONLY,
  RESOLVE_BENEATH,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_SYMLINKS,
  RESOLVE_NO_XDEV,
  S_IFLNK,
  S_IFREG,
  SEEK_CUR,
} from './support/constants.ts';
import { canMount, filesystems, mounted } from './support/mounted.ts';
import { failsOnBadPaths, failsWithoutWritableParent, makeFile } from './support/path-errors.ts';
import { must } from './support/process.ts';

const fs = mounted();

describe.skipIf(!canMount).each(filesystems)('openat2 on %s', (filesystem) => {
  test('stays beneath a directory, or takes it for the root', async () => {
    const dir = await fs.directoryOn(filesystem);
    await must(fs.alice.mkdir(`${dir}/in`, 0o755));
    await makeFile(fs.alice, `${dir}/file`, 0o644, 'outside');
    await makeFile(fs.alice, `${dir}/in/file`, 0o644, 'inside');
    await must(fs.alice.symlink('../file', `${dir}/in/up`));
    await must(fs.alice.symlink('/file', `${dir}/in/absolute`));
    await must(fs.alice.symlink('file', `${dir}/in/beside`));
    const fd = await must(fs.alice.open(`${dir}/in`, O_RDONLY | O_DIRECTORY));
    const content = async (path: string, resolve: number): Promise<string> => {
      const opened = await fs.alice.openat2(fd, path, O_RDONLY, resolve);
      if (typeof opened === 'string') return opened;
      const text = String(await fs.alice.read(opened, 100));
      await must(fs.alice.close(opened));
      return text;
    };
    expect(await content('../file', 0)).toBe('outside');
    for (const path of ['../file', 'up', 'absolute', '/file'])
      expect(await content(path, RESOLVE_BENEATH)).toBe('EXDEV');
    for (const path of ['file', 'beside', '../in/../file', 'up', 'absolute', '/file'])
      expect(await content(path, RESOLVE_IN_ROOT)).toBe(path.includes('in/') ? 'ENOENT' : 'inside');
    expect(await content('beside', RESOLVE_NO_SYMLINKS)).toBe('ELOOP');
    expect(await content('file', RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV)).toBe('inside');
    await must(fs.alice.close(fd));
  });

  test('EINVAL: flags or modes that open(2) passes over', async () => {
    const dir = await fs.directoryOn(filesystem);
    await makeFile(fs.alice, `${dir}/file`);
    expect(await fs.alice.openat2(AT_FDCWD, `${dir}/file`, O_RDONLY, 1 << 20)).toBe('EINVAL');
    expect(await fs.alice.openat2(AT_FDCWD, `${dir}/file`, O_RDONLY, 0, 0o644)).toBe('EINVAL');
    expect(await fs.alice.openat2(AT_FDCWD, `${dir}/new`, O_CREAT | O_WRONLY, 0, 0o10000)).toBe('EINVAL');
    expect(await fs.alice.stat(`${dir}/new`)).toBe('ENOENT');
  });

  test('O_PATH stands for a place: for stat and for paths, not for its content', async () => {
    const dir = await fs.directoryOn(filesystem);
    await makeFile(fs.alice, `${dir}/file`, 0o200, 'content');
    await must(fs.alice.symlink('file', `${dir}/link`));
    const fd = await must(fs.bob.open(`${dir}/file`, O_PATH));
    expect(await fs.bob.fstat(fd)).toMatchObject({ mode: S_IFREG | 0o200, size: 7 });
    expect(await fs.bob.read(fd, 1)).toBe('EBADF');
    expect(await fs.alice.write(fd, 'x')).toBe('EBADF');
    expect(await fs.alice.fchmod(fd, 0o644)).toBe('EBADF');
    expect(await fs.alice.ftruncate(fd, 0)).toBe('EBADF');
    expect(await fs.alice.fsync(fd)).toBe('EBADF');
    expect(await fs.bob.open(`/proc/self/fd/${fd}`, O_RDONLY)).toBe('EACCES');
    await must(fs.root.chmod(`${dir}/file`, 0o644));
    const opened = await must(fs.bob.open(`/proc/self/fd/${fd}`, O_RDONLY));
    expect(String(await fs.bob.read(opened, 100))).toBe('content');
    const link = await must(fs.bob.open(`${dir}/link`, O_PATH | O_NOFOLLOW));
    expect(await fs.bob.fstat(link)).toMatchObject({ mode: S_IFLNK | 0o777, size: 4 });
    for (const each of [fd, opened, link]) await must(fs.bob.close(each));
  });

  test('creat makes or empties a file, for writing; close ends a descriptor once; dup shares the position', async () => {
    const dir = await fs.directoryOn(filesystem);
    await makeFile(fs.alice, `${dir}/file`, 0o600, 'content');
    const fd = await must(fs.alice.creat(`${dir}/file`, 0o644));
    expect(await fs.root.fstat(fd)).toMatchObject({ mode: S_IFREG | 0o600, size: 0 });
    expect(await fs.alice.pread(fd, 1, 0)).toBe('EBADF');
    const twin = await must(fs.alice.dup(fd));
    await must(fs.alice.write(fd, '12345'));
    expect(await fs.alice.lseek(twin, 0, SEEK_CUR)).toBe(5);
    expect(await fs.alice.close(fd)).toBe(0);
    expect(await fs.alice.close(fd)).toBe('EBADF');
    expect(await fs.alice.write(twin, '6')).toBe(1);
    await must(fs.alice.close(twin));
    expect(await fs.alice.creat(dir, 0o644)).toBe('EISDIR');
    const made = await must(fs.alice.creat(`${dir}/new`, 0o666));
    expect(await fs.root.fstat(made)).toMatchObject({ mode: S_IFREG | 0o644 });
    await must(fs.alice.close(made));
    const both = await must(fs.alice.open(`${dir}/new`, O_RDWR));
    await must(fs.alice.close(both));
  });
});

describe.skipIf(!canMount)('creat', () => {
  failsOnBadPaths(fs, (by, path) => by.creat(path, 0o644));
  failsWithoutWritableParent(fs, (by, path) => by.creat(path, 0o644));
});
