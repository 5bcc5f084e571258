import { assert } from './assert.ts';
import { Break, inTheWay, type Purpose, recalledIomode } from './breaks.ts';
import { type Grant, Holding, type LeaseClient } from './holding.ts';
import { Intervals } from './intervals.ts';
import { overlap, type Range, subtract } from './ranges.ts';
import type { Recalls } from './recalls.ts';
import { bothIomodes, FileSegments, iomodesOf } from './segments.ts';
import { type Action, type FenceSegment, type HeldLayout, type Iomode, type Segment, type StateId } from './types.ts';

const wholeFile: Range = { start: 0, end: Infinity };

/**
 * The leases on one file: who holds what, what is being recalled, who waits. Events change the state and note the breaks
 * that they touched; `decide` then looks at those and says what follows. `Layouts` states the invariants.
 */
export class FileLeases {
  readonly ino: number;
  readonly #recalls: Recalls;
  readonly #newOther: () => string;
  readonly #segments = new FileSegments();
  readonly #holdings = new Map<number, Holding>();
  readonly #breaks = new Intervals<Break>();
  readonly #touched = new Set<Break>();

  constructor(ino: number, recalls: Recalls, newOther: () => string) {
    this.ino = ino;
    this.#recalls = recalls;
    this.#newOther = newOther;
  }

  /** Nobody holds and nobody waits: there is nothing to remember. */
  get idle(): boolean {
    return this.#holdings.size === 0 && this.#breaks.size === 0;
  }

  /** Operations and gets that wait or are being served. */
  get waiting(): number {
    return this.#breaks.size;
  }

  holding(client: number): Holding | undefined {
    return this.#holdings.get(client);
  }

  /** Must a get wait, for layouts of others or for those who came first? */
  getMustWait(client: number, mode: Iomode, range: Range, turn: number): boolean {
    return (
      this.#someoneIsFirst(client, mode, range, turn) || this.obstructed({ kind: 'get', client, iomode: mode }, range)
    );
  }

  /** Has anybody, whether granted, reserved or revoked and not yet fenced, what stands in the way of `purpose`? */
  obstructed(purpose: Purpose, range: Range): boolean {
    const modes = iomodesOf(recalledIomode(purpose));
    return this.#segments.anyOn(range, modes, (client, mode) => inTheWay(purpose, client, mode));
  }

