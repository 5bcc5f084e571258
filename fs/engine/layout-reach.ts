/**
 * How far a file goes on in the same way: what a layout can take in beyond what was asked for without using any space.
 */
import { limits } from '../limits.ts';
import { requireFile } from './data.ts';
import { isCow } from './file-flags.ts';
import { byShares, isUnwritten } from './file-space.ts';
import type { Inode } from './inode.ts';
import type { ByteRange, LayoutReach } from './leases.ts';
import type { Volume } from './volume.ts';

const bs = limits.blockSize;

/** From the start of `range`, in whole blocks, and no farther than `extentsMax` extents, holes among them. @throws Wait */
export function reachOf(v: Volume, inode: Inode, { offset, length }: ByteRange, extentsMax: number): LayoutReach {
  requireFile(inode);
  const map = v.extents.get(inode.ino);
  if (map === undefined) return { written: offset, own: offset, listed: offset + length };
  const from = offset / bs;
  // The client it was provided to gets it below what was provided, nobody else gets it at all.
  const ownEnd = v.provisional.get(inode.ino)?.find(from)?.fileBlock ?? Infinity;
  let [written, own, listed] = [from, from, from];
  let count = 0;
  for (const part of map.cover(from, (offset + length) / bs)) {
    if (count++ === extentsMax) break;
    const { fileBlock, block } = part;
    if (block !== undefined && own === fileBlock && !isCow(inode)) {
      const isWritten = !isUnwritten(part) && written === fileBlock;
      for (const piece of byShares(v, part)) {
        if (!piece.isOwn || piece.fileBlock !== own) break;
        own += piece.length;
      }
      if (isWritten) written = own;
    }
    listed = fileBlock + part.length;
  }
  const end = Math.max(from, ownEnd);
  return { written: Math.min(written, end) * bs, own: Math.min(own, end) * bs, listed: listed * bs };
}
