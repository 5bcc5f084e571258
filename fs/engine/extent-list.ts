/**
 * The extents of a file that has several, in order, in chunks of bounded length: to find one takes two binary searches,
 * and to add or take one moves no more than a chunk, whether the file has ten extents or a million.
 */
import { assert } from '../errors.ts';
import type { Extent } from './extents.ts';

/** Fastest of 32 to 1024 for inserts into 10^5 extents; a full chunk becomes two. */
const chunkMax = 128;
/** A chunk that fell below this joins its neighbour, so that the list stays short when extents go. */
const chunkMin = chunkMax >> 2;

export class ExtentList {
  /** None is empty. */
  readonly #chunks: Extent[][] = [];
  #length = 0;
  /** Where `#seek` ended: the first extent that ends after the block asked for; past the last chunk when there is none. */
  #chunk = 0;
  #index = 0;

  get length(): number {
    return this.#length;
  }

  get first(): Extent | undefined {
    return this.#chunks[0]?.[0];
  }

  get last(): Extent | undefined {
    return this.#chunks.at(-1)?.at(-1);
  }

  /** The extent that holds `fileBlock`, or the first one after it. */
  find(fileBlock: number): Extent | undefined {
    this.#seek(fileBlock);
    return this.#chunks[this.#chunk]?.[this.#index];
  }

  /** The last extent that ends at `fileBlock` or before. */
  before(fileBlock: number): Extent | undefined {
    this.#seek(fileBlock);
    return this.#index > 0 ? this.#chunks[this.#chunk]?.[this.#index - 1] : this.#chunks[this.#chunk - 1]?.at(-1);
  }

  /** From the extent that `find` answers onwards. The list does not change while it is walked. */
  *from(fileBlock: number): Generator<Extent> {
    this.#seek(fileBlock);
    let index = this.#index;
    for (let at = this.#chunk; at < this.#chunks.length; at++, index = 0) {
      const chunk = this.#chunks[at] ?? [];
      for (; index < chunk.length; index++) {
        const extent = chunk[index];
        if (extent !== undefined) yield extent;
      }
    }
  }

  /** Behind all others. */
  push(extent: Extent): void {
    const last = this.#chunks.at(-1);
    if (last === undefined || last.length >= chunkMax) this.#chunks.push([extent]);
    else last.push(extent);
    this.#length++;
  }

  /** Puts `extents` where `count` extents were, from the one on that `find(fileBlock)` answers. */
  replace(fileBlock: number, count: number, extents: readonly Extent[]): void {
    this.#seek(fileBlock);
    this.#length += extents.length - count;
    let at = this.#chunk;
    if (at === this.#chunks.length) {
      assert(count === 0, 'extents that are replaced exist');
      for (const extent of extents) this.push(extent);
      this.#length -= extents.length;
      return;
    }
    const chunk = this.#chunks[at] ?? [];
    const here = Math.min(count, chunk.length - this.#index);
    chunk.splice(this.#index, here, ...extents);
    this.#dropFrom(at + 1, count - here);
    if (chunk.length === 0) this.#chunks.splice(at, 1);
    else if (chunk.length > chunkMax) this.#chunks.splice(at + 1, 0, chunk.splice(chunk.length >> 1));
    else if (chunk.length < chunkMin) {
      if (at + 1 === this.#chunks.length) at--;
      this.#join(at);
    }
  }

  /** Takes the first `count` extents from chunk `at` on. */
  #dropFrom(at: number, count: number): void {
    let left = count;
    let whole = 0;
    for (let chunk = this.#chunks[at]; left > 0 && chunk !== undefined; chunk = this.#chunks[at + whole]) {
      if (chunk.length > left) {
        chunk.splice(0, left);
        left = 0;
      } else {
        left -= chunk.length;
        whole++;
      }
    }
    assert(left === 0, 'extents that are replaced exist');
    if (whole > 0) this.#chunks.splice(at, whole);
  }

  /** Makes one of a chunk and the one behind it, if that is not too long. */
  #join(at: number): void {
    const [chunk, next] = [this.#chunks[at], this.#chunks[at + 1]];
    if (chunk === undefined || next === undefined || chunk.length + next.length > chunkMax) return;
    chunk.push(...next);
    this.#chunks.splice(at + 1, 1);
  }

  #seek(fileBlock: number): void {
    const chunks = this.#chunks;
    let low = 0;
    let high = chunks.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const chunk = chunks[middle];
      const last = chunk?.[chunk.length - 1];
      if (last !== undefined && last.fileBlock + last.length <= fileBlock) low = middle + 1;
      else high = middle;
    }
    this.#chunk = low;
    const chunk = chunks[low] ?? [];
    low = 0;
    high = chunk.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const extent = chunk[middle];
      if (extent !== undefined && extent.fileBlock + extent.length <= fileBlock) low = middle + 1;
      else high = middle;
    }
    this.#index = low;
  }
}
