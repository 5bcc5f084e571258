/** chown(2), lchown, fchown. */
import { describe, expect, test } from 'vitest';
import { O_RDONLY, S_IFBLK, S_IFCHR, S_IFIFO, S_IFMT, S_IFSOCK } from './support/constants.ts';
import { canMount, mounted } from './support/mounted.ts';
import { failsOnBadPaths, failsOnMissing, makeFile } from './support/path-errors.ts';
import { must } from './support/process.ts';

const fs = mounted();
const modeOf = async (path: string): Promise<number> => (await must(fs.root.lstat(path))).mode & ~S_IFMT;

/** One of each kind, belonging to alice. */
async function makeAll(dir: string): Promise<readonly string[]> {
  await makeFile(fs.alice, `${dir}/file`);
  await must(fs.root.mknod(`${dir}/fifo`, S_IFIFO | 0o644));
  await must(fs.root.mknod(`${dir}/socket`, S_IFSOCK | 0o644));
  await must(fs.root.mknod(`${dir}/char`, S_IFCHR | 0o644, 0x0103));
  await must(fs.root.mknod(`${dir}/block`, S_IFBLK | 0o644, 0x0103));
  const names = ['file', 'fifo', 'socket', 'char', 'block'];
  for (const name of names) await must(fs.root.chown(`${dir}/${name}`, 4001, 4001));
  return names.map((name) => `${dir}/${name}`);
}

describe.skipIf(!canMount)('chown', () => {
  failsOnBadPaths(fs, (by, path) => by.chown(path, -1, -1));
  failsOnMissing(fs, (by, path) => by.chown(path, -1, -1));

  test('root gives a file to anybody; -1 leaves an id as it is', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`);
    const ids = [
      { uid: 4002, gid: -1, expected: { uid: 4002, gid: 4001 } },
      { uid: -1, gid: 77, expected: { uid: 4002, gid: 77 } },
      { uid: 0xffff_fffe, gid: 0xffff_fffe, expected: { uid: 0xffff_fffe, gid: 0xffff_fffe } },
      { uid: -1, gid: -1, expected: { uid: 0xffff_fffe, gid: 0xffff_fffe } },
      { uid: 0, gid: 0, expected: { uid: 0, gid: 0 } },
    ];
    for (const { uid, gid, expected } of ids) {
      expect(await fs.root.chown(`${dir}/file`, uid, gid)).toBe(0);
      expect(await fs.root.stat(`${dir}/file`)).toMatchObject(expected);
    }
  });

  test('an owner chooses among the own groups, and gives nothing away', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`);
    expect(await fs.alice.chown(`${dir}/file`, -1, 4100)).toBe(0);
    expect(await fs.alice.chown(`${dir}/file`, 4001, 4001)).toBe(0);
    expect(await fs.root.stat(`${dir}/file`)).toMatchObject({ uid: 4001, gid: 4001 });
    expect(await fs.alice.chown(`${dir}/file`, -1, 4002)).toBe('EPERM');
    expect(await fs.alice.chown(`${dir}/file`, 4002, -1)).toBe('EPERM');
    expect(await fs.bob.chown(`${dir}/file`, -1, 4002)).toBe('EPERM');
    expect(await fs.bob.chown(`${dir}/file`, 4002, -1)).toBe('EPERM');
    expect(await fs.root.stat(`${dir}/file`)).toMatchObject({ uid: 4001, gid: 4001 });
  });

  test('chown follows a symbolic link, lchown changes the link', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`);
    await must(fs.alice.symlink('file', `${dir}/link`));
    expect(await fs.root.chown(`${dir}/link`, 1, 2)).toBe(0);
    expect(await fs.root.lchown(`${dir}/link`, 3, 4)).toBe(0);
    expect(await fs.root.stat(`${dir}/file`)).toMatchObject({ uid: 1, gid: 2 });
    expect(await fs.root.lstat(`${dir}/link`)).toMatchObject({ uid: 3, gid: 4 });
  });

  test('fchown works on an open file', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`);
    const fd = await must(fs.root.open(`${dir}/file`, O_RDONLY));
    expect(await fs.root.fchown(fd, 4002, 4002)).toBe(0);
    expect(await fs.root.fstat(fd)).toMatchObject({ uid: 4002, gid: 4002 });
    await must(fs.root.close(fd));
    expect(await fs.root.fchown(fd, 0, 0)).toBe('EBADF');
  });

  test('set-user-ID and set-group-ID go from everything but a directory, whoever asks', async () => {
    const dir = await fs.directory();
    for (const path of await makeAll(dir)) {
      for (const by of [fs.alice, fs.root]) {
        await must(fs.root.chmod(path, 0o6755));
        expect(await by.chown(path, -1, 4100)).toBe(0);
        expect(await modeOf(path)).toBe(0o755);
      }
    }
    await must(fs.alice.mkdir(`${dir}/directory`, 0o755));
    await must(fs.root.chmod(`${dir}/directory`, 0o6755));
    expect(await fs.alice.chown(`${dir}/directory`, -1, 4100)).toBe(0);
    expect(await modeOf(`${dir}/directory`)).toBe(0o6755);
  });

  test('set-group-ID without group execution means something else and stays', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`);
    await must(fs.root.chmod(`${dir}/file`, 0o6705));
    expect(await fs.alice.chown(`${dir}/file`, -1, 4100)).toBe(0);
    expect(await modeOf(`${dir}/file`)).toBe(0o2705);
    // Root is in no such group, and keeps it all the same (CAP_FSETID).
    expect(await fs.root.chown(`${dir}/file`, 0, 4002)).toBe(0);
    expect(await modeOf(`${dir}/file`)).toBe(0o2705);
    expect(await fs.root.chown(`${dir}/file`, 4001, -1)).toBe(0);
    expect(await modeOf(`${dir}/file`)).toBe(0o2705);
  });

  test('capabilities of the file go', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`, 0o755);
    // struct vfs_cap_data, version 2: CAP_NET_RAW permitted.
    const capability = Buffer.alloc(20);
    capability.writeUInt32LE(0x0200_0000, 0);
    capability.writeUInt32LE(1 << 13, 4);
    await must(fs.root.setxattr(`${dir}/file`, 'security.capability', capability));
    expect(await fs.alice.chown(`${dir}/file`, -1, 4100)).toBe(0);
    expect(await fs.root.getxattr(`${dir}/file`, 'security.capability')).toBe('ENODATA');
  });

  test('changes ctime and no other time', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`);
    const before = await must(fs.root.stat(`${dir}/file`));
    await must(fs.root.chown(`${dir}/file`, 4002, 4002));
    const after = await must(fs.root.stat(`${dir}/file`));
    expect(after.ctime).toBeGreaterThan(before.ctime);
    expect(after).toMatchObject({ atime: before.atime, mtime: before.mtime });
  });
});
