/** What can keep a client from the device. docs/fencing.md says what each of them promises. */
import type { ByteRange } from '../../fs/engine/leases.ts';
import type { Reach } from './reach.ts';

/** What is known of a client that is to be fenced. */
export interface ClientFacts {
  readonly client: number;
  readonly owner: Uint8Array;
  /** Longest time that one of its accesses can take; `ioUnbounded`: any time, or not known. */
  readonly ioMaxMs: number;
  /** By the clock of the server: its last renewal, and a lease. */
  readonly leaseEndsAt: number;
  /** Its owner has come back: what would cut off this client would cut off the new one. */
  readonly superseded: boolean;
  /** By what its owner says, or by time, nothing of it reaches the device any more. */
  readonly isOver: boolean;
  /** Where it comes from. */
  readonly reach: Reach;
  /** What it may reach on the device: bytes, ascending, disjoint. */
  readonly ranges: () => readonly ByteRange[];
}

export interface Attempt {
  /** Counts from 1. */
  readonly number: number;
  /** By the clock of the server; whoever has not settled by then has failed. */
  readonly deadline: number;
  /** The client needs no fence any more: what has not begun need not. What has begun is waited for. */
  readonly unneeded: AbortSignal;
  /** The server closes, or the client was declared dead: what has begun is to end, however it would have. */
  readonly givenUp: AbortSignal;
}

export type FenceResult =
  /** No access of the client begins any more, and those that had begun are over. */
  | { readonly kind: 'fenced' }
  /** This provider has nothing to do with this client, and never will. */
  | { readonly kind: 'cannot' }
  /** Later; `ms`: not before that time has passed. */
  | { readonly kind: 'wait'; readonly why: string; readonly ms?: number };

export interface FencingProvider {
  readonly name: string;
  /** It may be able to fence this client one day. */
  serves(facts: ClientFacts): boolean;
  /** The fence holds already: nothing has to be done for it. */
  holds?(facts: ClientFacts): boolean;
  /** What was handed out to the client is void; nobody waits for that. */
  withdraw?(client: number): void;
  /** Rejects when it failed, which means nothing for the next attempt. */
  fence(facts: ClientFacts, attempt: Attempt): Promise<FenceResult>;
}
