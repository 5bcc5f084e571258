/**
 * The time after a restart in which nobody knows yet whether former clients still use their layouts (RFC 8881 §8.4.2):
 * operations on files that these may reach wait until it is over. What is reached the store says; all other files are
 * free to be changed.
 */
import type { ByteRange, LayoutBreak } from '../fs/engine/leases.ts';
import type { Clock } from './clock.ts';
import type { BreakStatus } from './protocol/server-status.ts';

interface Waiting extends Omit<BreakStatus, 'waitingMs'> {
  readonly since: number;
  readonly wake: () => void;
}

const nothing = (): void => {};

export class Grace {
  readonly #clock: Clock;
  readonly #waiting = new Set<Waiting>();
  #reaches: ((ino: number) => boolean) | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get active(): boolean {
    return this.#reaches !== undefined;
  }

  /** `reaches`: a former client that has not been dealt with may have layouts on the file. */
  begin(reaches: (ino: number) => boolean): void {
    this.#reaches = reaches;
  }

  end(): void {
    this.#reaches = undefined;
    this.wake();
  }

  covers(ino: number): boolean {
    return this.#reaches?.(ino) ?? false;
  }

  wait(ino: number, { offset, length }: ByteRange, reason: string): LayoutBreak {
    let wake = nothing;
    const done = new Promise<void>((resolve) => {
      wake = resolve;
    });
    const waiting = { ino, offset, length, reason: `${reason} (grace)`, since: this.#clock.now(), wake };
    this.#waiting.add(waiting);
    return { done, release: () => this.#waiting.delete(waiting) };
  }

  /** They look again whether they may go on. */
  wake(): void {
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
