import { EventEmitter } from 'node:events';
import { extentState } from '../fs/engine/leases.ts';
import { iomode } from '../layout/types.ts';
import { ClientError } from './errors.ts';
import { type ByteRange, everything, overlap, without } from './ranges.ts';

/** RFC 5663 §2.3: what the holder may do with the bytes. */
export type SegmentState = 'READ_WRITE_DATA' | 'READ_DATA' | 'INVALID_DATA';

/** Bytes of the file, and where they lie. `offset` and `length` in bytes of the file, `storageOffset` in bytes of the device. */
export type LayoutSegment =
  | {
      readonly state: SegmentState;
      readonly offset: number;
      readonly length: number;
      readonly deviceId: string;
      readonly storageOffset: number;
      /** Of the first byte, as this client's devices reach it; undefined where the memory has none. */
      readonly busAddress: bigint | undefined;
    }
  /** A hole: reads as zeros, lies nowhere. */
  | { readonly state: 'NONE_DATA'; readonly offset: number; readonly length: number };

/** By the numbers of the protocol; NONE_DATA has no place. */
export const segmentStates: ReadonlyMap<number, SegmentState> = new Map([
  [extentState.readWrite, 'READ_WRITE_DATA'],
  [extentState.read, 'READ_DATA'],
  [extentState.invalid, 'INVALID_DATA'],
]);

export interface LayoutRequest {
  /** Bytes of the file; grants are rounded outwards to blocks. */
  readonly offset: number;
  readonly length: number;
  readonly iomode: 'READ' | 'RW';
  /**
   * `return` (default): when the listeners of `recall` and `revoked` have run, nothing of the program touches the
   * range any more, and the library gives it back. `ignore`: the program calls `return` by itself, in time, or the
   * server fences it; the session does not come back after a loss before it has.
   */
  readonly onRecall?: 'return' | 'ignore';
}

export interface RecallNotice extends ByteRange {
  /** clora_changed: the blocks are about to move; do not write to them any more, not even to finish. */
  readonly changed: boolean;
}

interface LayoutEvents {
  recall: [RecallNotice];
  revoked: [ClientError];
}

/** What a layout needs of the file that it belongs to. */
export interface LayoutOwner {
  commitLayout(ranges: readonly ByteRange[], lastWriteOffset: number | undefined): Promise<void>;
  returnLayout(layout: HeldLayout, range: ByteRange): Promise<void>;
}

/**
 * A range of a file that the program itself reads and writes, with whatever engine it drives.
 *
 * Nothing may be started on it after `recall` or `revoked`, nor while `live` is false: the lease could have ended.
 */
export interface Layout extends EventEmitter<LayoutEvents> {
  readonly iomode: 'READ' | 'RW';
  readonly onRecall: 'return' | 'ignore';
  /**
   * Ascending by file offset; where READ_DATA and INVALID_DATA overlap the first is the source of a copy-on-write. What
   * was committed is READ_WRITE_DATA.
   */
  readonly segments: readonly LayoutSegment[];
  /** What is held still, ascending. */
  readonly ranges: readonly ByteRange[];
  /** Accesses may be started: held, and the lease cannot have ended. */
  readonly live: boolean;
  /**
   * What was written becomes part of the file, durably. From the call on nothing reads the READ_DATA below `ranges` any more.
   * @param ranges whole blocks, written as such, within what is held for writing
   * @throws ClientError BADLAYOUT (not held), ADMIN_REVOKED, STATE_LOST, and others of LAYOUTCOMMIT
   */
  commit(ranges: readonly ByteRange[], options?: { readonly lastWriteOffset?: number }): Promise<void>;
  /**
   * Nothing of the program touches `range` (all by default) any more. After `revoked` this is what tells the library so.
   * @throws ClientError of LAYOUTRETURN
   */
  return(range?: ByteRange): Promise<void>;
}

