/**
 * Space that clients were granted for writing although they had not asked for it. When it runs short that is asked back, before
 * anybody is told ENOSPC or EDQUOT: what was given out on a guess is never what somebody else lacks.
 */
import { serverLimits } from './limits.ts';

/** Bytes of a file, [start, end). */
interface Spare {
  readonly client: number;
  readonly ino: number;
  readonly start: number;
  readonly end: number;
}

/** Asks back what the client holds there for writing. undefined: nothing. */
export type TakeBack = (spare: Spare) => Promise<void> | undefined;

export class SpareGrants {
  /** The oldest first; of one client on one file they count as one range. */
  readonly #spares = new Map<string, Spare>();

  add(spare: Spare): void {
    const key = `${spare.client}/${spare.ino}`;
    const known = this.#spares.get(key) ?? spare;
    this.#spares.delete(key);
    this.#spares.set(key, {
      ...spare,
      start: Math.min(spare.start, known.start),
      end: Math.max(spare.end, known.end),
    });
    const [oldest] = this.#spares.keys();
    if (this.#spares.size > serverLimits.sequencesMax && oldest !== undefined) this.#spares.delete(oldest);
  }

  /**
   * All of it, but for the file that needs the space: who commits there must not wait for its own return.
   * Settles when it is back. undefined: there is none.
   */
  takeBack(ino: number, ask: TakeBack): Promise<void> | undefined {
    const asked: Promise<void>[] = [];
    for (const [key, spare] of this.#spares) {
      if (spare.ino === ino) continue;
      this.#spares.delete(key);
      const back = ask(spare);
      if (back !== undefined) asked.push(back);
    }
    return asked.length === 0 ? undefined : Promise.all(asked).then(() => {});
  }
}
