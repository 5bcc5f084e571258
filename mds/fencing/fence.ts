/** One client that is being fenced, and how far that is. */
export class Fence {
  readonly client: number;
  /** The one that was asked last. */
  provider = '';
  /** Of what is being done now: putting away, or cutting off. */
  attempts = 0;
  error: string | undefined;
  /** The next attempt, by the clock of the server; undefined: one is running, or there is nothing to wait for. */
  dueAt: number | undefined;
  /** An attempt of the providers; never rejects. */
  running: Promise<unknown> | undefined;
  readonly #unneeded = new AbortController();
  #isGoingOn = false;
  #isAwake = false;
  #wake: () => void = () => {};

  constructor(client: number) {
    this.client = client;
  }

  get unneeded(): AbortSignal {
    return this.#unneeded.signal;
  }

  /** Answers the number of the attempt. */
  begins(provider: string): number {
    this.provider = provider;
    this.dueAt = undefined;
    this.#isAwake = false;
    return ++this.attempts;
  }

  failed(error: string, dueAt: number | undefined): void {
    this.error = error;
    this.dueAt = dueAt;
  }

  waits(dueAt: number | undefined): void {
    this.dueAt = dueAt;
  }

  /** The blocks are put away, and what follows is counted anew. false: that was said before. */
  goesOn(): boolean {
    if (this.#isGoingOn) return false;
    this.#isGoingOn = true;
    this.attempts = 0;
    this.error = undefined;
    return true;
  }

  /** `wake` is called once, at once if there was a reason since the last attempt began. */
  onWake(wake: () => void): void {
    this.#wake = wake;
    if (this.#isAwake) wake();
  }

  wake(): void {
    this.#isAwake = true;
    this.#wake();
  }

  end(): void {
    this.#unneeded.abort();
  }
}
