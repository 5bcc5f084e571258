import { constants } from 'node:fs';
import type { Attr, Timespec } from '../fs/vfs.ts';

/** What the type bits of st_mode say. */
export abstract class FileType {
  /** Type bits of st_mode (S_IFMT). */
  protected abstract readonly typeBits: number;

  isFile(): boolean {
    return isType(this.typeBits, constants.S_IFREG);
  }

  isDirectory(): boolean {
    return isType(this.typeBits, constants.S_IFDIR);
  }

  isSymbolicLink(): boolean {
    return isType(this.typeBits, constants.S_IFLNK);
  }

  isBlockDevice(): boolean {
    return isType(this.typeBits, constants.S_IFBLK);
  }

  isCharacterDevice(): boolean {
    return isType(this.typeBits, constants.S_IFCHR);
  }

  isFIFO(): boolean {
    return isType(this.typeBits, constants.S_IFIFO);
  }

  isSocket(): boolean {
    return isType(this.typeBits, constants.S_IFSOCK);
  }
}

/**
 * What stat tells, as node's fs.Stats does: times as Date and in milliseconds; `timespec` has them to the nanosecond. `change`
 * grows with every change of the file. There is no `dev`: a client knows one filesystem.
 */
export class Stats extends FileType {
  readonly ino: number;
  readonly mode: number;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  readonly rdev: number;
  /** Bytes. */
  readonly size: number;
  /** Of 512 bytes. */
  readonly blocks: number;
  readonly blksize = 4096;
  readonly change: number;
  readonly timespec: { readonly [Time in 'atime' | 'mtime' | 'ctime' | 'birthtime']: Timespec };

  constructor(attr: Attr) {
    super();
    this.ino = attr.ino;
    this.mode = attr.mode;
    this.nlink = attr.nlink;
    this.uid = attr.uid;
    this.gid = attr.gid;
    this.rdev = attr.rdev;
    this.size = attr.size;
    this.blocks = attr.blocks;
    this.change = attr.change;
    this.timespec = { atime: attr.atime, mtime: attr.mtime, ctime: attr.ctime, birthtime: attr.btime };
  }

  get atime(): Date {
    return new Date(this.atimeMs);
  }

  get mtime(): Date {
    return new Date(this.mtimeMs);
  }

  get ctime(): Date {
    return new Date(this.ctimeMs);
  }

  get birthtime(): Date {
    return new Date(this.birthtimeMs);
  }

  /** Milliseconds since 1970, with fractions, as the other three. */
  get atimeMs(): number {
    return milliseconds(this.timespec.atime);
  }

  get mtimeMs(): number {
    return milliseconds(this.timespec.mtime);
  }

  get ctimeMs(): number {
    return milliseconds(this.timespec.ctime);
  }

  get birthtimeMs(): number {
    return milliseconds(this.timespec.birthtime);
  }

  protected get typeBits(): number {
    return this.mode;
  }
}

function milliseconds({ sec, nsec }: Timespec): number {
  return sec * 1000 + nsec / 1e6;
}

export function isType(mode: number, type: number): boolean {
  return (mode & constants.S_IFMT) === type;
}
