/**
 * Replies to the kernel, encoded. Pure: values in, bytes out. One buffer is written again and again, since a reply is
 * handed to the kernel before the next one is begun.
 */

import type { Attr, DirEntry, StatFs, Timespec } from '../../vfs.ts';
import type { Believed } from '../driver.ts';
import { outHeaderSize } from './abi.ts';
import { kernelLimits } from './limits.ts';

/** fuse_attr.blksize and the unit of STATFS: what stat(2) recommends for I/O. */
const blockSize = 4096;
const entrySize = 128;
const direntSize = 24;
const statxBasicAndBirth = 0xfff;

/** Where changes are not announced, or may have been before the reply. */
export const believedBriefly: Believed = {
  namesSec: kernelLimits.believedBrieflySec,
  attributesSec: kernelLimits.believedBrieflySec,
};

/** Numbers inodes for the kernel: the root is always node 1 there, and the inode 1, if another, takes its number. */
export type NodeIds = (ino: number) => number;

/**
 * The reply under construction: a header and a payload after it. Each method writes one payload and answers its length
 * in bytes; `finish` puts the header before it.
 */
export class ReplyBuffer {
  /** How long the kernel may believe the names and attributes in the reply. */
  believed: Believed = believedBriefly;
  readonly bytes: Buffer = Buffer.allocUnsafeSlow(outHeaderSize + kernelLimits.replyMax);
  readonly #view = new DataView(this.bytes.buffer);
  readonly #nodeId: NodeIds;
  readonly #mirrors: (ino: number) => boolean;

  /** `mirrors`: of these inodes attributes change that nobody announces (Vfs.mirrors). */
  constructor(nodeId: NodeIds, mirrors: (ino: number) => boolean = () => false) {
    this.#nodeId = nodeId;
    this.#mirrors = mirrors;
  }

  /** struct fuse_out_header; `error` is an errno, 0 for success. Answers the length of the whole reply. */
  finish(unique: number, error: number, payload: number): number {
    const v = this.#view;
    v.setUint32(0, outHeaderSize + payload, true);
    v.setInt32(4, -error, true);
    this.#u64(8, unique);
    return outHeaderSize + payload;
  }

  /** struct fuse_entry_out */
  entry(attr: Attr): number {
    this.#entryAt(outHeaderSize, attr);
    return entrySize;
  }

  /** struct fuse_entry_out of a name that does not exist, which the kernel remembers: node 0 (fuse_lookup_name). */
  absent(): number {
    this.bytes.fill(0, outHeaderSize, outHeaderSize + entrySize);
    this.#u64(outHeaderSize + 16, this.believed.namesSec);
    return entrySize;
  }

  /** struct fuse_attr_out */
  attr(attr: Attr): number {
    this.#u64(16, this.#attributesBelievedSec(attr.ino));
    this.#u64(24, 0);
    this.#attrAt(32, attr);
    return 16 + 88;
  }

  /** struct fuse_statx_out */
  statx(attr: Attr): number {
    const v = this.#view;
    this.bytes.fill(0, 16, 16 + 288);
    this.#u64(16, this.#attributesBelievedSec(attr.ino));
    const at = 48;
    v.setUint32(at, statxBasicAndBirth, true);
    v.setUint32(at + 4, blockSize, true);
    v.setUint32(at + 16, attr.nlink, true);
    v.setUint32(at + 20, attr.uid, true);
    v.setUint32(at + 24, attr.gid, true);
    v.setUint16(at + 28, attr.mode, true);
    this.#u64(at + 32, attr.ino);
    this.#u64(at + 40, attr.size);
    this.#u64(at + 48, attr.blocks);
    this.#statxTime(at + 64, attr.atime);
    this.#statxTime(at + 80, attr.btime);
    this.#statxTime(at + 96, attr.ctime);
    this.#statxTime(at + 112, attr.mtime);
    // rdev is in the kernel's 32-bit form (new_encode_dev): minor in bits 0-7 and 20-31, major in 8-19.
    v.setUint32(at + 128, (attr.rdev >>> 8) & 0xfff, true);
    v.setUint32(at + 132, (attr.rdev & 0xff) | ((attr.rdev >>> 12) & 0xfff00), true);
    return 288;
  }

  /** struct fuse_open_out */
  opened(handle: number, flags: number): number {
    this.#openAt(outHeaderSize, handle, flags);
    return 16;
  }

  /** struct fuse_entry_out and struct fuse_open_out, as CREATE and TMPFILE answer */
  created(attr: Attr, handle: number, flags: number): number {
    this.#entryAt(outHeaderSize, attr);
    this.#openAt(outHeaderSize + entrySize, handle, flags);
    return entrySize + 16;
  }

  /** struct fuse_write_out and struct fuse_getxattr_out: a count of bytes */
  count(bytes: number): number {
    this.#view.setUint32(16, bytes, true);
    this.#view.setUint32(20, 0, true);
    return 8;
  }

  /** struct fuse_lseek_out and struct fuse_copy_file_range_out */
  offset(bytes: number): number {
    this.#u64(16, bytes);
    return 8;
  }

  /** struct fuse_kstatfs */
  statfs(st: StatFs): number {
    const v = this.#view;
    this.#u64(16, st.blocks);
    this.#u64(24, st.blocksFree);
    this.#u64(32, st.blocksAvailable);
    this.#u64(40, st.files);
    this.#u64(48, st.filesFree);
    v.setUint32(56, st.blockSize, true);
    v.setUint32(60, st.nameMax, true);
    v.setUint32(64, st.blockSize, true);
    this.bytes.fill(0, 68, 96);
    return 80;
  }

