/** A server and an echo, each a process on a core of its own, with files for the clients. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Filesystem } from '../../fs/engine/filesystem.ts';
import { limits } from '../../fs/limits.ts';
import { nameFromText } from '../../fs/name.ts';
import type { Caller } from '../../fs/vfs.ts';
import { makeFilesystem } from '../growth/populate.ts';
import type { Place } from '../lib/place.ts';

const by: Caller = { uid: 0, gid: 0, groups: [0], pid: process.pid, access: 'kernel' };

export interface Program {
  readonly pid: number;
  readonly socket: string;
  /** Bytes that its heap needs, garbage not counted. */
  memory(): Promise<number>;
  stop(): Promise<void>;
}

/** Runs `body` beside a fresh server with `files` files of `bytes`, with blocks of their own, and names `f0`, `f1`, …. */
export async function withServer<T>(
  place: Place,
  core: string,
  files: number,
  bytes: number,
  body: (server: Program) => Promise<T>,
): Promise<T> {
  const made = await makeFilesystem(place, 64 * 2 ** 20 + 2 * files * Math.max(bytes, limits.blockSize), (fs) =>
    fill(fs, files, bytes),
  );
  const socket = join(place.disk, 'mds.sock');
  const server = await start('server.js', core, [made.image, made.meta, socket], socket);
  try {
    return await body(server);
  } finally {
    await server.stop();
    await made.remove();
  }
}

export async function withEcho<T>(place: Place, core: string, body: (echo: Program) => Promise<T>): Promise<T> {
  const socket = join(place.disk, 'echo.sock');
  const echo = await start('echo.js', core, [socket], socket);
  try {
    return await body(echo);
  } finally {
    await echo.stop();
  }
}

async function fill({ vfs }: Filesystem, files: number, bytes: number): Promise<void> {
  for (let i = 0; i < files; i++) {
    const { handle } = await vfs.create(vfs.rootIno, nameFromText(`f${i}`), 0o644, 2, by);
    if (bytes > 0) await vfs.write(handle, 0, Buffer.alloc(bytes), by);
    await vfs.release(handle);
  }
}

async function start(script: string, core: string, args: readonly string[], socket: string): Promise<Program> {
  const path = fileURLToPath(new URL(script, import.meta.url));
  const options = { execPath: 'taskset', execArgv: ['-c', core, process.execPath, '--expose-gc'] };
  const child = fork(path, [...args], options);
  const { pid } = child;
  await Promise.race([once(child, 'message'), failed(child, script)]);
  if (pid === undefined) throw new Error(`${script} has no process`);
  return {
    pid,
    socket,
    memory: async () => {
      child.send('memory');
      const [bytes] = await once(child, 'message');
      return Number(bytes);
    },
    stop: async () => {
      const exited = once(child, 'exit');
      child.disconnect();
      await Promise.race([exited, sleep(30_000, undefined, { ref: false })]);
    },
  };
}

async function failed(child: ChildProcess, script: string): Promise<never> {
  const [code] = await once(child, 'exit');
  throw new Error(`${script} ended with ${String(code)}`);
}
