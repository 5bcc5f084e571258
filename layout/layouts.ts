import { assert } from './assert.ts';
import { type Break, noTurn, type Purpose } from './breaks.ts';
import { FileLeases } from './file-leases.ts';
import { type Grant, Holding, type LeaseClient } from './holding.ts';
import { limits } from './limits.ts';
import { contains, type Range, rangeOf } from './ranges.ts';
import { type Recall, Recalls } from './recalls.ts';
import { refused } from './refused.ts';
import { iomodesOf, toSegment } from './segments.ts';
import { checkGetStateid, checkStateid } from './stateid.ts';
import {
  type Action,
  type BreakReason,
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
 * - L1 One writer or many readers for any byte: what one client holds or has reserved RW, no other client holds at all.
 * - L2 Gets that conflict are served in the order in which they first met an obstacle, and a get that had its turn is not
 *   robbed of its grant by a later one.
 * - L3 Every break is reported broken exactly once, or ended before.
 * - L4 No byte is asked back twice at the same time: later breaks wait for the recall that is out.
 * - L5 An event costs what it touches, not what there is: clients, files and segments are found by index. Whatever clients
 *   can drive up has a bound (`limits`, `segmentsPerClientMax`).
 */
export class Layouts implements LayoutTable {
  readonly #options: LayoutOptions;
  readonly #recalls: Recalls;
  readonly #files = new Map<number, FileLeases>();
  readonly #clients = new Map<number, LeaseClient>();
  readonly #grants = new Map<number, { readonly file: FileLeases; readonly grant: Grant }>();
  readonly #breaks = new Map<number, { readonly file: FileLeases; readonly open: Break }>();
  /** Under way: reported, and not yet known to hold. */
  readonly #fences = new Map<number, LeaseClient>();
  /** Grants, breaks and fences share their numbers, so that none is taken for another's. */
  #lastId = 0;

  constructor(options: LayoutOptions) {
    this.#options = options;
    this.#recalls = new Recalls(options.recallDeadlineMs);
  }

  get(now: number, request: GetRequest, own?: number): GetResult {
    const { client, ino, iomode: mode } = request;
    if (mode !== iomode.read && mode !== iomode.rw) return refused('BADIOMODE', request, `no grant has iomode ${mode}`);
    const range = rangeOf(request.offset, request.length);
    if (range === undefined) return refused('INVAL', request, 'not a range');
    if (!validMinlength(request)) return refused('INVAL', request, `minlength ${request.minlength}`);

    const purpose: Purpose = { kind: 'get', client, iomode: mode };
    const served = own === undefined ? undefined : this.#breaks.get(own)?.open;
    assert(served === undefined || isBreakOf(served, purpose, range), `break ${own} does not belong to this get`);
    const forgotten = request.stateid === undefined && served === undefined ? this.#known(client, ino) : undefined;
    const refusal = this.#refuseGet(request, range, forgotten);
    if (refusal !== undefined) return refusal;

    const file = this.#fileOf(ino);
    const turn = served?.turn ?? noTurn;
    const mustWait = file.getMustWait(client, mode, range, turn);
    if (mustWait && file.waiting >= limits.waitingGetsPerFileMax) {
      return refused('LAYOUTTRYLATER', request, `${file.waiting} others wait for this file`);
    }
    // Nothing fails from here on.
    const actions = forgotten === undefined ? [] : this.#letGo(file, forgotten, 3, { start: 0, end: Infinity });
    if (mustWait) {
      const open = this.#begin(file, purpose, range, served?.turn);
      return { kind: 'conflict', breakId: open.id, actions: [...actions, ...this.#decide(now, file, client)] };
    }
    const grant = file.reserve(++this.#lastId, this.#clientOf(client), mode, range, turn);
    this.#grants.set(grant.id, { file, grant });
    const segment = toSegment(mode, range);
    return { kind: 'reserved', grant: grant.id, segment, actions: [...actions, ...this.#decide(now, file, client)] };
  }

  confirm(now: number, id: number): ConfirmResult {
    const { file, grant } = this.#takeGrant(id);
    const { holding, reserved } = grant;
    if (holding.revoked) return { kind: 'recalled', actions: [] };
    const stateid = file.confirm(now, grant);
    const actions = this.#decide(now, file, holding.client.id);
    if (stateid === undefined) return { kind: 'recalled', actions };
    return { kind: 'granted', stateid, segment: toSegment(reserved.iomode, reserved), actions };
  }

  cancel(now: number, id: number): readonly Action[] {
    const { file, grant } = this.#takeGrant(id);
    if (grant.holding.revoked) return [];
    file.cancel(grant);
    return this.#decide(now, file, grant.holding.client.id);
  }

  /** Any part may be returned, held or not (RFC 8881 §18.44.3). Also an old seqid will do: returns overtake gets. */
  return(now: number, request: ReturnRequest): ReturnResult {
    const { client, ino, iomode: mode } = request;
    if (mode !== iomode.read && mode !== iomode.rw && mode !== iomode.any) {
      return refused('BADIOMODE', request, `iomode ${mode}`);
    }
    const range = rangeOf(request.offset, request.length);
    if (range === undefined) return refused('INVAL', request, 'not a range');
    const holding = this.#resolve(request);
    if (!(holding instanceof Holding)) return holding;
    const file = this.#fileOf(ino);
    const most = this.#options.segmentsPerClientMax * limits.splitFactor;
    if (holding.client.segments >= most && file.wouldSplit(client, iomodesOf(mode), range)) {
      return refused('LAYOUTTRYLATER', request, `would leave more than ${most} segments: return whole ones`);
    }
    const released = file.release(holding, iomodesOf(mode), range);
    const stateid = file.holding(client) === holding ? holding.advance() : undefined;
    return { kind: 'returned', stateid, released, actions: this.#decide(now, file, client) };
  }

  /** Also legal while the range is being recalled: that is what `changed` false asks for (RFC 8881 §18.42, §20.3). */
  checkCommit(
    request: StateReference,
    ranges: readonly { readonly offset: number; readonly length: number }[],
  ): Refused | undefined {
    const { client, ino } = request;
    const holding = this.#resolve(request);
    if (!(holding instanceof Holding)) return holding;
    const file = this.#fileOf(ino);
    for (const { offset, length } of ranges) {
      const about = { client, ino, offset, length };
      const range = rangeOf(offset, length);
      if (range === undefined) return refused('INVAL', about, 'not a range');
      if (file.covers(client, iomode.rw, range)) continue;
      if (file.covers(client, iomode.read, range)) return refused('BADIOMODE', about, 'held for reading only');
      return refused('BADLAYOUT', about, 'not all of it is held');
    }
    return undefined;
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
    const file = this.#files.get(ino);
    if (file === undefined || length === 0) return undefined;
    const range = rangeOf(offset, length);
    assert(range !== undefined, `break of inode ${ino} at bytes ${offset}+${length}`);
    const purpose: Purpose = { kind: reason, client };
    if (!file.obstructed(purpose, range)) return undefined;
    const { id } = this.#begin(file, purpose, range);
    return { breakId: id, actions: this.#decide(now, file) };
  }

  endBreak(now: number, breakId: number): readonly Action[] {
    const ended = this.#breaks.get(breakId);
    if (ended === undefined) return [];
    this.#breaks.delete(breakId);
    ended.file.endBreak(ended.open);
    return this.#decide(now, ended.file);
  }

  /** A reply to a recall that is over by now has nothing to say any more. */
  recallReply(now: number, recallId: number, reply: RecallReply): readonly Action[] {
    const recall = this.#recalls.find(recallId);
    if (recall === undefined) return [];
    switch (reply) {
      case 'ok':
        this.#recalls.accepted(recall);
        return [];
      case 'delay':
      case 'unreachable':
        this.#recalls.resendLater(now, recall);
        return [];
      case 'bad-stateid':
        if (recall.badStateids >= limits.badStateidsMax) return this.#revoke(recall.holding.client);
        recall.badStateids++;
        this.#recalls.resendLater(now, recall);
        return [];
      case 'nomatching':
        return this.#nothingHeld(now, recall);
    }
  }

  clientLost(_now: number, client: number): readonly Action[] {
    const lost = this.#clients.get(client);
    return lost === undefined || lost.fence !== undefined ? [] : this.#revoke(lost);
  }

  forgetClient(client: number): void {
    assert(!this.holdsAny(client), `client ${client} is to be forgotten, yet holds layouts`);
    this.#clients.delete(client);
  }

  /** A fence that is not under way, since it was reported before, changes nothing. */
  fenced(now: number, fenceId: number): readonly Action[] {
    const client = this.#fences.get(fenceId);
    if (client === undefined) return [];
    this.#fences.delete(fenceId);
    const actions: Action[] = [];
    for (const holding of client.holdings.values()) {
      const file = this.#fileOf(holding.ino);
      file.drop(holding);
      actions.push(...this.#decide(now, file));
    }
    return actions;
  }

  tick(now: number): readonly Action[] {
    const actions: Action[] = [];
    for (let due = this.#recalls.firstDue(); due !== undefined && due.dueAt <= now; due = this.#recalls.firstDue()) {
      if (due.deadline <= now) actions.push(...this.#revoke(due.holding.client));
      else actions.push(this.#recalls.resend(due));
    }
    return actions;
  }

  nextDeadline(): number | undefined {
    return this.#recalls.firstDue()?.dueAt;
  }

  concerns(ino: number): boolean {
    return this.#files.has(ino);
  }

  /** Also what is only reserved, and what is revoked but not fenced yet. */
  holdsAny(client: number): boolean {
    return (this.#clients.get(client)?.holdings.size ?? 0) > 0;
  }

  holds(client: number, ino: number): boolean {
    return this.#clients.get(client)?.holdings.has(ino) ?? false;
  }

  held(): readonly HeldLayout[] {
    const listed: HeldLayout[] = [];
    for (const client of this.#clients.values()) {
      for (const holding of client.holdings.values()) {
        const listing = this.#fileOf(holding.ino).listing(holding);
        if (listing !== undefined) listed.push(listing);
      }
    }
    return listed;
  }

  /** Stateid rules of LAYOUTGET (RFC 8881 §12.5.3, §12.5.5.2, errata 3208), and the client's bound. */
  #refuseGet(request: GetRequest, range: Range, forgotten: Holding | undefined): Refused | undefined {
    const client = this.#clients.get(request.client);
    if (client?.fence !== undefined) return refused('ADMIN_REVOKED', request, 'the client was revoked');
    if (request.stateid !== undefined) {
      const known = this.#known(request.client, request.ino);
      const status = known === undefined ? 'BAD_STATEID' : checkGetStateid(known.stateid, request.stateid);
      if (status !== undefined) return refused(status, request, `seqid ${request.stateid.seqid}`);
    }
    if (forgotten !== undefined && forgotten.recalls.size > 0) {
      return refused('RECALLCONFLICT', request, 'layouts that the client no longer knows of are being recalled');
    }
    if (forgotten !== undefined && forgotten.grants.size > 0) {
      return refused('LAYOUTTRYLATER', request, 'another get of the client is under way');
    }
    if (client?.holdings.get(request.ino)?.recalls.find(range) !== undefined) {
      return refused('RECALLCONFLICT', request, 'the client was asked to return layouts here');
    }
    const kept = (client?.segments ?? 0) - (forgotten?.counted ?? 0);
    if (kept < this.#options.segmentsPerClientMax) return undefined;
    return refused('LAYOUTTRYLATER', request, `the client holds ${kept} segments`);
  }

  /** The state that `stateid` means, for returns and commits. */
  #resolve(reference: StateReference): Holding | Refused {
    const { client, ino, stateid } = reference;
    if (this.#clients.get(client)?.fence?.others.get(ino) === stateid.other) {
      return refused('ADMIN_REVOKED', reference, 'the client was revoked');
    }
    const known = this.#known(client, ino);
    const status = known === undefined || known.revoked ? 'BAD_STATEID' : checkStateid(known.stateid, stateid);
    if (known === undefined || status !== undefined) {
      return refused(status ?? 'BAD_STATEID', reference, `seqid ${stateid.seqid}`);
    }
    return known;
  }

  /** The state that the client has been told of. */
  #known(client: number, ino: number): Holding | undefined {
    const holding = this.#clients.get(client)?.holdings.get(ino);
    return holding?.since === undefined ? undefined : holding;
  }

  #begin(file: FileLeases, purpose: Purpose, range: Range, turn?: number): Break {
    const open = file.begin(++this.#lastId, purpose, range, turn);
    this.#breaks.set(open.id, { file, open });
    return open;
  }

  #takeGrant(id: number): { readonly file: FileLeases; readonly grant: Grant } {
    const taken = this.#grants.get(id);
    assert(taken !== undefined, `grant ${id} was confirmed or cancelled before`);
    this.#grants.delete(id);
    return taken;
  }

  /** NOMATCHING_LAYOUT: as if all that was recalled had been returned. */
  #nothingHeld(now: number, recall: Recall): Action[] {
    const { holding } = recall;
    const file = this.#fileOf(holding.ino);
    const released = this.#letGo(file, holding, recall.iomode, { start: recall.start, end: recall.end });
    return [...released, ...this.#decide(now, file, holding.client.id)];
  }

  #letGo(file: FileLeases, holding: Holding, mode: 1 | 2 | 3, range: Range): Action[] {
    const segments = file.release(holding, iomodesOf(mode), range);
    return segments.length === 0 ? [] : [{ type: 'released', client: holding.client.id, ino: file.ino, segments }];
  }

  /** All layouts of the client on all files: a fence knows no files, and whoever failed one recall is not trusted again. */
  #revoke(client: LeaseClient): Action[] {
    const id = ++this.#lastId;
    const holdings = [...client.holdings.values()];
    const segments = holdings.flatMap((holding) => this.#fileOf(holding.ino).revoke(holding));
    assert(segments.length > 0, `client ${client.id} is fenced, yet holds nothing`);
    client.fence = { id, others: new Map(holdings.map((holding) => [holding.ino, holding.stateid.other])) };
    this.#fences.set(id, client);
    return [{ type: 'fence', fenceId: id, client: client.id, segments }];
  }

  #fileOf(ino: number): FileLeases {
    let file = this.#files.get(ino);
    if (file === undefined) {
      file = new FileLeases(ino, this.#recalls, this.#options.newOther);
      this.#files.set(ino, file);
    }
    return file;
  }

  #clientOf(id: number): LeaseClient {
    let client = this.#clients.get(id);
    if (client === undefined) {
      client = { id, holdings: new Map(), segments: 0, fence: undefined };
      this.#clients.set(id, client);
    }
    return client;
  }

  /** What follows from an event on `file`; and what nobody holds or waits for is not remembered. */
  #decide(now: number, file: FileLeases, client?: number): Action[] {
    const actions = file.decide(now);
    if (file.idle) this.#files.delete(file.ino);
    const actor = client === undefined ? undefined : this.#clients.get(client);
    if (actor !== undefined && actor.holdings.size === 0 && actor.fence === undefined) this.#clients.delete(actor.id);
    return actions;
  }
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
