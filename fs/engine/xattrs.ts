/** Extended attributes (xattr(7)): who may see and change them, and what they may be. */
import { FsError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { Caller } from '../vfs.ts';
import { R_OK, requireAccess, requireOwner, W_OK } from './access.ts';
import { isAcl } from './acl.ts';
import { requireUnprotected } from './file-flags.ts';
import type { Inode } from './inode.ts';
import { S_ISVTX } from './inode.ts';
import { setAcl } from './inode-acl.ts';
import { changed } from './namespace.ts';
import { getVirtual, isVirtual, setVirtual } from './virtual-xattrs.ts';
import type { Volume } from './volume.ts';
import { deleteXattr, putXattr, residentXattrs } from './xattr-records.ts';

/** @throws FsError ENODATA, EACCES, EPERM; Wait */
export function getXattr(v: Volume, inode: Inode, name: string, by: Caller): Uint8Array {
  const value = findXattr(v, inode, name, by);
  if (value === undefined) throw new FsError('ENODATA', { ino: inode.ino, name });
  return value;
}

/** undefined: no such attribute. @throws FsError EACCES, EPERM; Wait */
export function findXattr(v: Volume, inode: Inode, name: string, by: Caller): Uint8Array | undefined {
  if (isVirtual(name)) return getVirtual(v, inode, name, by);
  requireReadable(v, inode, name, by);
  return residentXattrs(v, inode).get(name);
}

/** Those of the trusted namespace only for root (xattr(7)). @throws Wait */
export function listXattrs(v: Volume, inode: Inode, by: Caller): readonly string[] {
  const names = [...residentXattrs(v, inode).keys()];
  return by.uid === 0 ? names : names.filter((name) => !name.startsWith('trusted.'));
}

/** @throws FsError EEXIST, ENODATA, E2BIG, ERANGE, EINVAL, ENOSPC, EOPNOTSUPP, EPERM, EACCES, EROFS; Wait */
export function setXattr(
  v: Volume,
  inode: Inode,
  name: string,
  value: Uint8Array,
  mode: 'either' | 'create' | 'replace',
  by: Caller,
): void {
  // These are always there, so that they cannot be created.
  if (isVirtual(name) && mode === 'create') throw new FsError('EEXIST', { ino: inode.ino, name });
  if (isVirtual(name)) {
    setVirtual(v, inode, name, value, by);
    return;
  }
  v.requireChangeable(inode);
  v.requireRecords(inode.ino);
  requireChangeable(v, inode, name, by);
  if (value.length > limits.xattrValueMax) throw new FsError('E2BIG', { ino: inode.ino, name });
  const xattrs = residentXattrs(v, inode);
  const exists = xattrs.has(name);
  if (mode === 'create' && exists) throw new FsError('EEXIST', { ino: inode.ino, name });
  if (mode === 'replace' && !exists) throw new FsError('ENODATA', { ino: inode.ino, name });
  let listLength = name.length + 1;
  if (!exists) for (const each of xattrs.keys()) listLength += each.length + 1;
  if (listLength > limits.xattrListMax) throw new FsError('ENOSPC', { ino: inode.ino, name });

  if (isAcl(name)) setAcl(v, inode, name, value);
  else putXattr(v, inode, name, value);
  changed(v, inode, v.clock.now());
}

/** @throws FsError ENODATA, EPERM, EACCES, EOPNOTSUPP, EROFS; Wait */
export function removeXattr(v: Volume, inode: Inode, name: string, by: Caller): void {
  v.requireChangeable(inode);
  requireChangeable(v, inode, name, by);
  const xattrs = residentXattrs(v, inode);
  // Removing a list that is not there is no error in ext4 either (ext4_set_acl, xattr_set without flags).
  if (!xattrs.has(name) && isAcl(name)) return;
  if (!xattrs.has(name)) throw new FsError('ENODATA', { ino: inode.ino, name });

  deleteXattr(v, inode, name);
  changed(v, inode, v.clock.now());
}

function requireReadable(v: Volume, inode: Inode, name: string, by: Caller): void {
  if (!isAcl(name) && namespaceOf(name) === undefined) throw new FsError('EOPNOTSUPP', { ino: inode.ino, name });
  if (name.startsWith('trusted.') && by.uid !== 0) throw new FsError('ENODATA', { ino: inode.ino, name });
  if (name.startsWith('user.')) requireAccess(v, inode, R_OK, by);
}

/**
 * user.* only on files and directories, like their content, and in sticky directories only by the owner; the others
 * are root's (xattr(7)). Of system.* only access control lists, by the owner.
 */
function requireChangeable(v: Volume, inode: Inode, name: string, by: Caller): void {
  const { ino } = inode;
  requireUnprotected(inode);
  if (isAcl(name)) {
    requireOwner(inode, by);
    return;
  }
  const namespace = namespaceOf(name);
  if (namespace === undefined) throw new FsError('EOPNOTSUPP', { ino, name });
  if (name.length === namespace.length + 1 || name.includes('\0')) throw new FsError('EINVAL', { ino, name });
  if (name.length > limits.xattrNameMax) throw new FsError('ERANGE', { ino, name });
  if (namespace !== 'user') {
    if (by.uid !== 0 && by.access === 'engine') throw new FsError('EPERM', { ino, name });
    return;
  }
  if (!inode.isFile && !inode.isDirectory) throw new FsError('EPERM', { ino, name });
  if (inode.isDirectory && (inode.mode & S_ISVTX) !== 0) requireOwner(inode, by);
  requireAccess(v, inode, W_OK, by);
}

/** Those that are kept here, but for access control lists. */
function namespaceOf(name: string): string | undefined {
  return /^(user|trusted|security)\./.exec(name)?.[1];
}
