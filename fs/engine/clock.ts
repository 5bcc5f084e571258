import type { Timespec } from '../vfs.ts';

/** Source of file times; replaced in simulations. */
export interface Clock {
  now(): Timespec;
}

/**
 * The system clock, made strictly increasing below its millisecond, so that two changes of a file never carry the same
 * time (what git and make take for "unchanged").
 */
export class SystemClock implements Clock {
  #lastMs = 0;
  #nsec = 0;

  now(): Timespec {
    const ms = Date.now();
    if (ms !== this.#lastMs) {
      this.#lastMs = ms;
      this.#nsec = 0;
    } else if (this.#nsec < 999_999) {
      this.#nsec++;
    }
    const sec = Math.floor(ms / 1000);
    return { sec, nsec: (ms - sec * 1000) * 1_000_000 + this.#nsec };
  }
}

export function isBefore(a: Timespec, b: Timespec): boolean {
  return a.sec < b.sec || (a.sec === b.sec && a.nsec < b.nsec);
}
