import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { isDeepStrictEqual } from 'node:util';
import { describe, expect } from 'vitest';
import { n, readAll, root, withHandle } from '../support/filesystem.ts';
import { test as base, type ClientRig, pattern, until } from './rig.ts';

const typescript = fileURLToPath(new URL('../support/typescript.mjs', import.meta.url));
const program = fileURLToPath(new URL('./peer.ts', import.meta.url));

class Peer {
  readonly child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  private constructor(child: ChildProcess, lines: AsyncIterator<string>) {
    this.child = child;
    this.#lines = lines;
  }

  static async start(rig: ClientRig, owner: string): Promise<Peer> {
    const child = spawn(process.execPath, ['--import', typescript, program, rig.directAddress, owner], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const peer = new Peer(child, createInterface({ input: child.stdout })[Symbol.asyncIterator]());
    expect(await peer.answer()).toEqual({ ready: true });
    return peer;
  }

  send(command: Readonly<Record<string, unknown>>): void {
    this.child.stdin?.write(`${JSON.stringify(command)}\n`);
  }

  async answer(): Promise<unknown> {
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error('the peer is gone');
    return JSON.parse(value);
  }

  async ask(command: Readonly<Record<string, unknown>>): Promise<unknown> {
    this.send(command);
    return await this.answer();
  }

  async kill(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const exited = once(this.child, 'exit');
    this.child.kill('SIGKILL');
    await exited;
  }
}

const test = base.extend<{ peer: (owner: string) => Promise<Peer> }>({
  peer: async ({ rig }, use) => {
    const peers: Peer[] = [];
    try {
      await use(async (owner) => {
        const peer = await Peer.start(rig, owner);
        peers.push(peer);
        return peer;
      });
    } finally {
      for (const peer of peers) await peer.kill();
    }
  },
});

const digest = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

test('what one process writes straight to the device another one reads straight from it', async ({ rig, peer }) => {
  const [writer, reader] = [await peer('writer'), await peer('reader')];
  const length = 6 << 20;
  await writer.ask({ open: 'data', flags: 'w' });
  expect(await writer.ask({ write: 0, length, seed: 7 })).toMatchObject({ bytesWritten: length, path: 'direct' });
  expect(await writer.ask({ sync: true })).toEqual({});
  await reader.ask({ open: 'data' });
  expect(await reader.ask({ read: 0, length })).toEqual({
    bytesRead: length,
    path: 'direct',
    digest: digest(pattern(length, 7)),
  });
  expect(rig.server.status().counters).toMatchObject({ bytesRead: 0, bytesWritten: 0 });
});

describe('with a short lease', () => {
  test.override({ options: { leaseMs: 800 } });

  test('a client that is killed loses what it had not committed, and nobody waits for it for ever', async ({
    rig,
    peer,
  }) => {
    const writer = await peer('writer');
    await writer.ask({ open: 'data', flags: 'w' });
    await writer.ask({ write: 0, length: 100_000, seed: 1 });
    await writer.ask({ sync: true });
    await writer.ask({ write: 100_000, length: 100_000, seed: 2 });
    await writer.kill();

    const other = await rig.connect();
    await other.clone('data', 'copy');
    const { ino } = await other.stat('copy');
    expect((await readAll(rig.lab.vfs, ino)).equals(pattern(100_000, 1))).toBe(true);
    await until('its blocks are free', () => rig.lab.fs.quarantined().size === 0);
    await until('nobody knows it', () => rig.server.status().clients.length === 1);
  });

  test('a client that was stopped past its lease touches nothing when it goes on, and says so by name', async ({
    rig,
    peer,
  }) => {
    const writer = await peer('writer');
    await writer.ask({ open: 'data', flags: 'w' });
    await until('it to hold a layout, within its lease', async () => {
      await writer.ask({ write: 0, length: 8192, seed: 1 });
      return isDeepStrictEqual(await writer.ask({ writeSync: 10 }), { bytesWritten: 1 });
    });
    writer.child.kill('SIGSTOP');
    await until('the end of its lease', () => rig.server.status().clients.every(({ state }) => state === 'courtesy'));
    const { ino } = await rig.lab.vfs.lookup(rig.lab.vfs.rootIno, n('data'), root);
    const { vfs } = rig.lab;
    await withHandle(vfs, ino, 2, (handle) => vfs.write(handle, 0, pattern(4096, 2), root));
    // First in its queue when it goes on, before anything from the server.
    writer.send({ writeSync: 20 });
    writer.send({ sync: true });
    writer.child.kill('SIGCONT');
    expect(await writer.answer()).toEqual({ status: 'NOT_CACHED' });
    expect(await writer.answer()).toEqual({ status: 'WRITE_LOST' });
    expect(await writer.ask({ write: 0, length: 8192, seed: 3 })).toMatchObject({ bytesWritten: 8192 });
    expect(await writer.ask({ sync: true })).toEqual({});
    expect((await readAll(rig.lab.vfs, ino)).equals(pattern(8192, 3))).toBe(true);
  });
});
