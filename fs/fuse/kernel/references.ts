import { Counts } from '../../counts.ts';
import type { Handle, Vfs } from '../../vfs.ts';

/**
 * What the kernel holds of the filesystem: lookups of inodes (nlookup of fuse_entry_out and FORGET) and open files.
 * When the mount ends the kernel lets go of everything without a word, and so it is given back here.
 */
export class References {
  readonly #vfs: Vfs;
  readonly #lookups = new Counts();
  readonly #handles = new Set<Handle>();

  constructor(vfs: Vfs) {
    this.#vfs = vfs;
  }

  /** The kernel is about to be told of the inode once more. */
  remember(ino: number): void {
    // Once for all of them.
    if (this.#lookups.add(ino, 1) === 1) this.#vfs.remember(ino, 1);
  }

  /** The kernel lets go of the inode `count` times, never more than it holds it. True when that was the last. */
  forget(ino: number, count: number): boolean {
    const isHeld = this.#lookups.has(ino);
    if (isHeld && this.#lookups.add(ino, -count) > 0) return false;
    if (isHeld) this.#vfs.forget(ino, 1);
    return true;
  }

  opened(handle: Handle): void {
    this.#handles.add(handle);
  }

  /** Whether the kernel had the file open, and now has not. */
  closed(handle: Handle): boolean {
    return this.#handles.delete(handle);
  }

  /** The mount has ended. */
  dropAll(): void {
    for (const handle of this.#handles) void this.#vfs.release(handle);
    this.#handles.clear();
    for (const ino of this.#lookups.keys()) this.#vfs.forget(ino, 1);
    this.#lookups.clear();
  }
}
