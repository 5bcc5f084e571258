/**
 * Quotas per directory tree, in the manner of the project quotas of XFS and ext4 with inheritance (xfs_quota(8)): an
 * inode counts in at most one tree, whose number stands in its record; what is made in a directory counts where the
 * directory does; names do not cross from one tree to another, so that what a tree holds is what it counts.
 *
 * A number that no living tree has means none. So a tree is given up by forgetting its record alone, and one that is set
 * on a directory with content comes into force with its record, when all below has its number (quota-walk.ts).
 */
import { FsError } from '../errors.ts';
import type { QuotaRecord } from '../format/records.ts';
import type { Inode } from './inode.ts';
import type { QuotaWalk } from './quota-walk.ts';

/** What a tree may hold at most; Infinity: any number. */
export interface QuotaLimits {
  readonly blocksMax: number;
  readonly inodesMax: number;
}

export class QuotaTree implements QuotaRecord {
  readonly id: number;
  readonly root: number;
  blocksMax: number;
  inodesMax: number;
  blocks: number;
  inodes: number;
  /** All below its directory counts in it. */
  inForce: boolean;

  constructor(record: QuotaRecord, inForce: boolean) {
    this.id = record.id;
    this.root = record.root;
    this.blocksMax = record.blocksMax;
    this.inodesMax = record.inodesMax;
    this.blocks = record.blocks;
    this.inodes = record.inodes;
    this.inForce = inForce;
  }

  /** More blocks that its inodes may get; none if the limit was lowered below what they have. */
  get room(): number {
    return this.inForce ? Math.max(0, this.blocksMax - this.blocks) : Infinity;
  }

  /** More inodes that it may get. */
  get inodeRoom(): number {
    return this.inForce ? Math.max(0, this.inodesMax - this.inodes) : Infinity;
  }
}

export class Quotas {
  readonly #trees = new Map<number, QuotaTree>();
  /** Whose records the open group has to write. */
  #changed = new Set<QuotaTree>();
  /** The tree that is being set. */
  walk: QuotaWalk | undefined;

  constructor(records: readonly QuotaRecord[]) {
    for (const record of records) this.#trees.set(record.id, new QuotaTree(record, true));
  }

  get all(): Iterable<QuotaTree> {
    return this.#trees.values();
  }

  get count(): number {
    return this.#trees.size;
  }

  /** The tree that an inode counts in. */
  of(inode: { readonly quota: number }): QuotaTree | undefined {
    return inode.quota === 0 ? undefined : this.#trees.get(inode.quota);
  }

  /** The tree set on this very directory. */
  at(inode: Inode): QuotaTree | undefined {
    const tree = this.of(inode);
    return tree?.root === inode.ino ? tree : undefined;
  }

  add(tree: QuotaTree): void {
    this.#trees.set(tree.id, tree);
  }

  /** Its inodes count nowhere from now on. The caller deletes the record. */
  delete(tree: QuotaTree): void {
    this.#trees.delete(tree.id);
    this.#changed.delete(tree);
  }

  /** The file got blocks, or lost some (negative). */
  charge(inode: Inode, blocks: number): void {
    const tree = this.of(inode);
    if (tree === undefined) return;
    tree.blocks += blocks;
    this.touch(tree);
  }

  /** An inode came into being, or went (-1). */
  chargeInode(inode: Inode, count: 1 | -1): void {
    const tree = this.of(inode);
    if (tree === undefined) return;
    tree.inodes += count;
    this.touch(tree);
  }

  /** Its record is written with the open group. One that is not in force has none yet. */
  touch(tree: QuotaTree): void {
    if (tree.inForce) this.#changed.add(tree);
  }

  /** Trees whose records the group being sealed has to write. */
  takeChanged(): Iterable<QuotaTree> {
    if (this.#changed.size === 0) return [];
    const changed = this.#changed;
    this.#changed = new Set();
    return changed;
  }
}

/** A name that would cross from one tree to another: mv(1) copies then, as between filesystems. @throws FsError EXDEV */
export function requireSameTree(from: QuotaTree | undefined, to: QuotaTree | undefined, ino: number): void {
  if (from !== to) throw new FsError('EXDEV', { ino, detail: 'the other directory has another quota' });
}
