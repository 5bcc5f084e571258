/**
 * What the exerciser does: one system call each, as data that can be printed, left out and done again. Descriptors are
 * slots, so that a script without some of its operations still has a meaning: what needs an empty slot is passed over.
 * Paths are relative to the directory under test, as bytes in latin1.
 */
import type { AclName } from './acl.ts';
import type { Flag } from './flags.ts';

/** An operation for each of the names `Op`. */
type Call<Op extends string, Fields> = Op extends string ? { readonly op: Op } & Readonly<Fields> : never;

interface Slot {
  readonly slot: number;
}
interface Path {
  readonly path: string;
}
interface Range {
  readonly offset: number;
  readonly length: number;
}
/** Bytes to write are made from a number. */
interface Fill {
  readonly fill: number;
}

export type Operation =
  | Call<'open', Slot & Path & { flags: number; mode: number }>
  | Call<'tmpfile', Slot & Path & { mode: number }>
  | Call<'close' | 'fsync' | 'fdatasync' | 'syncfs' | 'fstat', Slot>
  | Call<'read', Slot & { length: number }>
  | Call<'pread' | 'mapRead', Slot & Range>
  | Call<'write', Slot & Fill & { length: number }>
  | Call<'pwrite' | 'mapWrite', Slot & Range & Fill>
  | Call<'map' | 'view', Slot & Range & { map: number }>
  | Call<'unmap' | 'peek', { map: number }>
  | Call<'poke', Fill & { map: number }>
  | Call<'lseek', Slot & { offset: number; whence: number }>
  | Call<'seekData' | 'seekHole', Slot & { offset: number }>
  | Call<'ftruncate', Slot & { size: number }>
  | Call<'truncate', Path & { size: number }>
  | Call<'fallocate', Slot & Range & { mode: FallocateMode }>
  | Call<'copy', Slot & Range & { to: number; toOffset: number }>
  | Call<'mkdir' | 'chmod', Path & { mode: number }>
  | Call<'rmdir' | 'unlink' | 'socket' | 'readlink' | 'stat' | 'lstat' | 'list' | 'listxattr', Path>
  | Call<'link' | 'symlink', Path & { to: string }>
  | Call<'linkSlot', Slot & { to: string }>
  | Call<'rename', Path & { to: string; flags: 0 | 1 | 2 }>
  | Call<'chown', Path & { uid: number; gid: number }>
  | Call<'utimens', Path & { atime: number; mtime: number }>
  | Call<'setxattr', Path & Fill & { name: string; length: number; flags: 0 | 1 | 2 }>
  | Call<'setAcl', Path & { name: AclName; acl: string }>
  | Call<'getxattr' | 'removexattr', Path & { name: string }>
  | Call<'snapshot' | 'unsnapshot', { name: string }>
  | Call<'cow', Path & { value: 'on' | 'off' }>
  | Call<'setQuota', Path & { blocks: number; inodes: number }>
  | Call<'removeQuota', Path>
  | Call<'setFlags', Path & { flag: Flag }>
  | Call<'remount' | 'crash', object>;

/** What goes by the metadata server, in its own time. */
export type PeerOperation = Extract<Operation, { op: 'setQuota' | 'removeQuota' }>;

/** The kernel hands no others to a FUSE filesystem (fuse_file_fallocate). */
export type FallocateMode = 'allocate' | 'keep' | 'punch' | 'zero' | 'zeroKeep';

/** What a call answers: an errno, a number, bytes, or lines of text. Undefined: passed over. */
export type Outcome = string | number | Buffer | readonly string[] | undefined;

export function isError(outcome: unknown): outcome is string {
  return typeof outcome === 'string';
}

export function isSame(a: Outcome, b: Outcome): boolean {
  if (Buffer.isBuffer(a)) return Buffer.isBuffer(b) && a.equals(b);
  if (Array.isArray(a)) return Array.isArray(b) && a.join('\n') === b.join('\n');
  return a === b;
}

/** Bytes to write: never zero, and each fill another pattern. */
export function pattern(length: number, fill: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let i = 0; i < length; i++) bytes[i] = 1 + ((fill + i * 7) % 255);
  return bytes;
}

/** One operation as a line of a script, and as a person reads it. */
export function printed(operation: Operation): string {
  return JSON.stringify(operation);
}
