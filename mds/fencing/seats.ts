/** So many at once; who comes later waits, in order. */
export class Seats {
  #free: number;
  readonly #waiting = new Set<() => void>();

  constructor(most: number) {
    this.#free = most;
  }

  /** Answers what is to be called when the seat is free again; undefined: the signal came before there was one. */
  async take(signal: AbortSignal): Promise<(() => void) | undefined> {
    while (this.#free === 0 && !signal.aborted) await this.#next(signal);
    if (signal.aborted) {
      this.#wake();
      return undefined;
    }
    this.#free--;
    return () => {
      this.#free++;
      this.#wake();
    };
  }

  #next(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        this.#waiting.delete(wake);
        signal.removeEventListener('abort', wake);
        resolve();
      };
      this.#waiting.add(wake);
      signal.addEventListener('abort', wake);
    });
  }

  #wake(): void {
    const [first] = this.#waiting;
    if (this.#free > 0) first?.();
  }
}
