/** Somebody who is not root: an image of their own, formatted, mounted, used and unmounted, with nobody's help. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chown, mkdir, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { whileInUse } from '../support/unmount.ts';
import { outcomeOf, Sandbox } from './sandbox.ts';
import { canMountAsUser, ordinaryUser, Userland } from './userland.ts';

/** Polls, since fusermount3 returns before the daemon has ended; the test's own limit ends it. */
async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 20));
}

describe.runIf(canMountAsUser)('an ordinary user', () => {
  let box: Sandbox;
  let land: Userland;
  beforeEach(async () => {
    box = await Sandbox.ofUser(ordinaryUser, async (dir) => {
      land = await Userland.create(dir);
      return land;
    });
    await box.must('mkfs', box.image);
  });
  afterEach(() => box.remove());

  /** What a shell of theirs makes of it; $1 is the mount point. */
  const sh = (script: string) => box.command('sh', '-c', script, 'sh', box.mountPoint);
  const isMounted = (): boolean => land.mounts().includes(` ${box.mountPoint} fuse.iopmemfs `);
  const daemonsEnd = () => until(async () => (await box.daemons()).length === 0);

  test('formats, mounts, works, unmounts and checks, all in directories of their own', async () => {
    expect(await stat(box.state)).toMatchObject(ordinaryUser);
    await box.mount();
    const options = 'rw,nosuid,nodev,relatime,user_id=54321,group_id=54321,default_permissions,max_read=1048576';
    expect(land.mounts()).toContain(`${box.mountPoint} fuse.iopmemfs ${options} `);
    expect(await sh('cd "$1" && mkdir d && echo text > d/f && cp d/f g && stat -c %u:%g d/f && cat g')).toMatchObject({
      code: 0,
      stdout: '54321:54321\ntext\n',
    });
    expect(await box.must('iopmemfs', 'map', box.path('g'))).toContain('EXT');
    expect(await box.must('iopmemfs', 'status')).toContain(box.mountPoint);
    await box.umount();
    expect(isMounted()).toBe(false);
    expect(await box.run('fsck', box.image)).toMatchObject({ code: 0 });
    await box.mount('-o', 'ro,noexec,strictatime,relatime,nodiratime');
    expect(await sh('cat "$1/d/f"; echo x > "$1/new"')).toMatchObject({ stdout: 'text\n', stderr: /Read-only/ });
    await box.umount();
  });

  test('manages all of what is theirs: jobs, quotas, the reserve, snapshots', async () => {
    await box.mount();
    expect(await sh('mkdir "$1/d" && echo text > "$1/d/f"')).toMatchObject({ code: 0 });
    await box.must('iopmemfs', 'defragment', box.mountPoint);
    await box.must('iopmemfs', 'evacuate', box.mountPoint, '4k+1m');
    await box.must('iopmemfs', 'resize', box.mountPoint, '32m');
    await box.must('iopmemfs', 'tune', '-m', '1', box.mountPoint);
    const json = async (...args: string[]): Promise<unknown> =>
      JSON.parse(await box.must('iopmemfs', ...args, '--json'));
    const path = box.path('d');
    expect(await json('quota', 'set', path, '--bytes', '1m')).toEqual({ path, bytesMax: 2 ** 20, inodesMax: 0 });
    expect(await json('quota', 'remove', path)).toEqual({ path });
    await box.must('iopmemfs', 'quota', 'set', path, '--bytes', '1m');
    expect(await json('cow', 'on', '-R', path)).toEqual({ cow: true, paths: [path], count: 2 });
    await box.must('iopmemfs', 'snapshot', 'create', box.path('d'), 'kept');
    await box.must('iopmemfs', 'clone', '-r', box.path('d', '.snapshots', 'kept'), box.path('e'));
    expect(await sh('cat "$1/e/f"')).toMatchObject({ code: 0, stdout: 'text\n' });
    await box.umount();
    expect(await box.run('fsck', box.image)).toMatchObject({ code: 0 });
  });

  test('may unmount with fusermount3 too, which stops the daemon', async () => {
    await box.mount();
    expect(await sh('echo kept > "$1/f"')).toMatchObject({ code: 0 });
    expect(await whileInUse(box.mountPoint, () => sh('fusermount3 -u "$1"'))).toMatchObject({ code: 0 });
    await daemonsEnd();
    expect(await box.run('fsck', box.image)).toMatchObject({ code: 0 });
  });

  test('is told that a mount is busy, and may detach it', async () => {
    await box.mount();
    const inside = box.interactive('sh', '-c', 'cd mnt && echo in && read line');
    await once(inside.stdout, 'data');
    expect(await box.run('iopmemfs', 'umount', box.mountPoint)).toMatchObject({
      code: 32,
      stderr: /in use: close its files and leave its directories, or use -l \(EBUSY\)/,
    });
    await box.must('iopmemfs', 'umount', '-l', box.mountPoint);
    expect(isMounted()).toBe(false);
    inside.stdin.end('\n');
    await daemonsEnd();
    expect(await box.run('fsck', box.image)).toMatchObject({ code: 0 });
  });

  test('keeps everybody else out, root too', async () => {
    await box.mount();
    await sh('echo secret > "$1/f"; chmod 666 "$1/f"');
    await expect(readdir(land.inside(box.mountPoint))).rejects.toMatchObject({ code: 'EACCES' });
    const [command = '', ...args] = land.commandLine('/', ['cat', box.path('f')], { uid: 54_322, gid: 54_322 });
    expect(await outcomeOf(spawn(command, args))).toMatchObject({ code: 1, stderr: /Permission denied/ });
  });

  test('may not let others in by default, and is told what root has to do', async () => {
    expect(await box.run('iopmemfs', 'mount', box.image, box.mountPoint, '-o', 'allow_other')).toMatchObject({
      code: 32,
      stderr: /user_allow_other.*\/etc\/fuse\.conf.*without allow_other \(EPERM\)/,
    });
  });

  test.runIf(existsSync('/etc/fuse.conf'))('may let others in where root says so', async () => {
    await land.configure('user_allow_other\n');
    await box.mount('-o', 'allow_other');
    await sh('echo shared > "$1/f"; chmod 604 "$1/f"; chmod 755 "$1"');
    const [command = '', ...args] = land.commandLine('/', ['cat', box.path('f')], { uid: 54_322, gid: 54_322 });
    expect(await outcomeOf(spawn(command, args))).toMatchObject({ code: 0, stdout: 'shared\n' });
  });

  test("may not mount on somebody else's directory", async () => {
    const theirs = join(box.dir, 'theirs');
    await mkdir(theirs, { mode: 0o755 });
    await chown(theirs, 0, 0);
    expect(await box.run('iopmemfs', 'mount', box.image, theirs)).toMatchObject({
      code: 32,
      stderr: /theirs: fusermount3: user has no write access to mountpoint .*directories of their own \(EACCES\)/,
    });
  });

  test('is told when /dev/fuse is closed to them', async () => {
    land.root('chmod 600 /dev/fuse');
    expect(await box.run('iopmemfs', 'mount', box.image, box.mountPoint)).toMatchObject({
      code: 32,
      stderr: /fusermount3: failed to open \/dev\/fuse: Permission denied: .*chmod 666 \/dev\/fuse \(EACCES\)/,
    });
  });

  test('a mount whose daemon was killed is taken away by the next', async () => {
    await box.mount();
    await sh('echo synced > "$1/f"; sync "$1/f"');
    const [daemon = 0] = await box.daemons();
    process.kill(daemon, 'SIGKILL');
    await until(async () => !existsSync(`/proc/${daemon}`));
    await box.mount();
    expect(await sh('cat "$1/f"')).toMatchObject({ stdout: 'synced\n' });
    await box.umount();
    expect(await box.run('fsck', box.image)).toMatchObject({ code: 0 });
  });

  test('without a home is told which directory could not be made', async () => {
    const homeless = ['HOME=/nonexistent', land.node, join(land.programs, 'mkfs.js'), '-f', box.image];
    expect(await box.command('env', ...homeless)).toMatchObject({ code: 1, stderr: /\/nonexistent.*\(EACCES\)/ });
  });
});
