import type Fuse from 'fuse-native';
import { FsError } from '../../errors.ts';
import type { Attr, SetAttr, Timespec } from '../../vfs.ts';
import { bytesOf, type Mount, requireXattr } from './operations.ts';
import { serve } from './requests.ts';

/**
 * The operations that fuse-native 2.2.6 gets wrong, done on its inner seam: the `_op_*` methods, which get the raw
 * arguments and the raw signal. Each says what it heals. The package is pinned, and is not developed any more.
 */
export function remedy(fuse: Fuse, mount: Mount): void {
  healGetattr(fuse, mount);
  healUtimens(fuse, mount);
  healXattrs(fuse, mount);
}

/** The library turns 0 links into 1 and serves fgetattr by the path, which an unlinked file no longer has. */
function healGetattr(fuse: Fuse, { vfs, caller, names, files }: Mount): void {
  fuse._op_getattr = (signal, path) =>
    serve(
      () => names.attr(path),
      (attr) => signal(0, statInts(attr)),
      (result) => signal(result, noStat),
    );
  fuse._op_fgetattr = (signal, _path, fd) =>
    serve(
      async () => vfs.getattr(files.get(fd).ino, caller),
      (attr) => signal(0, statInts(attr)),
      (result) => signal(result, noStat),
    );
}

/** Where utimens' arguments lie in fuse_thread_locals_t on a 64-bit machine (fuse-native.c, "Data structures"). */
const requestFields = { opcode: 8, atimeMs: 104, mtimeMs: 112 } as const;
const opUtimens = 12;

/**
 * The C side hands over atime twice and mtime not at all. But the request itself comes along, as the buffer that holds
 * fuse_thread_locals_t, and mtime is in there. The buffer is believed only if its opcode and its atime are the ones
 * that were handed over. Milliseconds are all there is; the rest of the nanoseconds is lost in C already.
 */
function healUtimens(fuse: Fuse, { vfs, caller, names }: Mount): void {
  let current: Buffer | undefined;
  const inner = fuse._handlers[opUtimens];
  if (inner === undefined) throw new FsError('ENOSYS', { op: 'mount', detail: 'fuse-native has no utimens handler' });
  fuse._handlers[opUtimens] = (request, opcode, ...args) => {
    current = request; // calls _op_utimens before it returns
    inner(request, opcode, ...args);
  };
  fuse._op_utimens = (signal, path, atimeLow = 0, atimeHigh = 0) => {
    const changes = timesOf(current, BigInt(atimeHigh) * 2n ** 32n + BigInt(atimeLow));
    serve(
      async () => vfs.setattr(await names.ino(path), changes, caller),
      () => signal(0),
      (result) => signal(result),
    );
  };
}

/**
 * Both times if the request can be read. Otherwise only atime: an mtime that stays the time of the last write makes
 * some tool copy a file once more, but a wrong one makes it overlook a change.
 */
function timesOf(request: Buffer | undefined, atimeMs: bigint): SetAttr {
  const atime = timespec(BigInt.asIntN(64, atimeMs));
  const { opcode, atimeMs: atimeAt, mtimeMs: mtimeAt } = requestFields;
  if (request === undefined || request.length < mtimeAt + 8) return { atime };
  if (request.readUInt32LE(opcode) !== opUtimens || request.readBigUInt64LE(atimeAt) !== atimeMs) return { atime };
  return { atime, mtime: timespec(request.readBigInt64LE(mtimeAt)) };
}

/**
 * The library answers more bytes than the caller has room for, and libfuse then reads past its buffer: ERANGE here, as
 * getxattr(2) and listxattr(2) want it.
 */
function healXattrs(fuse: Fuse, { vfs, caller, names }: Mount): void {
  fuse._op_getxattr = (signal, path, name, target) =>
    serve(
      async () => {
        requireXattr(name);
        return fill(target, await vfs.getxattr(await names.ino(path), bytesOf(name), caller), path);
      },
      (length) => signal(length, target.buffer),
      (result) => signal(result, target.buffer),
    );
  fuse._op_listxattr = (signal, path, target) =>
    serve(
      async () => {
        const list = await vfs.listxattr(await names.ino(path), caller);
        return fill(target, Buffer.from(list.map((name) => `${name}\0`).join(''), 'latin1'), path);
      },
      (length) => signal(length, target.buffer),
      (result) => signal(result, target.buffer),
    );
}

/** The length of `value`, which lies in `target` then; an empty target only asks for the length. @throws FsError ERANGE */
function fill(target: Uint8Array, value: Uint8Array, path: string): number {
  if (target.length > 0) {
    if (value.length > target.length) throw new FsError('ERANGE', { path });
    target.set(value);
  }
  return value.length;
}

const noStat = new Uint32Array(18);
const blockSize = 4096;

/** struct stat as populate_stat in fuse-native.c reads it: 32 bits a field, two for sizes and for times in ms. */
function statInts(attr: Attr): Uint32Array {
  const ints = new Uint32Array(18);
  ints[0] = attr.mode;
  ints[1] = attr.uid;
  ints[2] = attr.gid;
  setTwo(ints, 3, attr.size);
  ints[6] = attr.nlink;
  ints[7] = attr.ino;
  ints[8] = attr.rdev;
  ints[9] = blockSize;
  setTwo(ints, 10, attr.blocks);
  setTwo(ints, 12, milliseconds(attr.atime));
  setTwo(ints, 14, milliseconds(attr.mtime));
  setTwo(ints, 16, milliseconds(attr.ctime));
  return ints;
}

function setTwo(ints: Uint32Array, at: number, value: number): void {
  ints[at] = value % 2 ** 32;
  ints[at + 1] = Math.floor(value / 2 ** 32);
}

/** Times before 1970 are shown as 1970: the C side divides them as unsigned numbers. */
function milliseconds(time: Timespec): number {
  return Math.max(0, time.sec * 1000 + Math.floor(time.nsec / 1_000_000));
}

function timespec(ms: bigint): Timespec {
  const sec = Math.floor(Number(ms) / 1000);
  return { sec, nsec: (Number(ms) - sec * 1000) * 1_000_000 };
}
