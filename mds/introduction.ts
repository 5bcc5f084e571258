/** What a client says of itself, and when two that say it are the same (RFC 8881 §2.4, §18.35). */
import type { Client } from './client.ts';
import type { Credentials } from './protocol/fields.ts';
import { StatusError } from './protocol/status.ts';

/** EXCHANGE_ID. */
export interface Introduction {
  /** co_ownerid: the same after a restart of the client. */
  readonly owner: Uint8Array;
  /** co_verifier, 8 bytes: another one after a restart, and after it lost its lease. */
  readonly verifier: Uint8Array;
  readonly implementation: string;
  /** It asked for EXCHGID4_FLAG_USE_PNFS_MDS: without it there are no layouts for it (RFC 8881 §13.1). */
  readonly pnfs: boolean;
  /** Longest time that one of its accesses to the device can take. */
  readonly ioMaxMs: number;
  /** Whom requests without credentials act for. */
  readonly credentials: Credentials;
  /** The process that all its accesses to the device end with (docs/protocol.md §4); null: there is none. */
  readonly process: string | null;
}

/** Whom a client acts for: others may not take its place (RFC 8881 §2.4.3). */
export function principalOf({ credentials: [uid] }: Introduction): number {
  return uid;
}

export function isSamePrincipal(client: Client, introduction: Introduction): boolean {
  return principalOf(client.introduction) === principalOf(introduction);
}

export function hasVerifier(client: Client, { verifier }: Introduction): boolean {
  return hex(client.introduction.verifier) === hex(verifier);
}

/** RFC 8881 §18.35.5, cases 6 to 9. @throws StatusError NOENT, NOT_SAME, PERM */
export function updated(known: Client | undefined, introduction: Introduction): Client {
  if (known === undefined) throw new StatusError('NOENT', 'there is no confirmed client of this owner to be updated');
  if (!isSamePrincipal(known, introduction)) throw new StatusError('PERM', `client ${known.id} is of another user`);
  if (!hasVerifier(known, introduction)) {
    throw new StatusError('NOT_SAME', `client ${known.id} is another incarnation of this owner`);
  }
  known.update(introduction);
  return known;
}

export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
