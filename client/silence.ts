import { leaseNow } from './clock.ts';

/**
 * How long the server has not been heard of. For a client that fails what waits rather than let it hang: after a
 * silence of a whole lease, until the next word of the server.
 */
export class Silence {
  readonly #fell: () => void;
  #limitMs = Infinity;
  #heardAt = 0;
  #timer: NodeJS.Timeout | undefined;

  /** `fell`: it has lasted that long. Called once each time. */
  constructor(fell: () => void) {
    this.#fell = fell;
  }

  /** The server was heard now, and may be silent for `limitMs`. */
  begin(limitMs: number): void {
    this.#limitMs = limitMs;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.heard();
  }

  heard(): void {
    this.#heardAt = leaseNow();
    if (this.#timer === undefined && this.#limitMs !== Infinity) this.#watch();
  }

  get isTooLong(): boolean {
    return this.#limitMs !== Infinity && leaseNow() - this.#heardAt >= this.#limitMs;
  }

  stop(): void {
    this.#limitMs = Infinity;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #watch(): void {
    const leftMs = this.#heardAt + this.#limitMs - leaseNow();
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        if (this.isTooLong) this.#fell();
        else this.#watch();
      },
      Math.max(1, leftMs),
    );
    this.#timer.unref();
  }
}
