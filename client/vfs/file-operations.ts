import { constants } from 'node:fs';
import { FsError } from '../../fs/errors.ts';
import type { Caller, FallocateMode, Handle, MappedExtent, Reply, WritePlace } from '../../fs/vfs.ts';
import {
  attrFromWire,
  busAddressFromWire,
  fallocateModes,
  openTarget,
  operations,
  type ReplyOf,
  type RequestOf,
  seekWhences,
  shareAccess,
} from '../../mds/protocol/index.ts';
import { ClientError } from '../errors.ts';
import type { OpenInode } from '../inode.ts';
import { clientLimits } from '../limits.ts';
import type { OpenFiles } from '../open-files.ts';
import { type Access, OpenState } from '../open-state.ts';
import type { ByteRange } from '../ranges.ts';
import type { Session } from '../session.ts';
import { exactWindow } from '../windows.ts';
import { credentialsOf } from './credentials.ts';
import { Handles, type RemoteFile } from './handles.ts';
import { errorForKernel, fail, killable, type UserRequests } from './requests.ts';

type OpenTarget = RequestOf<typeof operations.OPEN>[0];
type OpenReply = ReplyOf<typeof operations.OPEN>;

/** Among the flags of open(2), on every Linux; node's table lacks it. */
const O_ACCMODE = 3;
/** FMODE_EXEC of Linux (include/linux/fs.h), which FUSE_OPEN hands on: the file is to be run. */
const FMODE_EXEC = 0x20;

/**
 * Open files and their bytes, for a kernel. Under a cached layout a read or write is a copy of memory, done when the call
 * returns; what is written is committed by fsync and by close, and otherwise soon.
 *
 * M1 What the server does to the bytes of a file (truncation, FALLOCATE, COPY, appending) meets no layout and no uncommitted
 *    write of this client in its range.
 */
export class FileOperations {
  readonly handles = new Handles();
  readonly #session: Session;
  readonly #users: UserRequests;
  readonly #files: OpenFiles;
  /** Where direct reads put what the kernel takes at once. */
  readonly #scratch = Buffer.alloc(clientLimits.kernelReadMax);
  /** Change attributes of inodes that the kernel knows, as they were when last opened here. */
  readonly #changes = new Map<number, number>();
  /** What was written and not synced, where all of it went through the server, in few writes of a small file; undefined: it did not. */
  readonly #served = new Map<OpenInode, readonly ServedWrite[] | undefined>();
  /** Files that are being closed, by inode. */
  readonly #closing = new Map<number, Promise<unknown>>();
  readonly #committing = new Map<OpenInode, NodeJS.Timeout>();

  constructor(session: Session, users: UserRequests, files: OpenFiles) {
    this.#session = session;
    this.#users = users;
    this.#files = files;
  }

  // Opening and closing.

