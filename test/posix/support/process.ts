/** A process of its own for system calls (actor.ts), and the calls as functions: a result, or the name of the errno. */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Order, Reply } from './actor.ts';
import { AT_FDCWD, AT_SYMLINK_NOFOLLOW, F_GETLEASE, F_SETFL, F_SETLEASE } from './constants.ts';
import type { Identity } from './identity.ts';
import { type Argument, type CallName, cString, type Errno } from './libc.ts';
import {
  type Dirent,
  decodeDirents,
  decodeLock,
  decodeNames,
  decodeStatfs,
  decodeStatx,
  encodeLock,
  encodeTimes,
  type Lock,
  type Stat,
  type StatFs,
  statfsSize,
  statxSize,
  type Time,
} from './structs.ts';

const program = fileURLToPath(new URL('./actor.ts', import.meta.url));
const typescript = fileURLToPath(new URL('../../support/typescript.mjs', import.meta.url));

/** What the call answers, or the errno it fails with. */
export type Result<T = number> = Promise<T | Errno>;
export type Path = string | Uint8Array;

/** On every architecture: system calls newer than 5.1 have one number. */
const openat2Number = 437;

/** MAX_HANDLE_SZ */
const handleMax = 128;

/** STATX_BASIC_STATS and STATX_BTIME. */
const statxAll = 0xfff;
const statxMode = 2;

export class Process {
  readonly #child: ChildProcess;
  readonly #answers: { resolve(reply: Reply): void; reject(error: Error): void }[] = [];

