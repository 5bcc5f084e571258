/** fallocate(2) and lseek(2): space without data, and where data is. */
import { FsError } from '../errors.ts';
import { EXTENT_UNWRITTEN } from '../format/records.ts';
import { limits } from '../limits.ts';
import type { Caller, FallocateMode } from '../vfs.ts';
import { copiesToZero, requireFile, requireNoLayoutsPastEnd, requireSettled, zeroBytes, zeroPastEnd } from './data.ts';
import type { Hole } from './extents.ts';
import { requireMutable, requireUnprotected } from './file-flags.ts';
import {
  allocate,
  BlockQueue,
  blocksIn,
  blocksOf,
  cutBlocks,
  isUnwritten,
  mapBlocks,
  unmapBlocks,
} from './file-space.ts';
import type { Inode } from './inode.ts';
import { requireNoLayoutsOn } from './layout-waits.ts';
import { changed } from './namespace.ts';
import { isPinned, requireNotPinned, requireWithinPinned } from './pinned.ts';
import { dropPrivileges, keepsPrivileges, requirePrivilegesKnown } from './privileges.ts';
import type { Volume } from './volume.ts';

const bs = limits.blockSize;

/** @throws FsError ENOSPC, EDQUOT, EFBIG, EINVAL (collapse and insert take whole blocks inside the file), EROFS; Wait */
export function fallocate(
  v: Volume,
  inode: Inode,
  mode: FallocateMode,
  offset: number,
  length: number,
  by: Caller,
): void {
  v.requireChangeable(inode);
  requireFile(inode);
  // Space is no content (vfs_fallocate of Linux).
  if (mode === 'allocate' || mode === 'allocate-keep-size') requireMutable(inode);
  else requireUnprotected(inode);
  const end = offset + length;
  if (length <= 0 || offset < 0) throw new FsError('EINVAL', { ino: inode.ino, range: { offset, length } });
  if (end > limits.fileSizeMax) throw new FsError('EFBIG', { ino: inode.ino, range: { offset, length } });
  requireSettled(v, inode);
  const shifts = mode === 'collapse' || mode === 'insert';
  if (shifts || mode === 'punch') requireNotPinned(inode, 'it has no holes, and its blocks stay in place');
  else requireWithinPinned(v, inode, end);
  if (shifts) requireShiftable(v, inode, mode, offset, length);
  const grows = (mode === 'allocate' || mode === 'zero') && end > inode.size;
  requirePrivilegesKnown(v, inode, by);
  if (mode === 'allocate' || mode === 'allocate-keep-size')
    requireNoneProvided(v, inode, holesIn(v, inode, offset, end));
  else {
    const from = Math.floor(offset / bs) * bs;
    // The blocks of a pinned file stay: zeros are written to them as anything else.
    const reason = isPinned(inode) ? 'write' : 'unmap';
    v.requireNoLayouts(inode.ino, { offset: from, length: shifts ? Infinity : blocksOf(end) * bs - from }, reason);
  }
  if (grows) requireNoLayoutsPastEnd(v, inode);

  switch (mode) {
    case 'allocate':
    case 'allocate-keep-size':
      allocateHoles(v, inode, holesIn(v, inode, offset, end), by);
      break;
    case 'punch':
      punch(v, inode, offset, end);
      break;
    case 'zero':
    case 'zero-keep-size':
      zero(v, inode, offset, end, by);
      break;
    case 'collapse':
      unmapBlocks(v, inode, offset / bs, end / bs);
      shift(v, inode, end / bs, -length / bs);
      inode.size -= length;
      break;
    case 'insert':
      shift(v, inode, offset / bs, length / bs);
      inode.size += length;
      break;
  }
  if (grows) {
    zeroPastEnd(v, inode, end);
    inode.size = end;
  }
  const now = v.clock.now();
  if (mode !== 'allocate' && mode !== 'allocate-keep-size') inode.mtime = now;
  if (!keepsPrivileges(by)) dropPrivileges(v, inode, by);
  changed(v, inode, now);
}

/**
 * SEEK_DATA and SEEK_HOLE of lseek(2); the end of the file is a hole.
 * @throws FsError ENXIO: at or past the end, or no data follows; Wait
 */
export function seek(v: Volume, inode: Inode, offset: number, whence: 'data' | 'hole'): number {
  requireFile(inode);
  v.cutting.requireNone(inode.ino);
  if (offset < 0 || offset >= inode.size) throw new FsError('ENXIO', { ino: inode.ino, range: { offset, length: 0 } });
  const map = v.extents.get(inode.ino);
  let at = Math.floor(offset / bs);
  const end = blocksOf(inode.size);
  for (const part of map?.within(at, end) ?? []) {
    if (isUnwritten(part)) continue;
    if (whence === 'data') return Math.max(offset, part.fileBlock * bs);
    if (part.fileBlock > at) break;
    at = part.fileBlock + part.length;
  }
  if (whence === 'data') throw new FsError('ENXIO', { ino: inode.ino, range: { offset, length: 0 } });
  return Math.min(inode.size, Math.max(offset, at * bs));
}

