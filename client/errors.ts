import { type ErrnoName, errnoOf, FsError } from '../fs/errors.ts';
import { errnoOfStatus, type StatusName } from '../mds/protocol/index.ts';

/** What fails on this side of the wire. */
const localFaults = {
  /** The deadline passed. A request that changes something may still be carried out. */
  TIMEOUT: 'ETIMEDOUT',
  /** No address could be connected to. */
  UNREACHABLE: 'ECONNREFUSED',
  /** The client or the file was closed. */
  CLOSED: 'EBADF',
  /** The server gave up this client's state (its lease ended, it was fenced, the server restarted) and this call depended on it. */
  STATE_LOST: 'ESTALE',
  /** State is lost and layouts given to the program may still be in use: `Client.resume` says that they are not. */
  ENGINES_UNKNOWN: 'ESHUTDOWN',
  /** A layout of the program covers the range. */
  LAYOUT_HELD: 'EBUSY',
  /** The synchronous path would have to wait. */
  NOT_CACHED: 'EAGAIN',
  /** Too many calls wait already. */
  OVERLOAD: 'EAGAIN',
  /** The device here is not the one that the server speaks of, or not there. */
  NO_DEVICE: 'ENODEV',
  /** The server broke the protocol. */
  BAD_REPLY: 'EPROTO',
  /** Another filesystem answers at the address than before. */
  OTHER_FILESYSTEM: 'ESTALE',
  /** What was written and not synced is gone: with a restart of the server, a lease that ended, or a fence. Write again. */
  WRITE_LOST: 'EIO',
  /** Only direct access would do, and the message says why there is none. */
  NOT_DIRECT: 'EOPNOTSUPP',
  ARGUMENT: 'EINVAL',
  LOOP: 'ELOOP',
  TOO_LONG: 'ENAMETOOLONG',
  NOT_OPEN_FOR: 'EBADF',
} as const satisfies Record<string, ErrnoName>;

export type LocalFault = keyof typeof localFaults;
export type ClientStatus = StatusName | LocalFault;

export interface ClientErrorContext {
  /** The call as in node's fs errors: open, read, layoutget… */
  readonly syscall?: string;
  readonly path?: string;
}

/**
 * The one error of the client library. `status` is the protocol's name (RFC 8881 §15.1) or a name of this side;
 * `code` and `errno` are what node's own fs functions would give, so that callers treat both alike.
 */
export class ClientError extends Error {
  override readonly name = 'ClientError';
  readonly status: ClientStatus;
  readonly code: ErrnoName;
  readonly detail: string;
  readonly syscall: string | undefined;
  readonly path: string | undefined;

  constructor(
    status: ClientStatus,
    detail: string,
    options: ClientErrorContext & { readonly code?: ErrnoName; readonly cause?: unknown } = {},
  ) {
    const code = options.code ?? codeOf(status);
    const where = [options.syscall, options.path === undefined ? undefined : `'${options.path}'`].filter(Boolean);
    super(
      `${code}: ${status}: ${detail}${where.length === 0 ? '' : `, ${where.join(' ')}`}`,
      options.cause === undefined ? undefined : { cause: options.cause },
    );
    this.status = status;
    this.code = code;
    this.detail = detail;
    this.syscall = options.syscall;
    this.path = options.path;
  }

  /** Negative, as in node's errors. */
  get errno(): number {
    return -errnoOf(this.code);
  }
}

function codeOf(status: ClientStatus): ErrnoName {
  return isLocal(status) ? localFaults[status] : errnoOfStatus(status, null);
}

function isLocal(status: ClientStatus): status is LocalFault {
  return Object.hasOwn(localFaults, status);
}

/** The same error with the call and the path that the program knows. */
export function withContext(error: unknown, context: ClientErrorContext): unknown {
  if (error instanceof ClientError) {
    if (error.syscall !== undefined) return error;
    return new ClientError(error.status, error.detail, { ...context, code: error.code, cause: error });
  }
  if (error instanceof FsError) {
    const status = error.code === 'ENAMETOOLONG' ? 'TOO_LONG' : error.code === 'EINVAL' ? 'ARGUMENT' : 'NO_DEVICE';
    return new ClientError(status, error.message, { ...context, code: error.code, cause: error });
  }
  return error;
}

/** One error for attempts that all failed, which says what became of each: of the kind of the last. */
export function attempts(before: unknown, last: unknown): unknown {
  if (!(before instanceof ClientError && last instanceof ClientError)) return last;
  return new ClientError(last.status, `${before.detail}; ${last.detail}`, { code: last.code, cause: last });
}
