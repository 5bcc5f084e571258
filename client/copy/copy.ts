/**
 * Copies between a file on the device and what the kernel reaches by itself. The kernel is given the mapped memory of the
 * device, so that the bytes pass no buffer of this process: S10 of iopmem's NVMe target, offload without a staging copy.
 *
 * K1 A layout of the program covers what the kernel is working on, and goes back only between two calls to it.
 * K2 What cannot be had directly goes through a buffer, and is counted as staged.
 */

import { limits } from '../../fs/limits.ts';
import { requireOffset } from '../arguments.ts';
import { ClientError } from '../errors.ts';
import type { Layout, LayoutRequest, LayoutSegment, PlacedSegment } from '../layout.ts';
import { clientLimits } from '../limits.ts';
import type { Limits, OperationOptions } from '../operation.ts';
import { type ByteRange, endOf, overlap } from '../ranges.ts';
import type { Directness, Sink, Source } from './outside.ts';

/** The file on the device. */
export interface CopiedFile {
  /** @throws ClientError with the status of LAYOUTGET, LAYOUT_HELD */
  layout(request: LayoutRequest): Promise<Layout>;
  /** The memory of a segment from `within` on, as this process has it mapped; undefined: it has not. */
  views(segment: PlacedSegment, within: number, length: number): Promise<readonly Uint8Array[] | undefined>;
  /** Bytes, current. */
  size(): Promise<number>;
  /** Answers the bytes read, fewer only at the end of the file. */
  read(target: Uint8Array, position: number, within: Limits): Promise<number>;
  /** All of `source`. @throws ClientError NOSPC where the space ended */
  write(source: Uint8Array, position: number, within: Limits): Promise<void>;
}

export interface CopyOptions extends OperationOptions {
  /** First byte of the file on the device; 0 by default. */
  readonly start?: number;
  /** Bytes; by default to the end of what is copied from. */
  readonly length?: number;
  /** First byte of the other end, if it is a file or a block device; 0 by default. */
  readonly position?: number;
  /** Past the page cache at the other end, where it is named by a path; by default where it is a block device. */
  readonly direct?: Directness;
}

/** @throws ClientError ARGUMENT */
export function copyRange(start: number, length: number, position: number): ByteRange {
  requireOffset(start, 'start');
  requireOffset(position, 'position');
  if (length !== Infinity) requireOffset(length, 'length');
  return { offset: start, length };
}

export interface CopyResult {
  readonly bytesCopied: number;
  /** Of these, through a buffer of this process. */
  readonly bytesStaged: number;
  /** Past the page cache at the other end (O_DIRECT). */
  readonly direct: boolean;
  /** Why bytes were staged. */
  readonly reason?: string | undefined;
}

class Progress {
  copied = 0;
  staged = 0;
  reason: string | undefined;

  stagedFor(reason: string, count: number): void {
    this.reason ??= reason;
    this.staged += count;
    this.copied += count;
  }

  result(end: { readonly direct: boolean }): CopyResult {
    const { copied: bytesCopied, staged: bytesStaged, reason } = this;
    return { bytesCopied, bytesStaged, direct: end.direct, ...(reason !== undefined && { reason }) };
  }
}

/** From `range` of the file, which ends where the file ends. @throws ClientError; what the sink says; the signal's reason */
export async function copyOut(
  file: CopiedFile,
  { offset, length }: ByteRange,
  sink: Sink,
  within: Limits,
): Promise<CopyResult> {
  const progress = new Progress();
  const end = Math.min(offset + length, await file.size());
  for (let at = offset; at < end; ) {
    within.signal?.throwIfAborted();
    const part = { offset: at, length: Math.min(clientLimits.copyPart, end - at) };
    const moved = await underLayout(file, part, 'READ', async (held, goesOn) => {
      let done = 0;
      while (done < part.length && goesOn()) {
        within.signal?.throwIfAborted();
        const slice = { offset: at + done, length: Math.min(clientLimits.copySlice, part.length - done) };
        const views = await viewsOf(file, held.segments, slice);
        if (typeof views === 'string') return done === 0 ? views : done;
        for (const view of views) await sink.write(view);
        done += slice.length;
        progress.copied += slice.length;
      }
      return done;
    });
    if (typeof moved === 'number' && moved > 0) {
      at += moved;
      continue;
    }
    const buffer = Buffer.allocUnsafe(Math.min(part.length, clientLimits.copySlice));
    const count = await file.read(buffer, at, within);
    if (count === 0) break;
    await sink.write(buffer.subarray(0, count));
    progress.stagedFor(typeof moved === 'string' ? moved : recalled, count);
    at += count;
  }
  return progress.result(sink);
}

