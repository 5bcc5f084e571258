import { fencingLimits } from './limits.ts';

/** From one attempt to the next: longer and longer. */
export class Pace {
  #ms: number = fencingLimits.retryFirstMs;

  /** @param ms known to be the right moment, and then no step of the backoff. */
  next(ms?: number): number {
    if (ms !== undefined) return ms;
    const now = this.#ms;
    this.#ms = Math.min(2 * now, fencingLimits.retryLongestMs);
    return now;
  }
}
