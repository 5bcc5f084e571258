/**
 * Which files each client may have layouts on, on the media (record G): after a crash this is all that tells whose blocks
 * a former client may still touch. One record stands for all layouts of the client on the file, with the strongest access
 * among them, and is in the same group as the mapping that was granted, so that no grant is known to the client alone.
 */
import { encodeGrant } from '../format/codec.ts';
import { grantKey } from '../format/keys.ts';
import type { Access } from '../space/space.ts';
import type { Volume } from './volume.ts';

/** Access by inode number. */
export type ClientGrants = ReadonlyMap<number, Access>;

const nothing: ClientGrants = new Map();

export function grantsOf(v: Volume, client: number): ClientGrants {
  return v.grants.get(client) ?? nothing;
}

/** What is on record already costs no write. */
export function recordGrant(v: Volume, client: number, ino: number, access: Access): void {
  if (v.readOnly) return;
  let files = v.grants.get(client);
  if (files === undefined) {
    files = new Map();
    v.grants.set(client, files);
  }
  const known = files.get(ino);
  if (known === access || known === 'write') return;
  files.set(ino, access);
  v.changes.record(grantKey(client, ino), encodeGrant({ access }));
}

/** The client holds nothing of the file, or what it could reach is in quarantine; need not be durable soon. */
export function forgetGrant(v: Volume, client: number, ino: number): void {
  const files = v.grants.get(client);
  if (files?.delete(ino) !== true) return;
  v.changes.record(grantKey(client, ino), undefined);
  if (files.size === 0) v.grants.delete(client);
}

export function forgetGrants(v: Volume, client: number): void {
  for (const ino of grantsOf(v, client).keys()) forgetGrant(v, client, ino);
}
