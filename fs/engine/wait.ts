/**
 * Waiting without holding anything (I4). An operation is one synchronous function: it checks, and where it has to wait
 * it throws a Wait before its first change. The runner awaits it and starts the operation again from the top, as Linux
 * breaks layouts: drop everything, wait, take everything again, look again (fs/xfs/xfs_file.c, xfs_break_layouts).
 */
import { FsError } from '../errors.ts';
import { limits } from '../limits.ts';
import { cancellable } from '../reply.ts';
import type { Caller, Reply } from '../vfs.ts';

/** Thrown by an operation that has changed nothing yet. `release` is called once the operation is over. */
export class Wait {
  readonly until: Promise<unknown>;
  readonly release: (() => void) | undefined;

  constructor(until: Promise<unknown>, release?: () => void) {
    this.until = until;
    this.release = release;
  }
}

/** For layouts to be returned. */
export class LayoutWait extends Wait {}

const cancelled = Symbol('cancelled');

/**
 * Runs `operation` for `by`, at once if it need not wait. While it waits it can be cancelled (reply.ts).
 * @throws FsError EAGAIN after limits.operationRestartsMax restarts, and where the caller has no place to wait for layouts in
 *   (Caller.places); EINTR (cancelled)
 */
export function run<T>(operation: () => T, by?: Pick<Caller, 'places' | 'client'>): Reply<T> {
  try {
    return operation();
  } catch (error) {
    if (error instanceof Wait) return runAgain(operation, error, by);
    throw error;
  }
}

/** @throws FsError EAGAIN */
export function requirePlace(by: Pick<Caller, 'places' | 'client'> | undefined): void {
  if (by?.places?.isFull !== true) return;
  throw new FsError('EAGAIN', { client: by.client, detail: 'layouts are being recalled, and all slots are taken' });
}

function runAgain<T>(operation: () => T, first: Wait, by: Pick<Caller, 'places' | 'client'> | undefined): Promise<T> {
  let end = nothing;
  const ended = new Promise<typeof cancelled>((resolve) => {
    end = () => resolve(cancelled);
  });
  return cancellable(restart(operation, first, ended, by), () => {
    end();
    return true;
  });
}

async function restart<T>(
  operation: () => T,
  first: Wait,
  ended: Promise<typeof cancelled>,
  by: Pick<Caller, 'places' | 'client'> | undefined,
): Promise<T> {
  const held: Wait[] = [];
  let wait = first;
  try {
    for (let restarts = 0; restarts < limits.operationRestartsMax; restarts++) {
      held.push(wait);
      if (wait instanceof LayoutWait) requirePlace(by);
      if ((await Promise.race([wait.until, ended])) === cancelled) throw new FsError('EINTR');
      try {
        return operation();
      } catch (error) {
        if (!(error instanceof Wait)) throw error;
        wait = error;
      }
    }
    held.push(wait);
    throw new FsError('EAGAIN', { detail: `gave up after ${limits.operationRestartsMax} restarts` });
  } finally {
    for (const each of held) each.release?.();
  }
}

function nothing(): void {}
