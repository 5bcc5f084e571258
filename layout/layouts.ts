import { assert } from './assert.ts';
import { type Break, noTurn, type Purpose } from './breaks.ts';
import type { FileLeases } from './file-leases.ts';
import { type Grant, Holding } from './holding.ts';
import { limits } from './limits.ts';
import { contains, overlap, type Range, rangeOf } from './ranges.ts';
import { Recovery } from './recovery.ts';
import { refused } from './refused.ts';
import { Registry } from './registry.ts';
import { iomodesOf, toSegment, wholeFile } from './segments.ts';
import { checkStateid } from './stateid.ts';
import {
  type Action,
  type BreakReason,
  type BulkKind,
  type BulkReturnResult,
  type ClearRequest,
  type ConfirmResult,
  type GetRequest,
  type GetResult,
  type HeldLayout,
  iomode,
  type LayoutOptions,
  type LayoutTable,
  type RecallReply,
  type Refused,
  type ReturnRequest,
  type ReturnResult,
  type Segment,
  type StateId,
} from './types.ts';

/** Who speaks of which layout state. */
interface StateReference {
  readonly client: number;
  readonly ino: number;
  readonly stateid: StateId;
}

/**
 * All leases of one filesystem. Every event changes the state of a file and then asks that file's decision function
 * (`FileLeases.decide`) what follows. The project's invariants, as far as leasing keeps them:
 *
 * - I2 What a client held stays in the way until the client gave it back, or its fence is reported to hold. Only then is a
 *   break over it broken, and only then may a block change its role.
 * - I3 A break keeps new grants off its range from the moment it exists until it ends. A grant is reserved before its
 *   mapping is made, and looks for breaks again afterwards, so that none slips through in between.
 * - I4 Nothing here waits or blocks. Whoever has to wait gets the number of a break.
 * - I7 Revoking is not the end: `fenced` is. A revoked client gets nothing, and its stateids are answered ADMIN_REVOKED,
 *   until it is forgotten.
 * - I9 What is asked back ends: by a return, by NOMATCHING_LAYOUT, or by a fence when the recall's deadline has passed.
 *
 * And of leasing itself:
 *
 * - L1 One writer or many readers for any byte: what one client holds or has reserved RW, no other client holds at all; but
 *   for files that are said to be shared.
 * - L2 Gets that conflict are served in the order in which they first met an obstacle, and a get that had its turn is not
 *   robbed of its grant by a later one. A get that was sent away keeps its turn for a bounded time (`Claims`).
 * - L3 Every break is reported broken exactly once, or ended before.
 * - L4 No byte is asked back twice at the same time: later breaks wait for the recall that is out.
 * - L5 An event costs what it touches, not what there is: clients, files and segments are found by index. Whatever clients
 *   can drive up has a bound (`limits`, `LayoutOptions`).
 * - L6 A recall of everything runs alone: it begins when no other recall to the client is out, and until it ends the
 *   client gets nothing, and no other recall to it begins.
 * - L7 A client that is fenced or asked for everything gets nothing.
 */
export class Layouts implements LayoutTable {
  readonly #options: LayoutOptions;
  readonly #registry: Registry;
  readonly #recovery: Recovery;
  readonly #grants = new Map<number, { readonly file: FileLeases; readonly grant: Grant }>();

  constructor(options: LayoutOptions) {
    this.#options = options;
    this.#registry = new Registry(options);
    this.#recovery = new Recovery(this.#registry);
  }

  clearTo(request: ClearRequest): number {
    const range = rangeOf(request.offset, request.length);
    if (range === undefined) return request.offset;
    return this.#registry.file(request.ino)?.clearTo(request, range) ?? range.end;
  }

