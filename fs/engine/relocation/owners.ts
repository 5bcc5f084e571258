/**
 * Which files map which blocks of the device: the extent maps of all files, seen from the other side. Made once for a
 * job, so it grows old: whoever uses it looks at the files again, and knows from the share count whether it found all.
 */
import { FsError } from '../../errors.ts';
import { limits } from '../../limits.ts';
import type { BlockRange } from '../../space/space.ts';
import type { Extent } from '../extents.ts';
import type { Volume } from '../volume.ts';
import type { Pace } from './pace.ts';

/** A file, and the file block at which it maps the first of the blocks in question. */
export interface Owner {
  readonly ino: number;
  readonly fileBlock: number;
}

interface Entry extends BlockRange {
  readonly ino: number;
  /** Of the first block. */
  readonly fileBlock: number;
}

export class OwnerIndex {
  /** Ascending by block. */
  readonly #entries: readonly Entry[];
  /** Farthest end among this entry and all before it. */
  readonly #reach: Float64Array;

  private constructor(entries: Entry[]) {
    this.#entries = entries.sort((a, b) => a.block - b.block);
    this.#reach = new Float64Array(entries.length);
    let reach = 0;
    for (const [i, { block, length }] of this.#entries.entries()) {
      reach = Math.max(reach, block + length);
      this.#reach[i] = reach;
    }
  }

  /** Of the extents that qualify. */
  static async build(v: Volume, qualifies: (extent: Extent) => boolean, pace: Pace): Promise<OwnerIndex> {
    const entries: Entry[] = [];
    const files = [...v.extents.keys()]; // as they are now: files come and go while others have their turn
    for (const ino of files) {
      for (const extent of v.extents.get(ino)?.all() ?? []) {
        if (!qualifies(extent)) continue;
        const { fileBlock, block, length } = extent;
        entries.push({ ino, fileBlock, block, length });
      }
      if (pace.isOver) await pace.next();
    }
    return new OwnerIndex(entries);
  }

  /** Files that map `block` now, as far as they are known here. */
  *of(v: Volume, block: number): Generator<Owner> {
    for (let i = this.#firstAfter(block) - 1; i >= 0 && (this.#reach[i] ?? 0) > block; i--) {
      const entry = this.#entries[i];
      if (entry === undefined || entry.block + entry.length <= block) continue;
      const owner = { ino: entry.ino, fileBlock: entry.fileBlock + block - entry.block };
      if (maps(v, owner, block)) yield owner;
    }
  }

  /** Index of the first entry that begins after `block`. */
  #firstAfter(block: number): number {
    let low = 0;
    let high = this.#entries.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#entries[middle]?.block ?? 0) <= block) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** Does the file have this very block there? */
export function maps(v: Volume, { ino, fileBlock }: Owner, block: number): boolean {
  const extent = v.extents.get(ino)?.find(fileBlock);
  return extent !== undefined && extent.fileBlock <= fileBlock && extent.block + fileBlock - extent.fileBlock === block;
}

/** @throws FsError EAGAIN: files are cloned faster than they can be moved */
export function requireRebuild(rebuilt: number): void {
  if (rebuilt < limits.ownerIndexesMax) return;
  throw new FsError('EAGAIN', { detail: 'files are cloned faster than they can be moved: try again later' });
}
