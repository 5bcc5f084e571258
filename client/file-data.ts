import { assert } from '../fs/errors.ts';
import { limits } from '../fs/limits.ts';
import type { SynchronousEngine } from './dma/engine.ts';
import { LayoutCache, type Segment, type Written } from './layout-cache.ts';
import type { Lease } from './lease.ts';
import { clientLimits } from './limits.ts';
import { aligned, type ByteRange, endOf, everything, overlap, RangeSet, without } from './ranges.ts';
import { type TransferOwner, Transfers, type WritableSegment } from './transfers.ts';

/** Since the client began. */
export interface Counters {
  directBytesRead: number;
  directBytesWritten: number;
  serverBytesRead: number;
  serverBytesWritten: number;
  layoutGets: number;
  layoutCommits: number;
  layoutReturns: number;
  recalls: number;
  recallsDelayed: number;
}

export const newCounters = (): Counters => ({
  directBytesRead: 0,
  directBytesWritten: 0,
  serverBytesRead: 0,
  serverBytesWritten: 0,
  layoutGets: 0,
  layoutCommits: 0,
  layoutReturns: 0,
  recalls: 0,
  recallsDelayed: 0,
});

/** What was written under layouts and waits for its commit. */
export interface Uncommitted {
  readonly ranges: readonly ByteRange[];
  /** Offset of the last byte written. */
  readonly lastWriteOffset: number;
  /** Where it lies: what a restarted server wants to know (RFC 8881 §18.42, loca_reclaim). */
  readonly written: readonly Written[];
}

const zeros = new Uint8Array(limits.blockSize);

/** What views of holes show; whoever writes to a view for reading breaks it for all. */
const zeroPages = new Uint8Array(16 * limits.blockSize);

/**
 * The bytes of one file as far as layouts reach them: reads and writes without asking anybody. Where the engine is
 * synchronous each is one copy of memory here, and a recall never finds one in progress; `transfers` does it elsewhere.
 *
 * D1 Nothing is touched unless a segment of the cache allows it and the lease lives, looked at again for each slice.
 * D2 A blank block is filled as a whole by its first write (RFC 5663 §2.3.5).
 * D3 The size is a lower bound only while layouts cover the bytes below it; anything else asks the server.
 */
export class FileData implements TransferOwner {
  readonly cache = new LayoutCache();
  /** Through asynchronous engines. */
  readonly transfers = new Transfers(this);
  readonly lease: Lease;
  readonly #counters: Counters;
  readonly #dirty = new RangeSet();
  /** Of `#dirty`, where it lies that may not be in the cache any more: its layout is being given back. */
  readonly #leaving = new LayoutCache();
  #lastWrite = -1;
  #size: number;
  #sizeCurrent = false;
  #usedAt = 0;
  #epoch = 0;

  constructor(lease: Lease, counters: Counters, size: number) {
    this.lease = lease;
    this.#counters = counters;
    this.#size = size;
  }

  /** When it was last read or written directly, in bytes that the client had moved by then. */
  get usedAt(): number {
    return this.#usedAt;
  }

  /** It is in use from now on, or about to be: what was granted for it is not the first to go. */
  touch(): void {
    this.#usedAt = this.#counters.directBytesRead + this.#counters.directBytesWritten;
  }

  /** Bytes, with what was written here and is not committed yet. */
  get size(): number {
    return this.#size;
  }

  /** D3. */
  get sizeCurrent(): boolean {
    return this.#sizeCurrent;
  }

  /** As the server says; what was written here and is not committed counts as well. */
  sizeIs(size: number): void {
    this.#size = Math.max(size, this.#lastWrite + 1);
    this.#sizeCurrent = true;
  }

  sizeAtLeast(size: number): void {
    this.#size = Math.max(this.#size, size);
  }

  /** The size may have shrunk without our knowing. */
  doubtSize(): void {
    this.#sizeCurrent = false;
  }

  /** One past the last byte written and not committed; 0 without any. */
  get uncommittedEnd(): number {
    return this.#lastWrite + 1;
  }

  get dirtyRanges(): number {
    return this.#dirty.size;
  }

  get readableEnd(): number {
    return this.#sizeCurrent ? this.#size : 0;
  }

  get epoch(): number {
    return this.#epoch;
  }

