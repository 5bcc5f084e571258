import type { Context } from './context.ts';

/** Whether `done` was fulfilled within `ms`; rejects as it does if it does within them. */
export function within(done: Promise<void>, ms: number, { after }: Pick<Context, 'after'>): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const cancelTimer = after(ms, () => resolve(false));
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
