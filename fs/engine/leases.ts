/**
 * What the engine asks of the leasing side, and what leasing asks of the engine. Neither knows the other's inside.
 */
import type { Caller, Reply } from '../vfs.ts';
import type { BuffersRequest } from './session-buffers.ts';

/** Bytes of a file; `length` may be Infinity: to the end and beyond. */
export interface ByteRange {
  readonly offset: number;
  readonly length: number;
}

/**
 * Why layouts stand in the way. docs/coherence.md says which operation asks for what.
 * `write`: bytes change in place: every layout of another client over them goes.
 * `remap`: blocks come where there were none, or others (a write to a hole, to unwritten or shared blocks): every layout
 * over them goes, the caller's own too. What holders have written lasts, so they commit it first.
 * `unmap`: content leaves the file or moves: every layout over it goes, the caller's own too, and is not to be written
 * through any more (clora_changed of RFC 8881 §20.3).
 * `extend`: space is added where a client may have been given some, or the rest of the last block is zeroed, where it may
 * have written what it has yet to commit: layouts for writing go, those for reading stay as right as they were.
 * `share`: blocks become shared (clone, snapshot): layouts for writing go, those for reading stay.
 * `cache`: a cache above the filesystem reads bytes and keeps them: layouts for writing go, those for reading stay.
 */
export type BreakReason = 'write' | 'remap' | 'unmap' | 'extend' | 'share' | 'cache';

/** A recall under way. New grants on the range are refused until `release` (I3), so that the waiting operation gets through. */
export interface LayoutBreak {
  /** Settles when no conflicting layout is left: returned, expired or fenced. Never rejects, never waits forever (I9). */
  readonly done: Promise<void>;
  release(): void;
}

export interface Leases {
  /** undefined: nothing in the way. Otherwise the recall has been decided and nothing was changed. */
  breakLayouts(ino: number, range: ByteRange, reason: BreakReason, client: number | undefined): LayoutBreak | undefined;
  /**
   * Something of inode `ino` needs space, or quota, that is used up: asks for what clients were granted on other files beyond
   * what they had asked for. Settles when that is back, and never rejects. undefined: there is none.
   */
  takeBackSpare?(ino: number): Promise<void> | undefined;
  /**
   * The same, when that was not enough: asks for what clients were granted on `files`, had asked for and have not committed,
   * in this order until it is enough. undefined: nothing can be asked for now.
   */
  takeBackProvided?(files: readonly ProvidedFile[], need: SpaceNeed): Promise<void> | undefined;
}

/** A file with blocks that clients were given and have not committed, all of them within the range. */
export interface ProvidedFile extends ByteRange {
  readonly ino: number;
  readonly blocks: number;
}

/** Space that somebody lacks who cannot do with less, and for whom nobody waits in turn. */
export interface SpaceNeed {
  readonly blocks: number;
  /** Who lacks it; undefined: no client. What it holds itself it is not asked for: it may be busy waiting. */
  readonly client: number | undefined;
}

export interface MapOptions {
  /** Others give back for it what they have not committed. */
  readonly isUrgent: boolean;
  readonly places?: Caller['places'];
}

/**
 * A mapping for writing was not made: what caches above the filesystem have to write back first waits for the very
 * reservation that it is made for. To be asked for again, with a new reservation, after `until`, which never rejects.
 */
export class GrantBusy extends Error {
  readonly until: Promise<void>;

  constructor(until: Promise<void>) {
    super('operations wait for the range');
    this.until = until;
  }
}

/** For a filesystem that nobody leases from. */
export const noLeases: Leases = { breakLayouts: () => undefined };

/** RFC 5663 §2.3 extent states, by their numbers there. */
export const extentState = { readWrite: 0, read: 1, invalid: 2, none: 3 } as const;
export type ExtentState = (typeof extentState)[keyof typeof extentState];

/** One piece of a layout: bytes of the file and where they lie on the device (undefined for NONE_DATA). */
export interface LayoutExtent {
  readonly state: ExtentState;
  readonly offset: number;
  readonly length: number;
  readonly device: number;
  readonly storageOffset: number;
}

/** How far a file goes on in the same way from a block on; bytes of the file. */
export interface LayoutReach {
  /** To here it has blocks with data that no other file shares: READ_WRITE_DATA in a layout for writing. */
  readonly written: number;
  /** To here it has blocks that no other file shares: a layout for writing takes no space. */
  readonly own: number;
  /** To here there are no more extents than asked about. */
  readonly listed: number;
}

