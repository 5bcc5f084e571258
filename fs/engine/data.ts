/**
 * File data. In place where the blocks are this file's alone; to new blocks where they are shared or the file asks for
 * it (copy-on-write), so that whoever holds the old blocks is never harmed. What no extent maps, and unwritten
 * extents, read as zeros. Bytes between the end of the file and the end of its last block are zeros.
 */
import { FsError } from '../errors.ts';
import { EXTENT_UNWRITTEN } from '../format/records.ts';
import { limits } from '../limits.ts';
import type { Caller } from '../vfs.ts';
import type { Extent, Hole } from './extents.ts';
import { isCow, requireMutable } from './file-flags.ts';
import {
  BlockQueue,
  blocksOf,
  byShares,
  cutBlocks,
  isUnwritten,
  mapBlocks,
  markBlocks,
  type SharedPart,
  takeBlocks,
  unmapBlocks,
} from './file-space.ts';
import type { Inode } from './inode.ts';
import type { SpaceNeed } from './leases.ts';
import { changed, touched } from './namespace.ts';
import { requireWithinPinned } from './pinned.ts';
import { dropPrivileges, keepsPrivileges, requirePrivilegesKnown } from './privileges.ts';
import type { Taker, Volume } from './volume.ts';
import { Wait } from './wait.ts';

const bs = limits.blockSize;
const zeros = new Uint8Array(1 << 20);

/**
 * Up to `length` bytes at `offset`, as views of the device and of a page of zeros.
 * @throws FsError EISDIR, EINVAL (not a regular file); Wait while a hole is made in it
 */
export function read<T>(
  v: Volume,
  inode: Inode,
  offset: number,
  length: number,
  use: (pieces: readonly Uint8Array[]) => T,
): T {
  requireFile(inode);
  v.cutting.requireNone(inode.ino);
  const end = Math.min(offset + length, inode.size);
  if (offset >= end) return use([]);
  const map = v.extents.get(inode.ino);
  const whole = map?.find(Math.floor(offset / bs));
  if (whole !== undefined && !isUnwritten(whole)) {
    const within = offset - whole.fileBlock * bs;
    if (within >= 0 && end <= (whole.fileBlock + whole.length) * bs) {
      return use(bytesAt(v, whole.block * bs + within, end - offset));
    }
  }
  const pieces: Uint8Array[] = [];
  if (map === undefined) pushZeros(pieces, end - offset);
  else {
    for (const part of map.cover(Math.floor(offset / bs), blocksOf(end))) {
      const from = Math.max(offset, part.fileBlock * bs);
      const to = Math.min(end, (part.fileBlock + part.length) * bs);
      if (part.block === undefined || isUnwritten(part)) pushZeros(pieces, to - from);
      else pieces.push(...bytesAt(v, part.block * bs + (from - part.fileBlock * bs), to - from));
    }
  }
  return use(pieces);
}

/**
 * Writes `data` at `offset` and answers how much of it there was room for; `isWhole`: all of it, or it is an error.
 * @throws FsError ENOSPC, EDQUOT (no room at all), EFBIG, EROFS, EISDIR, EPERM; Wait while layouts are recalled or freed blocks settle
 */
export function write(
  v: Volume,
  inode: Inode,
  offset: number,
  data: Uint8Array,
  by: Caller,
  isWhole = isCow(inode),
): number {
  v.requireChangeable(inode);
  requireFile(inode);
  requireMutable(inode);
  if (offset + data.length > limits.fileSizeMax)
    throw new FsError('EFBIG', { ino: inode.ino, range: { offset, length: data.length } });
  if (data.length === 0) return 0;
  requireWithinPinned(v, inode, offset + data.length);
  requireSettled(v, inode);
  requirePrivilegesKnown(v, inode, by);
  requireNoLayoutsToWrite(v, inode, offset, data.length, by);
  const length = store(v, inode, offset, data, by, isWhole);

  const now = v.clock.now();
  const grows = offset + length > inode.size;
  if (grows) {
    zeroPastEnd(v, inode, offset);
    inode.size = offset + length;
  }
  inode.mtime = now;
  const drops = !keepsPrivileges(by) && dropPrivileges(v, inode, by);
  if (grows || drops) changed(v, inode, now);
  else touched(v, inode, now);
  return length;
}

/**
 * Before a write of these bytes. In place, whoever writes keeps its own layouts; where a block is added, copied or no
 * longer unwritten, they would say what is not so any more, and go too.
 * @throws Wait
 */
