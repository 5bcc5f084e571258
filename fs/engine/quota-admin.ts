/** Setting, changing, removing and listing the quotas of directory trees. */
import { FsError } from '../errors.ts';
import { limits } from '../limits.ts';
import { nameToText } from '../name.ts';
import type { QuotaStatus } from './filesystem.ts';
import type { Inode } from './inode.ts';
import { requireDirectory } from './namespace.ts';
import { giveUp, isBelow, QuotaWalk } from './quota-walk.ts';
import { type QuotaLimits, QuotaTree } from './quotas.ts';
import { rootIno, type Volume } from './volume.ts';
import { run } from './wait.ts';

const bs = limits.blockSize;

/**
 * A limit for the directory and all below it, or another one. Settles when it is in force, durably.
 * @throws FsError ENOTDIR, EINVAL (less than one block or inode, within a tree that has a quota, or around one), EBUSY (another one is being set),
 *   ENOSPC (limits.quotaTreesMax), ECANCELED (the directory was removed meanwhile), EROFS (also within a snapshot)
 */
export async function setQuota(v: Volume, ino: number, to: QuotaLimits): Promise<void> {
  await run(() => startSetting(v, ino, to));
}

function startSetting(v: Volume, ino: number, to: QuotaLimits): Promise<void> {
  const directory = requireLiving(v, ino);
  if (to.blocksMax < 1 || to.inodesMax < 1)
    throw new FsError('EINVAL', { ino, detail: 'the least limit is one block and one inode' });
  const known = v.quotas.at(directory);
  if (known !== undefined) {
    known.blocksMax = to.blocksMax;
    known.inodesMax = to.inodesMax;
    if (v.quotas.walk?.tree === known) return v.quotas.walk.done;
    v.touchQuota(known);
    return v.sync();
  }
  requireNotNested(v, directory);
  if (v.quotas.walk !== undefined) {
    throw new FsError('EBUSY', { ino, detail: 'another quota is being set: try again when it is in force' });
  }
  if (v.quotas.count >= limits.quotaTreesMax) {
    throw new FsError('ENOSPC', { ino, detail: `there are ${limits.quotaTreesMax} quotas already` });
  }
  const record = { id: v.newNumber(), root: ino, ...to, blocks: 0, inodes: 0 };
  v.quotas.walk = new QuotaWalk(v, new QuotaTree(record, false), directory);
  return v.quotas.walk.done;
}

/** @throws FsError ENOTDIR, ENODATA (none is set on this directory), EROFS */
export async function removeQuota(v: Volume, ino: number): Promise<void> {
  const walk = await run(() => {
    const tree = v.quotas.at(requireLiving(v, ino));
    if (tree === undefined) throw new FsError('ENODATA', { ino, detail: 'no quota is set on this directory' });
    giveUp(v, tree);
    return v.quotas.walk?.tree === tree ? v.quotas.walk : undefined;
  });
  await walk?.done.catch(() => undefined); // whoever was setting it has been told
  return v.sync();
}

/** All of them, or the one that the directory or file counts in. */
export async function quotaStatus(v: Volume, ino: number | undefined): Promise<readonly QuotaStatus[]> {
  const own = ino === undefined ? undefined : v.quotas.of(v.inodes.get(ino));
  const trees = ino === undefined ? [...v.quotas.all] : own === undefined ? [] : [own];
  const found: QuotaStatus[] = [];
  for (const tree of trees) {
    const path = await pathOf(v, tree.root);
    found.push({
      id: tree.id,
      ino: tree.root,
      path,
      bytesMax: tree.blocksMax * bs,
      bytes: tree.blocks * bs,
      inodesMax: tree.inodesMax,
      inodes: tree.inodes,
      inForce: tree.inForce,
    });
  }
  return found;
}

function requireLiving(v: Volume, ino: number): Inode {
  const directory = requireDirectory(v, ino);
  v.requireChangeable(directory);
  if (directory.nlink === 0) throw new FsError('ENOENT', { ino, detail: 'the directory was removed' });
  return directory;
}

/** One inode counts in one tree. @throws FsError EINVAL */
function requireNotNested(v: Volume, directory: Inode): void {
  const { ino } = directory;
  const around = v.quotas.of(directory);
  if (around !== undefined) {
    throw new FsError('EINVAL', {
      ino,
      detail: `lies within the directory with inode ${around.root}, which has a quota`,
    });
  }
  for (const { root } of v.quotas.all) {
    const below = v.inodes.peek(root);
    if (below === undefined || !isBelow(v, below, ino)) continue;
    throw new FsError('EINVAL', { ino, detail: `a directory below it, inode ${root}, has a quota: remove that first` });
  }
}

/** From the root of the filesystem, with '/' in front. */
async function pathOf(v: Volume, ino: number): Promise<string> {
  const names: string[] = [];
  for (let at = v.inodes.get(ino); at.ino !== rootIno; at = v.inodes.get(at.parent)) {
    const { parent } = at;
    const entries = await run(() => v.directories.requireComplete(parent).entries);
    for (const entry of entries.values()) {
      if (entry?.ino !== at.ino) continue;
      names.push(nameToText(entry.name));
      break;
    }
  }
  return `/${names.toReversed().join('/')}`;
}
