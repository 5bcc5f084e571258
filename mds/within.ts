import type { Clock } from './clock.ts';

/** Whether `done` was fulfilled within `ms`; rejects as it does if it does within them. */
export function within(done: Promise<void>, ms: number, time: Pick<Clock, 'after'>): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const cancelTimer = time.after(ms, () => resolve(false));
    done.then(
      () => {
        cancelTimer();
        resolve(true);
      },
      (error: unknown) => {
        cancelTimer();
        reject(error);
      },
    );
  });
}