  /** A symlink's target or an attribute's value */
  data(bytes: Uint8Array): number {
    this.bytes.set(bytes, outHeaderSize);
    return bytes.byteLength;
  }

  /** struct fuse_ioctl_out with result 0, and what the caller gets to read. */
  ioctl(bytes: Uint8Array): number {
    this.bytes.fill(0, outHeaderSize, outHeaderSize + 16);
    this.bytes.set(bytes, outHeaderSize + 16);
    return 16 + bytes.byteLength;
  }

  /** Names of extended attributes, each with its NUL; `length` is their sum (listxattr(2)) */
  names(names: readonly string[]): number {
    let at = outHeaderSize;
    for (const name of names) {
      at += this.bytes.write(name, at, 'latin1');
      this.bytes[at++] = 0;
    }
    return at - outHeaderSize;
  }

  /** struct fuse_init_out */
  init(fields: InitReply): number {
    const v = this.#view;
    this.bytes.fill(0, 16, 16 + 64);
    v.setUint32(16, fields.major, true);
    v.setUint32(20, fields.minor, true);
    v.setUint32(24, fields.maxReadahead, true);
    v.setUint32(28, fields.flags, true);
    v.setUint16(32, kernelLimits.backgroundMax, true);
    v.setUint16(34, kernelLimits.backgroundCongestion, true);
    v.setUint32(36, kernelLimits.dataMax, true);
    v.setUint32(40, 1, true); // time granularity: 1 ns
    v.setUint16(44, kernelLimits.pagesMax, true);
    v.setUint32(48, fields.flags2, true);
    return 64;
  }

  /**
   * struct fuse_dirent, or struct fuse_direntplus where `attr` is given (undefined there: a name whose attributes the
   * kernel has to ask for), appended after `used` payload bytes. Answers the new length, or `used` when it would
   * exceed `size`.
   */
  dirent(used: number, size: number, entry: DirEntry, plus?: { readonly attr: Attr | undefined }): number {
    const prefix = plus === undefined ? 0 : entrySize;
    const length = (prefix + direntSize + entry.name.length + 7) & ~7;
    if (used + length > size) return used;
    const start = outHeaderSize + used;
    const at = start + prefix;
    if (plus !== undefined) {
      if (plus.attr === undefined) this.bytes.fill(0, start, at);
      else this.#entryAt(start, plus.attr);
    }
    const v = this.#view;
    this.#u64(at, entry.ino);
    this.#u64(at + 8, entry.cookie);
    v.setUint32(at + 16, entry.name.length, true);
    v.setUint32(at + 20, entry.type >>> 12, true); // DT_* are the type bits of st_mode
    const end = at + direntSize + this.bytes.write(entry.name, at + direntSize, 'latin1');
    this.bytes.fill(0, end, start + length);
    return used + length;
  }

  #entryAt(at: number, attr: Attr): void {
    this.#u64(at, this.#nodeId(attr.ino));
    this.#u64(at + 8, 0); // generation: inode numbers are never used again
    this.#u64(at + 16, this.believed.namesSec);
    this.#u64(at + 24, this.#attributesBelievedSec(attr.ino));
    this.#u64(at + 32, 0);
    this.#attrAt(at + 40, attr);
  }

  #attributesBelievedSec(ino: number): number {
    return this.#mirrors(ino) ? kernelLimits.believedBrieflySec : this.believed.attributesSec;
  }

  #attrAt(at: number, attr: Attr): void {
    const v = this.#view;
    this.#u64(at, attr.ino);
    this.#u64(at + 8, attr.size);
    this.#u64(at + 16, attr.blocks);
    this.#u64(at + 24, attr.atime.sec);
    this.#u64(at + 32, attr.mtime.sec);
    this.#u64(at + 40, attr.ctime.sec);
    v.setUint32(at + 48, attr.atime.nsec, true);
    v.setUint32(at + 52, attr.mtime.nsec, true);
    v.setUint32(at + 56, attr.ctime.nsec, true);
    v.setUint32(at + 60, attr.mode, true);
    v.setUint32(at + 64, attr.nlink, true);
    v.setUint32(at + 68, attr.uid, true);
    v.setUint32(at + 72, attr.gid, true);
    v.setUint32(at + 76, attr.rdev, true);
    v.setUint32(at + 80, blockSize, true);
    v.setUint32(at + 84, 0, true);
  }

  #openAt(at: number, handle: number, flags: number): void {
    this.#u64(at, handle);
    this.#view.setUint32(at + 8, flags, true);
    this.#view.setUint32(at + 12, 0, true);
  }

  #statxTime(at: number, time: Timespec): void {
    this.#u64(at, time.sec);
    this.#view.setUint32(at + 8, time.nsec, true);
  }

  /** Whole numbers within ±2^53; setUint32 takes them modulo 2^32, so negative ones come out as two's complement. */
  #u64(at: number, value: number): void {
    this.#view.setUint32(at, value, true);
    this.#view.setUint32(at + 4, Math.floor(value / 2 ** 32), true);
  }
}

export interface InitReply {
  readonly major: number;
  readonly minor: number;
  readonly maxReadahead: number;
  readonly flags: number;
  readonly flags2: number;
}
