/**
 * Pinning a file and letting it go. Its blocks are taken in one piece first, then what it has is copied there and the rest
 * zeroed, in slices beside everybody else's work; each step leaves a sound file that is not pinned yet, which is what a
 * crash finds. The last step makes it a pinned one, as a whole.
 */
import { FsError } from '../errors.ts';
import { EXTENT_SHARED, EXTENT_UNWRITTEN } from '../format/records.ts';
import { limits } from '../limits.ts';
import type { BlockRange } from '../space/space.ts';
import type { Caller } from '../vfs.ts';
import { requireFile, requireSettled, zeroPastEnd } from './data.ts';
import { isCow, requireUnprotected } from './file-flags.ts';
import { blocksOf, copyBlocks, isUnwritten, mapBlocks, markBlocks, unmapBlocks } from './file-space.ts';
import type { Inode } from './inode.ts';
import { changed } from './namespace.ts';
import { alignmentOf, isPinned, pinnedFlags, placeFor, requireAlignment, unpinnedFlags } from './pinned.ts';
import { requireOwner } from './set-flags.ts';
import { Slices } from './slices.ts';
import type { Volume } from './volume.ts';
import { requirePlace, run } from './wait.ts';

const bs = limits.blockSize;
const wholeFile = { offset: 0, length: Infinity };

export interface PinRequest {
  /** Bytes; undefined: as many as it has. */
  readonly size: number | undefined;
  /** Bytes: a power of two from 4096 to limits.pinAlignMax. */
  readonly align: number;
}

/**
 * The file has `size` bytes in one piece from now on, what it had and zeros behind it, and keeps its place. Durable when it
 * settles. Of a file that is pinned already, and is large and aligned enough, nothing changes but that its size may grow
 * within its last block.
 * @throws FsError EINVAL (no size, less than it has, no such alignment), EFBIG, ENOSPC (with the largest piece there is), EDQUOT,
 *   EBUSY (pinned otherwise, or others changed it meanwhile), EOPNOTSUPP (`cow`), EAGAIN (no place to wait for layouts), EPERM, EROFS, EIO
 */
export async function pinFile(v: Volume, ino: number, request: PinRequest, by: Caller): Promise<void> {
  requireAlignment(request.align);
  // Nobody is asked for anything by who may not do this.
  const found = await run(() => {
    requirePinnable(v, ino, by);
    return v.breakLayouts(ino, wholeFile, 'unmap');
  }, by);
  try {
    if (found !== undefined) requirePlace(by);
    await found?.done;
    const plan = await run(() => planned(v, ino, request, by));
    if (plan.target !== undefined) await fill(v, plan.inode, plan.target, by);
    await run(() => seal(v, plan.inode, plan.place, request, by));
    await v.sync();
  } finally {
    found?.release();
  }
}

/** Its blocks stay where they are until something moves them. Durable when it settles. @throws FsError EPERM, EROFS, EIO */
export async function unpinFile(v: Volume, ino: number, by: Caller): Promise<void> {
  await run(() => {
    const inode = v.inodes.get(ino);
    v.requireChangeable(inode);
    requireFile(inode);
    requireOwner(inode, by);
    if (!isPinned(inode)) return;
    // Several may hold one for writing, which those of other files never do.
    v.requireNoLayouts(ino, wholeFile, 'remap');
    inode.flags = unpinnedFlags(inode.flags);
    changed(v, inode, v.clock.now());
  }, by);
  await v.sync();
}

interface Plan {
  readonly inode: Inode;
  /** Where the file is to lie. */
  readonly place: BlockRange;
  /** The same, where it does not lie there yet: taken, and its blocks are of no file. */
  readonly target: BlockRange | undefined;
}

function requirePinnable(v: Volume, ino: number, by: Caller): Inode {
  const inode = v.inodes.get(ino);
  v.requireChangeable(inode);
  requireFile(inode);
  requireOwner(inode, by);
  requireUnprotected(inode);
  if (isCow(inode)) throw new FsError('EOPNOTSUPP', { ino, detail: 'each overwrite of it goes to new blocks (cow)' });
  requireSettled(v, inode);
  return inode;
}

