/** The local engine as a `Vfs`: handles, and each operation run until it need not wait. */
import { constants } from 'node:fs';
import { FsError } from '../errors.ts';
import { INODE_SNAPSHOT, type InodeRecord } from '../format/records.ts';
import { isSnapshotsIno } from '../format/snapshots.ts';
import { limits } from '../limits.ts';
import type { Name } from '../name.ts';
import { after } from '../reply.ts';
import type {
  Attr,
  Caller,
  DirEntry,
  FallocateMode,
  Handle,
  MappedExtent,
  RenameMode,
  Reply,
  SetAttr,
  StatFs,
  Vfs,
  WritePlace,
} from '../vfs.ts';
import { R_OK, requireAccess, W_OK, X_OK } from './access.ts';
import { accessed } from './atime.ts';
import { setAttributes } from './attributes.ts';
import { copyRange } from './clone.ts';
import { read, requireFile, write } from './data.ts';
import { mappedExtents } from './extent-map.ts';
import { fallocate, seek } from './fallocate.ts';
import { isCow, requireMutable, requireUnprotected } from './file-flags.ts';
import type { Inode } from './inode.ts';
import { attrOf, S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK } from './inode.ts';
import * as namespace from './namespace.ts';
import { isPinnedNumber } from './pinned.ts';
import { createSnapshot, deleteSnapshot } from './snapshots.ts';
import { statfs } from './statfs.ts';
import type { TreeCopies } from './tree-copies.ts';
import type { Volume } from './volume.ts';
import { rootIno } from './volume.ts';
import { run } from './wait.ts';
import { findXattr, getXattr, listXattrs, removeXattr, setXattr } from './xattrs.ts';

/** Among the flags of open(2), on every Linux; node's table lacks the one, and has the other only there. */
const O_ACCMODE = 3;
const O_NOATIME = 0o1000000;

/** dev_t of the kernel's interfaces has 32 bits (new_encode_dev). */
const rdevMax = 0xffff_ffff;

interface Open {
  readonly inode: Inode;
  readonly flags: number;
  /** Of a directory: entries made after the listing began, whose cookies are from here on, are not shown in it. */
  listingEnd: number | undefined;
}

export class LocalVfs implements Vfs {
  readonly rootIno = rootIno;
  readonly hasAcls = true;
  readonly #v: Volume;
  readonly #copies: TreeCopies;
  readonly #handles = new Map<number, Open>();
  #nextHandle = 1;

  constructor(volume: Volume, copies: TreeCopies) {
    this.#v = volume;
    this.#copies = copies;
  }

  /** `.snapshots` (snapshots-directory.ts). */
  mirrors(ino: number): boolean {
    return isSnapshotsIno(ino);
  }

