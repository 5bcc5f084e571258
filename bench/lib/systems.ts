/** The filesystems that are compared, each started on a directory of its own and gone afterwards. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { FsError } from '../../fs/errors.ts';
import { command, onCores } from './command.ts';
import type { Place } from './place.ts';

/** How long a server may take to mount or to end, and how often that is looked at, in ms. */
const serverMs = 30_000;
const pollMs = 20;

export interface Running {
  readonly name: string;
  /** Where the workload goes. */
  readonly directory: string;
  /** 0: there is no server. */
  readonly serverPid: number;
  stop(): Promise<void>;
}

export interface SystemOptions {
  /** Where its directories are made. */
  readonly place: Place;
  /** Of the server, for taskset(1). */
  readonly cores: string;
  /** Where a peer keeps its files; ours keeps them in an image in memory. */
  readonly backing: string;
  /** Of the image, in bytes. */
  readonly imageBytes: number;
}

export interface System {
  readonly name: string;
  start(options: SystemOptions): Promise<Running>;
}

/** The limit of the peers: what they sit on, without FUSE. */
export function backingItself(name: string): System {
  return {
    name,
    start: async ({ backing }) => {
      const directory = join(backing, 'itself');
      await mkdir(directory);
      return { name, directory, serverPid: 0, stop: () => Promise.resolve() };
    },
  };
}

/**
 * A filesystem in C on FUSE that hands on what another directory holds. `run` gives its command for the two directories;
 * it stays in the foreground.
 */
export function peer(name: string, run: (backing: string, mountPoint: string) => readonly string[]): System {
  return {
    name,
    start: async ({ place, cores, backing }) => {
      const [files, mountPoint] = [join(backing, name), join(place.memory, `${name}.mnt`)];
      await mkdir(files);
      await mkdir(mountPoint);
      const [program = '', ...args] = run(files, mountPoint);
      const [file, all] = onCores(cores, program, ...args);
      const server = spawn(file, [...all], { stdio: ['ignore', 'ignore', 'inherit'] });
      try {
        await mounted(mountPoint, server);
      } catch (error) {
        server.kill('SIGKILL');
        throw error;
      }
      return {
        name,
        directory: mountPoint,
        serverPid: server.pid ?? 0,
        stop: async () => {
          await command('umount', [mountPoint]);
          await ended(server);
        },
      };
    },
  };
}

const programs = fileURLToPath(new URL('../../tools/', import.meta.url));

/**
 * Ours, as users run it: in the background, the metadata on the machine's disk. The image is written once before: a BAR
 * has its memory, and the first touch of a page of tmpfs would be measured instead.
 */
export const iopmemfs: System = {
  name: 'iopmemfs',
  start: async ({ place, cores, imageBytes }) => {
    const image = join(place.memory, 'image');
    const mountPoint = join(place.memory, 'iopmemfs.mnt');
    const env = { IOPMEMFS_STATE: join(place.disk, 'state'), IOPMEMFS_RUN: join(place.disk, 'run') };
    await writeZeros(image, imageBytes);
    await mkdir(mountPoint);
    await command(process.execPath, [join(programs, 'mkfs.js'), image], env);
    const program = join(programs, 'iopmemfs.js');
    const mount = onCores(cores, process.execPath, program, 'mount', image, mountPoint, '--json');
    const serverPid = pidOf(await command(...mount, env));
    return {
      name: 'iopmemfs',
      directory: mountPoint,
      serverPid,
      stop: async () => {
        await command(process.execPath, [program, 'umount', mountPoint], env);
      },
    };
  },
};

/** Of the summary that `mount --json` prints. @throws FsError EPROTO */
export function pidOf(summary: string): number {
  const parsed: unknown = JSON.parse(summary);
  const pid: unknown = typeof parsed === 'object' && parsed !== null ? Reflect.get(parsed, 'pid') : undefined;
  if (typeof pid !== 'number') throw new FsError('EPROTO', { op: 'mount', detail: `printed ${summary}` });
  return pid;
}

/** A BAR has its memory; the first touch of a page of tmpfs would be measured instead. */
export async function writeZeros(path: string, bytes: number): Promise<void> {
  const piece = Buffer.alloc(2 ** 20);
  const file = await open(path, 'wx');
  try {
    for (let at = 0; at < bytes; at += piece.length) await file.write(piece, 0, Math.min(piece.length, bytes - at));
  } finally {
    await file.close();
  }
}

/** Waits until another filesystem stands at the directory. */
async function mounted(directory: string, server: ChildProcess): Promise<void> {
  const { dev } = await stat(join(directory, '..'));
  const end = Date.now() + serverMs;
  while ((await stat(directory)).dev === dev) {
    if (server.exitCode !== null || Date.now() > end) {
      throw new FsError('EIO', {
        op: 'mount',
        path: directory,
        detail: `${server.spawnargs.join(' ')} does not mount`,
      });
    }
    await sleep(pollMs);
  }
}

async function ended(server: ChildProcess): Promise<void> {
  const end = Date.now() + serverMs;
  while (server.exitCode === null && server.signalCode === null) {
    if (Date.now() > end) {
      server.kill('SIGKILL');
      return;
    }
    await sleep(pollMs);
  }
}
