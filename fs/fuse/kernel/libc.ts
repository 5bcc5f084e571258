/**
 * The system calls of this driver. Addresses go as numbers (below 2^53 on every Linux), which is the cheapest argument
 * a foreign call takes: about 0.2 µs for the call itself.
 */
import { constants } from 'node:os';
import koffi from 'koffi';
import { type ErrnoName, FsError } from '../../errors.ts';

const library = koffi.load(null);

type Call<Args extends unknown[]> = {
  (...args: Args): number;
  async(...args: [...Args, (error: Error | null, result: number) => void]): void;
};

/** A function of the C library. koffi types it by `any`; the prototype is what makes the type true. */
export function declare<Args extends unknown[]>(prototype: string): Call<Args> {
  return library.func(prototype);
}

export const read = declare<[fd: number, address: number, length: number]>(
  'int64_t read(int fd, uintptr_t address, size_t length)',
);
export const write = declare<[fd: number, address: number, length: number]>(
  'int64_t write(int fd, uintptr_t address, size_t length)',
);
export const writev = declare<[fd: number, iovecs: number, count: number]>(
  'int64_t writev(int fd, uintptr_t iovecs, int count)',
);
/** write(2) of a copy of the bytes: for calls off the main thread. */
export const writeBytes = declare<[fd: number, bytes: Uint8Array, length: number]>(
  'int64_t write(int fd, const void *bytes, size_t length)',
);
const mountCall = declare<[source: string, target: string, type: string, flags: number, data: string]>(
  'int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)',
);
const umountCall = declare<[target: string, flags: number]>('int umount2(const char *target, int flags)');

/** errno of the call just before, which must have failed. */
export function lastErrno(): number {
  return koffi.errno();
}

/** Where the bytes are; they must stay referenced while the address is used. */
export function addressOf(bytes: Uint8Array): bigint {
  return koffi.address(bytes);
}

/** mount(2), off the main thread: the path may lead through a filesystem that this very thread serves. */
export function mount(source: string, target: string, type: string, flags: number, data: string): Promise<void> {
  return new Promise((resolve, reject) => {
    mountCall.async(source, target, type, flags, data, settle('mount', target, resolve, reject));
  });
}

/** umount2(2), off the main thread: the kernel asks the filesystem things meanwhile. */
export function umount(target: string, flags: number): Promise<void> {
  return new Promise((resolve, reject) => {
    umountCall.async(target, flags, settle('umount', target, resolve, reject));
  });
}

export const mountFlag = {
  readOnly: 1,
  noSuid: 2,
  noDev: 4,
  noExec: 8,
  synchronous: 16,
  remount: 32,
  dirSync: 128,
  noAtime: 1024,
  noDirAtime: 2048,
  relAtime: 1 << 21,
  strictAtime: 1 << 24,
  lazyTime: 1 << 25,
} as const;
export const umountFlag = { detach: 2, noFollow: 8 } as const;

function settle(op: string, path: string, resolve: () => void, reject: (error: unknown) => void) {
  return (error: Error | null, result: number): void => {
    if (error !== null) reject(error);
    else if (result === 0) resolve();
    else reject(systemError(lastErrno(), op, path));
  };
}

/** The error of a failed call. */
export function systemError(errno: number, op: string, path: string): FsError {
  const found = Object.entries(constants.errno).find(([, number]) => number === errno);
  return new FsError(found === undefined ? 'EIO' : asErrnoName(found[0]), { op, path });
}

function asErrnoName(name: string): ErrnoName {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a key of the table that ErrnoName is made of
  return name as ErrnoName;
}
