/**
 * Before the device goes from here (an orderly stop): no more layouts are granted, and all that are out are asked back. What clients
 * wrote they commit first, since there is nobody to write it through afterwards. Who does not return is fenced when the recall's
 * deadline has passed, as always: what it can reach is put away, and on record for whoever serves the device next.
 */
import { recallKind } from '../layout/types.ts';
import type { Clock } from './clock.ts';
import type { LayoutLeases } from './leases.ts';
import { TryLater } from './protocol/status.ts';
import { within } from './within.ts';

export class Drain {
  readonly #leases: Pick<LayoutLeases, 'now' | 'table' | 'recallAll' | 'isStuck'>;
  readonly #clock: Clock;
  #begun = false;
  #isStopped = false;
  #stop: () => void = () => {};

  constructor(leases: Pick<LayoutLeases, 'now' | 'table' | 'recallAll' | 'isStuck'>, clock: Clock) {
    this.#leases = leases;
    this.#clock = clock;
  }

  /** @throws StatusError LAYOUTTRYLATER */
  requireNone(): void {
    if (this.#begun) throw new TryLater('the server is about to stop', false);
  }

  /** Answers after `ms` at the latest whether nothing is out any more. */
  async run(ms: number): Promise<boolean> {
    this.#begun = true;
    const stopped = new Promise<void>((resolve) => {
      this.#stop = resolve;
    });
    const giveUpAt = this.#leases.now + ms;
    // What was reserved when it began is granted in between.
    for (let held = this.#held(); held.length > 0; held = this.#held()) {
      const left = giveUpAt - this.#leases.now;
      if (left <= 0 || this.#isStopped) return false;
      if (held.every((client) => this.#leases.isStuck(client))) return false;
      const returned = held.map((client) => this.#leases.recallAll(client, recallKind.all, false).catch(nothing));
      await within(Promise.race([Promise.all(returned).then(nothing), stopped]), left, this.#clock);
    }
    return true;
  }

  /** Nobody is waited for any longer: what is out stays on record. */
  stop(): void {
    this.#isStopped = true;
    this.#stop();
  }

  /** Clients that hold something. */
  #held(): readonly number[] {
    const { table } = this.#leases;
    return table.holders().filter((client) => table.holdsAny(client));
  }
}

function nothing(): void {}
