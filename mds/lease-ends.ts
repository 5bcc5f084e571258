/**
 * When clients end (RFC 8881 §8.3; requirements of courtesy as in Linux' nfsd): active while the lease runs; courteous, that
 * is with all it has, while nobody needs anything of it, for a bounded time; then expired.
 *
 * Nearly every request renews a lease, so that notes the time and nothing else: a client is looked at when its lease would have
 * ended as it was when it was looked at last.
 */
import { Deadlines, type Due } from '../layout/deadlines.ts';
import type { Client } from './client.ts';
import type { Clock } from './clock.ts';
import { serverLimits } from './limits.ts';

export interface LeaseTimes {
  readonly leaseMs: number;
  /** 0: no client is kept when its lease has ended. */
  readonly courtesyMs: number;
}

export interface LeaseEvents {
  /** It has something that it could lose with its lease. */
  isWorthCourtesy(client: Client): boolean;
  /** Its lease has ended, and the courtesy begins. */
  lapsed(client: Client): void;
  /** It is to be ended: it was not worth a courtesy, or the courtesy is over. */
  expired(client: Client): void;
  /** It was introduced, and nothing came of it. */
  forgotten(client: Client): void;
}

/** An active client. Due no later than its lease ends. */
interface Active extends Due {
  readonly client: Client;
}

/** Clients in the order in which something happens to them, with the time at which it does. */
type Order = Map<Client, number>;

export class LeaseEnds {
  readonly #clock: Clock;
  readonly #leaseMs: number;
  readonly #courtesyMs: number;
  readonly #events: LeaseEvents;
  readonly #introduced: Order = new Map();
  readonly #active = new Map<Client, Active>();
  readonly #activeByTime = new Deadlines<Active>();
  readonly #courteous: Order = new Map();
  #armed: { readonly at: number; readonly cancel: () => void } | undefined;
  #closed = false;

  constructor(clock: Clock, { leaseMs, courtesyMs }: LeaseTimes, events: LeaseEvents) {
    this.#clock = clock;
    this.#leaseMs = leaseMs;
    this.#courtesyMs = courtesyMs;
    this.#events = events;
  }

  /** Its lease is over, and it has what it had: nobody need ask it before taking that away. */
  isCourteous(client: Client): boolean {
    return this.#courteous.has(client);
  }

  /** A client that has not been confirmed yet. */
  introduce(client: Client): void {
    if (this.#introduced.size >= serverLimits.unconfirmedClientsMax) {
      const [oldest] = this.#introduced.keys();
      if (oldest !== undefined) this.#forget(oldest);
    }
    this.#put(this.#introduced, client, this.#leaseMs);
  }

  /** Active from here on, whatever it was before. */
  renew(client: Client): void {
    client.leaseEndsAt = this.#clock.now() + this.#leaseMs;
    if (this.#active.has(client)) return;
    this.#introduced.delete(client);
    this.#courteous.delete(client);
    const active: Active = { client, dueAt: 0, heapIndex: undefined };
    this.#active.set(client, active);
    this.#activeByTime.set(active, client.leaseEndsAt);
    this.#arm();
  }

  delete(client: Client): void {
    this.#introduced.delete(client);
    this.#deleteActive(client);
    this.#courteous.delete(client);
  }

  /** Ends the courtesy that has lasted longest. false: there is none. */
  expireOldest(): boolean {
    const [oldest] = this.#courteous.keys();
    if (oldest !== undefined) this.#expire(oldest);
    return oldest !== undefined;
  }

  close(): void {
    this.#closed = true;
    this.#armed?.cancel();
  }

  #put(order: Order, client: Client, ms: number): void {
    order.set(client, this.#clock.now() + ms);
    // Of many only the first can be due first.
    if (order.size === 1 || this.#armed === undefined) this.#arm();
  }

  #deleteActive(client: Client): void {
    const active = this.#active.get(client);
    if (active === undefined) return;
    this.#active.delete(client);
    this.#activeByTime.delete(active);
  }

  #arm(): void {
    const firstActive = this.#activeByTime.first()?.dueAt ?? Infinity;
    const at = Math.min(firstOf(this.#introduced), firstActive, firstOf(this.#courteous));
    if (this.#closed || at === Infinity || (this.#armed !== undefined && this.#armed.at <= at)) return;
    this.#armed?.cancel();
    const cancel = this.#clock.after(at - this.#clock.now(), () => {
      this.#armed = undefined;
      this.#look(this.#clock.now());
      this.#arm();
    });
    this.#armed = { at, cancel };
  }

  #look(now: number): void {
    for (const client of due(this.#introduced, now)) this.#forget(client);
    for (const client of due(this.#courteous, now)) this.#expire(client);
    for (let first = this.#activeByTime.first(); first !== undefined && first.dueAt <= now; ) {
      const { client } = first;
      if (client.leaseEndsAt > now) this.#activeByTime.set(first, client.leaseEndsAt);
      else this.#lapse(client);
      first = this.#activeByTime.first();
    }
  }

  #lapse(client: Client): void {
    this.#deleteActive(client);
    if (this.#courtesyMs === 0 || !this.#events.isWorthCourtesy(client)) {
      this.#events.expired(client);
      return;
    }
    if (this.#courteous.size >= serverLimits.courteousClientsMax) this.expireOldest();
    this.#put(this.#courteous, client, this.#courtesyMs);
    this.#events.lapsed(client);
  }

  #expire(client: Client): void {
    this.#courteous.delete(client);
    this.#events.expired(client);
  }

  /** While a CREATE_SESSION of it waits for the end of its former incarnation it may take longer. */
  #forget(client: Client): void {
    this.#introduced.delete(client);
    if (client.creating === 'running') this.#put(this.#introduced, client, this.#leaseMs);
    else this.#events.forgotten(client);
  }
}

function firstOf(order: Order): number {
  const [first] = order.values();
  return first ?? Infinity;
}

/** Those whose time has come, in order. */
function due(order: Order, now: number): readonly Client[] {
  const found: Client[] = [];
  for (const [client, at] of order) {
    if (at > now) break;
    found.push(client);
  }
  return found;
}
