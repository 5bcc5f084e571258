/** Tree copies, one after the other: from the first look at the tree to the name of the copy. */
import { FsError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { Caller } from '../vfs.ts';
import { type Inode, S_IFDIR, S_IFREG } from './inode.ts';
import type { LayoutBreak } from './leases.ts';
import { entered } from './quota-walk.ts';
import { Slices } from './slices.ts';
import { TreeCopy, type TreeCopyOptions } from './tree-copy.ts';
import type { Volume } from './volume.ts';
import { requirePlace, run } from './wait.ts';

export interface TreeCopyJob extends TreeCopyOptions {
  /** Directory to be copied. */
  readonly source: number;
  /** Who waits for it. */
  readonly caller: Caller;
  /** The copy may get its name. Asked before the work and again when it gets it. @throws FsError; Wait */
  check(): void;
  /** Gives it the name; `check` has passed in the same turn. Cannot fail. */
  link(root: Inode): void;
}

export class TreeCopies {
  readonly #v: Volume;
  #last: Promise<unknown> = Promise.resolve();
  /** Under way, and behind it. */
  #waiting = 0;
  #isStopped = false;

  constructor(v: Volume) {
    this.#v = v;
  }

  /** The root of the copy; durable when it settles. @throws FsError as TreeCopy.make, and what `check` throws; EAGAIN: no place to wait in (Caller.places) */
  async make(job: TreeCopyJob): Promise<Inode> {
    await run(() => job.check());
    if (this.#waiting > 0) requirePlace(job.caller);
    const before = this.#last;
    this.#waiting++;
    const made = (async () => {
      await before;
      return this.#make(job);
    })().finally(() => this.#waiting--);
    this.#last = made.catch(() => undefined);
    return made;
  }

  /** What is under way comes to nothing; settles when it has. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#last;
  }

  async #make(job: TreeCopyJob): Promise<Inode> {
    const v = this.#v;
    const slices = new Slices();
    await run(() => {
      requireAttached(v, job.source);
      job.check();
    });
    await this.#recallWriters(job, slices);
    const copy = new TreeCopy(v, job, slices, () => this.#isStopped);
    v.copying.begin();
    try {
      await copy.make(job.source);
    } catch (error) {
      this.#discard(copy);
      throw error;
    } finally {
      v.copying.end();
    }
    try {
      // What is linked is complete; that its sources may change again by now does not matter to it.
      const root = await run(() => this.#link(job, copy));
      await v.sync();
      return root;
    } catch (error) {
      this.#discard(copy);
      throw error;
    }
  }

  #link(job: TreeCopyJob, { root, links }: TreeCopy): Inode {
    const v = this.#v;
    requireAttached(v, job.source);
    job.check();
    if (root === undefined) throw new FsError('ESTALE', { ino: job.source });
    requireCounted(v, root, v.inodes.get(job.parent));
    v.changes.orphan(root.ino, false);
    root.nlink = links;
    v.changes.inode(root);
    job.link(root);
    entered(v, v.inodes.get(job.parent), root);
    return root;
  }

  #discard({ root }: TreeCopy): void {
    if (root !== undefined && root.nlink === 0) this.#v.reaping.add(root);
  }

  /** Of all files in the tree, before anything is taken (T2). Nobody who writes elsewhere is disturbed. */
  async #recallWriters({ source, caller }: TreeCopyJob, slices: Slices): Promise<void> {
    const v = this.#v;
    const written = new Set<number>();
    for (const files of v.grants.values()) for (const [ino, access] of files) if (access === 'write') written.add(ino);
    if (written.size === 0) return;
    const breaks: LayoutBreak[] = [];
    try {
      for await (const ino of filesBelow(v, source, slices)) {
        if (!written.delete(ino)) continue;
        const found = v.breakLayouts(ino, { offset: 0, length: Infinity }, 'share');
        if (found !== undefined) breaks.push(found);
      }
      if (breaks.length > 0) requirePlace(caller);
      await Promise.all(breaks.map(({ done }) => done));
    } finally {
      for (const each of breaks) each.release();
    }
  }
}

/** Numbers of the regular files in a tree that may change meanwhile. */
async function* filesBelow(v: Volume, source: number, slices: Slices): AsyncGenerator<number> {
  const directories = [source];
  for (let ino = directories.pop(); ino !== undefined; ino = directories.pop()) {
    for (let cookie = 2, last = false; !last; ) {
      const directory = ino;
      const page = await run(() =>
        v.inodes.peek(directory) === undefined
          ? []
          : v.directories.requireComplete(directory).between(cookie, Infinity, limits.sliceStepsMax),
      );
      for (const entry of page) {
        if (entry.type === S_IFDIR) directories.push(entry.ino);
        else if (entry.type === S_IFREG) yield entry.ino;
        cookie = entry.cookie;
      }
      last = page.length < limits.sliceStepsMax;
      await slices.step();
    }
  }
}

/** The copy counts where its name is. @throws FsError EAGAIN: a quota was set or removed meanwhile */
function requireCounted(v: Volume, root: Inode, parent: Inode): void {
  const there = v.quotas.of(parent);
  if (v.quotas.of(root) === there || there?.inForce === false) return;
  throw new FsError('EAGAIN', { ino: parent.ino, detail: 'a quota was set or removed meanwhile: try again' });
}

/** From the root a way leads to the directory: it was not removed, nor anything above it. @throws FsError ENOENT */
function requireAttached(v: Volume, ino: number): void {
  for (let at = v.inodes.get(ino); at.parent !== at.ino; at = v.inodes.get(at.parent)) {
    if (at.nlink === 0) throw new FsError('ENOENT', { ino, detail: 'the directory was removed' });
  }
}
