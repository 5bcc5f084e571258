/** Who writes which file in sequence: each grant begins where the last one ended. */
import { serverLimits } from './limits.ts';
import type { Span } from './spans.ts';

export class Sequences {
  /** The longest unused first. */
  readonly #last = new Map<string, Span>();

  /** The bytes of the grant that ended at `start`; 0 if the last one did not. */
  before(client: number, ino: number, start: number): number {
    const last = this.#last.get(keyOf(client, ino));
    return last?.end === start ? last.end - last.start : 0;
  }

  granted(client: number, ino: number, span: Span): void {
    const key = keyOf(client, ino);
    this.#last.delete(key);
    this.#last.set(key, span);
    const [oldest] = this.#last.keys();
    if (this.#last.size > serverLimits.sequencesMax && oldest !== undefined) this.#last.delete(oldest);
  }
}

function keyOf(client: number, ino: number): string {
  return `${client}/${ino}`;
}
