/** What the checks of memory.ts know of a client and of a connection, from what goes over the wire. */
import {
  type CallbackFrame,
  type Frame,
  FrameDecoder,
  type operations,
  ProtocolError,
  type RequestOf,
  sequenceFlag,
} from '../../mds/protocol/index.ts';
import type { Grant } from './held-grants.ts';
import type { Process } from './loop.ts';

/** extent states of the wire. */
export const state = { readWrite: 0, read: 1, invalid: 2, none: 3 } as const;

/** A reply from before the fence, sent again: it grants nothing (docs/protocol.md, flags of the `sequence` part). */
export const revoked =
  sequenceFlag.EXPIRED_ALL_STATE_REVOKED |
  sequenceFlag.EXPIRED_SOME_STATE_REVOKED |
  sequenceFlag.ADMIN_STATE_REVOKED |
  sequenceFlag.RECALLABLE_STATE_REVOKED;

/** What is known of one client program. */
export class Holder {
  readonly process: Process;
  readonly owner: string;
  /** As the server answered EXCHANGE_ID; a liar goes on with the sessions of an earlier one. */
  readonly clientIds = new Set<number>();
  verifier = '';
  /** The verifier of its last session. */
  confirmed = '';
  /** What it may touch by its own word: granted, and no return sent. */
  may: Grant[] = [];
  /** What the server has to keep for it: granted, and no return arrived. */
  kept: Grant[] = [];
  readonly others = new Map<number, string>();
  /** Of states that it said it did not hold, the number up to which that is its word. */
  readonly denied = new Map<string, number>();
  /** Device ids that came with grants to its last client id, and those that are void. */
  readonly devices = new Set<string>();
  readonly voidDevices = new Set<string>();
  /** What it answered to each callback, by session, slot and number. */
  readonly answers = new Map<string, number>();
  lastClientId = 0;
  /** Requests that were answered: another answer to one of them is the same again. */
  readonly answered = new Set<string>();
  /** All that it ever could write. */
  readonly written: Grant[] = [];
  /** Its last session reclaims nothing any more. */
  hasReclaimed = false;
  /** Layout stateids that came with a grant. */
  readonly granted = new Set<string>();
  /** The server has revoked what it had: what it could only read may change, but may not become another file's. */
  fenced = false;
  /** Requests at the server without a reply. */
  readonly running = new Set<string>();

  constructor(process: Process, owner: string) {
    this.process = process;
    this.owner = owner;
  }
}

export type Committed = RequestOf<typeof operations.LAYOUTCOMMIT>;

export interface Asked {
  /** Its session, slot and number there. */
  readonly name: string;
  readonly number: number;
  readonly args: readonly unknown[];
}

/** One connection as the tap sees it, from the server's side. */
export class Wire {
  readonly toServer = new FrameDecoder();
  readonly toClient = new FrameDecoder();
  readonly framesOf = new WeakMap<Uint8Array, readonly Frame[]>();
  readonly asked = new Map<number, Asked>();
  readonly calledBack = new Map<number, CallbackFrame>();
  holder: Holder | undefined;
}

export function voidDevices(holder: Holder): void {
  for (const id of holder.devices) holder.voidDevices.add(id);
  holder.devices.clear();
}

/** None in what is no message: the server closes the connection. */
export function framesIn(decoder: FrameDecoder, chunk: Uint8Array): readonly Frame[] {
  try {
    return decoder.push(chunk);
  } catch (error) {
    if (error instanceof ProtocolError) return [];
    throw error;
  }
}

export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
