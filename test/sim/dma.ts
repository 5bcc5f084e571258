/**
 * Copies between a client's memory and the device. In the product each is one call that nothing interrupts; but the program
 * may lose its processor in the middle of it, for as long as it pleases. So some copies move a sector at a time, in virtual
 * time, and until the last one nothing else happens in the process: no code runs and nothing is sent.
 */
import type { Loop, Process } from './loop.ts';

/** What is moved at once: whoever looks sees all of it or nothing. Bytes. */
export const sectorSize = 2048;

/** Longest time that a program stands still in the middle of a copy, in ms: several leases. */
const stallMsMax = 3000;

export class Copies {
  readonly #loop: Loop;
  readonly #process: Process;
  readonly #pending: (() => void)[] = [];

  constructor(simulated: Loop, process: Process) {
    this.#loop = simulated;
    this.#process = process;
  }

  /** `move` is called for each piece of the copy, with its first byte within it and its length. */
  run(at: number, length: number, move: (from: number, count: number) => void): void {
    const isBegun = this.#pending.length > 0;
    const isAtOnce = !isBegun && !this.#loop.random.oneIn(6);
    for (let from = 0; from < length; ) {
      const count = Math.min(sectorSize - ((at + from) % sectorSize), length - from);
      const piece = from;
      if (isAtOnce) move(piece, count);
      else this.#pending.push(() => move(piece, count));
      from += count;
    }
    if (isAtOnce || isBegun || length === 0) return;
    this.#process.beginCopy();
    this.#next();
  }

  #next(): void {
    const { random } = this.#loop;
    const ms = random.oneIn(60) ? random.below(stallMsMax) : random.below(50) / 1000;
    const step = (): void => {
      this.#pending.shift()?.();
      if (this.#pending.length > 0) this.#next();
      else this.#process.endCopy();
    };
    this.#loop.after(ms, step, this.#process, true);
  }
}
