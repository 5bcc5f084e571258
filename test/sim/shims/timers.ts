/** `node:timers/promises` in virtual time. */
import { loop } from '../loop.ts';

export function setTimeout<T>(
  ms = 0,
  value?: T,
  options: { readonly signal?: AbortSignal } = {},
): Promise<T | undefined> {
  const { signal } = options;
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) return reject(signal.reason);
    const aborted = (): void => {
      scheduled.cancel();
      reject(signal?.reason);
    };
    const scheduled = loop().after(ms, () => {
      signal?.removeEventListener('abort', aborted);
      resolve(value);
    });
    signal?.addEventListener('abort', aborted, { once: true });
  });
}
