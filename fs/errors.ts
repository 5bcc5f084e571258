import { constants } from 'node:os';

/** Names of POSIX errors as `errno(3)` gives them. */
export type ErrnoName = keyof typeof constants.errno | 'ENOATTR' | 'EUCLEAN' | 'ESHUTDOWN' | 'EKEYEXPIRED';

/** Linux numbers; the first four are missing in node's own table (include/uapi/asm-generic/errno.h). */
const numbers: Readonly<Record<ErrnoName, number>> = {
  ENOATTR: 61,
  EUCLEAN: 117,
  ESHUTDOWN: 108,
  EKEYEXPIRED: 127,
  ...constants.errno,
};

/** What an error is about: the operation, the file, the bytes of it, and who asked. */
export interface ErrorContext {
  readonly op?: string;
  readonly path?: string;
  readonly ino?: number;
  readonly name?: string;
  /** Byte offset and length within the file or the device. */
  readonly range?: { readonly offset: number; readonly length: number };
  readonly client?: number;
  /** A sentence for people: what was found and what to do. */
  readonly detail?: string;
}

/** Codes that say that something is broken: of these one wants to know where. */
const faults: ReadonlySet<ErrnoName> = new Set(['EIO', 'EUCLEAN', 'EPROTO', 'ESHUTDOWN']);

/**
 * The one error of the filesystem: an errno with its context. Most are answers, and common ones (a name that is not
 * there): so the trace is taken of faults alone, which costs ten times as much as all the rest, and the message is made
 * for whoever reads it.
 */
export class FsError extends Error {
  readonly code: ErrnoName;
  readonly context: ErrorContext;

  constructor(code: ErrnoName, context: ErrorContext = {}, cause?: unknown) {
    const { stackTraceLimit } = Error;
    if (!faults.has(code)) Error.stackTraceLimit = 0;
    super(undefined, cause === undefined ? undefined : { cause });
    Error.stackTraceLimit = stackTraceLimit;
    this.code = code;
    this.context = context;
  }

  override get name(): string {
    return 'FsError';
  }

  override get message(): string {
    return describe(this.code, this.context);
  }

  /** The positive errno number of Linux. */
  get errno(): number {
    return errnoOf(this.code);
  }
}

/** The positive Linux number of an errno name. */
export function errnoOf(code: ErrnoName): number {
  return numbers[code];
}

/** A failed assertion: the program is wrong, not its input. Stays on in production. */
export class AssertionFailure extends Error {
  override readonly name = 'AssertionFailure';
}

export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionFailure(message);
}

function describe(code: ErrnoName, c: ErrorContext): string {
  const parts: string[] = [];
  if (c.op !== undefined) parts.push(c.op);
  if (c.path !== undefined) parts.push(c.path);
  if (c.ino !== undefined) parts.push(`inode ${c.ino}`);
  if (c.name !== undefined) parts.push(`name ${JSON.stringify(c.name)}`);
  if (c.range !== undefined) parts.push(`bytes ${c.range.offset}+${c.range.length}`);
  if (c.client !== undefined) parts.push(`client ${c.client}`);
  if (c.detail !== undefined) parts.push(c.detail);
  return parts.length === 0 ? code : `${code}: ${parts.join(', ')}`;
}
