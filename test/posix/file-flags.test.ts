/** ioctl_iflags(2) and chattr(1): immutable, append-only and noatime, and what they forbid, root included. */
import { describe, expect, test } from 'vitest';
import {
  O_APPEND,
  O_CREAT,
  O_DIRECTORY,
  O_RDONLY,
  O_RDWR,
  O_TMPFILE,
  O_TRUNC,
  O_WRONLY,
  UTIME_NOW,
  UTIME_OMIT,
} from './support/constants.ts';
import { canMount, mounted } from './support/mounted.ts';
import { makeFile } from './support/path-errors.ts';
import { type Caller, must } from './support/process.ts';

const fs = mounted();

const FS_IOC_GETFLAGS = 0x80086601;
const FS_IOC_SETFLAGS = 0x40086602;
const FS_IOC_FSGETXATTR = 0x801c581f;
const FS_IOC_FSSETXATTR = 0x401c5820;
const immutable = 0x10;
const appendOnly = 0x20;
const noatime = 0x80;
const renameExchange = 2;
const keepSize = 1;
const punchHole = 2;
const now = { nsec: UTIME_NOW };
const omit = { nsec: UTIME_OMIT };

async function withFd<T>(by: Caller, path: string, work: (fd: number) => Promise<T>): Promise<T> {
  const fd = await must(by.open(path, O_RDONLY));
  try {
    return await work(fd);
  } finally {
    await must(by.close(fd));
  }
}

function getFlags(path: string, by = fs.root): Promise<number> {
  return withFd(by, path, async (fd) => (await must(by.ioctl(fd, FS_IOC_GETFLAGS, Buffer.alloc(8)))).readUInt32LE());
}

/** 0, or the errno. */
function setFlags(path: string, flags: number, by = fs.root) {
  return withFd(by, path, async (fd) => {
    const argument = Buffer.alloc(8);
    argument.writeUInt32LE(flags);
    const answer = await by.ioctl(fd, FS_IOC_SETFLAGS, argument);
    return typeof answer === 'string' ? answer : 0;
  });
}

/** A directory of alice's with a file of hers, of 8192 bytes. */
async function newFile(flags = 0): Promise<{ dir: string; path: string }> {
  const dir = await fs.directory();
  const path = `${dir}/file`;
  const fd = await must(fs.alice.open(path, O_CREAT | O_RDWR, 0o644));
  await must(fs.alice.pwrite(fd, Buffer.alloc(8192, 'a'), 0));
  await must(fs.alice.close(fd));
  if (flags !== 0) expect(await setFlags(path, flags)).toBe(0);
  return { dir, path };
}

async function newDirectory(flags: number): Promise<string> {
  const dir = `${await fs.directory()}/dir`;
  await must(fs.alice.mkdir(dir, 0o777));
  await makeFile(fs.alice, `${dir}/file`, 0o644);
  await must(fs.alice.mkdir(`${dir}/sub`, 0o755));
  expect(await setFlags(dir, flags)).toBe(0);
  return dir;
}

describe.skipIf(!canMount)('FS_IOC_SETFLAGS and FS_IOC_GETFLAGS', () => {
  test('keep what was set, over a crash after a sync and over a mount', async () => {
    const { dir, path } = await newFile(immutable | noatime);
    expect(await setFlags(dir, appendOnly)).toBe(0);
    const fd = await must(fs.root.open(dir, O_RDONLY | O_DIRECTORY));
    await must(fs.root.fsync(fd));
    await must(fs.root.close(fd));
    await fs.crash();
    expect([await getFlags(path), await getFlags(dir)]).toEqual([immutable | noatime, appendOnly]);
    await fs.remount();
    expect([await getFlags(path), await getFlags(dir)]).toEqual([immutable | noatime, appendOnly]);
    expect(await setFlags(path, 0)).toBe(0);
    expect(await getFlags(path)).toBe(0);
  });

  test('change ctime and no other time', async () => {
    const { path } = await newFile();
    const before = await must(fs.root.stat(path));
    expect(await setFlags(path, noatime, fs.alice)).toBe(0);
    const after = await must(fs.root.stat(path));
    expect(after.ctime).toBeGreaterThan(before.ctime);
    expect(after).toMatchObject({ mtime: before.mtime, atime: before.atime });
  });

  test('EPERM for another user, and for an owner who wants what only root may set or clear', async () => {
    const { path } = await newFile();
    expect(await setFlags(path, noatime, fs.bob)).toBe('EPERM');
    expect(await setFlags(path, immutable, fs.alice)).toBe('EPERM');
    expect(await setFlags(path, appendOnly, fs.alice)).toBe('EPERM');
    expect(await setFlags(path, appendOnly)).toBe(0);
    expect(await setFlags(path, 0, fs.alice)).toBe('EPERM');
  });

  test('EPERM for any other flag of an immutable file', async () => {
    const { path } = await newFile(immutable);
    expect(await setFlags(path, immutable | noatime)).toBe('EPERM');
    expect(await setFlags(path, noatime)).toBe(0);
  });

  test.for([
    ['undelete', 0x2],
    ['compressed', 0x4],
    ['synchronous', 0x8],
    ['no dump', 0x40],
    ['no copy-on-write', 0x800000],
    ['project inheritance', 0x20000000],
  ] as const)('EOPNOTSUPP for a flag that is not kept: %s', async ([, flag]) => {
    const { path } = await newFile();
    expect(await setFlags(path, flag)).toBe('EOPNOTSUPP');
    expect(await getFlags(path)).toBe(0);
  });

  test('new entries get noatime from their directory, and nothing else', async () => {
    const dir = await newDirectory(appendOnly | noatime);
    await makeFile(fs.alice, `${dir}/new`, 0o644);
    await must(fs.alice.mkdir(`${dir}/newdir`, 0o755));
    expect([await getFlags(`${dir}/new`), await getFlags(`${dir}/newdir`)]).toEqual([noatime, noatime]);
  });

  test('ENOTTY for a command that nobody knows', async () => {
    const { path } = await newFile();
    await withFd(fs.root, path, async (fd) => {
      expect(await fs.root.ioctl(fd, 0x8008_f5ff, Buffer.alloc(8))).toBe('ENOTTY');
    });
  });
});

