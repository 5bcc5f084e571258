import { assert } from '../errors.ts';
import { type SortedTree, sortedTree } from './sorted-tree.ts';

/** Consecutive positions of one value. */
export interface Piece<V> {
  readonly start: number;
  readonly length: number;
  readonly value: V;
}

/**
 * A value for every position of [0, size), stored by ranges. Every position has exactly one value by construction: the
 * tree holds only the positions where a new value begins, and neighbours with equal values are always one piece.
 */
export class RangeMap<V> {
  #size: number;
  readonly #equal: (a: V, b: V) => boolean;
  readonly #starts: SortedTree<number, V>;
  /** Takes the answers of look-ups, which would allocate an array each. */
  readonly #found: [number, V];

  private constructor(size: number, starts: SortedTree<number, V>, first: V, equal: (a: V, b: V) => boolean) {
    this.#size = size;
    this.#starts = starts;
    this.#equal = equal;
    this.#found = [0, first];
  }

  /** Every position of [0, size) has `value`. */
  static filled<V>(size: number, value: V, equal: (a: V, b: V) => boolean): RangeMap<V> {
    return RangeMap.from([{ start: 0, length: size, value }], equal);
  }

  /** Of pieces that begin at 0 and follow each other without a gap; in time linear to their number. */
  static from<V>(pieces: Iterable<Piece<V>>, equal: (a: V, b: V) => boolean): RangeMap<V> {
    const keys: number[] = [];
    const values: V[] = [];
    let end = 0;
    let last: { readonly value: V } | undefined;
    for (const piece of pieces) {
      assert(piece.start === end && piece.length > 0, `piece ${piece.start}+${piece.length} does not follow ${end}`);
      end += piece.length;
      if (last === undefined || !equal(last.value, piece.value)) {
        keys.push(piece.start);
        values.push(piece.value);
      }
      last = piece;
    }
    const first = values[0];
    assert(first !== undefined, 'a range map has at least one position');
    const starts = sortedTree(keys, values, (a, b) => a - b);
    return new RangeMap(end, starts, first, equal);
  }

  get size(): number {
    return this.#size;
  }

  /** Pieces stored: the map's cost in memory. */
  get pieceCount(): number {
    return this.#starts.size;
  }

  get(position: number): V {
    return this.#pairAt(position)[1];
  }

  /** The whole piece around a position. */
  pieceAt(position: number): Piece<V> {
    const [start, value] = this.#pairAt(position);
    return { start, length: (this.#starts.nextHigherKey(position) ?? this.size) - start, value };
  }

  /** The pieces of a range in ascending order, cut at its ends. A copy: the map may change while it is walked. */
  slice(start: number, length: number): readonly Piece<V>[] {
    this.#requireInside(start, length);
    const end = start + length;
    let [, value] = this.#pairAt(start);
    let from = start;
    const pieces: Piece<V>[] = [];
    for (let next = this.#starts.nextHigherPair(start, this.#found); ; ) {
      const to = next === undefined ? end : Math.min(next[0], end);
      pieces.push({ start: from, length: to - from, value });
      if (next === undefined || to === end) return pieces;
      [from, value] = next;
      next = this.#starts.nextHigherPair(from, this.#found);
    }
  }

  /** Gives the range one value, whatever it had. */
  set(start: number, length: number, value: V): void {
    this.#requireInside(start, length);
    const end = start + length;
    const [pieceStart, old] = this.#pairAt(start);
    const pieceEnd = this.#starts.nextHigherKey(start) ?? this.size;
    if (end <= pieceEnd) {
      this.#setWithin({ start: pieceStart, length: pieceEnd - pieceStart, value: old }, start, end, value);
      return;
    }
    const before = start === 0 ? undefined : { value: this.get(start - 1) };
    const after = end === this.size ? undefined : { value: this.get(end) };
    this.#starts.deleteRange(start, end, true);
    if (before === undefined || !this.#equal(before.value, value)) this.#starts.set(start, value);
    if (after !== undefined && !this.#equal(after.value, value)) this.#starts.set(end, after.value);
  }

  /** Gives a part of one piece another value, with as few changes of the tree as possible: most are of this kind. */
  #setWithin(piece: Piece<V>, start: number, end: number, value: V): void {
    if (this.#equal(piece.value, value)) return;
    if (end < piece.start + piece.length) this.#starts.set(end, piece.value);
    else if (end < this.size && this.#equal(this.get(end), value)) this.#starts.delete(end);
    const continues = start > 0 && start === piece.start && this.#equal(this.get(start - 1), value);
    if (continues) this.#starts.delete(start);
    else this.#starts.set(start, value);
  }

  /** Makes the map end at `size`, at least 1: what is new has `value`, what lies beyond is gone. */
  resize(size: number, value: V): void {
    const before = this.#size;
    assert(Number.isSafeInteger(size) && size > 0, `range map of ${size} positions`);
    if (size < before) this.#starts.deleteRange(size, before, false);
    this.#size = size;
    if (size > before && !this.#equal(this.get(before - 1), value)) this.#starts.set(before, value);
  }

  #pairAt(position: number): [number, V] {
    assert(position >= 0 && position < this.size, `position ${position} outside of ${this.size}`);
    const pair = this.#starts.getPairOrNextLower(position, this.#found);
    assert(pair !== undefined, 'a range map begins at 0');
    return pair;
  }

  #requireInside(start: number, length: number): void {
    const inside = Number.isSafeInteger(start) && Number.isSafeInteger(length) && start >= 0 && length > 0;
    assert(inside && start + length <= this.size, `range ${start}+${length} outside of ${this.size}`);
  }
}
