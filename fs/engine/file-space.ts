/**
 * The blocks of one file: taken from space, given back, unshared. Every change of a mapping passes here, so that the
 * extent map, the space map and the records of the open group always change together.
 */
import { assert } from '../errors.ts';
import { EXTENT_SHARED, EXTENT_UNWRITTEN } from '../format/records.ts';
import { limits } from '../limits.ts';
import type { AllocateOptions, BlockRange } from '../space/space.ts';
import type { Extent } from './extents.ts';
import { isCow } from './file-flags.ts';
import { holdBlocks } from './holds.ts';
import type { Inode } from './inode.ts';
import type { Volume } from './volume.ts';

const bs = limits.blockSize;
const huge = limits.hugePage / bs;
/** Blocks: the least that is kept, and the least first write that looks like the beginning of more. */
const keepFrom = limits.keptMin / bs;
/** What follows in a file that is copied on each write may be overwritten next, and then be one extent with it. */
const cowRoom = huge;

export function blocksOf(bytes: number): number {
  return Math.ceil(bytes / bs);
}

export function blocksIn(parts: readonly { readonly length: number }[]): number {
  return parts.reduce((sum, { length }) => sum + length, 0);
}

/** The content of as many blocks from block `from` on. */
export function copyBlocks(v: Volume, from: number, to: BlockRange): void {
  v.device.copy(from * bs, to.block * bs, to.length * bs);
  v.wrote(to.block * bs, to.length * bs);
}

/**
 * Free blocks for `count` blocks of the file from `fileBlock` on, behind what comes before them in the file; in several
 * pieces if need be. What passes a huge page of the file goes to one of the device, if there is one free, so that a peer
 * can map it as such. Behind the end of a file that is being written some are kept for what comes next.
 * @returns undefined when not enough are free
 */
export function takeBlocks(
  v: Volume,
  inode: Inode,
  fileBlock: number,
  count: number,
): readonly BlockRange[] | undefined {
  const place = placement(v, inode, fileBlock, count);
  const { goal } = place;
  if (goal === undefined || (goal - fileBlock) % huge === 0) return v.space.allocate(count, place);
  const whole = Math.max(huge, Math.ceil(fileBlock / huge) * huge);
  if (fileBlock + count <= whole || count > v.space.free) return v.space.allocate(count, place);

  const head = whole - fileBlock;
  const rest = count - head;
  const before = head === 0 ? [] : v.space.allocate(head, { goal, owner: inode.ino });
  if (before === undefined) return undefined;
  const keep = Math.max(place.keep ?? 0, (huge - (rest % huge)) % huge);
  const after =
    v.space.allocate(rest, { owner: inode.ino, contiguous: true, align: huge, keep }) ??
    v.space.allocate(rest, { ...place, goal: goal + head });
  return after === undefined ? undefined : [...before, ...after];
}

/**
 * As `takeBlocks`.
 * @throws FsError ENOSPC; Wait while freed blocks wait for their group
 */
export function allocate(v: Volume, inode: Inode, fileBlock: number, count: number): readonly BlockRange[] {
  return takeBlocks(v, inode, fileBlock, count) ?? v.noSpace(inode.ino);
}

/** Where new blocks of a file would best lie: in continuation of the file, else large ones on a huge page. */
export function placement(v: Volume, inode: Inode, fileBlock: number, count: number): AllocateOptions {
  const map = v.extents.get(inode.ino);
  const before = map?.find(fileBlock - 1);
  const goal =
    before !== undefined && before.fileBlock < fileBlock ? before.block + fileBlock - before.fileBlock : undefined;
  const last = map?.last;
  // Only at the end of the file, and not for what is written at once and then, most likely, closed.
  const grows = inode.opens > 0 && (last === undefined || last.fileBlock < fileBlock);
  const keep = grows && (goal !== undefined || count >= keepFrom) ? keepFor(fileBlock + count) : 0;
  const owner = grows ? inode.ino : undefined;
  const isLarge = fileBlock >= huge || (goal === undefined && count >= huge / 2);
  const room = isCow(inode) ? cowRoom : undefined;
  return { goal, owner, keep, room, align: isLarge ? huge : undefined, phase: isLarge ? fileBlock % huge : undefined };
}

/** As much as the file has already, so that its extents are few however many files are written at the same time. */
function keepFor(blocks: number): number {
  return Math.min(limits.keptMax / bs, Math.max(keepFrom, blocks));
}

/** Maps blocks that were just allocated. */
export function mapBlocks(v: Volume, inode: Inode, fileBlock: number, blocks: BlockRange, flags: number): void {
  const extent = { fileBlock, block: blocks.block, length: blocks.length, mark: flags };
  v.extentsOf(inode.ino).insert(extent, v.changes.extentsOf(inode.ino));
  if (inode.quota !== 0) v.quotas.charge(inode, blocks.length);
}

/** Takes file blocks [from, to) out of the file; what no other file maps is reusable once the open group is durable. */
export function unmapBlocks(v: Volume, inode: Inode, from: number, to: number): void {
  const map = v.extents.get(inode.ino);
  if (map === undefined) return;
  const group = v.group.open;
  for (const extent of map.remove(from, to, v.changes.extentsOf(inode.ino))) {
    if ((extent.mark & EXTENT_SHARED) !== 0) {
      for (const piece of v.space.sharesIn(extent)) if (piece.count > 1) v.unsharing.add(piece, group);
    }
    v.space.release(extent, group);
    if (inode.quota !== 0) v.quotas.charge(inode, -extent.length);
  }
  if (map.isEmpty) v.extents.delete(inode.ino);
}

