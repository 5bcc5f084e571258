/**
 * LAYOUTGET (RFC 8881 §18.43): from the request to a mapping that is durable and held.
 *
 * 1. Reserve in the layout table, so that from now on everybody else's request meets it. What is in the way of what the
 *    client needs is recalled and waited for, for a bounded time; nothing is held meanwhile but the place in the queue
 *    (I4). What it only wishes for, or would get on top of that, ends where somebody else's begins.
 * 2. Let the filesystem map the range, durably (I5).
 * 3. Confirm. If a recall began between 1 and 3 the grant is gone, and the client asks again (RECALLCONFLICT).
 */
import { extentState, GrantBusy, type LayoutExtent } from '../fs/engine/leases.ts';
import { type ErrnoName, FsError } from '../fs/errors.ts';
import { after, recover } from '../fs/reply.ts';
import type { Attr, Reply } from '../fs/vfs.ts';
import {
  type Action,
  type GetRequest,
  type Iomode,
  iomode,
  type Refused,
  type Segment,
  type StateId,
} from '../layout/types.ts';
import type { SessionCall } from './context.ts';
import { serverLimits } from './limits.ts';
import { StatusError, TryLater } from './protocol/status.ts';
import { type Asked, checkAsked, notHere, type Span, type Wanted, wantedOf } from './spans.ts';
import { within } from './within.ts';

export interface LayoutRequest extends Asked {
  readonly ino: number;
  /** Of an open or of the layout. */
  readonly stateid: StateId;
  readonly extentsMax: number;
  /** The client wants to be told when there is a layout, where there is none at the moment. */
  readonly signal: boolean;
}

export interface Granted {
  readonly stateid: StateId;
  readonly segment: Segment;
  readonly extents: readonly LayoutExtent[];
}

/** Reserved in the layout table, and mapped. */
interface Mapped {
  readonly grant: number;
  readonly span: Span;
  readonly extents: readonly LayoutExtent[];
}

const S_IFMT = 0o170000;
const S_IFREG = 0o100000;

/** At once where nothing has to be waited for. @throws StatusError, FsError */
export function grantLayout(request: LayoutRequest, call: SessionCall): Reply<Granted> {
  const { context, client } = call;
  const mode = checkAsked(request);
  if (context.leases.grace.active)
    throw new StatusError('GRACE', 'layouts from before the restart may still be in use');
  if (context.leases.grace.covers(request.ino, 'write'))
    throw new TryLater(`a client from before the restart may still write to inode ${request.ino}`, false);
  return after(context.fs.vfs.getattr(request.ino, call.caller), (attr) => {
    checkGrantable(request, mode, attr, call);
    return after(context.clients.record(client), () =>
      after(onlyReady(wantedOf(request, mode, attr.size), request, call), (wanted) =>
        after(context.generosity.spanFor(wanted, { client: client.id, ino: request.ino }, attr.size), (widest) =>
          grantWidest(request, wanted, spansUpTo(widest, wanted), call),
        ),
      ),
    );
  });
}

/** @throws StatusError */
function checkGrantable(request: LayoutRequest, mode: Iomode, attr: Attr, call: SessionCall): void {
  if ((attr.mode & S_IFMT) !== S_IFREG) throw new StatusError('WRONG_TYPE', `inode ${request.ino} is no regular file`);
  checkState(request, mode, call);
  const peer = call.client.peer;
  if (peer?.verdict.allowed === false)
    throw new StatusError('LAYOUTUNAVAILABLE', `no layouts for ${peer.pci}: ${peer.verdict.reason}`);
  if (call.context.fences.mayGrant(call.client)) return;
  throw new StatusError('LAYOUTUNAVAILABLE', 'accesses of this client may take any time, and nothing could stop them');
}

/** The widest first: less than was wished for is legal, as long as it is what is needed. */
function spansUpTo(widest: Span, { start, wishEnd, needEnd }: Wanted): readonly Span[] {
  const isLess = (end: number): boolean => end > start && (end < widest.end || start > widest.start);
  return [widest, ...[wishEnd, needEnd].filter(isLess).map((end) => ({ start, end }))];
}

function grantWidest(
  request: LayoutRequest,
  wanted: Wanted,
  [span, ...less]: readonly Span[],
  call: SessionCall,
): Reply<Granted> {
  if (span === undefined) throw new StatusError('SERVERFAULT', 'a layout is of no span');
  return recover(
    () => grantSpan(request, wanted, span, call),
    (error) => {
      if (less.length === 0 || !isTooMuch(error)) throw error;
      return grantWidest(request, wanted, less, call);
    },
  );
}

