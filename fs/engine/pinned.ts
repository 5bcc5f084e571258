/**
 * Pinned files: one written extent of the file's own, aligned as asked, that stays where it is for as long as the file has
 * it. Whoever was told its address may use it without a layout (device-dax and other users of a BAR by static address);
 * so nothing here ever moves it, shares it, or makes a hole in it.
 *
 * P1 A pinned file maps all of its blocks, from the first to the one that holds its end, by one extent, or has none.
 * P2 They are written (READ_WRITE_DATA): who knows the address stores there without any commit.
 * P3 No other file maps them, and no write ever goes to other blocks: clones and snapshots get copies.
 * P4 The file never gets more blocks. Cutting it and deleting it are all that takes blocks away.
 */
import type { BarDevice } from '../bar/device.ts';
import { FsError } from '../errors.ts';
import { INODE_ALIGN_MASK, INODE_ALIGN_SHIFT, INODE_PINNED, type InodeRecord } from '../format/records.ts';
import { limits } from '../limits.ts';
import type { Inode } from './inode.ts';
import type { Volume } from './volume.ts';

const bs = limits.blockSize;

export function isPinned({ flags }: Pick<InodeRecord, 'flags'>): boolean {
  return (flags & INODE_PINNED) !== 0;
}

/** Of the file with this number; false where there is none. */
export function isPinnedNumber(v: Pick<Volume, 'inodes'>, ino: number): boolean {
  const record = v.inodes.record(ino);
  return record !== undefined && isPinned(record);
}

/** Bytes that the place of a pinned file is a multiple of. */
export function alignmentOf({ flags }: Pick<InodeRecord, 'flags'>): number {
  return bs * 2 ** ((flags & INODE_ALIGN_MASK) >>> INODE_ALIGN_SHIFT);
}

export function pinnedFlags(flags: number, align: number): number {
  const exponent = Math.log2(align / bs);
  return (flags & ~INODE_ALIGN_MASK) | INODE_PINNED | (exponent << INODE_ALIGN_SHIFT);
}

export function unpinnedFlags(flags: number): number {
  return flags & ~(INODE_PINNED | INODE_ALIGN_MASK);
}

/** @throws FsError EINVAL: not a power of two from 4 KiB to 1 GiB */
export function requireAlignment(align: number): void {
  if (align >= bs && align <= limits.pinAlignMax && Number.isInteger(Math.log2(align))) return;
  throw new FsError('EINVAL', { detail: `an alignment of ${align} bytes: a power of two from 4 KiB to 1 GiB` });
}

/**
 * In blocks, for `Space`. What is aligned is what devices use: the bus address where the memory has one, otherwise the offset on the
 * device. A BAR begins at a multiple of its size, so that mostly both are.
 * @throws FsError EINVAL: the memory begins in the middle of a block
 */
export function placeFor(
  device: Pick<BarDevice, 'busAddress' | 'path'>,
  align: number,
): { align: number; phase: number } {
  const past = Number(device.busAddress % BigInt(align));
  if (past % bs !== 0) {
    throw new FsError('EINVAL', {
      path: device.path,
      detail: `its bus address is ${past} bytes past a multiple of ${align}`,
    });
  }
  return { align: align / bs, phase: ((align - past) % align) / bs };
}

/** The file would need blocks that it does not have (P4). @throws FsError EFBIG */
export function requireWithinPinned(v: Volume, inode: Inode, end: number): void {
  if (!isPinned(inode)) return;
  const bytes = v.extents.blocksOf(inode.ino) * bs;
  if (end <= bytes) return;
  const detail = `pinned with ${bytes} bytes, and never gets more: unpin it first`;
  throw new FsError('EFBIG', { ino: inode.ino, range: { offset: bytes, length: end - bytes }, detail });
}

/** @throws FsError EOPNOTSUPP */
export function requireNotPinned(inode: Inode, what: string): void {
  if (isPinned(inode)) throw new FsError('EOPNOTSUPP', { ino: inode.ino, detail: `pinned: ${what}` });
}
