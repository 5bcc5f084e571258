import type { BlockRange } from '../space/space.ts';

/** Larger writes are worth a copy of what they overwrite again. */
const blocksMax = 16;

/**
 * Blocks that a `cow` file got in the open group. A crash leaves none of them in the file or, with the group, all of what
 * was written to them: so until the group is sealed they are overwritten in place, and a block that is written a
 * thousand times takes one new block.
 */
export class Fresh {
  readonly #blocks = new Set<number>();

  add({ block, length }: BlockRange): void {
    if (length > blocksMax) return;
    for (let i = 0; i < length; i++) this.#blocks.add(block + i);
  }

  has({ block, length }: BlockRange): boolean {
    if (length > blocksMax || this.#blocks.size === 0) return false;
    for (let i = 0; i < length; i++) if (!this.#blocks.has(block + i)) return false;
    return true;
  }

  /** The group is sealed. */
  clear(): void {
    this.#blocks.clear();
  }
}
