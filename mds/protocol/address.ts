/** Where a server listens: `unix:PATH`, or `tcp://HOST:PORT` with IPv6 addresses in brackets. */
import { FsError } from '../../fs/errors.ts';

export type Address =
  | { readonly kind: 'unix'; readonly path: string }
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number };

/** sun_path of unix(7) with its NUL. */
const unixPathMax = 107;

/** @throws FsError EINVAL */
export function parseAddress(text: string): Address {
  if (text.startsWith('unix:')) {
    const path = text.slice('unix:'.length);
    if (path.length === 0 || Buffer.byteLength(path) > unixPathMax || path.includes('\0')) {
      throw new FsError('EINVAL', {
        op: 'address',
        path: text,
        detail: `a path of 1 to ${unixPathMax} bytes is needed`,
      });
    }
    return { kind: 'unix', path };
  }
  const match = /^tcp:\/\/(?:\[([0-9a-fA-F:.%\w]+)\]|([^:/[\]]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || port > 65_535) {
    throw new FsError('EINVAL', { op: 'address', path: text, detail: 'use unix:PATH or tcp://HOST:PORT' });
  }
  return { kind: 'tcp', host, port };
}

export function formatAddress(address: Address): string {
  if (address.kind === 'unix') return `unix:${address.path}`;
  const host = address.host.includes(':') ? `[${address.host}]` : address.host;
  return `tcp://${host}:${address.port}`;
}
