/** What may happen to a daemon while programs are busy on its mount; afterwards it is mounted again and checked. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rmdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { canMount, Sandbox } from './sandbox.ts';

/**
 * Works within a directory, by names relative to it: appends a line to a log, replaces a file by another, stores through
 * a mapping, and says the number of the line once all of it is synced. Ends with the first error.
 */
const load = `
import mmap, os, sys
os.chdir(sys.argv[1])
log = os.open('log', os.O_CREAT | os.O_RDWR | os.O_APPEND)
with open('mapped', 'wb') as f: f.truncate(65536)
mapped = os.open('mapped', os.O_RDWR)
memory = mmap.mmap(mapped, 65536)
n = 0
try:
    while True:
        n += 1
        os.write(log, b'%08d\\n' % n)
        with open('new', 'wb') as f: f.write(b'%08d' % n * 700)
        os.rename('new', 'file%d' % (n % 7))
        if n % 5 == 0: os.unlink('file%d' % ((n - 2) % 7))
        memory[n % 8 * 8192:n % 8 * 8192 + 8] = b'%08d' % n
        memory.flush()
        os.fsync(log)
        print(n, flush=True)
except OSError as e:
    print(e.strerror, flush=True)
    os._exit(3)
`;

class Load {
  /** The last line of the log that is known to be on the media. */
  synced = 0;
  error: string | undefined;
  readonly ended: Promise<number | null>;
  readonly #child: ChildProcess;
  readonly #waiting: { readonly round: number; readonly done: () => void }[] = [];

  constructor(directory: string) {
    const child = spawn('python3', ['-c', load, directory], { stdio: ['ignore', 'pipe', 'inherit'] });
    this.#child = child;
    this.ended = new Promise((resolve) => child.once('exit', resolve));
    createInterface(child.stdout).on('line', (line) => {
      if (!/^\d+$/.test(line)) this.error = line;
      else this.synced = Number(line);
      for (const { round, done } of this.#waiting) if (this.synced >= round) done();
    });
  }

  /** Resolves when it has got on so many rounds further. */
  rounds(count: number): Promise<void> {
    return new Promise((done) => this.#waiting.push({ round: this.synced + count, done }));
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.ended;
  }
}

/** Polls; the test's own limit ends it. */
async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 20));
}

const isGone = (pid: number) => async (): Promise<boolean> => !existsSync(`/proc/${pid}`);

describe.runIf(canMount)('programs are busy on a mount', { timeout: 180_000 }, () => {
  let box: Sandbox;
  let daemon: number;
  let loads: readonly Load[];

  beforeEach(async () => {
    box = await Sandbox.create();
    await box.must('mkfs', box.image);
    await box.mount();
    [daemon = 0] = await box.daemons();
    for (const name of ['a', 'b', 'c']) await mkdir(box.path(name));
    loads = ['a', 'b', 'c'].map((name) => new Load(box.path(name)));
    await Promise.all(loads.map((one) => one.rounds(10)));
  });
  afterEach(async () => {
    try {
      process.kill(daemon, 'SIGCONT');
    } catch {
      // it has ended, as it should
    }
    await Promise.all(loads.map((one) => one.kill()));
    await box.remove();
  });

  /** Nothing that was synced is lost, nothing is there that was not written, and nothing is wrong. */
  async function expectIntact(): Promise<void> {
    expect(await box.run('fsck', box.image)).toMatchObject({ code: 0 });
    await box.mount();
    for (const [i, { synced }] of loads.entries()) {
      const dir = ['a', 'b', 'c'][i] ?? '';
      const lines = (await readFile(box.path(dir, 'log'), 'latin1')).split('\n').slice(0, -1);
      expect(lines.length).toBeGreaterThanOrEqual(synced);
      expect(lines.findIndex((line, n) => Number(line) !== n + 1)).toBe(-1);
      const mapped = await readFile(box.path(dir, 'mapped'));
      expect(Number(mapped.toString('latin1', (synced % 8) * 8192, (synced % 8) * 8192 + 8))).toBeGreaterThanOrEqual(
        synced,
      );
      for (let n = 0; n < 7; n++) {
        const file = await readFile(box.path(dir, `file${n}`), 'latin1').catch(() => '');
        expect(file).toBe(file.slice(0, 8).repeat(file.length / 8));
      }
    }
    await box.umount();
    expect(await box.run('fsck', box.image)).toMatchObject({ code: 0 });
  }

  test('while the daemon is killed', async () => {
    process.kill(daemon, 'SIGKILL');
    expect(await Promise.all(loads.map((one) => one.ended))).toEqual([3, 3, 3]);
    await until(isGone(daemon));
    await box.mount(); // takes the dead mount away, and recovers
    await box.umount();
    await expectIntact();
  });

  test('while the daemon is told to end: the mount goes at once, open files a little later, all in order', async () => {
    process.kill(daemon, 'SIGTERM');
    expect(await Promise.all(loads.map((one) => one.ended))).toEqual([3, 3, 3]);
    await until(isGone(daemon));
    await expectIntact();
  });

  test('while the administrator aborts the connection: everybody gets an error, the daemon closes in order', async () => {
    const { dev } = await stat(box.mountPoint);
    const connections = join(box.dir, 'connections');
    await mkdir(connections);
    await box.command('mount', '-t', 'fusectl', 'none', connections);
    try {
      await writeFile(join(connections, String((dev & 0xff) | ((dev >>> 12) & 0xfff00)), 'abort'), '1');
    } finally {
      await box.command('umount', '-l', connections);
      await rmdir(connections);
    }
    expect(await Promise.all(loads.map((one) => one.ended))).toEqual([3, 3, 3]);
    await until(isGone(daemon));
    await expectIntact();
  });

  test('while somebody tries to unmount: EBUSY, and they go on', async () => {
    expect(await box.run('iopmemfs', 'umount', box.mountPoint)).toMatchObject({ code: 32, stderr: /in use/ });
    await Promise.all(loads.map((one) => one.rounds(10)));
    await Promise.all(loads.map((one) => one.kill()));
    await box.umount();
    await expectIntact();
  });

  test('while it is detached: they go on where they are, and the daemon ends with the last of them', async () => {
    await box.must('iopmemfs', 'umount', '-l', box.mountPoint);
    await Promise.all(loads.map((one) => one.rounds(10)));
    expect(existsSync(box.path('a'))).toBe(false);
    await Promise.all(loads.map((one) => one.kill()));
    await until(isGone(daemon));
    await expectIntact();
  });

  test('while the daemon is stopped and goes on: they wait, and lose nothing', async () => {
    for (let round = 0; round < 3; round++) {
      process.kill(daemon, 'SIGSTOP');
      await new Promise((resolve) => setTimeout(resolve, 100));
      process.kill(daemon, 'SIGCONT');
      await Promise.all(loads.map((one) => one.rounds(3)));
    }
    expect(loads.map((one) => one.error)).toEqual([undefined, undefined, undefined]);
    await Promise.all(loads.map((one) => one.kill()));
    await box.umount();
    await expectIntact();
  });
});