  /** All layouts are void: nothing that is under way counts any more. */
  voidLayouts(): void {
    this.#epoch += 1;
    this.cache.remove(everything);
    this.#sizeCurrent = false;
  }

  hasRead(bytes: number): void {
    this.#counters.directBytesRead += bytes;
    this.touch();
  }

  hasWritten(segment: WritableSegment, blocks: ByteRange, bytes: number, end: number): void {
    this.cache.markWritten(blocks);
    // What a recall has taken out of the cache meanwhile is committed before it is given back.
    for (const gone of without(blocks, this.cache.written(blocks))) {
      const { engine, storageOffset } = segment.place;
      const place = { engine, storageOffset: storageOffset + gone.offset - segment.offset };
      this.#leaving.insertWritten([{ ...gone, place }]);
    }
    this.#dirty.add(blocks);
    this.#wrote(end, bytes);
  }

  /** All of it: what is left would otherwise speak of an end of file that a recall may just have moved. */
  takeUncommitted(): Uncommitted | undefined {
    if (this.#dirty.size === 0) return undefined;
    const ranges = this.#dirty.take(everything);
    for (const range of ranges) this.#leaving.insertWritten(this.cache.written(range));
    const taken = { ranges, lastWriteOffset: this.#lastWrite, written: this.#leaving.written(everything) };
    this.#leaving.remove(everything);
    this.#lastWrite = -1;
    return taken;
  }

  /** No access to `range` under these layouts starts from now on; what was written there waits for its commit still. */
  leave(range: ByteRange, which: 'all' | 'writable' | 'readable' = 'all'): void {
    for (const piece of this.#dirty.within(range)) this.#leaving.insertWritten(this.cache.written(piece));
    this.cache.remove(range, which);
  }

  /** The commit did not get through, and may be tried again. */
  putBack({ ranges, lastWriteOffset, written }: Uncommitted): void {
    for (const range of ranges) this.#dirty.add(range);
    this.#leaving.insertWritten(written);
    this.#lastWrite = Math.max(this.#lastWrite, lastWriteOffset);
  }

  /**
   * Reads from `position` on into `target` and answers the bytes read: 0 if nothing can be read without the server
   * (not covered, at the known end, lease not live), less than asked for at a gap, at the end or after a slice.
   */
  read(target: Uint8Array, position: number): number {
    if (!this.#sizeCurrent) return 0;
    const length = Math.min(target.length, this.#size - position, clientLimits.directSlice);
    if (length <= 0 || !this.lease.live) return 0;
    let done = 0;
    while (done < length) {
      const at = position + done;
      const segment = this.cache.find(at);
      if (segment === undefined) break;
      const count = Math.min(endOf(segment) - at, length - done);
      if (!readSegment(segment, at, count === target.length ? target : target.subarray(done, done + count))) break;
      done += count;
    }
    this.hasRead(done);
    return done;
  }

  /** As `read`: writes from `position` on and answers the bytes written, 0 if the server is needed first. */
  write(source: Uint8Array, position: number): number {
    if (this.#dirty.size >= clientLimits.dirtyRangesMax) return 0;
    const length = this.cache.covered(position, Math.min(source.length, clientLimits.directSlice), true);
    if (length <= 0 || !this.lease.live) return 0;
    let done = 0;
    while (done < length) {
      const at = position + done;
      const segment = this.cache.find(at);
      assert(segment !== undefined, 'a covered byte has a segment');
      const count = Math.min(endOf(segment) - at, length - done);
      if (!this.#writeSegment(segment, at, count === source.length ? source : source.subarray(done, done + count)))
        break;
      done += count;
    }
    if (done === 0) return 0;
    this.#wrote(position + done, done);
    return done;
  }

  #wrote(end: number, bytes: number): void {
    this.#lastWrite = Math.max(this.#lastWrite, end - 1);
    this.#size = Math.max(this.#size, end);
    this.#counters.directBytesWritten += bytes;
    this.touch();
  }

  /**
   * The bytes of `range` where they lie, in pieces: no copy. They are good until the event loop goes round. What is to be
   * written counts as written, all of it: blank blocks are filled with what they read as (D2). Holes are pieces of zeros.
   * undefined: not all of it is to be had so.
   */
  views(range: ByteRange, writing: boolean): readonly Uint8Array[] | undefined {
    if (!this.lease.live || this.cache.covered(range.offset, range.length, writing) < range.length) return undefined;
    if (writing ? this.#dirty.size >= clientLimits.dirtyRangesMax : !this.#sizeCurrent || endOf(range) > this.#size)
      return undefined;
    if (writing && !this.#fill(range)) return undefined;
    const views: Uint8Array[] = [];
    for (let at = range.offset; at < endOf(range); ) {
      const segment = this.cache.find(at);
      assert(segment !== undefined, 'a covered byte has a segment');
      const length = Math.min(endOf(segment), endOf(range)) - at;
      const pieces = viewsOf(segment, at, length);
      if (pieces === undefined) return undefined;
      views.push(...pieces);
      at += length;
    }
    if (writing) {
      this.#dirty.add(aligned(range, limits.blockSize));
      this.#wrote(endOf(range), range.length);
    } else this.#counters.directBytesRead += range.length;
    return views;
  }

  /** All blank blocks of `range` hold what they read as. false: its engine moves nothing at once. */
  #fill(range: ByteRange): boolean {
    const blocks = aligned(range, limits.blockSize);
    for (let at = blocks.offset; at < endOf(blocks); ) {
      const segment = this.cache.find(at);
      if (segment?.kind !== 'blank') {
        at = segment === undefined ? endOf(blocks) : endOf(segment);
        continue;
      }
      const { engine } = segment.place;
      if (!engine.synchronous || engine.views === undefined) return false;
      const block = { offset: at, length: limits.blockSize };
      if (!copyOld(segment, at, block.length, engine)) return false;
      this.cache.markWritten(block);
      this.#dirty.add(block);
      at += block.length;
    }
    return true;
  }

  /** false: its engine moves nothing at once. */
  #writeSegment(segment: Segment, at: number, source: Uint8Array): boolean {
    assert(segment.kind !== 'hole', 'a hole is never writable');
    const { engine, storageOffset } = segment.place;
    if (!engine.synchronous) return false;
    const start = storageOffset - segment.offset;
    if (segment.kind === 'blank') {
      const blocks = aligned({ offset: at, length: source.length }, limits.blockSize);
      const end = at + source.length;
      if (!copyOld(segment, blocks.offset, at - blocks.offset, engine)) return false;
      if (!copyOld(segment, end, endOf(blocks) - end, engine)) return false;
      engine.write(start + at, source);
      this.cache.markWritten(blocks);
      this.#dirty.add(blocks);
    } else {
      engine.write(start + at, source);
      // What holds data may be committed without having been written; in huge pages random writes make few ranges.
      const around = aligned({ offset: at, length: source.length }, limits.hugePage);
      this.#dirty.add(overlap(around, segment) ?? around);
    }
    return true;
  }
}

/** false: its engine moves nothing at once. */
function readSegment(segment: Segment, at: number, target: Uint8Array): boolean {
  const from = segment.kind === 'hole' ? undefined : segment.kind === 'blank' ? segment.old : segment.place;
  if (from === undefined) target.fill(0);
  else {
    const { engine } = from;
    if (!engine.synchronous) return false;
    engine.read(from.storageOffset + at - segment.offset, target);
  }
  return true;
}

/** undefined: it is not mapped here. */
function viewsOf(segment: Segment, at: number, length: number): readonly Uint8Array[] | undefined {
  const from = segment.kind === 'hole' ? undefined : segment.kind === 'blank' ? segment.old : segment.place;
  if (from === undefined) {
    const whole = Array.from({ length: Math.floor(length / zeroPages.length) }, () => zeroPages);
    return length % zeroPages.length === 0 ? whole : [...whole, zeroPages.subarray(0, length % zeroPages.length)];
  }
  if (!from.engine.synchronous) return undefined;
  return from.engine.views?.(from.storageOffset + at - segment.offset, length);
}

type Blank = Extract<Segment, { readonly kind: 'blank' }>;

/** D2: the rest of a block, up to one block, is what it was before: old data, or zeros. false: not to be had at once. */
function copyOld({ old, offset, place }: Blank, at: number, length: number, to: SynchronousEngine): boolean {
  if (length === 0) return true;
  let bytes = zeros.subarray(0, length);
  if (old !== undefined) {
    if (!old.engine.synchronous) return false;
    bytes = new Uint8Array(length);
    old.engine.read(old.storageOffset + at - offset, bytes);
  }
  to.write(place.storageOffset + at - offset, bytes);
  return true;
}
