/**
 * Where the demonstration plays: a folder of its own on tmpfs with the image, the state and the sockets, a mount point,
 * and the programs as a user would call them. Everything started here ends with `close`, whatever happened.
 */
import { type ChildProcess, execFile, fork } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, mkdtemp, open, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { PeerReply, PeerRequest } from './peer-protocol.ts';

const execute = promisify(execFile);
const programs = fileURLToPath(new URL('..', import.meta.url));

/** Longest time any command or answer may take; a hang is a failure, not a wait. */
const patienceMs = 120_000;

export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export class Stage {
  readonly dir: string;
  readonly image: string;
  readonly mountPoint: string;
  readonly unixAddress: string;
  readonly tcpAddress: string;
  readonly #env: NodeJS.ProcessEnv;
  readonly #peers = new Set<Peer>();

  private constructor(dir: string, port: number) {
    this.dir = dir;
    this.image = join(dir, 'bar.img');
    this.mountPoint = join(dir, 'mnt');
    this.unixAddress = `unix:${join(dir, 'mds.sock')}`;
    this.tcpAddress = `tcp://127.0.0.1:${port}`;
    this.#env = { ...process.env, IOPMEMFS_STATE: join(dir, 'state'), IOPMEMFS_RUN: join(dir, 'run') };
  }

  static async open(imageBytes: number): Promise<Stage> {
    const base = (await isDirectory('/dev/shm')) ? '/dev/shm' : tmpdir();
    const stage = new Stage(await mkdtemp(join(base, 'iopmemfs-demo-')), await freePort());
    await mkdir(stage.mountPoint);
    const image = await open(stage.image, 'w');
    await image.truncate(imageBytes);
    await image.close();
    return stage;
  }

  /** One of our programs (`mkfs`, `fsck`, `iopmemfs`) with its arguments. */
  program(name: string, ...args: string[]): Promise<Outcome> {
    return this.run(process.execPath, join(programs, `${name}.js`), ...args);
  }

  /** Any command; never rejects for its exit code. */
  async run(command: string, ...args: string[]): Promise<Outcome> {
    const options = { env: this.#env, timeout: patienceMs, maxBuffer: 64 << 20 };
    try {
      const { stdout, stderr } = await execute(command, args, options);
      return { code: 0, stdout, stderr };
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      const text = (key: string): string => {
        const value: unknown = Reflect.get(error, key);
        return typeof value === 'string' ? value : '';
      };
      const code: unknown = Reflect.get(error, 'code');
      return {
        code: typeof code === 'number' ? code : 127,
        stdout: text('stdout'),
        stderr: text('stderr') || error.message,
      };
    }
  }

  /** Runs it and insists on success. */
  async must(outcome: Promise<Outcome>): Promise<string> {
    const { code, stdout, stderr } = await outcome;
    if (code !== 0) throw new Error(`exit code ${code}: ${stderr.trim() || stdout.trim()}`);
    return stdout;
  }

  mount(options: { readonly leaseMs: number }): Promise<string> {
    const lease = ['--lease-ms', String(options.leaseMs), '--recall-ms', String(options.leaseMs)];
    const listen = ['--listen', this.unixAddress, '--listen', this.tcpAddress];
    return this.must(this.program('iopmemfs', 'mount', this.image, this.mountPoint, ...listen, ...lease));
  }

  path(...names: string[]): string {
    return join(this.mountPoint, ...names);
  }

  async peer(options: { readonly address?: string; readonly owner?: string } = {}): Promise<Peer> {
    const child = fork(fileURLToPath(new URL('./peer.js', import.meta.url)), {
      env: this.#env,
      serialization: 'advanced',
    });
    const peer = new Peer(child);
    this.#peers.add(peer);
    await peer.ask({
      do: 'connect',
      address: options.address ?? this.unixAddress,
      device: this.image,
      owner: options.owner ?? `demo-${child.pid}`,
    });
    return peer;
  }

  async close(): Promise<void> {
    for (const peer of this.#peers) peer.kill();
    await this.run('umount', '-l', this.mountPoint);
    await rm(this.dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  }
}

/** A client process of its own, with its own mapping of the image. */
export class Peer {
  readonly #child: ChildProcess;
  #next = 1;
  readonly #waiting = new Map<number, { resolve: (reply: PeerReply) => void; reject: (error: Error) => void }>();

  constructor(child: ChildProcess) {
    this.#child = child;
    child.on('message', (message: { id: number; reply?: PeerReply; error?: string }) => {
      const waiting = this.#waiting.get(message.id);
      this.#waiting.delete(message.id);
      if (message.reply === undefined) waiting?.reject(new Error(message.error ?? 'the peer failed'));
      else waiting?.resolve(message.reply);
    });
    child.on('exit', () => {
      for (const { reject } of this.#waiting.values()) reject(new Error('the peer ended'));
      this.#waiting.clear();
    });
  }

  ask(request: PeerRequest): Promise<PeerReply> {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`the peer did not answer ${request.do}`)), patienceMs);
      const settle =
        <T>(then: (value: T) => void) =>
        (value: T): void => {
          clearTimeout(timer);
          then(value);
        };
      this.#waiting.set(id, { resolve: settle(resolve), reject: settle(reject) });
      this.#child.send({ id, request });
    });
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }
}

export async function digestOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk);
  return hash.digest('hex');
}

async function isDirectory(path: string): Promise<boolean> {
  try {
    const dir = await open(path, 'r');
    const stat = await dir.stat();
    await dir.close();
    return stat.isDirectory();
  } catch {
    return false;
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() =>
        address !== null && typeof address === 'object' ? resolve(address.port) : reject(new Error('no port')),
      );
    });
  });
}
