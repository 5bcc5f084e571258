/** When keys have to go before a layout does (K2 of keys.ts): with what of the protocol, and which. undefined: there are none. */
import type { ByteRange } from '../../fs/engine/leases.ts';
import { iomode, type RecallReply, type StateId } from '../../layout/types.ts';
import type { RecallAction } from '../callbacks.ts';
import type { SessionCall } from '../context.ts';
import type { RmaKeys } from './keys.ts';

/** A LAYOUTGET with an open stateid says "I hold nothing here any more". */
export function keysForgotten(
  ino: number,
  stateid: StateId,
  { context, client }: SessionCall,
): Promise<void> | undefined {
  const { rma, opens } = context;
  if (rma?.has(client.id, ino) !== true || opens.peek(stateid, client.id) === undefined) return undefined;
  return rma.close(client.id, (piece) => piece.ino === ino);
}

/** A LAYOUTCOMMIT puts new blocks in the place of those that lay below for reading. */
export function keysReplaced(
  ino: number,
  ranges: readonly ByteRange[],
  { context, client }: SessionCall,
): Promise<void> | undefined {
  return context.rma?.close(
    client.id,
    (piece) =>
      piece.ino === ino &&
      piece.iomode === iomode.rw &&
      !piece.writable &&
      ranges.some((range) => overlaps(piece, range)),
  );
}

interface Return extends ByteRange {
  readonly ino: number;
  readonly iomode: number;
}

/** A LAYOUTRETURN of a file; also of what is not returned but lies under one key with what is. */
export function keysReturned(request: Return, { context, client }: SessionCall): Promise<void> | undefined {
  const { ino, iomode: mode } = request;
  return context.rma?.close(
    client.id,
    (piece) => piece.ino === ino && (mode === iomode.any || mode === piece.iomode) && overlaps(piece, request),
  );
}

/** "Nothing held" in reply to a recall: the layout goes with that reply. */
export function keysOfNothing(
  rma: RmaKeys | undefined,
  action: RecallAction,
  reply: RecallReply,
): Promise<void> | undefined {
  if (reply !== 'nomatching') return undefined;
  return rma?.close(action.client, (piece) => action.type === 'bulk-recall' || piece.ino === action.ino);
}

function overlaps(a: ByteRange, b: ByteRange): boolean {
  return a.offset < b.offset + b.length && b.offset < a.offset + a.length;
}
