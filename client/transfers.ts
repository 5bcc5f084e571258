import { limits } from '../fs/limits.ts';
import { type AsynchronousEngine, TransferTimeout } from './dma/engine.ts';
import { isWritable, type LayoutCache, type Place, type Segment } from './layout-cache.ts';
import type { Lease } from './lease.ts';
import { clientLimits } from './limits.ts';
import { aligned, type ByteRange, endOf, overlap } from './ranges.ts';

/** The file that the transfers belong to. */
export interface TransferOwner {
  readonly cache: LayoutCache;
  readonly lease: Lease;
  /** Changes when all layouts became void: what a transfer from before brings is worth nothing. */
  readonly epoch: number;
  /** One past the last byte that may be read; 0 while that is not known. */
  readonly readableEnd: number;
  readonly dirtyRanges: number;
  hasRead(bytes: number): void;
  /** `blocks` are filled, with bytes of the program up to `end`; the layout on them may be about to go. */
  hasWritten(segment: WritableSegment, blocks: ByteRange, bytes: number, end: number): void;
}

/** What came of a read or write: bytes from its start, and why it went no further if an engine failed. */
export interface Moved {
  readonly bytes: number;
  readonly failure: string | undefined;
}

export type WritableSegment = Exclude<Segment, { readonly kind: 'hole' }>;
type Blank = Extract<Segment, { readonly kind: 'blank' }>;

/** A transfer under way on the blocks of a file. */
interface Flight {
  readonly range: ByteRange;
  /** It fills blocks that were blank. */
  readonly fills: boolean;
  readonly over: Promise<void>;
}

/**
 * Reads and writes of one file by engines that take their time, several transfers at once.
 *
 * T1 No transfer begins unless a segment of the cache allows it and the lease lives, looked at again for each one. So a
 *    recall cuts a long read or write at the end of the transfers that are under way.
 * T2 A range is given back when no transfer is under way on it: also none that timed out and is not known to be over.
 * T3 A blank block is filled as a whole, by one transfer at a time.
 * T4 What a transfer brought counts only if the layout was not voided meanwhile.
 */
export class Transfers {
  readonly #owner: TransferOwner;
  readonly #flights = new Set<Flight>();

  constructor(owner: TransferOwner) {
    this.#owner = owner;
  }

  /** T2. */
  get busy(): boolean {
    return this.#flights.size > 0;
  }

