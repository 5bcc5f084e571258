/** The `.snapshots` of a directory as an inode, made anew whenever somebody asks: all it says it has from the directory. */
import { INODE_SNAPSHOT } from '../format/records.ts';
import { directoryOfSnapshots, snapshotsIno } from '../format/snapshots.ts';
import { Inode, S_IFDIR } from './inode.ts';
import type { Volume } from './volume.ts';
import { noXattrs } from './xattr-records.ts';

/** Everybody who may look into the directory may look into its snapshots; only its owner makes and deletes them. */
const permissionsMax = 0o755;

/** undefined: the directory is gone, or is part of a snapshot, which has none. */
export function snapshotsDirectory(v: Volume, ino: number): Inode | undefined {
  const directory = v.inodes.peek(directoryOfSnapshots(ino));
  if (directory === undefined || !directory.isDirectory || (directory.flags & INODE_SNAPSHOT) !== 0) return undefined;
  const inode = new Inode({
    ...directory.record,
    ino: snapshotsIno(directory.ino),
    mode: S_IFDIR | (directory.mode & permissionsMax),
    // As many as nobody has counted: find(1) must not take it for a directory without directories (btrfs says 1, too).
    nlink: 1,
    flags: INODE_SNAPSHOT,
    parent: directory.ino,
  });
  inode.xattrs = noXattrs;
  return inode;
}
