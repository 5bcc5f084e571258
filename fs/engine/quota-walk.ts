/**
 * A quota is set on a directory that has content: everything below gets the number of the tree, in slices, while
 * others go on. Until all of it has, the tree is not in force and not on the media, so that after a crash the numbers
 * mean nothing.
 *
 * W1 A directory that has the number is still to be looked through, or all that it holds has the number.
 * New inodes get the number of their directory; what is renamed or linked into a directory that has it gets it too.
 */
import { FsError } from '../errors.ts';
import { quotaKey } from '../format/keys.ts';
import { INODE_SNAPSHOTS } from '../format/records.ts';
import { snapshotsIno } from '../format/snapshots.ts';
import { limits } from '../limits.ts';
import type { Directory } from './directory.ts';
import type { Inode } from './inode.ts';
import { QuotaTree, requireSameTree } from './quotas.ts';
import type { Volume } from './volume.ts';
import { run } from './wait.ts';

/** Entries looked at between two looks at the clock. */
const entriesAtOnce = 64;

export class QuotaWalk {
  readonly tree: QuotaTree;
  readonly #v: Volume;
  /** Directories that have the number, to be looked through. */
  readonly #queue: number[] = [];
  #current: { readonly ino: number; readonly directory: Directory; cookie: number } | undefined;
  #stopped = false;
  /** Settles when the tree is in force, durably. */
  readonly done: Promise<void>;

  constructor(v: Volume, tree: QuotaTree, root: Inode) {
    this.#v = v;
    this.tree = tree;
    v.quotas.add(tree);
    this.take(root);
    this.done = this.#run();
  }

  /** The inode is below the directory. */
  take(inode: Inode): void {
    const v = this.#v;
    const blocks = (v.extents.get(inode.ino)?.blocks ?? 0) + (v.provisional.get(inode.ino)?.blocks ?? 0);
    inode.quota = this.tree.id;
    this.tree.inodes++;
    this.tree.blocks += blocks;
    v.changes.inode(inode);
    if (!inode.isDirectory) return;
    this.#queue.push(inode.ino);
    if ((inode.flags & INODE_SNAPSHOTS) !== 0) this.#queue.push(snapshotsIno(inode.ino));
  }

  /** The directory goes, or the filesystem does. */
  stop(): void {
    this.#stopped = true;
  }

  async #run(): Promise<void> {
    const v = this.#v;
    try {
      for (let more = true; more; ) {
        await new Promise((resolve) => setImmediate(resolve));
        more = await run(() => this.#slice());
      }
      await v.sync();
    } catch (error) {
      v.quotas.delete(this.tree);
      throw error;
    } finally {
      this.#leave();
      v.quotas.walk = undefined;
    }
  }

  /** Answers whether there is more to do; if not, the tree is in force. @throws FsError ECANCELED, EIO; Wait */
  #slice(): boolean {
    const v = this.#v;
    const end = performance.now() + limits.sliceMs;
    do {
      if (this.#stopped) throw new FsError('ECANCELED', { ino: this.tree.root, detail: 'the quota was given up' });
      v.requireWritable();
      const current = this.#next();
      if (current === undefined) {
        this.tree.inForce = true;
        v.touchQuota(this.tree);
        return false;
      }
      if (v.inodes.peek(current.ino) === undefined) {
        this.#leave();
        continue;
      }
      v.directories.requireComplete(current.ino);
      const page = current.directory.between(current.cookie, Infinity, entriesAtOnce);
      for (const entry of page) {
        const inode = v.inodes.peek(entry.ino);
        // With a name in another tree as well, it stays there.
        if (inode !== undefined && v.quotas.of(inode) === undefined) this.take(inode);
        current.cookie = entry.cookie;
      }
      if (page.length === 0) this.#leave();
    } while (performance.now() < end);
    return true;
  }

  #next(): { readonly ino: number; readonly directory: Directory; cookie: number } | undefined {
    while (this.#current === undefined) {
      const ino = this.#queue.pop();
      if (ino === undefined) return undefined;
      const inode = this.#v.inodes.peek(ino);
      if (inode === undefined) continue; // removed
      const directory = this.#v.directories.get(ino);
      directory.opens++;
      this.#current = { ino, directory, cookie: 0 };
    }
    return this.#current;
  }

  #leave(): void {
    if (this.#current !== undefined) this.#current.directory.opens--;
    this.#current = undefined;
  }
}

/** Nothing counts in the tree any more: its directory is being removed, or somebody says so. */
export function giveUp(v: Volume, tree: QuotaTree): void {
  if (v.quotas.walk?.tree === tree) {
    v.quotas.walk.stop();
    return;
  }
  v.quotas.delete(tree);
  v.changes.record(quotaKey(tree.id), undefined);
}

/** The tree that what is in the directory counts in, also where the walk has yet to come by. */
function treeOfDirectory(v: Volume, directory: Inode): QuotaTree | undefined {
  const own = v.quotas.of(directory);
  const { walk } = v.quotas;
  if (own !== undefined || walk === undefined) return own;
  return isBelow(v, directory, walk.tree.root) ? walk.tree : undefined;
}

/** Is `directory` the directory `top`, or somewhere below it? */
export function isBelow(v: Volume, directory: Inode, top: number): boolean {
  for (let at = directory; ; at = v.inodes.get(at.parent)) {
    if (at.ino === top) return true;
    if (at.parent === at.ino) return false;
  }
}

/** rename(2). @throws FsError EXDEV */
export function requireMovesWithinTree(v: Volume, from: Inode, to: Inode, inode: Inode): void {
  if (from === to || (from.quota === to.quota && v.quotas.walk === undefined)) return;
  requireSameTree(treeOfDirectory(v, from), treeOfDirectory(v, to), inode.ino);
}

/** link(2): one inode, one tree. An inode that the walk has not seen gets its number with the name. @throws FsError EXDEV */
export function requireLinksWithinTree(v: Volume, inode: Inode, to: Inode): void {
  if (inode.quota === to.quota && v.quotas.walk === undefined) return;
  const own = v.quotas.of(inode);
  const there = treeOfDirectory(v, to);
  if (own === undefined && there !== undefined && !there.inForce) return;
  requireSameTree(own, there, inode.ino);
}

/** The directory, or the one of its snapshots, has a name for the inode that it had not before (W1). */
export function entered(v: Volume, directory: Inode, inode: Inode): void {
  const { walk } = v.quotas;
  if (walk === undefined || directory.quota !== walk.tree.id || v.quotas.of(inode) !== undefined) return;
  walk.take(inode);
}
