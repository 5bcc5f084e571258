/** setxattr(2) and getxattr(2), which node lacks, on the path itself and not through a symbolic link. */
import { declare, lastErrno, systemError } from '../../fs/fuse/kernel/libc.ts';

const lsetxattr = declare<[path: string, name: string, value: Uint8Array, size: number, flags: number]>(
  'int lsetxattr(const char *path, const char *name, const void *value, size_t size, int flags)',
);
const lgetxattr = declare<[path: string, name: string, value: Uint8Array, size: number]>(
  'int64_t lgetxattr(const char *path, const char *name, void *value, size_t size)',
);

/** @throws FsError as setxattr(2) */
export function setXattr(path: string, name: string, value: string): void {
  const bytes = Buffer.from(value);
  if (lsetxattr(path, name, bytes, bytes.length, 0) !== 0) throw systemError(lastErrno(), 'setxattr', path);
}

/** At most `size` bytes. @throws FsError as getxattr(2) */
export function getXattr(path: string, name: string, size = 256): string {
  const bytes = Buffer.alloc(size);
  const length = lgetxattr(path, name, bytes, size);
  if (length < 0) throw systemError(lastErrno(), 'getxattr', path);
  return bytes.toString('utf8', 0, length);
}
