/**
 * What happens to the blocks of a fenced client, in slices. Until all of it is durable its layouts stand in the way of
 * everybody else (mds/leases.ts), and what was granted to it stays on record: so a crash on the way begins it anew.
 */
import { limits } from '../limits.ts';
import type { Access } from '../space/space.ts';
import { zeroPastEnd } from './data.ts';
import type { Extent } from './extents.ts';
import { isCow } from './file-flags.ts';
import { BlockQueue, blocksOf, placement, quarantineProvisional, replaceBlocks } from './file-space.ts';
import { grantsOf } from './grants.ts';
import { dropSomeHolds, holdInPlace } from './holds.ts';
import type { Inode } from './inode.ts';
import type { FencedSegment } from './leases.ts';
import { Slices } from './slices.ts';
import type { Volume } from './volume.ts';

const bs = limits.blockSize;

/**
 * A fenced client reaches nothing that matters any more: what it could write is copied away and held, what it could
 * read is held once its file gives it up, what it was provided is held at once. Where there is no room for the copy
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
        at = holdSome(v, client, ino, accessOf(v, ino, access), at);
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

/** Of a staged file a client could write the stage, which is provisional. */
function accessOf(v: Volume, ino: number, access: Access): Access {
  const inode = v.inodes.peek(ino);
  return inode !== undefined && isCow(inode) ? 'read' : access;
}

/** Of the extents from file block `at` on, in place; answers where to go on. */
function holdSome(v: Volume, client: number, ino: number, access: Access, at: number): number {
  const some: Extent[] = [];
  for (const extent of v.extents.get(ino)?.within(at, Infinity) ?? []) {
    if (some.length === limits.releasedExtentsMax) break;
    some.push(extent);
  }
  for (const extent of some) holdInPlace(v, extent, client, access);
  return nextAfter(some);
}

function nextAfter(some: readonly Extent[]): number {
  const last = some.at(-1);
  return last === undefined ? Infinity : last.fileBlock + last.length;
}

/** Of the extents from file block `at` on; answers where to go on. */
function putAwaySome(v: Volume, client: number, segment: FencedSegment, at: number): number {
  const { ino } = segment;
  const inode = v.inodes.peek(ino);
  const map = v.extents.get(ino);
  if (inode === undefined || map === undefined) return Infinity;
  const access = accessOf(v, ino, segment.access);
  const some: Extent[] = [];
  let blocks = 0;
  for (const extent of map.within(at, endOf(segment))) {
    const isFull = some.length === limits.releasedExtentsMax || blocks === limits.fencedBlocksMax;
    if (isFull) break;
    // Only what is copied takes long because it is long.
    const length = access === 'read' ? extent.length : Math.min(extent.length, limits.fencedBlocksMax - blocks);
    if (access === 'write') blocks += length;
    some.push({ ...extent, length });
  }
  for (const extent of some) {
    holdInPlace(v, extent, client, access);
    if (access === 'write') moveAway(v, inode, extent);
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

/** The data goes to new blocks; the old ones, which are held, go to quarantine. */
function moveAway(v: Volume, inode: Inode, extent: Extent): void {
  const pieces = v.space.allocate(extent.length, placement(v, inode, extent.fileBlock, extent.length));
  if (pieces === undefined) return;
  replaceBlocks(v, inode, extent, new BlockQueue(pieces));
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
