/**
 * Who may do what (path_resolution(7), open(2), chmod(2), chown(2)). Under default_permissions the kernel has checked
 * already, with groups and namespaces that we cannot see; then nothing is checked twice.
 */
import { FsError } from '../errors.ts';
import type { Caller } from '../vfs.ts';
import { allows } from './acl.ts';
import { requireUnprotected } from './file-flags.ts';
import type { Inode } from './inode.ts';
import { S_ISVTX } from './inode.ts';
import { accessAclOf } from './inode-acl.ts';
import type { Volume } from './volume.ts';

export const R_OK = 4;
export const W_OK = 2;
export const X_OK = 1;

/**
 * Root passes everything but execution of what nobody may execute (capabilities(7), CAP_DAC_OVERRIDE); an access
 * control list goes before the group and the others of the mode (acl(5)).
 * @throws Wait
 */
export function mayAccess(v: Volume, inode: Inode, mask: number, by: Caller): boolean {
  if (by.access === 'kernel') return true;
  if (by.uid === 0) return (mask & X_OK) === 0 || inode.isDirectory || (inode.mode & 0o111) !== 0;
  const acl = by.uid === inode.uid ? undefined : accessAclOf(v, inode);
  if (acl !== undefined) return allows(acl, inode, mask, by);
  const shift = by.uid === inode.uid ? 6 : inGroup(by, inode.gid) ? 3 : 0;
  return ((inode.mode >> shift) & mask) === mask;
}

/** @throws FsError EACCES; Wait */
export function requireAccess(v: Volume, inode: Inode, mask: number, by: Caller): void {
  if (!mayAccess(v, inode, mask, by)) {
    const wanted = `${(mask & R_OK) === 0 ? '' : 'r'}${(mask & W_OK) === 0 ? '' : 'w'}${(mask & X_OK) === 0 ? '' : 'x'}`;
    throw new FsError('EACCES', { ino: inode.ino, detail: `uid ${by.uid} lacks ${wanted} permission` });
  }
}

/** @throws FsError EPERM: neither owner nor root */
export function requireOwner(inode: Inode, by: Caller): void {
  if (by.access === 'kernel' || by.uid === 0 || by.uid === inode.uid) return;
  throw new FsError('EPERM', { ino: inode.ino, detail: `uid ${by.uid} is not the owner` });
}

/**
 * In a sticky directory only the owners of the file or the directory remove a name (inode(7), S_ISVTX); in an append-only
 * one nobody does, nor the name of a protected inode (may_delete of Linux).
 * @throws FsError EPERM
 */
export function requireRemovable(directory: Inode, victim: Inode, by: Caller): void {
  requireUnprotected(directory);
  requireUnprotected(victim);
  if (by.access === 'kernel' || by.uid === 0 || (directory.mode & S_ISVTX) === 0) return;
  if (by.uid === directory.uid || by.uid === victim.uid) return;
  throw new FsError('EPERM', { ino: victim.ino, detail: 'the directory is sticky' });
}

export function inGroup(by: Caller, gid: number): boolean {
  return by.gid === gid || by.groups.includes(gid);
}
