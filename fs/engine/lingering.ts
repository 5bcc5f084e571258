/**
 * Files whose last name or descriptor went, and that the kernel is about to let go of. It says so after the reply, and
 * other requests may come first (FORGET, fuse_dev_do_read); until then their blocks are not free. Whoever needs space,
 * or counts it, just then waits for that moment: unlink(2) and a write after it succeed on any other filesystem.
 */
import { limits } from '../limits.ts';

export class Lingering {
  /** By inode number, the moment it began (performance.now); in this order. */
  readonly #since = new Map<number, number>();
  #next: { readonly settled: Promise<void>; readonly settle: () => void } | undefined;

  add(ino: number): void {
    this.#since.delete(ino);
    this.#since.set(ino, performance.now());
  }

  delete(ino: number): void {
    if (this.#since.delete(ino) && this.#since.size === 0) this.#next?.settle();
  }

  /** Some may still go soon. Those that stay are in use: a program has them open, mapped, or as a place (O_PATH). */
  get isAny(): boolean {
    const before = performance.now() - limits.lingerMs;
    for (const [ino, since] of this.#since) {
      if (since > before) return true;
      this.#since.delete(ino);
    }
    return false;
  }

  /** Some of those that may go soon are as `is` says. */
  some(is: (ino: number) => boolean): boolean {
    return this.isAny && [...this.#since.keys()].some(is);
  }

  /** Settles when all are gone, or soon; undefined where there are none. */
  soon(): Promise<void> | undefined {
    if (!this.isAny) return undefined;
    this.#next ??= this.#wait();
    return this.#next.settled;
  }

  #wait(): { readonly settled: Promise<void>; readonly settle: () => void } {
    const done = new AbortController();
    const settled = new Promise<void>((resolve) => {
      const timer = setTimeout(() => done.abort(), limits.lingerPollMs);
      done.signal.addEventListener('abort', () => {
        clearTimeout(timer);
        this.#next = undefined;
        resolve();
      });
    });
    return { settled, settle: () => done.abort() };
  }
}
