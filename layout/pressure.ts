import type { LeaseClient, Totals } from './holding.ts';
import type { Action } from './types.ts';

/** What those who were asked to keep fewer leave, of the high mark: a margin, so that the next get does not ask again. */
const lowMark = 0.75;

/**
 * Memory for segments is short (RFC 8881 §20.6). Those who hold most are asked to keep fewer, so that nobody who holds
 * little is hurt; they choose what goes. Who keeps more all the same after a lease loses his oldest layouts by recalls.
 */
export class Pressure {
  readonly totals: Totals = { segments: 0 };
  readonly #highMark: number;
  readonly #patienceMs: number;
  /** When those who were asked are looked at. */
  #lookAt: number | undefined;

  constructor(highMark: number, patienceMs: number) {
    this.#highMark = highMark;
    this.#patienceMs = patienceMs;
  }

  get dueAt(): number | undefined {
    return this.#lookAt;
  }

  get tooMuch(): boolean {
    return this.totals.segments > this.#highMark;
  }

  /** It became too much, and nobody has been asked yet. */
  get begins(): boolean {
    return this.tooMuch && this.#lookAt === undefined;
  }

  /** The lowest number wins: who was asked to keep fewer before is not asked again. */
  ask(now: number, clients: Iterable<LeaseClient>): Action[] {
    this.#lookAt = now + this.#patienceMs;
    const able = [...clients].filter((client) => client.fence === undefined && client.bulk === undefined);
    const level = levelFor(able, this.#highMark * lowMark);
    const actions: Action[] = [];
    for (const client of able) {
      if (client.segments <= level) continue;
      const keep = Math.floor((client.layouts * level) / client.segments);
      if (keep >= client.keep) continue;
      client.keep = keep;
      actions.push({ type: 'recall-any', client: client.id, keep });
    }
    return actions;
  }

  end(clients: Iterable<LeaseClient>): void {
    this.#lookAt = undefined;
    for (const client of clients) client.keep = Infinity;
  }
}

/** The most segments that each may have so that all together have no more than `target`. */
function levelFor(clients: readonly LeaseClient[], target: number): number {
  const counts = clients.map((client) => client.segments).sort((a, b) => a - b);
  let left = target;
  for (const [index, count] of counts.entries()) {
    const share = left / (counts.length - index);
    if (count > share) return Math.floor(share);
    left -= count;
  }
  return Infinity;
}