export function requireNoLayoutsToWrite(v: Volume, inode: Inode, offset: number, length: number, by: Caller): void {
  if (offset > inode.size) requireNoLayoutsPastEnd(v, inode);
  const [first, last] = [Math.floor(offset / bs), blocksOf(offset + length)];
  const range = { offset: first * bs, length: (last - first) * bs };
  v.requireNoLayouts(inode.ino, range, isInPlace(v, inode, first, last) ? 'write' : 'remap', by.client);
}

/**
 * Makes the file `size` bytes long: frees the blocks past it, many of them in slices (cutting.ts), and zeroes the rest of the last one.
 * Waits for layouts over what is freed or zeroed (RFC 5663 §2.3.5): blocks that clients were given behind the end stay
 * theirs. A file that grows recalls nothing but who may write to the block that it ended in.
 * @throws FsError EFBIG, EROFS, EISDIR, EINVAL, ENOSPC (the last block is shared and must be copied); Wait
 */
export function truncate(v: Volume, inode: Inode, size: number): void {
  v.requireChangeable(inode);
  requireFile(inode);
  if (size > limits.fileSizeMax) throw new FsError('EFBIG', { ino: inode.ino, range: { offset: 0, length: size } });
  requireSettled(v, inode);
  requireWithinPinned(v, inode, size);
  const cut = Math.floor(size / bs) * bs;
  const goes = { offset: size < inode.size ? cut : blocksOf(size) * bs, end: endOfBlocks(v, inode) };
  if (size > inode.size) requireNoLayoutsPastEnd(v, inode);
  else if (goes.offset < goes.end) {
    v.requireNoLayouts(inode.ino, { offset: goes.offset, length: goes.end - goes.offset }, 'unmap');
  }
  if (size < inode.size && size > cut) zeroBytes(v, inode, size, Math.min(inode.size, cut + bs));

  if (size <= inode.size) cutBlocks(v, inode, blocksOf(size), Infinity);
  else zeroPastEnd(v, inode, size);
  inode.size = size;
  const now = v.clock.now();
  inode.mtime = now;
  changed(v, inode, now);
}

/** Bytes [from, to) read as zeros from now on; mapped blocks stay mapped. @throws FsError ENOSPC; Wait */
export function zeroBytes(v: Volume, inode: Inode, from: number, to: number): void {
  v.requireSpace(inode.ino, copiesToZero(v, inode, from, to));
  for (const part of writtenParts(v, inode, from, to)) {
    const start = Math.max(from, part.fileBlock * bs);
    const end = Math.min(to, (part.fileBlock + part.length) * bs);
    for (let at = start; at < end; ) {
      // Ends with a block, so that none is copied twice.
      const length = Math.min(end - at, zeros.length - (at % bs));
      store(v, inode, at, zeros.subarray(0, length), 'system', isCow(inode));
      at += length;
    }
  }
}

/** Blocks that zeroing bytes [from, to) takes from free space. */
export function copiesToZero(v: Volume, inode: Inode, from: number, to: number): number {
  let blocks = 0;
  for (const written of writtenParts(v, inode, from, to)) {
    for (const part of byShares(v, written)) if (mustCopy(v, inode, part)) blocks += part.length;
  }
  return blocks;
}

function writtenParts(v: Volume, inode: Inode, from: number, to: number): readonly Extent[] {
  if (from >= to) return [];
  const parts = v.extents.get(inode.ino)?.within(Math.floor(from / bs), blocksOf(to)) ?? [];
  return [...parts].filter((part) => !isUnwritten(part));
}

/** @throws FsError EISDIR, EINVAL */
export function requireFile(inode: Inode): void {
  if (inode.isDirectory) throw new FsError('EISDIR', { ino: inode.ino });
  if (!inode.isFile) throw new FsError('EINVAL', { ino: inode.ino, detail: 'not a regular file' });
}

/**
 * Nothing is changed in place where a crash would bring the blocks back to another offset of the file; and what is being
 * cut off or punched out is not shared.
 * @throws Wait until the group of the last collapse or insert is durable, or the range has gone
 */
export function requireSettled(v: Volume, inode: Inode): void {
  v.cutting.requireNone(inode.ino);
  if (inode.shifted > v.group.durable) throw new Wait(v.sync());
}

/** Does a write to these blocks leave the mapping as it is? */
function isInPlace(v: Volume, inode: Inode, from: number, to: number): boolean {
  const map = v.extents.get(inode.ino);
  if (map === undefined || isCow(inode)) return false;
  // As nearly always: one extent, of this file alone.
  const whole = map.find(from);
  if (whole?.mark === 0 && whole.fileBlock <= from && to <= whole.fileBlock + whole.length) return true;
  // The commit of what lies over it would undo the write (staging.ts).
  if ((v.provisional.get(inode.ino)?.find(from)?.fileBlock ?? Infinity) < to) return false;
  for (const part of map.cover(from, to)) {
    if (part.block === undefined || isUnwritten(part)) return false;
    for (const { isOwn } of byShares(v, part)) if (!isOwn) return false;
  }
  return true;
}

