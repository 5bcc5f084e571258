/** The kernel itself at the other end: what programs see of a mount. */
import { execFile, spawnSync } from 'node:child_process';
import { constants } from 'node:fs';
import {
  chmod,
  chown,
  link,
  lstat,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  rmdir,
  stat,
  statfs,
  symlink,
  truncate,
  unlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Mounted } from './mounted.ts';
import type { Kind } from './served.ts';

const run = promisify(execFile);

async function codeOf(call: Promise<unknown>): Promise<string> {
  try {
    await call;
  } catch (error) {
    if (error instanceof Error && 'code' in error) return String(error.code);
    throw error;
  }
  return 'no error';
}

/** Python has the system calls that Node has not; what the program prints. */
async function python(program: string, ...args: string[]): Promise<string> {
  const { stdout } = await run('python3', ['-c', `import os, sys, errno\npath = sys.argv[1]\n${program}`, ...args]);
  return stdout.trim();
}

const root = process.getuid?.() === 0;

/** What a shell without privileges makes of the script. */
function sh(script: string) {
  return spawnSync('sh', ['-c', script], { uid: 1000, gid: 1000, cwd: '/', encoding: 'utf8' });
}

/** The mode of a file with every bit, after the script ran over it. */
async function modeAfter(file: string, script: string, uid: number): Promise<string> {
  await rm(file, { force: true });
  await writeFile(file, 'x');
  await chown(file, 1000, 1000);
  await chmod(file, 0o6777);
  spawnSync('sh', ['-c', script.replaceAll('FILE', file)], { uid, gid: uid, cwd: '/' });
  return ((await stat(file)).mode & 0o7777).toString(8);
}

