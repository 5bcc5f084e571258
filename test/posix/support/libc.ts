/**
 * System calls as the C library has them, by raw arguments: what a test hands over is what the kernel gets. Paths and
 * structures are bytes; a call answers its result, and the errno where that is -1.
 */
import { constants } from 'node:os';
import koffi from 'koffi';

const library = koffi.load(null);

type Raw = (...args: readonly Argument[]) => number | bigint;

/** Bytes go as a pointer to themselves, null as the null pointer. */
export type Argument = number | bigint | Uint8Array | null;

export type Errno = keyof typeof constants.errno;

export interface Answer {
  readonly result: number | bigint;
  /** Undefined where the call succeeded. */
  readonly errno: Errno | undefined;
}

const prototypes = {
  access: 'int access(const void *path, int mode)',
  bind: 'int bind(int fd, const void *address, uint32_t length)',
  chdir: 'int chdir(const void *path)',
  chroot: 'int chroot(const void *path)',
  creat: 'int creat(const void *path, uint32_t mode)',
  chmod: 'int chmod(const void *path, uint32_t mode)',
  chown: 'int chown(const void *path, uint32_t uid, uint32_t gid)',
  close: 'int close(int fd)',
  copy_file_range:
    'int64_t copy_file_range(int from, void *fromOffset, int to, void *toOffset, size_t length, unsigned int flags)',
  dup: 'int dup(int fd)',
  faccessat: 'int faccessat(int dirfd, const void *path, int mode, int flags)',
  fallocate: 'int fallocate(int fd, int mode, int64_t offset, int64_t length)',
  fchmod: 'int fchmod(int fd, uint32_t mode)',
  fchmodat: 'int fchmodat(int dirfd, const void *path, uint32_t mode, int flags)',
  fchown: 'int fchown(int fd, uint32_t uid, uint32_t gid)',
  fcntl: 'int fcntl(int fd, int command, void *argument)',
  fchdir: 'int fchdir(int fd)',
  fdatasync: 'int fdatasync(int fd)',
  fgetxattr: 'int64_t fgetxattr(int fd, const void *name, void *value, size_t size)',
  flock: 'int flock(int fd, int operation)',
  fsetxattr: 'int fsetxattr(int fd, const void *name, const void *value, size_t size, int flags)',
  fstatfs: 'int fstatfs(int fd, void *buffer)',
  fsync: 'int fsync(int fd)',
  ftruncate: 'int ftruncate(int fd, int64_t length)',
  futimens: 'int futimens(int fd, const void *times)',
  getcwd: 'uintptr_t getcwd(void *buffer, size_t size)',
  getdents64: 'int64_t getdents64(int fd, void *buffer, size_t size)',
  getxattr: 'int64_t getxattr(const void *path, const void *name, void *value, size_t size)',
  ioctl: 'int ioctl(int fd, unsigned long request, void *argument)',
  inotify_add_watch: 'int inotify_add_watch(int fd, const void *path, uint32_t mask)',
  inotify_init1: 'int inotify_init1(int flags)',
  lchown: 'int lchown(const void *path, uint32_t uid, uint32_t gid)',
  lgetxattr: 'int64_t lgetxattr(const void *path, const void *name, void *value, size_t size)',
  link: 'int link(const void *path, const void *to)',
  linkat: 'int linkat(int dirfd, const void *path, int toDirfd, const void *to, int flags)',
  listxattr: 'int64_t listxattr(const void *path, void *list, size_t size)',
  llistxattr: 'int64_t llistxattr(const void *path, void *list, size_t size)',
  lremovexattr: 'int lremovexattr(const void *path, const void *name)',
  lseek: 'int64_t lseek(int fd, int64_t offset, int whence)',
  lsetxattr: 'int lsetxattr(const void *path, const void *name, const void *value, size_t size, int flags)',
  mkdir: 'int mkdir(const void *path, uint32_t mode)',
  mknod: 'int mknod(const void *path, uint32_t mode, uint64_t device)',
  mmap: 'uintptr_t mmap(void *address, size_t length, int protection, int flags, int fd, int64_t offset)',
  msync: 'int msync(uintptr_t address, size_t length, int flags)',
  munmap: 'int munmap(uintptr_t address, size_t length)',
  name_to_handle_at: 'int name_to_handle_at(int dirfd, const void *path, void *handle, void *mountId, int flags)',
  open: 'int open(const void *path, int flags, uint32_t mode)',
  open_by_handle_at: 'int open_by_handle_at(int mountFd, void *handle, int flags)',
  openat: 'int openat(int dirfd, const void *path, int flags, uint32_t mode)',
  pipe2: 'int pipe2(void *fds, int flags)',
  posix_fadvise: 'int posix_fadvise(int fd, int64_t offset, int64_t length, int advice)',
  posix_fallocate: 'int posix_fallocate(int fd, int64_t offset, int64_t length)',
  pread: 'int64_t pread(int fd, void *buffer, size_t length, int64_t offset)',
  preadv2: 'int64_t preadv2(int fd, const void *vectors, int count, int64_t offset, int flags)',
  pwrite: 'int64_t pwrite(int fd, const void *buffer, size_t length, int64_t offset)',
  pwritev2: 'int64_t pwritev2(int fd, const void *vectors, int count, int64_t offset, int flags)',
  read: 'int64_t read(int fd, void *buffer, size_t length)',
  readlink: 'int64_t readlink(const void *path, void *buffer, size_t size)',
  removexattr: 'int removexattr(const void *path, const void *name)',
  rename: 'int rename(const void *path, const void *to)',
  renameat2: 'int renameat2(int dirfd, const void *path, int toDirfd, const void *to, unsigned int flags)',
  rmdir: 'int rmdir(const void *path)',
  sendfile: 'int64_t sendfile(int to, int from, void *offset, size_t count)',
  setxattr: 'int setxattr(const void *path, const void *name, const void *value, size_t size, int flags)',
  socket: 'int socket(int domain, int type, int protocol)',
  splice: 'int64_t splice(int from, void *fromOffset, int to, void *toOffset, size_t length, unsigned int flags)',
  statfs: 'int statfs(const void *path, void *buffer)',
  statx: 'int statx(int dirfd, const void *path, int flags, unsigned int mask, void *buffer)',
  symlink: 'int symlink(const void *target, const void *path)',
  sync_file_range: 'int sync_file_range(int fd, int64_t offset, int64_t length, unsigned int flags)',
  syncfs: 'int syncfs(int fd)',
  syscall: 'long syscall(long number, int dirfd, const void *path, const void *how, size_t size)',
  truncate: 'int truncate(const void *path, int64_t length)',
  umask: 'uint32_t umask(uint32_t mask)',
  unlink: 'int unlink(const void *path)',
  unlinkat: 'int unlinkat(int dirfd, const void *path, int flags)',
  utimensat: 'int utimensat(int dirfd, const void *path, const void *times, int flags)',
  write: 'int64_t write(int fd, const void *buffer, size_t length)',
} as const;

