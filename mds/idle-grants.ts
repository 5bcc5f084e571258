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
  due: number;
}

export class IdleGrants {
  readonly #table: Pick<LayoutTable, 'holds'>;
  readonly #layouts: Pick<LayoutBackend, 'forgetGrant'>;
  readonly #clock: Clock;
  /**
   * What is used again stays where it is and is due later: a Map that gets and loses the same key again and again has chains
   * as long as itself (layout/table.ts).
   */
  readonly #idle = new Map<string, Idle>();
  #cancelTimer: (() => void) | undefined;

  constructor(table: Pick<LayoutTable, 'holds'>, layouts: Pick<LayoutBackend, 'forgetGrant'>, clock: Clock) {
    this.#table = table;
    this.#layouts = layouts;
    this.#clock = clock;
  }

  add(client: number, ino: number): void {
    const key = `${client}/${ino}`;
    const due = this.#clock.now() + serverLimits.grantKeptMs;
    const known = this.#idle.get(key);
    if (known !== undefined) {
      known.due = due;
      return;
    }
    this.#idle.set(key, { client, ino, due });
    if (this.#idle.size > serverLimits.grantsKeptMax) this.#forget(1);
    this.#arm(due);
  }

  /** All at once: the server closes, and without records nobody has to be waited for after its restart. */
  close(): void {
    this.#cancelTimer?.();
    this.#forget(Infinity);
  }

  /** The first `most`, and of those only what is due by `by`. */
  #forget(most: number, by = Infinity): void {
    let left = most;
    for (const [key, idle] of this.#idle) {
      if (left-- <= 0) return;
      const { client, ino, due } = idle;
      if (due > by) continue;
      this.#idle.delete(key);
      // What it got meanwhile comes here again when it is given back.
      if (!this.#table.holds(client, ino)) this.#layouts.forgetGrant(ino, client);
    }
  }

  #arm(at: number): void {
    this.#cancelTimer ??= this.#clock.after(at - this.#clock.now(), () => {
      this.#cancelTimer = undefined;
      this.#forget(Infinity, this.#clock.now());
      let first = Infinity;
      for (const { due } of this.#idle.values()) first = Math.min(first, due);
      if (first < Infinity) this.#arm(Math.max(first, this.#clock.now() + serverLimits.grantsLookMs));
    });
  }
}
