import { abortable, onAbort } from './abort.ts';
import { ClientError, type ClientErrorContext, withContext } from './errors.ts';

/** How long a caller waits. Either ends the wait: what the server was asked already still happens. */
export interface OperationOptions {
  /** The operation rejects with its reason. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Milliseconds for the whole operation, however many requests it takes; then it rejects with TIMEOUT. Without it only each
   * reply is waited for no longer than `connect` was told.
   */
  readonly timeoutMs?: number | undefined;
}

/** What ends an operation, as its parts are told: one signal for the caller's own and for the deadline. */
export interface Limits {
  readonly signal?: AbortSignal | undefined;
  /** Of the whole; no request of it needs more. */
  readonly timeoutMs?: number | undefined;
}

/** setTimeout of node takes no more. */
const timeoutMaxMs = 2 ** 31 - 1;

/**
 * Runs one call of the program: within its limits, and with its errors saying which call that was. When the limits end
 * it, its parts go on to a place where they can stop; `undo` takes back what they make then.
 * @throws ClientError ARGUMENT (timeoutMs), TIMEOUT; the signal's reason; what `work` throws
 */
export async function operation<T>(
  context: ClientErrorContext,
  options: OperationOptions | undefined,
  work: (limits: Limits) => Promise<T>,
  undo?: (made: T) => Promise<unknown>,
): Promise<T> {
  try {
    return await limited(options, work, undo);
  } catch (error) {
    throw withContext(error, context);
  }
}

async function limited<T>(
  { signal, timeoutMs }: OperationOptions = {},
  work: (limits: Limits) => Promise<T>,
  undo?: (made: T) => Promise<unknown>,
): Promise<T> {
  signal?.throwIfAborted();
  if (timeoutMs === undefined) return await abortable(work({ signal }), signal, undo);
  if (!(timeoutMs > 0 && timeoutMs <= timeoutMaxMs)) throw new ClientError('ARGUMENT', `timeoutMs ${timeoutMs}`);
  const ending = new AbortController();
  const forget = onAbort(signal, () => ending.abort(signal?.reason));
  const timer = setTimeout(
    () => ending.abort(new ClientError('TIMEOUT', `not done within ${timeoutMs} ms`)),
    timeoutMs,
  );
  try {
    return await abortable(work({ signal: ending.signal, timeoutMs }), ending.signal, undo);
  } finally {
    clearTimeout(timer);
    forget();
  }
}
