/** What fuse-native itself gets wrong or cannot do, as programs see it on a real mount. */
import { execFileSync } from 'node:child_process';
import { link, open, readdir, readFile, rename, stat, utimes, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { canMount, Sandbox } from '../../tools/sandbox.ts';

describe.runIf(canMount)('fuse-native', () => {
  let box: Sandbox;
  beforeAll(async () => {
    box = await Sandbox.create();
    await box.must('mkfs', box.image);
    await box.mount('-o', 'driver=fuse-native');
  });
  afterAll(() => box.remove());

  const sh = (script: string): string =>
    execFileSync('sh', ['-c', script], { cwd: box.mountPoint, encoding: 'latin1', stdio: ['ignore', 'pipe', 'pipe'] });

  test('both times of utimensat arrive, in milliseconds, also before 1970', async () => {
    await writeFile(box.path('times'), 'x');
    await utimes(box.path('times'), 1_000_000.5, 2_000_000.25);
    const { atimeMs, mtimeMs } = await stat(box.path('times'));
    expect([atimeMs, mtimeMs]).toEqual([1_000_000_500, 2_000_000_250]);
    sh("touch -d '1969-12-31 23:59:55 UTC' times");
    await box.umount();
    await box.mount('-o', 'driver=kernel'); // which shows what was stored
    expect((await stat(box.path('times'))).mtimeMs).toBe(-5000);
    await box.umount();
    await box.mount('-o', 'driver=fuse-native');
    expect((await stat(box.path('times'))).mtimeMs).toBe(0);
  });

  test('touch sets the time of now', async () => {
    await writeFile(box.path('touched'), 'x');
    await utimes(box.path('touched'), 1, 1);
    const before = Date.now();
    sh('touch touched');
    expect((await stat(box.path('touched'))).mtimeMs).toBeGreaterThanOrEqual(before - 1000);
  });

  test('hard links show one inode number and the count of their names', async () => {
    await writeFile(box.path('one'), 'x');
    await link(box.path('one'), box.path('two'));
    const [a, b] = [await stat(box.path('one')), await stat(box.path('two'))];
    expect([a.ino, a.nlink]).toEqual([b.ino, 2]);
  });

  test('a rename over a file that is open leaves its reader the old content and shows no made-up name', async () => {
    await writeFile(box.path('target'), 'old');
    await writeFile(box.path('source'), 'new');
    const reader = await open(box.path('target'), 'r');
    await rename(box.path('source'), box.path('target'));
    expect(await readFile(box.path('target'), 'utf8')).toBe('new');
    expect(await reader.readFile('utf8')).toBe('old');
    expect((await readdir(box.mountPoint)).filter((name) => name.startsWith('.fuse'))).toEqual([]);
    await reader.close();
    expect(await readFile(box.path('target'), 'utf8')).toBe('new');
  });

  test('an open file without a name takes writes, truncation and attributes', async () => {
    const file = await open(box.path('unnamed'), 'w+');
    sh('rm unnamed');
    await file.write('0123456789', 0);
    await file.truncate(4);
    await file.chmod(0o600);
    const { size, mode, nlink } = await file.stat();
    expect([size, mode & 0o777, nlink]).toEqual([4, 0o600, 0]);
    await file.sync();
    await file.close();
  });

  test('extended attributes come back whole, and a list with all names', () => {
    sh(`touch attrs && setfattr -n user.one -v 1 attrs && setfattr -n user.two -v ${'2'.repeat(3000)} attrs`);
    expect(sh('getfattr --only-values -n user.two attrs')).toBe('2'.repeat(3000));
    expect(sh('getfattr attrs').match(/user\.\w+/g)).toEqual(['user.one', 'user.two']);
    sh('setfattr -x user.one attrs');
    expect(sh('getfattr attrs').match(/user\.\w+/g)).toEqual(['user.two']);
    expect(() => sh('getfattr -n user.one attrs')).toThrow(/No such attribute/);
  });

  test('a buffer that is too small for a value or a list is ERANGE', () => {
    sh(`touch small && setfattr -n user.long -v ${'x'.repeat(500)} small`);
    const python = (call: string): string =>
      sh(
        `python3 -c 'import ctypes,errno; c=ctypes.CDLL(None,use_errno=True); b=ctypes.create_string_buffer(4); ` +
          `print(${call}, errno.errorcode.get(ctypes.get_errno()))'`,
      );
    expect(python('c.getxattr(b"small", b"user.long", b, 4)')).toBe('-1 ERANGE\n');
    expect(python('c.listxattr(b"small", b, 4)')).toBe('-1 ERANGE\n');
  });

  test('a name that is not UTF-8 is refused, not turned into another one', async () => {
    expect(() => sh('touch "$(printf \'bad\\377name\')"')).toThrow(/Invalid or incomplete multibyte/);
    await writeFile(box.path('größe-名前'), 'fine');
    expect(await readdir(box.mountPoint)).toContain('größe-名前');
  });

  test('a directory of thousands of names is listed whole, each once', async () => {
    sh('mkdir many && cd many && seq 1 3000 | xargs touch');
    const names = await readdir(box.path('many'));
    expect(new Set(names).size).toBe(3000);
    expect(names.length).toBe(3000);
  });

  test('holes, sizes past 4 GiB and reads across their end', async () => {
    const file = await open(box.path('sparse'), 'w+');
    await file.write('end', 5 * 2 ** 30);
    expect((await file.stat()).size).toBe(5 * 2 ** 30 + 3);
    const buffer = Buffer.alloc(8, 'x');
    expect((await file.read(buffer, 0, 8, 5 * 2 ** 30 - 2)).bytesRead).toBe(5);
    expect(buffer.toString('latin1', 0, 5)).toBe('\0\0end');
    await file.close();
  });

  test('a symbolic link, a fifo and a removed directory', async () => {
    sh('ln -s target pointer && mkfifo pipe && mkdir gone && rmdir gone');
    expect(sh('readlink pointer; stat -c %F pipe')).toBe('target\nfifo\n');
    await expect(stat(box.path('gone'))).rejects.toMatchObject({ code: 'ENOENT' });
  });
});