  open(target: OpenTarget, flags: number, by: Caller): Promise<Opened> {
    return killable(this.#openFile(target, flags, by), ({ handle }) => {
      const open = this.handles.remove(handle);
      if (open?.kind === 'file') void this.release(open);
    });
  }

  async #openFile(target: OpenTarget, flags: number, by: Caller): Promise<Opened> {
    const access = accessOf(flags);
    const appends = (flags & constants.O_APPEND) !== 0;
    const truncates = (flags & constants.O_TRUNC) !== 0;
    if (target[0] === openTarget.inode) await this.released(target[1]);
    const known = target[0] === openTarget.inode ? this.#files.find(target[1]) : undefined;
    const [stateid, wire] = await this.#send(
      [target, access, truncates && known === undefined, appends],
      by,
      (flags & FMODE_EXEC) !== 0,
    );
    const attr = attrFromWire(wire);
    const open = new OpenState(
      this.#session,
      attr.ino,
      { access, append: appends, credentials: credentialsOf(by) },
      stateid,
      this.#session.incarnation,
    );
    const how = { append: appends, synchronous: false, truncate: truncates };
    const file = this.#files.add(`inode ${attr.ino}`, how, { open, attr });
    const inode = this.#files.find(attr.ino);
    if (inode === undefined) throw new FsError('EIO', { ino: attr.ino, detail: 'closed while it was opened' });
    // M1: nobody else knows what was written here and not committed.
    if (truncates && known !== undefined) {
      this.#served.set(inode, undefined);
      await inode.truncate(open.writable ? open : undefined, 0).catch(fail);
    }
    const unchanged = this.#changes.get(attr.ino) === attr.change;
    this.#changes.set(attr.ino, attr.change);
    const { ino } = attr;
    return { attr, handle: this.handles.add({ kind: 'file', ino, file, inode, open, appends, served: 0, unchanged }) };
  }

  /** Everything that was written through any handle is visible to others, or that it is lost is said, once. */
  flush(handle: Handle): Reply<void> {
    const { inode } = this.handles.file(handle);
    return inode.publish().catch(fail);
  }

  async release({ file, inode, ino }: RemoteFile): Promise<void> {
    // What could not be kept FLUSH has said; nobody hears it here.
    if (inode.opens.size === 1) {
      this.#served.delete(inode);
      inode.leaveToServer();
    }
    const closing = Promise.allSettled([this.#closing.get(ino), file.close()]);
    this.#closing.set(ino, closing);
    await closing;
    if (this.#closing.get(ino) === closing) this.#closing.delete(ino);
    if (inode.opens.size > 0) return;
    this.#served.delete(inode);
    this.#forgetCommit(inode);
  }

  /** The kernel does not wait for its RELEASE: what is asked after it is to find the file closed. */
  released(ino?: number): Reply<unknown> {
    if (ino !== undefined) return this.#closing.get(ino);
    return this.#closing.size === 0 ? undefined : Promise.all(this.#closing.values());
  }

  forget(ino: number): void {
    this.#changes.delete(ino);
  }

  /** The inodes that were opened here and that the kernel knows. */
  forgetPages(): readonly number[] {
    const inos = [...this.#changes.keys()];
    this.#changes.clear();
    return inos;
  }

  // Bytes.

  read<T>(handle: Handle, offset: number, length: number, use: (pieces: readonly Uint8Array[]) => T): Reply<T> {
    const open = this.handles.file(handle);
    const { inode, file } = open;
    if (length <= this.#scratch.length) {
      const target = this.#scratch.subarray(0, length);
      const count = inode.data.read(target, offset);
      // Shorter at the end of the file, as it is known here (D3 of FileData).
      if (count === length || (count > 0 && offset + count === inode.data.size))
        return use([target.subarray(0, count)]);
    }
    const target = Buffer.allocUnsafe(length);
    if (this.#isServed(open, inode.data.size)) {
      return inode
        .readByServer(open.open, target, offset)
        .then((bytesRead) => use([target.subarray(0, bytesRead)]), fail);
    }
    return file.read(target, 0, length, offset).then(({ bytesRead }) => use([target.subarray(0, bytesRead)]), fail);
  }

  write(handle: Handle, offset: number, data: Uint8Array, at: WritePlace | undefined): Reply<number> {
    const open = this.handles.file(handle);
    const { inode } = open;
    if (open.appends) {
      this.#served.set(inode, undefined);
      const copy = Buffer.from(data);
      return killable(
        at === 'offset' ? this.#writeElsewhere(open, offset, copy) : open.inode.append(open.open, copy, {}).catch(fail),
      );
    }
    const count = inode.data.write(data, offset);
    if (count > 0) this.#served.set(inode, undefined);
    this.#commitSoon(inode);
    if (count === data.length) return count;
    // A copy: whoever is killed meanwhile takes its buffer along.
    return killable(this.#writeSlowly(open, Buffer.from(data), offset));
  }

  async #writeSlowly(open: RemoteFile, data: Uint8Array, offset: number): Promise<number> {
    const { inode, file } = open;
    try {
      if (this.#isServed(open, Math.max(offset + data.length, inode.data.size))) {
        const written = await inode.writeByServer(open.open, data, offset);
        this.#keep(inode, { open: open.open, offset, data });
        return written;
      }
      this.#served.set(inode, undefined);
      const { bytesWritten } = await file.write(data, 0, data.length, offset);
      this.#commitSoon(inode);
      return bytesWritten;
    } catch (error) {
      throw errorForKernel(error);
    }
  }

  /**
   * A small file is read and written in fewer requests through the server than a layout takes to be had and given back; who
   * comes again gets one (as mdsthreshold4 of RFC 8881 §5.12.4 advises).
   */
  #isServed(open: RemoteFile, size: number): boolean {
    if (size > clientLimits.servedFileMax || open.inode.hold.stateid !== undefined) return false;
    open.served += 1;
    return open.served <= clientLimits.servedMax;
  }

  /** Written again it would hide what came later another way: so either all is kept, or nothing. */
  #keep(inode: OpenInode, write: ServedWrite): void {
    if (inode.opens.size === 0) return;
    const kept = this.#served.has(inode) ? this.#served.get(inode) : inode.isDirty ? undefined : [];
    const isFew = kept !== undefined && kept.length < clientLimits.servedMax;
    this.#served.set(inode, isFew ? [...kept, write] : undefined);
  }

  /** What a server that started anew has lost of small files is written once more: it is still here (RFC 8881 §18.32.3). */
  async #sync(inode: OpenInode): Promise<void> {
    const kept = this.#served.get(inode);
    this.#served.delete(inode);
    try {
      await inode.sync();
    } catch (error) {
      if (kept === undefined || !(error instanceof ClientError && error.status === 'WRITE_LOST'))
        throw errorForKernel(error);
      for (const { open, offset, data } of kept) await inode.writeByServer(open, data, offset).catch(fail);
      await inode.sync().catch(fail);
    }
  }

  /** Through a descriptor with O_APPEND, but not at the end: pages of mappings, or after fcntl(2). */
  async #writeElsewhere({ ino }: RemoteFile, offset: number, data: Uint8Array): Promise<number> {
    const [stateid, wire] = await this.#send(
      [[openTarget.inode, ino], shareAccess.write, false, false],
      undefined,
      false,
    );
    const open = new OpenState(
      this.#session,
      ino,
      { access: shareAccess.write, append: false },
      stateid,
      this.#session.incarnation,
    );
    const flags = { append: false, synchronous: false, truncate: false };
    const file = this.#files.add(`inode ${ino}`, flags, { open, attr: attrFromWire(wire) });
    try {
      return (await file.write(data, 0, data.length, offset)).bytesWritten;
    } catch (error) {
      throw errorForKernel(error);
    } finally {
      await file.close().catch(fail);
    }
  }

  fallocate(handle: Handle, mode: FallocateMode, offset: number, length: number, by: Caller): Reply<void> {
    const open = this.handles.file(handle);
    const isMoving = mode === 'collapse' || mode === 'insert';
    return this.#byServer(open.inode, { offset, length: isMoving ? Infinity : length }, async () => {
      const stateid = await open.open.stateid();
      const args: RequestOf<typeof operations.FALLOCATE> = [stateid, fallocateModes.indexOf(mode), offset, length];
      await this.#users.ask(operations.FALLOCATE, args, by, true);
    });
  }

  seek(handle: Handle, offset: number, whence: 'data' | 'hole', by: Caller): Reply<number> {
    const { inode, open } = this.handles.file(handle);
    return inode
      .commit()
      .then(async () => {
        const args: RequestOf<typeof operations.SEEK> = [await open.stateid(), offset, seekWhences.indexOf(whence)];
        const [found] = await this.#users.ask(operations.SEEK, args, by, true);
        return found;
      })
      .catch(fail);
  }

  copyRange(from: Handle, fromOffset: number, to: Handle, toOffset: number, length: number, by: Caller): Reply<number> {
    const source = this.handles.file(from);
    const target = this.handles.file(to);
    if (target.appends) throw new FsError('EBADF', { ino: target.ino, detail: 'opened for appending' });
    return this.#byServer(target.inode, { offset: toOffset, length }, async () => {
      await source.inode.commit();
      const args: RequestOf<typeof operations.COPY> = [
        await source.open.stateid(),
        fromOffset,
        await target.open.stateid(),
        toOffset,
        length,
      ];
      const [copied] = await this.#users.ask(operations.COPY, args, by, true);
      return copied;
    });
  }

  async map(handle: Handle, from: number, limit: number, by: Caller): Promise<readonly MappedExtent[]> {
    const { inode, ino } = this.handles.file(handle);
    await inode.commit().catch(fail);
    const [page] = await this.#users.ask(operations.MAP, [ino, from], by);
    return page.slice(0, limit).map(([offset, length, device, storageOffset, address, unwritten, shares]) => {
      return { offset, length, device, storageOffset, busAddress: busAddressFromWire(address), unwritten, shares };
    });
  }

  /** What was written is part of the file: its size and times are what the server says. */
  committed(ino: number): Reply<void> {
    const inode = this.#files.find(ino);
    return inode?.isDirty === true ? inode.commit().catch(fail) : undefined;
  }

  /** The server cuts the file at `size`, or lets it grow. M1. */
  resized<T>(ino: number, size: number, work: () => Reply<T>): Reply<T> {
    const inode = this.#files.find(ino);
    return inode === undefined ? work() : this.#byServer(inode, { offset: size, length: Infinity }, work);
  }

  fsync(ino: number, dataOnly: boolean): Promise<void> {
    const inode = this.#files.find(ino);
    const written = inode === undefined ? undefined : this.#sync(inode);
    const rest = this.#users.ask(operations.COMMIT, [ino, dataOnly], undefined);
    return Promise.all([written, rest]).then(() => {});
  }

  async syncAll(): Promise<void> {
    const synced = [...this.#files.opened].map((inode) => this.#sync(inode));
    await Promise.all(synced);
  }

  /** The size that the kernel is to see: with what was written since the server was asked. */
  sizeSeen({ ino, size }: RemoteAttr): number {
    const inode = this.#files.find(ino);
    if (inode === undefined) return size;
    if (inode.isDirty) return Math.max(size, inode.data.size);
    // Others have changed it, or we have while the answer was under way: the next read finds out.
    if (size !== inode.data.size) inode.data.doubtSize();
    return size;
  }

  /** M1. */
  #byServer<T>(inode: OpenInode, range: ByteRange, work: () => Reply<T>): Promise<T> {
    return killable(this.#cleared(inode, range, work));
  }

  async #cleared<T>(inode: OpenInode, range: ByteRange, work: () => Reply<T>): Promise<T> {
    const settled = inode.hold.beginReturn();
    try {
      await this.#clear(inode, range);
      return await work();
    } catch (error) {
      throw errorForKernel(error);
    } finally {
      inode.data.doubtSize();
      settled();
    }
  }

  async #clear(inode: OpenInode, range: ByteRange): Promise<void> {
    this.#served.set(inode, undefined);
    await inode.commit();
    await inode.release(exactWindow(range));
  }

  async #send(args: RequestOf<typeof operations.OPEN>, by: Caller | undefined, runs: boolean): Promise<OpenReply> {
    const closeLate = ([stateid]: OpenReply): void => {
      this.#session.call(operations.CLOSE, [stateid], { stateful: true }).catch(() => {
        // The end of the session closes it as well.
      });
    };
    try {
      return await this.#users.ask(operations.OPEN, args, by, false, closeLate);
    } catch (error) {
      // Who may run a file and not read it runs it: the kernel has looked, and the mount itself reads.
      if (runs && error instanceof FsError && error.code === 'EACCES') {
        return await this.#users.ask(operations.OPEN, args, undefined, false, closeLate);
      }
      throw error;
    }
  }

  #commitSoon(inode: OpenInode): void {
    if (!inode.isDirty || this.#committing.has(inode)) return;
    const timer = setTimeout(() => {
      this.#committing.delete(inode);
      // What fails is said by the next fsync or close.
      inode.commit().catch(() => {});
    }, clientLimits.commitAfterMs);
    this.#committing.set(inode, timer.unref());
  }

  #forgetCommit(inode: OpenInode): void {
    clearTimeout(this.#committing.get(inode));
    this.#committing.delete(inode);
  }
}

export type RemoteAttr = ReturnType<typeof attrFromWire>;

interface ServedWrite {
  readonly open: OpenState;
  readonly offset: number;
  readonly data: Uint8Array;
}

export interface Opened {
  readonly attr: RemoteAttr;
  readonly handle: Handle;
}

/** open(2): 3 is for ioctl(2) alone and needs both permissions. */
function accessOf(flags: number): Access {
  switch (flags & O_ACCMODE) {
    case constants.O_RDONLY:
      return shareAccess.read;
    case constants.O_WRONLY:
      return shareAccess.write;
    default:
      return shareAccess.both;
  }
}
