import type { Claim } from './claims.ts';
import type { Interval } from './intervals.ts';
import { excludes } from './segments.ts';
import { type BreakReason, type Iomode, iomode } from './types.ts';

/** What a break makes room for: an operation on the file, or a get that met layouts of others. */
export type Purpose =
  | { readonly kind: BreakReason; readonly client: number | undefined }
  | {
      readonly kind: 'get';
      readonly client: number;
      readonly iomode: Iomode;
      /** Layouts on this file do not exclude each other. */
      readonly isShared: boolean;
    };

/**
 * Does a layout of `client` stand in the way of `purpose`? The same answer says who has to be recalled and, as long as the
 * break lasts, who gets nothing (I3).
 * - write: bytes change in place, so that every other client's layout is out of date; the writer's own is not.
 * - remap: other blocks come, so that everybody's is out of date, the writer's own too.
 * - unmap: blocks go away, whoever reaches them.
 * - extend: what a client may write behind the end, or in a hole, is about to be given to the file.
 * - share: blocks become shared; reading them stays right, writing them would change both files.
 * - cache: what is read now is kept, so that nobody may go on writing it.
 * - close: the client holds for writing what it has closed.
 * - space: the client, or whoever it is, holds for writing what it did not ask for or has not committed, and others need the space.
 */
export function inTheWay(purpose: Purpose, client: number, mode: Iomode): boolean {
  switch (purpose.kind) {
    case 'write':
      return client !== purpose.client;
    case 'remap':
    case 'unmap':
      return true;
    case 'extend':
    case 'share':
    case 'cache':
      return mode === iomode.rw;
    case 'close':
      return client === purpose.client && mode === iomode.rw;
    case 'space':
      return (purpose.client === undefined || client === purpose.client) && mode === iomode.rw;
    case 'get':
      if (purpose.isShared) return false;
      return client !== purpose.client && excludes(purpose.iomode, mode);
  }
}

const readersStay: ReadonlySet<BreakReason> = new Set(['extend', 'share', 'cache', 'close', 'space']);

/** The iomodes that can stand in the way of `purpose`, as a recall names them: no more than needed. */
export function recalledIomode(purpose: Purpose): 2 | 3 {
  const { kind } = purpose;
  if (kind === 'get') return purpose.iomode === iomode.read ? iomode.rw : iomode.any;
  return readersStay.has(kind) ? iomode.rw : iomode.any;
}

/** A get that has not waited: every break under way comes before it. */
export const noTurn = Infinity;

/**
 * An operation, or a get, that waits until nothing stands in its way, and then keeps its range free until it is done.
 */
export class Break implements Interval {
  readonly id: number;
  readonly start: number;
  readonly end: number;
  readonly purpose: Purpose;
  /** Gets are served in this order. A get that met a new obstacle when its time had come keeps the turn it had. */
  readonly turn: number;
  /** Clients with something in the way. */
  readonly blockers: Set<number>;
  /** Those of them who have not been asked to return all of it yet. */
  readonly unasked: Set<number>;
  /** Breaks that come first. */
  readonly behind = new Set<Break>();
  readonly followers = new Set<Break>();
  /** `broken` has been reported. */
  broken = false;
  /** Its get was sent away, and keeps its turn for a while. */
  claim: Claim | undefined = undefined;

  constructor(fields: {
    readonly id: number;
    readonly start: number;
    readonly end: number;
    readonly purpose: Purpose;
    readonly turn: number;
    readonly blockers: ReadonlySet<number>;
  }) {
    this.id = fields.id;
    this.start = fields.start;
    this.end = fields.end;
    this.purpose = fields.purpose;
    this.turn = fields.turn;
    this.blockers = new Set(fields.blockers);
    this.unasked = new Set(fields.blockers);
  }

  /**
   * Does a get of `client` with this `turn` have to wait for this break? Operations go before all gets, for they do not
   * queue: they only break when somebody holds a layout. Gets go in order of their turns.
   */
  precedes(client: number, mode: Iomode, turn: number): boolean {
    return (this.purpose.kind !== 'get' || this.turn < turn) && inTheWay(this.purpose, client, mode);
  }

  /** Does this break, of a get, come after a get of `client` that stands in its way? */
  yieldsTo(client: number, mode: Iomode, turn: number): boolean {
    return this.purpose.kind === 'get' && turn < this.turn && inTheWay(this.purpose, client, mode);
  }

  /** `other` must not be broken before this one ends. */
  holdBack(other: Break): void {
    other.behind.add(this);
    this.followers.add(other);
  }
}
