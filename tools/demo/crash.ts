/** Steps 6 and 7: the daemon is killed in the middle of writes; then everything is unmounted, checked and compared. */
import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Checks } from './checks.ts';
import type { Stage } from './stage.ts';
import { digestOf } from './stage.ts';
import { compareTree } from './tree.ts';

const writingMs = 1500;

/** What others have in use for a moment is asked for again, so often and after so long. */
const triesMax = 50;
const pauseMs = 100;

/** Bounds what the writer fills on a fast machine: 80 MB. */
const syncedFilesMax = 10_000;
const syncedBytesMax = 16_000;

export async function crashAndRecover(
  stage: Stage,
  checks: Checks,
  options: { readonly leaseMs: number },
): Promise<void> {
  checks.begin('6 kill -9 and recover');
  await stage.must(stage.run('mkdir', stage.path('synced'), stage.path('committed')));
  const writer = startSyncedWriter(stage.path('synced'));
  const peer = await stage.peer();
  // Its answer never comes: the server dies under it. What it has committed so far it says when asked for progress.
  peer.ask({ do: 'write-until-killed', dir: '/committed' }).catch(() => undefined);
  await sleep(writingMs);
  process.kill(await daemonPid(stage), 'SIGKILL');
  const synced = await writer.stop();
  const committed = (await peer.ask({ do: 'progress' })).committed ?? [];
  peer.kill();
  await stage.run('umount', '-l', stage.mountPoint);
  checks.hold(synced.length > 0 && committed.length > 0, 'both writers got something done before the kill');
  await mustBeClean(stage);
  checks.done(`daemon killed in the middle of writes; fsck.iopmemfs reports clean`);

  await stage.mount(options);
  for (const { path, digest } of synced) checks.hold((await digestOf(path)) === digest, `${path} is as it was synced`);
  for (const { path, digest } of committed)
    checks.hold((await digestOf(stage.path(path))) === digest, `${path} is as it was committed`);
  checks.done(
    `${synced.length} files fsync'ed through the mount and ${committed.length} committed by a peer are all there`,
  );
}

export async function unmountAndCompare(
  stage: Stage,
  checks: Checks,
  options: { readonly leaseMs: number; readonly tree: string },
): Promise<void> {
  checks.begin('7 unmount, fsck, mount again');
  const names = ['large', 'written-by-peer'];
  const before = await Promise.all(names.map((name) => digestOf(stage.path(name))));
  await unmount(stage);
  await mustBeClean(stage);
  checks.done('umount ended the daemon; fsck.iopmemfs reports clean');
  await stage.mount(options);
  await compareTree(stage, options.tree);
  const after = await Promise.all(names.map((name) => digestOf(stage.path(name))));
  checks.hold(
    after.every((digest, i) => digest === before[i]),
    'the digests are the same',
  );
  await unmount(stage);
  checks.done('mounted again: diff -r finds no difference, digests equal');
}

/** Others may be looking at the mount, as df(1) does at all there are: tried again while it is in use. */
async function unmount(stage: Stage): Promise<void> {
  for (let tries = 0; ; tries++) {
    const { code, stderr } = await stage.run('umount', stage.mountPoint);
    if (code === 0) return;
    if (!/busy/.test(stderr) || tries >= triesMax) throw new Error(`umount: exit code ${code}: ${stderr}`);
    await sleep(pauseMs);
  }
}

/** The daemon lets go of the device a moment after umount(8) returns; fsck is tried again while it is in use. */
async function mustBeClean(stage: Stage): Promise<void> {
  for (let tries = 0; ; tries++) {
    const { code, stdout, stderr } = await stage.program('fsck', '-n', '-f', stage.image);
    if (code === 0) return;
    if (code !== 8 || tries >= triesMax) throw new Error(`fsck.iopmemfs: exit code ${code}: ${stdout}${stderr}`);
    await sleep(pauseMs);
  }
}

async function daemonPid(stage: Stage): Promise<number> {
  const text = await stage.must(stage.program('iopmemfs', 'status', '--json', stage.mountPoint));
  const status: { pid: number } = JSON.parse(text);
  return status.pid;
}

/** A program that writes file after file through the mount, each with fsync, and says so only afterwards. */
function startSyncedWriter(dir: string): { stop(): Promise<{ path: string; digest: string }[]> } {
  const script = `
    const { openSync, writeSync, fsyncSync, closeSync } = require('node:fs');
    const { createHash, randomBytes } = require('node:crypto');
    for (let i = 0; i < ${syncedFilesMax}; i++) {
      const path = process.argv[1] + '/' + i;
      const data = randomBytes(1 + (i * 7919) % ${syncedBytesMax});
      const fd = openSync(path, 'w');
      if (writeSync(fd, data) !== data.length) throw new Error('short write');
      fsyncSync(fd);
      closeSync(fd);
      writeSync(1, path + ' ' + createHash('sha256').update(data).digest('hex') + '\\n');
    }`;
  const child: ChildProcess = spawn(process.execPath, ['-e', script, dir], { stdio: ['ignore', 'pipe', 'ignore'] });
  let text = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  return {
    stop: async () => {
      child.kill('SIGKILL');
      await ended;
      return text
        .split('\n')
        .filter((line) => /^\S+ [0-9a-f]{64}$/.test(line))
        .map((line) => {
          const [path = '', digest = ''] = line.split(' ');
          return { path, digest };
        });
    },
  };
}
