import { constants } from 'node:fs';
import type { Attr, Timespec } from '../fs/vfs.ts';

/** What stat tells, in the shape of node's fs.Stats, with nanoseconds beside. */
export class Stats implements Attr {
  readonly ino: number;
  readonly mode: number;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  readonly rdev: number;
  readonly size: number;
  readonly blocks: number;
  readonly atime: Timespec;
  readonly mtime: Timespec;
  readonly ctime: Timespec;
  readonly btime: Timespec;
  readonly change: number;

  constructor(attr: Attr) {
    this.ino = attr.ino;
    this.mode = attr.mode;
    this.nlink = attr.nlink;
    this.uid = attr.uid;
    this.gid = attr.gid;
    this.rdev = attr.rdev;
    this.size = attr.size;
    this.blocks = attr.blocks;
    this.atime = attr.atime;
    this.mtime = attr.mtime;
    this.ctime = attr.ctime;
    this.btime = attr.btime;
    this.change = attr.change;
  }

  /** Milliseconds since 1970, with fractions. */
  get mtimeMs(): number {
    return this.mtime.sec * 1000 + this.mtime.nsec / 1e6;
  }

  isFile(): boolean {
    return isType(this.mode, constants.S_IFREG);
  }

  isDirectory(): boolean {
    return isType(this.mode, constants.S_IFDIR);
  }

  isSymbolicLink(): boolean {
    return isType(this.mode, constants.S_IFLNK);
  }
}

export function isType(mode: number, type: number): boolean {
  return (mode & constants.S_IFMT) === type;
}