  /** T2: settles when nothing is under way on `range`. The caller has taken it out of the cache, so that nothing new begins. */
  async quiet(range: ByteRange): Promise<void> {
    for (;;) {
      const flights = [...this.#flights].filter((flight) => overlap(flight.range, range) !== undefined);
      if (flights.length === 0) return;
      await Promise.all(flights.map(({ over }) => over));
    }
  }

  /** Reads from `position` on, as far as layouts, size and lease allow. */
  async read(target: Uint8Array, position: number): Promise<Moved> {
    const { cache, lease, epoch } = this.#owner;
    const line = new Line();
    let done = 0;
    while (done < target.length && !line.ended && lease.live) {
      const at = position + done;
      const segment = cache.find(at);
      const end = Math.min(position + target.length, this.#owner.readableEnd);
      if (segment === undefined || at >= end) break;
      const left = Math.min(endOf(segment), end) - at;
      const from = sourceOf(segment);
      if (from === undefined) {
        target.fill(0, done, done + left);
        done += left;
        continue;
      }
      const { engine } = from;
      // Copied at once by FileData.
      if (engine.synchronous) break;
      if (line.length >= engine.transfersMax) {
        await line.next();
        continue;
      }
      const count = Math.min(left, engine.transferMax);
      const part = target.subarray(done, done + count);
      const storageOffset = from.storageOffset + at - segment.offset;
      const range = { offset: at, length: count };
      line.add(
        done,
        this.#fly(engine, range, false, () => engine.read(storageOffset, part).then(() => true)),
      );
      done += count;
    }
    const moved = await line.end(done);
    // T4; past the end of the lease the blocks may have been another file's.
    if (epoch !== this.#owner.epoch || !lease.live) return { bytes: 0, failure: moved.failure };
    this.#owner.hasRead(moved.bytes);
    return moved;
  }

  /** Writes from `position` on, as far as layouts and lease allow. */
  async write(source: Uint8Array, position: number): Promise<Moved> {
    const { cache, lease } = this.#owner;
    const line = new Line();
    let done = 0;
    while (done < source.length && !line.ended && lease.live) {
      if (this.#owner.dirtyRanges >= clientLimits.dirtyRangesMax) break;
      const at = position + done;
      const segment = cache.find(at);
      if (segment === undefined || segment.kind === 'hole' || !isWritable(segment)) break;
      const { engine } = segment.place;
      if (engine.synchronous) break;
      const left = Math.min(endOf(segment), position + source.length) - at;
      const range = { offset: at, length: pieceOf(segment, at, left, engine) };
      const blocks = aligned(range, limits.blockSize);
      if (line.length >= engine.transfersMax) {
        await line.next();
        continue;
      }
      const before = segment.kind === 'blank' ? this.#fillOf(blocks) : undefined;
      if (before !== undefined) {
        await before;
        continue;
      }
      const part = source.subarray(done, done + range.length);
      const fills = segment.kind === 'blank';
      line.add(
        done,
        this.#fly(engine, blocks, fills, () => this.#put(engine, segment, range, part)),
      );
      done += range.length;
    }
    return await line.end(done);
  }

  /** Answers false if it may not count. */
  async #put(
    engine: AsynchronousEngine,
    segment: WritableSegment,
    range: ByteRange,
    source: Uint8Array,
  ): Promise<boolean> {
    const { epoch, lease } = this.#owner;
    const blocks = aligned(range, limits.blockSize);
    const isWhole = segment.kind === 'data' || blocks.length === range.length;
    const bytes = isWhole ? source : await merged(segment, range, source);
    if (!lease.live || epoch !== this.#owner.epoch) return false;
    const start = isWhole ? range.offset : blocks.offset;
    await engine.write(segment.place.storageOffset + start - segment.offset, bytes);
    if (epoch !== this.#owner.epoch) return false;
    this.#owner.hasWritten(segment, blocks, range.length, endOf(range));
    return true;
  }

  /** T3. */
  #fillOf(blocks: ByteRange): Promise<void> | undefined {
    for (const { fills, range, over } of this.#flights) if (fills && overlap(range, blocks) !== undefined) return over;
    return undefined;
  }

  /** Counts `work` as under way on `range` until it is over (E3). */
  #fly(
    engine: AsynchronousEngine,
    range: ByteRange,
    fills: boolean,
    work: () => Promise<boolean>,
  ): Promise<boolean | string> {
    const outcome = work();
    const over = outcome
      .then(
        () => undefined,
        (error: unknown) => (error instanceof TransferTimeout ? error.over : undefined),
      )
      .then(() => void this.#flights.delete(flight));
    const flight: Flight = { range, fills, over };
    this.#flights.add(flight);
    return outcome.catch(
      (error: unknown) => `${engine.name}: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}

/** The transfers of one read or write, by their places in its buffer. */
class Line {
  readonly #running = new Set<Promise<void>>();
  /** Place of the first one that did not succeed. */
  #endedAt = Infinity;
  #failure: string | undefined;

  get length(): number {
    return this.#running.size;
  }

  /** Something did not succeed: no more is begun. */
  get ended(): boolean {
    return this.#endedAt !== Infinity;
  }

  /** `outcome`: true, false if it may not count, or why the engine failed. */
  add(at: number, outcome: Promise<boolean | string>): void {
    const settled = outcome.then((result) => {
      this.#running.delete(settled);
      if (result === true) return;
      this.#endedAt = Math.min(this.#endedAt, at);
      if (result !== false) this.#failure ??= result;
    });
    this.#running.add(settled);
  }

  /** Settles with the next transfer that does. */
  async next(): Promise<void> {
    await Promise.race(this.#running);
  }

  /** When all are over. `done`: bytes from the start that were begun. */
  async end(done: number): Promise<Moved> {
    await Promise.all(this.#running);
    return { bytes: Math.min(done, this.#endedAt), failure: this.#failure };
  }
}

/** Where the bytes of a segment come from; undefined: they are zeros. */
function sourceOf(segment: Segment): Place | undefined {
  if (segment.kind === 'hole') return undefined;
  return segment.kind === 'blank' ? segment.old : segment.place;
}

/** Bytes of one transfer: of a blank segment whole blocks, or a part of one block alone, which is merged. */
function pieceOf(segment: WritableSegment, at: number, left: number, engine: AsynchronousEngine): number {
  const inBlock = at % limits.blockSize;
  if (segment.kind === 'data') return Math.min(left, engine.transferMax);
  if (inBlock !== 0 || left < limits.blockSize) return Math.min(left, limits.blockSize - inBlock);
  return Math.min(left - (left % limits.blockSize), engine.transferMax);
}

/** A whole block: `source`, with what the block held before around it (RFC 5663 §2.3.5). */
async function merged(blank: Blank, range: ByteRange, source: Uint8Array): Promise<Uint8Array> {
  const block = new Uint8Array(limits.blockSize);
  const start = range.offset - (range.offset % limits.blockSize);
  const { old, offset } = blank;
  if (old !== undefined) await old.engine.read(old.storageOffset + start - offset, block);
  block.set(source, range.offset - start);
  return block;
}