  get(now: number, request: GetRequest, own?: number): GetResult {
    const { client, ino, iomode: mode } = request;
    if (mode !== iomode.read && mode !== iomode.rw) return refused('BADIOMODE', request, `no grant has iomode ${mode}`);
    const range = rangeOf(request.offset, request.length);
    if (range === undefined) return refused('INVAL', request, 'not a range');
    if (!validMinlength(request)) return refused('INVAL', request, `minlength ${request.minlength}`);

    const { isShared = false } = request;
    const purpose: Purpose = { kind: 'get', client, iomode: mode, isShared };
    const ownBreak = own === undefined ? undefined : this.#registry.openBreak(own)?.open;
    assert(ownBreak === undefined || isBreakOf(ownBreak, purpose, range), `break ${own} does not belong to this get`);
    const forgotten =
      request.stateid === undefined && ownBreak === undefined ? this.#registry.known(client, ino) : undefined;
    const refusal = this.#refuseGet(request, range, forgotten);
    if (refusal !== undefined) return refusal;

    const file = this.#registry.fileOf(ino);
    file.isShared = isShared;
    const claim = own === undefined ? file.claimOf(client, mode, range) : undefined;
    const turn = ownBreak?.turn ?? claim?.open.turn ?? noTurn;
    const mustWait = file.getMustWait(client, mode, range, turn);
    if (mustWait && file.waiting >= limits.waitingGetsPerFileMax) {
      return refused('LAYOUTTRYLATER', request, `${file.waiting} others wait for this file`);
    }
    // Nothing fails from here on.
    const actions = forgotten === undefined ? [] : this.#registry.letGo(file, forgotten, 3, wholeFile);
    if (mustWait) {
      const open = this.#registry.begin(file, purpose, range, turn === noTurn ? undefined : turn);
      if (claim !== undefined) this.#registry.endClaim(claim);
      return { kind: 'conflict', breakId: open.id, actions: [...actions, ...this.#registry.decide(now, file, client)] };
    }
    const grant = file.reserve(this.#registry.newId(), this.#registry.clientOf(client), mode, range, turn);
    this.#grants.set(grant.id, { file, grant });
    if (claim !== undefined) this.#registry.endClaim(claim);
    actions.push(...this.#registry.decide(now, file, client), ...this.#recovery.relieve(now));
    return { kind: 'reserved', grant: grant.id, segment: toSegment(mode, range), actions };
  }

  confirm(now: number, id: number): ConfirmResult {
    const { file, grant } = this.#takeGrant(id);
    const { holding, reserved } = grant;
    if (holding.revoked) return { kind: 'recalled', actions: [] };
    const stateid = file.confirm(now, grant);
    const actions = this.#registry.decide(now, file, holding.client.id);
    if (stateid === undefined) return { kind: 'recalled', actions };
    return { kind: 'granted', stateid, segment: toSegment(reserved.iomode, reserved), actions };
  }

  cancel(now: number, id: number): readonly Action[] {
    const { file, grant } = this.#takeGrant(id);
    if (grant.holding.revoked) return [];
    file.cancel(grant);
    return this.#registry.decide(now, file, grant.holding.client.id);
  }

  /** Any part may be returned, held or not (RFC 8881 §18.44.3). Also an older seqid will do: returns overtake gets. */
  return(now: number, request: ReturnRequest): ReturnResult {
    const { client, ino, iomode: mode } = request;
    if (mode !== iomode.read && mode !== iomode.rw && mode !== iomode.any) {
      return refused('BADIOMODE', request, `iomode ${mode}`);
    }
    const range = rangeOf(request.offset, request.length);
    if (range === undefined) return refused('INVAL', request, 'not a range');
    const holding = this.#resolve(request);
    if (!(holding instanceof Holding)) return holding;
    if (holding.client.bulk?.sent === true) {
      return refused('RECALLCONFLICT', request, 'everything is asked back: return it by kind');
    }
    const file = this.#registry.fileOf(ino);
    const most = this.#options.segmentsPerClientMax * limits.splitFactor;
    if (holding.client.segments >= most && file.wouldSplit(holding, iomodesOf(mode), range)) {
      return refused('LAYOUTTRYLATER', request, `would leave more than ${most} segments: return whole ones`);
    }
    const released = file.release(holding, mode, range);
    if (released.length > 0) this.#registry.progressed(now, holding, [range]);
    const stateid = file.holding(client) === holding ? holding.advance() : undefined;
    return { kind: 'returned', stateid, released, actions: this.#registry.decide(now, file, client) };
  }

  /** Also legal while the range is being recalled: that is what `changed` false asks for (RFC 8881 §18.42, §20.3). */
  checkCommit(
    request: StateReference,
    ranges: readonly { readonly offset: number; readonly length: number }[],
  ): Refused | undefined {
    const { client, ino } = request;
    const holding = this.#resolve(request);
    if (!(holding instanceof Holding)) return asCommitError(holding);
    const file = this.#registry.fileOf(ino);
    for (const { offset, length } of ranges) {
      const about = { client, ino, offset, length };
      const range = rangeOf(offset, length);
      if (range === undefined) return refused('INVAL', about, 'not a range');
      if (file.covers(holding, iomode.rw, range)) continue;
      if (file.covers(holding, iomode.read, range)) return refused('BADIOMODE', about, 'held for reading only');
      return refused('BADLAYOUT', about, 'not all of it is held');
    }
    return undefined;
  }

  committed(
    now: number,
    client: number,
    ino: number,
    ranges: readonly { readonly offset: number; readonly length: number }[],
  ): void {
    const holding = this.#registry.known(client, ino);
    if (holding === undefined) return;
    const spans = ranges.map(({ offset, length }) => ({ start: offset, end: offset + length }));
    this.#registry.progressed(now, holding, spans);
  }

  break(
    now: number,
    request: {
      readonly ino: number;
      readonly offset: number;
      readonly length: number;
      readonly reason: BreakReason;
      readonly client: number | undefined;
    },
  ): { readonly breakId: number; readonly actions: readonly Action[] } | undefined {
    const { ino, offset, length, reason, client } = request;
    const file = this.#registry.file(ino);
    if (file === undefined || length === 0) return undefined;
    const range = rangeOf(offset, length);
    assert(range !== undefined, `break of inode ${ino} at bytes ${offset}+${length}`);
    const purpose: Purpose = { kind: reason, client };
    if (!file.obstructed(purpose, range)) return undefined;
    const { id } = this.#registry.begin(file, purpose, range);
    return { breakId: id, actions: this.#registry.decide(now, file) };
  }

  endBreak(now: number, breakId: number): readonly Action[] {
    const ended = this.#registry.openBreak(breakId);
    if (ended === undefined) return [];
    assert(ended.open.claim === undefined, `break ${breakId} was given up before`);
    this.#registry.end(ended.open, ended.file);
    return this.#registry.decide(now, ended.file);
  }

  giveUp(
    now: number,
    breakId: number,
    signal: boolean,
  ): { readonly kept: boolean; readonly actions: readonly Action[] } {
    const given = this.#registry.openBreak(breakId);
    if (given === undefined) return { kept: false, actions: [] };
    const { open, file } = given;
    const { purpose } = open;
    assert(purpose.kind === 'get' && open.claim === undefined, `break ${breakId} is none of a get that waits`);
    const client = this.#registry.clientOf(purpose.client);
    for (const former of client.claims) {
      if (former.ino === file.ino && overlap(former.open, open)) this.#registry.endClaim(former);
    }
    if (
      client.fence !== undefined ||
      client.claims.size >= limits.claimsPerClientMax ||
      file.claims >= limits.claimsPerFileMax
    ) {
      this.#registry.end(open, file);
      return { kept: false, actions: this.#registry.decide(now, file, client.id) };
    }
    client.claims.add(this.#registry.claims.begin(now, open, client.id, file.ino, signal));
    return { kept: true, actions: this.#registry.decide(now, file, client.id) };
  }

  returnAll(now: number, client: number, kind: BulkKind): BulkReturnResult {
    return this.#recovery.returnAll(now, client, kind);
  }

  recallAll(
    now: number,
    client: number,
    kind: BulkKind,
    changed: boolean,
  ): { readonly recallId: number; readonly actions: readonly Action[] } | undefined {
    return this.#recovery.recallAll(now, client, kind, changed);
  }

  recallReply(now: number, recallId: number, reply: RecallReply): readonly Action[] {
    return this.#recovery.recallReply(now, recallId, reply);
  }

  clientLost(now: number, client: number): readonly Action[] {
    return this.#recovery.clientLost(now, client);
  }

  fenced(now: number, fenceId: number): readonly Action[] {
    return this.#recovery.fenced(now, fenceId);
  }

  tick(now: number): readonly Action[] {
    return this.#recovery.tick(now);
  }

  nextDeadline(): number | undefined {
    return this.#recovery.nextDeadline();
  }

  forgetClient(client: number): void {
    this.#registry.forgetClient(client);
  }

  freeState(client: number, other: string): void {
    this.#registry.client(client)?.fence?.others.delete(other);
  }

  concerns(ino: number): boolean {
    return this.#registry.file(ino) !== undefined;
  }

  holdsAny(client: number): boolean {
    return (this.#registry.client(client)?.segments ?? 0) > 0;
  }

  isRecalled(client: number): boolean {
    const known = this.#registry.client(client);
    return known !== undefined && (known.recalls > 0 || known.bulk !== undefined);
  }

  waitsFor(breakId: number, client: number): boolean {
    return this.#registry.openBreak(breakId)?.open.blockers.has(client) === true;
  }

  holds(client: number, ino: number): boolean {
    return (this.#registry.file(ino)?.holding(client)?.count ?? 0) > 0;
  }

  hasState(client: number, ino: number): boolean {
    return this.#registry.known(client, ino) !== undefined;
  }

  held(most = Infinity): readonly HeldLayout[] {
    return this.#registry.held(most);
  }

  heldBy(client: number): readonly HeldLayout[] {
    return this.#registry.heldBy(client);
  }

  heldOn(client: number, ino: number): HeldLayout | undefined {
    return this.#registry.heldOn(client, ino);
  }

  reservedOn(client: number, ino: number): readonly Segment[] {
    return this.#registry.reservedOn(client, ino);
  }

  holders(): readonly number[] {
    return this.#registry.holders();
  }

  /** Stateid rules of LAYOUTGET (RFC 8881 §12.5.3, §12.5.5.2, errata 3208), and the bounds. */
  #refuseGet(request: GetRequest, range: Range, forgotten: Holding | undefined): Refused | undefined {
    const client = this.#registry.client(request.client);
    if (client?.fence !== undefined) return refused('ADMIN_REVOKED', request, 'the client was revoked');
    const known = this.#registry.known(request.client, request.ino);
    if (request.stateid !== undefined) {
      const status = known === undefined ? 'BAD_STATEID' : checkStateid(known.stateid, request.stateid);
      if (status !== undefined) return refused(status, request, `seqid ${request.stateid.seqid}`);
    }
    if (client?.bulk !== undefined) return refused('RECALLCONFLICT', request, 'everything is asked back');
    if (forgotten !== undefined && forgotten.recalls.size > 0) {
      return refused('RECALLCONFLICT', request, 'layouts that the client no longer knows of are being recalled');
    }
    if (forgotten !== undefined && forgotten.grants.size > 0) {
      return refused('LAYOUTTRYLATER', request, 'another get of the client is under way');
    }
    if (known?.recalls.find(range) !== undefined) {
      return refused('RECALLCONFLICT', request, 'the client was asked to return layouts here');
    }
    const freed = forgotten?.count ?? 0;
    const kept = (client?.segments ?? 0) - freed;
    if (kept >= this.#options.segmentsPerClientMax) {
      return refused('LAYOUTTRYLATER', request, `the client holds ${kept} segments`);
    }
    const all = this.#registry.pressure.totals.segments - freed;
    if (all < this.#options.segmentsMax) return undefined;
    return refused('LAYOUTTRYLATER', request, `${all} segments are held by all clients`);
  }

  /** The state that `stateid` means, for returns and commits. */
  #resolve(reference: StateReference): Holding | Refused {
    const { client, ino, stateid } = reference;
    if (this.#registry.client(client)?.fence?.others.get(stateid.other) === ino) {
      return refused('ADMIN_REVOKED', reference, 'the client was revoked');
    }
    const known = this.#registry.known(client, ino);
    const status = known === undefined || known.revoked ? 'BAD_STATEID' : checkStateid(known.stateid, stateid);
    if (known === undefined || status !== undefined) {
      return refused(status ?? 'BAD_STATEID', reference, `seqid ${stateid.seqid}`);
    }
    return known;
  }

  #takeGrant(id: number): { readonly file: FileLeases; readonly grant: Grant } {
    const taken = this.#grants.get(id);
    assert(taken !== undefined, `grant ${id} was confirmed or cancelled before`);
    this.#grants.delete(id);
    return taken;
  }
}

/** LAYOUTCOMMIT knows no bad or old stateid: then there is no layout to commit to (RFC 8881 §15.2). */
function asCommitError(refusal: Refused): Refused {
  const { status } = refusal;
  return status === 'BAD_STATEID' || status === 'OLD_STATEID' ? { ...refusal, status: 'BADLAYOUT' } : refusal;
}

/** RFC 8881 §18.43.3: what is needed is not more than what is wished for, and does not end beyond the last offset. */
function validMinlength({ offset, length, minlength }: GetRequest): boolean {
  return minlength === 0 || (rangeOf(offset, minlength) !== undefined && minlength <= length);
}

function isBreakOf(open: Break, purpose: Purpose, range: Range): boolean {
  return (
    open.purpose.kind === 'get' &&
    purpose.kind === 'get' &&
    open.purpose.client === purpose.client &&
    open.purpose.iomode === purpose.iomode &&
    contains(open, range)
  );
}
