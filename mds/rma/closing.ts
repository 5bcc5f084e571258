/** When keys have to go before a layout does (K2 of keys.ts): with what of the protocol, and which. */
import type { ByteRange } from '../../fs/engine/leases.ts';
import type { Reply } from '../../fs/vfs.ts';
import { iomode, type RecallReply, type StateId } from '../../layout/types.ts';
import type { RecallAction } from '../callbacks.ts';
import type { SessionCall } from '../context.ts';
import type { Piece, RmaKeys } from './keys.ts';

type Server = Pick<SessionCall, 'context' | 'client'>;

/** A LAYOUTGET with an open stateid says "I hold nothing here any more". */
export function withKeysForgotten<T>(ino: number, stateid: StateId, call: SessionCall, get: () => Reply<T>): Reply<T> {
  const { context, client } = call;
  if (context.rma === undefined || context.opens.peek(stateid, client.id) === undefined) return get();
  return context.rma.without(client.id, (piece) => piece.ino === ino, get);
}

/** A LAYOUTCOMMIT puts new blocks in the place of those that lay below for reading. */
export function withKeysReplaced<T>(
  ino: number,
  ranges: readonly ByteRange[],
  call: SessionCall,
  commit: () => Reply<T>,
): Reply<T> {
  const isReplaced = (piece: Piece): boolean =>
    piece.ino === ino &&
    piece.iomode === iomode.rw &&
    !piece.writable &&
    ranges.some((range) => overlaps(piece, range));
  return without(isReplaced, call, commit);
}

interface Return extends ByteRange {
  readonly ino: number;
  readonly iomode: number;
}

/** A LAYOUTRETURN of a file; also of what is not returned but lies under one key with what is. */
export function withKeysReturned<T>(request: Return, call: SessionCall, letGo: () => Reply<T>): Reply<T> {
  const { ino, iomode: mode } = request;
  const goes = (piece: Piece): boolean =>
    piece.ino === ino && (mode === iomode.any || mode === piece.iomode) && overlaps(piece, request);
  return without(goes, call, letGo);
}

/** A LAYOUTRETURN of everything. */
export function withAllKeysReturned<T>(call: SessionCall, letGo: () => Reply<T>): Reply<T> {
  return without(() => true, call, letGo);
}

/** "Nothing held" in reply to a recall: the layout goes with that reply, in the turn in which it comes. */
export async function keysOfNothing(rma: RmaKeys | undefined, action: RecallAction, reply: RecallReply): Promise<void> {
  if (rma === undefined || reply !== 'nomatching') return;
  const goes = (piece: Piece): boolean => action.type === 'bulk-recall' || piece.ino === action.ino;
  await new Promise<void>((resolve, reject) => {
    const known = async (): Promise<void> => {
      resolve();
      await new Promise(setImmediate);
    };
    Promise.resolve(rma.without(action.client, goes, known)).catch(reject);
  });
}

function without<T>(which: (piece: Piece) => boolean, { context, client }: Server, letGo: () => Reply<T>): Reply<T> {
  return context.rma === undefined ? letGo() : context.rma.without(client.id, which, letGo);
}

function overlaps(a: ByteRange, b: ByteRange): boolean {
  return a.offset < b.offset + b.length && b.offset < a.offset + a.length;
}
