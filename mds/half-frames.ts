/**
 * Requests that have begun to come and are not complete: bytes over all connections. Beyond the bound the connection whose
 * request began first is given up. Who sends in one go is never that one: a request of the largest size takes a few
 * milliseconds, and whoever wants to keep others out has to begin hundreds of them again and again.
 */
import { serverLimits } from './limits.ts';

/** A connection, as far as this looks at it. */
export interface HalfFrameHolder {
  /** It is given up. */
  tooSlow(): void;
}

export class HalfFrames {
  readonly #bytesMax: number;
  #bytes = 0;
  /** Whose request began first is the first. */
  readonly #held = new Map<HalfFrameHolder, number>();

  constructor(bytesMax: number = serverLimits.halfFramesMax) {
    this.#bytesMax = bytesMax;
  }

  /**
   * So many bytes of a request that is not complete are here now. `begins`: it is another one than before.
   */
  account(holder: HalfFrameHolder, bytes: number, begins: boolean): void {
    const before = this.#held.get(holder) ?? 0;
    if (before === 0 && bytes === 0) return;
    this.#bytes += bytes - before;
    if (begins || bytes === 0) this.#held.delete(holder);
    if (bytes > 0) this.#held.set(holder, bytes);
    while (this.#bytes > this.#bytesMax) this.#giveUpFirst();
  }

  #giveUpFirst(): void {
    const [first] = this.#held;
    if (first === undefined) return;
    const [holder, bytes] = first;
    this.#held.delete(holder);
    this.#bytes -= bytes;
    holder.tooSlow();
  }
}
