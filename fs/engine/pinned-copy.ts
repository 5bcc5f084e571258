/** What a copy of a tree gets of a pinned file: its content, on blocks of its own, since those stay the file's alone (pinned.ts). */
import { limits } from '../limits.ts';
import { allocate, copyBlocks, mapBlocks } from './file-space.ts';
import type { Inode } from './inode.ts';
import type { Volume } from './volume.ts';

/** From file block `from` on, as much as fits a step; answers where to go on, undefined at the end. @throws FsError ENOSPC; Wait */
export function copyPinned(v: Volume, source: Inode, copy: Inode, from: number): number | undefined {
  const [part] = v.extents.get(source.ino)?.within(from, from + limits.pinnedBlocksMax) ?? [];
  if (part === undefined) return undefined;
  v.requireSpace(copy.ino, part.length);
  let at = part.block;
  let fileBlock = part.fileBlock;
  for (const blocks of allocate(v, copy, part.fileBlock, part.length)) {
    copyBlocks(v, at, blocks);
    mapBlocks(v, copy, fileBlock, blocks, 0);
    at += blocks.length;
    fileBlock += blocks.length;
  }
  return fileBlock;
}
