import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, open, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { writeNewerSuperblocks } from './newer.ts';
import { canMount, outcomeOf, printed, Sandbox } from './sandbox.ts';

let box: Sandbox;
beforeEach(async () => {
  box = await Sandbox.create();
});
afterEach(() => box.remove());

const isMounted = async (path: string): Promise<boolean> =>
  (await readFile('/proc/self/mounts', 'utf8')).includes(` ${path} fuse.iopmemfs `);

/** Polls, since umount(8) returns before the daemon has ended; the test's own limit ends it. */
async function until(condition: () => Promise<boolean> | boolean): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 20));
}

describe('bad input is refused before anything is touched', () => {
  test.for([
    ['a missing mount point', 'nowhere', /nowhere: mount point does not exist: make the directory first \(ENOENT\)/],
    ['a file as mount point', 'image', /image: mount point is not a directory \(ENOTDIR\)/],
    ['a mount point that is not empty', '.', /mount point is not empty: its files would be hidden \(ENOTEMPTY\)/],
  ] as const)('%s', async ([, directory, message]) => {
    await box.must('mkfs', box.image);
    const before = await readFile(box.image);
    expect(await box.run('iopmemfs', 'mount', box.image, directory)).toMatchObject({ code: 32, stderr: message });
    expect((await readFile(box.image)).equals(before)).toBe(true);
  });

  test('an image that is not formatted', async () => {
    const { code, stderr } = await box.run('iopmemfs', 'mount', box.image, box.mountPoint);
    expect({ code, stderr }).toEqual({
      code: 32,
      stderr: `iopmemfs: ${box.image}: not an iopmemfs filesystem; mkfs.iopmemfs makes one (EINVAL)\n`,
    });
  });

  test('a missing image', async () => {
    expect(await box.run('iopmemfs', 'mount', 'nowhere', box.mountPoint)).toMatchObject({
      code: 32,
      stderr: /nowhere: no such file or directory \(ENOENT\)$/m,
    });
  });

  test('a filesystem of a newer version', async () => {
    await writeNewerSuperblocks(box.image, 64 << 20, 99);
    const { code, stderr } = await box.run('iopmemfs', 'mount', box.image, box.mountPoint);
    expect(code).toBe(32);
    expect(stderr).toMatch(/newer version \(format 99\): use that one \(EOPNOTSUPP\)/);
  });

  test('metadata that is missing', async () => {
    await box.must('mkfs', box.image);
    await rm(box.state, { recursive: true });
    const { code, stderr } = await box.run('iopmemfs', 'mount', box.image, box.mountPoint);
    expect(code).toBe(32);
    expect(stderr).toMatch(/no metadata directory here .*: give the one of this filesystem with --meta DIR \(ENOENT\)/);
  });

  test('metadata of another filesystem', async () => {
    const other = join(box.dir, 'other');
    await box.makeImage(other, 1 << 20);
    await box.must('mkfs', '--meta', join(box.dir, 'meta'), other);
    await box.must('mkfs', box.image);
    const refused = await box.run('iopmemfs', 'mount', box.image, box.mountPoint, '--meta', join(box.dir, 'meta'));
    expect(refused).toMatchObject({ code: 32, stderr: /belongs to another filesystem.*\(ESTALE\)/ });
  });

  test.runIf(canMount)('metadata that is older than the superblock', async () => {
    const meta = join(box.dir, 'meta');
    await box.must('mkfs', '--meta', meta, box.image);
    await cp(meta, join(box.dir, 'old'), { recursive: true });
    await box.mount('--meta', meta);
    await box.umount();
    const refused = await box.run('iopmemfs', 'mount', box.image, box.mountPoint, '--meta', join(box.dir, 'old'));
    expect(refused).toMatchObject({ code: 32, stderr: /metadata is older than the superblock.*\(ESTALE\)/ });
    await box.mount('--meta', meta);
    await box.umount();
  });

  test.for([
    ['an unknown mount option', ['-o', 'wat'], 1, /unknown mount option "wat" \(EINVAL\)/],
    ['an unknown driver', ['--driver', 'wat'], 1, /driver is kernel or fuse-native, not "wat"/],
    ['a lease that is no time', ['--lease-ms', 'soon'], 1, /"soon" is not a time in milliseconds/],
    ['a lease that is too short', ['--lease-ms', '1'], 32, /a lease of 1 ms: 50 to 3600000 are possible/],
    ['an address that is none', ['--listen', 'wat'], 32, /use unix:PATH or tcp:\/\/HOST:PORT \(EINVAL\)/],
  ] as const)('%s', async ([, options, exit, message]) => {
    await box.must('mkfs', box.image);
    const { code, stderr } = await box.run('iopmemfs', 'mount', box.image, box.mountPoint, ...options);
    expect(stderr).toMatch(message);
    expect(code).toBe(exit);
    expect(await isMounted(box.mountPoint)).toBe(false);
  });
});