/** To the file from `offset` on: `length` bytes, or all that the source has. @throws ClientError; what the source says; the signal's reason */
export async function copyIn(
  file: CopiedFile,
  { offset, length }: ByteRange,
  source: Source,
  within: Limits,
): Promise<CopyResult> {
  const progress = new Progress();
  const { copyPart, copySlice } = clientLimits;
  const { blockSize } = limits;
  const end = offset + length;
  for (let at = offset, isOver = false; at < end && !isOver; ) {
    within.signal?.throwIfAborted();
    // No more than comes: space that is asked for and not used is kept from others. At the end one look for more.
    const expected = Math.max(blockSize, await source.left());
    const part = { offset: at, length: Math.min(copyPart, expected, end - at) };
    const unfit = at % blockSize === 0 ? undefined : 'does not begin with a block';
    const filled =
      unfit ??
      (await underLayout(file, part, 'RW', async (held, goesOn) => {
        let done = 0;
        while (done < part.length && !isOver && goesOn()) {
          within.signal?.throwIfAborted();
          const slice = { offset: at + done, length: Math.min(copySlice, part.length - done) };
          const views = await viewsOf(file, writable(held), slice);
          if (typeof views === 'string') {
            if (done === 0) return views;
            break;
          }
          const count = await fill(views, source);
          isOver = count < slice.length;
          done += count;
        }
        if (done > 0) await commit(file, held, { offset: at, length: done });
        return done;
      }));
    if (typeof filled === 'number' && (filled > 0 || isOver)) {
      progress.copied += filled;
      at += filled;
      continue;
    }
    const room = unfit === undefined ? Math.min(copySlice, end - at) : Math.min(blockSize - (at % blockSize), end - at);
    const buffer = Buffer.allocUnsafe(room);
    const count = await fill([buffer], source);
    isOver = count < room;
    if (count > 0) await file.write(buffer.subarray(0, count), at, within);
    progress.stagedFor(typeof filled === 'string' ? filled : recalled, count);
    at += count;
  }
  return progress.result(source);
}

const recalled = 'recalled as fast as granted';

/** K1. Answers what `work` does, or why there is no layout. */
async function underLayout(
  file: CopiedFile,
  { offset, length }: ByteRange,
  iomode: 'READ' | 'RW',
  work: (held: Layout, goesOn: () => boolean) => Promise<number | string>,
): Promise<number | string> {
  let held: Layout;
  try {
    held = await file.layout({ offset, length, iomode, onRecall: 'ignore' });
  } catch (error) {
    if (error instanceof ClientError) return `${error.status}: ${error.detail}`;
    throw error;
  }
  let isWanted = false;
  held.on('recall', () => {
    isWanted = true;
  });
  try {
    return await work(held, () => !isWanted && held.live);
  } finally {
    await held.return();
  }
}

function writable({ segments }: Layout): readonly LayoutSegment[] {
  return segments.filter(({ state }) => state === 'READ_WRITE_DATA' || state === 'INVALID_DATA');
}

/** The memory of `range`, in order; or why the kernel cannot be given it. */
async function viewsOf(
  file: CopiedFile,
  segments: readonly LayoutSegment[],
  range: ByteRange,
): Promise<readonly Uint8Array[] | string> {
  const views: Uint8Array[] = [];
  let at = range.offset;
  for (const segment of segments) {
    const part = overlap(segment, range);
    if (part === undefined || part.offset !== at) continue;
    at = endOf(part);
    // Not written yet: what is there before the first write is another file's.
    if (segment.state === 'NONE_DATA') views.push(...zerosOf(part.length));
    else {
      const memory = await file.views(segment, part.offset - segment.offset, part.length);
      if (memory === undefined) return 'the device is not mapped here';
      views.push(...memory);
    }
  }
  return at === endOf(range) ? views : recalled;
}

const zeros = new Uint8Array(clientLimits.zeroPiece);

function zerosOf(length: number): readonly Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let left = length; left > 0; left -= zeros.length) pieces.push(zeros.subarray(0, Math.min(left, zeros.length)));
  return pieces;
}

/** Answers the bytes that came, fewer than fit only at the end of the source. */
async function fill(views: readonly Uint8Array[], source: Source): Promise<number> {
  let total = 0;
  for (const view of views) {
    for (let done = 0; done < view.length; ) {
      const count = await source.read(view.subarray(done));
      if (count === 0) return total;
      done += count;
      total += count;
    }
  }
  return total;
}

/** `written` begins with a block. The rest of its last one becomes what it reads as: INVALID_DATA is committed in whole blocks. */
async function commit(file: CopiedFile, held: Layout, written: ByteRange): Promise<void> {
  const { blockSize } = limits;
  const end = endOf(written);
  const rest = { offset: end, length: (blockSize - (end % blockSize)) % blockSize };
  const blank = held.segments.find(
    ({ state, ...range }) => state === 'INVALID_DATA' && overlap(range, rest) !== undefined,
  );
  if (rest.length > 0 && blank !== undefined) {
    const old = held.segments.filter(({ state }) => state === 'READ_DATA');
    const [targets, sources] = [await viewsOf(file, [blank], rest), await viewsOf(file, old, rest)];
    if (typeof targets === 'string') throw new ClientError('BAD_REPLY', `${targets}: the rest of a block`);
    for (const target of targets) target.fill(0);
    if (typeof sources !== 'string') sources.forEach((bytes, index) => targets[index]?.set(bytes));
  }
  const blocks = { offset: written.offset, length: written.length + rest.length };
  await held.commit([blocks], { lastWriteOffset: end - 1 });
}
