import { leaseNow } from './clock.ts';
import type { Lease } from './lease.ts';

export interface LeaseKeeperEvents {
  /** Sends a request that renews the lease; settles with its reply. May reject. */
  renew(): Promise<unknown>;
  /** Nothing proves the lease any more. Called once each time. */
  ended(): void;
}

/** Renews the lease in time while there is a connection, and says when it could not be. */
export class LeaseKeeper {
  readonly #lease: Lease;
  readonly #events: LeaseKeeperEvents;
  #timer: NodeJS.Timeout | undefined;
  #connected = false;
  #renewing = false;
  #wasLive = false;

  constructor(lease: Lease, events: LeaseKeeperEvents) {
    this.#lease = lease;
    this.#events = events;
  }

  /** The session has a connection, or has lost it: then only the end is waited for. */
  watch(connected: boolean): void {
    this.#connected = connected;
    this.#look();
  }

  stop(): void {
    this.#connected = false;
    this.#wasLive = false;
    clearTimeout(this.#timer);
  }

  #look(): void {
    clearTimeout(this.#timer);
    const now = leaseNow();
    const live = now < this.#lease.endsAt;
    if (this.#wasLive && !live) this.#events.ended();
    this.#wasLive = live;
    if (this.#connected && !this.#renewing && now >= this.#lease.renewalDueAt) void this.#renew();
    const renewAt = this.#connected && !this.#renewing ? this.#lease.renewalDueAt : Infinity;
    const next = Math.min(renewAt, live ? this.#lease.endsAt : Infinity);
    if (next !== Infinity) this.#timer = setTimeout(() => this.#look(), Math.max(1, next - now));
  }

  async #renew(): Promise<void> {
    this.#renewing = true;
    try {
      await this.#events.renew();
    } catch {
      // A reply that says no ends the session by itself; without a reply the lease runs out, and that is looked at here.
    } finally {
      this.#renewing = false;
      if (this.#connected) this.#look();
    }
  }
}
