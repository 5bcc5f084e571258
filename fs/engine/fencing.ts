/**
 * What happens to the blocks of a fenced client, in slices. Until all of it is durable its layouts stand in the way of
 * everybody else (mds/leases.ts), and what was granted to it stays on record: so a crash on the way begins it anew.
 */
import { EXTENT_SHARED } from '../format/records.ts';
import { limits } from '../limits.ts';
import type { Access } from '../space/space.ts';
import { zeroPastEnd } from './data.ts';
import type { Extent } from './extents.ts';
import { isCow } from './file-flags.ts';
import {
  BlockQueue,
  blocksOf,
  byShares,
  isUnwritten,
  markBlocks,
  placement,
  quarantineProvisional,
  replaceBlocks,
  unmapBlocks,
} from './file-space.ts';
import { grantsOf } from './grants.ts';
import { dropSomeHolds, holdInPlace } from './holds.ts';
import type { Inode } from './inode.ts';
import type { FencedSegment } from './leases.ts';
import { isPinned } from './pinned.ts';
import { Slices } from './slices.ts';
import type { Volume } from './volume.ts';

const bs = limits.blockSize;

/**
 * A fenced client reaches nothing that matters any more: what it could write is copied away and held, what it could
 * read, also below what it was provided, is held once its file gives it up, what it was provided is held at once. Where there is no room for the copy
 * the blocks stay in the file, held. The last of it is durable with the open group.
 * @throws FsError EIO
 */
export async function quarantine(v: Volume, client: number, segments: readonly FencedSegment[]): Promise<void> {
  const pace = new Pace(v);
  for (const segment of segments) {
    for (let at = firstOf(segment); at < endOf(segment); ) {
      at = putAwaySome(v, client, segment, at);
      const turn = pace.step();
      if (turn !== undefined) await turn;
    }
    zeroTail(v, segment);
  }
  for (const ino of v.provisional.keys()) {
    for (let at = 0; at < Infinity; ) {
      at = quarantineSome(v, client, ino, at);
      const turn = pace.step();
      if (turn !== undefined) await turn;
    }
  }
}

/**
 * The same for clients of a former run, of which only the files are known. Before a block is moved away for one of them all
 * hold it: what the first one gives free when it comes back another may still write to.
 * @throws FsError EIO
 */
export async function quarantineFormer(v: Volume, clients: readonly number[]): Promise<void> {
  const pace = new Pace(v);
  for (const client of clients) {
    for (const [ino, access] of grantsOf(v, client)) {
      for (let at = 0; at < Infinity; ) {
        at = holdSome(v, client, ino, access, at);
        const turn = pace.step();
        if (turn !== undefined) await turn;
      }
    }
  }
  const moved = new Set<number>();
  for (const client of clients) {
    const written = [...grantsOf(v, client)].filter(([ino, access]) => access === 'write' && !moved.has(ino));
    for (const [ino] of written) moved.add(ino);
    await quarantine(
      v,
      client,
      written.map(([ino, access]) => ({ ino, offset: 0, length: Infinity, access })),
    );
  }
}

/** The client can touch nothing any more. @throws FsError EIO */
export async function dropHolds(v: Volume, client: number): Promise<void> {
  const pace = new Pace(v);
  while (dropSomeHolds(v, client)) {
    const turn = pace.step();
    if (turn !== undefined) await turn;
  }
}

/** Others get their turn between slices, and room in the groups. */
class Pace {
  readonly #v: Volume;
  readonly #slices = new Slices();
  #steps = 0;

  constructor(v: Volume) {
    this.#v = v;
  }