describe.runIf(canMount).each(['kernel', 'fuse-native'])('a mount through %s', (driver) => {
  beforeEach(() => box.must('mkfs', box.image));

  test('answers when the command returns, and holds no pipe of its caller', async () => {
    // Ends only when nobody has the pipe open any more.
    const piped = await box.command('sh', '-c', `"$0" "$@" | cat`, ...mountCommand(driver));
    expect(piped).toMatchObject({ code: 0, stderr: '' });
    expect(piped.stdout).toContain(`mounted on ${box.mountPoint}, serving at unix:`);
    await writeFile(box.path('file'), 'there');
    expect(await readFile(box.path('file'), 'utf8')).toBe('there');
  });

  test('plain umount ends the daemon, and what was written is there next time', async () => {
    await box.mount('-o', `driver=${driver}`);
    await writeFile(box.path('file'), 'kept');
    const [pid = 0] = await box.daemons();
    expect(await box.umountBy('umount')).toMatchObject({ code: 0 });
    // fsck waits for the daemon to finish; there is no moment at which it finds the device in use.
    expect(await box.run('fsck', box.image)).toMatchObject({ code: 0, stdout: /: clean, 2 files/ });
    await until(() => !existsSync(`/proc/${pid}`));
    expect(await box.daemons()).toEqual([]);
    await box.mount('-o', `driver=${driver}`);
    expect(await readFile(box.path('file'), 'utf8')).toBe('kept');
  });

  test('SIGTERM unmounts and closes in order', async () => {
    await box.mount('-o', `driver=${driver}`);
    await writeFile(box.path('file'), 'kept');
    const [pid = 0] = await box.daemons();
    process.kill(pid, 'SIGTERM');
    await until(() => !existsSync(`/proc/${pid}`));
    expect(await isMounted(box.mountPoint)).toBe(false);
    expect(await box.run('fsck', box.image)).toMatchObject({ code: 0, stdout: /: clean, 2 files/ });
  });

  test('a killed daemon leaves what was synced; the next mount takes the dead one away', async () => {
    await box.mount('-o', `driver=${driver}`);
    const file = await open(box.path('file'), 'w');
    await file.writeFile('synced');
    await file.sync();
    await file.close().catch(() => {});
    await stat(box.mountPoint); // from now on the kernel answers this by itself, whether the daemon lives or not
    const [pid = 0] = await box.daemons();
    process.kill(pid, 'SIGKILL');
    await until(() => !existsSync(`/proc/${pid}`));
    expect(JSON.parse(await box.must('iopmemfs', 'status', '--json'))).toEqual([]);
    for (const args of [
      ['status', box.mountPoint],
      ['map', box.path('file')],
    ]) {
      const refused = await box.run('iopmemfs', ...args);
      expect(refused).toMatchObject({ code: 1, stderr: /: its daemon has died: .* mount again \(ENOTCONN\)$/m });
    }
    expect(await box.run('fsck', box.image)).toMatchObject({ code: 0, stdout: /clean, not unmounted in order/ });
    await box.mount('-o', `driver=${driver}`);
    expect(await readFile(box.path('file'), 'utf8')).toBe('synced');
  });

  test('a second mount is refused: of the device, and on the mount point', async () => {
    await box.mount('-o', `driver=${driver}`);
    const elsewhere = join(box.dir, 'elsewhere');
    await mkdir(elsewhere);
    expect(await box.run('iopmemfs', 'mount', box.image, elsewhere)).toMatchObject({
      code: 32,
      stderr: /in use by another daemon \(process \d+\): umount .*\/mnt first \(EBUSY\)/,
    });
    const other = join(box.dir, 'other');
    await box.makeImage(other, 1 << 20);
    await box.must('mkfs', other);
    expect(await box.run('iopmemfs', 'mount', other, box.mountPoint)).toMatchObject({
      code: 32,
      stderr: /already mounted: .*image \(fuse\.iopmemfs\); umount .* first \(EBUSY\)/,
    });
    expect(await box.run('fsck', box.image)).toMatchObject({ code: 8, stderr: /in use by another daemon.*\(EBUSY\)/ });
  });

  test('read-only refuses writes with EROFS, and the options of mount(8) reach the kernel', async () => {
    await box.mount('-o', `driver=${driver},ro,noexec,nosuid`);
    await expect(writeFile(box.path('file'), 'x')).rejects.toMatchObject({ code: 'EROFS' });
    const line = (await readFile('/proc/self/mounts', 'utf8'))
      .split('\n')
      .find((each) => each.includes(box.mountPoint));
    expect(line).toMatch(/ ro,[^ ]*nosuid[^ ]*noexec/);
  });

  test('a full device is ENOSPC in the middle of a write, the file stays readable, unlink brings the space back', async () => {
    await box.mount('-o', `driver=${driver}`);
    const block = Buffer.alloc(1 << 20, 'x');
    const file = await open(box.path('full'), 'w');
    let written = 0;
    const fill = async (): Promise<void> => {
      for (;;) written += (await file.write(block)).bytesWritten;
    };
    await expect(fill()).rejects.toMatchObject({ code: 'ENOSPC' });
    await file.close();
    const content = await readFile(box.path('full'));
    expect(content.length).toBeGreaterThanOrEqual(written);
    expect(content.subarray(0, written).every((byte) => byte === 0x78)).toBe(true);
    await rm(box.path('full'));
    await writeFile(box.path('next'), block);
    expect((await readFile(box.path('next'))).equals(block)).toBe(true);
    await box.umount();
    expect(await box.run('fsck', box.image)).toMatchObject({ code: 0 });
  });

  test('an open file that is unlinked lives on, and no .fuse_hidden appears', async () => {
    await box.mount('-o', `driver=${driver}`);
    await writeFile(box.path('file'), 'still here');
    const file = await open(box.path('file'), 'r+');
    await rm(box.path('file'));
    expect(await readdir(box.mountPoint)).toEqual([]);
    expect((await file.stat()).nlink).toBe(0);
    expect(await file.readFile('utf8')).toBe('still here');
    await file.write('more', 0);
    await file.close();
    await box.umount();
    expect(await box.run('fsck', box.image)).toMatchObject({ code: 0, stdout: /: clean, 1 files, 0\// });
  });

  test('ordinary programs work on it: cp -a and diff, git, rsync, sqlite3', async () => {
    await box.mount('-o', `driver=${driver}`);
    const tree = await mkdtemp(join(box.dir, 'tree-'));
    await cp('fs', join(tree, 'fs'), { recursive: true });
    const sh = (script: string): string =>
      execFileSync('sh', ['-ec', script], { cwd: box.mountPoint, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
    sh(`cp -a "${tree}/fs" copy && diff -r "${tree}/fs" copy`);
    expect((await stat(box.path('copy'))).mode).toBe((await stat(join(tree, 'fs'))).mode);
    sh(
      'git init -q repo && cd repo && cp -r ../copy . && git add . && git -c user.name=t -c user.email=t@t commit -qm all',
    );
    sh('git clone -q repo second && cd second && git fsck && test -z "$(git status --porcelain)"');
    if (existsSync('/usr/bin/rsync')) expect(sh('rsync -a copy/ synced && rsync -ain copy/ synced')).toBe('');
    if (existsSync('/usr/bin/sqlite3')) {
      sh(`sqlite3 db 'create table t(a); insert into t values (1), (2);'`);
      expect(sh(`sqlite3 db 'pragma integrity_check; select sum(a) from t'`)).toBe('ok\n3\n');
    }
    await box.umount();
    expect(await box.run('fsck', box.image)).toMatchObject({ code: 0 });
  });
});

describe.runIf(canMount)('iopmemfs mount -f and serve', () => {
  beforeEach(() => box.must('mkfs', box.image));

  test('-f stays in the foreground and ends with umount and exit code 0', async () => {
    const daemon = box.start('iopmemfs', 'mount', '-f', box.image, box.mountPoint);
    const outcome = outcomeOf(daemon);
    await printed(daemon, /mounted on/);
    expect(await box.umountBy('umount')).toMatchObject({ code: 0 });
    expect(await outcome).toMatchObject({ code: 0 });
  });

  test('serve serves without a mount, until SIGINT', async () => {
    const socket = join(box.dir, 'mds.sock');
    const daemon = box.start(
      'iopmemfs',
      'serve',
      '-f',
      box.image,
      '--listen',
      `unix:${socket}`,
      '--listen',
      'tcp://127.0.0.1:0',
    );
    const outcome = outcomeOf(daemon);
    expect(await printed(daemon, /\n/)).toMatch(/serving at unix:\S+ unix:\S+mds\.sock tcp:\/\/127\.0\.0\.1:[1-9]\d*/);
    const status: unknown = JSON.parse(await box.must('iopmemfs', 'status', '--json', box.image));
    expect(status).toMatchObject({ pid: daemon.pid, mountPoint: null });
    expect(await box.run('fsck', box.image)).toMatchObject({ code: 8, stderr: /stop process \d+ first \(EBUSY\)/ });
    daemon.kill('SIGINT');
    expect(await outcome).toMatchObject({ code: 0 });
    expect(existsSync(socket)).toBe(false);
  });

  test('a busy mount is EBUSY for umount and goes on', async () => {
    await box.mount();
    const file = await open(box.path('file'), 'w');
    const refused = await box.run('iopmemfs', 'umount', box.mountPoint);
    expect(refused).toMatchObject({ code: 32, stderr: /in use: close its files.*\(EBUSY\)/ });
    await file.writeFile('still served');
    await file.close();
    await box.umount();
    expect(await box.run('iopmemfs', 'umount', box.mountPoint)).toMatchObject({
      code: 32,
      stderr: /no iopmemfs is mounted here \(EINVAL\)/,
    });
  });
});

describe.runIf(canMount)('mount.iopmemfs, as mount(8) calls it', () => {
  beforeEach(() => box.must('mkfs', box.image));

  test('DEVICE DIR -s -n -v -o options; those for others are passed over', async () => {
    const options = 'rw,_netdev,nofail,x-systemd.automount,noatime,wat';
    const { code, stdout, stderr } = await box.run('mount', box.image, box.mountPoint, '-s', '-n', '-v', '-o', options);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain('mounted on');
    expect(await isMounted(box.mountPoint)).toBe(true);
  });

  test('says nothing without -v, and options that nobody knows are a wrong call without -s', async () => {
    expect(await box.run('mount', box.image, box.mountPoint, '-o', 'rw,wat')).toMatchObject({
      code: 1,
      stderr: /unknown mount option "wat"/,
    });
    expect(await box.run('mount', box.image, box.mountPoint, '-o', 'rw')).toEqual({ code: 0, stdout: '', stderr: '' });
  });

  test('-f does everything but mount', async () => {
    expect(await box.run('mount', box.image, box.mountPoint, '-f', '-o', 'rw')).toMatchObject({ code: 0 });
    expect(await isMounted(box.mountPoint)).toBe(false);
    await rm(box.state, { recursive: true });
    expect(await box.run('mount', box.image, box.mountPoint, '-f')).toMatchObject({ code: 32, stderr: /no metadata/ });
  });
});

function mountCommand(driver: string): readonly string[] {
  const script = join(process.cwd(), 'dist/tools/iopmemfs.js');
  return [process.execPath, script, 'mount', box.image, box.mountPoint, '-o', `driver=${driver}`];
}
