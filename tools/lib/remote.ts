/** From a path on a mount to a connection with the daemon that serves it. */
import { access, constants, lstat, realpath } from 'node:fs/promises';
import { basename, dirname, join, relative } from 'node:path';
import type { Client } from '../../client/index.ts';
import { FsError } from '../../fs/errors.ts';
import { parseAddress } from '../../mds/protocol/index.ts';
import { type Registration, requireAlive, serverOfMount } from './registry.ts';

/** A path, and what it is called from the root of its filesystem. */
export interface RemotePath {
  readonly server: Registration;
  /** Absolute, without symbolic links. */
  readonly local: string;
  /** Begins with '/'. */
  readonly remote: string;
}

/** @throws FsError ENOENT and others of stat(2), ENOTCONN, EXDEV (not on an iopmemfs mount of a living daemon) */
export async function remotePath(path: string): Promise<RemotePath> {
  await requireAlive(path);
  const local = await realpath(path);
  const server = await serverOfMount((await lstat(local)).dev);
  if (server?.mountPoint === undefined) {
    const detail = 'not on an iopmemfs mount whose daemon runs here; iopmemfs status lists them';
    throw new FsError('EXDEV', { path, detail });
  }
  const within = relative(server.mountPoint, local);
  if (within.startsWith('..')) {
    const detail = `reached through another mount of the same filesystem: use the path below ${server.mountPoint}`;
    throw new FsError('EXDEV', { path, detail });
  }
  return { server, local, remote: join(server.subtree, within) };
}

/** The place for a new name: only its directory must exist. @throws as `remotePath` */
export async function remotePlace(path: string): Promise<RemotePath> {
  const directory = await remotePath(dirname(path));
  const name = basename(path);
  return { ...directory, local: join(directory.local, name), remote: join(directory.remote, name) };
}

/**
 * Whether the daemon is for this user to ask: what requests say about who asks is believed, so that its socket is open
 * to root and the user who runs it only. All others have what the mount itself can do.
 */
export async function mayAsk(server: Registration): Promise<boolean> {
  const address = parseAddress(server.address);
  if (address.kind === 'tcp') return true;
  try {
    await access(address.path, constants.R_OK | constants.W_OK);
    return true;
  } catch (error) {
    return !(error instanceof Error && 'code' in error && error.code === 'EACCES'); // others: connect(2) says it
  }
}

/**
 * Asks the server for names and numbers only: the device is not opened here.
 * @throws FsError EACCES (not for this user); for what the server refuses, with the path that the file has here
 */
export async function withClient<T>(server: Registration, work: (client: Client) => Promise<T>): Promise<T> {
  if (!(await mayAsk(server))) {
    const detail = 'its daemon answers only root and the user who runs it';
    throw new FsError('EACCES', { path: server.mountPoint ?? server.device, detail });
  }
  const { ClientError, connect } = await import('../../client/index.ts'); // not for those who ask for help or mistype
  const client = await connect(server.address, { device: 'none' });
  try {
    return await work(client);
  } catch (error) {
    if (!(error instanceof ClientError)) throw error;
    const { code, path, detail } = error;
    const local = path === undefined ? server.device : join(server.mountPoint ?? '/', relative(server.subtree, path));
    throw new FsError(code, { path: local, detail: wordsOf(detail) });
  } finally {
    await client.close();
  }
}

/**
 * What the server says beyond the errno and what the user calls the file: operation, status, inode and name come before
 * it. Nothing, where that was all.
 */
function wordsOf(detail: string): string | undefined {
  const words = detail
    .replace(/^(?:[A-Z][A-Z0-9_]*(?:: |$))+/, '')
    .replace(/^inode \d+(?:, |$)/, '')
    .replace(/^name "(?:[^"\\]|\\.)*"(?:, |$)/, '');
  return words === '' ? undefined : words;
}
