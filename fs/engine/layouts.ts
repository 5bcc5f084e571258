/**
 * The engine's side of leasing (RFC 5663 §2.3, xfs_pnfs.c): which blocks a grant shows, blocks granted for writing
 * before they belong to the file, and what a commit makes of them.
 * Who may hold what is decided elsewhere; while a grant is held, the mapping below it does not change.
 */
import { assert, FsError } from '../errors.ts';
import { EXTENT_UNWRITTEN } from '../format/records.ts';
import { limits } from '../limits.ts';
import type { Timespec } from '../vfs.ts';
import { isBefore } from './clock.ts';
import { requireFile, requireSettled, zeroPastEnd } from './data.ts';
import type { Extent, Hole } from './extents.ts';
import { isCow, requireUnprotected } from './file-flags.ts';
import {
  BlockQueue,
  blocksIn,
  blocksOf,
  isUnwritten,
  mapBlocks,
  markBlocks,
  placement,
  unmapBlocks,
} from './file-space.ts';
import type { Inode } from './inode.ts';
import type { ByteRange, CommitRequest, ExtentState, LayoutExtent } from './leases.ts';
import { extentState } from './leases.ts';
import { changed } from './namespace.ts';
import { isPinned, requireWithinPinned } from './pinned.ts';
import { dropPrivileges } from './privileges.ts';
import { blocksToCommit, commitStaged, toProvide, writablePieces } from './staging.ts';
import type { Volume } from './volume.ts';
import { residentXattrs } from './xattr-records.ts';

const bs = limits.blockSize;
/** Client ids begin at 1. */
const nobody = 0;

/** READ_DATA where the file has data, NONE_DATA elsewhere, up to the block that holds the end of the file. @throws Wait */
export function mapForRead(v: Volume, inode: Inode, range: ByteRange): readonly LayoutExtent[] {
  requireFile(inode);
  v.cutting.requireNone(inode.ino);
  const { from, to } = blockRange(inode, range);
  const extents: LayoutExtent[] = [];
  for (const part of coverFile(v, inode, from, Math.min(to, blocksOf(inode.size)))) {
    if (part.block === undefined || isUnwritten(part)) push(extents, extentState.none, part, 0);
    else push(extents, extentState.read, part, part.block);
  }
  return extents;
}

/**
 * READ_WRITE_DATA where the file has blocks of its own, INVALID_DATA where the client has to write whole blocks first: on
 * unwritten blocks of the file, and on provisional ones over holes and over what is shared or staged, there with READ_DATA
 * below (staging.ts). The caller makes it durable before it is granted (I5).
 * What the client will write nobody sees, so the file loses its privileges now (as in xfs_fs_map_blocks).
 * @throws FsError ENOSPC, EDQUOT, EROFS, EFBIG, EAGAIN (provided to another client); Wait
 */
export function mapForWrite(
  v: Volume,
  inode: Inode,
  range: ByteRange,
  client: number,
  isUrgent = false,
): readonly LayoutExtent[] {
  v.requireChangeable(inode);
  requireFile(inode);
  requireUnprotected(inode);
  const { from, to } = blockRange(inode, range);
  if (to * bs > limits.fileSizeMax) throw new FsError('EFBIG', { ino: inode.ino, range });
  requireSettled(v, inode);
  requireWithinPinned(v, inode, to * bs);
  residentXattrs(v, inode);
  const missing = missingIn(v, inode, from, to, client);
  const by = isUrgent ? { client } : undefined;
  v.requireQuota(inode, blocksIn(missing), 0, by);
  v.requireSpace(inode.ino, blocksIn(missing), v.freeTo('client'), by);

  provide(v, inode, missing, client);
  if (dropPrivileges(v, inode)) changed(v, inode, v.clock.now());
  if (isCow(inode)) disownTail(v, inode);
  else if (!isPinned(inode)) ownTail(v, inode, from, to, client);

  const extents: LayoutExtent[] = [];
  for (const part of coverFile(v, inode, from, to)) {
    for (const { at, old, isProvided } of writablePieces(v, inode, part, client)) {
      if (old !== undefined) push(extents, extentState.read, at, old);
      push(extents, isProvided || isUnwritten(at) ? extentState.invalid : extentState.readWrite, at, at.block);
    }
  }
  return extents;
}

/**
 * Blocks the client wrote become the file's (RFC 8881 §18.42), in place of shared ones where they lie over such: the size
 * grows to the last byte written and never shrinks, the modification time never goes back. Blocks past the end of the
 * file stay provisional.
 * @throws FsError EINVAL (the last byte lies outside the ranges, or these are not of whole blocks), EFBIG, EROFS, ENOSPC and EDQUOT (a `cow` file); Wait
 */
