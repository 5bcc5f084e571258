/**
 * Space that clients asked for, were granted for writing and have not committed. Before anybody is told ENOSPC or EDQUOT it is
 * asked back: who wrote there commits that, and loses no more than the room for what it has not written.
 *
 * 1. As much as is missing, and of the files that have most: the fewest are asked.
 * 2. Whoever finds that a file is being asked waits along.
 * 3. What was given back a short time ago is not asked for again. So each of two who need more than there is has that
 *    long to write in what it got, and who comes meanwhile is told that there is no space: they do not take it from
 *    each other for ever.
 */
import type { ProvidedFile } from '../fs/engine/leases.ts';
import type { Clock } from './clock.ts';
import { serverLimits } from './limits.ts';

interface Asked {
  readonly back: Promise<void>;
  /** Not asked again before; undefined: it is not back yet. */
  restsUntil: number | undefined;
}

export class ProvidedSpace {
  readonly #clock: Clock;
  /** By inode number. */
  readonly #asked = new Map<number, Asked>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @param ask for what is held there for writing; undefined: nothing is. The promise never rejects. */
  takeBack(
    files: readonly ProvidedFile[],
    blocks: number,
    ask: (file: ProvidedFile) => Promise<void> | undefined,
  ): Promise<void> | undefined {
    this.#forgetRested();
    const waited: Promise<void>[] = [];
    let left = blocks;
    for (const file of files) {
      if (left <= 0) break;
      const back = this.#takeBackOne(file, ask);
      if (back === undefined) continue;
      waited.push(back);
      left -= file.blocks;
    }
    return waited.length === 0 ? undefined : Promise.all(waited).then(() => {});
  }

  #takeBackOne(file: ProvidedFile, ask: (file: ProvidedFile) => Promise<void> | undefined): Promise<void> | undefined {
    const known = this.#asked.get(file.ino);
    if (known !== undefined) return known.restsUntil === undefined ? known.back : undefined;
    const coming = ask(file);
    if (coming === undefined) return undefined;
    const asked: Asked = {
      back: coming.then(() => {
        asked.restsUntil = this.#clock.now() + serverLimits.spaceRestMs;
      }),
      restsUntil: undefined,
    };
    this.#asked.set(file.ino, asked);
    return asked.back;
  }

  #forgetRested(): void {
    const now = this.#clock.now();
    for (const [ino, { restsUntil }] of this.#asked)
      if (restsUntil !== undefined && restsUntil <= now) this.#asked.delete(ino);
  }
}