function holesIn(v: Volume, inode: Inode, offset: number, end: number): readonly Hole[] {
  const holes: Hole[] = [];
  for (const part of v.extentsOf(inode.ino).cover(Math.floor(offset / bs), blocksOf(end))) {
    if (part.block === undefined) holes.push(part);
  }
  return holes;
}

/**
 * Holes that get blocks read as zeros before and after, so only clients that were given blocks of their own to fill them
 * with are in the way. @throws Wait
 */
function requireNoneProvided(v: Volume, inode: Inode, holes: readonly Hole[]): void {
  const provided = v.provisional.get(inode.ino);
  if (provided === undefined) return;
  const ranges = holes
    .flatMap(({ fileBlock, length }) => [...provided.within(fileBlock, fileBlock + length)])
    .map(({ fileBlock, length }) => ({ offset: fileBlock * bs, length: length * bs }));
  requireNoLayoutsOn(v, inode.ino, ranges, 'extend');
}

function allocateHoles(v: Volume, inode: Inode, holes: readonly Hole[], by: Caller): void {
  v.requireQuota(inode, blocksIn(holes), 0, by);
  v.requireSpace(inode.ino, blocksIn(holes), v.freeTo(by), by);
  fillHoles(v, inode, holes);
}

/** There is room for them. */
function fillHoles(v: Volume, inode: Inode, holes: readonly Hole[]): void {
  const first = holes[0];
  if (first === undefined) return;
  const blocks = new BlockQueue(allocate(v, inode, first.fileBlock, blocksIn(holes)));
  for (const hole of holes) {
    for (let done = 0; done < hole.length; ) {
      const taken = blocks.take(hole.length - done);
      mapBlocks(v, inode, hole.fileBlock + done, taken, EXTENT_UNWRITTEN);
      done += taken.length;
    }
  }
}

/** Room for all of it first: what is filled already would not go back if there were none for the rest. */
function zero(v: Volume, inode: Inode, offset: number, end: number, by: Caller): void {
  const holes = holesIn(v, inode, offset, end);
  v.requireQuota(inode, blocksIn(holes));
  v.requireSpace(inode.ino, blocksIn(holes) + copiesToZero(v, inode, offset, end), v.freeTo(by));
  fillHoles(v, inode, holes);
  zeroBytes(v, inode, offset, end);
}

/** Whole blocks leave the file, the edges are zeroed; the last block of the file is whole where the file ends in it. */
function punch(v: Volume, inode: Inode, offset: number, end: number): void {
  const firstWhole = blocksOf(offset);
  const lastWhole = end >= inode.size ? blocksOf(end) : Math.floor(end / bs);
  if (firstWhole > lastWhole || firstWhole * bs > end) {
    zeroBytes(v, inode, offset, end);
    return;
  }
  const [head, tail] = [firstWhole * bs, lastWhole * bs];
  // Both edges may lie in shared blocks, which are copied: room for them before the first change.
  v.requireSpace(inode.ino, copiesToZero(v, inode, offset, head) + copiesToZero(v, inode, tail, end));
  zeroBytes(v, inode, offset, head);
  zeroBytes(v, inode, tail, end);
  if (firstWhole < lastWhole) cutBlocks(v, inode, firstWhole, lastWhole);
}

function requireShiftable(v: Volume, inode: Inode, mode: 'collapse' | 'insert', offset: number, length: number): void {
  const aligned = offset % bs === 0 && length % bs === 0;
  const inside = mode === 'collapse' ? offset + length < inode.size : offset < inode.size;
  if (!aligned || !inside) throw new FsError('EINVAL', { ino: inode.ino, range: { offset, length }, detail: mode });
  if (mode === 'collapse') return;
  // Blocks past the end (allocate-keep-size) move too.
  const last = v.extents.get(inode.ino)?.last;
  const end = Math.max(inode.size, last === undefined ? 0 : (last.fileBlock + last.length) * bs);
  if (end + length > limits.fileSizeMax) throw new FsError('EFBIG', { ino: inode.ino, range: { offset, length } });
}

/** Everything from `fileBlock` on moves by `by` blocks within the file; not on the device. */
function shift(v: Volume, inode: Inode, fileBlock: number, by: number): void {
  const map = v.extents.get(inode.ino);
  if (map === undefined) return;
  const touch = v.changes.extentsOf(inode.ino);
  const moved = map.remove(fileBlock, Infinity, touch);
  for (const extent of moved) map.insert({ ...extent, fileBlock: extent.fileBlock + by }, touch);
  inode.shifted = v.group.open;
}
