import { setMaxListeners } from 'node:events';

/**
 * Calls `aborted` once when the signal says so; the result takes that back. Any number of calls may share a signal, so
 * node's warning about many listeners is off for it.
 */
export function onAbort(signal: AbortSignal | undefined, aborted: () => void): () => void {
  if (signal === undefined) return () => {};
  setMaxListeners(0, signal);
  signal.addEventListener('abort', aborted, { once: true });
  return () => signal.removeEventListener('abort', aborted);
}

/**
 * Settles with `work`, or rejects with the signal's reason first; the work itself goes on. What it makes then nobody
 * gets: `undo` takes it back.
 */
export function abortable<T>(
  work: Promise<T>,
  signal: AbortSignal | undefined,
  undo?: (made: T) => Promise<unknown>,
): Promise<T> {
  if (signal === undefined) return work;
  return new Promise((resolve, reject) => {
    let isAborted = signal.aborted;
    const forget = onAbort(signal, () => {
      isAborted = true;
      reject(signal.reason);
    });
    if (isAborted) reject(signal.reason);
    work
      .then((made) => {
        if (isAborted) return undo?.(made);
        resolve(made);
        return undefined;
      }, reject)
      .catch(() => {
        // Nobody waits for it: the end of the session takes back what could not be.
      })
      .finally(forget);
  });
}
