import type { Break } from './breaks.ts';
import { Deadlines, type Due } from './deadlines.ts';
import { limits } from './limits.ts';

/**
 * The place in the queue of a get that was sent away with LAYOUTTRYLATER: its break stays, so that no later get that
 * conflicts overtakes it, until the client asks again, or does not.
 */
export interface Claim extends Due {
  readonly open: Break;
  readonly client: number;
  readonly ino: number;
  /** The client wants to hear when the range is free (loga_signal_layout_avail). */
  readonly signal: boolean;
}

/** All claims, by the time at which they lapse. */
export class Claims {
  readonly #lifeMs: number;
  readonly #due = new Deadlines<Claim>();

  constructor(lifeMs: number) {
    this.#lifeMs = lifeMs;
  }

  begin(now: number, open: Break, client: number, ino: number, signal: boolean): Claim {
    const claim: Claim = { open, client, ino, signal, dueAt: 0, heapIndex: undefined };
    open.claim = claim;
    const lapse = open.broken ? Math.min(limits.claimHoldMs, this.#lifeMs) : this.#lifeMs;
    this.#due.set(claim, now + lapse);
    return claim;
  }

  /** Its range is free: from now on others wait for nobody but it, so it has less time. */
  served(now: number, claim: Claim): void {
    this.#due.set(claim, Math.min(claim.dueAt, now + limits.claimHoldMs));
  }

  end(claim: Claim): void {
    claim.open.claim = undefined;
    this.#due.delete(claim);
  }

  firstDue(): Claim | undefined {
    return this.#due.first();
  }
}
