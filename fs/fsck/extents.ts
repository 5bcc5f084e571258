/** Pass 5: the extent map, which is the only truth about space. Every block has exactly one role. */
import { decodeBad, decodeCut, decodeExtent, decodeGrant, decodeHold, decodeProvisional } from '../format/codec.ts';
import {
  badRange,
  cutRange,
  extentRange,
  grantRange,
  holdRange,
  parseBadKey,
  parseExtentKey,
  parseHoldKey,
  parseProvisionalKey,
  provisionalRange,
} from '../format/keys.ts';
import { EXTENT_SHARED, EXTENT_UNWRITTEN } from '../format/records.ts';
import { buffersIno } from '../format/session-buffers.ts';
import { limits } from '../limits.ts';
import { NumberColumn } from './columns.ts';
import type { CheckContext } from './context.ts';
import { isCow, isRegular } from './inode-index.ts';
import { PinnedFiles } from './pinned.ts';
import { type FileRange, Provided } from './provided.ts';

/** Runs of blocks with who has them, in columns. */
class Runs {
  readonly block = new NumberColumn();
  readonly length = new NumberColumn();
  readonly ino = new NumberColumn();
  readonly use = new NumberColumn();

  add(block: number, length: number, ino: number, use: Use): void {
    this.block.push(block);
    this.length.push(length);
    this.ino.push(ino);
    this.use.push(use);
  }

  /** Indexes in the order of their first blocks. */
  sorted(): Uint32Array {
    const order = Uint32Array.from({ length: this.block.length }, (_, index) => index);
    return order.sort((a, b) => this.block.at(a) - this.block.at(b));
  }
}

const use = { alone: 0, shared: 1, provisional: 2 } as const;
type Use = (typeof use)[keyof typeof use];

export interface Usage {
  readonly extents: number;
  /** Blocks that belong to files, each counted once however many files share it. */
  readonly fileBlocks: number;
  readonly provisionalBlocks: number;
  readonly heldBlocks: number;
  /** Retired for bad memory. */
  readonly badBlocks: number;
}

export async function checkExtents(check: CheckContext): Promise<Usage> {
  const runs = new Runs();
  const provided = await checkProvisional(check, runs);
  await checkFiles(check, runs, provided);
  const heldBlocks = await checkHolds(check);
  await checkGrants(check);
  const badBlocks = await countBad(check);
  return { extents: runs.block.length, ...(await checkRoles(check, runs)), heldBlocks, badBlocks };
}

async function checkFiles(check: CheckContext, runs: Runs, provided: Provided): Promise<void> {
  const cuts = await checkCuts(check);
  const pinned = new PinnedFiles(check);
  let previous = { ino: 0, end: 0 };
  const extents = check.records(5, extentRange(), (key, value) => ({
    ...parseExtentKey(key),
    ...decodeExtent(key, value),
  }));
  for await (const extent of extents) {
    const { ino, fileBlock, block, length, flags } = extent;
    await pinned.extent(ino, extent);
    const inode = check.inodes.get(ino);
    if (inode === undefined || !isRegular(inode)) {
      await check.report(5, 'extent-owner', ino, `has blocks ${range(block, length)} and is not a regular file`);
    } else {
      const blocks = Math.ceil(inode.size / limits.blockSize);
      // Past the end only what fallocate(2) reserved with FALLOC_FL_KEEP_SIZE: it reads as zeros if the file grows.
      // And what a truncation has yet to give back, of which the size is that of the file already.
      const isPast = fileBlock + length > Math.max(blocks, cuts.get(ino) ?? 0);
      if (isPast && (flags & EXTENT_UNWRITTEN) === 0) {
        const detail = `written file blocks ${range(fileBlock, length)} lie past the end at block ${blocks}`;
        await check.report(5, 'beyond-eof', ino, detail);
      }
    }
    if (inode !== undefined) check.quotas.count(inode.quota, length);
    const granted = provided.overlapping(ino, { from: fileBlock, to: fileBlock + length });
    // A shared block is not written in place, and the one that was granted over it takes its place with the commit.
    if (granted !== undefined && (flags & EXTENT_SHARED) === 0 && inode !== undefined && !isCow(inode)) {
      const detail = `file blocks ${fileRange(granted)} are granted on other blocks than those it has, which are its own`;
      await check.report(5, 'provisional', ino, detail);
    }
    if (ino === previous.ino && fileBlock < previous.end) {
      await check.report(5, 'file-overlap', ino, `file blocks ${range(fileBlock, length)} are mapped twice`);
    }
    previous = { ino, end: Math.max(fileBlock + length, ino === previous.ino ? previous.end : 0) };
    if (await inBounds(check, ino, block, length, 'extent')) {
      runs.add(block, length, ino, (flags & EXTENT_SHARED) === 0 ? use.alone : use.shared);
    }
  }
  await pinned.end();
}

/** Ranges that are being taken out of files: where each ends, by inode number. An inode without a name goes as a whole. */
async function checkCuts(check: CheckContext): Promise<ReadonlyMap<number, number>> {
  const ends = new Map<number, number>();
  for await (const { ino, to } of check.records(5, cutRange(), decodeCut)) {
    const inode = check.inodes.get(ino);
    if (inode === undefined || !isRegular(inode))
      await check.report(5, 'cut', ino, 'blocks are being taken out of it, and it is not a regular file');
    else ends.set(ino, to);
  }
  return ends;
}

