/** Long work beside everybody else's: it gives the loop back after each slice, and ends when it is told to. */
import { FsError } from '../../errors.ts';
import { limits } from '../../limits.ts';

export class Pace {
  readonly #signal: AbortSignal;
  #since = performance.now();

  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  /** The slice is used up: `next` is due. */
  get isOver(): boolean {
    return performance.now() - this.#since >= limits.sliceMs;
  }

  /** Lets everybody else have their turn. @throws FsError ECANCELED */
  async next(): Promise<void> {
    await new Promise(setImmediate);
    this.#signal.throwIfAborted();
    this.#since = performance.now();
  }
}

export function cancelled(): FsError {
  return new FsError('ECANCELED', { detail: 'cancelled; what was moved so far stays where it is' });
}
