/** Names: what directories hold, and the inodes that come and go with them (POSIX.1-2017; the manual pages of Linux). */
import { FsError } from '../errors.ts';
import { INODE_SNAPSHOTS } from '../format/records.ts';
import { isSnapshotsIno, snapshotsIno, snapshotsName } from '../format/snapshots.ts';
import { limits } from '../limits.ts';
import type { Name } from '../name.ts';
import type { Caller, DirEntry, RenameMode, Timespec } from '../vfs.ts';
import { inGroup, requireAccess, requireRemovable, W_OK, X_OK } from './access.ts';
import type { Dentry } from './directory.ts';
import { inheritedFlags, requireMutable, requireUnprotected } from './file-flags.ts';
import { freeFile } from './file-space.ts';
import { isLarge, leaveToReaper } from './handover.ts';
import { Inode, S_IFCHR, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, S_ISGID } from './inode.ts';
import { type NewEntry, newEntry } from './inode-acl.ts';
import { entered, giveUp, requireLinksWithinTree, requireMovesWithinTree } from './quota-walk.ts';
import type { Volume } from './volume.ts';
import { noXattrs, putXattr, removeAllXattrs, residentXattrs } from './xattr-records.ts';

/** The number of the inode. @throws FsError ENOENT, ENOTDIR, EACCES */
export function lookup(v: Volume, parent: number, name: Name | '.' | '..', by: Caller): number {
  const found = find(v, parent, name, by);
  if (found === undefined) throw new FsError('ENOENT', { ino: parent, name });
  return found;
}

/** The number of the inode; undefined: no such name. @throws FsError ENOTDIR, EACCES */
export function find(v: Volume, parent: number, name: Name | '.' | '..', by: Caller): number | undefined {
  const directory = requireDirectory(v, parent);
  requireAccess(v, directory, X_OK, by);
  if (name === '.') return parent;
  if (name === '..') return directory.parent;
  if (name === snapshotsName && !isSnapshotsIno(parent)) {
    const snapshots = v.inodes.peek(snapshotsIno(parent));
    if (snapshots !== undefined) return snapshots.ino;
  }
  return v.directories.find(parent, name);
}

/** Of all that are no symbolic links. */
const noTarget = new Uint8Array(0);

export interface NewInode {
  /** Type and permission bits. */
  readonly mode: number;
  readonly rdev?: number;
  readonly target?: Uint8Array;
}

/** @throws FsError EEXIST, ENOENT (the directory was removed), ENOTDIR, EACCES, EROFS, EMLINK, EINVAL ('.', '..') */
export function create(v: Volume, parent: number, name: Name, what: NewInode, by: Caller): Inode {
  const directory = requireChangeable(v, parent, by);
  v.requireRecords(parent);
  requireNew(v, parent, name);
  const isDirectory = (what.mode & S_IFMT) === S_IFDIR;
  if (isDirectory) requireRoomForDirectory(directory);
  v.requireQuota(directory, 0, 1);

  const now = v.clock.now();
  const inode = newInode(v, directory, what, now, by);
  enter(v, directory, name, inode, now);
  if (isDirectory) {
    v.directories.created(inode.ino);
    directory.nlink++;
  }
  return inode;
}

/** An inode without a name; it goes when its last user does. @throws FsError as create */
export function createUnnamed(v: Volume, parent: number, what: NewInode, by: Caller): Inode {
  const directory = requireChangeable(v, parent, by);
  v.requireRecords(parent);
  v.requireQuota(directory, 0, 1);
  const inode = newInode(v, directory, what, v.clock.now(), by);
  inode.nlink = 0;
  v.changes.orphan(inode.ino, true);
  return inode;
}

