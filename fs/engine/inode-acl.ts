/** The access control lists of inodes: set, followed by the mode, and handed down to new entries (acl(5)). */
import { FsError } from '../errors.ts';
import type { Caller } from '../vfs.ts';
import {
  type Acl,
  accessAcl,
  defaultAcl,
  encodeAcl,
  inherited,
  isMinimal,
  parseAcl,
  permissionsOf,
  withMode,
} from './acl.ts';
import { type Inode, S_IFLNK } from './inode.ts';
import type { Volume } from './volume.ts';
import { deleteXattr, putXattr, residentXattrs } from './xattr-records.ts';

/** The list that rules access, where there is more of it than the mode says. @throws Wait */
export function accessAclOf(v: Volume, inode: Inode): Acl | undefined {
  return aclOf(v, inode, accessAcl);
}

/**
 * Sets or, with an empty list, removes. A list that says no more than the mode becomes the mode. The caller has checked
 * who asks, and reports the inode changed.
 * @throws FsError EINVAL, EOPNOTSUPP (symbolic links have none), EACCES (a default list on what is not a directory); Wait
 */
export function setAcl(v: Volume, inode: Inode, name: string, value: Uint8Array): void {
  const { ino } = inode;
  if (inode.type === S_IFLNK) throw new FsError('EOPNOTSUPP', { ino, name });
  if (name === defaultAcl && !inode.isDirectory) throw new FsError('EACCES', { ino, name, detail: 'not a directory' });
  const acl = parseAcl(value);
  const xattrs = residentXattrs(v, inode);

  if (name === accessAcl && acl.length > 0) inode.mode = (inode.mode & ~0o777) | permissionsOf(acl);
  const says = acl.length > 0 && !(name === accessAcl && isMinimal(acl));
  if (says) putXattr(v, inode, name, value);
  else if (xattrs.has(name)) deleteXattr(v, inode, name);
}

/**
 * After chmod(2): the access list says of owner, mask and others what the mode says now. The attributes of the inode
 * are resident.
 */
export function followMode(v: Volume, inode: Inode): void {
  const acl = accessAclOf(v, inode);
  if (acl !== undefined) putXattr(v, inode, accessAcl, encodeAcl(withMode(acl, inode.mode)));
}

/** What an entry made in a directory gets by its default list, or by the umask where there is none. */
export interface NewEntry {
  readonly permissions: number;
  /** Attributes to be set on it. */
  readonly acls: readonly (readonly [name: string, value: Uint8Array])[];
}

/** `mode`: the bits that the caller asked for, types not. @throws Wait */
export function newEntry(v: Volume, directory: Inode, mode: number, isDirectory: boolean, by: Caller): NewEntry {
  const acl = aclOf(v, directory, defaultAcl);
  if (acl === undefined) return { permissions: mode & ~(by.umask ?? 0), acls: [] };
  const access = inherited(acl, mode);
  const acls: [string, Uint8Array][] = [];
  if (!isMinimal(access)) acls.push([accessAcl, encodeAcl(access)]);
  if (isDirectory) acls.push([defaultAcl, encodeAcl(acl)]);
  return { permissions: (mode & ~0o777) | permissionsOf(access), acls };
}

function aclOf(v: Volume, inode: Inode, name: string): Acl | undefined {
  const value = residentXattrs(v, inode).get(name);
  return value === undefined ? undefined : parseAcl(value);
}
