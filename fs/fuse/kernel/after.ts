import type { Reply } from '../../vfs.ts';

/** Runs `then` on the value, at once where it is there. */
export function after<T, U>(reply: Reply<T>, then: (value: T) => Reply<U>): Reply<U> {
  return reply instanceof Promise ? reply.then(then) : then(reply);
}