/** @throws FsError EPERM (a directory), EMLINK, EEXIST, EACCES, EROFS */
export function link(v: Volume, ino: number, parent: number, name: Name, by: Caller): Inode {
  const directory = requireChangeable(v, parent, by);
  v.requireRecords(parent);
  const inode = v.inodes.get(ino);
  if (inode.isDirectory) throw new FsError('EPERM', { ino, detail: 'directories have one name' });
  v.requireChangeable(inode);
  requireUnprotected(inode);
  requireNew(v, parent, name);
  requireLinksWithinTree(v, inode, directory);
  if (inode.nlink >= limits.linkMax) throw new FsError('EMLINK', { ino });

  const now = v.clock.now();
  if (inode.nlink === 0) {
    v.changes.orphan(ino, false);
    v.lingering.delete(ino);
  }
  inode.nlink++;
  changed(v, inode, now);
  enter(v, directory, name, inode, now);
  return inode;
}

/** Blocks go with the last name and the last user. @throws FsError ENOENT, EISDIR, EACCES, EPERM, EROFS; Wait */
export function unlink(v: Volume, parent: number, name: Name, by: Caller): void {
  const directory = requireChangeable(v, parent, by);
  const { inode } = requireEntry(v, parent, name);
  if (inode.isDirectory) throw new FsError('EISDIR', { ino: parent, name });
  requireRemovable(directory, inode, by);
  v.requireChangeable(inode);
  requireReleasable(v, inode);

  const now = v.clock.now();
  leave(v, directory, name, now);
  dropName(v, inode, now);
}

/** @throws FsError ENOENT, ENOTDIR, ENOTEMPTY, EBUSY (the root), EACCES, EPERM, EROFS; Wait */
export function rmdir(v: Volume, parent: number, name: Name, by: Caller): void {
  const directory = requireChangeable(v, parent, by);
  const { inode } = requireEntry(v, parent, name);
  if (!inode.isDirectory) throw new FsError('ENOTDIR', { ino: parent, name });
  requireRemovable(directory, inode, by);
  v.requireChangeable(inode);
  requireEmpty(v, inode);

  const now = v.clock.now();
  leave(v, directory, name, now);
  dropDirectory(v, directory, inode, now);
}

/**
 * renameat2(2).
 * @throws FsError ENOENT, EEXIST, EISDIR, ENOTDIR, ENOTEMPTY, EINVAL (into itself), EMLINK, EACCES, EPERM, EROFS,
 * EDQUOT (a whiteout more); Wait
 */
export function rename(
  v: Volume,
  parent: number,
  name: Name,
  toParent: number,
  toName: Name,
  mode: RenameMode,
  by: Caller,
): void {
  const from = requireChangeable(v, parent, by);
  const to = requireChangeable(v, toParent, by);
  const { entry, inode } = requireEntry(v, parent, name);
  requireRemovable(from, inode, by);
  v.requireChangeable(inode);
  requireMovesWithinTree(v, from, to, inode);
  requireMovable(v, inode, from, to, by);
  requireProperName(toParent, toName, 'EBUSY');
  const target = v.directories.lookup(toParent, toName);
  const victim = target === undefined ? undefined : v.inodes.get(target.ino);
  if (victim !== undefined) v.requireChangeable(victim);
  if (mode === 'exchange') {
    if (victim === undefined || target === undefined) throw new FsError('ENOENT', { ino: toParent, name: toName });
    requireRemovable(to, victim, by);
    requireMovable(v, victim, to, from, by);
    if (from !== to && inode.isDirectory !== victim.isDirectory) requireRoomForDirectory(inode.isDirectory ? to : from);
    if (victim !== inode) exchange(v, from, entry, inode, to, target, victim);
    return;
  }
  if (victim !== undefined) {
    if (mode === 'noreplace' || mode === 'noreplace-whiteout')
      throw new FsError('EEXIST', { ino: toParent, name: toName });
    if (victim === inode) return; // two names of one file: rename(2) does nothing
    if (victim.isDirectory && !inode.isDirectory) throw new FsError('EISDIR', { ino: toParent, name: toName });
    if (!victim.isDirectory && inode.isDirectory) throw new FsError('ENOTDIR', { ino: toParent, name: toName });
    requireRemovable(to, victim, by);
    if (victim.isDirectory) requireEmpty(v, victim);
    else requireReleasable(v, victim);
  }
  if (inode.isDirectory && from !== to && victim === undefined) requireRoomForDirectory(to);
  const leavesWhiteout = mode === 'whiteout' || mode === 'noreplace-whiteout';
  if (leavesWhiteout) {
    v.requireRecords(parent);
    v.requireQuota(from, 0, 1);
  }

  const now = v.clock.now();
  const whiteout = leavesWhiteout ? newInode(v, from, { mode: S_IFCHR }, now, by) : undefined;
  leave(v, from, name, now);
  if (victim !== undefined) {
    leave(v, to, toName, now);
    if (victim.isDirectory) dropDirectory(v, to, victim, now);
    else dropName(v, victim, now);
  }
  enter(v, to, toName, inode, now);
  if (whiteout !== undefined) enter(v, from, name, whiteout, now);
  adopt(v, inode, from, to);
  changed(v, inode, now);
}

