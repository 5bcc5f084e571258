/**
 * Inodes in memory: a record of the store that operations change in place, and who uses it. The table keeps what is in
 * use or not yet durable and, up to a bound, what was used lately; everything else is read from the store again.
 */
import { FsError } from '../errors.ts';
import type { InodeRecord } from '../format/records.ts';
import { isSnapshotsIno } from '../format/snapshots.ts';
import { limits } from '../limits.ts';
import type { Attr, Timespec } from '../vfs.ts';

export const S_IFMT = 0o170000;
export const S_IFREG = 0o100000;
export const S_IFDIR = 0o040000;
export const S_IFLNK = 0o120000;
export const S_IFCHR = 0o020000;
export const S_IFBLK = 0o060000;
export const S_IFIFO = 0o010000;
export const S_IFSOCK = 0o140000;
export const S_ISUID = 0o4000;
export const S_ISGID = 0o2000;
export const S_ISVTX = 0o1000;

export class Inode implements InodeRecord {
  readonly ino: number;
  mode: number;
  uid: number;
  gid: number;
  nlink: number;
  size: number;
  rdev: number;
  atime: Timespec;
  mtime: Timespec;
  ctime: Timespec;
  readonly btime: Timespec;
  change: number;
  flags: number;
  parent: number;
  readonly target: Uint8Array;
  quota: number;

  /** Open handles. */
  opens = 0;
  /** Group that holds its last change. */
  group = 0;
  /** Group that holds the last change of more than its times. */
  needed = 0;
  /** Group in which it was created; 0: the store had it before the mount. */
  born = 0;
  /** It has no names and no users any more, and no record. */
  isGone = false;
  /** Group in which blocks last moved within the file: until it is durable a crash moves them back, and data with them. */
  shifted = 0;
  /** Extended attributes once somebody asked for them; names in latin1. */
  xattrs: ReadonlyMap<string, Uint8Array> | undefined;
  /** They are being read: whoever waits for them goes on in the order of asking. */
  xattrsLoading: Promise<void> | undefined;

  constructor(record: InodeRecord) {
    this.ino = record.ino;
    this.mode = record.mode;
    this.uid = record.uid;
    this.gid = record.gid;
    this.nlink = record.nlink;
    this.size = record.size;
    this.rdev = record.rdev;
    this.atime = record.atime;
    this.mtime = record.mtime;
    this.ctime = record.ctime;
    this.btime = record.btime;
    this.change = record.change;
    this.flags = record.flags;
    this.parent = record.parent;
    this.target = record.target;
    this.quota = record.quota;
  }

  /** What is on record of it. */
  get record(): InodeRecord {
    const { ino, mode, uid, gid, nlink, size, rdev, atime, mtime, ctime, btime, change, flags, parent, target } = this;
    const { quota } = this;
    return { ino, mode, uid, gid, nlink, size, rdev, atime, mtime, ctime, btime, change, flags, parent, target, quota };
  }

  get type(): number {
    return this.mode & S_IFMT;
  }
  get isDirectory(): boolean {
    return this.type === S_IFDIR;
  }
  get isFile(): boolean {
    return this.type === S_IFREG;
  }
}

/** `blocks`: mapped by the file. */
export function attrOf(inode: InodeRecord, blocks: number): Attr {
  return {
    ino: inode.ino,
    mode: inode.mode,
    nlink: inode.nlink,
    uid: inode.uid,
    gid: inode.gid,
    rdev: inode.rdev,
    size: (inode.mode & S_IFMT) === S_IFDIR ? limits.blockSize : inode.size,
    blocks: blocks * (limits.blockSize / 512),
    atime: inode.atime,
    mtime: inode.mtime,
    ctime: inode.ctime,
    btime: inode.btime,
    change: inode.change,
  };
}

export interface InodeTableOptions {
  /** The record as the store has it, undefined if there is none. */
  load(ino: number): InodeRecord | undefined;
  /** A `.snapshots` directory, which has no record; undefined where there is none. */
  snapshots(ino: number): Inode | undefined;
  /** Groups up to this one are durable. */
  durable(): number;
  readonly capacity: number;
  /** Asks for a `trim` once no operation runs: an operation may hold what a trim lets go. */
  overfull(): void;
}

export class InodeTable {
  readonly #options: InodeTableOptions;
  /** In order of use, the longest unused first. */
  readonly #inodes = new Map<number, Inode>();
  /** Deleted, but the store does not know yet: group of the deletion. */
  readonly #deleted = new Map<number, number>();
  /** Still on record, while their blocks are given back. */
  readonly #leaving = new Set<number>();

  constructor(options: InodeTableOptions) {
    this.#options = options;
  }

  /** @throws FsError ESTALE: the inode is gone */
  get(ino: number): Inode {
    const inode = this.peek(ino);
    if (inode === undefined) throw new FsError('ESTALE', { ino, detail: 'the file was deleted' });
    return inode;
  }

  peek(ino: number): Inode | undefined {
    const known = this.record(ino);
    if (known === undefined || known instanceof Inode) return known;
    const inode = new Inode(known);
    this.add(inode);
    return inode;
  }

  /** What it is now, without keeping it in memory: for whoever only looks. */
  record(ino: number): InodeRecord | undefined {
    const known = this.#inodes.get(ino);
    if (known !== undefined) return known;
    if (isSnapshotsIno(ino)) return this.#options.snapshots(ino);
    return this.#deleted.has(ino) || this.#leaving.has(ino) ? undefined : this.#options.load(ino);
  }

  /** What is in memory anyway: so is every inode without names, until it is deleted or leaves. */
  resident(ino: number): Inode | undefined {
    return this.#inodes.get(ino);
  }

  add(inode: Inode): void {
    this.#inodes.set(inode.ino, inode);
    if (this.#inodes.size > this.#options.capacity) this.#options.overfull();
  }

  /** Nobody finds it any more; its record goes later, with `delete`. */
  leave(inode: Inode): void {
    this.#inodes.delete(inode.ino);
    this.#leaving.add(inode.ino);
  }

  delete(inode: Inode, group: number): void {
    this.#inodes.delete(inode.ino);
    this.#leaving.delete(inode.ino);
    this.#deleted.set(inode.ino, group);
  }

  /** Deletions up to this group are in the store. */
  forgetDeleted(durable: number): void {
    for (const [ino, group] of this.#deleted) {
      if (group > durable) return;
      this.#deleted.delete(ino);
    }
  }

  /** Second chance by order of insertion: an eighth of the table is looked at, what is in use goes to the end. */
  trim(): void {
    if (this.#inodes.size <= this.#options.capacity) return;
    const durable = this.#options.durable();
    let looks = this.#options.capacity >> 3;
    for (const [ino, inode] of this.#inodes) {
      if (looks-- <= 0) return;
      this.#inodes.delete(ino);
      if (inode.opens > 0 || inode.nlink === 0 || inode.group > durable) this.#inodes.set(ino, inode);
    }
  }
}
