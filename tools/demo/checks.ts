/** What the demonstration has done and seen, a line each. */
export class Checks {
  #step = '';
  #failed = 0;
  #started = performance.now();

  begin(step: string): void {
    this.#step = step;
    this.#started = performance.now();
  }

  /** One line: what was done and what was seen. */
  done(what: string): void {
    const seconds = ((performance.now() - this.#started) / 1000).toFixed(1);
    console.log(`ok    ${this.#step}: ${what} (${seconds} s)`);
    this.#started = performance.now();
  }

  /** @throws Error when what must hold does not */
  hold(condition: boolean, what: string): void {
    if (condition) return;
    this.#failed++;
    throw new Error(`does not hold: ${what}`);
  }

  fail(error: unknown): void {
    this.#failed++;
    console.error(`FAIL  ${this.#step}: ${error instanceof Error ? error.message : String(error)}`);
  }

  get failed(): boolean {
    return this.#failed > 0;
  }
}
