import { assert } from './assert.ts';
import { Break, inTheWay, type Purpose, recalledIomode } from './breaks.ts';
import type { Claim, Claims } from './claims.ts';
import { type Grant, Holding, type LeaseClient } from './holding.ts';
import { Intervals } from './intervals.ts';
import { contains, overlap, type Range, subtract } from './ranges.ts';
import type { FileRecall, Recalls } from './recalls.ts';
import { bothIomodes, FileSegments, iomodesOf, wholeFile } from './segments.ts';
import { Table } from './table.ts';
import {
  type Action,
  type ClearRequest,
  type FenceSegment,
  type HeldLayout,
  type Iomode,
  type Segment,
  type StateId,
} from './types.ts';

/** What all files have in common. */
export interface FileContext {
  readonly recalls: Recalls;
  readonly claims: Claims;
  readonly newOther: () => string;
}

/** Those who wait for a file; most files have none. */
class Queue {
  readonly breaks = new Intervals<Break>();
  readonly touched = new Set<Break>();
}

/**
 * The leases on one file: who holds what, what is being recalled, who waits. Events change the state and note the breaks
 * that they touched; `decide` then looks at those and says what follows. `Layouts` states the invariants.
 */
export class FileLeases {
  readonly ino: number;
  readonly #context: FileContext;
  readonly #segments = new FileSegments();
  /** By client; without a table for the one of most files, for memory. */
  #holdings: Holding | Table<Holding> | undefined = undefined;
  #queue: Queue | undefined = undefined;

  constructor(ino: number, context: FileContext) {
    this.ino = ino;
    this.#context = context;
  }

  /** Nobody holds and nobody waits: there is nothing to remember. */
  get idle(): boolean {
    return this.#holdings === undefined && this.#queue === undefined;
  }

  /** Operations and gets that wait or are being served, and gets that were sent away and keep their turn. */
  get waiting(): number {
    return this.#queue?.breaks.size ?? 0;
  }

  /** Gets that were sent away and keep their turn. */
  get claims(): number {
    return this.#queue?.breaks.values().filter((open) => open.claim !== undefined).length ?? 0;
  }

  /** The turn that this client kept for such a get. */
  claimOf(client: number, mode: Iomode, range: Range): Claim | undefined {
    const isIt = (open: Break): boolean =>
      open.claim?.client === client &&
      open.purpose.kind === 'get' &&
      open.purpose.iomode === mode &&
      contains(open, range);
    return this.#queue?.breaks.find(range, isIt)?.claim;
  }

  /** Whether its layouts exclude each other is for whoever asks for one to say, and the same for all that are out. */
  get isShared(): boolean {
    return this.#segments.isShared;
  }

