/**
 * The seam between the front ends (FUSE drivers, the MDS) and a filesystem (the local engine, a remote one).
 *
 * Inode numbers instead of paths, the caller with every call, nanoseconds, names of any bytes. An operation answers
 * at once where it can (`T`), or later where it has to wait for a layout, for durability or for the network
 * (`Promise<T>`); it throws, or rejects with, FsError.
 */
import type { Name } from './name.ts';

export type Reply<T> = T | Promise<T>;

/** Who asks. Groups hold the primary gid too. */
export interface Caller {
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
  readonly pid: number;
  /** `kernel`: the mount runs with default_permissions, so access was checked already and is not checked again. */
  readonly access: 'kernel' | 'engine';
  /**
   * Taken from the mode of what is created, unless the directory has a default access control list (umask(2), acl(5)).
   * Absent: already taken. Only for a Vfs that `hasAcls`.
   */
  readonly umask?: number;
  /** When reads mark the time of access (mount(8)): strictatime, noatime, or relatime where absent. */
  readonly atime?: 'always' | 'never' | undefined;
  /** The MDS client on whose behalf this runs; its own layouts do not stand in the way of its own writes. */
  readonly client?: number;
  /**
   * Where its requests have places. While they are all taken this one is not kept waiting for layouts, but fails with EAGAIN:
   * else what it waits for might find no place to be returned from.
   */
  readonly places?: { readonly isFull: boolean };
}

/** Seconds (may be negative: before 1970) and nanoseconds 0..999999999. */
export interface Timespec {
  readonly sec: number;
  readonly nsec: number;
}

/** stat(2), with st_mode holding the type bits as well. */
export interface Attr {
  readonly ino: number;
  readonly mode: number;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  readonly rdev: number;
  readonly size: number;
  /** Allocated space in units of 512 bytes. */
  readonly blocks: number;
  readonly atime: Timespec;
  readonly mtime: Timespec;
  readonly ctime: Timespec;
  readonly btime: Timespec;
  /** Grows with every change of data or attributes (RFC 8881 §5.8.1.4, change attribute). */
  readonly change: number;
}

/** What setattr may change; absent is left alone. `mode` takes permission bits 07777 only. */
export interface SetAttr {
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly size?: number;
  readonly atime?: Timespec | 'now';
  readonly mtime?: Timespec | 'now';
}

/** A directory entry; `cookie` continues a listing after this entry and stays valid while entries come and go. */
export interface DirEntry {
  readonly name: Name | '.' | '..';
  readonly ino: number;
  /** Type bits of st_mode (S_IFMT). */
  readonly type: number;
  readonly cookie: number;
}

/** An entry with the attributes of what it names; none for '.', '..' and what went away meanwhile. */
export interface DirEntryPlus {
  readonly entry: DirEntry;
  readonly attr: Attr | undefined;
}

/** One extent of a file, in bytes. Holes are not listed. */
export interface MappedExtent {
  readonly offset: number;
  readonly length: number;
  readonly device: number;
  readonly storageOffset: number;
  readonly busAddress: bigint;
  readonly unwritten: boolean;
  /** Files that map these blocks. */
  readonly shares: number;
}

export interface StatFs {
  readonly blockSize: number;
  readonly blocks: number;
  readonly blocksFree: number;
  readonly blocksAvailable: number;
  readonly files: number;
  readonly filesFree: number;
  readonly nameMax: number;
}

declare const handleBrand: unique symbol;
/** An open file or directory of one Vfs; ends with release. */
export type Handle = number & { readonly [handleBrand]: true };

/** fallocate(2): `allocate` keeps or grows the size; the others leave it, but collapse and insert move what follows. */
export type FallocateMode =
  | 'allocate'
  | 'allocate-keep-size'
  | 'punch'
  | 'zero'
  | 'zero-keep-size'
  | 'collapse'
  | 'insert';

/**
 * Where a write goes: as the handle was opened, or to the offset whatever O_APPEND says: fcntl(2) F_SETFL changes that
 * later, and the kernel writes pages of shared mappings back through any handle.
 */
export type WritePlace = 'as-opened' | 'offset';

/** renameat2(2); 'whiteout' replaces and leaves a character device 0:0 under the old name, for overlayfs. */
export type RenameMode = 'replace' | 'noreplace' | 'exchange' | 'whiteout' | 'noreplace-whiteout';

export interface Vfs {
  readonly rootIno: number;
  /** Keeps POSIX access control lists, follows them and hands them down (acl(5)); the kernel then leaves that to it. */
  readonly hasAcls?: boolean;

  /** Whoever writes a file, it loses set-user-ID, set-group-ID and capabilities below this seam, with the first write (inode(7)). */
  readonly takesPrivileges?: boolean;

  /** Peers store to it at any time without a word: nothing of its content is kept in a cache. Absent: of no file. */
  isPinned?(ino: number): boolean;
  /** The attributes of the inode are made from those of another one, and change with them. Absent: of none. */
  mirrors?(ino: number): boolean;
  lookup(parent: number, name: Name | '.' | '..', by: Caller): Reply<Attr>;
  /**
   * As lookup, but undefined where there is no such name: programs ask for what is not there as often as for what is, and
   * an error costs as much as the whole answer.
   */
  find(parent: number, name: Name | '.' | '..', by: Caller): Reply<Attr | undefined>;
  /** The kernel holds `count` more (or fewer) references on the inode; one without names lives on until the last goes. */
  remember(ino: number, count: number): void;
  forget(ino: number, count: number): void;

