/** The system calls that node lacks. The one module with a foreign function interface. */
import { constants } from 'node:os';
import { errno, type KoffiFunc, type LibraryHandle, load, view } from 'koffi';
import { assert, type ErrnoName, type ErrorContext, FsError } from '../errors.ts';

// include/uapi/asm-generic/mman-common.h and mman.h, the same on every architecture that node runs on
const PROT_READ = 1;
const PROT_WRITE = 2;
const MAP_SHARED = 0x01;
const MAP_PRIVATE = 0x02;
const MAP_FIXED = 0x10;
const MAP_ANONYMOUS = 0x20;
const MAP_NORESERVE = 0x4000;
const MAP_FAILED = 2n ** 64n - 1n;
const MADV_DONTFORK = 10;
const MS_SYNC = 4;
// include/uapi/asm-generic/fcntl.h
const LOCK_EX = 2;
const LOCK_NB = 4;

/** Longest memory that node 20 can take as one ArrayBuffer; one byte more aborts the process. */
const viewMax = 2 ** 32;

type Mmap = (at: bigint | null, length: number, prot: number, flags: number, fd: number, offset: number) => bigint;

const libc = load(null);
const mmap: KoffiFunc<Mmap> = libc.func(
  'void *mmap(void *addr, size_t length, int prot, int flags, int fd, int64_t offset)',
);
const munmap: KoffiFunc<(address: bigint, length: number) => number> = libc.func(
  'int munmap(void *addr, size_t length)',
);
const madvise: KoffiFunc<(address: bigint, length: number, advice: number) => number> = libc.func(
  'int madvise(void *addr, size_t length, int advice)',
);
const msync: KoffiFunc<(address: bigint, length: number, flags: number) => number> = libc.func(
  'int msync(void *addr, size_t length, int flags)',
);
const flock: KoffiFunc<(fd: number, operation: number) => number> = libc.func('int flock(int fd, int operation)');

/** Memory of a file in this process. */
export interface Mapping {
  readonly address: bigint;
  readonly buffer: ArrayBuffer;
}

/**
 * Maps `length` bytes of a file from `offset`, shared with everybody who maps it. No child process inherits it: with this
 * process goes the last way to the memory that it had, which is what ends its layouts (docs/fencing.md).
 * @throws FsError with mmap(2)'s errno
 */
export function mapShared(fd: number, offset: number, length: number, writable: boolean, about: ErrorContext): Mapping {
  assert(length > 0 && length <= viewMax, `mapping of ${length} bytes`);
  const address = mmap(null, length, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, offset);
  if (address === MAP_FAILED) throw new FsError(lastError(), { ...about, op: 'mmap', range: { offset, length } });
  if (madvise(address, length, MADV_DONTFORK) !== 0) {
    const code = lastError();
    munmap(address, length);
    throw new FsError(code, { ...about, op: 'madvise', range: { offset, length } });
  }
  return { address, buffer: view(address, length) };
}

/** Memory that stands in for a mapping given up is given back once nobody can reach it any more. */
const forgotten = new FinalizationRegistry<{ readonly address: bigint; readonly length: number }>(
  ({ address, length }) => munmap(address, length),
);

/**
 * Gives up a mapping. JavaScript may still hold views of it, which nothing can take back (node 20 cannot detach them):
 * anonymous memory takes its place, so that a late access reads zeros instead of killing the process.
 */
export function unmap({ address, buffer }: Mapping): void {
  const length = buffer.byteLength;
  const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE;
  const replaced = mmap(address, length, PROT_READ | PROT_WRITE, flags, -1, 0);
  if (replaced === address) forgotten.register(buffer, { address, length });
  else munmap(address, length);
}

/**
 * Writes a page-aligned range of a mapping to its file, off the event loop.
 * @throws FsError EIO: msync(2)'s other errors are wrong arguments, and its errno stays in the thread that called it
 */
export function syncMapping(address: bigint, length: number, about: ErrorContext): Promise<void> {
  return new Promise((resolve, reject) => {
    msync.async(address, length, MS_SYNC, (failure: unknown, result) => {
      if (failure === null && result === 0) resolve();
      else reject(new FsError('EIO', { ...about, op: 'msync' }, failure ?? undefined));
    });
  });
}

/** Takes the exclusive lock of an open file; false when another open of it has it. @throws FsError with flock(2)'s errno */
export function tryLock(fd: number, about: ErrorContext): boolean {
  if (flock(fd, LOCK_EX | LOCK_NB) === 0) return true;
  const code = lastError();
  if (code === 'EWOULDBLOCK' || code === 'EAGAIN') return false;
  throw new FsError(code, { ...about, op: 'flock' });
}

type FlushRange = (address: bigint, length: number) => void;
let pmemPersist: FlushRange | undefined;

/**
 * libpmem's write-back of CPU caches and fence, for memory that no msync reaches (device-dax has no fsync method).
 * @returns undefined where libpmem is not installed
 */
export function cacheFlush(): FlushRange | undefined {
  if (pmemPersist === undefined) {
    let libpmem: LibraryHandle;
    try {
      libpmem = load('libpmem.so.1');
    } catch {
      return undefined;
    }
    const persist: KoffiFunc<FlushRange> = libpmem.func('void pmem_persist(void *addr, size_t len)');
    pmemPersist = persist;
  }
  return pmemPersist;
}

const errnoNames = new Map<number, ErrnoName>();
for (const name of Object.keys(constants.errno)) {
  if (isErrnoName(name)) errnoNames.set(constants.errno[name], name);
}

function isErrnoName(name: string): name is keyof typeof constants.errno {
  return name in constants.errno;
}

function lastError(): ErrnoName {
  return errnoNames.get(errno()) ?? 'EIO';
}
