/**
 * Which blocks of the device hold which blocks of a file. Extents are immutable, sorted by file block, never overlap,
 * and neighbours that continue each other in the file, on the device and in `mark` are one extent.
 */
import { assert } from '../errors.ts';

/** All numbers count blocks. `mark` is the flags of a file extent, the client id of a provisional one. */
export interface Extent {
  readonly fileBlock: number;
  readonly block: number;
  readonly length: number;
  readonly mark: number;
}

/** Called with the file block of every extent that began, ended or changed: the keys of records to write again. */
export type Touch = (fileBlock: number) => void;

export class ExtentMap {
  #list: Extent[] = [];
  #blocks = 0;

  get list(): readonly Extent[] {
    return this.#list;
  }

  /** Blocks mapped. */
  get blocks(): number {
    return this.#blocks;
  }

  get isEmpty(): boolean {
    return this.#list.length === 0;
  }

  /** The extent that begins exactly at `fileBlock`. */
  at(fileBlock: number): Extent | undefined {
    const extent = this.#list[this.#indexOf(fileBlock)];
    return extent?.fileBlock === fileBlock ? extent : undefined;
  }

  /** The extent that holds `fileBlock`, or the first one after it. */
  find(fileBlock: number): Extent | undefined {
    return this.#list[this.#indexOf(fileBlock)];
  }

  /** Extents within [from, to), clipped to it. */
  *within(from: number, to: number): Generator<Extent> {
    for (let i = this.#indexOf(from); i < this.#list.length; i++) {
      const extent = this.#list[i];
      if (extent === undefined || extent.fileBlock >= to) return;
      yield clip(extent, from, to);
    }
  }

  /** [from, to) without gaps: what is not mapped comes as `undefined` block. */
  *cover(from: number, to: number): Generator<Extent | Hole> {
    let next = from;
    for (const extent of this.within(from, to)) {
      if (extent.fileBlock > next) yield { fileBlock: next, block: undefined, length: extent.fileBlock - next };
      yield extent;
      next = extent.fileBlock + extent.length;
    }
    if (next < to) yield { fileBlock: next, block: undefined, length: to - next };
  }

  /** Appends while loading in key order; merges nothing, since records are merged already. */
  load(extent: Extent): void {
    this.#list.push(extent);
    this.#blocks += extent.length;
  }

  /** Maps a range that is not mapped. */
  insert(extent: Extent, touch: Touch): void {
    assert(extent.length > 0, 'an extent has at least one block');
    const index = this.#indexOf(extent.fileBlock);
    const after = this.#list[index];
    assert(after === undefined || after.fileBlock >= extent.fileBlock + extent.length, 'extents never overlap');
    const before = index > 0 ? this.#list[index - 1] : undefined;
    let { fileBlock, block, length } = extent;
    let start = index;
    let drop = 0;
    if (before !== undefined && continues(before, extent)) {
      fileBlock = before.fileBlock;
      block = before.block;
      length += before.length;
      start--;
      drop++;
    }
    if (after !== undefined && continues(extent, after)) {
      length += after.length;
      drop++;
      touch(after.fileBlock);
    }
    this.#list.splice(start, drop, { fileBlock, block, length, mark: extent.mark });
    this.#blocks += extent.length;
    touch(fileBlock);
  }

  /** Unmaps [from, to) and answers what was mapped there. */
  remove(from: number, to: number, touch: Touch): readonly Extent[] {
    const first = this.#indexOf(from);
    const kept: Extent[] = [];
    const removed: Extent[] = [];
    let index = first;
    for (; index < this.#list.length; index++) {
      const extent = this.#list[index];
      if (extent === undefined || extent.fileBlock >= to) break;
      touch(extent.fileBlock);
      const end = extent.fileBlock + extent.length;
      if (extent.fileBlock < from) kept.push(clip(extent, extent.fileBlock, from));
      removed.push(clip(extent, from, to));
      if (end > to) {
        kept.push(clip(extent, to, end));
        touch(to);
      }
    }
    if (removed.length === 0) return removed;
    this.#list.splice(first, index - first, ...kept);
    for (const extent of removed) this.#blocks -= extent.length;
    return removed;
  }

  /** Index of the first extent that ends after `fileBlock`. */
  #indexOf(fileBlock: number): number {
    let low = 0;
    let high = this.#list.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const extent = this.#list[middle];
      if (extent !== undefined && extent.fileBlock + extent.length <= fileBlock) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** Blocks of a file that no extent maps. */
export interface Hole {
  readonly fileBlock: number;
  readonly block: undefined;
  readonly length: number;
}

function continues(a: Extent, b: Extent): boolean {
  return a.fileBlock + a.length === b.fileBlock && a.block + a.length === b.block && a.mark === b.mark;
}

function clip(extent: Extent, from: number, to: number): Extent {
  const start = Math.max(extent.fileBlock, from);
  const end = Math.min(extent.fileBlock + extent.length, to);
  if (start === extent.fileBlock && end - start === extent.length) return extent;
  return { fileBlock: start, block: extent.block + start - extent.fileBlock, length: end - start, mark: extent.mark };
}
