/**
 * Quotas of directory trees (docs/files.md). Which blocks a file has is the filesystem's own affair: what is compared is
 * what statfs(2) says of a tree before and after each operation, and from time to time what its inodes have together.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { StatFs } from '../posix/support/structs.ts';
import { isBelow, type Node } from './node.ts';
import type { Operation, Outcome } from './operations.ts';

const bs = 4096;

/** Closed files go when the kernel says so (FUSE_RELEASE, FUSE_FORGET), a little later; in ms. */
const settleMs = 10_000;
const pollMs = 5;

export class QuotaTree {
  readonly root: Node;
  /** 0: no limit. */
  blocksMax: number;
  inodesMax: number;

  constructor(root: Node, blocksMax: number, inodesMax: number) {
    this.root = root;
    this.blocksMax = blocksMax;
    this.inodesMax = inodesMax;
  }
}

export class Quotas {
  readonly trees = new Set<QuotaTree>();
  /** What an inode counts in, also where that is gone. */
  readonly #of = new Map<Node, QuotaTree>();

  of(node: Node): QuotaTree | undefined {
    const tree = this.#of.get(node);
    return tree !== undefined && this.trees.has(tree) ? tree : undefined;
  }

  /** An inode that came into being in the directory. */
  inherit(node: Node, directory: Node): void {
    const tree = this.of(directory);
    if (tree !== undefined) this.#of.set(node, tree);
  }

  set(directory: Node, blocksMax: number, inodesMax: number): Outcome {
    const known = this.of(directory);
    if (known?.root === directory) {
      known.blocksMax = blocksMax;
      known.inodesMax = inodesMax;
      return 0;
    }
    if (known !== undefined || [...this.trees].some(({ root }) => isBelow(root, directory))) return 'EINVAL';
    const tree = new QuotaTree(directory, blocksMax, inodesMax);
    this.trees.add(tree);
    // What has another name in another tree (an exchange can bring that about) goes on counting there.
    for (const node of below(directory)) if (this.of(node) === undefined) this.#of.set(node, tree);
    return 0;
  }

  remove(directory: Node): Outcome {
    const tree = this.of(directory);
    if (tree?.root !== directory) return 'ENODATA';
    this.trees.delete(tree);
    return 0;
  }

  /** Everything that counts in it, with names and without. */
  members(tree: QuotaTree): readonly Node[] {
    return [...this.#of].filter(([, of]) => of === tree).map(([node]) => node);
  }
}

export function below(directory: Node): ReadonlySet<Node> {
  const found = new Set([directory]);
  for (const node of found) for (const child of node.entries.values()) found.add(child);
  return found;
}

/** Answers in words what is wrong with an answer. @param isWhole a write is done with all its bytes or not at all */
export function judge(
  tree: QuotaTree,
  operation: Operation,
  got: Outcome,
  before: StatFs,
  after: StatFs,
  isWhole: boolean,
): string | undefined {
  if (got === 'EDQUOT')
    return isFull(tree, operation, before, isWhole) ? undefined : `EDQUOT, with ${roomOf(before)} left`;
  if (tree.blocksMax > 0 && used(after) > Math.max(tree.blocksMax, used(before)))
    return `${used(after)} blocks used after ${used(before)}, the quota is ${tree.blocksMax}`;
  if (tree.inodesMax > 0 && usedInodes(after) > Math.max(tree.inodesMax, usedInodes(before)))
    return `${usedInodes(after)} inodes used after ${usedInodes(before)}, the quota is ${tree.inodesMax}`;
  return undefined;
}

function isFull(tree: QuotaTree, operation: Operation, before: StatFs, isWhole: boolean): boolean {
  const { free, filesFree } = before;
  if (operation.op === 'write' || operation.op === 'pwrite')
    return tree.blocksMax > 0 && (free === 0 || (isWhole && free < covered(operation.length)));
  // All or nothing.
  if (operation.op === 'fallocate' || operation.op === 'copy')
    return tree.blocksMax > 0 && free < covered(operation.length);
  return tree.inodesMax > 0 && filesFree === 0;
}

/** Blocks that so many bytes touch at most. */
function covered(length: number): number {
  return Math.ceil(length / bs) + 1;
}

/** Do the inodes of the tree have together what it says? */
export async function verifyUse(
  tree: QuotaTree,
  statfs: () => StatFs | string,
  has: () => { readonly blocks: number; readonly inodes: number } | string | undefined,
): Promise<string | undefined> {
  const end = Date.now() + settleMs;
  for (;;) {
    const [says, is] = [statfs(), has()];
    if (typeof says === 'string') return `statfs: ${says}`;
    if (is === undefined || typeof is === 'string') return is;
    const isSo =
      (tree.blocksMax === 0 || used(says) === Math.min(is.blocks, tree.blocksMax)) &&
      (tree.inodesMax === 0 || usedInodes(says) === Math.min(is.inodes, tree.inodesMax));
    if (isSo) return undefined;
    if (Date.now() > end)
      return `the quota of ${tree.blocksMax} blocks and ${tree.inodesMax} inodes has ${roomOf(says)} left, and its inodes have ${is.blocks} blocks and are ${is.inodes}`;
    await sleep(pollMs);
  }
}

function used({ blocks, free }: StatFs): number {
  return blocks - free;
}

function usedInodes({ files, filesFree }: StatFs): number {
  return files - filesFree;
}

function roomOf({ free, filesFree }: StatFs): string {
  return `${free} blocks and ${filesFree} inodes`;
}