  set isShared(isShared: boolean) {
    assert(this.#segments.empty || isShared === this.isShared, `inode ${this.ino} changes with layouts out on it`);
    this.#segments.isShared = isShared;
  }

  holding(client: number): Holding | undefined {
    const holdings = this.#holdings;
    if (holdings instanceof Holding) return holdings.client.id === client ? holdings : undefined;
    return holdings?.get(client);
  }

  /** Must a get wait, for layouts of others or for those who came first? */
  getMustWait(client: number, mode: Iomode, range: Range, turn: number): boolean {
    return (
      this.#someoneIsFirst(client, mode, range, turn) ||
      this.obstructed({ kind: 'get', client, iomode: mode, isShared: this.isShared }, range)
    );
  }

  /** Has anybody, whether granted, reserved or revoked and not yet fenced, what stands in the way of `purpose`? */
  obstructed(purpose: Purpose, range: Range): boolean {
    const modes = iomodesOf(recalledIomode(purpose));
    return this.#segments.anyOn(range, modes, (client, mode) => inTheWay(purpose, client, mode));
  }

  /** `LayoutTable.clearTo`. Reading past own layouts for writing, and writing past those for reading, only on request. */
  clearTo({ client, iomode: mode, own, sparesOwn, isShared = false }: ClearRequest, range: Range): number {
    const purpose: Purpose = { kind: 'get', client, iomode: mode, isShared };
    const modes = sparesOwn ? bothIomodes : iomodesOf(recalledIomode(purpose));
    const isInTheWay = (other: number, held: Iomode): boolean =>
      other === client ? sparesOwn && held !== mode : inTheWay(purpose, other, held);
    const precedes = ({ id, purpose: first }: Break): boolean => id !== own && inTheWay(first, client, mode);
    const waiting = this.#queue?.breaks.find(range, precedes);
    const recalled = this.holding(client)?.recalls.find(range);
    const nearest = Math.min(
      this.#segments.firstOn(range, modes, isInTheWay),
      waiting?.start ?? Infinity,
      recalled?.start ?? Infinity,
    );
    return Math.min(Math.max(nearest, range.start), range.end);
  }

  /**
   * Inserts before the mapping is made durable, so that whoever breaks from now on sees it (I3).
   * Gets that wait behind `turn` will have to wait for this grant too.
   */
  reserve(id: number, client: LeaseClient, mode: Iomode, range: Range, turn: number): Grant {
    assert(client.fence === undefined && client.bulk === undefined, `L7: client ${client.id} gets inode ${this.ino}`);
    const holding = this.holding(client.id) ?? this.#newHolding(client);
    const reserved = this.#segments.reserve(holding, mode, range);
    const grant: Grant = { id, holding, reserved, turn, bulks: client.bulks };
    holding.addGrant(grant);
    for (const waiting of this.#breaksOn(range)) {
      if (!inTheWay(waiting.purpose, client.id, mode)) continue;
      assert(!waiting.broken, `I3: break ${waiting.id} was over, yet client ${client.id} gets its range`);
      waiting.blockers.add(client.id);
      waiting.unasked.add(client.id);
    }
    return grant;
  }

  /**
   * Looks again. Undefined when a break began meanwhile, or a recall that may have crossed the grant: the
   * grant is dropped. A later get does not take away what came out of a queue, else two clients could drop each other's
   * grants for ever; it recalls it instead.
   */
  confirm(now: number, grant: Grant): StateId | undefined {
    const { holding, reserved } = grant;
    const { client } = holding;
    this.#unreserve(grant);
    const dropped =
      grant.bulks !== client.bulks ||
      this.#someoneIsFirst(client.id, reserved.iomode, reserved, grant.turn) ||
      holding.asked(reserved, reserved.iomode).length > 0;
    if (!dropped) this.#segments.hold(holding, reserved.iomode, reserved);
    this.#recheck(holding, reserved);
    this.#settle(holding);
    return dropped ? undefined : holding.granted(now);
  }

  cancel(grant: Grant): void {
    this.#unreserve(grant);
    this.#recheck(grant.holding, grant.reserved);
    this.#settle(grant.holding);
  }

  /** The client holds nothing of `range` any more. Recalls of it that this matches in full are over (RFC 8881 §12.5.5.2.1.2). */
  release(holding: Holding, mode: 1 | 2 | 3, range: Range): Segment[] {
    const released = this.#segments.release(holding, iomodesOf(mode), range);
    for (const recall of holding.recalls.overlapping(range)) {
      const ofMode = mode === recall.iomode || mode === 3;
      if (ofMode && contains(range, recall)) this.#context.recalls.end(recall);
    }
    this.#recheck(holding, range);
    this.#settle(holding);
    return released;
  }

  wouldSplit(holding: Holding, modes: readonly Iomode[], range: Range): boolean {
    return this.#segments.splits(holding, modes, range);
  }

  /** Is anything held still of what is asked for? */
  isHeld(recall: FileRecall): boolean {
    return this.#segments.holds(recall.holding, iomodesOf(recall.iomode), recall);
  }

  /** A recall whose time is over without anything held below it: all came back piece by piece. */
  endRecall(recall: FileRecall): void {
    this.#context.recalls.end(recall);
    this.#settle(recall.holding);
  }

  /** The client may not use any of this, but can until it is fenced: nothing more is asked of it, nothing is released. */
  revoke(holding: Holding): FenceSegment[] {
    for (const recall of holding.recalls.values()) this.#context.recalls.end(recall);
    const reach = [...this.#segments.heldBy(holding), ...this.#segments.reservedFor(holding)];
    this.#settle(holding);
    return reach.map((segment) => ({ ino: this.ino, ...segment }));
  }

  /** The fence holds: the client reaches nothing here. */
  drop(holding: Holding): void {
    this.#segments.release(holding, bothIomodes, wholeFile);
    for (const grant of holding.grants) this.#unreserve(grant);
    this.#recheck(holding, wholeFile);
    this.#settle(holding);
  }

  /** @param turn the place in the queue; that of a newcomer by default */
  begin(id: number, purpose: Purpose, range: Range, turn = id): Break {
    const modes = iomodesOf(recalledIomode(purpose));
    const blockers = this.#segments.clientsOn(range, modes, (client, mode) => inTheWay(purpose, client, mode));
    const added = new Break({ id, ...range, purpose, turn, blockers });
    for (const other of this.#breaksOn(range)) {
      if (comesBefore(other, added)) other.holdBack(added);
      if (comesBefore(added, other) && !other.broken) added.holdBack(other);
    }
    this.#queue ??= new Queue();
    this.#queue.breaks.add(added);
    this.#queue.touched.add(added);
    return added;
  }

  endBreak(ended: Break): void {
    const queue = this.#queue;
    assert(queue !== undefined, `break ${ended.id} ends where none is`);
    queue.breaks.delete(ended);
    queue.touched.delete(ended);
    for (const first of ended.behind) first.followers.delete(ended);
    for (const follower of ended.followers) {
      follower.behind.delete(ended);
      queue.touched.add(follower);
    }
  }

  covers(holding: Holding, mode: Iomode, range: Range): boolean {
    return this.#segments.covers(holding, mode, range);
  }

  /** Undefined while nothing has been granted yet. */
  listing(holding: Holding): HeldLayout | undefined {
    if (holding.since === undefined) return undefined;
    return {
      client: holding.client.id,
      ino: this.ino,
      stateid: holding.stateid,
      segments: this.#segments.heldBy(holding),
      state: stateOf(holding),
      since: holding.since,
    };
  }

  /**
   * What follows from the state: whoever stands in the way of a break is asked once for what it holds there, and a break
   * that nobody stands in the way of any more, and that nobody comes before, is reported as broken, once.
   */
  decide(now: number): Action[] {
    const queue = this.#queue;
    if (queue === undefined) return [];
    const actions: Action[] = [];
    for (const touched of queue.touched) {
      for (const client of touched.unasked) {
        const holding = this.holding(client);
        assert(holding !== undefined, `client ${client} blocks break ${touched.id} and holds nothing`);
        if (receivesItsTurn(holding, touched)) continue;
        touched.unasked.delete(client);
        // Nothing is asked of a client that is being fenced, nor twice of one that is asked for everything (L4).
        if (!holding.revoked && holding.client.bulk === undefined) actions.push(...this.#recall(now, touched, holding));
      }
      if (touched.broken || touched.blockers.size > 0 || touched.behind.size > 0) continue;
      assert(!this.obstructed(touched.purpose, touched), `I2: break ${touched.id} ends with layouts in its way`);
      touched.broken = true;
      actions.push(...this.#brokenActions(now, touched));
    }
    queue.touched.clear();
    if (queue.breaks.size === 0) this.#queue = undefined;
    return actions;
  }

  /** Asks back all that the client holds here and has not been asked for, though nobody waits for it. */
  askBack(now: number, holding: Holding): Action[] {
    return this.#recallRange(now, holding, wholeFile, 3, false);
  }

  /** Recalls what `holding` has in the way and has not been asked for: no byte of an iomode is asked for twice. */
  #recall(now: number, wanted: Break, holding: Holding): Action[] {
    const changed = wanted.purpose.kind === 'unmap';
    return this.#recallRange(now, holding, wanted, recalledIomode(wanted.purpose), changed);
  }

  #recallRange(now: number, holding: Holding, range: Range, whole: 2 | 3, changed: boolean): Action[] {
    const actions: Action[] = [];
    for (const gap of subtract(range, holding.asked(range, whole))) {
      const partly = holding.recalls.find(gap) !== undefined;
      for (const mode of partly ? iomodesOf(whole) : [whole]) {
        for (const rest of subtract(gap, holding.asked(gap, mode))) {
          const hull = this.#segments.hull(holding, iomodesOf(mode), rest);
          if (hull !== undefined) actions.push(this.#context.recalls.start(now, holding, mode, hull, changed));
        }
      }
    }
    return actions;
  }

  #brokenActions(now: number, { id, claim }: Break): Action[] {
    if (claim === undefined) return [{ type: 'broken', breakId: id }];
    this.#context.claims.served(now, claim);
    return claim.signal ? [{ type: 'available', client: claim.client, ino: this.ino }] : [];
  }

  #breaksOn(range: Range): readonly Break[] {
    return this.#queue?.breaks.overlapping(range) ?? [];
  }

  #someoneIsFirst(client: number, mode: Iomode, range: Range, turn: number): boolean {
    return this.#queue?.breaks.find(range, (open) => open.precedes(client, mode, turn)) !== undefined;
  }

