import { kernelLimits } from './limits.ts';
import type { Standing } from './unapplied.ts';

/**
 * Announcements that are given again, because a thread may apply a reply from before the change only after the first, or because the
 * first could not be given. Each once more a second later, as long as names were believed before, and then again until
 * the thread is known to have applied what it got.
 */
export class Repeats {
  readonly #waiting = new Map<string, Repeat>();
  #timer: NodeJS.Timeout | undefined;
  #isStopped = false;

  /** `what` names the announcement: one that waits under this name already is replaced. */
  add(what: string, missedBy: readonly Standing[], announce: () => Promise<void>): void {
    if (this.#isStopped) return;
    const now = performance.now();
    this.#waiting.set(what, { missedBy, announce, sinceMs: now, dueMs: now + kernelLimits.repeatMs });
    this.#timer ??= setInterval(() => this.#repeat(), kernelLimits.repeatMs).unref();
  }

  stop(): void {
    this.#isStopped = true;
    this.#waiting.clear();
    this.#rest();
  }

  #repeat(): void {
    const now = performance.now();
    for (const [what, repeat] of this.#waiting) {
      if (repeat.dueMs > now) continue;
      // Before it is given: whoever applies its reply later is not over yet.
      const missedBy = repeat.missedBy.filter((reply) => !reply.isOver);
      const ageMs = now - repeat.sinceMs;
      this.#waiting.delete(what);
      if (missedBy.length > 0 && ageMs < kernelLimits.believedSec * 1000) {
        const dueMs = now + Math.max(kernelLimits.repeatMs, ageMs / 8);
        this.#waiting.set(what, { ...repeat, missedBy, dueMs });
      }
      repeat.announce().catch(() => {
        if (!this.#waiting.has(what)) this.add(what, [], repeat.announce);
      });
    }
    if (this.#waiting.size === 0) this.#rest();
  }

  #rest(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}

interface Repeat {
  readonly missedBy: readonly Standing[];
  readonly announce: () => Promise<void>;
  readonly sinceMs: number;
  readonly dueMs: number;
}
