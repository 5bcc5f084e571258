import type { Claim } from './claims.ts';
import { Intervals } from './intervals.ts';
import type { Range } from './ranges.ts';
import type { BulkRecall, FileRecall } from './recalls.ts';
import type { Held, SegmentIndex, SegmentOwner } from './segment-index.ts';
import { nextSeqid } from './stateid.ts';
import { iomode, type StateId } from './types.ts';

/** A reservation between `get` and `confirm`. */
export interface Grant {
  readonly id: number;
  readonly holding: Holding;
  readonly reserved: Held;
  /** The turn of the break it waited in; `noTurn` when it did not wait. */
  readonly turn: number;
  /** `LeaseClient.bulks` at that time. */
  readonly bulks: number;
}

/** Segments of all clients together, held and reserved. */
export interface Totals {
  segments: number;
}

/** A client as leasing sees it: its state on each file, and whether it is fenced. */
export class LeaseClient {
  readonly id: number;
  /** Held and reserved, over all files. */
  segments = 0;
  /** Recalls of files that are out. */
  recalls = 0;
  /** Everything of it is asked back, or will be as soon as no other recall to it is out (RFC 8881 §12.5.5.2). */
  bulk: BulkRecall | undefined;
  /** Bulk recalls so far: a grant that was reserved before one must not be made after it. */
  bulks = 0;
  /** Layouts that it was asked to keep at most, since memory became short. */
  keep = Infinity;
  /** Gets of it that were sent away and keep their turn. */
  readonly claims = new Set<Claim>();
  /** Set from its revocation until it is forgotten; `others` are the revoked states, with their inode numbers. */
  fence: { readonly id: number; readonly others: Map<string, number>; readonly bulk: number | undefined } | undefined;
  readonly #totals: Totals;
  #oldest: Holding | undefined;
  #newest: Holding | undefined;
  #layouts = 0;

  constructor(id: number, totals: Totals) {
    this.id = id;
    this.#totals = totals;
  }

  /** Files that it has a layout state on. */
  get layouts(): number {
    return this.#layouts;
  }

  /** There is nothing to remember of it. */
  get idle(): boolean {
    return this.#layouts === 0 && this.fence === undefined && this.bulk === undefined && this.claims.size === 0;
  }

  /** `by` segments more, or fewer. */
  counted(by: number): void {
    this.segments += by;
    this.#totals.segments += by;
  }

  add(holding: Holding): void {
    holding.older = this.#newest;
    if (this.#newest === undefined) this.#oldest = holding;
    else this.#newest.newer = holding;
    this.#newest = holding;
    this.#layouts++;
  }

  delete(holding: Holding): void {
    const { older, newer } = holding;
    if (older === undefined) this.#oldest = newer;
    else older.newer = newer;
    if (newer === undefined) this.#newest = older;
    else newer.older = older;
    this.#layouts--;
  }

  /** Oldest first; what has been given may be deleted meanwhile. */
  *holdings(): Generator<Holding> {
    for (let holding = this.#oldest; holding !== undefined; ) {
      const { newer } = holding;
      yield holding;
      holding = newer;
    }
  }
}

/** What is on its way to a client. */
interface Pending {
  readonly recalls: Intervals<FileRecall>;
  readonly grants: Set<Grant>;
}

const noRecalls = new Intervals<FileRecall>();
const noGrants: ReadonlySet<Grant> = new Set<Grant>();

/**
 * The layout state of one client on one file: what RFC 8881 §12.5.2 gives one stateid to. It lives from the first
 * reservation until nothing is held any more, and nothing is asked back either. There is one for nearly each segment that
 * is held: it has no field that it can do without, and no private methods, which take a word of each object.
 */
export class Holding implements SegmentOwner {
  readonly client: LeaseClient;
  readonly ino: number;
  own: SegmentIndex = undefined;
  count = 0;
  older: Holding | undefined = undefined;
  newer: Holding | undefined = undefined;
  readonly #other: string;
  /** 0 until the first grant is confirmed: the client knows nothing of this state yet. */
  #seqid = 0;
  /** Milliseconds, whole ones: those take no memory of their own. */
  #since = 0;
  /** Most states have neither; both together, for memory. */
  #pending: Pending | undefined = undefined;

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

  /** Sent and not answered in full. */
  get recalls(): Pick<Intervals<FileRecall>, 'size' | 'find' | 'overlapping' | 'values'> {
    return this.#pending?.recalls ?? noRecalls;
  }

  get grants(): ReadonlySet<Grant> {
    return this.#pending?.grants ?? noGrants;
  }

  addRecall(recall: FileRecall): void {
    this.#pending ??= newPending();
    this.#pending.recalls.add(recall);
    this.client.recalls++;
  }

  deleteRecall(recall: FileRecall): void {
    this.#pending?.recalls.delete(recall);
    this.client.recalls--;
    if (isIdle(this.#pending)) this.#pending = undefined;
  }

  addGrant(grant: Grant): void {
    this.#pending ??= newPending();
    this.#pending.grants.add(grant);
  }

  deleteGrant(grant: Grant): void {
    this.#pending?.grants.delete(grant);
    if (isIdle(this.#pending)) this.#pending = undefined;
  }

  /** Recalls that are out, overlap `range` and ask for all layouts of `mode` there, ascending. */
  asked(range: Range, mode: 1 | 2 | 3): FileRecall[] {
    return this.recalls.overlapping(range).filter((recall) => recall.iomode === iomode.any || recall.iomode === mode);
  }

  /** RFC 8881 §12.5.3: the seqid grows with every grant, every return that leaves something, every recall. */
  advance(): StateId {
    this.#seqid = nextSeqid(this.#seqid);
    return this.stateid;
  }

  /** The reply to a get: the first one carries seqid 1. */
  granted(now: number): StateId {
    if (this.#seqid === 0) this.#since = Math.floor(now);
    return this.advance();
  }
}

function newPending(): Pending {
  return { recalls: new Intervals<FileRecall>(), grants: new Set<Grant>() };
}

function isIdle(pending: Pending | undefined): boolean {
  return pending?.recalls.size === 0 && pending.grants.size === 0;
}
