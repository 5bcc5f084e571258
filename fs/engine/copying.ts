/**
 * Which inodes a tree copy under way has taken. From then on they do not change until the copy is complete, so that what
 * it shows is the tree at one moment: the one at which it was complete. What it has not come to yet may change freely.
 * What clients commit and return gets through all the same: taken files have no write layouts out.
 */
import { Wait } from './wait.ts';

export class Copying {
  readonly #taken = new Set<number>();
  #done: Promise<void> = Promise.resolve();
  #end: () => void = () => {};
  #isUnderWay = false;

  /** Inodes taken so far; undefined where no copy is under way. */
  get count(): number | undefined {
    return this.#isUnderWay ? this.#taken.size : undefined;
  }

  begin(): void {
    this.#isUnderWay = true;
    this.#done = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  take(ino: number): void {
    this.#taken.add(ino);
  }

  end(): void {
    this.#isUnderWay = false;
    this.#taken.clear();
    this.#end();
  }

  /** @throws Wait until the copy is complete */
  requireNotTaken(ino: number): void {
    if (this.#taken.has(ino)) throw new Wait(this.#done);
  }
}