/**
 * Where nothing is needed for writing, only blocks that hold data already are ready to be granted (RFC 5663 §2.3.1).
 * @throws StatusError LAYOUTTRYLATER
 */
function onlyReady(wanted: Wanted, { ino }: LayoutRequest, { context }: SessionCall): Reply<Wanted> {
  const { iomode: mode, start, needEnd, wishEnd } = wanted;
  if (mode === iomode.read || needEnd > start) return wanted;
  const range = { offset: start, length: wishEnd - start };
  return after(context.fs.layouts.reach(ino, range, serverLimits.moreExtentsMax), ({ written }) => {
    if (written === start) throw new TryLater(`byte ${start} of inode ${ino} is not written yet`, false);
    return { ...wanted, wishEnd: Math.min(wishEnd, written), isExact: true };
  });
}

/** EFBIG: a pinned file does not grow. */
const wantsLess: ReadonlySet<ErrnoName> = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

/** Is less than this perhaps possible? */
function isTooMuch(error: unknown): boolean {
  if (error instanceof StatusError) return error.status === 'TOOSMALL';
  return error instanceof FsError && wantsLess.has(error.code);
}

function grantSpan(request: LayoutRequest, wanted: Wanted, wide: Span, call: SessionCall): Reply<Granted> {
  return after(reserveAndMap(request, wanted, wide, call), (mapped) => {
    const end = endOfFitting(request, wanted, mapped.extents);
    return end >= mapped.span.end
      ? confirm(mapped, wanted, request.ino, call)
      : grantLess(request, wanted, mapped, end, call);
  });
}

/** As much as the client takes of what was mapped: anew, as nothing of it has been granted. */
async function grantLess(
  request: LayoutRequest,
  wanted: Wanted,
  { grant, span, extents }: Mapped,
  end: number,
  call: SessionCall,
): Promise<Granted> {
  await cancel(grant, request.ino, wanted.iomode, span, call);
  if (extents.length === 0) throw notHere(request, 'the file ends before this offset');
  if (end <= wanted.start || end < wanted.needEnd) {
    throw new StatusError('TOOSMALL', `${request.extentsMax} extents end at byte ${end}, before what is needed`);
  }
  return grantSpan(request, wanted, { start: span.start, end }, call);
}

/** Where that part of the extents ends that the client takes, and gets. */
function endOfFitting({ extentsMax }: LayoutRequest, wanted: Wanted, extents: readonly LayoutExtent[]): number {
  if (extents.length === 0) return -Infinity;
  const needsNothing = wanted.iomode === iomode.rw && wanted.needEnd === wanted.start;
  const unready = needsNothing ? extents.findIndex(({ state }) => state !== extentState.readWrite) : -1;
  const most = Math.min(extentsMax, unready === -1 ? Infinity : unready);
  if (most >= extents.length) return Infinity;
  return endOfFirst(extents, most, wanted.iomode) ?? -Infinity;
}

/** Where a reply of at most `most` extents ends. For writing, READ_DATA lies below the INVALID_DATA that follows it. */
function endOfFirst(extents: readonly LayoutExtent[], most: number, mode: Iomode): number | undefined {
  const cut = extents[most - 1];
  const last = cut?.state === extentState.read && mode === iomode.rw ? extents[most - 2] : cut;
  return last === undefined ? undefined : last.offset + last.length;
}

/** Caches that have to write back what the reservation keeps waiting get their turn before the next one. */
function reserveAndMap(
  request: LayoutRequest,
  wanted: Wanted,
  wide: Span,
  call: SessionCall,
  round = 1,
): Reply<Mapped> {
  const { ino } = request;
  return after(reserve(request, wanted, wide, call), ({ grant, span }) =>
    recover(
      () => after(map(ino, wanted, span, call), (extents) => ({ grant, span, extents })),
      async (error) => {
        await cancel(grant, ino, wanted.iomode, span, call);
        if (!(error instanceof GrantBusy)) throw unavailable(error, ino) ?? error;
        const isFree = await within(error.until, call.context.layoutWaitMs, call.context);
        if (isFree && round < serverLimits.layoutRoundsMax)
          return reserveAndMap(request, wanted, wide, call, round + 1);
        throw new TryLater(`inode ${ino} is in use on the server's mount`, false);
      },
    ),
  );
}

