/**
 * Snapshots of directories: trees that never change, found in the directory's `.snapshots`. mkdir there makes one, rmdir
 * deletes one, as in CephFS and ZFS; nothing else changes anything there (EROFS).
 */
import { FsError } from '../errors.ts';
import { INODE_SNAPSHOTS } from '../format/records.ts';
import { directoryOfSnapshots } from '../format/snapshots.ts';
import type { Name } from '../name.ts';
import type { Caller } from '../vfs.ts';
import { requireAccess, W_OK, X_OK } from './access.ts';
import { type Inode, S_IFDIR } from './inode.ts';
import { enter, requireChangeable, requireNew, requireRoomForDirectory } from './namespace.ts';
import type { TreeCopies } from './tree-copies.ts';
import type { Volume } from './volume.ts';

/**
 * A snapshot `name` of the directory that `snapshots` is of, durable when it settles.
 * @throws FsError EEXIST, ENOENT, EACCES, E2BIG, ENOSPC, EROFS, ESHUTDOWN, EIO
 */
export function createSnapshot(
  v: Volume,
  copies: TreeCopies,
  snapshots: number,
  name: Name,
  by: Caller,
): Promise<Inode> {
  const source = directoryOfSnapshots(snapshots);
  return copies.make({
    source,
    isSnapshot: true,
    parent: snapshots,
    by: undefined,
    caller: by,
    check: () => {
      requireSnapshotsOf(v, snapshots, by);
      v.requireRecords(source);
      requireNew(v, snapshots, name);
    },
    link: (root) => {
      const resident = v.directories.get(snapshots);
      const entry = { name, ino: root.ino, type: S_IFDIR, cookie: v.newNumber() };
      resident.set(entry);
      v.directories.grew();
      v.changes.dentry(resident, name, entry);
      const directory = v.inodes.get(source);
      directory.flags |= INODE_SNAPSHOTS;
      snapshotsChanged(v, directory);
    },
  });
}

/** The name is gone at once; what is below it goes in the background. @throws FsError ENOENT, EACCES, EROFS; Wait */
export function deleteSnapshot(v: Volume, snapshots: number, name: Name, by: Caller): void {
  const directory = requireSnapshotsOf(v, snapshots, by);
  const resident = v.directories.requireComplete(snapshots);
  const entry = v.directories.lookup(snapshots, name);
  if (entry === undefined) throw new FsError('ENOENT', { ino: snapshots, name });
  const root = v.inodes.get(entry.ino);
  v.copying.requireNotTaken(root.ino);

  resident.remove(name);
  v.changes.dentry(resident, name, undefined);
  if (resident.size === 0) directory.flags &= ~INODE_SNAPSHOTS;
  snapshotsChanged(v, directory);
  root.nlink = 0;
  v.changes.inode(root);
  v.changes.orphan(root.ino, true);
  v.reaping.add(root);
}

/**
 * A copy of a directory tree that lives on by itself, durable when it settles.
 * @throws FsError EEXIST, ENOENT, ENOTDIR, EINVAL, EACCES, EPERM (a caller besides root does not own all of it), E2BIG,
 *   EMLINK, ENOSPC, EROFS, ESHUTDOWN, EIO
 */
export function cloneTree(
  v: Volume,
  copies: TreeCopies,
  source: number,
  parent: number,
  name: Name,
  by: Caller,
): Promise<Inode> {
  return copies.make({
    source,
    isSnapshot: false,
    parent,
    by,
    caller: by,
    check: () => {
      const inode = v.inodes.get(source);
      if (!inode.isDirectory) throw new FsError('ENOTDIR', { ino: source });
      requireChangeable(v, parent, by);
      v.requireRecords(parent);
      requireNew(v, parent, name);
      requireRoomForDirectory(v.inodes.get(parent));
    },
    link: (root) => {
      const directory = v.inodes.get(parent);
      enter(v, directory, name, root, v.clock.now());
      directory.nlink++;
    },
  });
}

/** The directory, when the caller may change what snapshots there are of it. */
function requireSnapshotsOf(v: Volume, snapshots: number, by: Caller): Inode {
  v.requireWritable();
  const directory = v.inodes.get(directoryOfSnapshots(snapshots));
  requireAccess(v, v.inodes.get(snapshots), W_OK | X_OK, by);
  if (directory.nlink === 0) throw new FsError('ENOENT', { ino: directory.ino, detail: 'the directory was removed' });
  return directory;
}

/** Of the directory itself nothing changed that stat(2) shows. */
function snapshotsChanged(v: Volume, directory: Inode): void {
  directory.change++;
  v.changes.inode(directory);
}
