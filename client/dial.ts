import { connect, type Socket } from 'node:net';
import { type Address, errnoOfStatus, formatAddress } from '../mds/protocol/index.ts';
import { onAbort } from './abort.ts';
import { ClientError } from './errors.ts';

/** @throws ClientError UNREACHABLE (with the errno of connect(2)), TIMEOUT; the signal's reason when aborted */
export function dial(address: Address, timeoutMs: number, signal: AbortSignal): Promise<Socket> {
  const path = formatAddress(address);
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const socket =
      address.kind === 'unix'
        ? connect({ path: address.path })
        : connect({ host: address.host, port: address.port, noDelay: true });
    const settle = (): void => {
      clearTimeout(timer);
      forget();
      socket.removeListener('connect', connected);
      socket.removeListener('error', failed);
    };
    const fail = (why: unknown): void => {
      settle();
      // An error may still follow; nobody is left to hear it.
      socket.on('error', () => {});
      socket.destroy();
      reject(why);
    };
    const connected = (): void => {
      settle();
      resolve(socket);
    };
    const failed = (cause: NodeJS.ErrnoException): void => {
      const code = errnoOfStatus('IO', cause.code ?? null);
      fail(new ClientError('UNREACHABLE', cause.message, { cause, code, syscall: 'connect', path }));
    };
    const timer = setTimeout(
      () => fail(new ClientError('TIMEOUT', `no answer within ${timeoutMs} ms`, { syscall: 'connect', path })),
      timeoutMs,
    );
    const forget = onAbort(signal, () => fail(signal.reason));
    socket.once('connect', connected);
    socket.once('error', failed);
  });
}
