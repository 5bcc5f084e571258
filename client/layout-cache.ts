import { extentState } from '../fs/engine/leases.ts';
import { assert } from '../fs/errors.ts';
import type { DmaEngine } from './dma/engine.ts';
import { type ByteRange, endOf, overlap } from './ranges.ts';

/** Where bytes lie: the engine that reaches them and the offset of the first one on its device. */
export interface Place {
  readonly engine: DmaEngine;
  readonly storageOffset: number;
}

/**
 * A piece of a file under a layout, in the states of RFC 5663 §2.3.
 * `data`: READ_WRITE_DATA, or READ_DATA where not writable. `blank`: INVALID_DATA, to be filled a block at a time;
 * until then it reads as zeros, or as `old` (READ_DATA below it: copy-on-write by the client). `hole`: NONE_DATA.
 */
export type Segment = ByteRange &
  (
    | { readonly kind: 'data'; readonly writable: boolean; readonly place: Place }
    | { readonly kind: 'blank'; readonly place: Place; readonly old: Place | undefined }
    | { readonly kind: 'hole' }
  );

/** Bytes of a file that were written under a layout, and where they lie. */
export interface Written extends ByteRange {
  readonly place: Place;
}

/** An extent of a LAYOUTGET reply whose device was found. */
export interface PlacedExtent extends ByteRange {
  readonly state: number;
  /** undefined for NONE_DATA. */
  readonly place: Place | undefined;
}

/**
 * The segments of one file that this client holds, by file offset, never overlapping. What is here may be accessed
 * while the lease lives; a recall takes it out before it is answered.
 */
export class LayoutCache {
  /** Ascending. */
  readonly #segments: Segment[] = [];
  /** Where the last look found something: reading in sequence stays there or goes one on. */
  #hint = 0;

  get size(): number {
    return this.#segments.length;
  }

  /** The segment that holds the byte at `offset`. */
  find(offset: number): Segment | undefined {
    const hinted = this.#segments[this.#hint];
    if (hinted !== undefined && offset >= hinted.offset) {
      if (offset < endOf(hinted)) return hinted;
      const next = this.#segments[this.#hint + 1];
      if (next !== undefined && offset >= next.offset && offset < endOf(next)) {
        this.#hint += 1;
        return next;
      }
    }
    const index = this.#indexEndingAfter(offset);
    const found = this.#segments[index];
    if (found === undefined || found.offset > offset) return undefined;
    this.#hint = index;
    return found;
  }

  /** Bytes from `offset` on, up to `length`, that may be read (or also written) without a gap. */
  covered(offset: number, length: number, writing: boolean): number {
    let at = offset;
    const end = offset + length;
    while (at < end) {
      const segment = this.find(at);
      if (segment === undefined || (writing && !isWritable(segment))) break;
      at = endOf(segment);
    }
    return Math.min(at, end) - offset;
  }

