/** Wakes one sleeper, also one that lies down after it rang. */
export class Bell {
  #rang = false;
  #wake: () => void = () => {};

  /** What rings from here on counts. */
  reset(): void {
    this.#rang = false;
  }

  ring(): void {
    this.#rang = true;
    this.#wake();
  }

  /** `wake` is called once, at once if it rang since `reset`. */
  listen(wake: () => void): void {
    this.#wake = wake;
    if (this.#rang) wake();
  }
}

/** The last attempt to put its blocks away failed. */
export interface Blocked {
  readonly error: string;
  readonly attempts: number;
  /** The next attempt; undefined: it is running. */
  readonly dueAt: number | undefined;
}

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
  /** Its blocks could not be put away: the range is blocked. */
  blocked: Blocked | undefined;
  /** Somebody who knows says that nothing of the client reaches the device. */
  isOver = false;
  /** An attempt of the providers; never rejects. */
  running: Promise<unknown> | undefined;
  readonly #unneeded = new AbortController();
  readonly #givenUp = new AbortController();
  #isGoingOn = false;
  /** For who waits for the next attempt of the providers, and for the next one to put away. */
  readonly bell = new Bell();
  readonly overBell = new Bell();

  constructor(client: number) {
    this.client = client;
  }

  get unneeded(): AbortSignal {
    return this.#unneeded.signal;
  }

  /** What runs for it is to end; the reason is words. */
  get givenUp(): AbortSignal {
    return this.#givenUp.signal;
  }

  /** The blocks are being put away. */
  tries(provider: string, attempts: number): void {
    this.overBell.reset();
    if (this.blocked !== undefined) this.blocked = { ...this.blocked, attempts, dueAt: undefined };
    this.provider = provider;
    this.attempts = attempts;
    this.dueAt = undefined;
  }

  /** Answers the number of the attempt. */
  begins(provider: string): number {
    this.provider = provider;
    this.dueAt = undefined;
    this.bell.reset();
    return ++this.attempts;
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

  /** There is a reason not to wait any longer. */
  wake(): void {
    this.bell.ring();
    this.overBell.ring();
  }

  end(): void {
    this.#unneeded.abort();
  }

  /** Nobody needs to know any more how it ends. */
  giveUp(why: string): void {
    this.#givenUp.abort(why);
  }
}
