/**
 * LAYOUTGET (RFC 8881 §18.43): from the request to a mapping that is durable and held.
 *
 * 1. Reserve in the layout table, so that from now on everybody else's request meets it. Whatever is in the way is recalled
 *    and waited for, for a bounded time; nothing is held meanwhile but the place in the queue (I4).
 * 2. Let the filesystem map the range, durably (I5).
 * 3. Confirm. If a recall began between 1 and 3 the grant is gone, and the client asks again (RECALLCONFLICT).
 */
import { extentState, GrantBusy, type LayoutExtent } from '../fs/engine/leases.ts';
import { FsError } from '../fs/errors.ts';
import { limits } from '../fs/limits.ts';
import { type GetRequest, type Iomode, iomode, type Refused, type Segment, type StateId } from '../layout/types.ts';
import { blockDown, blockUp } from './blocks.ts';
import type { SessionCall } from './context.ts';
import { serverLimits } from './limits.ts';
import { StatusError, TryLater } from './protocol/status.ts';
import { within } from './within.ts';

export interface LayoutRequest {
  readonly ino: number;
  /** Of an open or of the layout. */
  readonly stateid: StateId;
  readonly iomode: number;
  readonly offset: number;
  readonly length: number;
  readonly minlength: number;
  readonly extentsMax: number;
  /** The client wants to be told when there is a layout, where there is none at the moment. */
  readonly signal: boolean;
}

export interface Granted {
  readonly stateid: StateId;
  readonly segment: Segment;
  readonly extents: readonly LayoutExtent[];
}

/** [start, end) in bytes, on block boundaries. */
interface Span {
  readonly start: number;
  readonly end: number;
}

const S_IFMT = 0o170000;
const S_IFREG = 0o100000;

/** @throws StatusError, FsError */
export async function grantLayout(request: LayoutRequest, call: SessionCall): Promise<Granted> {
  const { context, client } = call;
  const mode = checkRequest(request);
  if (context.leases.grace.active)
    throw new StatusError('GRACE', 'layouts from before the restart may still be in use');
  const attr = await context.fs.vfs.getattr(request.ino, call.caller);
  if ((attr.mode & S_IFMT) !== S_IFREG) throw new StatusError('WRONG_TYPE', `inode ${request.ino} is no regular file`);
  if (!context.fences.mayGrant(client)) {
    throw new StatusError(
      'LAYOUTUNAVAILABLE',
      'accesses of this client may take any time, and nothing could stop them',
    );
  }
  await context.clients.record(client);

  const wished = mode === iomode.read ? spanToRead(request, attr.size) : spanToWrite(request, attr.size);
  const need = { start: wished.start, end: Math.min(wished.end, blockUp(request.offset + request.minlength)) };
  try {
    return await grantSpan(request, mode, wished, need, call);
  } catch (error) {
    // Less than was wished for is legal, as long as it is what is needed.
    const noRoom = error instanceof FsError && (error.code === 'ENOSPC' || error.code === 'EDQUOT');
    const short = noRoom && need.start < need.end && need.end < wished.end;
    if (!short) throw error;
    return grantSpan(request, mode, need, need, call);
  }
}

async function grantSpan(
  request: LayoutRequest,
  mode: Iomode,
  span: Span,
  need: Span,
  call: SessionCall,
): Promise<Granted> {
  const { grant, extents } = await reserveAndMap(request, mode, span, call);
  if (extents.length > 0 && extents.length <= request.extentsMax)
    return confirm(grant, extents, request.ino, span, call);
  await cancel(grant, request.ino, mode, span, call);
  if (extents.length === 0) throw new StatusError('BADLAYOUT', 'the file ends before this offset');
  const shorter = { start: span.start, end: endOfFirst(extents, request.extentsMax, mode) ?? span.start };
  if (shorter.end < need.end) {
    throw new StatusError(
      'TOOSMALL',
      `${request.extentsMax} extents end at byte ${shorter.end}, before what is needed`,
    );
  }
  return grantSpan(request, mode, shorter, shorter, call);
}

/** Where a reply of at most `most` extents ends. For writing, READ_DATA lies below the INVALID_DATA that follows it. */
function endOfFirst(extents: readonly LayoutExtent[], most: number, mode: Iomode): number | undefined {
  const cut = extents[most - 1];
  const last = cut?.state === extentState.read && mode === iomode.rw ? extents[most - 2] : cut;
  return last === undefined ? undefined : last.offset + last.length;
}

/** Caches that have to write back what the reservation keeps waiting get their turn before the next one. */
async function reserveAndMap(request: LayoutRequest, mode: Iomode, span: Span, call: SessionCall) {
  for (let round = 0; round < serverLimits.layoutRoundsMax; round++) {
    const grant = await reserve(request, mode, span, call);
    try {
      return { grant, extents: await map(request.ino, mode, span, call) };
    } catch (error) {
      await cancel(grant, request.ino, mode, span, call);
      if (!(error instanceof GrantBusy)) throw error;
      if (!(await within(error.until, call.context.layoutWaitMs, call.context))) break;
    }
  }
  throw new TryLater(`inode ${request.ino} is in use on the server's mount`, false);
}

/** @throws StatusError INVAL, BADIOMODE */
function checkRequest({ iomode: mode, offset, length, minlength }: LayoutRequest): Iomode {
  if (mode !== iomode.read && mode !== iomode.rw) throw new StatusError('BADIOMODE', `iomode ${mode}`);
  const end = offset + length;
  if (length === 0 || minlength > length || (length !== Infinity && end > limits.fileSizeMax)) {
    throw new StatusError('INVAL', `bytes ${offset}+${length}, of which ${minlength} are needed`);
  }
  return mode;
}