  getattr(ino: number, by: Caller): Reply<Attr>;
  setattr(ino: number, changes: SetAttr, by: Caller, handle?: Handle): Reply<Attr>;
  /** access(2): mask of 4 read, 2 write, 1 execute. @throws FsError EACCES, EROFS */
  access(ino: number, mask: number, by: Caller): Reply<void>;

  create(parent: number, name: Name, mode: number, flags: number, by: Caller): Reply<{ attr: Attr; handle: Handle }>;
  mkdir(parent: number, name: Name, mode: number, by: Caller): Reply<Attr>;
  mknod(parent: number, name: Name, mode: number, rdev: number, by: Caller): Reply<Attr>;
  symlink(parent: number, name: Name, target: Uint8Array, by: Caller): Reply<Attr>;
  /** An unnamed file in `parent` (O_TMPFILE); `link` gives it a name. */
  tmpfile(parent: number, mode: number, flags: number, by: Caller): Reply<{ attr: Attr; handle: Handle }>;
  readlink(ino: number, by: Caller): Reply<Uint8Array>;
  link(ino: number, parent: number, name: Name, by: Caller): Reply<Attr>;
  unlink(parent: number, name: Name, by: Caller): Reply<void>;
  rmdir(parent: number, name: Name, by: Caller): Reply<void>;
  rename(parent: number, name: Name, toParent: number, toName: Name, mode: RenameMode, by: Caller): Reply<void>;

  /** open(2) flags as Linux numbers them; O_CREAT and O_EXCL are `create`'s. O_TRUNC truncates here. */
  open(ino: number, flags: number, by: Caller): Reply<Handle>;
  /** Whether pages of the file that the kernel cached before this open still hold. Absent: always. */
  keepsPages?(handle: Handle): boolean;
  /** close(2) of a descriptor of the handle: what it answers close(2) answers. Absent: there is nothing to be done. */
  flush?(handle: Handle): Reply<void>;
  opendir(ino: number, by: Caller): Reply<Handle>;
  /** Ends a handle of open, create, tmpfile or opendir. Never fails: the handle is gone afterwards. */
  release(handle: Handle): Reply<void>;

  /**
   * Reads up to `length` bytes at `offset`; short only at the end of the file. `use` gets the pieces in order, views
   * of the device memory itself where possible, and must be done with them when it returns.
   */
  read<T>(
    handle: Handle,
    offset: number,
    length: number,
    by: Caller,
    use: (pieces: readonly Uint8Array[]) => T,
  ): Reply<T>;
  /**
   * Answers the bytes written, fewer than given only where the space ended (write(2)); O_APPEND handles write at the
   * end, unless `at` is 'offset'. `data` belongs to the call until it settles.
   */
  write(handle: Handle, offset: number, data: Uint8Array, by: Caller, at?: WritePlace): Reply<number>;
  /**
   * As write, where the kernel that asks for it may meanwhile have filled pages of these bytes for others: when it settles
   * it has none that was filled before, and what was stored to them is in the file. Absent: nobody here can drop pages.
   */
  writePastPages?(handle: Handle, offset: number, data: Uint8Array, by: Caller, at?: WritePlace): Reply<number>;
  fallocate(handle: Handle, mode: FallocateMode, offset: number, length: number, by: Caller): Reply<void>;
  /** lseek(2) SEEK_DATA and SEEK_HOLE. @throws FsError ENXIO past the end */
  seek(handle: Handle, offset: number, whence: 'data' | 'hole', by: Caller): Reply<number>;
  /** copy_file_range(2): shares blocks where alignment allows, copies the rest. Answers the bytes copied. */
  copyRange(from: Handle, fromOffset: number, to: Handle, toOffset: number, length: number, by: Caller): Reply<number>;
  /** At most `limit` extents that have a byte at or after `from`, ascending. Absent: the file lies elsewhere. */
  map?(handle: Handle, from: number, limit: number, by: Caller): Reply<readonly MappedExtent[]>;
  /** Data and metadata of the file are durable when it settles; `dataOnly` leaves times out (fdatasync). */
  fsync(ino: number, dataOnly: boolean): Reply<void>;
  syncfs(): Reply<void>;

  /** Entries after `cookie` (0: from the start), '.' and '..' first; at most `limit`; empty at the end. */
  readdir(handle: Handle, cookie: number, limit: number, by: Caller): Reply<readonly DirEntry[]>;

  /** As readdir, in one with the attributes. Absent: they are asked for one by one. */
  readdirPlus?(handle: Handle, cookie: number, limit: number, by: Caller): Reply<readonly DirEntryPlus[]>;

  /** Names with their namespace prefix ("user.x"), as bytes in latin1 like Name. */
  getxattr(ino: number, name: string, by: Caller): Reply<Uint8Array>;
  /** As getxattr, but undefined where there is no such attribute: the kernel asks before the first write to each file. */
  findxattr(ino: number, name: string, by: Caller): Reply<Uint8Array | undefined>;
  listxattr(ino: number, by: Caller): Reply<readonly string[]>;
  setxattr(
    ino: number,
    name: string,
    value: Uint8Array,
    mode: 'either' | 'create' | 'replace',
    by: Caller,
  ): Reply<void>;
  removexattr(ino: number, name: string, by: Caller): Reply<void>;

  /** Of the whole filesystem, or of the directory tree with a quota that an inode counts in. */
  statfs(ino?: number): Reply<StatFs>;
}
