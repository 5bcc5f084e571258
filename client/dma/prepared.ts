import { type ByteRange, overlap } from '../ranges.ts';
import type { AsynchronousEngine, LaidOut } from './engine.ts';

interface Kept {
  readonly engine: AsynchronousEngine;
  readonly piece: LaidOut;
}

/** What asynchronous engines were told of the layouts of one file, so that they hear of the end of each part of it. */
export class Prepared {
  #kept: Kept[] = [];

  /** @throws FsError, ClientError of the engine */
  async add(engine: AsynchronousEngine, pieces: readonly LaidOut[]): Promise<void> {
    await engine.prepare(pieces);
    const isNamedAgain = ({ piece }: Kept): boolean => pieces.some((other) => isWithin(piece, other));
    this.#kept = this.#kept.filter((kept) => kept.engine !== engine || !isNamedAgain(kept));
    for (const piece of pieces) this.#kept.push({ engine, piece });
  }

  /** What of `range` is about to be given back, or void. */
  release(range: ByteRange, which: 'all' | 'writable' | 'readable' = 'all'): void {
    const left: Kept[] = [];
    for (const kept of this.#kept) {
      const { engine, piece } = kept;
      const gone = overlap(piece, range);
      if (gone === undefined || (which !== 'all' && (which === 'writable') !== piece.writable)) {
        left.push(kept);
        continue;
      }
      engine.release([cut(piece, gone)]);
      const before = { offset: piece.offset, length: gone.offset - piece.offset };
      const afterwards = gone.offset + gone.length;
      const behind = { offset: afterwards, length: piece.offset + piece.length - afterwards };
      for (const rest of [before, behind]) if (rest.length > 0) left.push({ engine, piece: cut(piece, rest) });
    }
    this.#kept = left;
  }
}

function cut(piece: LaidOut, { offset, length }: ByteRange): LaidOut {
  return { ...piece, offset, length, storageOffset: piece.storageOffset + offset - piece.offset };
}

function isWithin(inner: LaidOut, outer: LaidOut): boolean {
  const by = inner.offset - outer.offset;
  return by >= 0 && inner.storageOffset - outer.storageOffset === by && by + inner.length <= outer.length;
}
