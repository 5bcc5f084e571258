/** Changing attributes: chmod(2), chown(2), truncate(2), utimensat(2), as one operation. */
import { FsError } from '../errors.ts';
import type { Caller, SetAttr, Timespec } from '../vfs.ts';
import { inGroup, requireAccess, requireOwner, W_OK } from './access.ts';
import { truncate } from './data.ts';
import { requireMutable, requireUnprotected } from './file-flags.ts';
import type { Inode } from './inode.ts';
import { S_IFMT, S_ISGID } from './inode.ts';
import { followMode } from './inode-acl.ts';
import { changed } from './namespace.ts';
import { dropPrivileges, keepsPrivileges, requirePrivilegesKnown } from './privileges.ts';
import type { Volume } from './volume.ts';
import { residentXattrs } from './xattr-records.ts';

/** Seconds that the format can hold; others become the nearest, as the kernel clamps to s_time_max (fs/inode.c). */
const secondsMax = Number.MAX_SAFE_INTEGER;

/**
 * `opened` for writing: ftruncate(2) asks nothing of the mode bits.
 * @throws FsError EPERM, EACCES, EROFS and those of truncate; Wait
 */
export function setAttributes(v: Volume, inode: Inode, changes: SetAttr, by: Caller, opened: boolean): void {
  v.requireChangeable(inode);
  checkOwnership(inode, changes, by);
  checkFlags(inode, changes);
  if (changes.mode !== undefined) requireOwner(inode, by);
  checkTimes(v, inode, changes, by);
  const changesOwner = changes.uid !== undefined || changes.gid !== undefined;
  // Since Linux 2.2.13 root's chown takes the privileges too (chown(2)).
  const disowns = changesOwner && by.access === 'engine' && !inode.isDirectory;
  // Capabilities that go and an access control list that follows the mode are known before the first change.
  if (disowns || changes.mode !== undefined) residentXattrs(v, inode);
  if (changes.size !== undefined) {
    if (!opened) requireAccess(v, inode, W_OK, by);
    requirePrivilegesKnown(v, inode, by);
    // Truncation may wait or fail, so it comes before every other change.
    truncate(v, inode, changes.size);
    if (!keepsPrivileges(by)) dropPrivileges(v, inode, by);
  }

  const now = v.clock.now();
  if (disowns) dropPrivileges(v, inode, by);
  if (changes.uid !== undefined) inode.uid = changes.uid;
  if (changes.gid !== undefined) inode.gid = changes.gid;
  if (changes.mode !== undefined) {
    inode.mode = (inode.mode & S_IFMT) | permitted(inode, changes.mode, by);
    followMode(v, inode);
  }
  if (changes.atime !== undefined) inode.atime = timeOf(changes.atime, now);
  if (changes.mtime !== undefined) inode.mtime = timeOf(changes.mtime, now);
  changed(v, inode, now);
}

/**
 * Of an append-only file only the current time may be set, and both times at once (utimensat(2); may_setattr of Linux).
 * @throws FsError EPERM
 */
function checkFlags(inode: Inode, { mode, uid, gid, size, atime, mtime }: SetAttr): void {
  const touches = atime === mtime && (atime === undefined || atime === 'now');
  if (touches && mode === undefined && uid === undefined && gid === undefined && size === undefined) {
    requireMutable(inode);
  } else requireUnprotected(inode);
}

/** Only root gives files away; an owner may choose among its groups (chown(2)). */
function checkOwnership(inode: Inode, changes: SetAttr, by: Caller): void {
  if (by.access === 'kernel' || by.uid === 0) return;
  const givesAway = changes.uid !== undefined && changes.uid !== inode.uid;
  const foreignGroup = changes.gid !== undefined && changes.gid !== inode.gid && !inGroup(by, changes.gid);
  if (givesAway || foreignGroup) throw new FsError('EPERM', { ino: inode.ino, detail: 'chown' });
  if (changes.uid !== undefined || changes.gid !== undefined) requireOwner(inode, by);
}

/** Times of one's choice are the owner's right; the current time is that of everyone who may write (utimensat(2)). */
function checkTimes(v: Volume, inode: Inode, changes: SetAttr, by: Caller): void {
  const { atime, mtime } = changes;
  if (atime === undefined && mtime === undefined) return;
  if (atime === 'now' && mtime === 'now') {
    if (by.uid !== inode.uid) requireAccess(v, inode, W_OK, by);
    return;
  }
  requireOwner(inode, by);
}

/** chmod(2): the set-group-ID bit is lost where the caller is not in the file's group. */
function permitted(inode: Inode, mode: number, by: Caller): number {
  const foreign = by.access === 'engine' && by.uid !== 0 && !inGroup(by, inode.gid);
  return mode & 0o7777 & (foreign ? ~S_ISGID : ~0);
}

function timeOf(time: Timespec | 'now', now: Timespec): Timespec {
  if (time === 'now') return now;
  return { sec: Math.max(-secondsMax, Math.min(time.sec, secondsMax)), nsec: time.nsec };
}
