/**
 * Numbers of the kernel's FUSE protocol (include/uapi/linux/fuse.h), as far as this server speaks it: versions 7.31
 * (Linux 5.4) to 7.45 (Linux 6.18). Structures are little-endian and 8-byte aligned; their layouts stand where they
 * are read (decode.ts) and written (encode.ts).
 */

export const version = { major: 7, minorMin: 31, minorMax: 45 } as const;

/** FUSE_ROOT_ID: the node the kernel starts from, whatever number the filesystem gives its root. */
export const rootNodeId = 1;

/** struct fuse_in_header and struct fuse_out_header, bytes. */
export const inHeaderSize = 40;
export const outHeaderSize = 16;
/** struct fuse_write_in: what stands between the header and the data of a WRITE, bytes. */
export const writeInSize = 40;

/** enum fuse_opcode, all of it; CUSE_INIT comes only to /dev/cuse. docs/fuse.md says what each is answered. */
export const opcode = {
  lookup: 1,
  forget: 2,
  getattr: 3,
  setattr: 4,
  readlink: 5,
  symlink: 6,
  mknod: 8,
  mkdir: 9,
  unlink: 10,
  rmdir: 11,
  rename: 12,
  link: 13,
  open: 14,
  read: 15,
  write: 16,
  statfs: 17,
  release: 18,
  fsync: 20,
  setxattr: 21,
  getxattr: 22,
  listxattr: 23,
  removexattr: 24,
  flush: 25,
  init: 26,
  opendir: 27,
  readdir: 28,
  releasedir: 29,
  fsyncdir: 30,
  getlk: 31,
  setlk: 32,
  setlkw: 33,
  access: 34,
  create: 35,
  interrupt: 36,
  bmap: 37,
  destroy: 38,
  ioctl: 39,
  poll: 40,
  notifyReply: 41,
  batchForget: 42,
  fallocate: 43,
  readdirplus: 44,
  rename2: 45,
  lseek: 46,
  copyFileRange: 47,
  setupMapping: 48,
  removeMapping: 49,
  syncfs: 50,
  tmpfile: 51,
  statx: 52,
  copyFileRange64: 53,
} as const;

/** INIT flags: the first word. */
export const initFlag = {
  asyncRead: 1 << 0,
  atomicOTrunc: 1 << 3,
  exportSupport: 1 << 4,
  bigWrites: 1 << 5,
  dontMask: 1 << 6,
  autoInvalData: 1 << 12,
  doReaddirplus: 1 << 13,
  readdirplusAuto: 1 << 14,
  asyncDio: 1 << 15,
  parallelDirops: 1 << 18,
  posixAcl: 1 << 20,
  abortError: 1 << 21,
  maxPages: 1 << 22,
  cacheSymlinks: 1 << 23,
  handleKillprivV2: 1 << 28,
  setxattrExt: 1 << 29,
  initExt: 1 << 30,
} as const;

/** INIT flags: the second word (`flags2`, 7.36), there where `initExt` is. */
export const initFlag2 = { createSuppGroup: 1 << 2, hasExpireOnly: 1 << 3, directIoAllowMmap: 1 << 4 } as const;

/** enum fuse_ext_type: what may follow the arguments of a request. */
export const extension = { groups: 32 } as const;

/** fuse_setattr_in.valid. */
export const setattrValid = {
  mode: 1 << 0,
  uid: 1 << 1,
  gid: 1 << 2,
  size: 1 << 3,
  atime: 1 << 4,
  mtime: 1 << 5,
  handle: 1 << 6,
  atimeNow: 1 << 7,
  mtimeNow: 1 << 8,
  killSuidgid: 1 << 11,
} as const;

/** fuse_open_out.open_flags. */
export const openReply = {
  directIo: 1 << 0,
  keepCache: 1 << 1,
  noFlush: 1 << 5,
  parallelDirectWrites: 1 << 6,
} as const;

/** fuse_open_in.open_flags and fuse_write_in.write_flags: the writer lacks CAP_FSETID. */
export const openKillSuidgid = 1 << 0;
/** fuse_write_in.write_flags: pages of a shared mapping are written back, through whichever handle there is. */
export const writeCache = 1 << 0;
export const writeKillSuidgid = 1 << 2;
/** fuse_setxattr_in.setxattr_flags: the caller is not in the group and lacks CAP_FSETID. */
export const setxattrKillSgid = 1 << 0;
export const fsyncDataOnly = 1 << 0;

/** enum fuse_notify_code. */
export const notify = { invalInode: 2, invalEntry: 3 } as const;
/** fuse_notify_inval_entry_out.flags: the name is looked up again, and taken away only where it leads elsewhere. */
export const expireOnly = 1 << 0;

/** renameat2(2), fallocate(2), lseek(2), setxattr(2) and open(2) as Linux numbers them. */
export const renameFlag = { noreplace: 1, exchange: 2, whiteout: 4 } as const;
export const fallocateFlag = { keepSize: 1, punchHole: 2, collapse: 8, zero: 16, insert: 32 } as const;
export const seekData = 3;
export const seekHole = 4;
export const xattrFlag = { create: 1, replace: 2 } as const;
export const openFlag = {
  accessMode: 3,
  readOnly: 0,
  writeOnly: 1,
  creat: 0o100,
  excl: 0o200,
  trunc: 0o1000,
  append: 0o2000,
  dsync: 0o10000,
  /** __O_SYNC: what O_SYNC says beyond O_DSYNC. */
  sync: 0o4000000,
} as const;

/** include/uapi/linux/fs.h: _IOR('f', 1, long) and so on; `map` is our own, _IOWR(0xF5, 1, struct iopmemfs_map). */
export const ioctlCommand = {
  getFlags: 0x8008_6601,
  setFlags: 0x4008_6602,
  getFsxattr: 0x801c_581f,
  setFsxattr: 0x401c_5820,
  map: 0xd000_f501,
} as const;

/** FS_*_FL and FS_XFLAG_* of the same, by the names of `system.iopmemfs.flags`. */
export const fileFlag = { append: 0x20, immutable: 0x10, noatime: 0x80 } as const;
export const fsxFlag = { append: 0x10, immutable: 0x08, noatime: 0x40 } as const;

/** Bits of st_mode. */
export const mode = {
  typeMask: 0o170000,
  directory: 0o040000,
  setuid: 0o4000,
  setgid: 0o2000,
  groupExec: 0o010,
} as const;