export type CallName = keyof typeof prototypes;

const loaded = new Map<CallName, Raw>();

/** Makes the call on this thread. Results beyond 2^53 (addresses, never) come as bigint. */
export function invoke(name: CallName, args: readonly Argument[]): Answer {
  let call = loaded.get(name);
  if (call === undefined) {
    const made: Raw = library.func(prototypes[name]);
    loaded.set(name, made);
    call = made;
  }
  const result = call(...args);
  // posix_fallocate and posix_fadvise answer their error instead of -1; MAP_FAILED is -1 as well.
  if (name === 'getcwd' && BigInt(result) === 0n) return { result, errno: errnoName(koffi.errno()) };
  if (name === 'posix_fallocate' || name === 'posix_fadvise')
    return { result, errno: result === 0 ? undefined : errnoName(Number(result)) };
  const failed = result === -1 || BigInt.asIntN(64, BigInt(result)) === -1n;
  return { result, errno: failed ? errnoName(koffi.errno()) : undefined };
}

/** A path or name as the kernel takes it. */
export function cString(text: string | Uint8Array): Buffer {
  return Buffer.concat([typeof text === 'string' ? Buffer.from(text) : text, Buffer.of(0)]);
}

const memcpyOut: (to: Uint8Array, from: number | bigint, length: number) => unknown = library.func(
  'void *memcpy(void *to, uintptr_t from, size_t length)',
);
const memcpyIn: (to: number | bigint, from: Uint8Array, length: number) => unknown = library.func(
  'void *memcpy(uintptr_t to, const void *from, size_t length)',
);

/** Bytes at an address that mmap answered. */
export function peek(address: number | bigint, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  if (length > 0) memcpyOut(bytes, address, length);
  return bytes;
}

export function poke(address: number | bigint, bytes: Uint8Array): void {
  if (bytes.length > 0) memcpyIn(address, bytes, bytes.length);
}

const names = new Map(Object.entries(constants.errno).map(([name, number]) => [number, name]));
// One number with two names: those of the manual pages.
names.set(constants.errno.EAGAIN, 'EAGAIN');
names.set(constants.errno.EOPNOTSUPP, 'EOPNOTSUPP');

function errnoName(number: number): Errno {
  const name = names.get(number);
  if (name === undefined) throw new Error(`errno ${number}`);
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a key of the table that Errno is made of
  return name as Errno;
}
