/**
 * Layouts for writing where the file has data that must not be overwritten in place: the client writes to provisional blocks
 * of its own. It sees INVALID_DATA there with READ_DATA below it, and copies what it needs of the old data itself (RFC 5663
 * §2.3.5, copy-on-write by the client). What it never commits nobody sees.
 *
 * - Shared blocks: the commit puts the provisional block in the place of the shared one (layouts.ts). A block stays provided
 *   so until it is committed or returned, also where the file is the last one that maps the old block by then: the client
 *   may have written to it already.
 * - Files whose every overwrite is atomic (`cow`): the client never gets a block of the file to write to. All of the range is
 *   staged, on blocks that stay the client's until it returns the layout. The commit copies what was written to new
 *   blocks, which become the file's in one group; the client may go on writing to the stage at once.
 *
 * S1 Provisional blocks of a file do not overlap in the file.
 * S2 What lies below a provisional block is a hole, or an extent that is marked as shared, or the file is `cow`: of
 *    other files nothing is mapped below a layout for writing, and the mark outlives the sharing.
 * S3 So nobody writes in place to what lies below a provisional block.
 */
import { assert } from '../errors.ts';
import type { Extent, Hole } from './extents.ts';
import { isCow } from './file-flags.ts';
import { BlockQueue, blocksIn, byShares, isUnwritten, placement, replaceBlocks } from './file-space.ts';
import type { Inode } from './inode.ts';
import type { Volume } from './volume.ts';

/** A piece of the file as the client may write it. */
export interface WritablePiece {
  /** The file's own block, or what was provided. */
  readonly at: Extent;
  readonly isProvided: boolean;
  /** Where the old data of what was provided begins, if there is any. */
  readonly old: number | undefined;
}

/** One part of the file cut into what the client was provided with and what it writes in place. */
export function* writablePieces(
  v: Volume,
  inode: Inode,
  part: Extent | Hole,
  client: number,
): Generator<WritablePiece> {
  const hasData = part.block !== undefined && !isUnwritten(part);
  const end = part.fileBlock + part.length;
  for (const piece of v.provisional.get(inode.ino)?.cover(part.fileBlock, end) ?? [{ ...part, block: undefined }]) {
    const by = piece.fileBlock - part.fileBlock;
    if (piece.block !== undefined && piece.mark === client) {
      yield { at: piece, isProvided: true, old: hasData ? part.block + by : undefined };
    } else if (part.block !== undefined) {
      const { fileBlock, length } = piece;
      yield { at: { ...part, fileBlock, length, block: part.block + by }, isProvided: false, old: undefined };
    }
  }
}

/** Parts of [from, to) that a client cannot write in place: holes, what others map too or would after a crash; all of a `cow` file. */
export function* toProvide(v: Volume, inode: Inode, from: number, to: number): Generator<Hole> {
  const whole: Hole = { fileBlock: from, block: undefined, length: to - from };
  if (isCow(inode)) {
    yield whole;
    return;
  }
  for (const part of v.extents.get(inode.ino)?.cover(from, to) ?? [whole]) {
    if (part.block === undefined) {
      yield part;
      continue;
    }
    for (const { fileBlock, length, isOwn } of byShares(v, part)) {
      if (!isOwn) yield { fileBlock, block: undefined, length };
    }
  }
}

/** Blocks that committing [from, to) takes from free space, and those that the file has more afterwards. */
export function blocksToCommit(
  v: Volume,
  inode: Inode,
  from: number,
  to: number,
  client: number,
): { readonly taken: number; readonly gained: number } {
  const map = v.extents.get(inode.ino);
  let [taken, gained] = [0, 0];
  for (const { fileBlock, length } of stagedBy(v, inode, from, to, client)) {
    taken += length;
    gained += length - blocksIn([...(map?.within(fileBlock, fileBlock + length) ?? [])]);
  }
  return { taken, gained };
}

/** What the client staged in [from, to) becomes the file's content there. There is room for it. */
export function commitStaged(v: Volume, inode: Inode, from: number, to: number, client: number): void {
  const staged = stagedBy(v, inode, from, to, client);
  const [first] = staged;
  if (first === undefined) return;
  const needed = blocksIn(staged);
  const pieces = v.space.allocate(needed, placement(v, inode, first.fileBlock, needed));
  assert(pieces !== undefined, 'there is room for what is committed');
  const blocks = new BlockQueue(pieces);
  for (const stage of staged) replaceBlocks(v, inode, { ...stage, mark: 0 }, blocks);
}

function stagedBy(v: Volume, inode: Inode, from: number, to: number, client: number): readonly Extent[] {
  return [...(v.provisional.get(inode.ino)?.within(from, to) ?? [])].filter(({ mark }) => mark === client);
}