type Part = Hole | SharedPart;

/** Puts bytes into the file's blocks, getting new ones where needed. Checks room first; then it cannot fail. */
function store(v: Volume, inode: Inode, offset: number, data: Uint8Array, taker: Taker, isWhole: boolean): number {
  const first = Math.floor(offset / bs);
  const known = v.extents.get(inode.ino)?.find(first);
  if (known !== undefined && known.mark === 0 && !isCow(inode)) {
    const within = offset - known.fileBlock * bs;
    if (within >= 0 && within + data.length <= known.length * bs) {
      put(v, known.block * bs + within, data);
      return data.length;
    }
  }
  const { parts, needed, end } = plan(v, inode, offset, offset + data.length, taker, isWhole);
  if (needed > 0) v.requireRecords(inode.ino);
  const missing = parts.find((part) => needsBlocks(v, inode, part))?.fileBlock ?? first;
  const pieces = needed === 0 ? [] : takeBlocks(v, inode, missing, needed);
  if (pieces === undefined) v.noSpace(inode.ino, needOf(taker, needed));

  const blocks = new BlockQueue(pieces);
  for (const part of parts) storePart(v, inode, part, offset, data.subarray(0, end - offset), blocks);
  return end - offset;
}

/** What the range consists of, and how many new blocks it takes; shortened to the room there is. */
function plan(
  v: Volume,
  inode: Inode,
  offset: number,
  end: number,
  taker: Taker,
  isWhole: boolean,
): { parts: Part[]; needed: number; end: number } {
  let free = v.freeTo(taker);
  let allowed = v.quotaRoom(inode);
  const first = Math.floor(offset / bs);
  const length = blocksOf(end) - first;
  // As most new files are written: nothing is mapped from there on, and there is room.
  if (length <= free && length <= allowed && v.extents.get(inode.ino)?.find(first) === undefined) {
    return { parts: [{ fileBlock: first, block: undefined, length }], needed: length, end };
  }
  const parts: Part[] = [];
  let needed = 0;
  for (const extent of v.extentsOf(inode.ino).cover(first, blocksOf(end))) {
    for (const part of extent.block === undefined ? [extent] : byShares(v, extent)) {
      if (needsBlocks(v, inode, part)) {
        // A copy of a shared block takes room on the device; the file has no more blocks than before.
        const isMore = part.block === undefined;
        const fits = Math.min(part.length, free, isMore ? allowed : Infinity);
        needed += fits;
        free -= fits;
        if (isMore) allowed -= fits;
        if (fits < part.length) {
          requireSomeRoom(v, inode, free === 0, isWhole || part.fileBlock + fits <= first, needOf(taker, 1));
          if (fits > 0) parts.push({ ...part, length: fits });
          return { parts, needed, end: (part.fileBlock + fits) * bs };
        }
      }
      parts.push(part);
    }
  }
  return { parts, needed, end };
}

/** The system's own writes take nothing from anybody. */
function needOf(taker: Taker, blocks: number): SpaceNeed | undefined {
  return typeof taker === 'object' ? { blocks, client: taker.client } : undefined;
}

/**
 * Room ended within a write: it is short (write(2)), unless there will be more, or what there was `isNothing`: none, or
 * too little for a request that is done as a whole.
 */
function requireSomeRoom(
  v: Volume,
  inode: Inode,
  noSpace: boolean,
  isNothing: boolean,
  need: SpaceNeed | undefined,
): void {
  if (noSpace && (isNothing || v.getsSpace)) v.noSpace(inode.ino, need);
  if (!noSpace && (isNothing || v.getsQuota(inode))) v.noQuota(inode, 'blocks', need);
}

function needsBlocks(v: Volume, inode: Inode, part: Part): boolean {
  return part.block === undefined || (!isUnwritten(part) && mustCopy(v, inode, part));
}

function mustCopy(v: Volume, inode: Inode, part: SharedPart): boolean {
  return !part.isOwn || (isCow(inode) && !v.fresh.has(part));
}

