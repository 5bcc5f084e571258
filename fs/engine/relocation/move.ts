/**
 * The one way in which data moves on the device: blocks that files map are copied to blocks set aside, and every file
 * that maps them is switched in the same operation, so that sharing stays as it is. A crash finds the old place or the
 * new one: both are whole, and the old blocks are free only once the group that says so is durable.
 *
 * Copy and switch are one synchronous operation of at most about a slice, so that nobody writes in between.
 */
import { assert } from '../../errors.ts';
import { limits } from '../../limits.ts';
import type { BlockRange } from '../../space/space.ts';
import { isUnwritten } from '../file-space.ts';
import { isPinnedNumber } from '../pinned.ts';
import type { Volume } from '../volume.ts';
import type { Owner, OwnerIndex } from './owners.ts';

const bs = limits.blockSize;

export type Moved =
  /** The first `length` blocks are at the target now. */
  | { readonly kind: 'moved'; readonly length: number }
  /** The first `length` blocks are no blocks of files (any more). */
  | { readonly kind: 'gone'; readonly length: number }
  /** Some file that maps them is not known: the index is to be made anew. */
  | { readonly kind: 'stale' }
  /** The first `length` blocks are of a file that is never moved. */
  | { readonly kind: 'pinned'; readonly ino: number; readonly length: number };

export class Mover {
  readonly #v: Volume;
  /** Blocks that fit a slice, as far as is known: devices differ by a factor of a thousand. */
  #most = 16;

  constructor(v: Volume) {
    this.#v = v;
  }

  /**
   * Moves as much of the beginning of `source` as fits a slice to the beginning of `target`, which was set aside.
   * `owners` knows who maps shared blocks; `owner` is the file where they are not shared.
   * @throws FsError EROFS, EIO; Wait while layouts are recalled or too much is unwritten
   */
  move(source: BlockRange, target: BlockRange, owners: OwnerIndex | undefined, owner?: Owner): Moved {
    const v = this.#v;
    v.requireWritable();
    const piece = v.space.pieceAt(source.block);
    const around = piece.start + piece.length - source.block;
    if (piece.value.role !== 'file') return { kind: 'gone', length: Math.min(around, source.length) };
    const known = owner !== undefined && piece.value.count === 1 ? [owner] : [...(owners?.of(v, source.block) ?? [])];
    if (known.length !== piece.value.count) return { kind: 'stale' };

    let length = Math.min(around, source.length, target.length);
    let written = false;
    for (const { ino, fileBlock } of known) {
      const extent = v.extents.get(ino)?.find(fileBlock);
      assert(extent !== undefined, 'an owner maps what it owns');
      length = Math.min(length, extent.fileBlock + extent.length - fileBlock);
      written ||= !isUnwritten(extent);
    }
    for (const { ino } of known) {
      if (isPinnedNumber(v, ino)) return { kind: 'pinned', ino, length };
    }
    // All that is about to move, so that holders are asked once and not for each slice.
    for (const { ino, fileBlock } of known) {
      v.requireNoLayouts(ino, { offset: fileBlock * bs, length: length * bs }, 'unmap');
    }
    if (written) length = Math.min(length, this.#most);

    const to = { block: target.block, length };
    if (written) this.#copy(source.block, to);
    v.space.occupy(to, known.length);
    for (const each of known) switchBlocks(v, each, { block: source.block, length }, to.block);
    return { kind: 'moved', length };
  }

  #copy(from: number, to: BlockRange): void {
    const began = performance.now();
    this.#v.device.copy(from * bs, to.block * bs, to.length * bs);
    this.#v.wrote(to.block * bs, to.length * bs);
    const tookMs = performance.now() - began;
    if (tookMs > limits.sliceMs) this.#most = Math.max(1, this.#most >> 1);
    else if (to.length === this.#most && tookMs < limits.sliceMs / 4) {
      this.#most = Math.min(this.#most * 2, limits.moveMax / bs);
    }
  }
}

/** The file maps `to` where it mapped `from`; its flags stay. */
function switchBlocks(v: Volume, { ino, fileBlock }: Owner, from: BlockRange, to: number): void {
  const map = v.extents.get(ino);
  const touch = v.changes.extentsOf(ino);
  for (const old of map?.remove(fileBlock, fileBlock + from.length, touch) ?? []) {
    map?.insert({ ...old, block: to + old.block - from.block }, touch);
  }
  v.space.release(from, v.group.open);
}
