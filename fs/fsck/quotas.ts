/** Pass 6: what each quota says its tree uses is counted again, and a tree is closed: what is below its directory is in it. */
import { decodeQuota } from '../format/codec.ts';
import { quotaRange } from '../format/keys.ts';
import type { QuotaRecord } from '../format/records.ts';
import { type CheckContext, rootIno } from './context.ts';
import { type IndexedInode, isDirectory } from './inode-index.ts';

/** Answers how many there are. */
export async function checkQuotas(check: CheckContext): Promise<number> {
  const quotas = new Map<number, QuotaRecord>();
  for await (const quota of check.records(6, quotaRange(), decodeQuota)) quotas.set(quota.id, quota);
  const inodes = await countInodes(check, quotas);
  for (const quota of quotas.values()) {
    const { id, root } = quota;
    const directory = check.inodes.get(root);
    if (directory === undefined || !isDirectory(directory) || directory.quota !== id) {
      await check.report(6, 'quota', root, `is not a directory that counts in quota ${id}, which is set on it`);
    }
    if (id >= check.nextIno) {
      await check.report(6, 'quota', root, `quota number ${id} is not below the next one, ${check.nextIno}`);
    }
    const counted = { blocks: check.quotas.blocksOf(id), inodes: inodes.get(id) ?? 0 };
    if (quota.blocks !== counted.blocks || quota.inodes !== counted.inodes) {
      const detail = `quota says ${quota.blocks} blocks and ${quota.inodes} inodes, counted are ${counted.blocks} and ${counted.inodes}`;
      await check.report(6, 'quota', root, detail);
    }
  }
  return quotas.size;
}

/** A number without a quota is what a removed one left behind: such an inode counts nowhere. */
async function countInodes(
  check: CheckContext,
  quotas: ReadonlyMap<number, QuotaRecord>,
): Promise<ReadonlyMap<number, number>> {
  const inodes = new Map<number, number>();
  if (quotas.size === 0) return inodes;
  const treeOf = ({ quota }: IndexedInode): number => (quotas.has(quota) ? quota : 0);
  for (const inode of check.inodes.all()) {
    const tree = treeOf(inode);
    if (tree !== 0) inodes.set(tree, (inodes.get(tree) ?? 0) + 1);
    if (!isDirectory(inode) || inode.ino === rootIno || quotas.get(tree)?.root === inode.ino) continue;
    const parent = check.inodes.above(inode);
    if (parent !== undefined && treeOf(parent) !== tree) {
      await check.report(6, 'quota', inode.ino, `counts in quota ${tree}, its parent in ${treeOf(parent)}`);
    }
  }
  return inodes;
}
