import { clientLimits } from './limits.ts';

/**
 * Promises that settle at once never let the event loop go round, and a program that reads in a loop would hear no
 * recall and renew no lease. This tells when it is time.
 */
export class Turns {
  #since = 0;
  #watching = false;

  /** The loop has not gone round for `turnMs` of work. */
  get due(): boolean {
    const now = performance.now();
    if (!this.#watching) {
      this.#watching = true;
      this.#since = now;
      setImmediate(() => {
        this.#watching = false;
      });
    }
    return now - this.#since >= clientLimits.turnMs;
  }
}

/** Settles when the event loop has gone round. */
export function afterTurn<T>(value: T): Promise<T> {
  return new Promise((resolve) => {
    setImmediate(() => resolve(value));
  });
}
