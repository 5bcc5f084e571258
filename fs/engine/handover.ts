/**
 * Files of many extents, which no operation could give back at once without others noticing: name and users are gone,
 * nobody finds the inode any more, and the reaper takes its blocks piece by piece.
 */
import { limits } from '../limits.ts';
import { quarantineProvisional } from './file-space.ts';
import type { Inode } from './inode.ts';
import type { Volume } from './volume.ts';

export function isLarge(v: Volume, inode: Inode): boolean {
  return inode.isFile && (v.extents.get(inode.ino)?.count ?? 0) > limits.releasedExtentsMax;
}

/** Of a file without names and users, on which nobody holds a layout, and which is on record as an orphan. */
export function leaveToReaper(v: Volume, inode: Inode): void {
  quarantineProvisional(v, inode, 0, Infinity); // while it is found by its number
  v.tailOwners.delete(inode.ino);
  v.lingering.delete(inode.ino);
  v.inodes.leave(inode);
  v.reaping.add(inode);
}
