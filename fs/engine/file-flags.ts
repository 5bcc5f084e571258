/**
 * Flags of files and directories (ioctl_iflags(2), chattr(1)) and what they forbid, root included; and `cow`, which makes
 * each overwrite atomic (data.ts). The kernel knows none of them on a FUSE mount, so that all of it is enforced here.
 */
import { FsError } from '../errors.ts';
import { INODE_APPEND, INODE_COW, INODE_IMMUTABLE, INODE_NOATIME } from '../format/records.ts';
import type { Inode } from './inode.ts';

/** What a caller may set, by the names that interfaces use. */
export const settableFlags = {
  append: INODE_APPEND,
  cow: INODE_COW,
  immutable: INODE_IMMUTABLE,
  noatime: INODE_NOATIME,
} as const;

/** What new entries get from their directory (ext4: EXT4_FL_INHERITED). */
export function inheritedFlags(directory: Inode): number {
  return directory.flags & (INODE_COW | INODE_NOATIME);
}

export function isCow(inode: Inode): boolean {
  return (inode.flags & INODE_COW) !== 0;
}

/** Before content is changed, or entries are added to a directory. @throws FsError EPERM: immutable */
export function requireMutable(inode: Inode): void {
  if ((inode.flags & INODE_IMMUTABLE) !== 0) throw new FsError('EPERM', { ino: inode.ino, detail: 'immutable' });
}

/**
 * Before what is there is overwritten, cut off, renamed, removed or linked, and before attributes other than the
 * current time are set (may_delete, may_setattr, vfs_link and xattr_permission of Linux).
 * @throws FsError EPERM: immutable or append-only
 */
export function requireUnprotected(inode: Inode): void {
  requireMutable(inode);
  if ((inode.flags & INODE_APPEND) !== 0) throw new FsError('EPERM', { ino: inode.ino, detail: 'append-only' });
}
