/**
 * The time after a restart in which nobody knows yet whether former clients still use their layouts (RFC 8881 §8.4.2):
 * operations on files that these may reach wait until it is over, or until all that reach the file are dealt with. What
 * is reached the store says; all other files are free to be changed.
 */
import type { BreakReason, ByteRange, LayoutBreak } from '../fs/engine/leases.ts';
import type { Access } from '../fs/space/space.ts';
import type { Clock } from './clock.ts';
import type { BreakStatus } from './protocol/server-status.ts';

interface Waiting extends Omit<BreakStatus, 'waitingMs'> {
  readonly access: Access;
  readonly since: number;
  readonly wake: () => void;
}

/** A former client that has not been dealt with may have layouts on the file: any (`read`), or for writing. */
type Reaches = (ino: number, access: Access) => boolean;

const nothing = (): void => {};

export class Grace {
  readonly #clock: Clock;
  readonly #waiting = new Set<Waiting>();
  #reaches: Reaches | undefined;
  #isOver = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Layouts are given to nobody. */
  get active(): boolean {
    return this.#reaches !== undefined && !this.#isOver;
  }

  begin(reaches: Reaches): void {
    this.#reaches = reaches;
  }

  /** It takes no longer, but for the files of clients whose fences fail. */
  pass(): void {
    this.#isOver = true;
    this.wakeAll();
  }

  end(): void {
    this.#reaches = undefined;
    this.wake();
  }

  covers(ino: number, reason: BreakReason): boolean {
    return this.#reaches?.(ino, inTheWayOf(reason)) ?? false;
  }

  wait(ino: number, { offset, length }: ByteRange, reason: BreakReason): LayoutBreak {
    let wake = nothing;
    const done = new Promise<void>((resolve) => {
      wake = resolve;
    });
    const access = inTheWayOf(reason);
    const waiting = { ino, offset, length, reason: `${reason} (grace)`, access, since: this.#clock.now(), wake };
    this.#waiting.add(waiting);
    return { done, release: () => this.#waiting.delete(waiting) };
  }

  /** Somebody is dealt with: those that nothing keeps waiting any more look again. */
  wake(): void {
    for (const { ino, access, wake } of this.#waiting) if (this.#reaches?.(ino, access) !== true) wake();
  }

  /** All look again whether they may go on. */
  wakeAll(): void {
    for (const { wake } of this.#waiting) wake();
  }

  waiting(): readonly BreakStatus[] {
    const now = this.#clock.now();
    return [...this.#waiting].map(({ ino, offset, length, reason, since }) => ({
      ino,
      offset,
      length,
      reason,
      waitingMs: Math.round(now - since),
    }));
  }
}

/** Layouts for reading are in nobody's way who only reads, shares blocks or adds space. */
function inTheWayOf(reason: BreakReason): Access {
  return reason === 'cache' || reason === 'share' || reason === 'extend' ? 'write' : 'read';
}
