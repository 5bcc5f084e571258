import { Intervals } from './intervals.ts';
import type { Range } from './ranges.ts';
import type { Recall } from './recalls.ts';
import type { Held } from './segments.ts';
import { nextSeqid } from './stateid.ts';
import { iomode, type StateId } from './types.ts';

/** A reservation between `get` and `confirm`. */
export interface Grant {
  readonly id: number;
  readonly holding: Holding;
  readonly reserved: Held;
  /** The turn of the break it waited in; `noTurn` when it did not wait. */
  readonly turn: number;
}

/** A client as leasing sees it: its state on each file, and whether it is fenced. */
export interface LeaseClient {
  readonly id: number;
  /** By inode number. */
  readonly holdings: Map<number, Holding>;
  /** Held and reserved, over all files. */
  segments: number;
  /** Set from its revocation until it is forgotten; `others` are the revoked states by inode number. */
  fence: { readonly id: number; readonly others: ReadonlyMap<number, string> } | undefined;
}

/**
 * The layout state of one client on one file: what RFC 8881 §12.5.2 gives one stateid to. It lives from the first
 * reservation to the last return.
 */
export class Holding {
  readonly client: LeaseClient;
  readonly ino: number;
  readonly recalls = new Intervals<Recall>();
  readonly grants = new Set<Grant>();
  readonly #other: string;
  /** 0 until the first grant is confirmed: the client knows nothing of this state yet. */
  #seqid = 0;
  #since = 0;
  /** How many segments of this state are in `client.segments`. */
  counted = 0;

  constructor(client: LeaseClient, ino: number, other: string) {
    this.client = client;
    this.ino = ino;
    this.#other = other;
  }

  get stateid(): StateId {
    return { seqid: this.#seqid, other: this.#other };
  }

  /** The time of the first grant; undefined before. */
  get since(): number | undefined {
    return this.#seqid === 0 ? undefined : this.#since;
  }

  get revoked(): boolean {
    return this.client.fence !== undefined;
  }

  /** Recalls that are out, overlap `range` and ask for all layouts of `mode` there, ascending. */
  asked(range: Range, mode: 1 | 2 | 3): Recall[] {
    return this.recalls.overlapping(range).filter((recall) => recall.iomode === iomode.any || recall.iomode === mode);
  }

  /** RFC 8881 §12.5.3: the seqid grows with every grant, every return that leaves something, every recall. */
  advance(): StateId {
    this.#seqid = nextSeqid(this.#seqid);
    return this.stateid;
  }

  /** The reply to a get: the first one carries seqid 1. */
  granted(now: number): StateId {
    if (this.#seqid === 0) this.#since = now;
    return this.advance();
  }
}
