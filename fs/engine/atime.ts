import { INODE_NOATIME, INODE_SNAPSHOT } from '../format/records.ts';
import type { Caller } from '../vfs.ts';
import { isBefore } from './clock.ts';
import type { Inode } from './inode.ts';
import type { Volume } from './volume.ts';

/** Seconds after which a read marks the time of access even if nothing was written since (relatime, mount(8)). */
const ageMaxSec = 24 * 3600;

/**
 * The content of the inode was read. The time of access is no change of the inode: neither ctime nor the change
 * attribute move.
 */
export function accessed(v: Volume, inode: Inode, by: Caller): void {
  if (by.atime === 'never' || (inode.flags & (INODE_NOATIME | INODE_SNAPSHOT)) !== 0) return;
  if (v.readOnly || v.shutdown !== undefined) return;
  const now = v.clock.now();
  if (by.atime !== 'always' && !isStale(inode, now.sec)) return;
  inode.atime = now;
  v.changes.times(inode);
  if (by.access !== 'kernel') v.onAccessed(inode.ino);
}

/** relatime: something was written since the last access, or that is a day ago. */
function isStale(inode: Inode, nowSec: number): boolean {
  const { atime, mtime, ctime } = inode;
  return !isBefore(mtime, atime) || !isBefore(ctime, atime) || nowSec - atime.sec >= ageMaxSec;
}