  #unreserve(grant: Grant): void {
    this.#segments.unreserve(grant.reserved);
    grant.holding.deleteGrant(grant);
  }

  /** The client holds more or less of `range` than before: looks at the breaks that wait for it there. */
  #recheck(holding: Holding, range: Range): void {
    const { id } = holding.client;
    for (const waiting of this.#breaksOn(range)) {
      if (!waiting.blockers.has(id)) continue;
      this.#queue?.touched.add(waiting);
      if (this.#segments.standsOn(holding, iomodesOf(recalledIomode(waiting.purpose)), waiting)) continue;
      waiting.blockers.delete(id);
      waiting.unasked.delete(id);
    }
  }

  #newHolding(client: LeaseClient): Holding {
    const holding = new Holding(client, this.ino, this.#context.newOther());
    client.add(holding);
    if (this.#holdings === undefined) {
      this.#holdings = holding;
      return holding;
    }
    if (this.#holdings instanceof Holding) {
      const sole = this.#holdings;
      this.#holdings = new Table((member) => member.client.id);
      this.#holdings.add(sole);
    }
    this.#holdings.add(holding);
    return holding;
  }

  /** The state is gone when nothing is held any more and nothing is asked for (RFC 8881 §18.44.3: lrs_present). */
  #settle(holding: Holding): void {
    if (holding.count > 0 || holding.recalls.size > 0) return;
    assert(holding.grants.size === 0, `client ${holding.client.id} has a grant on its way and nothing reserved`);
    holding.client.delete(holding);
    const holdings = this.#holdings;
    if (holdings instanceof Table) holdings.delete(holding.client.id);
    if (holdings === holding || (holdings instanceof Table && holdings.size === 0)) this.#holdings = undefined;
  }
}

function stateOf(holding: Holding): HeldLayout['state'] {
  if (holding.revoked) return 'revoked';
  return holding.recalls.size > 0 || holding.client.bulk !== undefined ? 'recalling' : 'held';
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
