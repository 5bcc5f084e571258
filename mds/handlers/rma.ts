/** One-sided access to the device by keys: docs/rma.md. */
import { extentState, type LayoutExtent } from '../../fs/engine/leases.ts';
import { iomode, type Segment } from '../../layout/types.ts';
import { isOfWholeBlocks } from '../blocks.ts';
import { inSession, type Service, type SessionCall } from '../context.ts';
import type { ReplyOf } from '../protocol/operation.ts';
import { operations } from '../protocol/ops.ts';
import { StatusError } from '../protocol/status.ts';
import type { Key, Piece, RmaKeys } from '../rma/keys.ts';

export const rmaServices: readonly Service[] = [
  inSession(operations.RMA_ATTACH, async ([provider, address], call) => {
    const keys = requireKeys(call);
    const { device } = call.context.fs;
    if (device.accessWidth !== 1)
      throw new StatusError('NOTSUPP', `the device takes whole words of ${device.accessWidth} bytes only`);
    const own = await keys.attach(call.client.id, provider, call.connection.host, address);
    try {
      call.context.clients.requireLiving(call.client);
    } catch (error) {
      await keys.release(call.client.id);
      throw error;
    }
    return [own];
  }),

  inSession(operations.RMA_REGISTER, async ([ino, wire], call) => {
    const keys = requireKeys(call);
    const find = async (): Promise<readonly Piece[]> => {
      const pieces: Piece[] = [];
      for (const [offset, length, storageOffset, writable] of wire) {
        const wanted = { ino, offset, length, storageOffset, writable };
        pieces.push({ ...wanted, iomode: await requireMapped(wanted, call) });
      }
      return pieces;
    };
    // A recall or a fence may have come since.
    const isHeld = (piece: Piece): boolean => heldFor(piece, call) !== undefined;
    const opened = await keys.register(call.client.id, find, isHeld);
    return [opened.map(keyToWire)];
  }),

  inSession(operations.RMA_RELEASE, async (_, call) => {
    await requireKeys(call).release(call.client.id);
    return [];
  }),
];

/** @throws StatusError NOTSUPP */
function requireKeys({ context }: SessionCall): RmaKeys {
  if (context.rma !== undefined) return context.rma;
  throw new StatusError('NOTSUPP', 'the server has no one-sided access: it was not started with --rma');
}

function keyToWire({
  offset,
  length,
  storageOffset,
  writable,
  key,
  base,
}: Key): ReplyOf<typeof operations.RMA_REGISTER>[0][number] {
  return [offset, length, storageOffset, writable, key, base];
}

type Wanted = Omit<Piece, 'iomode'>;

/** That the client holds the piece, and that it lies where the client says; answers under which iomode. @throws StatusError INVAL, BADLAYOUT */
async function requireMapped(wanted: Wanted, call: SessionCall): Promise<Piece['iomode']> {
  const { ino, offset, length } = wanted;
  const range = { offset, length };
  if (length === 0 || !isOfWholeBlocks(range)) throw new StatusError('INVAL', 'layouts are of whole blocks');
  const mode = heldFor(wanted, call);
  if (mode === undefined) throw new StatusError('BADLAYOUT', `inode ${ino}: bytes ${offset}+${length} are not held`);
  const { layouts } = call.context.fs;
  const extents = await (mode === iomode.rw
    ? layouts.mapForWrite(ino, range, call.client.id)
    : layouts.mapForRead(ino, range, call.client.id));
  if (!isMapped(wanted, extents))
    throw new StatusError('BADLAYOUT', `inode ${ino}: bytes ${offset}+${length} lie elsewhere on the device`);
  return mode;
}

/** The strongest iomode that the client holds all of it under; undefined: it does not hold it for this. */
function heldFor(
  { ino, offset, length, writable }: Wanted,
  { context, client }: SessionCall,
): Piece['iomode'] | undefined {
  if (client.fenced) return undefined;
  const segments = context.leases.table.heldOn(client.id, ino)?.segments ?? [];
  const covers = (mode: number): boolean =>
    endOfCover(
      segments.filter((segment) => segment.iomode === mode),
      offset,
    ) >=
    offset + length;
  if (covers(iomode.rw)) return iomode.rw;
  return !writable && covers(iomode.read) ? iomode.read : undefined;
}

function endOfCover(segments: readonly Segment[], from: number): number {
  let end = from;
  for (const segment of [...segments].sort((a, b) => a.offset - b.offset)) {
    if (segment.offset <= end) end = Math.max(end, segment.offset + segment.length);
  }
  return end;
}

function isMapped({ offset, length, storageOffset, writable }: Wanted, extents: readonly LayoutExtent[]): boolean {
  const fits = ({ state }: LayoutExtent): boolean =>
    writable ? state === extentState.readWrite || state === extentState.invalid : state !== extentState.none;
  for (let at = offset; at < offset + length; ) {
    const found = extents.find(
      (extent) =>
        fits(extent) &&
        extent.offset <= at &&
        at < extent.offset + extent.length &&
        extent.storageOffset - extent.offset === storageOffset - offset,
    );
    if (found === undefined) return false;
    at = found.offset + found.length;
  }
  return true;
}