/** Files that may not change have no layouts for writing, whoever asks; blocks of a client being fenced come back. */
function unavailable(error: unknown, ino: number): StatusError | undefined {
  const codes: readonly ErrnoName[] = ['EPERM', 'EROFS'];
  if (!(error instanceof FsError)) return undefined;
  if (codes.includes(error.code)) return new StatusError('LAYOUTUNAVAILABLE', error.message, error.code, error);
  return error.code === 'EAGAIN' ? new TryLater(`inode ${ino}: ${error.message}`, false) : undefined;
}

/**
 * The stateid of the layout, or undefined when the request came with an open (and so starts afresh, errata 3208). The
 * file must be open in a way that allows as much as the layout does.
 * @throws StatusError BAD_STATEID, ADMIN_REVOKED, OPENMODE
 */
function checkState(request: LayoutRequest, mode: Iomode, { context, client }: SessionCall): StateId | undefined {
  const access = mode === iomode.rw ? 'write' : 'read';
  const open = context.opens.peek(request.stateid, client.id);
  if (open !== undefined && open.ino !== request.ino) {
    throw new StatusError('BAD_STATEID', `the open is of inode ${open.ino}, not ${request.ino}`);
  }
  if (client.revoked.has(request.stateid.other)) {
    throw new StatusError('ADMIN_REVOKED', `the layout of client ${client.id} on inode ${request.ino} was revoked`);
  }
  if (open === undefined && !context.leases.table.hasState(client.id, request.ino)) {
    throw new StatusError('BAD_STATEID', `client ${client.id} has no such open, and no layout on inode ${request.ino}`);
  }
  const allowed = open === undefined ? context.opens.hasOpen(access, request.ino, client.id) : open[access];
  if (!allowed) throw new StatusError('OPENMODE', `inode ${request.ino} is not open for this (${access})`);
  return open === undefined ? request.stateid : undefined;
}

interface Reserved {
  readonly grant: number;
  readonly span: Span;
}

/** Layouts of others, or who came first, are in the way; the break keeps the place in the queue. */
interface Queued {
  readonly breakId: number;
  readonly broken: Promise<void>;
  readonly span: Span;
}

function reserve(request: LayoutRequest, wanted: Wanted, wide: Span, call: SessionCall): Reply<Reserved> {
  const first = tryReserve(request, wanted, wide, undefined, call);
  return 'grant' in first ? first : reserveLater(request, wanted, first, call);
}

/** @param own the break that was waited for; it is the caller's to end */
function tryReserve(
  request: LayoutRequest,
  wanted: Wanted,
  wide: Span,
  own: number | undefined,
  call: SessionCall,
): Reserved | Queued {
  const { context, client } = call;
  const { leases } = context;
  const { ino } = request;
  leases.requireRunning();
  context.drain.requireNone();
  // Whatever was waited for may have ended the client, or its open.
  context.clients.requireLiving(client);
  const stateid = checkState(request, wanted.iomode, call);
  const span = trimmed(wide, wanted, { ino, own }, call);
  const range = { offset: span.start, length: span.end - span.start };
  const get: GetRequest = {
    client: client.id,
    ino,
    iomode: wanted.iomode,
    ...range,
    minlength: range.length,
    // Whoever knows where it lies may store there anyway (docs/files.md).
    isShared: context.fs.isPinned(ino),
    stateid,
  };
  const result = leases.table.get(leases.now, get, own);
  if (result.kind === 'refused') throw refusal(result);
  if (result.kind === 'reserved') {
    leases.perform(result.actions);
    return { grant: result.grant, span };
  }
  const broken = leases.awaitBreak(result.breakId, { ino, ...range, reason: 'layout' });
  leases.perform(result.actions);
  return { breakId: result.breakId, broken, span };
}

async function reserveLater(
  request: LayoutRequest,
  wanted: Wanted,
  first: Queued,
  call: SessionCall,
): Promise<Reserved> {
  const { leases } = call.context;
  const giveUpAt = leases.now + call.context.layoutWaitMs;
  let queued: Queued | undefined = first;
  try {
    for (let round = 1; round < serverLimits.layoutRoundsMax; round++) {
      if (call.session.isFull || !(await within(queued.broken, giveUpAt - leases.now, call.context))) break;
      const next: Reserved | Queued = tryReserve(request, wanted, queued.span, queued.breakId, call);
      if ('grant' in next) return next;
      leases.endBreak(queued.breakId);
      queued = next;
    }
    const { breakId } = queued;
    queued = undefined;
    throw new TryLater(
      `layouts of others on inode ${request.ino} are still out`,
      leases.giveUp(breakId, request.signal),
    );
  } finally {
    if (queued !== undefined) leases.endBreak(queued.breakId);
  }
}

