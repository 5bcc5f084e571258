/**
 * Set-user-ID, set-group-ID and file capabilities go when somebody else may have put his own program there (inode(7),
 * capabilities(7); file_remove_privs and setattr_prepare of Linux). Under default_permissions the kernel says when.
 */
import type { Caller } from '../vfs.ts';
import { inGroup } from './access.ts';
import type { Inode } from './inode.ts';
import { S_ISGID, S_ISUID } from './inode.ts';
import type { Volume } from './volume.ts';
import { deleteXattr, residentXattrs } from './xattr-records.ts';

const capability = 'security.capability';

/** What `by` writes keeps the privileges of the file. */
export function keepsPrivileges(by: Caller): boolean {
  return by.access === 'kernel' || by.uid === 0;
}

/** Before any change: dropPrivileges will find what it has to drop. @throws Wait */
export function requirePrivilegesKnown(v: Volume, inode: Inode, by: Caller): void {
  if (!keepsPrivileges(by)) residentXattrs(v, inode);
}

/**
 * Set-group-ID without group execution, which once meant mandatory locking, stays for root and the members of the
 * group (setattr_should_drop_sgid of Linux); it goes where nobody knows who will write. The caller reports the inode
 * changed; answers whether it did.
 */
export function dropPrivileges(v: Volume, inode: Inode, by?: Caller): boolean {
  const { mode, xattrs } = inode;
  const keepsSetgid = (mode & 0o010) === 0 && by !== undefined && (by.uid === 0 || inGroup(by, inode.gid));
  inode.mode &= ~(S_ISUID | (keepsSetgid ? 0 : S_ISGID));
  const isCapable = xattrs?.has(capability) === true;
  if (isCapable) deleteXattr(v, inode, capability);
  return isCapable || mode !== inode.mode;
}