  step(): Promise<void> | undefined {
    if (++this.#steps * limits.releasedExtentsMax < limits.reapedExtentsMax) return this.#slices.step();
    this.#steps = 0;
    return this.#v.sync().then(() => this.#slices.step());
  }
}

function firstOf({ offset }: FencedSegment): number {
  return Math.floor(offset / bs);
}

function endOf({ offset, length }: FencedSegment): number {
  return blocksOf(offset + length);
}

interface Reached extends Extent {
  readonly access: Access;
}

/**
 * What a client with this access to the file could do with the blocks of one extent. It could write only what is the file's
 * alone: over the rest it was provided with blocks (staging.ts, S2), which stay provisional until all of this is held.
 */
function* reachOf(v: Volume, ino: number, extent: Extent, access: Access): Generator<Reached> {
  const inode = v.inodes.peek(ino);
  if (access === 'read' || (inode !== undefined && isCow(inode))) {
    yield { ...extent, access: 'read' };
    return;
  }
  const provided = v.provisional.get(ino);
  for (const { fileBlock, block, length, mark, isAlone } of byShares(v, extent)) {
    for (const part of provided?.cover(fileBlock, fileBlock + length) ?? [{ fileBlock, block: undefined, length }]) {
      const at = { fileBlock: part.fileBlock, block: block + part.fileBlock - fileBlock, length: part.length, mark };
      yield { ...at, access: isAlone && part.block === undefined ? 'write' : 'read' };
    }
  }
}

/** Of the extents from file block `at` on, in place; answers where to go on. */
function holdSome(v: Volume, client: number, ino: number, access: Access, at: number): number {
  const some = firstReached(v, { ino, offset: 0, length: Infinity, access }, at, Infinity);
  for (const part of some) holdInPlace(v, part, client, part.access);
  return nextAfter(some);
}

/** The first parts of the segment from file block `at` on; no more than `blocksMax` that have to be copied. */
function firstReached(v: Volume, segment: FencedSegment, at: number, blocksMax: number): readonly Reached[] {
  const { ino, access } = segment;
  const some: Reached[] = [];
  let left = blocksMax;
  for (const extent of v.extents.get(ino)?.within(at, endOf(segment)) ?? []) {
    for (const part of reachOf(v, ino, extent, access)) {
      if (some.length === limits.releasedExtentsMax || left === 0) return some;
      // Only what is copied takes long because it is long.
      const length = part.access === 'read' ? part.length : Math.min(part.length, left);
      some.push({ ...part, length });
      if (part.access === 'write') left -= length;
    }
  }
  return some;
}

/** Infinity: nothing is left. */
function nextAfter(some: readonly Extent[]): number {
  const last = some.at(-1);
  return last === undefined ? Infinity : last.fileBlock + last.length;
}

/** Of the extents from file block `at` on; answers where to go on. */
function putAwaySome(v: Volume, client: number, segment: FencedSegment, at: number): number {
  const inode = v.inodes.peek(segment.ino);
  if (inode === undefined) return Infinity;
  const some = firstReached(v, segment, at, limits.fencedBlocksMax);
  for (const part of some) {
    holdInPlace(v, part, client, part.access);
    // A pinned file keeps its place, whoever may store there still (pinned.ts); it is held when the file gives it up.
    if (part.access === 'write' && !isPinned(inode)) moveAway(v, inode, part);
  }
  return nextAfter(some);
}

/** What it wrote past the end and never committed. */
function zeroTail(v: Volume, segment: FencedSegment): void {
  const inode = v.inodes.peek(segment.ino);
  if (inode === undefined || segment.access === 'read' || isCow(inode)) return;
  const end = Math.floor(inode.size / bs);
  if (firstOf(segment) <= end && end < endOf(segment)) zeroPastEnd(v, inode, Infinity);
}

/**
 * The data goes to new blocks; the old ones, which are held, go to quarantine. Where there is no room they stay in the
 * file, as if they were shared with the client: what is written there from now on goes to other blocks.
 */
function moveAway(v: Volume, inode: Inode, extent: Extent): void {
  const pieces = v.space.allocate(extent.length, placement(v, inode, extent.fileBlock, extent.length));
  const [from, to] = [extent.fileBlock, extent.fileBlock + extent.length];
  if (pieces !== undefined) replaceBlocks(v, inode, extent, new BlockQueue(pieces));
  else if (isUnwritten(extent)) unmapBlocks(v, inode, from, to);
  else markBlocks(v, inode, from, to, (flags) => flags | EXTENT_SHARED);
}

/** Of the blocks provided for the file from file block `at` on, those of the client; answers where to go on. */
function quarantineSome(v: Volume, client: number, ino: number, at: number): number {
  const some: Extent[] = [];
  for (const extent of v.provisional.get(ino)?.within(at, Infinity) ?? []) {
    if (some.length === limits.releasedExtentsMax) break;
    some.push(extent);
  }
  for (const { fileBlock, length, mark } of some) {
    if (mark === client) quarantineProvisional(v, { ino }, fileBlock, fileBlock + length);
  }
  return nextAfter(some);
}