/** Reading ends with the file (RFC 8881 §18.43.3): what follows is not there to be read. */
function spanToRead({ offset, length }: LayoutRequest, size: number): Span {
  if (offset >= size) throw new StatusError('BADLAYOUT', `byte ${offset} of a file of ${size} bytes`);
  return { start: blockDown(offset), end: blockUp(Math.min(offset + length, size)) };
}

/** Writing goes as far as was asked for, within a bound; "to the end" is the end that the file has now. */
function spanToWrite({ offset, length, minlength }: LayoutRequest, size: number): Span {
  if (minlength > serverLimits.layoutWriteMax) {
    throw new StatusError('BADLAYOUT', `no more than ${serverLimits.layoutWriteMax} bytes are granted for writing`);
  }
  const start = blockDown(offset);
  const wished = length === Infinity ? Math.max(size, offset + minlength, offset + 1) : offset + length;
  const most = start + serverLimits.layoutWriteMax;
  return { start, end: blockUp(Math.max(Math.min(wished, most), offset + minlength)) };
}

/**
 * The stateid of the layout, or undefined when the request came with an open (and so starts afresh, errata 3208). The
 * file must be open in a way that allows as much as the layout does.
 * @throws StatusError BAD_STATEID, OPENMODE
 */
function checkState(request: LayoutRequest, mode: Iomode, { context, client }: SessionCall): StateId | undefined {
  const access = mode === iomode.rw ? 'write' : 'read';
  const open = context.opens.peek(request.stateid, client.id);
  if (open !== undefined && open.ino !== request.ino) {
    throw new StatusError('BAD_STATEID', `the open is of inode ${open.ino}, not ${request.ino}`);
  }
  if (open === undefined && !context.leases.table.holds(client.id, request.ino)) {
    throw new StatusError('BAD_STATEID', `client ${client.id} has no such open, and no layout on inode ${request.ino}`);
  }
  const allowed = open === undefined ? context.opens.hasOpen(access, request.ino, client.id) : open[access];
  if (!allowed) throw new StatusError('OPENMODE', `inode ${request.ino} is not open for this (${access})`);
  return open === undefined ? request.stateid : undefined;
}

async function reserve(request: LayoutRequest, mode: Iomode, span: Span, call: SessionCall): Promise<number> {
  const { context, client } = call;
  const { leases } = context;
  const { ino } = request;
  const range = { offset: span.start, length: span.end - span.start };
  const giveUpAt = leases.now + context.layoutWaitMs;
  let own: number | undefined;
  try {
    for (let round = 0; round < serverLimits.layoutRoundsMax; round++) {
      leases.requireRunning();
      context.drain.requireNone();
      // Whatever was waited for may have ended the client, or its open.
      context.clients.requireLiving(client);
      const stateid = checkState(request, mode, call);
      const get: GetRequest = { client: client.id, ino, iomode: mode, ...range, minlength: range.length, stateid };
      const result = leases.table.get(leases.now, get, own);
      if (result.kind === 'refused') throw refusal(result);
      if (result.kind === 'reserved') {
        leases.perform(result.actions);
        return result.grant;
      }
      const broken = leases.awaitBreak(result.breakId, { ino, ...range, reason: 'layout' });
      leases.perform(result.actions);
      if (own !== undefined) leases.endBreak(own);
      own = result.breakId;
      if (!(await within(broken, giveUpAt - leases.now, context))) break;
    }
    throw new TryLater(`layouts of others on inode ${ino} are still out`, false);
  } finally {
    if (own !== undefined) leases.endBreak(own);
  }
}

/** Nobody is told yet when there is a layout: to promise nothing is always right (RFC 8881 §18.43.3). */
function refusal({ status, detail }: Refused): StatusError {
  return status === 'LAYOUTTRYLATER' ? new TryLater(detail, false) : new StatusError(status, detail);
}

async function map(ino: number, mode: Iomode, span: Span, { context, client }: SessionCall) {
  const range = { offset: span.start, length: span.end - span.start };
  return mode === iomode.read
    ? context.fs.layouts.mapForRead(ino, range, client.id)
    : context.fs.layouts.mapForWrite(ino, range, client.id);
}

async function confirm(
  grant: number,
  extents: readonly LayoutExtent[],
  ino: number,
  span: Span,
  call: SessionCall,
): Promise<Granted> {
  const { leases, counters } = call.context;
  const result = leases.table.confirm(leases.now, grant);
  if (result.kind === 'recalled') {
    await releaseUnheld(ino, span, call);
    leases.settle(call.client.id, ino);
    leases.perform(result.actions);
    throw new StatusError('RECALLCONFLICT', `layouts on inode ${ino} were asked back meanwhile`);
  }
  counters.layoutsGranted++;
  leases.perform(result.actions);
  return { stateid: result.stateid, segment: result.segment, extents };
}

async function cancel(grant: number, ino: number, mode: Iomode, span: Span, call: SessionCall): Promise<void> {
  const { leases } = call.context;
  const actions = leases.table.cancel(leases.now, grant);
  if (mode === iomode.rw) await releaseUnheld(ino, span, call);
  leases.settle(call.client.id, ino);
  leases.perform(actions);
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
