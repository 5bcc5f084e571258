/**
 * Fences that fail: each is tried again without end (fencing/), but nobody waits for it longer than for one more deadline of a
 * recall. Whoever needs what the client had fails from then on, until the fence holds.
 */
import type { ByteRange } from '../fs/engine/leases.ts';
import { FsError } from '../fs/errors.ts';
import type { Clock } from './clock.ts';
import type { Fences } from './fencing/fences.ts';

/** `isFormer`: of a client from before the restart of the server. */
type GiveUp = (client: number, isFormer: boolean) => void;

export class StuckFences {
  readonly #fencing: Pick<Fences, 'blocked'>;
  readonly #waitMs: number;
  readonly #clock: Clock;
  readonly #giveUp: GiveUp;
  /** By client: gives up watching. */
  readonly #watched = new Map<number, () => void>();
  /** By client: why its fence fails. */
  readonly #stuck = new Map<number, string>();

  constructor(fencing: Pick<Fences, 'blocked'>, waitMs: number, clock: Clock, giveUp: GiveUp) {
    this.#fencing = fencing;
    this.#waitMs = waitMs;
    this.#clock = clock;
    this.#giveUp = giveUp;
  }

  has(client: number): boolean {
    return this.#stuck.has(client);
  }

  clients(): Iterable<number> {
    return this.#stuck.keys();
  }

  /** Its fence has begun. One that only takes long is waited for. */
  watch(client: number, isFormer = false): void {
    const cancel = this.#clock.after(this.#waitMs, () => {
      const why = this.#fencing.blocked(client);
      if (why === undefined) return this.watch(client, isFormer);
      this.#watched.delete(client);
      this.#stuck.set(client, why);
      this.#giveUp(client, isFormer);
    });
    this.#watched.set(client, cancel);
  }

  /** Its fence holds, or never will. */
  over(client: number): void {
    this.#stuck.delete(client);
    this.#watched.get(client)?.();
    this.#watched.delete(client);
  }

  close(): void {
    for (const cancel of this.#watched.values()) cancel();
    this.#watched.clear();
  }

  errorOf(client: number, at: { readonly ino?: number; readonly range?: ByteRange } = {}): FsError {
    const lost = `the fence of a client fails (iopmemfs client evict ${client}, once it is dead)`;
    return new FsError('EIO', { client, ...at, detail: `${lost}: ${this.#stuck.get(client)}` });
  }
}
