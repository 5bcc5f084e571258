/**
 * Removes what has no name, in slices. Of a tree each file goes as with unlink(2): layouts on it are recalled first, and
 * one that somebody has open goes with its last user. Of a file of many extents a few go at a time (handover.ts).
 * Interrupted anywhere it leaves a smaller tree, or file, to the next mount. A copy of such a tree, begun before it lost its name, comes to nothing (tree-copies.ts), so that nobody minds what it shows.
 */
import { FsError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { Dentry, Directory } from './directory.ts';
import { unmapSome } from './file-space.ts';
import { holdInPlace } from './holds.ts';
import type { Inode } from './inode.ts';
import { noLeases } from './leases.ts';
import { dropDirectory, dropName, inUse, leave, remove, requireReleasable } from './namespace.ts';
import { Slices } from './slices.ts';
import type { Volume } from './volume.ts';
import { run } from './wait.ts';

interface Level {
  readonly ino: number;
  readonly listing: Directory;
  cookie: number;
}

export class Reaper {
  readonly #v: Volume;
  readonly #slices = new Slices();
  #running: Promise<void> | undefined;
  #isStopped = false;
  /** Gone since whoever waits for space was told last. */
  #removed = 0;

  constructor(v: Volume) {
    this.#v = v;
  }

  start(): void {
    this.#v.reaping.start(() => {
      this.#running ??= this.#run();
    });
  }

  /** Settles when the step under way is over; the rest is the next mount's. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#v.reaping.stop();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { reaping } = this.#v;
    // The operation that made the work answers first.
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
    for (let root = reaping.first; root !== undefined && !this.#isStopped; root = reaping.first) {
      try {
        await (root.isDirectory ? this.#removeTree(root.ino) : this.#removeFile(root));
      } catch (error) {
        // Its record brings what cannot go now to the next mount. Anything but FsError is a fault of ours.
        if (!(error instanceof FsError)) throw error;
        reaping.leave(root.ino);
      }
      await this.#tell();
    }
    this.#running = undefined;
  }

  async #removeTree(root: number): Promise<void> {
    const v = this.#v;
    const levels: Level[] = [];
    try {
      await run(() => levels.push(this.#open(root)));
      for (let level = levels.at(-1); level !== undefined && !this.#isStopped; level = levels.at(-1)) {
        const current = level;
        const reply = run(() => this.#step(current, levels));
        const removed = reply instanceof Promise ? await reply : reply;
        if (removed !== undefined) await v.reaping.nameRemoved(current.ino, removed.name, removed.ino);
        const slice = this.#slices.step();
        if (slice !== undefined) await slice;
        if (this.#removed >= limits.reapedInodesMax || v.changes.size >= limits.longWorkRecordsMax) await this.#tell();
      }
    } finally {
      for (const { listing } of levels) listing.opens--;
    }
    if (!this.#isStopped) await run(() => this.#removeRoot(root));
  }

  async #removeFile(inode: Inode): Promise<void> {
    for (let extents = 0; !this.#isStopped; ) {
      const reply = run(() => this.#removeSome(inode));
      const isGone = reply instanceof Promise ? await reply : reply;
      if (isGone) return;
      extents += limits.releasedExtentsMax;
      if (extents >= limits.reapedExtentsMax) {
        extents = 0;
        await this.#tell();
      }
      const slice = this.#slices.step();
      if (slice !== undefined) await slice;
    }
  }

  /** Some of its blocks, and with the last of them the file; answers whether it has gone. */
  #removeSome(inode: Inode): boolean {
    const v = this.#v;
    v.requireWritable();
    unmapSome(v, inode, 0, Infinity);
    if (v.extents.get(inode.ino) !== undefined) return false;
    v.reaping.delete(inode.ino);
    v.changes.orphan(inode.ino, false);
    remove(v, inode);
    this.#count();
    return true;
  }

  #open(ino: number): Level {
    const v = this.#v;
    const listing = v.directories.requireComplete(ino);
    listing.opens++; // it stays resident
    return { ino, listing, cookie: 2 };
  }

  /** One name goes; answered if somebody knows it. @throws Wait, FsError; nothing was changed then */
  #step(level: Level, levels: Level[]): Dentry | undefined {
    const v = this.#v;
    v.requireWritable();
    const directory = v.inodes.get(level.ino);
    const [entry] = level.listing.between(level.cookie, Infinity, 1);
    if (entry === undefined) {
      levels.pop();
      level.listing.opens--;
      return undefined;
    }
    const inode = v.inodes.get(entry.ino);
    if (inode.isDirectory && v.directories.requireComplete(inode.ino).size > 0) {
      levels.push(this.#open(inode.ino));
      return undefined;
    }
    requireReleasable(v, inode);
    if (inode.nlink === 1) holdForFormer(v, inode);

    const now = v.clock.now();
    leave(v, directory, entry.name, now);
    if (inode.isDirectory) dropDirectory(v, directory, inode, now);
    else dropName(v, inode, now);
    level.cookie = entry.cookie;
    this.#count();
    return v.kernelRefs.has(inode.ino) ? entry : undefined;
  }

  /** All below it is gone. Where somebody has it open it goes with the last user (namespace.reap). */
  #removeRoot(ino: number): void {
    const v = this.#v;
    v.requireWritable();
    const root = v.inodes.get(ino);
    requireReleasable(v, root);
    v.reaping.delete(ino);
    if (inUse(v, root)) return;
    v.changes.orphan(ino, false);
    remove(v, root);
    this.#count();
  }

  #count(): void {
    this.#removed++;
    this.#v.reaping.removed();
  }

  /** What is gone so far is free. */
  async #tell(): Promise<void> {
    this.#removed = 0;
    try {
      await this.#v.sync();
    } catch {
      // Then the filesystem has shut down, and says so to everybody.
    }
    this.#v.reaping.freed();
  }
}

/**
 * Before a metadata server is there to ask them: clients of the former run may still hold layouts on a file that goes, so
 * its blocks are not reused before these are known to be gone.
 */
export function holdForFormer(v: Volume, { ino }: Pick<Inode, 'ino'>): void {
  if (v.leases !== noLeases) return;
  for (const [client, files] of v.grants) {
    const access = files.get(ino);
    if (access === undefined) continue;
    for (const extent of v.extents.get(ino)?.all() ?? []) holdInPlace(v, extent, client, access);
  }
}
