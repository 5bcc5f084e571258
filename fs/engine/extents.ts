/**
 * Which blocks of the device hold which blocks of a file. Extents are immutable, sorted by file block, never overlap,
 * and neighbours that continue each other in the file, on the device and in `mark` are one extent.
 */
import { assert } from '../errors.ts';
import { ExtentList } from './extent-list.ts';

/** All numbers count blocks. `mark` is the flags of a file extent, the client id of a provisional one. */
export interface Extent {
  readonly fileBlock: number;
  readonly block: number;
  readonly length: number;
  readonly mark: number;
}

/** Called with the file block of every extent that began, ended or changed: the keys of records to write again. */
export type Touch = (fileBlock: number) => void;

/** Nearly every file has one extent, and it is held by itself: a million files are a million of these. */
export class ExtentMap {
  #only: Extent | undefined;
  /** All of them, when there are several; `only` is undefined then. */
  #several: ExtentList | undefined;
  #blocks = 0;

  /** Blocks mapped. */
  get blocks(): number {
    return this.#blocks;
  }

  get isEmpty(): boolean {
    return this.#blocks === 0;
  }

  get count(): number {
    return this.#several?.length ?? (this.#only === undefined ? 0 : 1);
  }

  get last(): Extent | undefined {
    return this.#several === undefined ? this.#only : this.#several.last;
  }

  /** The extent that begins exactly at `fileBlock`. */
  at(fileBlock: number): Extent | undefined {
    const extent = this.find(fileBlock);
    return extent?.fileBlock === fileBlock ? extent : undefined;
  }

  /** The extent that holds `fileBlock`, or the first one after it. */
  find(fileBlock: number): Extent | undefined {
    if (this.#several !== undefined) return this.#several.find(fileBlock);
    const only = this.#only;
    return only !== undefined && only.fileBlock + only.length > fileBlock ? only : undefined;
  }

  /** All, in order. The map does not change while they are walked. */
  all(): Iterable<Extent> {
    return this.#from(0);
  }

  /** Extents within [from, to), clipped to it. The map does not change while they are walked. */
  *within(from: number, to: number): Generator<Extent> {
    for (const extent of this.#from(from)) {
      if (extent.fileBlock >= to) return;
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
    this.#blocks += extent.length;
    if (this.#several !== undefined) this.#several.push(extent);
    else if (this.#only === undefined) this.#only = extent;
    else this.#list().push(extent);
  }

  /** Maps a range that is not mapped. */
  insert(extent: Extent, touch: Touch): void {
    assert(extent.length > 0, 'an extent has at least one block');
    if (this.isEmpty) {
      this.#only = extent;
      this.#blocks = extent.length;
      touch(extent.fileBlock);
      return;
    }
    const after = this.find(extent.fileBlock);
    assert(after === undefined || after.fileBlock >= extent.fileBlock + extent.length, 'extents never overlap');
    const before = this.#before(extent.fileBlock);
    let { fileBlock, block, length } = extent;
    let dropped = 0;
    if (before !== undefined && continues(before, extent)) {
      fileBlock = before.fileBlock;
      block = before.block;
      length += before.length;
      dropped++;
    }
    if (after !== undefined && continues(extent, after)) {
      length += after.length;
      dropped++;
      touch(after.fileBlock);
    }
    this.#replace(fileBlock, dropped, [{ fileBlock, block, length, mark: extent.mark }]);
    this.#blocks += extent.length;
    touch(fileBlock);
  }

  /** Unmaps [from, to) and answers what was mapped there. */
  remove(from: number, to: number, touch: Touch): readonly Extent[] {
    const only = this.#only;
    if (only !== undefined && from <= only.fileBlock && only.fileBlock + only.length <= to) {
      this.#only = undefined;
      this.#blocks = 0;
      touch(only.fileBlock);
      return [only];
    }
    const kept: Extent[] = [];
    const removed: Extent[] = [];
    for (const extent of this.#from(from)) {
      if (extent.fileBlock >= to) break;
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
    this.#replace(from, removed.length, kept);
    for (const extent of removed) this.#blocks -= extent.length;
    return removed;
  }

  /** The last extent that ends at `fileBlock` or before. */
  #before(fileBlock: number): Extent | undefined {
    if (this.#several !== undefined) return this.#several.before(fileBlock);
    const only = this.#only;
    return only !== undefined && only.fileBlock + only.length <= fileBlock ? only : undefined;
  }

  *#from(fileBlock: number): Generator<Extent> {
    if (this.#several !== undefined) yield* this.#several.from(fileBlock);
    else {
      const only = this.find(fileBlock);
      if (only !== undefined) yield only;
    }
  }

  /** Puts `extents` where `count` extents were, from the one on that `find(fileBlock)` answers. */
  #replace(fileBlock: number, count: number, extents: readonly Extent[]): void {
    if (this.#several === undefined && this.count - count + extents.length < 2) {
      if (count + extents.length > 0) this.#only = extents[0];
      return;
    }
    const several = this.#list();
    several.replace(fileBlock, count, extents);
    if (several.length > 1) return;
    this.#only = several.first;
    this.#several = undefined;
  }

  #list(): ExtentList {
    if (this.#several === undefined) {
      this.#several = new ExtentList();
      if (this.#only !== undefined) this.#several.push(this.#only);
      this.#only = undefined;
    }
    return this.#several;
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
