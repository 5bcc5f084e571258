import { kernelLimits } from './limits.ts';

/** What to do while there is no request: look again, let others have a turn and look again, or sleep until one comes. */
export type Wait = 'look' | 'others' | 'sleep';

/**
 * How long to look for the next request before sleeping. A program that does one thing after the other asks again some
 * microseconds after its answer, and waking a sleeping processor for that takes longer than serving it. As in KVM's halt
 * polling (Documentation/virt/kvm/halt-polling.rst) the time grows when requests come soon, and shrinks to nothing while
 * they do not. Times in ms.
 */
export class Polling {
  readonly #max: number;
  readonly #now: () => number;
  /** How long is looked; 0: not at all. */
  #window = 0;
  #turnSince = 0;
  /** Since when there is no request; undefined while there are. */
  #idleSince: number | undefined;
  /** The window ran out since then. */
  #missed = false;
  #lookedAt = 0;
  /** Others want this processor: no looking before then. */
  #restsUntil = 0;

  /** @param max longest look, 0 for none; @param now a monotonic clock */
  constructor(max: number, now: () => number = () => performance.now()) {
    this.#max = max;
    this.#now = now;
  }

  turn(): void {
    if (this.#max > 0) this.#turnSince = this.#now();
  }

  /** There is no request. @param isWaiting something else is to happen first: no looking */
  none(isWaiting: boolean): Wait {
    if (this.#max === 0) return 'sleep';
    const now = this.#now();
    if (this.#idleSince === undefined) {
      this.#idleSince = now;
      this.#missed = false;
      this.#lookedAt = now;
    }
    if (isWaiting) return 'sleep';
    if (now - Math.max(this.#lookedAt, this.#turnSince) > kernelLimits.pollPreemptedMs) this.#rest(now);
    this.#lookedAt = now;
    if (now - this.#idleSince >= this.#window) {
      if (!this.#missed) this.#shrink();
      return 'sleep';
    }
    return now - this.#turnSince < kernelLimits.pollTurnMs ? 'look' : 'others';
  }

  /** A request is there. */
  arrived(): void {
    if (this.#idleSince === undefined) return;
    const now = this.#now();
    if (now - this.#idleSince <= this.#max && now >= this.#restsUntil) this.#window = this.#max;
    this.#idleSince = undefined;
  }

  /** Between two looks lay more than a look: somebody else had the processor, who is not to be kept from it. */
  #rest(now: number): void {
    this.#window = 0;
    this.#restsUntil = now + kernelLimits.pollRestMs;
  }

  #shrink(): void {
    this.#missed = true;
    this.#window = this.#window < 2 * kernelLimits.pollMinMs ? 0 : this.#window / 2;
  }
}