  /**
   * Fills gaps only. What is held already stays as it is known here: blocks that were filled and are not committed are
   * INVALID_DATA still for the server. But a layout for writing takes the place of one for reading.
   */
  insert(extents: readonly PlacedExtent[]): void {
    for (const segment of segmentsOf(extents)) {
      if (isWritable(segment)) this.remove(segment, 'readable');
      for (const gap of this.#gaps(segment)) this.#put(cut(segment, gap));
    }
  }

  /** Whole blocks of `blank` segments hold data now: they read and write in place. */
  markWritten(range: ByteRange): void {
    const blanks = this.#within(range).filter((segment) => segment.kind === 'blank');
    for (const blank of blanks) {
      if (blank.kind !== 'blank') continue;
      const part = overlap(blank, range);
      if (part === undefined) continue;
      this.remove(part);
      const { place } = cut({ ...blank, old: undefined }, part);
      this.#put({ ...part, kind: 'data', writable: true, place });
    }
  }

  /** Takes out what lies in `range`: everything, or only what may be written, or only what may not. */
  remove(range: ByteRange, which: 'all' | 'writable' | 'readable' = 'all'): void {
    const from = this.#indexEndingAfter(range.offset);
    const kept: Segment[] = [];
    let to = from;
    for (let next = this.#segments[to]; next !== undefined && next.offset < endOf(range); next = this.#segments[++to]) {
      if (which !== 'all' && (which === 'writable') !== isWritable(next)) {
        kept.push(next);
        continue;
      }
      if (next.offset < range.offset) {
        kept.push(cut(next, { offset: next.offset, length: range.offset - next.offset }));
      }
      if (endOf(next) > endOf(range)) {
        kept.push(cut(next, { offset: endOf(range), length: endOf(next) - endOf(range) }));
      }
    }
    this.#segments.splice(from, to - from, ...kept);
  }

  /** Where the bytes of `range` lie that may be written in place, or were filled already. */
  written(range: ByteRange): readonly Written[] {
    return this.#within(range).flatMap((segment) => {
      const part = overlap(segment, range);
      if (part === undefined || segment.kind !== 'data' || !segment.writable) return [];
      return [{ ...part, place: cut(segment, part).place }];
    });
  }

  /** The same again, into gaps only. */
  insertWritten(written: readonly Written[]): void {
    this.insert(written.map((piece) => ({ ...piece, state: extentState.readWrite })));
  }

  overlaps(range: ByteRange): boolean {
    return this.#within(range).length > 0;
  }

  #within(range: ByteRange): readonly Segment[] {
    const from = this.#indexEndingAfter(range.offset);
    let to = from;
    while ((this.#segments[to]?.offset ?? Infinity) < endOf(range)) to += 1;
    return this.#segments.slice(from, to);
  }

  #gaps(range: ByteRange): readonly ByteRange[] {
    const gaps: ByteRange[] = [];
    let at = range.offset;
    for (const segment of this.#within(range)) {
      if (segment.offset > at) gaps.push({ offset: at, length: segment.offset - at });
      at = endOf(segment);
    }
    if (at < endOf(range)) gaps.push({ offset: at, length: endOf(range) - at });
    return gaps;
  }

  /** Puts a segment into a gap, joined with its neighbours where they go on in the same way. */
  #put(segment: Segment): void {
    const index = this.#indexEndingAfter(segment.offset);
    const next = this.#segments[index];
    assert(next === undefined || next.offset >= endOf(segment), 'a segment was put over another one');
    const before = this.#segments[index - 1];
    const after = next !== undefined && continues(segment, next) ? next : undefined;
    const whole: Segment = after === undefined ? segment : { ...segment, length: segment.length + after.length };
    const removed = after === undefined ? 0 : 1;
    if (before !== undefined && continues(before, whole)) {
      this.#segments.splice(index - 1, 1 + removed, { ...before, length: before.length + whole.length });
    } else {
      this.#segments.splice(index, removed, whole);
    }
  }

  #indexEndingAfter(offset: number): number {
    let low = 0;
    let high = this.#segments.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const segment = this.#segments[middle];
      if (segment !== undefined && endOf(segment) <= offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

export function isWritable(segment: Segment): boolean {
  return segment.kind === 'blank' || (segment.kind === 'data' && segment.writable);
}

/**
 * READ_DATA below INVALID_DATA becomes the `old` of pieces that lie over one extent or over none. Each kind comes in
 * ascending order, so one look at each extent is enough.
 */
function segmentsOf(extents: readonly PlacedExtent[]): readonly Segment[] {
  const blanks = new Ascending(extents.filter(({ state }) => state === extentState.invalid));
  const sources = new Ascending(extents.filter(({ state }) => state === extentState.read));
  return extents.flatMap((extent): readonly Segment[] => {
    const { offset, length, state, place } = extent;
    if (state === extentState.none || place === undefined) return [{ kind: 'hole', offset, length }];
    if (state === extentState.readWrite) return [{ kind: 'data', writable: true, offset, length, place }];
    if (state === extentState.read) {
      // Its writable twin takes it along.
      if (blanks.over(extent).length > 0) return [];
      return [{ kind: 'data', writable: false, offset, length, place }];
    }
    return blankSegments(extent, place, sources.over(extent));
  });
}

/** Extents that do not overlap each other, asked for by ranges that do not either: all in ascending order. */
class Ascending {
  readonly #extents: readonly PlacedExtent[];
  #next = 0;

  constructor(extents: readonly PlacedExtent[]) {
    this.#extents = extents;
  }

  over(range: ByteRange): readonly PlacedExtent[] {
    const found: PlacedExtent[] = [];
    for (let at = this.#next; ; at++) {
      const extent = this.#extents[at];
      if (extent === undefined || extent.offset >= endOf(range)) return found;
      if (endOf(extent) > range.offset) found.push(extent);
      else this.#next = at + 1;
    }
  }
}

function blankSegments(blank: ByteRange, place: Place, sources: readonly PlacedExtent[]): readonly Segment[] {
  const pieces: Segment[] = [];
  let at = blank.offset;
  const upTo = (end: number, old: Place | undefined): void => {
    if (end <= at) return;
    pieces.push({ kind: 'blank', offset: at, length: end - at, place: moved(place, at - blank.offset), old });
    at = end;
  };
  for (const source of sources) {
    const part = overlap(source, blank);
    if (part === undefined || source.place === undefined) continue;
    upTo(part.offset, undefined);
    upTo(endOf(part), moved(source.place, part.offset - source.offset));
  }
  upTo(endOf(blank), undefined);
  return pieces;
}

function moved(place: Place, by: number): Place {
  return { engine: place.engine, storageOffset: place.storageOffset + by };
}

function cut<S extends Segment>(segment: S, to: ByteRange): S {
  const by = to.offset - segment.offset;
  if (segment.kind === 'hole') return { ...segment, offset: to.offset, length: to.length };
  const place = moved(segment.place, by);
  if (segment.kind === 'data') return { ...segment, offset: to.offset, length: to.length, place };
  const old = segment.old === undefined ? undefined : moved(segment.old, by);
  return { ...segment, offset: to.offset, length: to.length, place, old };
}

function continues(a: Segment, b: Segment): boolean {
  if (a.kind !== b.kind || endOf(a) !== b.offset) return false;
  if (a.kind === 'hole' || b.kind === 'hole') return true;
  if (!adjoins(a.place, b.place, a.length)) return false;
  if (a.kind === 'data') return b.kind === 'data' && a.writable === b.writable;
  if (b.kind !== 'blank') return false;
  if (a.old === undefined || b.old === undefined) return a.old === b.old;
  return adjoins(a.old, b.old, a.length);
}

function adjoins(a: Place, b: Place, length: number): boolean {
  return a.engine === b.engine && a.storageOffset + length === b.storageOffset;
}
