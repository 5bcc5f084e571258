/** Structures of system calls, to and from bytes (64-bit little-endian Linux). */

/** Nanoseconds since 1970. */
export type Nanoseconds = bigint;

/** struct statx (statx(2)). */
export interface Stat {
  readonly mask: number;
  readonly blockSize: number;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  readonly mode: number;
  readonly ino: number;
  readonly size: number;
  /** Of 512 bytes. */
  readonly blocks: number;
  readonly atime: Nanoseconds;
  readonly btime: Nanoseconds;
  readonly ctime: Nanoseconds;
  readonly mtime: Nanoseconds;
  readonly rdev: { readonly major: number; readonly minor: number };
  readonly device: string;
}

export const statxSize = 256;

export function decodeStatx(b: Buffer): Stat {
  return {
    mask: b.readUInt32LE(0),
    blockSize: b.readUInt32LE(4),
    nlink: b.readUInt32LE(16),
    uid: b.readUInt32LE(20),
    gid: b.readUInt32LE(24),
    mode: b.readUInt16LE(28),
    ino: Number(b.readBigUInt64LE(32)),
    size: Number(b.readBigUInt64LE(40)),
    blocks: Number(b.readBigUInt64LE(48)),
    atime: timeAt(b, 64),
    btime: timeAt(b, 80),
    ctime: timeAt(b, 96),
    mtime: timeAt(b, 112),
    rdev: { major: b.readUInt32LE(128), minor: b.readUInt32LE(132) },
    device: `${b.readUInt32LE(136)}:${b.readUInt32LE(140)}`,
  };
}

function timeAt(b: Buffer, at: number): Nanoseconds {
  return b.readBigInt64LE(at) * 1_000_000_000n + BigInt(b.readUInt32LE(at + 8));
}

/** One time of utimensat(2): nanoseconds since 1970, or UTIME_NOW or UTIME_OMIT in place of the nanoseconds. */
export type Time = Nanoseconds | { readonly nsec: number };

/** struct timespec[2]. */
export function encodeTimes(atime: Time, mtime: Time): Buffer {
  const b = Buffer.alloc(32);
  [atime, mtime].forEach((time, i) => {
    if (typeof time !== 'bigint') {
      b.writeBigInt64LE(BigInt(time.nsec), 16 * i + 8);
      return;
    }
    const nsec = BigInt.asUintN(64, ((time % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n);
    b.writeBigInt64LE((time - nsec) / 1_000_000_000n, 16 * i);
    b.writeBigInt64LE(nsec, 16 * i + 8);
  });
  return b;
}

/** struct statfs (statfs(2)). */
export interface StatFs {
  readonly type: number;
  readonly blockSize: number;
  readonly blocks: number;
  readonly free: number;
  readonly available: number;
  readonly files: number;
  readonly filesFree: number;
  readonly nameMax: number;
}

export const statfsSize = 120;

export function decodeStatfs(b: Buffer): StatFs {
  const at = (index: number): number => Number(b.readBigInt64LE(index * 8));
  return {
    type: at(0),
    blockSize: at(1),
    blocks: at(2),
    free: at(3),
    available: at(4),
    files: at(5),
    filesFree: at(6),
    nameMax: at(8),
  };
}

/** struct iovec[] (readv(2)). */
export function encodeVectors(parts: readonly { readonly address: number; readonly length: number }[]): Buffer {
  const b = Buffer.alloc(16 * parts.length);
  for (const [i, { address, length }] of parts.entries()) {
    b.writeBigUInt64LE(BigInt(address), 16 * i);
    b.writeBigInt64LE(BigInt(length), 16 * i + 8);
  }
  return b;
}

/** struct inotify_event (inotify(7)). */
export interface WatchEvent {
  readonly mask: number;
  readonly name: string;
}

export function decodeEvents(b: Buffer): WatchEvent[] {
  const events: WatchEvent[] = [];
  for (let at = 0; at < b.length; ) {
    const length = b.readUInt32LE(at + 12);
    const name = b.toString('utf8', at + 16, at + 16 + length);
    events.push({ mask: b.readUInt32LE(at + 4), name: name.replace(/\0+$/, '') });
    at += 16 + length;
  }
  return events;
}

/** struct flock (fcntl(2)). */
export interface Lock {
  readonly type: number;
  readonly start: number;
  readonly length: number;
  readonly pid?: number;
}

export function encodeLock(lock: Lock): Buffer {
  const b = Buffer.alloc(32);
  b.writeInt16LE(lock.type, 0);
  b.writeBigInt64LE(BigInt(lock.start), 8);
  b.writeBigInt64LE(BigInt(lock.length), 16);
  return b;
}

export function decodeLock(b: Buffer): Lock {
  return {
    type: b.readInt16LE(0),
    start: Number(b.readBigInt64LE(8)),
    length: Number(b.readBigInt64LE(16)),
    pid: b.readInt32LE(24),
  };
}

/** struct linux_dirent64 (getdents(2)). */
export interface Dirent {
  readonly ino: number;
  /** Where a listing goes on after this entry. */
  readonly offset: number;
  /** DT_*: the type bits of st_mode, shifted by 12. */
  readonly type: number;
  readonly name: string;
}

export function decodeDirents(b: Buffer, encoding: 'utf8' | 'latin1' = 'utf8'): Dirent[] {
  const entries: Dirent[] = [];
  for (let at = 0; at < b.length; ) {
    const length = b.readUInt16LE(at + 16);
    const name = b.subarray(at + 19, at + length);
    entries.push({
      ino: Number(b.readBigUInt64LE(at)),
      offset: Number(b.readBigInt64LE(at + 8)),
      type: b[at + 18] ?? 0,
      name: name.subarray(0, name.indexOf(0)).toString(encoding),
    });
    at += length;
  }
  return entries;
}

/** Names of listxattr(2), each with its NUL. */
export function decodeNames(b: Buffer): string[] {
  return b.toString('latin1').split('\0').slice(0, -1);
}

/** glibc's dev_t. */
export function makedev(major: number, minor: number): number {
  return ((minor & 0xff) | ((major & 0xfff) << 8) | (((minor & 0xfffff00) << 12) >>> 0)) >>> 0;
}
