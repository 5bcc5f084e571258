/** Two virtual machines and the host on one PCI BAR: names from the server, data by each one's own mapping of the memory. */
import { spawn, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { closeSync, ftruncateSync, openSync, rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, expect, test } from 'vitest';
import { connect } from '../../client/index.ts';
import { canRunGuests, Guest, hostAddress } from './guest.ts';

const size = 64 << 20;

/** A served filesystem on memory that guests can have as a BAR. */
class Host {
  readonly memory = `/dev/shm/iopmemfs-e2e-${randomUUID()}`;
  readonly #dir: string;
  readonly #guests: Guest[] = [];
  #stop: () => Promise<void> = async () => {};
  #port = 0;

  private constructor(dir: string) {
    this.#dir = dir;
  }

  static async start(...options: readonly string[]): Promise<Host> {
    const host = new Host(await mkdtemp(join(tmpdir(), 'iopmemfs-e2e-')));
    const file = openSync(host.memory, 'wx');
    ftruncateSync(file, size);
    closeSync(file);
    host.#run('mkfs', host.memory);
    await host.#serve(options);
    return host;
  }

  get address(): string {
    return `tcp://127.0.0.1:${this.#port}`;
  }

  guest(role: string, ...args: readonly string[]): Guest {
    const command = [process.execPath, resolve('test/e2e/program.mjs'), hostAddress(this.#port), role, ...args];
    const guest = new Guest(this.memory, size, command);
    this.#guests.push(guest);
    return guest;
  }

  /** Ends the server, and says what fsck finds. */
  async check(): Promise<number | null> {
    await this.#stop();
    return spawnSync(process.execPath, [resolve('dist/tools/fsck.js'), '-n', this.memory], { env: this.#env }).status;
  }

  async remove(): Promise<void> {
    for (const guest of this.#guests) await guest.kill();
    await this.#stop();
    rmSync(this.memory, { force: true });
    await rm(this.#dir, { recursive: true, force: true });
  }

  get #env(): NodeJS.ProcessEnv {
    return { ...process.env, IOPMEMFS_STATE: join(this.#dir, 'state'), IOPMEMFS_RUN: join(this.#dir, 'run') };
  }

  #run(program: string, ...args: readonly string[]): void {
    const { status, stderr } = spawnSync(process.execPath, [resolve(`dist/tools/${program}.js`), ...args], {
      env: this.#env,
      encoding: 'utf8',
    });
    if (status !== 0) throw new Error(`${program}: ${stderr}`);
  }

  async #serve(options: readonly string[]): Promise<void> {
    const args = ['serve', '-f', '--json', '--listen', 'tcp://127.0.0.1:0', ...options, this.memory];
    const server = spawn(process.execPath, [resolve('dist/tools/iopmemfs.js'), ...args], {
      env: this.#env,
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const ended = new Promise<void>((end) => server.on('close', () => end()));
    this.#stop = async () => {
      server.kill('SIGTERM');
      await ended;
    };
    this.#port = await new Promise((ready, fail) => {
      let text = '';
      createInterface({ input: server.stdout }).on('line', (line) => {
        text += line;
        const port = /tcp:\/\/127\.0\.0\.1:(\d+)/.exec(text)?.[1];
        if (port !== undefined) ready(Number(port));
      });
      server.on('close', () => fail(new Error(`the server ended: ${text}`)));
    });
  }
}

describe.skipIf(!canRunGuests)('guests on one BAR (skipped without `npm run e2e`)', { timeout: 600_000 }, () => {
  test('write to it and read from it directly, each what the other wrote', async () => {
    const host = await Host.start();
    try {
      const client = await connect(host.address, { device: host.memory });
      const shared = await client.open('shared', 'w+');
      await shared.write(Buffer.alloc(16 * 4096), 0, 16 * 4096, 0);
      await shared.close();
      const guests = [host.guest('pair', '1', '2'), host.guest('pair', '2', '1')];
      for (const guest of guests) {
        expect(await guest.said('wrote')).toEqual({ path: 'direct' });
        expect(await guest.said('read')).toEqual({ path: 'direct', wrong: 0 });
        expect(await guest.said('shared')).toMatchObject({ torn: 0, paths: { direct: expect.any(Number) } });
      }
      for (const number of [1, 2]) {
        const file = await client.open(`from-${number}`);
        const { path } = await file.read(Buffer.alloc(4096), 0, 4096, 0);
        expect(path).toBe('direct');
        expect(await file.readFile()).toEqual(Buffer.alloc(2 << 20, number));
        await file.close();
      }
      await client.close();
      expect(await host.check()).toBe(0);
    } finally {
      await host.remove();
    }
  });

  test('one that hangs loses its blocks, and writes to nobody else when it goes on', async () => {
    const host = await Host.start('--lease-ms', '3000');
    try {
      const client = await connect(host.address, { device: host.memory });
      const guest = host.guest('holder');
      expect(await guest.said('holds')).toMatchObject({ path: 'direct' });
      guest.signal('SIGSTOP');
      // What it holds is taken from it, and then all of the device is somebody else's.
      const held = await client.open('held', 'r+');
      await held.write(Buffer.alloc(4096, 0x22), 0, 4096, 0);
      await held.sync();
      const free = (await client.statfs()).bavail;
      const content = Buffer.alloc((free - 64) * 4096, 0x11);
      const full = await client.open('full', 'w+');
      const { bytesWritten } = await full.write(content, 0, content.length, 0);
      await full.sync();
      await (await client.open('over', 'w')).close();
      guest.signal('SIGCONT');
      expect(await guest.said('lost')).toBe('WRITE_LOST');
      expect((await full.readFile()).equals(content.subarray(0, bytesWritten))).toBe(true);
      await full.close();
      await held.close();
      await client.close();
      await guest.kill();
      expect(await host.check()).toBe(0);
    } finally {
      await host.remove();
    }
  });
});
