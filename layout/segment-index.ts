import { assert } from './assert.ts';
import { type Interval, Intervals } from './intervals.ts';
import { limits } from './limits.ts';
import type { Range } from './ranges.ts';
import { type Iomode, iomode } from './types.ts';

/** Bytes that one client holds, or that are reserved for it until its mapping is durable. */
export interface Held extends Interval {
  readonly owner: SegmentOwner;
  readonly iomode: Iomode;
  readonly reserved: boolean;
  /** In the list that it is in. */
  next: Held | undefined;
}

/** A client on one file. */
export interface SegmentOwner {
  readonly client: { readonly id: number; counted(by: number): void };
  /** Its segments, held and reserved; kept apart from those of the file only where the file has many. */
  own: SegmentIndex;
  /** How many these are. */
  count: number;
}

/**
 * Segments in order of their starts: a list where they are few, as in most files (one segment of one client), so that such
 * a file costs hardly more than its segment; trees where a list would be walked for long.
 */
export type SegmentIndex = Held | SegmentTrees | undefined;

export class SegmentTrees {
  readonly #trees = { [iomode.read]: new Intervals<Held>(), [iomode.rw]: new Intervals<Held>() };

  get size(): number {
    return this.#trees[iomode.read].size + this.#trees[iomode.rw].size;
  }

  of(mode: Iomode): Intervals<Held> {
    return this.#trees[mode];
  }
}

export type Accept = (held: Held) => boolean;

/** Segments of `mode` that overlap `range` and that `accept` takes, ascending. */
export function overlapping(index: SegmentIndex, mode: Iomode, range: Range, accept: Accept): Held[] {
  if (index instanceof SegmentTrees) return index.of(mode).overlapping(range).filter(accept);
  const found: Held[] = [];
  for (let held = index; held !== undefined && held.start < range.end; held = held.next) {
    if (held.iomode === mode && held.end > range.start && accept(held)) found.push(held);
  }
  return found;
}

/** The first of them. */
export function find(index: SegmentIndex, mode: Iomode, range: Range, accept: Accept): Held | undefined {
  if (index instanceof SegmentTrees) return index.of(mode).find(range, accept);
  for (let held = index; held !== undefined && held.start < range.end; held = held.next) {
    if (held.iomode === mode && held.end > range.start && accept(held)) return held;
  }
  return undefined;
}

/** The one of them that starts last. */
export function findLast(index: SegmentIndex, mode: Iomode, range: Range, accept: Accept): Held | undefined {
  if (index instanceof SegmentTrees) return index.of(mode).findLast(range, accept);
  let last: Held | undefined;
  for (let held = index; held !== undefined && held.start < range.end; held = held.next) {
    if (held.iomode === mode && held.end > range.start && accept(held)) last = held;
  }
  return last;
}

/** The index with `added` in it. */
export function withAdded(index: SegmentIndex, added: Held): SegmentIndex {
  if (index instanceof SegmentTrees) {
    index.of(added.iomode).add(added);
    return index;
  }
  let before: Held | undefined;
  let listed = 0;
  for (let held = index; held !== undefined; held = held.next) {
    listed++;
    if (held.start <= added.start) before = held;
  }
  if (listed >= limits.listedSegmentsMax) return withAdded(toTrees(index), added);
  added.next = before === undefined ? index : before.next;
  if (before === undefined) return added;
  before.next = added;
  return index;
}

/** The index without `gone`, which is in it. */
export function withoutGone(index: SegmentIndex, gone: Held): SegmentIndex {
  if (index instanceof SegmentTrees) {
    index.of(gone.iomode).delete(gone);
    return index.size === 0 ? undefined : index;
  }
  const after = gone.next;
  gone.next = undefined;
  if (index === gone) return after;
  let before = index;
  while (before !== undefined && before.next !== gone) before = before.next;
  assert(before !== undefined, `segment ${gone.id} is not in the list`);
  before.next = after;
  return index;
}

/** All of a list, taken apart. */
export function unlinked(index: Held | undefined): Held[] {
  const all: Held[] = [];
  for (let held = index; held !== undefined; ) {
    const { next } = held;
    held.next = undefined;
    all.push(held);
    held = next;
  }
  return all;
}

function toTrees(index: Held | undefined): SegmentTrees {
  const trees = new SegmentTrees();
  for (const held of unlinked(index)) trees.of(held.iomode).add(held);
  return trees;
}
