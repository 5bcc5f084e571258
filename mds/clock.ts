/** Time as the server sees it; tests and simulations bring their own. */
export interface Clock {
  /** Milliseconds that never go back. */
  now(): number;
  /** Runs `task` once after `ms`; the answer cancels it. */
  after(ms: number, task: () => void): () => void;
}

/** setTimeout runs at once what is due later than this. */
const timeoutMax = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => performance.now(),
  after(ms, task) {
    const timer = setTimeout(task, Math.min(Math.max(ms, 0), timeoutMax));
    timer.unref();
    return () => clearTimeout(timer);
  },
};