/** Entries with cookies after `cookie` and before `end`; 1 and 2 are '.' and '..'. @throws FsError ENOTDIR; Wait */
export function list(v: Volume, inode: Inode, cookie: number, end: number, limit: number): readonly DirEntry[] {
  const { ino } = inode;
  if (!inode.isDirectory) throw new FsError('ENOTDIR', { ino });
  const directory = v.directories.requireComplete(ino);
  const page: DirEntry[] = [];
  if (cookie < 1 && limit > 0) page.push({ name: '.', ino, type: S_IFDIR, cookie: 1 });
  if (cookie < 2 && page.length < limit) page.push({ name: '..', ino: inode.parent, type: S_IFDIR, cookie: 2 });
  for (const entry of directory.between(Math.max(cookie, 2), end, Math.max(0, limit - page.length))) page.push(entry);
  return page;
}

/** Attributes changed: ctime and the change attribute say so. */
export function changed(v: Volume, inode: Inode, now: Timespec): void {
  inode.ctime = now;
  inode.change++;
  v.changes.inode(inode);
}

/** The same, where nothing but times changed with it. */
export function touched(v: Volume, inode: Inode, now: Timespec): void {
  inode.ctime = now;
  inode.change++;
  v.changes.times(inode);
}

/**
 * Its last user went: an inode without names goes too, unless it is the root of a tree that has yet to go. The caller
 * has it on record as an orphan.
 * @throws Wait while layouts are being recalled
 */
export function reap(v: Volume, inode: Inode): void {
  if (v.reaping.has(inode.ino)) return;
  // While it waited somebody else may have opened the inode again, linked it, or reaped it.
  if (inode.nlink > 0 || inUse(v, inode) || v.inodes.resident(inode.ino) !== inode) return;
  requireReleasable(v, inode);
  if (isLarge(v, inode)) {
    leaveToReaper(v, inode);
    return;
  }
  v.changes.orphan(inode.ino, false);
  remove(v, inode);
}

export function requireDirectory(v: Volume, ino: number): Inode {
  const inode = v.inodes.get(ino);
  if (!inode.isDirectory) throw new FsError('ENOTDIR', { ino });
  return inode;
}

export function requireChangeable(v: Volume, ino: number, by: Caller): Inode {
  const directory = requireDirectory(v, ino);
  v.requireChangeable(directory);
  requireMutable(directory);
  requireAccess(v, directory, W_OK | X_OK, by);
  if (directory.nlink === 0) throw new FsError('ENOENT', { ino, detail: 'the directory was removed' });
  return directory;
}

/**
 * '.' and '..' are never entries; operations on them are the caller's mistake, as the kernel says too. And '.snapshots' is
 * there by itself, and stays.
 */
function requireProperName(parent: number, name: string, reserved: 'EEXIST' | 'EBUSY'): void {
  if (name === '.' || name === '..') throw new FsError('EINVAL', { ino: parent, name });
  if (name === snapshotsName) throw new FsError(reserved, { ino: parent, name, detail: 'every directory has it' });
}