function storePart(v: Volume, inode: Inode, part: Part, offset: number, data: Uint8Array, blocks: BlockQueue): void {
  if (!needsBlocks(v, inode, part)) {
    const { block } = part;
    if (block === undefined) return;
    if (isUnwritten(part)) {
      fill(v, part.fileBlock, { block, length: part.length }, offset, data, undefined);
      markBlocks(v, inode, part.fileBlock, part.fileBlock + part.length, (flags) => flags & ~EXTENT_UNWRITTEN);
    } else {
      const from = Math.max(offset, part.fileBlock * bs);
      const to = Math.min(offset + data.length, (part.fileBlock + part.length) * bs);
      put(v, block * bs + (from - part.fileBlock * bs), data.subarray(from - offset, to - offset));
    }
    return;
  }
  for (let done = 0; done < part.length; ) {
    const taken = blocks.take(part.length - done);
    const fileBlock = part.fileBlock + done;
    const old = part.block === undefined ? undefined : part.block + done;
    fill(v, fileBlock, taken, offset, data, old);
    if (old !== undefined) unmapBlocks(v, inode, fileBlock, fileBlock + taken.length);
    mapBlocks(v, inode, fileBlock, taken, 0);
    if (isCow(inode)) v.fresh.add(taken);
    done += taken.length;
  }
}

/** Writes whole blocks: the data where it reaches, around it what the old blocks hold, or zeros. */
function fill(
  v: Volume,
  fileBlock: number,
  blocks: { block: number; length: number },
  offset: number,
  data: Uint8Array,
  old: number | undefined,
): void {
  const start = fileBlock * bs;
  const end = start + blocks.length * bs;
  const from = Math.max(offset, start);
  const to = Math.min(offset + data.length, end);
  // Offsets in the file first: a sum with one on the device need not be exact any more (limits.fileSizeMax).
  const at = blocks.block * bs;
  if (old === undefined) {
    if (from > start) v.device.zero(at, from - start);
    if (to < end) v.device.zero(at + (to - start), end - to);
  } else {
    if (from > start) v.device.copy(old * bs, at, from - start);
    if (to < end) v.device.copy(old * bs + (to - start), at + (to - start), end - to);
  }
  v.device.write(at + (from - start), data.subarray(from - offset, to - offset));
  v.wrote(at, end - start);
}

function put(v: Volume, at: number, data: Uint8Array): void {
  v.device.write(at, data);
  v.wrote(at, data.length);
}

/**
 * A peer may have written past the end of the file and never committed it, or a crash cut off a write: what becomes
 * visible when the file grows to `end`, or is shared, must be zeros.
 */
export function zeroPastEnd(v: Volume, inode: Inode, end: number): void {
  const past = pastEnd(v, inode);
  if (past === undefined || end <= inode.size) return;
  const length = Math.min(past.length, end - inode.size);
  v.device.zero(past.storageOffset, length);
  v.wrote(past.storageOffset, length);
}

/** What zeroPastEnd will zero may hold data that a client has yet to commit: it does so when it returns the layout. @throws Wait */
export function requireNoLayoutsPastEnd(v: Volume, inode: Inode): void {
  const past = pastEnd(v, inode);
  if (past !== undefined) v.requireNoLayouts(inode.ino, { offset: past.offset, length: past.length }, 'extend');
}

/** From the end of the file to the end of its last block; undefined where that holds zeros anyway. */
function pastEnd(v: Volume, inode: Inode): { offset: number; length: number; storageOffset: number } | undefined {
  const offset = inode.size;
  const last = v.extents.get(inode.ino)?.find(Math.floor(offset / bs));
  if (offset % bs === 0 || last === undefined || last.fileBlock * bs > offset || isUnwritten(last)) return undefined;
  const storageOffset = last.block * bs + (offset - last.fileBlock * bs);
  // Zeroed before it was shared, and nobody writes to a shared block.
  const block = Math.floor(storageOffset / bs);
  if (v.space.isShared(block) || v.unsharing.has(block)) return undefined;
  return { offset, length: bs - (offset % bs), storageOffset };
}

/** Some devices take only whole words, which the readers of a view know nothing of. */
function bytesAt(v: Volume, offset: number, length: number): readonly Uint8Array[] {
  if (v.device.accessWidth === 1) return v.device.views(offset, length);
  const copy = new Uint8Array(length);
  v.device.read(offset, copy);
  return [copy];
}

/** In bytes: no block behind it is of the file, and none holds any of its content. */
function endOfBlocks(v: Volume, inode: Inode): number {
  const last = v.extents.get(inode.ino)?.last;
  return Math.max(blocksOf(inode.size), last === undefined ? 0 : last.fileBlock + last.length) * bs;
}

function pushZeros(pieces: Uint8Array[], length: number): void {
  for (let left = length; left > 0; left -= zeros.length) pieces.push(zeros.subarray(0, Math.min(left, zeros.length)));
}
