import { assert } from '../errors.ts';
import { limits } from '../limits.ts';
import type { BlockRange } from './role.ts';
import { type SortedTree, sortedTree } from './sorted-tree.ts';

/** The maximal runs of free blocks, ordered by (length, block), so that the best fit is one look-up. */
export class FreeExtents {
  readonly #bySize: SortedTree<BlockRange, undefined> = sortedTree<BlockRange, undefined>([], [], compare);

  get count(): number {
    return this.#bySize.size;
  }

  /** Length in blocks of the largest extent; 0 when nothing is free. */
  get largest(): number {
    return this.#bySize.maxKey()?.length ?? 0;
  }

  add(extent: BlockRange): void {
    assert(this.#bySize.set(extent, undefined), `blocks ${extent.block}+${extent.length} listed free twice`);
  }

  remove(extent: BlockRange): void {
    assert(this.#bySize.delete(extent), `blocks ${extent.block}+${extent.length} not listed free`);
  }

  /**
   * The range of `length` blocks, starting `phase` after a multiple of `align`, in the smallest extent that is found to
   * hold one.
   * An extent of at least length + align - 1 blocks always does; of the smaller ones only the first few are tried.
   */
  bestFit(length: number, align: number, phase = 0): BlockRange | undefined {
    let extent = this.#atLeast(length);
    for (let tries = 0; extent !== undefined && tries < limits.alignedFitTriesMax; tries++) {
      const block = aligned(extent.block, align, phase);
      if (block + length <= extent.block + extent.length) return { block, length };
      extent = this.#bySize.nextHigherKey(extent);
    }
    const roomy = this.#atLeast(length + align - 1);
    return roomy === undefined ? undefined : { block: aligned(roomy.block, align, phase), length };
  }

  /** As `bestFit`, but every extent that is long enough is looked at: for what has to lie so, or not at all. */
  anyFit(length: number, align: number, phase = 0): BlockRange | undefined {
    for (let extent = this.#atLeast(length); extent !== undefined; extent = this.#bySize.nextHigherKey(extent)) {
      const block = aligned(extent.block, align, phase);
      if (block + length <= extent.block + extent.length) return { block, length };
    }
    return undefined;
  }

  /** Blocks of the longest range that starts so; 0 where no free block does. */
  largestFit(align: number, phase = 0): number {
    let largest = 0;
    let extent = this.#bySize.maxKey();
    for (; extent !== undefined && extent.length > largest; extent = this.#bySize.nextLowerKey(extent)) {
      largest = Math.max(largest, extent.block + extent.length - aligned(extent.block, align, phase));
    }
    return largest;
  }

  largestExtent(): BlockRange | undefined {
    return this.#bySize.maxKey();
  }

  #atLeast(length: number): BlockRange | undefined {
    return this.#bySize.nextHigherKey({ block: -1, length });
  }
}

/** The first such block from `block` on. */
function aligned(block: number, align: number, phase: number): number {
  return Math.ceil((block - phase) / align) * align + phase;
}

function compare(a: BlockRange, b: BlockRange): number {
  return a.length - b.length || a.block - b.block;
}