/** Checks, and takes the blocks. @throws FsError; Wait */
function planned(v: Volume, ino: number, { size, align }: PinRequest, by: Caller): Plan {
  const inode = requirePinnable(v, ino, by);
  const bytes = size ?? inode.size;
  if (bytes > limits.fileSizeMax) throw new FsError('EFBIG', { ino, range: { offset: 0, length: bytes } });
  if (bytes === 0 || bytes < inode.size) {
    throw new FsError('EINVAL', { ino, detail: `to be pinned with ${bytes} bytes, and it has ${inode.size}` });
  }
  const count = blocksOf(bytes);
  const at = placeFor(v.device, align);
  const fits = soleExtent(v, inode, count);
  if (fits !== undefined && (fits.block - at.phase) % at.align === 0) return { inode, place: fits, target: undefined };
  if (isPinned(inode) && v.extents.blocksOf(ino) > 0) {
    const has = `${v.extents.blocksOf(ino) * bs} bytes, aligned to ${alignmentOf(inode)}`;
    throw new FsError('EBUSY', { ino, detail: `pinned already, with ${has}: unpin it first` });
  }
  v.requireQuota(inode, count - v.extents.blocksOf(ino));
  v.requireRecords(ino);
  const found = count > v.freeTo(by) ? undefined : v.space.allocateExactly(count, at);
  const target = found ?? noPlace(v, ino, count * bs, align);
  return { inode, place: target, target };
}

/** @throws FsError ENOSPC; Wait while some of what is in use is about to be free */
function noPlace(v: Volume, ino: number, bytes: number, align: number): never {
  try {
    v.noSpace(ino);
  } catch (error) {
    if (!(error instanceof FsError && error.code === 'ENOSPC')) throw error;
    const { align: blocks, phase } = placeFor(v.device, align);
    const largest = v.space.largestFreeAligned(blocks, phase) * bs;
    const detail = `no ${bytes} bytes are free in one piece aligned to ${align}: the largest such piece has ${largest}`;
    throw new FsError('ENOSPC', { ino, detail }, error);
  }
}

/** All blocks of the file, if they are as those of a pinned file but for the alignment. */
function soleExtent(v: Volume, { ino }: Inode, count: number): BlockRange | undefined {
  const map = v.extents.get(ino);
  const [only, ...others] = map?.count === 1 ? map.all() : [];
  const isSole = only !== undefined && others.length === 0 && only.fileBlock === 0 && only.length === count;
  return isSole && only.mark === 0 ? { block: only.block, length: count } : undefined;
}

/** Maps the blocks that were taken, one after the other; what is not mapped when it fails is given back. */
async function fill(v: Volume, inode: Inode, target: BlockRange, by: Caller): Promise<void> {
  const slices = new Slices();
  let done = 0;
  try {
    while (done < target.length) {
      done = await run(() => fillSome(v, inode, target, done, by));
      const turn = slices.step();
      if (turn !== undefined) await turn;
    }
  } finally {
    if (done < target.length && v.shutdown === undefined) {
      v.space.release({ block: target.block + done, length: target.length - done }, v.group.open);
    }
  }
}

/**
 * From file block `at` on; answers where to go on. What holds no data is mapped as unwritten, for it may lie past the end still.
 * @throws FsError EDQUOT, ESTALE; Wait
 */
function fillSome(v: Volume, inode: Inode, target: BlockRange, at: number, by: Caller): number {
  requirePinnable(v, inode.ino, by);
  v.requireNoLayouts(inode.ino, wholeFile, 'unmap');
  const [part] = v.extentsOf(inode.ino).cover(at, Math.min(target.length, at + limits.pinnedBlocksMax));
  if (part === undefined) return target.length;
  const to = { block: target.block + at, length: part.length };
  const isEmpty = part.block === undefined || isUnwritten(part);
  if (part.block === undefined) v.requireQuota(inode, part.length);
  if (isEmpty) {
    v.device.zero(to.block * bs, to.length * bs);
    v.wrote(to.block * bs, to.length * bs);
  } else copyBlocks(v, part.block, to);
  unmapBlocks(v, inode, at, at + part.length);
  mapBlocks(v, inode, at, to, isEmpty ? EXTENT_UNWRITTEN : 0);
  return at + part.length;
}

/** All blocks are there: from now on the file is pinned. @throws FsError EBUSY: others cut it meanwhile, or made it larger; Wait */
function seal(v: Volume, inode: Inode, place: BlockRange, { size, align }: PinRequest, by: Caller): void {
  requirePinnable(v, inode.ino, by);
  v.requireNoLayouts(inode.ino, wholeFile, 'unmap');
  const bytes = size ?? inode.size;
  const isWhole = blocksOf(bytes) === place.length && inode.size <= bytes;
  for (const part of v.extentsOf(inode.ino).cover(0, place.length)) {
    const isThere = part.block === place.block + part.fileBlock && (part.mark & EXTENT_SHARED) === 0;
    if (isWhole && isThere) continue;
    throw new FsError('EBUSY', { ino: inode.ino, detail: 'it was changed while it was being pinned' });
  }
  unmapBlocks(v, inode, place.length, Infinity);
  zeroPastEnd(v, inode, Infinity);
  markBlocks(v, inode, 0, place.length, (flags) => flags & ~EXTENT_UNWRITTEN);
  inode.size = bytes;
  inode.flags = pinnedFlags(inode.flags, Math.max(align, isPinned(inode) ? alignmentOf(inode) : align));
  changed(v, inode, v.clock.now());
}