export function requireNew(v: Volume, parent: number, name: Name): void {
  requireProperName(parent, name, 'EEXIST');
  if (v.directories.lookup(parent, name) !== undefined) throw new FsError('EEXIST', { ino: parent, name });
}

function requireEntry(v: Volume, parent: number, name: Name): { entry: Dentry; inode: Inode } {
  requireProperName(parent, name, 'EBUSY');
  const entry = v.directories.lookup(parent, name);
  if (entry === undefined) throw new FsError('ENOENT', { ino: parent, name });
  return { entry, inode: v.inodes.get(entry.ino) };
}

function requireEmpty(v: Volume, inode: Inode): void {
  requireReleasable(v, inode);
  if (v.directories.requireAny(inode.ino).size > 0) throw new FsError('ENOTEMPTY', { ino: inode.ino });
  if ((inode.flags & INODE_SNAPSHOTS) !== 0)
    throw new FsError('ENOTEMPTY', { ino: inode.ino, detail: `there are snapshots of it, in ${snapshotsName}` });
}

/** If its last name goes now, its blocks go too: nobody may hold a layout on them (promise 3). @throws Wait */
export function requireReleasable(v: Volume, inode: Inode): void {
  if (inode.nlink > 1 && !inode.isDirectory) return;
  if (inUse(v, inode)) return;
  v.cutting.requireNone(inode.ino);
  residentXattrs(v, inode);
  if (inode.isFile) v.requireNoLayouts(inode.ino, { offset: 0, length: Infinity }, 'unmap');
}

/** A directory that moves gets another '..', so it must be writable itself (rename(2)). */
function requireMovable(v: Volume, inode: Inode, from: Inode, to: Inode, by: Caller): void {
  if (!inode.isDirectory || from === to) return;
  requireAccess(v, inode, W_OK, by);
  requireNotBelow(v, inode, to);
}

/** Each subdirectory is a link to its parent, by its '..'. */
export function requireRoomForDirectory(parent: Inode): void {
  if (parent.nlink >= limits.directoryLinkMax) throw new FsError('EMLINK', { ino: parent.ino });
}

/** A directory never moves below itself. The tree is walked by parent pointers, which the root ends. */
function requireNotBelow(v: Volume, inode: Inode, directory: Inode): void {
  for (let at = directory; ; at = v.inodes.get(at.parent)) {
    if (at === inode) throw new FsError('EINVAL', { ino: inode.ino, detail: 'a directory cannot move below itself' });
    if (at.parent === at.ino) return;
  }
}

export function inUse(v: Volume, inode: Inode): boolean {
  return inode.opens > 0 || v.kernelRefs.has(inode.ino);
}

/** Owner and group as open(2) O_CREAT says: a set-group-ID directory gives its group, and directories the bit. */
function newInode(v: Volume, directory: Inode, what: NewInode, now: Timespec, by: Caller): Inode {
  const isDirectory = (what.mode & S_IFMT) === S_IFDIR;
  const inherits = (directory.mode & S_ISGID) !== 0;
  const gid = inherits ? directory.gid : by.gid;
  const { permissions, acls } = entryFor(v, directory, what, by);
  let mode = (what.mode & S_IFMT) | permissions;
  if (inherits && isDirectory) mode |= S_ISGID;
  // inode_init_owner of Linux (fs/inode.c): no group-executable set-group-ID file for a group one is not in.
  if (!isDirectory && (what.mode & (S_ISGID | 0o010)) === (S_ISGID | 0o010) && by.uid !== 0 && !inGroup(by, gid))
    mode &= ~S_ISGID;
  const ino = v.newNumber();
  const inode = new Inode({
    ino,
    mode,
    uid: by.uid,
    gid,
    nlink: isDirectory ? 2 : 1,
    size: (mode & S_IFMT) === S_IFLNK ? (what.target?.length ?? 0) : 0,
    rdev: what.rdev ?? 0,
    atime: now,
    mtime: now,
    ctime: now,
    btime: now,
    change: 1,
    flags: isDirectory || (mode & S_IFMT) === S_IFREG ? inheritedFlags(directory) : 0,
    parent: isDirectory ? directory.ino : 0,
    target: what.target === undefined ? noTarget : Uint8Array.from(what.target),
    quota: v.quotas.of(directory)?.id ?? 0,
  });
  inode.xattrs = noXattrs;
  for (const [name, value] of acls) putXattr(v, inode, name, value);
  v.inodes.add(inode);
  v.changes.inodeCreated(inode);
  v.inodeCount++;
  v.quotas.chargeInode(inode, 1);
  return inode;
}

