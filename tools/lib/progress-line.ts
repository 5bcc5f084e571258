/** One line on stderr that is written over, of what takes longer than a second; only where a person sees it. */
const quietMs = 1000;

export class ProgressLine {
  readonly #startedAt = performance.now();
  #isShown = false;

  show(text: string): void {
    if (!process.stderr.isTTY || performance.now() - this.#startedAt < quietMs) return;
    process.stderr.write(`\r\x1b[K${text}`);
    this.#isShown = true;
  }

  /** The line goes. */
  end(): void {
    if (this.#isShown) process.stderr.write('\r\x1b[K');
  }
}