  /**
   * Inserts before the mapping is made durable, so that whoever breaks from now on sees it (I3).
   * Gets that wait behind `turn` will have to wait for this grant too.
   */
  reserve(id: number, client: LeaseClient, mode: Iomode, range: Range, turn: number): Grant {
    let holding = this.#holdings.get(client.id);
    if (holding === undefined) {
      holding = new Holding(client, this.ino, this.#newOther());
      this.#holdings.set(client.id, holding);
      client.holdings.set(this.ino, holding);
    }
    const grant: Grant = { id, holding, reserved: this.#segments.reserve(client.id, mode, range), turn };
    holding.grants.add(grant);
    for (const waiting of this.#breaks.overlapping(range)) {
      if (!inTheWay(waiting.purpose, client.id, mode)) continue;
      assert(!waiting.broken, `break ${waiting.id} was over, yet client ${client.id} gets its range`);
      waiting.blockers.add(client.id);
      waiting.unasked.add(client.id);
    }
    this.#settle(holding);
    return grant;
  }

  /**
   * Looks again. Undefined when a break began meanwhile, or a recall that may have crossed the grant: the
   * grant is dropped. A later get does not take away what came out of a queue, else two clients could drop each other's
   * grants for ever; it recalls it instead.
   */
  confirm(now: number, grant: Grant): StateId | undefined {
    const { client } = grant.holding;
    const { reserved } = grant;
    this.#unreserve(grant);
    const dropped =
      this.#someoneIsFirst(client.id, reserved.iomode, reserved, grant.turn) ||
      grant.holding.asked(reserved, reserved.iomode).length > 0;
    if (!dropped) this.#segments.hold(client.id, reserved.iomode, reserved);
    this.#recheck(client.id, reserved);
    this.#settle(grant.holding);
    return dropped ? undefined : grant.holding.granted(now);
  }

  cancel(grant: Grant): void {
    this.#unreserve(grant);
    this.#recheck(grant.holding.client.id, grant.reserved);
    this.#settle(grant.holding);
  }

  /** The client holds nothing of `range` any more. A recall ends when nothing is held of all that it asked for. */
  release(holding: Holding, modes: readonly Iomode[], range: Range): Segment[] {
    const client = holding.client.id;
    const released = this.#segments.release(client, modes, range);
    for (const recall of holding.recalls.overlapping(range)) {
      if (!this.#segments.holds(client, iomodesOf(recall.iomode), recall)) this.#recalls.end(recall);
    }
    this.#recheck(client, range);
    this.#settle(holding);
    return released;
  }

  wouldSplit(client: number, modes: readonly Iomode[], range: Range): boolean {
    return this.#segments.splits(client, modes, range);
  }

  /** The client may not use any of this, but can until it is fenced: nothing more is asked of it, nothing is released. */
  revoke(holding: Holding): FenceSegment[] {
    for (const recall of holding.recalls.values()) this.#recalls.end(recall);
    const client = holding.client.id;
    const reach = [...this.#segments.heldBy(client), ...this.#segments.reservedFor(client)];
    return reach.map((segment) => ({ ino: this.ino, ...segment }));
  }

  /** The fence holds: the client reaches nothing here. */
  drop(holding: Holding): void {
    const client = holding.client.id;
    this.#segments.release(client, bothIomodes, wholeFile);
    for (const grant of holding.grants) this.#unreserve(grant);
    this.#recheck(client, wholeFile);
    this.#settle(holding);
  }

  /** @param turn the place in the queue; that of a newcomer by default */
  begin(id: number, purpose: Purpose, range: Range, turn = id): Break {
    const modes = iomodesOf(recalledIomode(purpose));
    const blockers = this.#segments.clientsOn(range, modes, (client, mode) => inTheWay(purpose, client, mode));
    const added = new Break({ id, ...range, purpose, turn, blockers });
    for (const other of this.#breaks.overlapping(range)) {
      if (comesBefore(other, added)) other.holdBack(added);
      if (comesBefore(added, other) && !other.broken) added.holdBack(other);
    }
    this.#breaks.add(added);
    this.#touched.add(added);
    return added;
  }

  endBreak(ended: Break): void {
    this.#breaks.delete(ended);
    this.#touched.delete(ended);
    for (const first of ended.behind) first.followers.delete(ended);
    for (const follower of ended.followers) {
      follower.behind.delete(ended);
      this.#touched.add(follower);
    }
  }

  covers(client: number, mode: Iomode, range: Range): boolean {
    return this.#segments.covers(client, mode, range);
  }

  /** Undefined while nothing has been granted yet. */
  listing(holding: Holding): HeldLayout | undefined {
    if (holding.since === undefined) return undefined;
    return {
      client: holding.client.id,
      ino: this.ino,
      stateid: holding.stateid,
      segments: this.#segments.heldBy(holding.client.id),
      state: holding.revoked ? 'revoked' : holding.recalls.size > 0 ? 'recalling' : 'held',
      since: holding.since,
    };
  }

  /**
   * What follows from the state: whoever stands in the way of a break is asked once for what it holds there, and a break
   * that nobody stands in the way of any more, and that nobody comes before, is reported as broken, once.
   */
  decide(now: number): Action[] {
    const actions: Action[] = [];
    for (const touched of this.#touched) {
      for (const client of touched.unasked) {
        const holding = this.#holdings.get(client);
        assert(holding !== undefined, `client ${client} blocks break ${touched.id} and holds nothing`);
        if (receivesItsTurn(holding, touched)) continue;
        touched.unasked.delete(client);
        if (!holding.revoked) actions.push(...this.#recall(now, touched, holding));
      }
      if (touched.broken || touched.blockers.size > 0 || touched.behind.size > 0) continue;
      assert(!this.obstructed(touched.purpose, touched), `break ${touched.id} ends with layouts in its way`);
      touched.broken = true;
      actions.push({ type: 'broken', breakId: touched.id });
    }
    this.#touched.clear();
    return actions;
  }

  /** Recalls what `holding` has in the way and has not been asked for: no byte of an iomode is asked for twice. */
  #recall(now: number, wanted: Break, holding: Holding): Action[] {
    const { id: client } = holding.client;
    const changed = wanted.purpose.kind === 'unmap';
    const whole = recalledIomode(wanted.purpose);
    const actions: Action[] = [];
    for (const gap of subtract(wanted, holding.asked(wanted, whole))) {
      const partly = holding.recalls.find(gap) !== undefined;
      for (const mode of partly ? iomodesOf(whole) : [whole]) {
        for (const rest of subtract(gap, holding.asked(gap, mode))) {
          const hull = this.#segments.hull(client, iomodesOf(mode), rest);
          if (hull !== undefined) actions.push(this.#recalls.start(now, holding, mode, hull, changed));
        }
      }
    }
    return actions;
  }

  #someoneIsFirst(client: number, mode: Iomode, range: Range, turn: number): boolean {
    return this.#breaks.find(range, (open) => open.precedes(client, mode, turn)) !== undefined;
  }

  #unreserve(grant: Grant): void {
    this.#segments.unreserve(grant.reserved);
    grant.holding.grants.delete(grant);
  }

  /** `client` holds more or less of `range` than before: looks at the breaks that wait for it there. */
  #recheck(client: number, range: Range): void {
    for (const waiting of this.#breaks.overlapping(range)) {
      if (!waiting.blockers.has(client)) continue;
      this.#touched.add(waiting);
      if (this.#segments.standsOn(client, iomodesOf(recalledIomode(waiting.purpose)), waiting)) continue;
      waiting.blockers.delete(client);
      waiting.unasked.delete(client);
    }
  }

  /** The books after a change: segments counted, and the state gone with the last of them. */
  #settle(holding: Holding): void {
    const { client } = holding;
    const count = this.#segments.countOf(client.id);
    client.segments += count - holding.counted;
    holding.counted = count;
    if (count > 0) return;
    assert(
      holding.recalls.size === 0 && holding.grants.size === 0,
      `client ${client.id} holds nothing, yet is asked for it`,
    );
    this.#holdings.delete(client.id);
    client.holdings.delete(this.ino);
  }
}

/** `first` keeps `second` waiting by coming before it, whatever they wait for besides. Operations never wait for a turn. */
function comesBefore(first: Break, second: Break): boolean {
  if (second.purpose.kind !== 'get') return false;
  return first.precedes(second.purpose.client, second.purpose.iomode, second.turn);
}

/**
 * Is a grant on its way to this client that it waited for before `waiting` began to? It gets it first and is recalled
 * then: a recall sent now would cross the reply, and the client would return what it is about to receive.
 */
function receivesItsTurn(holding: Holding, waiting: Break): boolean {
  for (const grant of holding.grants) {
    if (!overlap(grant.reserved, waiting)) continue;
    if (waiting.yieldsTo(holding.client.id, grant.reserved.iomode, grant.turn)) return true;
  }
  return false;
}
