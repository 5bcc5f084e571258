/**
 * Replies that come later: what to do then, and giving them up. An operation that waits has changed nothing yet
 * (engine/wait.ts), so it may end right there. Only promises of such operations can be cancelled: what is answered at
 * once pays nothing for it.
 */
import type { Reply } from './vfs.ts';

const ends = new WeakMap<Promise<unknown>, () => boolean>();

/** `end` makes `reply` reject with EINTR, or answers false: not now. Answers the reply. */
export function cancellable<T>(reply: Promise<T>, end: () => boolean): Promise<T> {
  ends.set(reply, end);
  return reply;
}

/** True: what answered `reply` ends with EINTR, and nothing changed, unless it has got through by now. */
export function cancel(reply: Promise<unknown>): boolean {
  return ends.get(reply)?.() ?? false;
}

/** What `work` answers; where it fails, now or later, what `otherwise` makes of the error. */
export function recover<T>(work: () => Reply<T>, otherwise: (error: unknown) => Reply<T>): Reply<T> {
  let reply: Reply<T>;
  try {
    reply = work();
  } catch (error) {
    return otherwise(error);
  }
  return reply instanceof Promise ? reply.catch(otherwise) : reply;
}

/** Runs `then` on the value, at once where it is there. What is under way of the two is what can be cancelled. */
export function after<T, U>(reply: Reply<T>, then: (value: T) => Reply<U>): Reply<U> {
  if (!(reply instanceof Promise)) return then(reply);
  let current: Reply<unknown> = reply;
  const both = reply.then((value) => {
    const next = then(value);
    current = next;
    return next;
  });
  return cancellable(both, () => current instanceof Promise && cancel(current));
}
