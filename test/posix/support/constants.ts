/** Numbers of Linux that node does not name (x86-64 and arm64 alike). */
import { constants } from 'node:fs';

const { O_RDONLY, O_WRONLY, O_RDWR, O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_DIRECT, O_DIRECTORY, O_NOFOLLOW } = constants;

export { O_APPEND, O_CREAT, O_DIRECT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY };
export const O_CLOEXEC = 0o2000000;
export const O_NONBLOCK = 0o4000;
export const O_DSYNC = 0o10000;
export const O_NOATIME = 0o1000000;
export const O_PATH = 0o10000000;
export const O_TMPFILE = 0o20000000 | O_DIRECTORY;

export const AT_FDCWD = -100;
export const AT_SYMLINK_NOFOLLOW = 0x100;
export const AT_REMOVEDIR = 0x200;
/** faccessat(2): as the effective user. */
export const AT_EACCESS = 0x200;
export const AT_SYMLINK_FOLLOW = 0x400;
export const AT_EMPTY_PATH = 0x1000;

export const S_IFMT = constants.S_IFMT;
export const S_IFREG = constants.S_IFREG;
export const S_IFDIR = constants.S_IFDIR;
export const S_IFLNK = constants.S_IFLNK;
export const S_IFIFO = constants.S_IFIFO;
export const S_IFSOCK = constants.S_IFSOCK;
export const S_IFCHR = constants.S_IFCHR;
export const S_IFBLK = constants.S_IFBLK;

export const RENAME_NOREPLACE = 1;
export const RENAME_EXCHANGE = 2;
export const RENAME_WHITEOUT = 4;

export const FALLOC_KEEP_SIZE = 1;
export const FALLOC_PUNCH_HOLE = 2;
export const FALLOC_COLLAPSE_RANGE = 8;
export const FALLOC_ZERO_RANGE = 16;
export const FALLOC_INSERT_RANGE = 32;

export const RWF_DSYNC = 2;
export const RWF_NOWAIT = 8;
export const RWF_APPEND = 16;

export const IN_ACCESS = 1;
export const IN_MODIFY = 2;
export const IN_ATTRIB = 4;
export const IN_MOVED_FROM = 0x40;
export const IN_MOVED_TO = 0x80;
export const IN_CREATE = 0x100;
export const IN_DELETE = 0x200;

export const RESOLVE_NO_XDEV = 1;
export const RESOLVE_NO_SYMLINKS = 4;
export const RESOLVE_BENEATH = 8;
export const RESOLVE_IN_ROOT = 16;

export const SEEK_SET = 0;
export const SEEK_CUR = 1;
export const SEEK_END = 2;
export const SEEK_DATA = 3;
export const SEEK_HOLE = 4;

export const XATTR_CREATE = 1;
export const XATTR_REPLACE = 2;

export const UTIME_NOW = (1 << 30) - 1;
export const UTIME_OMIT = (1 << 30) - 2;

export const LOCK_SH = 1;
export const LOCK_EX = 2;
export const LOCK_NB = 4;
export const LOCK_UN = 8;

export const F_SETFL = 4;
export const F_GETLK = 5;
export const F_SETLK = 6;
export const F_SETLKW = 7;
export const F_OFD_SETLK = 37;
export const F_SETLEASE = 1024;
export const F_GETLEASE = 1025;
export const F_RDLCK = 0;
export const F_WRLCK = 1;
export const F_UNLCK = 2;

export const PROT_READ = 1;
export const PROT_WRITE = 2;
export const MAP_SHARED = 1;
export const MAP_PRIVATE = 2;
export const MAP_ANONYMOUS = 32;
export const MS_ASYNC = 1;
export const MS_SYNC = 4;

/** PATH_MAX and NAME_MAX of limits.h; a path's end counts. */
export const PATH_MAX = 4096;
export const NAME_MAX = 255;
