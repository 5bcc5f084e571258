/**
 * Files that a client holds nothing of any more, but the store says it may. The record stays a little longer, since most
 * clients come back for the same file, and a layout that is on record already costs no sync.
 */
import type { LayoutBackend } from '../fs/engine/leases.ts';
import type { LayoutTable } from '../layout/types.ts';
import type { Clock } from './clock.ts';
import { serverLimits } from './limits.ts';

interface Idle {
  readonly client: number;
  readonly ino: number;
  readonly due: number;
}

export class IdleGrants {
  readonly #table: Pick<LayoutTable, 'holds'>;
  readonly #layouts: Pick<LayoutBackend, 'forgetGrant'>;
  readonly #clock: Clock;
  /** The first due first. */
  readonly #idle = new Map<string, Idle>();
  #cancelTimer: (() => void) | undefined;

  constructor(table: Pick<LayoutTable, 'holds'>, layouts: Pick<LayoutBackend, 'forgetGrant'>, clock: Clock) {
    this.#table = table;
    this.#layouts = layouts;
    this.#clock = clock;
  }

  add(client: number, ino: number): void {
    const key = `${client}/${ino}`;
    this.#idle.delete(key);
    this.#idle.set(key, { client, ino, due: this.#clock.now() + serverLimits.grantKeptMs });
    if (this.#idle.size > serverLimits.grantsKeptMax) this.#forget(() => true, 1);
    this.#arm();
  }

  /** All at once: the server closes, and without records nobody has to be waited for after its restart. */
  close(): void {
    this.#cancelTimer?.();
    this.#forget(() => true);
  }

  #forget(isDue: (idle: Idle) => boolean, most = Infinity): void {
    let left = most;
    for (const [key, idle] of this.#idle) {
      if (left-- <= 0 || !isDue(idle)) return;
      const { client, ino } = idle;
      this.#idle.delete(key);
      // What it got meanwhile comes here again when it is given back.
      if (!this.#table.holds(client, ino)) this.#layouts.forgetGrant(ino, client);
    }
  }

  #arm(): void {
    const [first] = this.#idle.values();
    if (first === undefined || this.#cancelTimer !== undefined) return;
    this.#cancelTimer = this.#clock.after(first.due - this.#clock.now(), () => {
      this.#cancelTimer = undefined;
      const now = this.#clock.now();
      this.#forget(({ due }) => due <= now);
      this.#arm();
    });
  }
}
