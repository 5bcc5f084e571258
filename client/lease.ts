import { leaseNow } from './clock.ts';

/**
 * What this side can prove of its lease. It counts from the *sending* of the last request that renewed it, since the
 * server can only have begun later (RFC 8881 §8.3, §12.7.2), and ends early by a margin for clocks that run apart.
 */
export class Lease {
  #leaseMs = 0;
  #renewedAt = Number.NEGATIVE_INFINITY;
  #doubted = false;
  readonly #now: () => number;

  /** `now`: milliseconds of a clock that never goes back. */
  constructor(now: () => number = leaseNow) {
    this.#now = now;
  }

  get leaseMs(): number {
    return this.#leaseMs;
  }

  begin(leaseMs: number, sentAt: number): void {
    this.#leaseMs = leaseMs;
    this.#renewedAt = sentAt;
    this.#doubted = false;
  }

  /** A successful reply to a request sent at `sentAt`. */
  renewed(sentAt: number): void {
    if (sentAt > this.#renewedAt) this.#renewedAt = sentAt;
  }

  /** Nothing can be proven until the next renewal. */
  end(): void {
    this.#renewedAt = Number.NEGATIVE_INFINITY;
  }

  /** Direct I/O may start now: the server cannot have ended the lease yet. */
  get live(): boolean {
    return !this.#doubted && this.#now() < this.endsAt;
  }

  /** The server revoked something, and it is not known yet what: until `settle` nothing may start. */
  doubt(): void {
    this.#doubted = true;
  }

  settle(): void {
    this.#doubted = false;
  }

  /** A tenth: clocks that drift apart by more than that are broken. */
  get endsAt(): number {
    return this.#renewedAt + this.#leaseMs * 0.9;
  }

  /** A third of the lease after the last one, so that two may be lost. */
  get renewalDueAt(): number {
    return this.#renewedAt + this.#leaseMs / 3;
  }
}
