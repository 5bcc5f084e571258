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

/** The one error of the filesystem: an errno with its context. */
export class FsError extends Error {
  override readonly name = 'FsError';
  readonly code: ErrnoName;
  readonly context: ErrorContext;

  constructor(code: ErrnoName, context: ErrorContext = {}, cause?: unknown) {
    super(describe(code, context), cause === undefined ? undefined : { cause });
    this.code = code;
    this.context = context;
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
