/** Setting the flags of a file or directory (ioctl_iflags(2), chattr(1)). */
import { FsError } from '../errors.ts';
import { INODE_APPEND, INODE_COW, INODE_IMMUTABLE, INODE_NOATIME } from '../format/records.ts';
import type { Caller } from '../vfs.ts';
import { requireMutable } from './file-flags.ts';
import type { Inode } from './inode.ts';
import { changed } from './namespace.ts';
import { requireNotPinned } from './pinned.ts';
import type { Volume } from './volume.ts';

const protecting = INODE_IMMUTABLE | INODE_APPEND;
const settable = protecting | INODE_COW | INODE_NOATIME;

/**
 * The flags of `which` become those of `flags`, the others stay. Only root sets or clears `immutable` and `append`
 * (CAP_LINUX_IMMUTABLE), and nothing else of an immutable file (ext4_ioctl_check_immutable). Layouts for writing go, for
 * they allow writing in place.
 * @throws FsError EPERM, EOPNOTSUPP (neither file nor directory; `cow` of a pinned file), EROFS; Wait
 */
export function setFlags(v: Volume, inode: Inode, which: number, flags: number, by: Caller): void {
  v.requireChangeable(inode);
  const { ino } = inode;
  if (!inode.isFile && !inode.isDirectory) throw new FsError('EOPNOTSUPP', { ino, detail: 'file flags' });
  requireOwner(inode, by);
  const mask = which & settable;
  const changes = (inode.flags ^ flags) & mask;
  if (changes === 0) return;
  if ((changes & INODE_COW) !== 0) requireNotPinned(inode, 'it is overwritten in place');
  if ((changes & protecting) !== 0 && by.uid !== 0) {
    throw new FsError('EPERM', { ino, detail: 'only root sets and clears immutable and append-only' });
  }
  const staysImmutable = (inode.flags & INODE_IMMUTABLE) !== 0 && (changes & INODE_IMMUTABLE) === 0;
  if (staysImmutable) requireMutable(inode);
  if (inode.isFile && (changes & (protecting | INODE_COW)) !== 0) {
    v.requireNoLayouts(ino, { offset: 0, length: Infinity }, 'share');
  }

  inode.flags ^= changes;
  changed(v, inode, v.clock.now());
}

/** @throws FsError EPERM: neither owner nor root, whatever the kernel may have checked */
export function requireOwner(inode: Inode, by: Caller): void {
  if (by.uid !== 0 && by.uid !== inode.uid) {
    throw new FsError('EPERM', { ino: inode.ino, detail: `uid ${by.uid} is not the owner` });
  }
}
