/** Long work in slices: each gives the loop back before others notice. */
import { limits } from '../limits.ts';

export class Slices {
  /** Slices ended so far. */
  count = 0;
  #steps = 0;
  #until = performance.now() + limits.sliceMs;

  /** Settles at once, or, when the slice is over, after everybody else had a turn. To be asked after every step. */
  step(): Promise<void> | undefined {
    if (++this.#steps < limits.sliceStepsMax && performance.now() < this.#until) return undefined;
    this.count++;
    return new Promise((resolve) => {
      setImmediate(() => {
        this.#steps = 0;
        this.#until = performance.now() + limits.sliceMs;
        resolve();
      });
    });
  }
}
