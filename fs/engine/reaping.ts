/**
 * What has no name any more and is given back in the background: trees (deleted snapshots, copies that came to nothing)
 * and files of many extents, also those that a crash left. Each is on record as an orphan, a tree by its root. Who needs
 * space waits for it.
 */
import type { Name } from '../name.ts';
import type { Reply } from '../vfs.ts';
import type { Inode } from './inode.ts';

/** Answers soon, and never rejects. */
export type NameListener = (parent: number, name: Name, ino: number) => Reply<void>;

export class Reaping {
  readonly #roots = new Map<number, Inode>();
  /** Those that could not go. */
  readonly #left = new Set<number>();
  #wake: () => void = () => {};
  #isStopped = true;
  #removed = 0;
  #told: NameListener = () => undefined;
  #next: Promise<void> | undefined;
  #settle: () => void = () => {};

  /** `wake` is called whenever there is something to do; before, it only gathers. */
  start(wake: () => void): void {
    this.#wake = wake;
    this.#isStopped = false;
    if (this.#roots.size > 0) wake();
  }

  /** Nobody waits for space from here any more; what is left is the next mount's. */
  stop(): void {
    this.#isStopped = true;
    this.freed();
  }

  /** The root of a tree, or a file. */
  add(inode: Inode): void {
    this.#roots.set(inode.ino, inode);
    if (!this.#isStopped) this.#wake();
  }

  has(ino: number): boolean {
    return this.#roots.has(ino) || this.#left.has(ino);
  }

  /** The one to be removed now. */
  get first(): Inode | undefined {
    const [inode] = this.#roots.values();
    return inode;
  }

  /** Nothing is left of it but itself. */
  delete(ino: number): void {
    this.#roots.delete(ino);
    if (this.#roots.size === 0) this.#removed = 0;
  }

  /** It is the next mount's. */
  leave(ino: number): void {
    this.delete(ino);
    this.#left.add(ino);
  }

  removed(): void {
    this.#removed++;
  }

  /** Trees, and files by themselves. */
  get trees(): number {
    return this.#roots.size;
  }

  /** Inodes given back since there was nothing to do. */
  get inodes(): number {
    return this.#removed;
  }

  /** Who has to know of names that went while somebody still knew the inode; the reaper waits for what it answers. */
  onNameRemoved(listener: NameListener): void {
    this.#told = listener;
  }

  nameRemoved(parent: number, name: Name, ino: number): Reply<void> {
    return this.#told(parent, name, ino);
  }

  /** Some blocks are free by now. */
  freed(): void {
    this.#next = undefined;
    this.#settle();
  }

  /** Some of the roots of what is being removed are as `is` says. */
  some(is: (inode: Inode) => boolean): boolean {
    return !this.#isStopped && [...this.#roots.values()].some(is);
  }

  /** Settles when more blocks are free; undefined where none are to be expected. */
  soon(): Promise<void> | undefined {
    if (this.#isStopped || this.#roots.size === 0) return undefined;
    this.#next ??= new Promise((resolve) => {
      this.#settle = resolve;
    });
    return this.#next;
  }
}
