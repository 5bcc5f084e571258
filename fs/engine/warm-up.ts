/**
 * After the mount the records of inodes and names are read into memory, while nobody else has work for this process: so a
 * lookup among a million files costs what it costs among a thousand. It ends when all are there, or no more fit.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { limits } from '../limits.ts';
import type { CachedStore } from '../meta/cached-store.ts';

export class WarmUp {
  readonly #store: CachedStore;
  readonly #stopping = new AbortController();
  #running: Promise<void> | undefined;

  constructor(store: CachedStore) {
    this.#store = store;
  }

  start(): void {
    // What cannot be read now fails again for whoever needs it, and tells him.
    this.#running = this.#run().catch(() => undefined);
  }

  /** Settles when nothing is read any more. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  /** A burst of pages, a pause in which is seen whether the loop has others to serve; while it has, one page a long pause. */
  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    const pages = this.#store.fill();
    try {
      for (let isBusy = false; ; ) {
        const before = performance.eventLoopUtilization();
        await sleep(isBusy ? limits.fillBusyPauseMs : limits.fillPauseMs, undefined, { signal, ref: false });
        isBusy = performance.eventLoopUtilization(before).utilization > limits.fillBusyShare;
        const until = isBusy ? 0 : performance.now() + limits.fillBurstMs;
        do {
          if ((await pages.next()).done === true) return;
          signal.throwIfAborted();
        } while (performance.now() < until);
      }
    } finally {
      await pages.return(undefined);
    }
  }
}
