/**
 * What most inodes and names look like, read where it lies in a quarter of the time of codec.ts. Whatever is unusual,
 * damage too, answers undefined and is codec.ts's to read, or to refuse.
 */
import type { Timespec } from '../vfs.ts';
import { isFileType, typeBits } from './file-types.ts';
import { NumberReader } from './number-reader.ts';
import type { DentryRecord, InodeRecord } from './records.ts';

const reader = new NumberReader();
const none = new Uint8Array(0);
/** Up to the time of birth; then parent, rdev, target and quota, dropped from the end. */
const inodeFields = 15;
const nanosecondsMax = 999_999_999;
/** The first position in a listing; before it are '.' and '..'. */
const cookieMin = 3;

export function quickInode(ino: number, bytes: Uint8Array, start: number, end: number): InodeRecord | undefined {
  const more = reader.begin(bytes, start, end) - inodeFields;
  if (more < 0 || more > 4) return undefined;
  const mode = reader.integer();
  const [uid, gid, nlink] = [reader.integer(), reader.integer(), reader.integer()];
  const [size, change, flags] = [reader.integer(), reader.integer(), reader.integer()];
  const mtime = time();
  const ctime = same(time(), mtime);
  const atime = same(time(), mtime);
  const btime = same(time(), atime);
  const parent = more > 0 ? reader.integer() : 0;
  const rdev = more > 1 ? reader.integer() : 0;
  const target = more > 2 ? reader.bytes() : none;
  const quota = more > 3 ? reader.integer() : 0;
  if (!reader.ended() || !isFileType(mode) || mode > 0o177777) return undefined;
  if (Math.max(mtime.nsec, ctime.nsec, atime.nsec, btime.nsec) > nanosecondsMax) return undefined;
  return { ino, mode, uid, gid, nlink, size, rdev, atime, mtime, ctime, btime, change, flags, parent, target, quota };
}

export function quickDentry(bytes: Uint8Array, start: number, end: number): DentryRecord | undefined {
  if (reader.begin(bytes, start, end) !== 3) return undefined;
  const [ino, type, cookie] = [reader.integer(), reader.integer(), reader.integer()];
  if (!reader.ended() || ino < 1 || !isFileType(type) || (type & ~typeBits) !== 0 || cookie < cookieMin)
    return undefined;
  return { ino, type, cookie };
}

function time(): Timespec {
  return { sec: reader.integer(), nsec: reader.integer() };
}

/** Times are mostly equal: one object for them, since inodes are kept by the hundred thousand. */
function same(one: Timespec, other: Timespec): Timespec {
  return one.sec === other.sec && one.nsec === other.nsec ? other : one;
}