/** Bytes the client wrote under a layout; block-aligned except for the end of the file. */
export interface CommitRequest {
  readonly ranges: readonly ByteRange[];
  /** Offset of the last byte written, if the client says so; the size becomes at least that + 1, never less. */
  readonly lastWriteOffset: number | undefined;
  /** In nanoseconds since 1970; the server's clock otherwise. */
  readonly mtimeNs: bigint | undefined;
  /** Called right before the change, after any wait: throws if the client may not commit any more. */
  readonly requireHeld?: () => void;
}

/** Whole blocks of a file, and the byte of the device where a grant of the former run had them. */
export interface ReclaimedExtent extends ByteRange {
  readonly storageOffset: number;
}

/** What a client wrote under layouts of the former run and had not committed. */
export interface ReclaimRequest extends Omit<CommitRequest, 'ranges'> {
  readonly extents: readonly ReclaimedExtent[];
}

/** A range that a fenced client could reach. */
export interface FencedSegment {
  readonly ino: number;
  readonly offset: number;
  readonly length: number;
  readonly access: 'read' | 'write';
}

/** The engine's side of leasing: maps, provisions, commits, quarantines. Ranges are block-aligned unless said otherwise. */
export interface LayoutBackend {
  /** Looks no farther than `range`, of whole blocks, and `extentsMax` extents. @throws FsError ENOENT, EISDIR, EINVAL */
  reach(ino: number, range: ByteRange, extentsMax: number): Reply<LayoutReach>;
  /**
   * The client is to be granted extents for reading, READ_DATA and NONE_DATA, ascending and gapless over
   * [offset, offset+length), but not beyond the end of the file rounded up to a block. The mapping, and that the client
   * has it, are durable when it answers (I5).
   * @throws FsError ENOENT, EISDIR, EINVAL (not a regular file)
   */
  mapForRead(ino: number, range: ByteRange, client: number): Reply<readonly LayoutExtent[]>;
  /**
   * Extents for writing, READ_WRITE_DATA and INVALID_DATA, ascending and gapless over the whole range, over holes and over
   * shared blocks provisional ones; READ_DATA right before the INVALID_DATA that lies over the same bytes. All of it is
   * durable when it settles (I5).
   * @throws FsError ENOSPC, EDQUOT, EROFS, EFBIG, ENOENT, EAGAIN (no place to wait in); GrantBusy
   */
  mapForWrite(ino: number, range: ByteRange, client: number, options?: MapOptions): Reply<readonly LayoutExtent[]>;
  /**
   * Blocks of no file for the client to write to (session-buffers.ts): all of them, or none. Where each begins on the device, in bytes.
   * It is on record when it settles. They go as what was granted on a file does, which has the number `buffersIno`, and
   * whose byte N is byte N of the device.
   * @throws FsError EINVAL, ENOSPC, EROFS
   */
  provideBuffers(request: BuffersRequest, client: number): Reply<readonly number[]>;
  /** What was written becomes part of the file, durably (RFC 8881 §18.42). Answers the size if it changed. */
  commitLayout(ino: number, request: CommitRequest, client: number): Promise<{ readonly size: number | undefined }>;
  /**
   * As `commitLayout`, of what one of `formers`, incarnations of one client before the restart, was granted (RFC 8881
   * §18.42, loca_reclaim). undefined, and nothing is changed: the file is not there, or not all of it is on record for
   * one of them as it was then.
   * @throws FsError EINVAL, EFBIG, EROFS, ENOSPC, EDQUOT
   */
  reclaimLayout(
    ino: number,
    request: ReclaimRequest,
    formers: readonly number[],
  ): Promise<{ readonly size: number | undefined } | undefined>;
  /** Files that the client may have layouts on, as the store says: of a former client, all that is known. */
  granted(client: number): ReadonlyMap<number, 'read' | 'write'>;
  /** The client holds no layout on the file any more. Becomes durable with something else. */
  forgetGrant(ino: number, client: number): void;
  /** The client returned the range: uncommitted provisional blocks go back to free space. */
  releaseProvisional(ino: number, range: ByteRange, client: number): Reply<void>;
  /**
   * The client was fenced. Provisional blocks go to quarantine; blocks it could write are copied away and
   * quarantined; blocks it could read are quarantined once the file gives them up. That is all it can reach: what was
   * granted to it is forgotten. Durable when it settles; it never is after a failure that shut the filesystem down.
   */
  quarantine(client: number, segments: readonly FencedSegment[]): Promise<void>;
  /**
   * Clients of a former run that nobody has heard of. Only the files are known that they had layouts on, so each of them may
   * reach any block of those; otherwise as `quarantine`.
   */
  quarantineFormer(clients: readonly number[]): Promise<void>;
  /** What is in quarantine for the client, also what is still in a file: bytes of the device, ascending and disjoint. */
  held(client: number): readonly ByteRange[];
  /** The client reaches nothing of it any more: its blocks may be reused. */
  releaseQuarantine(client: number): Promise<void>;
}