export function commit(
  v: Volume,
  inode: Inode,
  request: CommitRequest,
  client: number,
): { readonly size: number | undefined } {
  v.requireWritable();
  requireFile(inode);
  requireUnprotected(inode);
  // All behind the end is being cut off, what is mapped there from now on too.
  v.cutting.requireNone(inode.ino);
  const last = request.lastWriteOffset;
  const refuse = (detail: string): never => {
    throw new FsError('EINVAL', { ino: inode.ino, client, detail });
  };
  if (last !== undefined && !request.ranges.some(({ offset, length }) => last >= offset && last < offset + length))
    refuse(`last write at ${last} outside the committed ranges`);
  const size = last === undefined ? inode.size : Math.max(inode.size, last + 1);
  if (size > limits.fileSizeMax) throw new FsError('EFBIG', { ino: inode.ino, client });
  const partial = request.ranges.find((range) => !isOfWholeBlocks(range, size));
  if (partial !== undefined) refuse(`a commit of ${partial.length} bytes at ${partial.offset}, a part of a block`);
  const written = request.ranges
    .map(({ offset, length }) => ({
      from: Math.floor(offset / bs),
      to: Math.min(blocksOf(offset + length), blocksOf(size)),
    }))
    .filter(({ from, to }) => from < to);
  const isStaged = isCow(inode);
  if (isStaged) {
    const needed = written.map(({ from, to }) => blocksToCommit(v, inode, from, to, client));
    // The stage stays the client's, and counts beside what the file gets.
    v.requireQuota(inode, sum(needed.map(({ gained }) => gained)));
    v.requireSpace(inode.ino, sum(needed.map(({ taken }) => taken)));
  }
  request.requireHeld?.();

  const grew = size > inode.size;
  if (isStaged && grew) zeroPastEnd(v, inode, size);
  for (const { from, to } of written) {
    if (isStaged) commitStaged(v, inode, from, to, client);
    else commitBlocks(v, inode, from, to, client);
  }
  const end = Math.floor(size / bs);
  if (!isStaged && (grew || written.some(({ from, to }) => from <= end && end < to))) {
    v.tailOwners.set(inode.ino, client);
  }
  inode.size = size;
  const now = v.clock.now();
  const mtime = request.mtimeNs === undefined ? now : timespecOf(request.mtimeNs);
  if (isBefore(inode.mtime, mtime)) inode.mtime = isBefore(now, mtime) ? now : mtime;
  changed(v, inode, now);
  return { size: grew ? size : undefined };
}

/**
 * Half a block cannot be committed (RFC 5663 §2.3): the rest of it would be whatever was there before. Past the end of the file
 * there is no rest that anybody sees.
 */
function isOfWholeBlocks({ offset, length }: ByteRange, size: number): boolean {
  const end = offset + length;
  return offset % bs === 0 && (end % bs === 0 || end >= size);
}

/** The client gave the range back, which it held for writing: what it did not commit there is gone, and free once the group is durable. */
export function releaseProvisional(v: Volume, ino: number, range: ByteRange, client: number): void {
  discardTail(v, ino, range, client);
  const map = v.provisional.get(ino);
  if (map === undefined) return;
  const own = [...map.within(Math.floor(range.offset / bs), blocksOf(range.offset + range.length))].filter(
    (extent) => extent.mark === client,
  );
  const touch = v.changes.provisionalOf(ino);
  const inode = v.inodes.peek(ino);
  for (const extent of own) {
    map.remove(extent.fileBlock, extent.fileBlock + extent.length, touch);
    v.space.releaseProvisional(extent, v.group.open, client);
    if (inode !== undefined) v.quotas.charge(inode, -extent.length);
  }
  if (map.isEmpty) v.provisional.delete(ino);
}

/**
 * The bytes past the end of the file in its last block are the client's whose write layout covers them: they may be data
 * to be committed. What somebody else left there, or a crash, must not show when this client makes the file grow.
 */
function ownTail(v: Volume, inode: Inode, from: number, to: number, client: number): void {
  const end = Math.floor(inode.size / bs);
  const covers = from <= end && end < to;
  const owner = v.tailOwners.get(inode.ino);
  if (owner === undefined || (covers && owner !== client)) zeroPastEnd(v, inode, Infinity);
  if (owner === undefined || covers) v.tailOwners.set(inode.ino, covers ? client : nobody);
}

/** Where clients write to a stage, what is past the end in the file's own block is nobody's. */
function disownTail(v: Volume, inode: Inode): void {
  zeroPastEnd(v, inode, Infinity);
  v.tailOwners.set(inode.ino, nobody);
}

