/** Listening sockets: Unix ones that only their owner may open, and TCP ones. */
import { lstatSync, unlinkSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { FsError } from '../fs/errors.ts';
import { serverLimits } from './limits.ts';
import { type Address, formatAddress } from './protocol/address.ts';

export interface Listener {
  /** With the real port where 0 was asked for. */
  readonly address: string;
  close(): Promise<void>;
}

/** @throws FsError EADDRINUSE, EADDRNOTAVAIL, EACCES and what else bind(2) says */
export async function listen(address: Address, onSocket: (socket: Socket) => void): Promise<Listener> {
  const server = createServer({ noDelay: true, keepAlive: true }, onSocket);
  if (address.kind === 'tcp') {
    await bind(server, () => server.listen({ host: address.host, port: address.port }), address);
  } else {
    await listenOnPath(server, address.path);
  }
  return {
    address: formatAddress(boundAddress(server, address)),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
      }),
  };
}

/** A socket file that nobody answers on was left by a server that died; one that answers belongs to somebody. */
async function listenOnPath(server: Server, path: string): Promise<void> {
  const address: Address = { kind: 'unix', path };
  try {
    await bind(server, () => listenPrivately(server, path), address);
  } catch (error) {
    if (!(error instanceof FsError) || error.code !== 'EADDRINUSE') throw error;
    if (!isSocket(path) || (await answers(path))) throw error;
    unlinkSync(path);
    await bind(server, () => listenPrivately(server, path), address);
  }
}

/** The socket is created within the call of `listen`: with this mask it never is anyone else's to open, not for a moment. */
function listenPrivately(server: Server, path: string): void {
  const mask = process.umask(0o177);
  try {
    server.listen({ path });
  } finally {
    process.umask(mask);
  }
}

function bind(server: Server, start: () => void, address: Address): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = (error: NodeJS.ErrnoException): void => {
      const code = error.code === 'EADDRINUSE' || error.code === 'EACCES' ? error.code : 'EADDRNOTAVAIL';
      reject(new FsError(code, { op: 'listen', path: formatAddress(address), detail: error.message }, error));
    };
    server.once('error', failed);
    server.once('listening', () => {
      server.off('error', failed);
      resolve();
    });
    start();
  });
}

function isSocket(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isSocket() ?? false;
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect({ path });
    const settle = (answered: boolean): void => {
      probe.destroy();
      resolve(answered);
    };
    probe.setTimeout(serverLimits.staleSocketProbeMs, () => settle(true));
    probe.once('connect', () => settle(true));
    probe.once('error', (error: NodeJS.ErrnoException) => settle(error.code !== 'ECONNREFUSED'));
  });
}

function boundAddress(server: Server, asked: Address): Address {
  const bound = server.address();
  if (asked.kind === 'unix' || bound === null || typeof bound === 'string') return asked;
  return { kind: 'tcp', host: asked.host, port: bound.port };
}