describe.skipIf(!canMount)('FS_IOC_FSGETXATTR and FS_IOC_FSSETXATTR', () => {
  const xImmutable = 0x8;
  const xNoatime = 0x40;

  test('say and change the same flags', async () => {
    const { path } = await newFile(noatime);
    await withFd(fs.root, path, async (fd) => {
      const got = await must(fs.root.ioctl(fd, FS_IOC_FSGETXATTR, Buffer.alloc(28)));
      expect(got.readUInt32LE()).toBe(xNoatime);
      got.writeUInt32LE(xNoatime | xImmutable);
      await must(fs.root.ioctl(fd, FS_IOC_FSSETXATTR, got));
    });
    expect(await getFlags(path)).toBe(noatime | immutable);
  });

  test('EOPNOTSUPP for a flag that is not kept', async () => {
    const { path } = await newFile();
    await withFd(fs.root, path, async (fd) => {
      const wanted = Buffer.alloc(28);
      wanted.writeUInt32LE(0x80); // FS_XFLAG_NODUMP
      expect(await fs.root.ioctl(fd, FS_IOC_FSSETXATTR, wanted)).toBe('EOPNOTSUPP');
    });
  });
});

describe.skipIf(!canMount)('an immutable file', () => {
  test('is read, and nothing of it changes', async () => {
    const { dir, path } = await newFile(immutable);
    const before = await must(fs.root.stat(path));
    const { root } = fs;
    expect(await root.open(path, O_WRONLY)).toBe('EPERM');
    expect(await root.open(path, O_RDWR | O_APPEND)).toBe('EPERM');
    expect(await root.open(path, O_RDONLY | O_TRUNC)).toBe('EPERM');
    expect(await root.truncate(path, 1)).toBe('EPERM');
    expect(await root.chmod(path, 0o600)).toBe('EPERM');
    expect(await root.chown(path, 0, 0)).toBe('EPERM');
    expect(await root.touch(path)).toBe('EPERM');
    expect(await root.utimens(path, 1n, 1n)).toBe('EPERM');
    expect(await root.setxattr(path, 'user.x', 'value')).toBe('EPERM');
    expect(await root.link(path, `${dir}/other`)).toBe('EPERM');
    expect(await root.rename(path, `${dir}/other`)).toBe('EPERM');
    await makeFile(fs.alice, `${dir}/another`, 0o644);
    expect(await root.rename(`${dir}/another`, path)).toBe('EPERM');
    expect(await root.renameat2(`${dir}/another`, path, renameExchange)).toBe('EPERM');
    expect(await root.unlink(path)).toBe('EPERM');
    expect(await must(root.stat(path))).toMatchObject({ ctime: before.ctime, mtime: before.mtime, size: 8192 });
    await withFd(root, path, async (fd) => {
      expect(await must(root.pread(fd, 8192, 0))).toEqual(Buffer.alloc(8192, 'a'));
    });
  });

  test('is not written through a descriptor that was opened before', async () => {
    const { path } = await newFile();
    const { root } = fs;
    const fd = await must(root.open(path, O_RDWR));
    expect(await setFlags(path, immutable)).toBe(0);
    expect(await root.pwrite(fd, 'b', 0)).toBe('EPERM');
    expect(await root.ftruncate(fd, 1)).toBe('EPERM');
    expect(await root.fallocate(fd, 0, 0, 20_000)).toBe('EPERM');
    expect(await root.fallocate(fd, punchHole | keepSize, 0, 4096)).toBe('EPERM');
    await withFd(root, path, async (source) => {
      expect(await root.copyFileRange(source, 4096, fd, 0, 4096)).toBe('EPERM');
    });
    expect(await setFlags(path, 0)).toBe(0);
    expect(await root.pwrite(fd, 'b', 0)).toBe(1);
    await must(root.close(fd));
  });
});