/** What the client wrote past the end and did not commit goes with its layout, unless another one has come meanwhile. */
function discardTail(v: Volume, ino: number, { offset, length }: ByteRange, client: number): void {
  const inode = v.inodes.peek(ino);
  if (inode === undefined || v.tailOwners.get(ino) !== client || v.readOnly || v.shutdown !== undefined) return;
  const end = Math.floor(inode.size / bs) * bs;
  if (offset > end || end >= offset + length) return;
  zeroPastEnd(v, inode, Infinity);
  v.tailOwners.set(ino, nobody);
}

/** What has to be provided in the range and is not yet. @throws FsError EAGAIN: to another client it was */
function missingIn(v: Volume, inode: Inode, from: number, to: number, client: number): readonly Hole[] {
  const provided = v.provisional.get(inode.ino);
  const missing: Hole[] = [];
  for (const part of toProvide(v, inode, from, to)) {
    for (const hole of provided?.cover(part.fileBlock, part.fileBlock + part.length) ?? [part]) {
      if (hole.block === undefined) missing.push(hole);
      else if (hole.mark !== client)
        throw new FsError('EAGAIN', { ino: inode.ino, client, detail: `provided to client ${hole.mark}` });
    }
  }
  return missing;
}

/** Parts of the file, for which there is room, get blocks that are the client's until it commits. */
function provide(v: Volume, inode: Inode, missing: readonly Hole[], client: number): void {
  const first = missing[0];
  if (first === undefined) return;
  const needed = blocksIn(missing);
  const pieces = v.space.allocateProvisional(needed, client, placement(v, inode, first.fileBlock, needed));
  assert(pieces !== undefined, 'there is room for what is missing');
  const blocks = new BlockQueue(pieces);
  const map = v.provisionalOf(inode.ino);
  const touch = v.changes.provisionalOf(inode.ino);
  for (const hole of missing) {
    for (let done = 0; done < hole.length; ) {
      const taken = blocks.take(hole.length - done);
      map.insert({ fileBlock: hole.fileBlock + done, ...taken, mark: client }, touch);
      v.quotas.charge(inode, taken.length);
      done += taken.length;
    }
  }
}

/**
 * The file maps what was provided, in one group with the end of what it mapped there: a shared block loses a sharer, and is
 * free with the last one. Whoever else may read it does so through another file that maps it; the committing client has said
 * that it does not any more (docs/protocol.md, LAYOUTCOMMIT; I6).
 */
function commitBlocks(v: Volume, inode: Inode, from: number, to: number, client: number): void {
  const map = v.provisional.get(inode.ino);
  const own = [...(map?.within(from, to) ?? [])].filter(({ mark }) => mark === client);
  const touch = v.changes.provisionalOf(inode.ino);
  for (const extent of own) {
    map?.remove(extent.fileBlock, extent.fileBlock + extent.length, touch);
    v.space.provisionalToFile(extent, client);
    v.quotas.charge(inode, -extent.length);
    unmapBlocks(v, inode, extent.fileBlock, extent.fileBlock + extent.length);
    mapBlocks(v, inode, extent.fileBlock, extent, 0);
  }
  if (map?.isEmpty === true) v.provisional.delete(inode.ino);
  markBlocks(v, inode, from, to, (flags) => flags & ~EXTENT_UNWRITTEN);
  for (const extent of v.extents.get(inode.ino)?.within(from, to) ?? []) v.wrote(extent.block * bs, extent.length * bs);
}

function* coverFile(v: Volume, inode: Inode, from: number, to: number): Generator<Extent | Hole> {
  const map = v.extents.get(inode.ino);
  if (map !== undefined) yield* map.cover(from, to);
  else if (from < to) yield { fileBlock: from, block: undefined, length: to - from };
}

function push(
  extents: LayoutExtent[],
  state: ExtentState,
  part: { fileBlock: number; length: number },
  block: number,
): void {
  extents.push({
    state,
    offset: part.fileBlock * bs,
    length: part.length * bs,
    device: 0,
    storageOffset: block * bs,
  });
}

function blockRange(inode: Inode, { offset, length }: ByteRange): { from: number; to: number } {
  if (offset % bs !== 0 || (length !== Infinity && length % bs !== 0) || offset < 0 || length <= 0) {
    throw new FsError('EINVAL', { ino: inode.ino, range: { offset, length }, detail: 'layouts cover whole blocks' });
  }
  return { from: offset / bs, to: (offset + length) / bs };
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0);
}

function timespecOf(ns: bigint): Timespec {
  const nsec = ((ns % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
  return { sec: Number((ns - nsec) / 1_000_000_000n), nsec: Number(nsec) };
}
