import { ClientError } from './errors.ts';
import type { LayoutSegment } from './layout.ts';
import { type ByteRange, endOf, overlap } from './ranges.ts';

/** What one descriptor list of an engine may hold. Bytes, but for the count. */
export interface EngineLimits {
  /** Longest element. */
  readonly maxSegmentBytes?: number;
  /** Most elements of one list. */
  readonly maxSegments?: number;
  /** No element crosses a bus address that is a multiple of this, a power of two: 4 GiB, say, for 32-bit counters. */
  readonly boundary?: number;
  /**
   * Elements begin at multiples of this on the device and are multiples of it long; a power of two, no more than 4096. Only what
   * is asked for unaligned is refused.
   */
  readonly alignment?: number;
}

/** One contiguous piece for an engine. */
export interface ScatterGatherElement {
  /** Of the first byte: in the file, on the device, on the bus as this client's devices reach it. */
  readonly offset: number;
  readonly length: number;
  readonly deviceId: string;
  readonly storageOffset: number;
  readonly busAddress: bigint | undefined;
}

type Placed = Extract<LayoutSegment, { readonly storageOffset: number }>;

/**
 * Lists for an engine that moves `range` of a file: what lies side by side on the device is merged, and what is too long is
 * cut. The elements of all lists, one after the other, are the bytes of `range` in ascending order; holes are left out, since
 * there is nothing to move. For reading where READ_DATA and INVALID_DATA overlap, the first is taken; for writing only the places
 * that may be written are.
 *
 * @param access `read`: where the bytes are; INVALID_DATA alone reads as zeros and is left out. `write`: where they go
 * @throws ClientError ARGUMENT: the limits contradict each other, `range` is not aligned as they ask, or, for writing, some of it
 * may not be written
 */
export function scatterGather(
  segments: readonly LayoutSegment[],
  range: ByteRange,
  access: 'read' | 'write',
  limits: EngineLimits = {},
): readonly (readonly ScatterGatherElement[])[] {
  const { maxSegments = Infinity } = limits;
  const alignment = limits.alignment ?? 1;
  const longest = longestOf(limits, alignment);
  if (range.offset % alignment !== 0 || range.length % alignment !== 0) {
    throw new ClientError('ARGUMENT', `${range.offset}+${range.length} is not in units of ${alignment} bytes`);
  }
  const wanted = access === 'read' ? 'READ_DATA' : 'INVALID_DATA';
  const pieces = segments
    .filter((segment): segment is Placed => segment.state === 'READ_WRITE_DATA' || segment.state === wanted)
    .flatMap((segment) => within(segment, range))
    .sort((a, b) => a.offset - b.offset);
  if (access === 'write') requireWhole(pieces, range);

  const lists: ScatterGatherElement[][] = [];
  for (const element of merged(pieces).flatMap((piece) => cutUp(piece, longest, limits.boundary ?? Infinity))) {
    const last = lists.at(-1);
    if (last === undefined || last.length >= maxSegments) lists.push([element]);
    else last.push(element);
  }
  return lists;
}

/** @throws ClientError ARGUMENT */
function longestOf({ maxSegmentBytes = Infinity, maxSegments = 1, boundary }: EngineLimits, alignment: number): number {
  const isBounded = boundary === undefined || (isPower(boundary) && boundary >= alignment);
  const isWhole = maxSegmentBytes === Infinity || Number.isSafeInteger(maxSegmentBytes);
  const isCount = maxSegments === Infinity || (Number.isSafeInteger(maxSegments) && maxSegments > 0);
  if (!isPower(alignment) || alignment > 4096 || !isBounded || !isWhole || maxSegmentBytes < alignment || !isCount) {
    throw new ClientError('ARGUMENT', 'limits that no engine can have');
  }
  return maxSegmentBytes === Infinity ? Infinity : maxSegmentBytes - (maxSegmentBytes % alignment);
}

function isPower(value: number): boolean {
  return Number.isSafeInteger(value) && value > 0 && 2 ** Math.round(Math.log2(value)) === value;
}

function within(segment: Placed, range: ByteRange): readonly ScatterGatherElement[] {
  const part = overlap(segment, range);
  return part === undefined ? [] : [moved(segment, part.offset - segment.offset, part.length)];
}

function moved(
  { offset, deviceId, storageOffset, busAddress }: ScatterGatherElement,
  by: number,
  length: number,
): ScatterGatherElement {
  return {
    offset: offset + by,
    length,
    deviceId,
    storageOffset: storageOffset + by,
    busAddress: busAddress === undefined ? undefined : busAddress + BigInt(by),
  };
}

function requireWhole(pieces: readonly ScatterGatherElement[], range: ByteRange): void {
  let at = range.offset;
  for (const piece of pieces) {
    if (piece.offset !== at) break;
    at = endOf(piece);
  }
  if (at !== endOf(range)) throw new ClientError('ARGUMENT', `byte ${at} may not be written under this layout`);
}

function merged(pieces: readonly ScatterGatherElement[]): readonly ScatterGatherElement[] {
  const whole: ScatterGatherElement[] = [];
  for (const piece of pieces) {
    const last = whole.at(-1);
    if (last !== undefined && continues(last, piece))
      whole[whole.length - 1] = moved(last, 0, last.length + piece.length);
    else whole.push(piece);
  }
  return whole;
}

function continues(a: ScatterGatherElement, b: ScatterGatherElement): boolean {
  if (a.deviceId !== b.deviceId || endOf(a) !== b.offset || a.storageOffset + a.length !== b.storageOffset)
    return false;
  return a.busAddress === undefined ? b.busAddress === undefined : b.busAddress === a.busAddress + BigInt(a.length);
}

/** Where byte `done` of the piece lies between two multiples of `boundary`: on the bus, or without an address there on the device. */
function addressIn({ busAddress, storageOffset }: ScatterGatherElement, done: number, boundary: number): number {
  if (busAddress === undefined) return (storageOffset + done) % boundary;
  return Number((busAddress + BigInt(done)) % BigInt(boundary));
}

function cutUp(piece: ScatterGatherElement, longest: number, boundary: number): readonly ScatterGatherElement[] {
  const cuts: ScatterGatherElement[] = [];
  for (let done = 0; done < piece.length; ) {
    const toBoundary = boundary === Infinity ? Infinity : boundary - addressIn(piece, done, boundary);
    const length = Math.min(piece.length - done, longest, toBoundary);
    cuts.push(moved(piece, done, length));
    done += length;
  }
  return cuts;
}
