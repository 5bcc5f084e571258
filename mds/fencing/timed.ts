import type { Clock } from '../clock.ts';
import { ioUnbounded } from './limits.ts';
import type { ClientFacts, FenceResult, FencingProvider } from './provider.ts';

/**
 * The timed fence (RFC 5663 §2.3.8): a client begins no access once its lease is over, and its longest access ends
 * `ioMaxMs` after that. It rests on the word of the client, and on nothing stopping it in the middle of an access; so it
 * is the operator's to choose. A process that can be seen to live is not believed to have stopped.
 */
export class TimedProvider implements FencingProvider {
  readonly name = 'timed';
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  serves({ ioMaxMs, reach }: ClientFacts): boolean {
    return ioMaxMs !== ioUnbounded && reach.process === undefined;
  }

  async fence(facts: ClientFacts): Promise<FenceResult> {
    if (!this.serves(facts)) return { kind: 'cannot' };
    const ms = facts.leaseEndsAt + facts.ioMaxMs - this.#clock.now();
    if (ms <= 0) return { kind: 'fenced' };
    return { kind: 'wait', why: 'its lease and its longest access are not over', ms };
  }
}
