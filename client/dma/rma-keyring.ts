import { type ByteRange, endOf, overlap } from '../ranges.ts';
import type { LaidOut } from './engine.ts';

/** A piece of the device with the key of the server for it. */
export interface RmaKey extends LaidOut {
  readonly key: bigint;
  /** The remote address of its first byte. */
  readonly base: bigint;
}

/** A part of a transfer that lies within one piece. */
export interface Part<T extends LaidOut> {
  readonly piece: T;
  /** Bytes from the place that was asked about to the end of the piece. */
  readonly length: number;
}

/** Pieces of files on the device, found by where they lie there: a few hundred at most, the last one found mostly again. */
export class Pieces<T extends LaidOut> {
  #pieces: T[] = [];
  #last: T | undefined;

  add(piece: T): void {
    this.#pieces.push(piece);
  }

  /** The piece that holds the byte of the device at `storageOffset`, and may be written if asked so. */
  find(storageOffset: number, writing: boolean): Part<T> | undefined {
    const holds = (piece: T): boolean =>
      storageOffset >= piece.storageOffset &&
      storageOffset < piece.storageOffset + piece.length &&
      (piece.writable || !writing);
    if (this.#last === undefined || !holds(this.#last)) this.#last = this.#pieces.find(holds);
    const piece = this.#last;
    return piece === undefined ? undefined : { piece, length: piece.storageOffset + piece.length - storageOffset };
  }

  /** All of it is here, for this or more. */
  covers({ storageOffset, length, writable }: LaidOut): boolean {
    for (let at = storageOffset; at < storageOffset + length; ) {
      const part = this.find(at, writable);
      if (part === undefined) return false;
      at += part.length;
    }
    return true;
  }

  /** Takes out those that touch the range of a file, and answers them. */
  take(ino: number, range: ByteRange): readonly T[] {
    const taken = this.#pieces.filter((piece) => piece.ino === ino && overlap(piece, range) !== undefined);
    if (taken.length === 0) return taken;
    this.#pieces = this.#pieces.filter((piece) => !taken.includes(piece));
    this.#last = undefined;
    return taken;
  }

  clear(): void {
    this.#pieces = [];
    this.#last = undefined;
  }
}

/** What is left of a piece without a range of its file. */
export function without(piece: LaidOut, range: ByteRange): readonly LaidOut[] {
  const [start, end] = [Math.max(piece.offset, range.offset), Math.min(endOf(piece), endOf(range))];
  return [partOf(piece, piece.offset, start), partOf(piece, end, endOf(piece))].filter(({ length }) => length > 0);
}

function partOf(piece: LaidOut, start: number, end: number): LaidOut {
  const { ino, writable } = piece;
  const storageOffset = piece.storageOffset + start - piece.offset;
  return { ino, offset: start, length: end - start, storageOffset, writable };
}
