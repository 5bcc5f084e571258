import { constants } from 'node:fs';
import { shareAccess } from '../mds/protocol/index.ts';
import { ClientError } from './errors.ts';
import type { Access } from './open-state.ts';

/** As node's file system flags, or the numbers of open(2). */
export type OpenFlags = keyof typeof named | number;

/** What a handle has to know of them. */
export type HandleFlags = Pick<ParsedFlags, 'append' | 'synchronous' | 'truncate'>;

export interface ParsedFlags {
  readonly access: Access;
  readonly create: boolean;
  readonly exclusive: boolean;
  readonly truncate: boolean;
  /** All writes go to the end, through the server: no layout makes that atomic. */
  readonly append: boolean;
  /** A write settles when it is durable (O_SYNC). */
  readonly synchronous: boolean;
  /** A symbolic link is not followed but LOOP. */
  readonly noFollow: boolean;
}

const { O_RDONLY, O_WRONLY, O_RDWR, O_ACCMODE, O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_SYNC, O_DSYNC } = {
  ...constants,
  O_ACCMODE: 3,
};

const named = {
  r: O_RDONLY,
  rs: O_RDONLY | O_SYNC,
  'r+': O_RDWR,
  'rs+': O_RDWR | O_SYNC,
  w: O_WRONLY | O_CREAT | O_TRUNC,
  wx: O_WRONLY | O_CREAT | O_TRUNC | O_EXCL,
  'w+': O_RDWR | O_CREAT | O_TRUNC,
  'wx+': O_RDWR | O_CREAT | O_TRUNC | O_EXCL,
  a: O_WRONLY | O_CREAT | O_APPEND,
  ax: O_WRONLY | O_CREAT | O_APPEND | O_EXCL,
  'a+': O_RDWR | O_CREAT | O_APPEND,
  'ax+': O_RDWR | O_CREAT | O_APPEND | O_EXCL,
  as: O_WRONLY | O_CREAT | O_APPEND | O_SYNC,
  'as+': O_RDWR | O_CREAT | O_APPEND | O_SYNC,
} as const;

/** Without a meaning here, and without harm: the library is asynchronous and direct, and keeps no descriptors. */
const ignored = constants.O_NOATIME | constants.O_NONBLOCK | constants.O_DIRECT | constants.O_NOCTTY | 0o2000000;
const known =
  O_ACCMODE | O_CREAT | O_EXCL | O_TRUNC | O_APPEND | O_SYNC | O_DSYNC | constants.O_NOFOLLOW | ignored | 0o100000;

/** @throws ClientError ARGUMENT */
export function parseFlags(flags: string | number): ParsedFlags {
  const bits = typeof flags === 'number' ? flags : bitsOf(flags);
  const access = accesses.get(bits & O_ACCMODE);
  if (!Number.isInteger(bits) || (bits & ~known) !== 0 || access === undefined) {
    throw new ClientError('ARGUMENT', `flags ${bits.toString(8)} (octal) of open(2)`);
  }
  const has = (bit: number): boolean => (bits & bit) !== 0;
  const exclusive = has(O_CREAT) && has(O_EXCL);
  return {
    access,
    create: has(O_CREAT),
    exclusive,
    // What was just made is empty.
    truncate: has(O_TRUNC) && !exclusive,
    append: has(O_APPEND),
    synchronous: has(O_SYNC) || has(O_DSYNC),
    noFollow: has(constants.O_NOFOLLOW),
  };
}

const accesses: ReadonlyMap<number, Access> = new Map([
  [O_RDONLY, shareAccess.read],
  [O_WRONLY, shareAccess.write],
  [O_RDWR, shareAccess.both],
]);

function bitsOf(flags: string): number {
  if (isName(flags)) return named[flags];
  throw new ClientError('ARGUMENT', `flags ${JSON.stringify(flags)}: one of ${Object.keys(named).join(', ')}`);
}

function isName(flags: string): flags is keyof typeof named {
  return Object.hasOwn(named, flags);
}
