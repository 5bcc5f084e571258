/** chmod(2), fchmod, fchmodat. */
import { describe, expect, test } from 'vitest';
import { AT_SYMLINK_NOFOLLOW, O_RDWR, S_IFIFO, S_IFMT, S_IFSOCK } from './support/constants.ts';
import { canMount, mounted } from './support/mounted.ts';
import { failsOnBadPaths, failsOnMissing, makeFile } from './support/path-errors.ts';
import { must } from './support/process.ts';

const fs = mounted();
const modeOf = async (path: string): Promise<number> => (await must(fs.root.lstat(path))).mode & ~S_IFMT;

describe.skipIf(!canMount)('chmod', () => {
  failsOnBadPaths(fs, (by, path) => by.chmod(path, 0o644));
  failsOnMissing(fs, (by, path) => by.chmod(path, 0o644));

  test('sets all twelve bits, of every kind of file', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`);
    await must(fs.alice.mkdir(`${dir}/directory`, 0o755));
    await must(fs.alice.mknod(`${dir}/fifo`, S_IFIFO | 0o600));
    await must(fs.alice.mknod(`${dir}/socket`, S_IFSOCK | 0o600));
    for (const name of ['file', 'directory', 'fifo', 'socket']) {
      for (const mode of [0, 0o1, 0o111, 0o644, 0o1777, 0o2755, 0o4711, 0o7777]) {
        expect(await fs.alice.chmod(`${dir}/${name}`, mode)).toBe(0);
        expect(await modeOf(`${dir}/${name}`)).toBe(mode);
      }
    }
  });

  test('changes ctime and no other time', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`);
    const before = await must(fs.root.stat(`${dir}/file`));
    await must(fs.alice.chmod(`${dir}/file`, 0o600));
    const after = await must(fs.root.stat(`${dir}/file`));
    expect(after.ctime).toBeGreaterThan(before.ctime);
    expect(after).toMatchObject({ atime: before.atime, mtime: before.mtime, btime: before.btime });
  });

  test('follows a symbolic link, whose own mode nobody can change', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`);
    await must(fs.alice.symlink('file', `${dir}/link`));
    expect(await fs.alice.chmod(`${dir}/link`, 0o640)).toBe(0);
    expect(await modeOf(`${dir}/file`)).toBe(0o640);
    expect(await modeOf(`${dir}/link`)).toBe(0o777);
    expect(await fs.alice.chmodat(`${dir}/link`, 0o600, AT_SYMLINK_NOFOLLOW)).toBe('EOPNOTSUPP');
  });

  test('fchmod works on an open file, also when its name is gone', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`);
    const fd = await must(fs.alice.open(`${dir}/file`, O_RDWR));
    await must(fs.alice.unlink(`${dir}/file`));
    expect(await fs.alice.fchmod(fd, 0o604)).toBe(0);
    expect((await must(fs.alice.fstat(fd))).mode & ~S_IFMT).toBe(0o604);
    await must(fs.alice.close(fd));
    expect(await fs.alice.fchmod(fd, 0o604)).toBe('EBADF');
  });

  test('EPERM: neither the owner nor root', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`, 0o666);
    expect(await fs.bob.chmod(`${dir}/file`, 0o777)).toBe('EPERM');
    expect(await fs.root.chmod(`${dir}/file`, 0o600)).toBe(0);
    expect(await modeOf(`${dir}/file`)).toBe(0o600);
  });

  test('an owner outside the group of the file cannot give it set-group-ID', async () => {
    const dir = await fs.directory();
    const cases = [
      { gid: 4002, kept: 0 },
      { gid: 4100, kept: 0o2000 },
      { gid: 4001, kept: 0o2000 },
    ];
    for (const { gid, kept } of cases) {
      const path = `${dir}/${gid}`;
      await makeFile(fs.root, path);
      await must(fs.root.chown(path, 4001, gid));
      expect(await fs.alice.chmod(path, 0o2755)).toBe(0);
      expect(await modeOf(path)).toBe(0o755 | kept);
      expect(await fs.root.chmod(path, 0o2755)).toBe(0);
      expect(await modeOf(path)).toBe(0o2755);
    }
  });

  test('a file that is open keeps its rights', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`, 0o600);
    const fd = await must(fs.alice.open(`${dir}/file`, O_RDWR));
    await must(fs.alice.chmod(`${dir}/file`, 0));
    expect(await fs.alice.write(fd, 'still')).toBe(5);
    expect(String(await fs.alice.pread(fd, 5, 0))).toBe('still');
    expect(await fs.alice.open(`${dir}/file`, O_RDWR)).toBe('EACCES');
    await must(fs.alice.close(fd));
  });
});
