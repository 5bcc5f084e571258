/** The server of a mount is stopped, killed or started anew, or another mount of it is killed (docs/remote-mount.md). */
import { open, readFile, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { RemoteBox } from './remote-box.ts';
import { canMount, outcomeOf } from './sandbox.ts';

let remote: RemoteBox;
afterEach(() => remote.remove());

describe.runIf(canMount)('a mount, within the lease,', () => {
  beforeEach(async () => {
    remote = await RemoteBox.create();
  });

  test('goes on with a server that was stopped for a while', async () => {
    const m = await remote.mount('m');
    await writeFile(`${m}/file`, 'before');
    const server = await remote.server();
    process.kill(server, 'SIGSTOP');
    const written = writeFile(`${m}/other`, 'meanwhile');
    process.kill(server, 'SIGCONT');
    await written;
    expect(await readFile(`${m}/other`, 'utf8')).toBe('meanwhile');
  });

  test.for([
    ['a small file, through the server', 1],
    ['a larger one, directly', 100_000],
  ] as const)('keeps what was written and not synced over a restart of the server: %s', async ([, times]) => {
    const m = await remote.mount('m');
    const again = remote.standby();
    const file = await open(`${m}/file`, 'w+');
    const before = Buffer.from('written before'.repeat(times));
    await file.write(before, 0, before.length, 0);
    process.kill(await remote.server(), 'SIGKILL');
    const rest = file.write(', and after', before.length);
    again();
    await rest;
    await file.sync();
    await file.close();
    expect(await readFile(`${m}/file`, 'latin1')).toBe(`${before.toString('latin1')}, and after`);
  });

  test.for(['SIGSTOP', 'SIGKILL'] as const)('umount(8) ends it after %s of the server', async (signal) => {
    const m = await remote.mount('m');
    await writeFile(`${m}/file`, 'content');
    const daemon = await remote.daemonOf(m);
    const server = await remote.server();
    process.kill(server, signal);
    expect(await remote.box.command('umount', m)).toMatchObject({ code: 0 });
    await expect.poll(() => isAlive(daemon), { timeout: 60_000 }).toBe(false);
    if (signal === 'SIGSTOP') process.kill(server, 'SIGCONT');
  });

  test('a program that waits for the server can be killed', async () => {
    const m = await remote.mount('m');
    await writeFile(`${m}/file`, 'content');
    const server = await remote.server();
    process.kill(server, 'SIGSTOP');
    // Says when it is about to wait.
    const waiting = remote.box.interactive('sh', '-c', `echo begins; exec cat ${m}/nowhere`);
    await new Promise((resolve) => waiting.stdout.once('data', resolve));
    waiting.kill('SIGKILL');
    expect(await outcomeOf(waiting)).toMatchObject({ code: null });
    process.kill(server, 'SIGCONT');
    expect(await readFile(`${m}/file`, 'utf8')).toBe('content');
  });
});

describe.runIf(canMount)('a mount, once a lease has ended,', () => {
  // Waited out, so short; and much longer than anything takes that must not outlast it.
  beforeEach(async () => {
    remote = await RemoteBox.create('--lease-ms', '10000');
  });

  test('fails by name when the server has been gone for a lease, and works when it is back', async () => {
    const m = await remote.mount('m');
    await writeFile(`${m}/file`, 'content', { flush: true });
    process.kill(await remote.server(), 'SIGKILL');
    await expect(readFile(`${m}/file`)).rejects.toMatchObject({ code: 'ETIMEDOUT' });
    await expect(writeFile(`${m}/new`, '')).rejects.toMatchObject({ code: 'ETIMEDOUT' });
    await remote.serve();
    await expect.poll(() => readFile(`${m}/file`, 'utf8').catch(String), { timeout: 30_000 }).toBe('content');
  });

  test('goes on when the daemon of another one is killed', async () => {
    const [a, b] = [await remote.mount('a'), await remote.mount('b')];
    const file = await open(`${a}/file`, 'w');
    await file.write('never synced');
    await writeFile(`${b}/other`, 'of b');
    process.kill(await remote.daemonOf(a), 'SIGKILL');
    await file.close().catch(() => {});
    // Nobody returns the layouts any more: they are taken back when they are wanted.
    await writeFile(`${b}/file`, 'written by b');
    expect(await readFile(`${b}/file`, 'utf8')).toBe('written by b');
    expect(await readFile(`${b}/other`, 'utf8')).toBe('of b');
  });
});

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