  isPinned(ino: number): boolean {
    return isPinnedNumber(this.#v, ino);
  }

  lookup(parent: number, name: Name | '.' | '..', by: Caller): Reply<Attr> {
    return run(() => this.#attrOf(namespace.lookup(this.#v, parent, name, by)));
  }

  find(parent: number, name: Name | '.' | '..', by: Caller): Reply<Attr | undefined> {
    return run(() => {
      const ino = namespace.find(this.#v, parent, name, by);
      return ino === undefined ? undefined : this.#attrOf(ino);
    });
  }

  remember(ino: number, count: number): void {
    this.#v.kernelRefs.add(ino, count);
  }

  forget(ino: number, count: number): void {
    if (this.#v.kernelRefs.add(ino, -count) > 0) return;
    const inode = this.#v.inodes.resident(ino);
    if (inode?.nlink === 0) this.#reap(inode);
  }

  getattr(ino: number, _by: Caller): Reply<Attr> {
    return this.#attrOf(ino);
  }

  setattr(ino: number, changes: SetAttr, by: Caller, handle?: Handle): Reply<Attr> {
    const set = run(() => {
      const inode = this.#v.inodes.get(ino);
      const opened = handle !== undefined && isWritable(this.#open(handle));
      setAttributes(this.#v, inode, changes, by, opened);
      return inode;
    }, by);
    return after(set, (inode) => after(this.#onceCut(ino, inode), (cut) => this.#attr(cut)));
  }

  access(ino: number, mask: number, by: Caller): Reply<void> {
    return run(() => {
      const inode = this.#v.inodes.get(ino);
      if ((mask & W_OK) !== 0) this.#requireNotReadOnly(inode);
      if ((mask & W_OK) !== 0) requireMutable(inode);
      requireAccess(this.#v, inode, mask & (R_OK | W_OK | X_OK), by);
    });
  }

  create(parent: number, name: Name, mode: number, flags: number, by: Caller): Reply<{ attr: Attr; handle: Handle }> {
    return run(() => {
      const inode = namespace.create(this.#v, parent, name, { mode: S_IFREG | (mode & 0o7777) }, by);
      return { attr: this.#attr(inode), handle: this.#newHandle(inode, flags) };
    });
  }

  mkdir(parent: number, name: Name, mode: number, by: Caller): Reply<Attr> {
    if (isSnapshotsIno(parent))
      return createSnapshot(this.#v, this.#copies, parent, name, by).then((root) => this.#attr(root));
    return run(() => this.#attr(namespace.create(this.#v, parent, name, { mode: S_IFDIR | (mode & 0o7777) }, by)));
  }

  mknod(parent: number, name: Name, mode: number, rdev: number, by: Caller): Reply<Attr> {
    const type = (mode & S_IFMT) === 0 ? S_IFREG : mode & S_IFMT;
    const isDevice = type === S_IFCHR || type === S_IFBLK;
    if (!isDevice && type !== S_IFREG && type !== S_IFIFO && type !== S_IFSOCK)
      throw new FsError('EINVAL', { ino: parent, name, detail: `mknod type 0${type.toString(8)}` });
    // CAP_MKNOD: a device node reaches past every permission of the filesystem.
    if (isDevice && by.access === 'engine' && by.uid !== 0)
      throw new FsError('EPERM', { ino: parent, name, detail: 'device node' });
    if (isDevice && rdev > rdevMax) throw new FsError('EINVAL', { ino: parent, name, detail: `device ${rdev}` });
    const what = { mode: type | (mode & 0o7777), rdev: isDevice ? rdev : 0 };
    return run(() => this.#attr(namespace.create(this.#v, parent, name, what, by)));
  }

  symlink(parent: number, name: Name, target: Uint8Array, by: Caller): Reply<Attr> {
    if (target.length === 0) throw new FsError('ENOENT', { ino: parent, name, detail: 'empty target' });
    if (target.length > limits.symlinkMax) throw new FsError('ENAMETOOLONG', { ino: parent, name });
    return run(() => this.#attr(namespace.create(this.#v, parent, name, { mode: S_IFLNK | 0o777, target }, by)));
  }

  tmpfile(parent: number, mode: number, flags: number, by: Caller): Reply<{ attr: Attr; handle: Handle }> {
    return run(() => {
      const inode = namespace.createUnnamed(this.#v, parent, { mode: S_IFREG | (mode & 0o7777) }, by);
      return { attr: this.#attr(inode), handle: this.#newHandle(inode, flags) };
    });
  }

  readlink(ino: number, by: Caller): Reply<Uint8Array> {
    const inode = this.#v.inodes.get(ino);
    if (inode.type !== S_IFLNK) throw new FsError('EINVAL', { ino, detail: 'not a symbolic link' });
    accessed(this.#v, inode, by);
    return inode.target;
  }

  link(ino: number, parent: number, name: Name, by: Caller): Reply<Attr> {
    return run(() => this.#attr(namespace.link(this.#v, ino, parent, name, by)));
  }

  unlink(parent: number, name: Name, by: Caller): Reply<void> {
    return run(() => namespace.unlink(this.#v, parent, name, by), by);
  }

  rmdir(parent: number, name: Name, by: Caller): Reply<void> {
    const remove = isSnapshotsIno(parent) ? deleteSnapshot : namespace.rmdir;
    return run(() => remove(this.#v, parent, name, by), by);
  }

  rename(parent: number, name: Name, toParent: number, toName: Name, mode: RenameMode, by: Caller): Reply<void> {
    return run(() => namespace.rename(this.#v, parent, name, toParent, toName, mode, by), by);
  }

  open(ino: number, flags: number, by: Caller): Reply<Handle> {
    const opened = run(() => {
      const inode = this.#v.inodes.get(ino);
      const writes = (flags & O_ACCMODE) !== constants.O_RDONLY;
      if (inode.isDirectory && (writes || (flags & constants.O_TRUNC) !== 0)) throw new FsError('EISDIR', { ino });
      if (writes) this.#requireNotReadOnly(inode);
      requireOpenable(inode, flags);
      requireAccess(this.#v, inode, accessOf(flags), by);
      if ((flags & constants.O_TRUNC) !== 0 && inode.isFile) setAttributes(this.#v, inode, { size: 0 }, by, true);
      return this.#newHandle(inode, flags);
    }, by);
    return (flags & constants.O_TRUNC) === 0 ? opened : after(opened, (handle) => this.#onceCut(ino, handle));
  }

  opendir(ino: number, by: Caller): Reply<Handle> {
    return run(() => {
      const inode = namespace.requireDirectory(this.#v, ino);
      requireAccess(this.#v, inode, R_OK, by);
      return this.#newHandle(inode, constants.O_RDONLY);
    });
  }

  release(handle: Handle): Reply<void> {
    const open = this.#handles.get(handle);
    if (open === undefined) return;
    this.#handles.delete(handle);
    const { inode } = open;
    inode.opens--;
    if (inode.opens === 0) this.#v.space.letGoOfKept(inode.ino);
    if (inode.isDirectory) this.#v.directories.get(inode.ino).opens--;
    if (inode.nlink > 0) return;
    this.#v.lingering.add(inode.ino);
    this.#reap(inode);
  }

  read<T>(
    handle: Handle,
    offset: number,
    length: number,
    by: Caller,
    use: (pieces: readonly Uint8Array[]) => T,
  ): Reply<T> {
    return run(() => {
      const open = this.#open(handle);
      // The kernel reads before it writes part of a page, and has checked what the program may.
      if (by.access === 'engine') requireReadable(open);
      const answer = read(this.#v, open.inode, offset, length, use);
      if ((open.flags & O_NOATIME) === 0) accessed(this.#v, open.inode, by);
      return answer;
    });
  }

  write(handle: Handle, offset: number, data: Uint8Array, by: Caller, at?: WritePlace): Reply<number> {
    return run(() => {
      const { inode, flags } = this.#openForWriting(handle);
      const opened = (flags & constants.O_APPEND) !== 0;
      const appends = opened && at !== 'offset';
      // Elsewhere the kernel lets nobody take O_APPEND off an append-only file, nor map it for writing (setfl, do_mmap).
      if (opened && !appends) requireUnprotected(inode);
      // The kernel makes EIO of a direct write that was short (fuse_get_res_by_io).
      const isWhole = isCow(inode) || (flags & constants.O_DIRECT) !== 0;
      return write(this.#v, inode, appends ? inode.size : offset, data, by, isWhole);
    }, by);
  }

  fallocate(handle: Handle, mode: FallocateMode, offset: number, length: number, by: Caller): Reply<void> {
    const done = run(() => {
      const { inode } = this.#openForWriting(handle);
      fallocate(this.#v, inode, mode, offset, length, by);
      return inode.ino;
    }, by);
    return after(done, (ino) => this.#onceCut(ino, undefined));
  }

  seek(handle: Handle, offset: number, whence: 'data' | 'hole', _by: Caller): Reply<number> {
    return run(() => seek(this.#v, this.#open(handle).inode, offset, whence));
  }

  copyRange(from: Handle, fromOffset: number, to: Handle, toOffset: number, length: number, by: Caller): Reply<number> {
    return run(() => {
      const source = this.#open(from);
      requireReadable(source);
      const target = this.#openForWriting(to);
      if ((target.flags & constants.O_APPEND) !== 0)
        throw new FsError('EBADF', { ino: target.inode.ino, detail: 'opened for appending' });
      return copyRange(this.#v, source.inode, fromOffset, target.inode, toOffset, length, by);
    }, by);
  }

  map(handle: Handle, from: number, limit: number, _by: Caller): readonly MappedExtent[] {
    const { inode } = this.#open(handle);
    requireFile(inode);
    const listed: MappedExtent[] = [];
    for (const extent of mappedExtents(this.#v, inode.ino, from)) {
      if (listed.length === limit) break;
      listed.push(extent);
    }
    return listed;
  }

  fsync(ino: number, dataOnly: boolean): Reply<void> {
    const inode = dataOnly ? this.#v.inodes.resident(ino) : undefined;
    return inode === undefined ? this.#v.sync() : this.#v.syncData(inode);
  }

  syncfs(): Reply<void> {
    return this.#v.sync();
  }

  readdir(handle: Handle, cookie: number, limit: number, by: Caller): Reply<readonly DirEntry[]> {
    return run(() => {
      const open = this.#open(handle);
      const { inode } = open;
      // Else a listing would never end while others rename, and so enter at its end (readdir(3): either is allowed).
      if (cookie === 0 || open.listingEnd === undefined) open.listingEnd = this.#v.numbersEnd;
      const page = namespace.list(this.#v, inode, cookie, open.listingEnd, limit);
      accessed(this.#v, inode, by);
      return page;
    });
  }

  findxattr(ino: number, name: string, by: Caller): Reply<Uint8Array | undefined> {
    return run(() => findXattr(this.#v, this.#v.inodes.get(ino), name, by));
  }

  getxattr(ino: number, name: string, by: Caller): Reply<Uint8Array> {
    return run(() => getXattr(this.#v, this.#v.inodes.get(ino), name, by));
  }

  listxattr(ino: number, by: Caller): Reply<readonly string[]> {
    return run(() => listXattrs(this.#v, this.#v.inodes.get(ino), by));
  }

  setxattr(
    ino: number,
    name: string,
    value: Uint8Array,
    mode: 'either' | 'create' | 'replace',
    by: Caller,
  ): Reply<void> {
    return run(() => setXattr(this.#v, this.#v.inodes.get(ino), name, value, mode, by), by);
  }

  removexattr(ino: number, name: string, by: Caller): Reply<void> {
    return run(() => removeXattr(this.#v, this.#v.inodes.get(ino), name, by), by);
  }

  statfs(ino?: number): Reply<StatFs> {
    const leaving = this.#v.lingering.soon();
    return leaving === undefined ? statfs(this.#v, ino) : leaving.then(() => statfs(this.#v, ino));
  }

  #requireNotReadOnly({ ino, flags }: Inode): void {
    if (this.#v.readOnly || (flags & INODE_SNAPSHOT) !== 0) throw new FsError('EROFS', { ino });
  }

  /** The reply, when what the operation took out of the file has gone, so that space and quotas say so. */
  #onceCut<T>(ino: number, reply: T): Reply<T> {
    return this.#v.cutting.of(ino)?.then(() => reply) ?? reply;
  }

  /** Leaves nothing in memory: most that is looked at is not used. @throws FsError ESTALE */
  #attrOf(ino: number): Attr {
    return this.#attr(this.#v.inodes.record(ino) ?? this.#v.inodes.get(ino));
  }

  #attr(inode: InodeRecord): Attr {
    return attrOf(inode, this.#v.extents.blocksOf(inode.ino));
  }

  #newHandle(inode: Inode, flags: number): Handle {
    const handle = this.#nextHandle++;
    this.#handles.set(handle, { inode, flags, listingEnd: undefined });
    inode.opens++;
    if (inode.isDirectory) this.#v.directories.get(inode.ino).opens++;
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the only place that makes this brand
    return handle as Handle;
  }

  /** Looked up anew whenever an operation starts again: while it waited the handle may have gone. @throws FsError EBADF */
  #open(handle: Handle): Open {
    const open = this.#handles.get(handle);
    if (open === undefined) throw new FsError('EBADF', { detail: `handle ${handle}` });
    return open;
  }

  #openForWriting(handle: Handle): Open {
    const open = this.#open(handle);
    if (!isWritable(open)) throw new FsError('EBADF', { ino: open.inode.ino, detail: 'opened for reading only' });
    return open;
  }

  /** The last user of an inode without names went. Nobody waits for this; if it cannot be done now, the next mount does it. */
  #reap(inode: Inode): void {
    if (this.#v.readOnly) return;
    try {
      const reaped = run(() => namespace.reap(this.#v, inode));
      if (reaped instanceof Promise) reaped.catch((error: unknown) => requireKnown(error));
    } catch (error) {
      requireKnown(error);
    }
  }
}

/** An orphan that could not go stays one: its record brings it to the next mount. Anything but FsError is a fault of ours. */
function requireKnown(error: unknown): void {
  if (!(error instanceof FsError)) throw error;
}

function isWritable(open: Open): boolean {
  return (open.flags & O_ACCMODE) !== constants.O_RDONLY;
}

/** may_open of Linux. Without O_CREAT, so that a file which O_TMPFILE or O_CREAT just made is written as it was opened. */
function requireOpenable(inode: Inode, flags: number): void {
  const truncates = (flags & constants.O_TRUNC) !== 0;
  if (inode.isDirectory || ((flags & O_ACCMODE) === constants.O_RDONLY && !truncates)) return;
  if (truncates || (flags & constants.O_APPEND) === 0) requireUnprotected(inode);
  else requireMutable(inode);
}

function requireReadable(open: Open): void {
  if ((open.flags & O_ACCMODE) !== constants.O_WRONLY) return;
  throw new FsError('EBADF', { ino: open.inode.ino, detail: 'opened for writing only' });
}

/** O_TRUNC writes, however the file is opened (open(2)). */
function accessOf(flags: number): number {
  switch (flags & O_ACCMODE) {
    case constants.O_RDONLY:
      return (flags & constants.O_TRUNC) === 0 ? R_OK : R_OK | W_OK;
    case constants.O_WRONLY:
      return W_OK;
    default:
      return R_OK | W_OK;
  }
}
