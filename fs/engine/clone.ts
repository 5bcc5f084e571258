/**
 * Sharing of blocks between files: FICLONE and copy_file_range. From then on whoever writes gets new blocks
 * (copy-on-write, data.ts); layouts for writing are recalled before a block becomes shared, those for reading stay.
 */
import { FsError } from '../errors.ts';
import { EXTENT_SHARED } from '../format/records.ts';
import { limits } from '../limits.ts';
import type { Name } from '../name.ts';
import type { Caller } from '../vfs.ts';
import { R_OK, requireAccess } from './access.ts';
import {
  read,
  requireFile,
  requireNoLayoutsPastEnd,
  requireNoLayoutsToWrite,
  requireSettled,
  write,
  zeroPastEnd,
} from './data.ts';
import type { Extent } from './extents.ts';
import { requireUnprotected } from './file-flags.ts';
import { blocksOf, isUnwritten, mapBlocks, markBlocks, unmapBlocks } from './file-space.ts';
import type { Inode } from './inode.ts';
import { S_IFREG } from './inode.ts';
import { changed, create, requireDirectory } from './namespace.ts';
import { isPinned, requireNotPinned } from './pinned.ts';
import { dropPrivileges, keepsPrivileges, requirePrivilegesKnown } from './privileges.ts';
import type { Volume } from './volume.ts';

const bs = limits.blockSize;

/** Bytes that one copyRange copies at most where blocks cannot be shared; the caller goes on with the rest. */
const copyMax = 1 << 20;

/** @throws FsError EISDIR, EINVAL, EEXIST, ENOENT, EACCES, EDQUOT, EROFS; Wait */
export function cloneFile(v: Volume, ino: number, parent: number, name: Name, by: Caller): Inode {
  v.requireWritable();
  const source = v.inodes.get(ino);
  requireFile(source);
  requireNotPinned(source, 'its blocks are shared with no other file: copy it');
  requireAccess(v, source, R_OK, by);
  requireSettled(v, source);
  // Also what clients have written behind the end is to be in the clone: they commit it first.
  v.requireNoLayouts(ino, { offset: 0, length: Infinity }, 'share');
  // Shared blocks count in each file that maps them, as in XFS.
  v.requireQuota(requireDirectory(v, parent), writtenBlocks(v, source, 0, Infinity), 1);
  const clone = create(v, parent, name, { mode: S_IFREG | (source.mode & 0o777) }, by);
  zeroPastEnd(v, source, Infinity);
  shareBlocks(v, source, clone, 0, Infinity, 0);
  clone.size = source.size;
  return clone;
}

/**
 * copy_file_range(2): shares whole blocks where both sides are aligned, copies otherwise. Answers the bytes done,
 * which may be fewer than asked.
 * @throws FsError EINVAL (overlap in one file), ENOSPC, EDQUOT, EFBIG, EISDIR, EROFS; Wait
 */
export function copyRange(
  v: Volume,
  source: Inode,
  from: number,
  target: Inode,
  to: number,
  length: number,
  by: Caller,
): number {
  v.requireChangeable(target);
  requireFile(source);
  requireFile(target);
  requireUnprotected(target);
  const count = Math.min(length, source.size - from);
  if (count <= 0) return 0;
  if (to + count > limits.fileSizeMax) throw new FsError('EFBIG', { ino: target.ino });
  if (source === target && from < to + count && to < from + count) {
    throw new FsError('EINVAL', { ino: source.ino, detail: 'the ranges overlap' });
  }
  // The rest of the last block can be shared only where both files end in it.
  const endsBoth = from + count === source.size && to + count >= target.size;
  const shareable = endsBoth ? count : Math.floor(count / bs) * bs;
  const isShareable = from % bs === 0 && to % bs === 0 && shareable > 0 && !isPinned(source) && !isPinned(target);
  if (!isShareable) return copyBytes(v, source, from, target, to, Math.min(count, copyMax), by);

  requireSettled(v, source);
  requireSettled(v, target);
  v.requireNoLayouts(source.ino, { offset: from, length: shareable }, 'share');
  v.requireNoLayouts(target.ino, { offset: to, length: blocksOf(shareable) * bs }, 'unmap');
  if (to > target.size) requireNoLayoutsPastEnd(v, target);
  requirePrivilegesKnown(v, target, by);

  const first = to / bs;
  const [gained, lost] = [
    writtenBlocks(v, source, from / bs, blocksOf(from + shareable)),
    blocksIn(v, target, first, shareable),
  ];
  v.requireQuota(target, gained - lost);
  if (endsBoth) zeroPastEnd(v, source, Infinity);
  zeroPastEnd(v, target, to);
  unmapBlocks(v, target, first, first + blocksOf(shareable));
  shareBlocks(v, source, target, from / bs, blocksOf(from + shareable), first);
  const now = v.clock.now();
  target.size = Math.max(target.size, to + shareable);
  target.mtime = now;
  if (!keepsPrivileges(by)) dropPrivileges(v, target, by);
  changed(v, target, now);
  return shareable;
}

/** Blocks that a copy of this part would share. */
export function writtenBlocks(v: Volume, inode: Inode, from: number, to: number): number {
  let blocks = 0;
  for (const extent of v.extents.get(inode.ino)?.within(from, to) ?? [])
    if (!isUnwritten(extent)) blocks += extent.length;
  return blocks;
}

function blocksIn(v: Volume, inode: Inode, from: number, bytes: number): number {
  let blocks = 0;
  for (const { length } of v.extents.get(inode.ino)?.within(from, from + blocksOf(bytes)) ?? []) blocks += length;
  return blocks;
}

/**
 * Maps what `source` has in [from, to) into `target` from `at` on, which is a hole there. Unwritten extents stay holes.
 * No more than `most` extents: answers where to go on, undefined at the end.
 */
export function shareBlocks(
  v: Volume,
  source: Inode,
  target: Inode,
  from: number,
  to: number,
  at: number,
  most = Infinity,
): number | undefined {
  const shared: Extent[] = [];
  let next: number | undefined;
  for (const extent of v.extents.get(source.ino)?.within(from, to) ?? []) {
    if (shared.length === most) {
      next = extent.fileBlock;
      break;
    }
    if (!isUnwritten(extent)) shared.push(extent);
  }
  for (const extent of shared) {
    const { fileBlock, length } = extent;
    v.space.share(extent);
    markBlocks(v, source, fileBlock, fileBlock + length, (flags) => flags | EXTENT_SHARED);
    mapBlocks(v, target, at + fileBlock - from, extent, EXTENT_SHARED);
  }
  return next;
}

function copyBytes(
  v: Volume,
  source: Inode,
  from: number,
  target: Inode,
  to: number,
  length: number,
  by: Caller,
): number {
  // `write` asks too, but the buffer below must not be filled for nothing.
  requireNoLayoutsToWrite(v, target, to, length, by);
  const buffer = Buffer.allocUnsafe(length);
  read(v, source, from, length, (pieces) => {
    let at = 0;
    for (const piece of pieces) {
      buffer.set(piece, at);
      at += piece.length;
    }
  });
  return write(v, target, to, buffer, by);
}
