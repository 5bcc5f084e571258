/** unlink(2), unlinkat. */
import { describe, expect, test } from 'vitest';
import { AT_FDCWD, O_RDWR, S_IFCHR, S_IFIFO, S_IFSOCK } from './support/constants.ts';
import { canMount, mounted } from './support/mounted.ts';
import { failsOnBadPaths, failsOnMissing, failsWithoutWritableParent, makeFile } from './support/path-errors.ts';
import { must } from './support/process.ts';

const fs = mounted();

describe.skipIf(!canMount)('unlink', () => {
  failsOnBadPaths(fs, (by, path) => by.unlink(path));
  failsOnMissing(fs, (by, path) => by.unlink(path));
  failsWithoutWritableParent(fs, async (by, path) => {
    await makeFile(fs.root, path, 0o666);
    return by.unlink(path);
  });

  test('takes a name of every kind of file', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`);
    await must(fs.alice.symlink('file', `${dir}/link`));
    await must(fs.alice.mknod(`${dir}/fifo`, S_IFIFO | 0o600));
    await must(fs.alice.mknod(`${dir}/socket`, S_IFSOCK | 0o600));
    await must(fs.root.mknod(`${dir}/device`, S_IFCHR | 0o600, 0x0103));
    for (const name of ['link', 'file', 'fifo', 'socket', 'device']) {
      expect(await fs.alice.unlink(`${dir}/${name}`)).toBe(0);
      expect(await fs.root.lstat(`${dir}/${name}`)).toBe('ENOENT');
    }
  });

  test('a file with other names has one less, and a new ctime', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/one`);
    await must(fs.alice.link(`${dir}/one`, `${dir}/two`));
    const [file, directory] = [await must(fs.root.stat(`${dir}/two`)), await must(fs.root.stat(dir))];
    expect(await fs.alice.unlinkat(AT_FDCWD, `${dir}/one`, 0)).toBe(0);
    const after = await must(fs.root.stat(`${dir}/two`));
    expect(after).toMatchObject({ nlink: 1, mtime: file.mtime, ino: file.ino });
    expect(after.ctime).toBeGreaterThan(file.ctime);
    expect((await must(fs.root.stat(dir))).mtime).toBeGreaterThan(directory.mtime);
  });

  test('an open file lives on without a name: read, written, lengthened, looked at', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`, 0o644, 'content');
    const fd = await must(fs.alice.open(`${dir}/file`, O_RDWR));
    await must(fs.alice.unlink(`${dir}/file`));
    expect(await fs.root.fstat(fd)).toMatchObject({ nlink: 0, size: 7 });
    expect(await fs.alice.pwrite(fd, 'more', 10_000)).toBe(4);
    expect(await fs.alice.ftruncate(fd, 20_000)).toBe(0);
    expect(String(await fs.alice.pread(fd, 7, 0))).toBe('content');
    expect(String(await fs.alice.pread(fd, 4, 10_000))).toBe('more');
    expect(await fs.alice.fsync(fd)).toBe(0);
    expect(await fs.root.fstat(fd)).toMatchObject({ nlink: 0, size: 20_000 });
    await must(fs.alice.close(fd));
  });

  test('the blocks come back when the last descriptor goes', async () => {
    const dir = await fs.directory();
    const free = async (): Promise<number> => (await must(fs.root.statfs(dir))).free;
    const before = await free();
    const content = 'x'.repeat(1 << 20);
    await makeFile(fs.alice, `${dir}/file`, 0o644, content);
    const fd = await must(fs.alice.open(`${dir}/file`, O_RDWR));
    const second = await must(fs.alice.dup(fd));
    await must(fs.alice.unlink(`${dir}/file`));
    await must(fs.alice.close(fd));
    expect(await free()).toBe(before - 256);
    expect(await fs.alice.pread(second, 1, (1 << 20) - 1)).toEqual(Buffer.from('x'));
    await must(fs.alice.close(second));
    await expect.poll(free).toBe(before);
  });

  test('EISDIR: a directory, even for root (Linux)', async () => {
    const dir = await fs.directory();
    await must(fs.alice.mkdir(`${dir}/directory`, 0o755));
    expect(await fs.alice.unlink(`${dir}/directory`)).toBe('EISDIR');
    expect(await fs.root.unlink(`${dir}/directory`)).toBe('EISDIR');
  });

  test('ENOTDIR: a slash after the name of a file', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`);
    expect(await fs.alice.unlink(`${dir}/file/`)).toBe('ENOTDIR');
  });

  test('EPERM: a sticky directory, unless one owns it or the file', async () => {
    const dir = await fs.directory();
    await must(fs.root.chmod(dir, 0o1777));
    for (const name of ['one', 'two', 'three']) await makeFile(fs.alice, `${dir}/${name}`, 0o666);
    expect(await fs.bob.unlink(`${dir}/one`)).toBe('EPERM');
    expect(await fs.alice.unlink(`${dir}/one`)).toBe(0);
    await must(fs.root.chown(dir, 4002, 0));
    expect(await fs.bob.unlink(`${dir}/two`)).toBe(0);
    expect(await fs.root.unlink(`${dir}/three`)).toBe(0);
  });
});
