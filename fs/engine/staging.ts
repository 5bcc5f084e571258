/**
 * Layouts for writing on files whose every overwrite is atomic (`cow`). The client never gets a block of the file to write
 * to: all of the range is staged, on provisional blocks that stay the client's until it returns the layout. It sees
 * INVALID_DATA there, with READ_DATA below it where the file has data (RFC 5663 §2.3.5, copy-on-write by the client). Its
 * LAYOUTCOMMIT copies what was written to new blocks, which become the file's in one group; the client may go on
 * writing to the stage at once, and what it never commits nobody sees.
 */
import { assert } from '../errors.ts';
import type { Extent, Hole } from './extents.ts';
import { BlockQueue, blocksIn, isUnwritten, placement, replaceBlocks } from './file-space.ts';
import type { Inode } from './inode.ts';
import type { Volume } from './volume.ts';

/** A piece of a stage, and where the file has the same blocks if it has data there. */
export interface Staged {
  readonly stage: Extent;
  readonly oldBlock: number | undefined;
}

/** The stage below one part of the file, in pieces that are whole on both sides. */
export function* stageOf(v: Volume, inode: Inode, part: Extent | Hole): Generator<Staged> {
  const hasData = part.block !== undefined && !isUnwritten(part);
  for (const stage of v.provisionalOf(inode.ino).within(part.fileBlock, part.fileBlock + part.length)) {
    yield { stage, oldBlock: hasData ? part.block + stage.fileBlock - part.fileBlock : undefined };
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