/** The same with the first extents of the range, limits.releasedExtentsMax at most. */
export function unmapSome(v: Volume, inode: Inode, from: number, to: number): void {
  let end = from;
  let count = 0;
  for (const extent of v.extents.get(inode.ino)?.within(from, to) ?? []) {
    if (count++ === limits.releasedExtentsMax) break;
    end = extent.fileBlock + extent.length;
  }
  unmapBlocks(v, inode, from, end);
}

/** The same with the whole range: at once where that is short, otherwise in slices, for which the file waits (cutting.ts). */
export function cutBlocks(v: Volume, inode: Inode, from: number, to: number): void {
  let count = 0;
  for (const _ of v.extents.get(inode.ino)?.within(from, to) ?? []) {
    if (count++ < limits.releasedExtentsMax) continue;
    v.cutting.add({ ino: inode.ino, from, to: Math.min(to, limits.fileSizeMax / bs) });
    return;
  }
  unmapBlocks(v, inode, from, to);
}

/** The flags of a range that is mapped change; its blocks stay. */
export function markBlocks(v: Volume, inode: Inode, from: number, to: number, mark: (flags: number) => number): void {
  const map = v.extents.get(inode.ino);
  if (map === undefined) return;
  const touch = v.changes.extentsOf(inode.ino);
  const due = [...map.within(from, to)].filter((extent) => mark(extent.mark) !== extent.mark);
  for (const extent of due) {
    map.remove(extent.fileBlock, extent.fileBlock + extent.length, touch);
    map.insert({ ...extent, mark: mark(extent.mark) }, touch);
  }
}

/** The file goes. Nobody holds a layout on it; provisional blocks of clients lost in a crash are out of reach only later. */
export function freeFile(v: Volume, inode: Inode): void {
  unmapBlocks(v, inode, 0, Infinity);
  quarantineProvisional(v, inode, 0, Infinity);
}

/** Provisional blocks left by clients whose end nobody has seen. */
export function quarantineProvisional(v: Volume, { ino }: { readonly ino: number }, from: number, to: number): void {
  const map = v.provisional.get(ino);
  if (map === undefined) return;
  const inode = v.inodes.peek(ino);
  for (const extent of map.remove(from, to, v.changes.provisionalOf(ino))) {
    v.space.quarantineProvisional(extent, extent.mark);
    holdBlocks(v, extent, extent.mark, 'write');
    if (inode !== undefined) v.quotas.charge(inode, -extent.length);
  }
  if (map.isEmpty) v.provisional.delete(ino);
}

export function isUnwritten(extent: Extent): boolean {
  return (extent.mark & EXTENT_UNWRITTEN) !== 0;
}

export interface SharedPart extends Extent {
  /** Files that map these blocks. */
  readonly shares: number;
  /** No other file does, now and after a crash. */
  readonly isAlone: boolean;
  /** And no fenced client could write over what is written: they may be written in place. */
  readonly isOwn: boolean;
}

/**
 * The pieces of an extent that other files map too, and those that are this file's alone. What a fenced client may still
 * write to is marked as shared (fencing.ts).
 */
export function* byShares(v: Volume, extent: Extent): Generator<SharedPart> {
  if ((extent.mark & EXTENT_SHARED) === 0) {
    yield { ...extent, shares: 1, isAlone: true, isOwn: true };
    return;
  }
  for (const { count, ...range } of v.space.sharesIn(extent)) {
    for (const { waits, ...settled } of v.unsharing.cut(range)) {
      const isAlone = count === 1 && !waits;
      for (const { block, length, isWritable } of v.space.writersIn(settled)) {
        const fileBlock = extent.fileBlock + block - extent.block;
        yield { fileBlock, block, length, mark: extent.mark, shares: count, isAlone, isOwn: isAlone && !isWritable };
      }
    }
  }
}

/** What the extent shows of the file goes to new blocks, with its content, unless that is none (unwritten). */
export function replaceBlocks(v: Volume, inode: Inode, extent: Extent, blocks: BlockQueue): void {
  const { fileBlock, block, length, mark } = extent;
  const flags = mark & EXTENT_UNWRITTEN;
  for (let done = 0; done < length; ) {
    const taken = blocks.take(length - done);
    const at = fileBlock + done;
    if (flags === 0) copyBlocks(v, block + done, taken);
    unmapBlocks(v, inode, at, at + taken.length);
    mapBlocks(v, inode, at, taken, flags);
    done += taken.length;
  }
}

/**
 * Hands out allocated pieces in order.
 * A queue of blocks for consecutive parts of one operation: `take` answers as much of `count` as lies together.
 */
export class BlockQueue {
  readonly #pieces: readonly BlockRange[];
  #index = 0;
  #used = 0;

  constructor(pieces: readonly BlockRange[]) {
    this.#pieces = pieces;
  }

  take(count: number): BlockRange {
    const piece = this.#pieces[this.#index];
    assert(piece !== undefined, 'no more blocks are taken than were allocated');
    const length = Math.min(count, piece.length - this.#used);
    const taken = { block: piece.block + this.#used, length };
    this.#used += length;
    if (this.#used === piece.length) {
      this.#index++;
      this.#used = 0;
    }
    return taken;
  }
}
