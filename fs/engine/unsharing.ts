/**
 * Blocks that lost a sharer in a group that is not durable yet. After a crash the file that gave them up maps them
 * still, so until then nobody writes to them in place: they are copied as if they were shared.
 */
import { RangeMap } from '../space/range-map.ts';
import type { BlockRange } from '../space/space.ts';

const settled = 0;

export class Unsharing {
  /** Group in which the block last lost a sharer. */
  readonly #groups: RangeMap<number>;
  readonly #waiting = new Map<number, BlockRange[]>();

  constructor(totalBlocks: number) {
    this.#groups = RangeMap.filled(totalBlocks, settled, (a, b) => a === b);
  }

  add(range: BlockRange, group: number): void {
    this.#groups.set(range.block, range.length, group);
    const ranges = this.#waiting.get(group);
    if (ranges === undefined) this.#waiting.set(group, [range]);
    else ranges.push(range);
  }

  /** Groups up to this one are durable. */
  durable(group: number): void {
    for (const [waiting, ranges] of this.#waiting) {
      if (waiting > group) return;
      this.#waiting.delete(waiting);
      for (const { block, length } of ranges) {
        for (const { start, length: count, value } of this.#groups.slice(block, length)) {
          if (value === waiting) this.#groups.set(start, count, settled);
        }
      }
    }
  }

  /** Makes the device `blocks` long. Nothing waits in what goes. */
  resize(blocks: number): void {
    this.#groups.resize(blocks, settled);
  }

  get isEmpty(): boolean {
    return this.#waiting.size === 0;
  }

  has(block: number): boolean {
    return !this.isEmpty && this.#groups.get(block) !== settled;
  }

  /** The range cut into pieces that wait for a group and pieces that do not. */
  *cut(range: BlockRange): Generator<BlockRange & { readonly waits: boolean }> {
    if (this.isEmpty) {
      yield { ...range, waits: false };
      return;
    }
    for (const { start, length, value } of this.#groups.slice(range.block, range.length)) {
      yield { block: start, length, waits: value !== settled };
    }
  }
}
