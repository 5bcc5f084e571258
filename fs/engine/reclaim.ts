/**
 * Commits of what clients wrote before the server went down (RFC 8881 §18.42, loca_reclaim; RFC 5663 §2.3.6). The client
 * says where it wrote; only what the records of the former run bear out is believed. Then it is a commit as any other.
 */
import { limits } from '../limits.ts';
import { zeroPastEnd } from './data.ts';
import { isCow } from './file-flags.ts';
import { byShares } from './file-space.ts';
import { grantsOf } from './grants.ts';
import type { Inode } from './inode.ts';
import { commit } from './layouts.ts';
import type { ReclaimedExtent, ReclaimRequest } from './leases.ts';
import type { Volume } from './volume.ts';

const bs = limits.blockSize;

/**
 * undefined: the file is gone, or not all of it was granted to one of `formers` as it says.
 * @throws as `commit`
 */
export function reclaim(
  v: Volume,
  inode: Inode,
  { extents, lastWriteOffset, mtimeNs, requireHeld }: ReclaimRequest,
  formers: readonly number[],
): { readonly size: number | undefined } | undefined {
  if (!inode.isFile || inode.nlink === 0) return undefined;
  const former = formers.find((client) => extents.every((extent) => wasGranted(v, inode, extent, client)));
  if (former === undefined) return undefined;
  const beforeChange = (): void => {
    requireHeld?.();
    if (!isClaimed(extents, inode.size) && !isOthers(v, inode, former)) zeroPastEnd(v, inode, Infinity);
  };
  const answer = commit(v, inode, { ranges: extents, lastWriteOffset, mtimeNs, requireHeld: beforeChange }, former);
  // Whose the bytes past the end are now nobody knows: the next grant finds them as after any restart.
  v.tailOwners.delete(inode.ino);
  return answer;
}

/**
 * Provisional still and the client's, or a block that is the file's alone, which the client held for writing: nobody
 * has changed the map of such a file since (mds/grace.ts). Of a `cow` file no block was ever granted for writing.
 */
function wasGranted(
  v: Volume,
  inode: Inode,
  { offset, length, storageOffset }: ReclaimedExtent,
  client: number,
): boolean {
  if (grantsOf(v, client).get(inode.ino) !== 'write') return false;
  const [from, to] = [offset / bs, (offset + length) / bs];
  const place = (fileBlock: number): number => storageOffset / bs + fileBlock - from;
  let at = from;
  for (const { fileBlock, block, length: blocks, mark } of v.provisional.get(inode.ino)?.within(from, to) ?? []) {
    if (mark !== client || block !== place(fileBlock) || !isOwn(v, inode, at, fileBlock, place)) return false;
    at = fileBlock + blocks;
  }
  return isOwn(v, inode, at, to, place);
}

function isOwn(v: Volume, inode: Inode, from: number, to: number, place: (fileBlock: number) => number): boolean {
  if (from === to) return true;
  if (isCow(inode)) return false;
  let at = from;
  for (const extent of v.extents.get(inode.ino)?.within(from, to) ?? []) {
    if (extent.fileBlock !== at || extent.block !== place(at)) return false;
    for (const part of byShares(v, extent)) if (!part.isOwn) return false;
    at += extent.length;
  }
  return at === to;
}

/** The block with the end of the file is among them: what follows the end there the client has written. */
function isClaimed(extents: readonly ReclaimedExtent[], size: number): boolean {
  return extents.some(({ offset, length }) => offset <= size && size < offset + length);
}

/** Another former client may have written past the end, and reclaim that later. */
function isOthers(v: Volume, inode: Inode, former: number): boolean {
  for (const [client, files] of v.grants) if (client !== former && files.get(inode.ino) === 'write') return true;
  return false;
}