/** A symbolic link has no permissions of its own. @throws Wait */
function entryFor(v: Volume, directory: Inode, what: NewInode, by: Caller): NewEntry {
  const type = what.mode & S_IFMT;
  const permissions = what.mode & 0o7777;
  return type === S_IFLNK ? { permissions, acls: [] } : newEntry(v, directory, permissions, type === S_IFDIR, by);
}

export function enter(v: Volume, directory: Inode, name: Name, inode: Inode, now: Timespec): void {
  const resident = v.directories.get(directory.ino);
  const entry = { name, ino: inode.ino, type: inode.type, cookie: v.newNumber() };
  resident.set(entry);
  v.directories.grew();
  v.changes.dentry(resident, name, entry);
  directory.mtime = now;
  changed(v, directory, now);
  entered(v, directory, inode);
}

export function leave(v: Volume, directory: Inode, name: Name, now: Timespec): void {
  const resident = v.directories.get(directory.ino);
  resident.remove(name);
  v.changes.dentry(resident, name, undefined);
  directory.mtime = now;
  changed(v, directory, now);
}

export function dropName(v: Volume, inode: Inode, now: Timespec): void {
  inode.nlink--;
  changed(v, inode, now);
  if (inode.nlink > 0) return;
  if (inUse(v, inode)) {
    v.changes.orphan(inode.ino, true);
    v.lingering.add(inode.ino);
  } else if (isLarge(v, inode)) {
    v.changes.orphan(inode.ino, true);
    leaveToReaper(v, inode);
  } else remove(v, inode);
}

export function dropDirectory(v: Volume, parent: Inode, inode: Inode, now: Timespec): void {
  // The root of a tree that is being removed has none left already.
  if (parent.nlink > 0) parent.nlink--;
  inode.nlink = 0;
  const quota = v.quotas.at(inode);
  if (quota !== undefined) giveUp(v, quota);
  changed(v, inode, now);
  if (inUse(v, inode)) {
    v.changes.orphan(inode.ino, true);
    v.lingering.add(inode.ino); // it counts in its quota until then
  } else remove(v, inode);
}

/** Of an inode without names and users whose attributes are resident. */
export function remove(v: Volume, inode: Inode): void {
  freeFile(v, inode);
  removeAllXattrs(v, inode);
  if (inode.isDirectory) {
    v.directories.delete(inode.ino);
    v.directories.delete(snapshotsIno(inode.ino));
  }
  v.tailOwners.delete(inode.ino);
  v.lingering.delete(inode.ino);
  v.inodes.delete(inode, v.group.open);
  v.changes.inodeDeleted(inode);
  v.inodeCount--;
  v.quotas.chargeInode(inode, -1);
}

/** A directory that moved counts in its new parent. */
function adopt(v: Volume, inode: Inode, from: Inode, to: Inode): void {
  if (!inode.isDirectory || from === to) return;
  from.nlink--;
  to.nlink++;
  inode.parent = to.ino;
  v.changes.inode(inode);
}

function exchange(v: Volume, from: Inode, entry: Dentry, inode: Inode, to: Inode, target: Dentry, victim: Inode): void {
  const now = v.clock.now();
  leave(v, from, entry.name, now);
  leave(v, to, target.name, now);
  enter(v, from, entry.name, victim, now);
  enter(v, to, target.name, inode, now);
  adopt(v, inode, from, to);
  adopt(v, victim, to, from);
  changed(v, inode, now);
  changed(v, victim, now);
}
