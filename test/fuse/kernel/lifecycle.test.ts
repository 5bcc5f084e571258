/** How a mount ends, and what peers change below it. */
import { execFile, spawn } from 'node:child_process';
import { mkdtemp, open, readFile, rmdir, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { whileInUse } from '../../support/unmount.ts';
import { outcomeOf } from '../../tools/sandbox.ts';
import { Mounted } from './mounted.ts';

const run = promisify(execFile);

describe.skipIf(process.getuid?.() !== 0)('a mount', () => {
  let mounted: Mounted;
  beforeEach(async () => {
    mounted = await Mounted.create('memory');
  });
  afterEach(() => mounted?.remove());

  const isMounted = async (): Promise<boolean> => (await readFile('/proc/mounts', 'utf8')).includes(` ${mounted.dir} `);

  async function leaveSomethingOpen() {
    await writeFile(mounted.path('f'), 'content');
    return open(mounted.path('f'), 'r');
  }

  test.each([
    ['umount(8)', ['umount']],
    ['fusermount3 -u', ['fusermount3', '-u']],
    ['umount -l', ['umount', '-l']],
  ])('ended by %s says so, without an error, and holds nothing', async (_how, [command = '', ...args]) => {
    await writeFile(mounted.path('f'), 'content');
    const unmount = () => outcomeOf(spawn(command, [...args, mounted.dir]));
    expect(await whileInUse(mounted.dir, unmount)).toMatchObject({ code: 0 });
    expect(await mounted.ended).toBeUndefined();
    expect(await isMounted()).toBe(false);
    // The root and the file, which has a name; no open files.
    expect(await mounted.ask({ ask: 'held' })).toEqual({ told: 'held', inodes: 2, openFiles: 0, held: 0 });
  });

  test('is forgotten by the kernel to the last lookup, whatever told it of inodes', async () => {
    const script = `cd "$1" && mkdir -p d/e && for i in $(seq 150); do echo $i > d/f$i; done && ls -lR . && ls -l d/e
      ln d/f1 d/e/again; mv d/f2 d/e/moved; cat d/f* > /dev/null; ln -s f1 d/link; cat d/link; mknod d/null c 1 3; mkfifo d/fifo
      rm d/f3 d/f4; cp -r d copy; rm -r copy; find . -newer d/f5 > /dev/null`;
    await run('sh', ['-c', script, 'sh', mounted.dir]);
    const held = async (): Promise<number> => {
      const told = await mounted.ask({ ask: 'held' });
      return told.told === 'held' ? told.held : -1;
    };
    expect(await held()).toBeGreaterThan(150);
    while ((await held()) !== 0) await run('sh', ['-c', 'echo 2 > /proc/sys/vm/drop_caches']);
    expect(await readFile(mounted.path('d/e/moved'), 'utf8')).toBe('2\n');
  });

  test('ended by its server is gone when the server says so', async () => {
    await mounted.ask({ ask: 'unmount' });
    expect(await isMounted()).toBe(false);
    expect(await mounted.ended).toBeUndefined();
  });

  test('that is busy disappears at once, serves its open files for a while, then ends', async () => {
    const file = await leaveSomethingOpen();
    try {
      const done = mounted.ask({ ask: 'unmount' });
      while (await isMounted()) await sleep(10);
      expect((await file.read(Buffer.alloc(7), 0, 7, 0)).buffer.toString()).toBe('content');
      await file.close();
      expect(await done).toEqual({ told: 'done' });
    } finally {
      await file.close().catch(() => undefined);
    }
  });

  test('whose files are never closed ends all the same, and they answer ENOTCONN', async () => {
    const file = await leaveSomethingOpen();
    try {
      await mounted.ask({ ask: 'unmount' });
      await expect(file.stat()).rejects.toMatchObject({ code: 'ENOTCONN' });
      expect(await mounted.ask({ ask: 'held' })).toMatchObject({ openFiles: 0 });
    } finally {
      await file.close().catch(() => undefined);
    }
  });

  test('aborted by the administrator ends with an error', async () => {
    const { dev } = await stat(mounted.dir);
    const minor = (dev & 0xff) | ((dev >>> 12) & 0xfff00);
    const connections = await mkdtemp(join(tmpdir(), 'iopmemfs-fusectl-'));
    await run('mount', ['-t', 'fusectl', 'none', connections]);
    try {
      await writeFile(join(connections, String(minor), 'abort'), '1');
    } finally {
      await run('umount', ['-l', connections]);
      await rmdir(connections);
    }
    expect(await mounted.ended).toContain('ECONNABORTED');
  });

  test('whose server was killed answers ENOTCONN until it is unmounted', async () => {
    process.kill(mounted.pid, 'SIGKILL');
    await expect(mounted.ended).rejects.toThrow();
    await expect(stat(mounted.path('f'))).rejects.toMatchObject({ code: 'ENOTCONN' });
  });

  test('shows what a peer wrote once the range is invalidated, though the pages were cached', async () => {
    await writeFile(mounted.path('f'), 'before');
    const file = await open(mounted.path('f'), 'r');
    const read = async (): Promise<string> => (await file.read(Buffer.alloc(6), 0, 6, 0)).buffer.toString();
    try {
      expect(await read()).toBe('before');
      await mounted.ask({ ask: 'overwrite', name: 'f', text: 'behind' });
      await mounted.ask({ ask: 'invalidate', name: 'f' });
      expect(await read()).toBe('behind');
    } finally {
      await file.close();
    }
  });

  test('cached pages outlive close and open', async () => {
    await writeFile(mounted.path('f'), 'before');
    expect(await readFile(mounted.path('f'), 'utf8')).toBe('before');
    await mounted.ask({ ask: 'stall', on: true });
    expect(await readFile(mounted.path('f'), 'utf8')).toBe('before');
    await mounted.ask({ ask: 'stall', on: false });
  });

  test('forgets a name that a peer removed', async () => {
    await writeFile(mounted.path('f'), '');
    await stat(mounted.path('f'));
    await mounted.ask({ ask: 'remove', name: 'f' });
    await expect(stat(mounted.path('f'))).rejects.toMatchObject({ code: 'ENOENT' });
  });

  test('an invalidation of what the kernel does not know is done at once', async () => {
    await writeFile(mounted.path('f'), '');
    await run('sh', ['-c', 'echo 2 > /proc/sys/vm/drop_caches']);
    expect(await mounted.ask({ ask: 'invalidate', name: 'f' })).toEqual({ told: 'done' });
  });

  test('a killed process whose read waits is let go, one with another signal is not', async () => {
    await writeFile(mounted.path('f'), 'content');
    await mounted.ask({ ask: 'invalidate', name: 'f' });
    await mounted.ask({ ask: 'stall', on: true });
    const reader = spawn('python3', [
      '-c',
      `import os, signal, sys
signal.signal(signal.SIGUSR1, lambda *_: None)
fd = os.open(sys.argv[1], os.O_RDONLY)
print('reading', flush=True)
print(os.read(fd, 7), flush=True)`,
      mounted.path('f'),
    ]);
    const exited = new Promise<NodeJS.Signals | null>((resolve) =>
      reader.on('exit', (_code, signal) => resolve(signal)),
    );
    await new Promise((resolve) => reader.stdout.once('data', resolve));
    await sleep(100);
    reader.kill('SIGUSR1');
    await sleep(100);
    expect(reader.exitCode).toBeNull();
    reader.kill('SIGKILL');
    expect(await exited).toBe('SIGKILL');
    await mounted.ask({ ask: 'stall', on: false });
    expect(await readFile(mounted.path('f'), 'utf8')).toBe('content');
  });
});