describe.skipIf(!root).each<[Kind]>([['memory'], ['delayed'], ['engine']])('a mount (%s)', (kind) => {
  let mounted: Mounted;
  const at = (name: string): string => mounted.path(name);

  beforeAll(async () => {
    mounted = await Mounted.create(kind, 'nosuid', 'nodev', 'noatime');
  });
  afterAll(() => mounted?.remove());

  test('stands in /proc/mounts with its source, type and options', async () => {
    const lines = (await readFile('/proc/mounts', 'utf8')).split('\n');
    const line = lines.find((one) => one.includes(` ${mounted.dir} `)) ?? '';
    expect(line).toMatch(/^test\\040source \S+ fuse\.iopmemfs rw,nosuid,nodev,noatime,/);
    expect(line).toContain('default_permissions,allow_other');
  });

  test('reads back what was written, at any offset and size', async () => {
    const data = Buffer.from(Array.from({ length: 3_000_001 }, (_, i) => (i * 31) >> 3));
    await writeFile(at('data'), data);
    expect((await readFile(at('data'))).equals(data)).toBe(true);
    const file = await open(at('data'), 'r+');
    try {
      await file.write(Buffer.from('XYZ'), 0, 3, 2_999_999);
      expect((await file.stat()).size).toBe(3_000_002);
      const { bytesRead, buffer } = await file.read(Buffer.alloc(10), 0, 10, 2_999_998);
      expect([bytesRead, buffer.toString('latin1', 1, 4)]).toEqual([4, 'XYZ']);
    } finally {
      await file.close();
    }
  });

  test('direct I/O goes around the cache and sees the same bytes', async () => {
    await writeFile(at('direct'), Buffer.alloc(8192, 'a'));
    const out = await python(
      `import mmap
buf = mmap.mmap(-1, 4096)
buf.write(b'd' * 4096)
fd = os.open(path, os.O_RDWR | os.O_DIRECT)
print(os.pwrite(fd, buf, 4096), os.preadv(fd, [buf], 0), buf[:3])`,
      at('direct'),
    );
    expect(out).toBe("4096 4096 b'aaa'");
    expect((await readFile(at('direct'), 'latin1')).slice(4095, 4098)).toBe('add');
  });

  test('a shared mapping is written back, and reads what write(2) wrote', async () => {
    await writeFile(at('mapped'), Buffer.alloc(8192, '.'));
    const out = await python(
      `import mmap
fd = os.open(path, os.O_RDWR)
with mmap.mmap(fd, 8192) as m:
    m[0:5] = b'hello'
    os.pwrite(fd, b'world', 4096)
    print(m[4096:4101])
    m.flush()`,
      at('mapped'),
    );
    expect(out).toBe("b'world'");
    expect((await readFile(at('mapped'), 'latin1')).slice(0, 6)).toBe('hello.');
  });

  test('O_APPEND writes at the end, O_TRUNC empties, O_EXCL refuses', async () => {
    await writeFile(at('flags'), 'one');
    await writeFile(at('flags'), 'two', { flag: 'a' });
    expect(await readFile(at('flags'), 'utf8')).toBe('onetwo');
    await writeFile(at('flags'), '3');
    expect(await readFile(at('flags'), 'utf8')).toBe('3');
    expect(await codeOf(writeFile(at('flags'), '', { flag: 'wx' }))).toBe('EEXIST');
  });

  test('truncate shortens and lengthens with zeros', async () => {
    await writeFile(at('cut'), 'abcdef');
    await truncate(at('cut'), 3);
    await truncate(at('cut'), 6);
    expect(await readFile(at('cut'), 'latin1')).toBe('abc\0\0\0');
  });

  test('chmod, chown and times to the nanosecond', async () => {
    await writeFile(at('attrs'), '');
    await chmod(at('attrs'), 0o640);
    await chown(at('attrs'), 1234, 4321);
    await python('os.utime(path, ns=(1_000_000_001, -5))', at('attrs'));
    const { mode, uid, gid, atimeNs, mtimeNs } = await stat(at('attrs'), { bigint: true });
    expect([mode & 0o7777n, uid, gid, atimeNs, mtimeNs]).toEqual([0o640n, 1234n, 4321n, 1_000_000_001n, -5n]);
    // UTIME_OMIT leaves the one, UTIME_NOW sets the other.
    await run('touch', ['-m', at('attrs')]);
    const touched = await stat(at('attrs'), { bigint: true });
    expect(touched.atimeNs).toBe(1_000_000_001n);
    expect(touched.mtimeNs).toBeGreaterThan(BigInt(Date.now() - 60_000) * 1_000_000n);
  });

  test('statx tells the time of birth', async () => {
    const before = Date.now() - 5000;
    await writeFile(at('born'), '');
    await utimes(at('born'), 1, 1);
    const { stdout } = await run('stat', ['-c', '%W', at('born')]);
    expect(Number(stdout) * 1000).toBeGreaterThan(before);
  });

  test('the umask applies', async () => {
    await run('sh', ['-c', 'umask 027; touch "$1"; mkdir "$2"', 'sh', at('masked'), at('maskedd')]);
    expect([(await stat(at('masked'))).mode & 0o777, (await stat(at('maskedd'))).mode & 0o777]).toEqual([0o640, 0o750]);
  });

  test('names: made, linked, renamed, removed', async () => {
    await mkdir(at('dir'));
    await writeFile(at('dir/a'), 'A');
    await link(at('dir/a'), at('dir/b'));
    expect((await stat(at('dir/b'))).nlink).toBe(2);
    await rename(at('dir/b'), at('dir/c'));
    expect((await readdir(at('dir'))).toSorted()).toEqual(['a', 'c']);
    await symlink('dir/a', at('sym'));
    expect([await readlink(at('sym')), await readFile(at('sym'), 'utf8')]).toEqual(['dir/a', 'A']);
    expect((await lstat(at('sym'))).isSymbolicLink()).toBe(true);
    expect(await codeOf(rmdir(at('dir')))).toBe('ENOTEMPTY');
    await unlink(at('dir/a'));
    await unlink(at('dir/c'));
    await rmdir(at('dir'));
    expect(await codeOf(stat(at('dir')))).toBe('ENOENT');
  });

  test('names may be any 255 bytes, and not 256', async () => {
    const bytes = Buffer.concat([
      Buffer.from(`${mounted.dir}/`),
      Buffer.from([0xff, 0x80, 0x20]),
      Buffer.alloc(252, 'n'),
    ]);
    await writeFile(bytes, 'odd');
    const listed = await readdir(Buffer.from(mounted.dir), { encoding: 'buffer' });
    expect(listed.some((name) => name.equals(bytes.subarray(mounted.dir.length + 1)))).toBe(true);
    await unlink(bytes);
    expect(await codeOf(writeFile(at('n'.repeat(256)), ''))).toBe('ENAMETOOLONG');
  });

  test('renameat2: exchange swaps, noreplace refuses', async () => {
    await writeFile(at('x1'), '1');
    await writeFile(at('x2'), '2');
    const rename2 = (flags: number) =>
      python(
        `import ctypes
libc = ctypes.CDLL(None, use_errno=True)
r = libc.renameat2(-100, path.encode(), -100, sys.argv[2].encode(), ${flags})
print(errno.errorcode[ctypes.get_errno()] if r else 'done')`,
        at('x1'),
        at('x2'),
      );
    expect(await rename2(2)).toBe('done');
    expect(await readFile(at('x1'), 'utf8')).toBe('2');
    expect(await rename2(1)).toBe('EEXIST');
  });

  test('a large directory is listed whole, with types and with attributes', async () => {
    await mkdir(at('many'));
    const names = Array.from({ length: 700 }, (_, i) => `entry-${i}`);
    for (const name of names) await writeFile(at(`many/${name}`), '');
    const listed = await readdir(at('many'), { withFileTypes: true });
    expect(listed.map((entry) => entry.name).toSorted()).toEqual(names.toSorted());
    expect(listed.every((entry) => entry.isFile())).toBe(true);
    const { stdout } = await run('ls', ['-l', at('many')]);
    expect(stdout.split('\n').length).toBe(702);
    await rm(at('many'), { recursive: true });
    expect(await codeOf(stat(at('many')))).toBe('ENOENT');
  });

  test('an unlinked open file lives on until it is closed', async () => {
    const file = await open(at('gone'), 'w+');
    try {
      await unlink(at('gone'));
      await file.write('still here');
      expect((await file.stat()).nlink).toBe(0);
      expect((await file.read(Buffer.alloc(10), 0, 10, 0)).buffer.toString()).toBe('still here');
    } finally {
      await file.close();
    }
  });

  test('O_TMPFILE makes a file without a name, linkat gives it one', async () => {
    const out = await python(
      `fd = os.open(path, os.O_TMPFILE | os.O_RDWR, 0o600)
os.write(fd, b'anonymous')
import ctypes
AT_FDCWD, AT_SYMLINK_FOLLOW = -100, 0x400
ctypes.CDLL(None).linkat(AT_FDCWD, b'/proc/self/fd/%d' % fd, AT_FDCWD, (path + '/named').encode(), AT_SYMLINK_FOLLOW)
print(os.fstat(fd).st_nlink)`,
      mounted.dir,
    );
    expect([out, await readFile(at('named'), 'utf8')]).toEqual(['1', 'anonymous']);
  });

  test('special files keep type and device number', async () => {
    await run('mknod', [at('null'), 'c', '1', '3']);
    await run('mkfifo', [at('fifo')]);
    const { stdout } = await run('stat', ['-c', '%F %t:%T', at('null'), at('fifo')]);
    expect(stdout).toBe('character special file 1:3\nfifo 0:0\n');
  });

  test('extended attributes: set, replaced, listed, removed', async () => {
    await writeFile(at('xattrs'), '');
    const out = await python(
      `os.setxattr(path, 'user.a', b'1')
try: os.setxattr(path, 'user.a', b'2', os.XATTR_CREATE)
except OSError as e: print(errno.errorcode[e.errno])
try: os.setxattr(path, 'user.b', b'2', os.XATTR_REPLACE)
except OSError as e: print(errno.errorcode[e.errno])
os.setxattr(path, 'user.big', bytes(60000))
print(os.getxattr(path, 'user.a'), len(os.getxattr(path, 'user.big')), sorted(os.listxattr(path)))
os.removexattr(path, 'user.a')
try: os.getxattr(path, 'user.a')
except OSError as e: print(errno.errorcode[e.errno])`,
      at('xattrs'),
    );
    expect(out.split('\n')).toEqual(['EEXIST', 'ENODATA', "b'1' 60000 ['user.a', 'user.big']", 'ENODATA']);
  });

  test('fallocate lengthens, keeps the size, and punches holes', async () => {
    await writeFile(at('alloc'), Buffer.alloc(16384, 'f'));
    const out = await python(
      `import ctypes
libc = ctypes.CDLL(None, use_errno=True)
fd = os.open(path, os.O_RDWR)
def fallocate(mode, offset, length):
    r = libc.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(length))
    return errno.errorcode[ctypes.get_errno()] if r else os.fstat(fd).st_size
print(fallocate(0, 0, 20000), fallocate(1, 0, 40000), fallocate(3, 4096, 4096), fallocate(64, 0, 4096))
print(os.pread(fd, 3, 4094))
print(os.lseek(fd, 0, os.SEEK_DATA) < 4096, os.lseek(fd, 0, os.SEEK_HOLE) > 0)
try: os.lseek(fd, 20000, os.SEEK_DATA)
except OSError as e: print(errno.errorcode[e.errno])`,
      at('alloc'),
    );
    expect(out.split('\n')).toEqual(['20000 20000 20000 ENOTSUP', "b'ff\\x00'", 'True True', 'ENXIO']);
  });

  test('copy_file_range copies within the filesystem', async () => {
    await writeFile(at('from'), 'copy this text');
    const out = await python(
      `a = os.open(path, os.O_RDONLY)
b = os.open(sys.argv[2], os.O_RDWR | os.O_CREAT)
print(os.copy_file_range(a, b, 100, 5, 2))`,
      at('from'),
      at('to'),
    );
    expect([out, await readFile(at('to'), 'latin1')]).toEqual(['9', '\0\0this text']);
  });

  test('fsync of files and directories, sync of the filesystem, statfs', async () => {
    const file = await open(at('synced'), 'w');
    await file.write('x');
    await file.datasync();
    await file.sync();
    await file.close();
    const dir = await open(mounted.dir, constants.O_RDONLY | constants.O_DIRECTORY);
    await dir.sync();
    await dir.close();
    await run('sync', ['-f', mounted.dir]);
    const { bsize, blocks, bfree } = await statfs(mounted.dir);
    expect([bsize, blocks > 0, bfree > 0]).toEqual([4096, true, true]);
  });

  test('flock and fcntl locks work between processes', async () => {
    await writeFile(at('locked'), '');
    const out = await python(
      `import fcntl, subprocess
f = open(path, 'r+')
fcntl.flock(f, fcntl.LOCK_EX)
fcntl.lockf(f, fcntl.LOCK_EX)
other = "import fcntl,sys; f=open(sys.argv[1],'r+')\\nfor lock in (fcntl.flock, fcntl.lockf):\\n  try: lock(f, fcntl.LOCK_EX|fcntl.LOCK_NB); print('got')\\n  except BlockingIOError: print('busy')"
print(subprocess.run([sys.executable, '-c', other, path], capture_output=True, text=True).stdout)`,
      at('locked'),
    );
    expect(out.split('\n')).toEqual(['busy', 'busy']);
  });

  test('permissions are checked for callers who are not root', async () => {
    await mkdir(at('private'), 0o700);
    await writeFile(at('shared'), 's');
    await chmod(at('shared'), 0o666);
    expect(sh(`ls ${at('private')}`).stderr).toContain('Permission denied');
    expect(sh(`echo more >> ${at('shared')} && cat ${at('shared')}`).stdout).toBe('smore\n');
    expect(sh(`chmod 600 ${at('shared')}`).stderr).toContain('not permitted');
    await chmod(mounted.dir, 0o777);
    expect(sh(`touch ${at('mine')} && stat -c %u:%g ${at('mine')}`).stdout).toBe('1000:1000\n');
  });

  test("writing, truncating and giving away take set-user-ID, but not root's writes", async () => {
    expect(await modeAfter(at('suid'), 'printf y >> FILE', 1000)).toBe('777');
    expect(await modeAfter(at('suid'), 'printf y > FILE', 1000)).toBe('777');
    expect(await modeAfter(at('suid'), 'truncate -s 10 FILE', 1000)).toBe('777');
    expect(await modeAfter(at('suid'), 'fallocate -l 8192 FILE', 1000)).toBe('777');
    expect(await modeAfter(at('suid'), 'printf y >> FILE', 0)).toBe('6777');
    expect(await modeAfter(at('suid'), 'chown 5:5 FILE', 0)).toBe('777');
    expect(await modeAfter(at('suid'), 'cat FILE', 1000)).toBe('6777');
  });

  test('many processes at once', async () => {
    const dir = at('busy');
    await mkdir(dir);
    const script =
      'for i in 1 2 3 4 5 6 7 8 9; do echo $$ > "$1/$$-$i"; mv "$1/$$-$i" "$1/$$.$i"; cat "$1/$$.$i" > /dev/null; done';
    await Promise.all(Array.from({ length: 8 }, () => run('sh', ['-c', script, 'sh', dir])));
    expect((await readdir(dir)).length).toBe(72);
    await rm(dir, { recursive: true });
  });
});