  private constructor(child: ChildProcess) {
    this.#child = child;
    child.on('message', (reply: Reply) => this.#answers.shift()?.resolve(reply));
    child.once('exit', (code, signal) => {
      const error = new Error(`the process that makes system calls ended with ${signal ?? code}`);
      for (const waiting of this.#answers.splice(0)) waiting.reject(error);
    });
  }

  static async start(): Promise<Process> {
    const child = fork(program, { execArgv: ['--import', typescript], serialization: 'advanced', stdio: 'inherit' });
    const process = new Process(child);
    await process.#next();
    return process;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get isAlive(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  as(identity: Identity): Caller {
    return new Caller(this, identity);
  }

  async order(order: Order): Promise<Reply> {
    const answer = this.#next();
    this.#child.send(order);
    return answer;
  }

  /** Ends it, wherever it is. */
  async end(signal: 'SIGTERM' | 'SIGKILL' = 'SIGKILL'): Promise<void> {
    if (!this.isAlive) return;
    const gone = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.kill(signal);
    await gone;
  }

  #next(): Promise<Reply> {
    return new Promise((resolve, reject) => this.#answers.push({ resolve, reject }));
  }
}

/** System calls of one user in one process. Paths are absolute, descriptors are the process's. */
export class Caller {
  readonly #process: Process;
  readonly identity: Identity;

  constructor(process: Process, identity: Identity) {
    this.#process = process;
    this.identity = identity;
  }

  /** The same process as somebody else, or with another umask. */
  with(changes: Partial<Identity>): Caller {
    return new Caller(this.#process, { ...this.identity, ...changes });
  }

  access = (path: Path, mode: number) => this.#call('access', path, mode);
  bind = (fd: number, address: Uint8Array) => this.#call('bind', fd, address, address.length);
  chmod = (path: Path, mode: number) => this.#call('chmod', path, mode);
  chown = (path: Path, uid: number, gid: number) => this.#call('chown', path, uid >>> 0, gid >>> 0);
  chdir = (path: Path) => this.#call('chdir', path);
  chroot = (path: Path) => this.#call('chroot', path);
  close = (fd: number) => this.#call('close', fd);
  creat = (path: Path, mode: number) => this.#call('creat', path, mode);
  dup = (fd: number) => this.#call('dup', fd);
  faccessat = (path: Path, mode: number, flags: number) => this.#call('faccessat', AT_FDCWD, path, mode, flags);
  fallocate = (fd: number, mode: number, offset: number, length: number) =>
    this.#call('fallocate', fd, mode, offset, length);
  fchdir = (fd: number) => this.#call('fchdir', fd);
  fchmod = (fd: number, mode: number) => this.#call('fchmod', fd, mode);
  fchown = (fd: number, uid: number, gid: number) => this.#call('fchown', fd, uid >>> 0, gid >>> 0);
  fdatasync = (fd: number) => this.#call('fdatasync', fd);
  flock = (fd: number, operation: number) => this.#call('flock', fd, operation);
  fsync = (fd: number) => this.#call('fsync', fd);
  ftruncate = (fd: number, length: number) => this.#call('ftruncate', fd, length);
  inotify = (flags: number) => this.#call('inotify_init1', flags);
  watch = (fd: number, path: Path, mask: number) => this.#call('inotify_add_watch', fd, path, mask);
  lchown = (path: Path, uid: number, gid: number) => this.#call('lchown', path, uid >>> 0, gid >>> 0);
  link = (path: Path, to: Path) => this.#call('link', path, to);
  linkat = (dirfd: number, path: Path, to: Path, flags: number) =>
    this.#call('linkat', dirfd, path, AT_FDCWD, to, flags);
  lseek = (fd: number, offset: number, whence: number) => this.#call('lseek', fd, offset, whence);
  mkdir = (path: Path, mode: number) => this.#call('mkdir', path, mode);
  mknod = (path: Path, mode: number, device = 0) => this.#call('mknod', path, mode, device);
  msync = (address: number, length: number, flags: number) => this.#call('msync', address, length, flags);
  munmap = (address: number, length: number) => this.#call('munmap', address, length);
  mmap = (length: number, protection: number, flags: number, fd: number, offset = 0) =>
    this.#call('mmap', null, length, protection, flags, fd, offset);
  open = (path: Path, flags: number, mode = 0) => this.#call('open', path, flags, mode);
  openat = (dirfd: number, path: Path, flags: number, mode = 0) => this.#call('openat', dirfd, path, flags, mode);
  openByHandle = (mountFd: number, handle: Uint8Array, flags: number) =>
    this.#call('open_by_handle_at', mountFd, handle, flags);
  posixFadvise = (fd: number, offset: number, length: number, advice: number) =>
    this.#call('posix_fadvise', fd, offset, length, advice);
  posixFallocate = (fd: number, offset: number, length: number) => this.#call('posix_fallocate', fd, offset, length);
  /** Vectors as encodeVectors makes them. */
  preadv2 = (fd: number, vectors: Uint8Array, offset: number, flags: number) =>
    this.#call('preadv2', fd, vectors, vectors.length / 16, offset, flags);
  pwritev2 = (fd: number, vectors: Uint8Array, offset: number, flags: number) =>
    this.#call('pwritev2', fd, vectors, vectors.length / 16, offset, flags);
  pwrite = (fd: number, data: Uint8Array | string, offset: number) =>
    this.#call('pwrite', fd, bytesOf(data), bytesOf(data).length, offset);
  rename = (path: Path, to: Path) => this.#call('rename', path, to);
  renameat2 = (path: Path, to: Path, flags: number) => this.#call('renameat2', AT_FDCWD, path, AT_FDCWD, to, flags);
  rmdir = (path: Path) => this.#call('rmdir', path);
  sendfile = (to: number, from: number, count: number) => this.#call('sendfile', to, from, null, count);
  socket = (domain: number, type: number) => this.#call('socket', domain, type, 0);
  splice = (from: number, fromOffset: number | undefined, to: number, toOffset: number | undefined, length: number) =>
    this.#call('splice', from, offsetOf(fromOffset), to, offsetOf(toOffset), length, 0);
  symlink = (target: Path, path: Path) => this.#call('symlink', target, path);
  syncFileRange = (fd: number, offset: number, length: number, flags: number) =>
    this.#call('sync_file_range', fd, offset, length, flags);
  syncfs = (fd: number) => this.#call('syncfs', fd);
  truncate = (path: Path, length: number) => this.#call('truncate', path, length);
  unlink = (path: Path) => this.#call('unlink', path);
  unlinkat = (dirfd: number, path: Path, flags: number) => this.#call('unlinkat', dirfd, path, flags);
  write = (fd: number, data: Uint8Array | string) => this.#call('write', fd, bytesOf(data), bytesOf(data).length);

  chmodat = (path: Path, mode: number, flags: number) => this.#call('fchmodat', AT_FDCWD, path, mode, flags);
  utimens = (path: Path, atime: Time, mtime: Time, flags = 0) =>
    this.#call('utimensat', AT_FDCWD, path, encodeTimes(atime, mtime), flags);
  /** utimensat(2) with no times: now. */
  touch = (path: Path) => this.#call('utimensat', AT_FDCWD, path, null, 0);
  futimens = (fd: number, atime: Time, mtime: Time) => this.#call('futimens', fd, encodeTimes(atime, mtime));

  setxattr = (path: Path, name: string, value: Uint8Array | string, flags = 0) =>
    this.#call('setxattr', path, cString(name), bytesOf(value), bytesOf(value).length, flags);
  lsetxattr = (path: Path, name: string, value: Uint8Array | string, flags = 0) =>
    this.#call('lsetxattr', path, cString(name), bytesOf(value), bytesOf(value).length, flags);
  fsetxattr = (fd: number, name: string, value: Uint8Array | string, flags = 0) =>
    this.#call('fsetxattr', fd, cString(name), bytesOf(value), bytesOf(value).length, flags);
  removexattr = (path: Path, name: string) => this.#call('removexattr', path, cString(name));
  lremovexattr = (path: Path, name: string) => this.#call('lremovexattr', path, cString(name));

  /** The value, at most `size` bytes. */
  getxattr = (path: Path, name: string, size = 65_536): Result<Buffer> =>
    this.#filled('getxattr', 2, path, cString(name), Buffer.alloc(size), size);
  lgetxattr = (path: Path, name: string, size = 65_536): Result<Buffer> =>
    this.#filled('lgetxattr', 2, path, cString(name), Buffer.alloc(size), size);
  /** Size 0 asks for the length alone. */
  getxattrLength = (path: Path, name: string) => this.#call('getxattr', path, cString(name), null, 0);
  listxattrLength = (path: Path) => this.#call('listxattr', path, null, 0);
  listxattr = async (path: Path, size = 65_536): Result<string[]> =>
    mapped(await this.#filled('listxattr', 1, path, Buffer.alloc(size), size), decodeNames);

  /** ioctl(2) with a structure, which the call may change. */
  ioctl = async (fd: number, request: number, argument: Uint8Array): Result<Buffer> => {
    const { errno, bytes } = await this.#raw('ioctl', 2, [fd, request, argument]);
    return errno ?? bytes;
  };

  pread = (fd: number, length: number, offset: number): Result<Buffer> =>
    this.#filled('pread', 1, fd, Buffer.alloc(length), length, offset);
  read = (fd: number, length: number): Result<Buffer> => this.#filled('read', 1, fd, Buffer.alloc(length), length);
  readlink = (path: Path, size = 4096): Result<Buffer> => this.#filled('readlink', 1, path, Buffer.alloc(size), size);
  getcwd = async (): Result<string> => {
    const { errno, bytes } = await this.#raw('getcwd', 0, [Buffer.alloc(4096), 4096]);
    return errno ?? bytes.toString('utf8', 0, bytes.indexOf(0));
  };
  /** openat2(2), which the C library has no function for. */
  openat2 = (dirfd: number, path: Path, flags: number, resolve: number, mode = 0) => {
    const how = Buffer.alloc(24);
    [flags, mode, resolve].forEach((value, i) => how.writeBigUInt64LE(BigInt(value), i * 8));
    return this.#call('syscall', openat2Number, dirfd, path, how, how.length);
  };
  /** Both ends: to read from, to write to. */
  pipe = async (flags: number): Result<readonly [number, number]> => {
    const { errno, bytes } = await this.#raw('pipe2', 0, [Buffer.alloc(8), flags]);
    return errno ?? [bytes.readInt32LE(0), bytes.readInt32LE(4)];
  };
  /** One call of getdents64(2); no entries are the end. */
  getdents = async (fd: number, size = 32_768): Result<Dirent[]> =>
    mapped(await this.#filled('getdents64', 1, fd, Buffer.alloc(size), size), decodeDirents);

  copyFileRange = (
    from: number,
    fromOffset: number | undefined,
    to: number,
    toOffset: number | undefined,
    length: number,
    flags = 0,
  ) => this.#call('copy_file_range', from, offsetOf(fromOffset), to, offsetOf(toOffset), length, flags);

  /** struct file_handle, whole. */
  nameToHandle = async (path: Path, flags: number): Result<Buffer> => {
    const handle = Buffer.alloc(8 + handleMax);
    handle.writeUInt32LE(handleMax, 0);
    const { errno, bytes } = await this.#raw('name_to_handle_at', 2, [AT_FDCWD, path, handle, Buffer.alloc(8), flags]);
    return errno ?? bytes;
  };

  /** Through symbolic links. */
  stat = (path: Path): Result<Stat> => this.#statx(AT_FDCWD, path, 0);
  lstat = (path: Path): Result<Stat> => this.#statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW);
  /** The mode alone, as `stat -c %a` asks: no other attribute makes the kernel look again. */
  mode = async (path: Path): Result => {
    const stat = await this.#statx(AT_FDCWD, path, 0, statxMode);
    return typeof stat === 'string' ? stat : stat.mode;
  };
  fstat = (fd: number): Result<Stat> => this.#statx(fd, '', 0x1000);
  statfs = async (path: Path): Result<StatFs> => {
    const { errno, bytes } = await this.#raw('statfs', 1, [path, Buffer.alloc(statfsSize)]);
    return errno ?? decodeStatfs(bytes);
  };

  lease = (fd: number, type: number) => this.#call('fcntl', fd, F_SETLEASE, type);
  getLease = (fd: number) => this.#call('fcntl', fd, F_GETLEASE, null);
  /** fcntl(2) F_SETFL: O_APPEND, O_DIRECT, O_NOATIME and O_NONBLOCK of an open file. */
  setFlags = (fd: number, flags: number) => this.#call('fcntl', fd, F_SETFL, flags);
  /** fcntl(2) with F_SETLK, F_SETLKW or their open-file-description kin. */
  setLock = (fd: number, command: number, lock: Lock) => this.#call('fcntl', fd, command, encodeLock(lock));
  /** fcntl(2) F_GETLK: the lock in the way of this one. */
  getLock = async (fd: number, command: number, lock: Lock): Result<Lock> => {
    const { errno, bytes } = await this.#raw('fcntl', 2, [fd, command, encodeLock(lock)]);
    return errno ?? decodeLock(bytes);
  };

  /** Bytes in memory, of a mapping. */
  async peek(address: number, length: number): Promise<Buffer> {
    return Buffer.from((await this.#process.order({ order: 'peek', address, length })).bytes ?? []);
  }

  async poke(address: number, bytes: Uint8Array | string): Promise<void> {
    await this.#process.order({ order: 'poke', address, bytes: bytesOf(bytes) });
  }

  async #statx(dirfd: number, path: Path, flags: number, mask = statxAll): Result<Stat> {
    const { errno, bytes } = await this.#raw('statx', 4, [dirfd, path, flags, mask, Buffer.alloc(statxSize)]);
    return errno ?? decodeStatx(bytes);
  }

  async #call(name: CallName, ...args: readonly (Argument | string)[]): Result {
    const { result, errno } = await this.#raw(name, undefined, args);
    return errno ?? Number(result);
  }

  /** What the call wrote to argument `out`, as much as it says. */
  async #filled(name: CallName, out: number, ...args: readonly (Argument | string)[]): Result<Buffer> {
    const { result, errno, bytes } = await this.#raw(name, out, args);
    return errno ?? bytes.subarray(0, Number(result));
  }

  async #raw(name: CallName, out: number | undefined, args: readonly (Argument | string)[]) {
    const raw = args.map((arg) => (typeof arg === 'string' ? cString(arg) : arg));
    const reply = await this.#process.order({ order: 'call', as: this.identity, name, args: raw, out });
    return { ...reply, bytes: Buffer.from(reply.bytes ?? []) };
  }
}

/** The result of a call that has to succeed. */
export async function must<T>(result: Result<T>): Promise<Exclude<T, string>> {
  const value = await result;
  if (typeof value === 'string') throw new Error(`a call that has to succeed failed with ${value}`);
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- not a string, as the line above has found
  return value as Exclude<T, string>;
}

function mapped<T extends object, U>(value: T | Errno, map: (value: T) => U): U | Errno {
  return typeof value === 'string' ? value : map(value);
}

function bytesOf(data: Uint8Array | string): Uint8Array {
  return typeof data === 'string' ? Buffer.from(data) : data;
}

function offsetOf(offset: number | undefined): Uint8Array | null {
  if (offset === undefined) return null;
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64LE(BigInt(offset));
  return bytes;
}