/** The layout as the file sees it. */
export class HeldLayout extends EventEmitter<LayoutEvents> implements Layout {
  readonly iomode: 'READ' | 'RW';
  readonly onRecall: 'return' | 'ignore';
  readonly #owner: LayoutOwner;
  readonly #leaseLive: () => boolean;
  #segments: readonly LayoutSegment[];
  #held: readonly ByteRange[];
  #revoked: ClientError | undefined;

  constructor(
    owner: LayoutOwner,
    request: Pick<LayoutRequest, 'iomode' | 'onRecall'>,
    segments: readonly LayoutSegment[],
    granted: ByteRange,
    leaseLive: () => boolean,
  ) {
    super();
    this.iomode = request.iomode;
    this.onRecall = request.onRecall ?? 'return';
    this.#owner = owner;
    this.#segments = segments;
    this.#held = [granted];
    this.#leaseLive = leaseLive;
  }

  get segments(): readonly LayoutSegment[] {
    return this.#segments;
  }

  get ranges(): readonly ByteRange[] {
    return this.#held;
  }

  get live(): boolean {
    return this.#revoked === undefined && this.#held.length > 0 && this.#leaseLive();
  }

  async commit(ranges: readonly ByteRange[], options: { readonly lastWriteOffset?: number } = {}): Promise<void> {
    if (this.#revoked !== undefined) throw this.#revoked;
    this.#segments = this.#segments.flatMap((segment) => committed(segment, ranges));
    await this.#owner.commitLayout(ranges, options.lastWriteOffset);
  }

  async return(range: ByteRange = everything): Promise<void> {
    if (this.#held.every((held) => overlap(held, range) === undefined)) return;
    await this.#owner.returnLayout(this, range);
  }

  /** The range is no part of this layout any more. */
  drop(range: ByteRange): void {
    this.#held = this.#held.flatMap((held) => without(held, [range]));
    this.#segments = this.#segments.flatMap((segment) => without(segment, [range]).map((left) => cut(segment, left)));
  }

  /** Tells the program, once, that nothing of it may be used. */
  revoke(why: ClientError): void {
    if (this.#revoked !== undefined) return;
    this.#revoked = why;
    this.emit('revoked', why);
  }

  /** The parts of `range` that are held, for writing or for reading as the recall asks. */
  within(range: ByteRange, mode: number): readonly ByteRange[] {
    const own = this.iomode === 'RW' ? iomode.rw : iomode.read;
    if (mode !== iomode.any && mode !== own) return [];
    return this.#held.flatMap((held) => overlap(held, range) ?? []);
  }
}

export type PlacedSegment = Extract<LayoutSegment, { readonly storageOffset: number }>;

function cut(segment: LayoutSegment, to: ByteRange): LayoutSegment {
  return segment.state === 'NONE_DATA' ? { ...segment, ...to } : cutPlaced(segment, to);
}

function cutPlaced(segment: PlacedSegment, { offset, length }: ByteRange): PlacedSegment {
  const by = offset - segment.offset;
  const { storageOffset, busAddress } = segment;
  const moved = {
    storageOffset: storageOffset + by,
    busAddress: busAddress === undefined ? undefined : busAddress + BigInt(by),
  };
  return { ...segment, offset, length, ...moved };
}

/** The old data below what was written is gone, and what was written is in its place (RFC 5663 §2.3.5). */
function committed(segment: LayoutSegment, ranges: readonly ByteRange[]): readonly LayoutSegment[] {
  if (segment.state !== 'READ_DATA' && segment.state !== 'INVALID_DATA') return [segment];
  const left = without(segment, ranges);
  const rest = left.map((part) => cutPlaced(segment, part));
  if (segment.state === 'READ_DATA') return rest;
  const written = without(segment, left);
  const filled = written.map((part) => ({ ...cutPlaced(segment, part), state: 'READ_WRITE_DATA' as const }));
  return [...rest, ...filled].sort((a, b) => a.offset - b.offset);
}