describe.skipIf(!canMount)('an append-only file', () => {
  test('grows at its end, and else nothing of it changes', async () => {
    const { dir, path } = await newFile(appendOnly);
    const { root } = fs;
    expect(await root.open(path, O_WRONLY)).toBe('EPERM');
    expect(await root.open(path, O_WRONLY | O_APPEND | O_TRUNC)).toBe('EPERM');
    const fd = await must(fs.alice.open(path, O_WRONLY | O_APPEND));
    expect(await fs.alice.write(fd, 'end')).toBe(3);
    expect(await fs.alice.fallocate(fd, keepSize, 0, 40_960)).toBe(0);
    expect(await fs.alice.fallocate(fd, punchHole | keepSize, 0, 4096)).toBe('EPERM');
    expect(await fs.alice.ftruncate(fd, 0)).toBe('EPERM');
    // Elsewhere already the fcntl(2) would be EPERM.
    await must(fs.alice.setFlags(fd, 0));
    expect(await fs.alice.pwrite(fd, 'x', 0)).toBe('EPERM');
    await must(fs.alice.close(fd));
    expect(await root.truncate(path, 1)).toBe('EPERM');
    expect(await root.chmod(path, 0o600)).toBe('EPERM');
    expect(await root.utimens(path, 1n, 1n)).toBe('EPERM');
    expect(await root.utimens(path, now, omit)).toBe('EPERM');
    expect(await root.utimens(path, omit, now)).toBe('EPERM');
    expect(await root.utimens(path, now, now)).toBe(0);
    expect(await root.touch(path)).toBe(0);
    expect(await root.setxattr(path, 'user.x', 'value')).toBe('EPERM');
    expect(await root.link(path, `${dir}/other`)).toBe('EPERM');
    expect(await root.rename(path, `${dir}/other`)).toBe('EPERM');
    expect(await root.unlink(path)).toBe('EPERM');
    expect((await must(root.stat(path))).size).toBe(8195);
  });
});

describe.skipIf(!canMount)('a protected directory', () => {
  test('immutable: names neither come nor go, what they lead to changes', async () => {
    const dir = await newDirectory(immutable);
    const { root } = fs;
    const outside = await newFile();
    expect(await root.open(`${dir}/new`, O_CREAT | O_RDWR, 0o644)).toBe('EPERM');
    expect(await root.open(dir, O_TMPFILE | O_RDWR, 0o644)).toBe('EPERM');
    expect(await root.mkdir(`${dir}/new`, 0o755)).toBe('EPERM');
    expect(await root.symlink('target', `${dir}/new`)).toBe('EPERM');
    expect(await root.link(outside.path, `${dir}/new`)).toBe('EPERM');
    expect(await root.rename(outside.path, `${dir}/new`)).toBe('EPERM');
    expect(await root.rename(`${dir}/file`, outside.path)).toBe('EPERM');
    expect(await root.unlink(`${dir}/file`)).toBe('EPERM');
    expect(await root.rmdir(`${dir}/sub`)).toBe('EPERM');
    expect(await root.rename(dir, `${dir}-moved`)).toBe('EPERM');
    expect(await root.rmdir(dir)).toBe('EPERM');
    expect(await root.chmod(dir, 0o700)).toBe('EPERM');
    expect(await root.chmod(`${dir}/file`, 0o600)).toBe(0);
    expect(await root.truncate(`${dir}/file`, 10)).toBe(0);
  });

  test('append-only: names come and never go', async () => {
    const dir = await newDirectory(appendOnly);
    const { root } = fs;
    const outside = await newFile();
    await makeFile(fs.alice, `${dir}/new`, 0o644);
    expect(await root.mkdir(`${dir}/newdir`, 0o755)).toBe(0);
    expect(await root.rename(outside.path, `${dir}/moved`)).toBe(0);
    expect(await root.link(`${dir}/file`, `${dir}/linked`)).toBe(0);
    expect(await root.unlink(`${dir}/file`)).toBe('EPERM');
    expect(await root.rmdir(`${dir}/sub`)).toBe('EPERM');
    expect(await root.rename(`${dir}/file`, `${dir}/renamed`)).toBe('EPERM');
    expect(await root.rename(`${dir}/new`, `${dir}/file`)).toBe('EPERM');
    expect(await root.truncate(`${dir}/file`, 10)).toBe(0);
  });
});

describe.skipIf(!canMount)('noatime', () => {
  test('reading leaves the time of access alone, listing that of a directory', async () => {
    const { dir, path } = await newFile(noatime);
    expect(await setFlags(dir, noatime)).toBe(0);
    // Older than the last change, so that relatime would mark the access.
    const old = 1_000_000_000_000n;
    for (const each of [path, dir]) await must(fs.root.utimens(each, old, 2_000_000_000_000n));
    await withFd(fs.root, path, async (fd) => must(fs.root.pread(fd, 10, 0)));
    const listing = await must(fs.root.open(dir, O_RDONLY | O_DIRECTORY));
    await must(fs.root.getdents(listing));
    await must(fs.root.close(listing));
    for (const each of [path, dir]) expect((await must(fs.root.stat(each))).atime).toBe(old);
  });
});