async function checkProvisional(check: CheckContext, runs: Runs): Promise<Provided> {
  const provided = new Provided();
  const records = check.records(5, provisionalRange(), (key, value) => ({
    ...parseProvisionalKey(key),
    ...decodeProvisional(key, value),
  }));
  for await (const { ino, fileBlock, block, length, clientId } of records) {
    const inode = check.inodes.get(ino);
    const twice = provided.add(ino, { from: fileBlock, to: fileBlock + length });
    if (twice !== undefined)
      await check.report(5, 'provisional', ino, `file blocks ${fileRange(twice)} are granted on two blocks each`);
    if (ino === buffersIno) {
      if (fileBlock !== block)
        await check.report(
          5,
          'provisional',
          undefined,
          `session buffer at block ${block} says that it is at ${fileBlock}`,
        );
    } else if (inode !== undefined) check.quotas.count(inode.quota, length);
    else {
      const detail = `does not exist, but blocks ${range(block, length)} are granted for it to client ${clientId}`;
      await check.report(5, 'provisional', ino, detail);
    }
    if (await inBounds(check, ino, block, length, `grant to client ${clientId}`)) {
      runs.add(block, length, ino, use.provisional);
    }
  }
  return provided;
}

/** Blocks that a fenced client may still reach may belong to a file (it could read them), but must exist. */
async function checkHolds(check: CheckContext): Promise<number> {
  let blocks = 0;
  const records = check.records(5, holdRange(), (key, value) => ({ ...parseHoldKey(key), ...decodeHold(key, value) }));
  for await (const { block, length, clientId } of records) {
    if (await inBounds(check, undefined, block, length, `quarantine of client ${clientId}`)) blocks += length;
  }
  return blocks;
}

/** They name files, which may be gone by now, and no blocks: they only have to be readable. */
async function checkGrants(check: CheckContext): Promise<void> {
  for await (const _ of check.records(5, grantRange(), decodeGrant)) continue;
}

/** Files may still lie there: what was not moved in time. Past the end they were left by a filesystem that became smaller. */
async function countBad(check: CheckContext): Promise<number> {
  let blocks = 0;
  const records = check.records(5, badRange(), (key, value) => ({ ...parseBadKey(key), ...decodeBad(key, value) }));
  for await (const { block, length } of records) {
    blocks += Math.max(0, Math.min(block + length, check.blockCount - 1) - block);
  }
  return blocks;
}

async function inBounds(
  check: CheckContext,
  ino: number | undefined,
  block: number,
  length: number,
  what: string,
): Promise<boolean> {
  // The first and the last block are the superblocks.
  if (block >= 1 && block + length <= check.blockCount - 1) return true;
  const code = what.startsWith('quarantine') ? 'quarantine' : 'out-of-bounds';
  const detail = `${what}: blocks ${range(block, length)} are outside of 1..${check.blockCount - 2}`;
  await check.report(5, code, ino, detail);
  return false;
}

/**
 * One sweep over all runs by their first block. Two runs may overlap only if both say that they are shared; so it is
 * enough to know the run that reaches farthest among the shared ones, and among the others.
 */
async function checkRoles(check: CheckContext, runs: Runs): Promise<Pick<Usage, 'fileBlocks' | 'provisionalBlocks'>> {
  const farthest = { shared: { end: 0, index: -1 }, other: { end: 0, index: -1 } };
  let fileBlocks = 0;
  let provisionalBlocks = 0;
  let counted = 0;
  for (const index of runs.sorted()) {
    const [block, length, role] = [runs.block.at(index), runs.length.at(index), runs.use.at(index)];
    const end = block + length;
    const conflicts = [farthest.other, ...(role === use.shared ? [] : [farthest.shared])];
    for (const { end: taken, index: other } of conflicts) {
      if (taken > block) await reportOverlap(check, runs, index, other, Math.min(end, taken) - block);
    }
    if (role === use.provisional) provisionalBlocks += length;
    else fileBlocks += Math.max(0, end - Math.max(block, counted));
    counted = Math.max(counted, end);
    const group = role === use.shared ? farthest.shared : farthest.other;
    if (end > group.end) Object.assign(group, { end, index });
  }
  return { fileBlocks, provisionalBlocks };
}

async function reportOverlap(check: CheckContext, runs: Runs, a: number, b: number, length: number): Promise<void> {
  const provisional = [a, b].some((index) => runs.use.at(index) === use.provisional);
  const blocks = range(runs.block.at(a), length);
  const detail = provisional
    ? `blocks ${blocks} are granted for writing and belong to inode ${runs.ino.at(b)} as well`
    : `blocks ${blocks} belong to inode ${runs.ino.at(b)} as well, and not all say that they are shared`;
  await check.report(5, provisional ? 'provisional' : 'shared-blocks', runs.ino.at(a), detail);
}

function fileRange({ from, to }: FileRange): string {
  return range(from, to - from);
}

/** First and last. */
function range(block: number, length: number): string {
  return `${block}..${block + length - 1}`;
}
