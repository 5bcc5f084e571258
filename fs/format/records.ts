/**
 * The records of the metadata store as the program sees them. Field by field in docs/format.md.
 * Block numbers and lengths count blocks of the filesystem's block size; device is 0 today.
 */
import type { Timespec } from '../vfs.ts';

/** `I` ino. */
export interface InodeRecord {
  readonly ino: number;
  /** st_mode with type bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly nlink: number;
  readonly size: number;
  readonly rdev: number;
  readonly atime: Timespec;
  readonly mtime: Timespec;
  readonly ctime: Timespec;
  readonly btime: Timespec;
  readonly change: number;
  /** INODE_COW and the others below; unknown bits are kept. */
  readonly flags: number;
  /** Parent of a directory (the root's is itself), 0 for everything else. */
  readonly parent: number;
  /** Target of a symlink; empty otherwise. */
  readonly target: Uint8Array;
  /** The quota tree that it counts in, 0 for none; without a `U` record of that number: none. */
  readonly quota: number;
}

/** Every overwrite goes to new blocks, so that it is atomic. */
export const INODE_COW = 1;
/** Contiguous and never moved (fs/engine/pinned.ts). */
export const INODE_PINNED = 2;
/** The inode has extended attributes; without it nobody needs to look. */
export const INODE_XATTRS = 4;
/** FS_IMMUTABLE_FL, FS_APPEND_FL and FS_NOATIME_FL of ioctl_iflags(2). */
export const INODE_IMMUTABLE = 8;
export const INODE_APPEND = 16;
export const INODE_NOATIME = 32;
/** Part of a snapshot: nothing of it ever changes, but where its blocks lie. */
export const INODE_SNAPSHOT = 64;
/** The directory has snapshots; without it nobody needs to look. */
export const INODE_SNAPSHOTS = 128;
/** Of a pinned file: its place is a multiple of 4096 << this many bytes; 0 to 18. */
export const INODE_ALIGN_SHIFT = 24;
export const INODE_ALIGN_MASK = 0x1f << INODE_ALIGN_SHIFT;

/** `D` parent, name. The parent is a directory, or stands for the snapshots of one (fs/format/snapshots.ts). */
export interface DentryRecord {
  readonly ino: number;
  /** S_IFMT bits of the inode. */
  readonly type: number;
  /** Position in listings, unique within the directory, from 3 upwards, never reused. */
  readonly cookie: number;
}

/** Extent flags. */
export const EXTENT_UNWRITTEN = 1;
/** Other extents may map the same blocks; overlap of extents without this flag in all of them is damage. */
export const EXTENT_SHARED = 2;

/** `E` ino, fileBlock. */
export interface ExtentRecord {
  readonly device: number;
  readonly block: number;
  readonly length: number;
  readonly flags: number;
}

/** `O` ino: an inode without names that was still open, or the root of a tree that is being copied or removed. */
export interface OrphanRecord {
  readonly ino: number;
}

/** `C` clientid: a client of the MDS, kept so that its reach survives a restart. */
export interface ClientRecord {
  readonly clientId: number;
  /** co_ownerid: what the client calls itself, the same after its restart. */
  readonly owner: Uint8Array;
  /** co_verifier: differs after its restart. */
  readonly verifier: Uint8Array;
  /** Seconds since 1970. */
  readonly since: number;
  /** Whom it introduced itself as: only the same principal may speak for it after a restart. */
  readonly uid: number;
  /** The lease that it was promised, in ms; 0: not known. */
  readonly leaseMs: number;
  /** Longest time that one of its accesses to the device can take; 2^32 - 1: any time, or not known. */
  readonly ioMaxMs: number;
  /** The start of the server's machine that it was granted things in; empty: not known. */
  readonly boot: Uint8Array;
  /** The process of this host that it is, in the words of the server; empty: not known. */
  readonly process: Uint8Array;
}

/** `P` ino, fileBlock: blocks granted for writing, not yet part of the file. */
export interface ProvisionalRecord {
  readonly clientId: number;
  readonly device: number;
  readonly block: number;
  readonly length: number;
}

/** `Q` block, clientId: blocks that a fenced client may still touch. They are not reused before it is known dead. */
export interface HoldRecord {
  readonly device: number;
  readonly length: number;
  readonly access: 'read' | 'write';
  /** Seconds since 1970. */
  readonly since: number;
}

/** `G` clientid, ino: layouts that the client may have on the file. */
export interface GrantRecord {
  /** Of the strongest of them. */
  readonly access: 'read' | 'write';
}

/** `N`: how much there is of what would have to be counted at mount. Written with every group that changes it. */
export interface CountsRecord {
  /** The mount that wrote it. Counts of another generation are old: a program that knows of no counts was here. */
  readonly generation: number;
  /** `I` records. */
  readonly inodes: number;
}

/** `B` block: memory that is not to be trusted. What lies there still belongs to its files, but nothing is put there again. */
export interface BadRecord {
  readonly device: number;
  readonly length: number;
  /** Seconds since 1970. */
  readonly since: number;
}

/** `T` ino: file blocks that leave their file. What is mapped there reads as zeros, and goes piece by piece. */
export interface CutRecord {
  readonly ino: number;
  /** File blocks [from, to). */
  readonly from: number;
  readonly to: number;
}

/** `U` id: a directory tree with a limit, and what its inodes use. */
export interface QuotaRecord {
  readonly id: number;
  /** The directory. */
  readonly root: number;
  /** Most blocks and inodes; Infinity: any number. */
  readonly blocksMax: number;
  readonly inodesMax: number;
  /** Blocks mapped by, or granted for, the inodes that name this tree. */
  readonly blocks: number;
  readonly inodes: number;
}

/** `S`: one record that binds the store to its device. */
export interface StoreRecord {
  readonly formatVersion: number;
  /** 16 bytes. */
  readonly uuid: Uint8Array;
  /** Equal to the superblock's, or one more after a crash in between. */
  readonly generation: number;
  /** The superblocks are known to carry this generation at least: an older one is on an old copy of the device. */
  readonly superblockGeneration: number;
  readonly nextIno: number;
  readonly nextClientId: number;
  /** Hundredths of a percent of the blocks that are kept for root. */
  readonly reserve: number;
}
