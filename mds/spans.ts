/** What a LAYOUTGET asks for, in whole blocks: RFC 8881 §18.43.3, tables 22 and 23. */
import { limits } from '../fs/limits.ts';
import { type Iomode, iomode } from '../layout/types.ts';
import { blockDown, blockUp } from './blocks.ts';
import { serverLimits } from './limits.ts';
import { StatusError, TryLater } from './protocol/status.ts';

/** Of a request: bytes; `length` and `minlength` may be Infinity, to the end and beyond. */
export interface Asked {
  readonly iomode: number;
  readonly offset: number;
  readonly length: number;
  readonly minlength: number;
}

/** [start, end) in bytes, on block boundaries. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

export interface Wanted {
  readonly iomode: Iomode;
  /** The block of the offset: whatever is granted begins here or before. */
  readonly start: number;
  /** What is granted reaches here; `start` where nothing is needed (minlength 0), but then no less than one block. */
  readonly needEnd: number;
  readonly wishEnd: number;
  /** Wish and need are the same: the client is given that and nothing more. */
  readonly isExact: boolean;
}

/** What is refused whatever the file is like. @throws StatusError BADIOMODE, INVAL */
export function checkAsked({ iomode: mode, offset, length, minlength }: Asked): Iomode {
  if (mode !== iomode.read && mode !== iomode.rw) throw new StatusError('BADIOMODE', `iomode ${mode}`);
  const overflows = (size: number): boolean => size !== Infinity && offset + size > Number.MAX_SAFE_INTEGER;
  if (minlength > length || overflows(length) || overflows(minlength)) {
    throw new StatusError('INVAL', `bytes ${offset}+${length}, of which ${minlength} are needed`);
  }
  return mode;
}

/** @throws StatusError BADLAYOUT, or LAYOUTTRYLATER where nothing is needed */
export function wantedOf(asked: Asked, mode: Iomode, fileSize: number): Wanted {
  const isExact = asked.minlength > 0 && asked.minlength === asked.length;
  const wanted = mode === iomode.read ? wantedToRead(asked, fileSize) : wantedToWrite(asked, fileSize);
  return { ...wanted, isExact };
}

/** Nothing can be granted here: which of the two says so is up to what the client needs (RFC 8881 §18.43.3). */
export function notHere({ minlength }: Pick<Asked, 'minlength'>, detail: string): StatusError {
  return minlength === 0 ? new TryLater(detail, false) : new StatusError('BADLAYOUT', detail);
}

type Ends = Omit<Wanted, 'isExact'>;

/** Reading ends with the file: what follows is not there to be read, and need not be covered. */
function wantedToRead(asked: Asked, fileSize: number): Ends {
  const { offset, length, minlength } = asked;
  if (offset >= fileSize) throw notHere(asked, `byte ${offset} of a file of ${fileSize} bytes`);
  const start = blockDown(offset);
  return {
    iomode: iomode.read,
    start,
    needEnd: minlength === 0 ? start : blockUp(Math.min(offset + minlength, fileSize)),
    wishEnd: blockUp(Math.min(offset + Math.max(length, 1), fileSize)),
  };
}

/** Writing goes as far as was asked for, within a bound; "to the end" is the end that the file has now. */
function wantedToWrite(asked: Asked, fileSize: number): Ends {
  const { offset, length, minlength } = asked;
  const start = blockDown(offset);
  const needEnd = minlength === 0 ? start : blockUp(offset + minlength);
  const most = Math.min(start + serverLimits.layoutWriteMax, limits.fileSizeMax);
  if (needEnd > most || offset >= limits.fileSizeMax) {
    throw notHere(
      asked,
      `for writing no more than ${serverLimits.layoutWriteMax} bytes are granted, below the largest offset`,
    );
  }
  const wished =
    length === Infinity ? Math.max(fileSize, offset + Math.max(minlength, 1)) : offset + Math.max(length, 1);
  return { iomode: iomode.rw, start, needEnd, wishEnd: Math.max(Math.min(blockUp(wished), most), needEnd) };
}