describe.skipIf(!root)('a mount point', () => {
  test('that does not exist, or is no directory, is refused by name', async () => {
    const { mountKernel } = await import('../../../fs/fuse/kernel/index.ts');
    const { MemoryVfs } = await import('../../support/memory-vfs.ts');
    const dir = await mkdtemp(join(tmpdir(), 'iopmemfs-nomount-'));
    const options = { source: 's', readOnly: false, allowOther: false, directIo: false, onUnmounted: () => undefined };
    try {
      await writeFile(join(dir, 'file'), '');
      const missing = { ...options, mountPoint: join(dir, 'missing'), options: [] };
      expect(await codeOf(mountKernel(new MemoryVfs(), missing))).toBe('ENOENT');
      expect(await codeOf(mountKernel(new MemoryVfs(), { ...missing, mountPoint: join(dir, 'file') }))).toBe('ENOTDIR');
      expect(await codeOf(mountKernel(new MemoryVfs(), { ...missing, mountPoint: dir, options: ['quota'] }))).toBe(
        'EINVAL',
      );
    } finally {
      await rm(dir, { recursive: true });
    }
  });

  test('mounted read-only takes no writes', async () => {
    const mounted = await Mounted.create('memory', 'ro');
    try {
      expect(await codeOf(writeFile(mounted.path('x'), ''))).toBe('EROFS');
    } finally {
      await mounted.remove();
    }
  });
});