/**
 * As much of the span as nobody else is in the way of, and all that is needed.
 * @throws StatusError LAYOUTTRYLATER: nothing is needed, and nothing to be had at the moment
 */
function trimmed(
  { start, end }: Span,
  wanted: Wanted,
  { ino, own }: { readonly ino: number; readonly own: number | undefined },
  { context, client }: SessionCall,
): Span {
  const clearTo = (from: number, to: number): number =>
    from >= to
      ? to
      : context.leases.table.clearTo({
          client: client.id,
          ino,
          iomode: wanted.iomode,
          offset: from,
          length: to - from,
          own,
          sparesOwn: false,
          isShared: context.fs.isPinned(ino),
        });
  const need = { start: wanted.start, end: wanted.needEnd };
  // Who has to wait keeps others from no more than what it needs.
  if (clearTo(need.start, need.end) < need.end) return need;
  const clearEnd = clearTo(need.end, end);
  if (clearEnd === wanted.start) throw new TryLater(`others have layouts on inode ${ino}, or wait for them`, false);
  return { start: clearTo(start, wanted.start) === wanted.start ? start : wanted.start, end: clearEnd };
}

/** Nobody knows when there is room again: to promise nothing is always right (RFC 8881 §18.43.3). */
function refusal({ status, detail }: Refused): StatusError {
  return status === 'LAYOUTTRYLATER' ? new TryLater(detail, false) : new StatusError(status, detail);
}

function map(ino: number, wanted: Wanted, span: Span, { context, client, session }: SessionCall) {
  const range = { offset: span.start, length: span.end - span.start };
  // For what is only wished for nobody has to give back what he had asked for himself.
  const isUrgent = span.end <= wanted.needEnd;
  return wanted.iomode === iomode.read
    ? context.fs.layouts.mapForRead(ino, range, client.id)
    : context.fs.layouts.mapForWrite(ino, range, client.id, { isUrgent, places: session });
}

function confirm({ grant, span, extents }: Mapped, wanted: Wanted, ino: number, call: SessionCall): Reply<Granted> {
  const { leases, counters, generosity } = call.context;
  const result = leases.table.confirm(leases.now, grant);
  if (result.kind === 'recalled') return dropped(result.actions, ino, span, call);
  counters.layoutsGranted++;
  generosity.granted(wanted, { client: call.client.id, ino }, { span, extents });
  leases.perform(result.actions);
  return { stateid: result.stateid, segment: result.segment, extents };
}

async function dropped(actions: readonly Action[], ino: number, span: Span, call: SessionCall): Promise<never> {
  await tidy(actions, ino, span, call);
  throw new StatusError('RECALLCONFLICT', `layouts on inode ${ino} were asked back meanwhile`);
}

async function cancel(grant: number, ino: number, mode: Iomode, span: Span, call: SessionCall): Promise<void> {
  const { leases } = call.context;
  const actions = leases.table.cancel(leases.now, grant);
  await tidy(actions, ino, mode === iomode.rw ? span : undefined, call);
}

/** A fence of the client takes as long as it takes, and keeps no slot meanwhile (I4). */
async function tidy(
  actions: readonly Action[],
  ino: number,
  provided: Span | undefined,
  call: SessionCall,
): Promise<void> {
  const { leases } = call.context;
  const finish = async (): Promise<void> => {
    if (provided !== undefined) await releaseUnheld(ino, provided, call);
    leases.settle(call.client.id, ino);
    leases.perform(actions);
  };
  const isFencing = leases.isFencing(call.client.id);
  const finished = finish();
  if (!isFencing) return finished;
  // It rejects only where the server closes or the filesystem shut down, which everybody hears of.
  finished.catch(() => {});
}

/**
 * Blocks provided for a grant that did not come about go back, but for those below what the client does hold; and first, for
 * whoever waits for the range is woken only then, as after a return. If the client is being fenced that has to be over
 * before: until then nobody can tell the two apart.
 */
async function releaseUnheld(ino: number, span: Span, { context, client }: SessionCall): Promise<void> {
  await context.leases.fenceOf(client.id);
  const held = context.leases.table.heldOn(client.id, ino)?.segments.filter((segment) => segment.iomode === iomode.rw);
  let { start } = span;
  for (const { offset, length } of [...(held ?? []), { offset: span.end, length: 0 }]) {
    const end = Math.min(offset, span.end);
    if (start < end) {
      const free: Segment = { iomode: iomode.rw, offset: start, length: end - start };
      context.leases.releaseProvisional(client.id, ino, [free]);
    }
    start = Math.max(start, offset + length);
  }
}
