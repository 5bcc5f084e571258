import { type ErrnoName, FsError } from '../../fs/errors.ts';
import { cancel, cancellable } from '../../fs/reply.ts';
import type { Caller } from '../../fs/vfs.ts';
import type { Operation } from '../../mds/protocol/index.ts';
import { abortable } from '../abort.ts';
import { ClientError } from '../errors.ts';
import type { Session } from '../session.ts';
import { credentialsOf } from './credentials.ts';

/** What an operation of the kernel asks of the server, for whoever made the system call. */
export class UserRequests {
  readonly #session: Session;

  constructor(session: Session) {
    this.#session = session;
  }

  /**
   * Can be cancelled: whoever asked is dying then, and what the server was asked still happens. `late` gets the results
   * of what happened so. Rejects with FsError.
   */
  ask<A extends unknown[], R>(
    operation: Operation<A, R>,
    args: A,
    by: Caller | undefined,
    stateful = false,
    late?: (results: R) => void,
  ): Promise<R> {
    const end = new AbortController();
    const credentials = by === undefined ? undefined : credentialsOf(by);
    const reply = this.#session.call(operation, args, { signal: end.signal, credentials, stateful }, late);
    return cancellable(reply.catch(fail), () => {
      end.abort(new FsError('EINTR'));
      return true;
    });
  }
}

/**
 * Work of several steps for a caller who may be killed: then nobody waits for it any more, and it goes on to its end.
 * `late` gets what it came to.
 */
export function killable<T>(work: Promise<T>, late?: (value: T) => void): Promise<T> {
  const end = new AbortController();
  return cancellable(abortable(work, end.signal), () => {
    end.abort(new FsError('EINTR'));
    void work.then(late, () => {});
    return true;
  });
}

/** What `reply` answers, or undefined where it fails with one of `codes`. */
export function unless<T>(reply: Promise<T>, ...codes: readonly ErrnoName[]): Promise<T | undefined> {
  const replied = reply.catch((error: unknown) => {
    if (error instanceof FsError && codes.includes(error.code)) return undefined;
    throw error;
  });
  return cancellable(replied, () => cancel(reply));
}

/** As the kernel is told. @throws FsError */
export function fail(error: unknown): never {
  throw errorForKernel(error);
}

/**
 * ESTALE would make the kernel do a whole path again, also what may have happened already: only the server says it, of
 * inodes that are gone.
 */
export function errorForKernel(error: unknown): unknown {
  if (!(error instanceof ClientError)) return error;
  const isFate = error.status === 'STATE_LOST' || error.status === 'UNREACHABLE' || error.status === 'CLOSED';
  return new FsError(isFate ? 'EIO' : error.code, { detail: `${error.status}: ${error.detail}` }, error);
}
