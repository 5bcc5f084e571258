/** statfs(2): what there is, what is used, and what the caller could still get. */
import { limits } from '../limits.ts';
import type { StatFs } from '../vfs.ts';
import type { QuotaTree } from './quotas.ts';
import type { Volume } from './volume.ts';

/** Of the filesystem, or of the quota tree that an inode counts in. @throws FsError ESTALE */
export function statfs(v: Volume, ino: number | undefined): StatFs {
  const whole = ofFilesystem(v);
  const tree = ino === undefined ? undefined : v.quotas.of(v.inodes.get(ino));
  return tree?.inForce === true ? ofTree(tree, whole) : whole;
}

function ofFilesystem(v: Volume): StatFs {
  const counts = v.space.counts();
  // What is being freed is free to everyone who waits a moment, as writes do; what is in quarantine is not.
  const free = counts.free + counts.freeing;
  // Inodes take no blocks: what limits their number is the disk of the metadata.
  const filesFree = Math.floor(Math.min(v.store.room, Number.MAX_SAFE_INTEGER) / limits.storeBytesPerFile);
  return {
    blockSize: limits.blockSize,
    blocks: counts.total - counts.reserved - counts.bad,
    blocksFree: free,
    blocksAvailable: Math.max(0, free - v.reservedBlocks),
    files: v.inodeCount + filesFree,
    filesFree,
    nameMax: limits.nameMax,
  };
}

/**
 * As XFS answers for a directory with a project quota (xfs_fill_statvfs_from_dquot), so that df(1) shows the quota: the
 * limit is the size, and what is left of it is free; available is no more than the filesystem has.
 */
function ofTree(tree: QuotaTree, whole: StatFs): StatFs {
  const blocks = Math.min(tree.blocksMax, whole.blocks);
  const files = Math.min(tree.inodesMax, whole.files);
  const [blocksFree, filesFree] = [Math.max(0, blocks - tree.blocks), Math.max(0, files - tree.inodes)];
  return {
    ...whole,
    ...(tree.blocksMax <= whole.blocks && {
      blocks,
      blocksFree,
      blocksAvailable: Math.min(blocksFree, whole.blocksAvailable),
    }),
    ...(tree.inodesMax <= whole.files && { files, filesFree: Math.min(filesFree, whole.filesFree) }),
  };
}
