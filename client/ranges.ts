import type { ByteRange } from '../fs/engine/leases.ts';

export type { ByteRange };

export const endOf = (range: ByteRange): number => range.offset + range.length;

export const everything: ByteRange = { offset: 0, length: Infinity };

export function overlap(a: ByteRange, b: ByteRange): ByteRange | undefined {
  const offset = Math.max(a.offset, b.offset);
  const end = Math.min(endOf(a), endOf(b));
  return end > offset ? { offset, length: end - offset } : undefined;
}

/** The pieces of `range` outside of all of `holes`, ascending. */
export function without(range: ByteRange, holes: readonly ByteRange[]): readonly ByteRange[] {
  let pieces: ByteRange[] = [range];
  for (const hole of holes) {
    pieces = pieces.flatMap((piece) => {
      const cut = overlap(piece, hole);
      if (cut === undefined) return [piece];
      const before = { offset: piece.offset, length: cut.offset - piece.offset };
      const after = { offset: endOf(cut), length: endOf(piece) - endOf(cut) };
      return [before, after].filter(({ offset, length }) => length > 0 && offset !== Infinity);
    });
  }
  return pieces;
}

/** Rounded outwards to multiples of `unit`. */
export function aligned({ offset, length }: ByteRange, unit: number): ByteRange {
  const start = offset - (offset % unit);
  const end = offset + length;
  return { offset: start, length: Math.ceil(end / unit) * unit - start };
}

/** A set of bytes as ascending ranges that neither touch nor overlap. */
export class RangeSet {
  #ranges: ByteRange[] = [];

  get size(): number {
    return this.#ranges.length;
  }

  /** One past the last byte; 0 when empty. */
  get end(): number {
    const last = this.#ranges.at(-1);
    return last === undefined ? 0 : endOf(last);
  }

  add(range: ByteRange): void {
    const last = this.#ranges.at(-1);
    // Writing in sequence grows the last range.
    if (last !== undefined && range.offset >= last.offset && range.offset <= endOf(last)) {
      const end = Math.max(endOf(last), endOf(range));
      this.#ranges[this.#ranges.length - 1] = { offset: last.offset, length: end - last.offset };
      return;
    }
    if (last === undefined || range.offset > endOf(last)) {
      this.#ranges.push(range);
      return;
    }
    const from = this.#firstEndingAtOrAfter(range.offset);
    let to = from;
    let start = range.offset;
    let end = endOf(range);
    for (let next = this.#ranges[to]; next !== undefined && next.offset <= end; next = this.#ranges[++to]) {
      start = Math.min(start, next.offset);
      end = Math.max(end, endOf(next));
    }
    this.#ranges.splice(from, to - from, { offset: start, length: end - start });
  }

  /** The part within `range`. */
  within(range: ByteRange): readonly ByteRange[] {
    return this.#ranges.flatMap((piece) => overlap(piece, range) ?? []);
  }

  /** Removes the part within `range` and answers it. */
  take(range: ByteRange): readonly ByteRange[] {
    const taken: ByteRange[] = [];
    const left: ByteRange[] = [];
    for (const piece of this.#ranges) {
      const cut = overlap(piece, range);
      if (cut === undefined) left.push(piece);
      else {
        taken.push(cut);
        left.push(...without(piece, [cut]));
      }
    }
    this.#ranges = left;
    return taken;
  }

  #firstEndingAtOrAfter(offset: number): number {
    let low = 0;
    let high = this.#ranges.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const piece = this.#ranges[middle];
      if (piece !== undefined && endOf(piece) < offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
