/**
 * One conversation with the kernel: which requests wait inside the filesystem, and how each is answered exactly once,
 * at once or later.
 */
import { errnoOf, FsError } from '../../errors.ts';
import { after } from '../../reply.ts';
import type { Attr, Caller, Handle, Reply, Vfs } from '../../vfs.ts';
import type { Believed } from '../driver.ts';
import { openFlag, openReply, outHeaderSize, rootNodeId } from './abi.ts';
import type { AccessTimes } from './access-times.ts';
import { believedBriefly, ReplyBuffer } from './encode.ts';
import { type Agreed, agreedOn } from './init.ts';
import { kernelLimits } from './limits.ts';
import { encodeInvalInode } from './notification.ts';
import { OpenFiles } from './open-files.ts';
import { Privileges } from './privileges.ts';
import { References } from './references.ts';
import type { RequestHeader } from './request.ts';
import { Unapplied } from './unapplied.ts';

/** Where replies go. False: the kernel does not wait for this reply any more (request aborted, mount gone). */
export interface ReplySink {
  /** The first `length` bytes of `bytes` are one whole reply. */
  send(bytes: Buffer, length: number): boolean;
  /** One reply: a header, then the pieces in order. The pieces are not touched after the return. */
  sendPieces(bytes: Buffer, headerLength: number, pieces: readonly Uint8Array[]): boolean;
}

/** A regular file, just opened. */
export interface Opened {
  readonly handle: Handle;
  readonly ino: number;
  /** open(2) */
  readonly flags: number;
  /** Cached pages outlive the open. */
  readonly keepsPages: boolean;
}

/** A request that waits inside the filesystem. */
export interface PendingRequest {
  readonly header: RequestHeader;
  readonly reply: Promise<unknown>;
}

/** How a mount serves. */
export interface Serving {
  readonly accessTimes: AccessTimes;
  /** Programs read and write past the kernel's page cache. */
  readonly directIo: boolean;
  /** What changes below the mount is announced to the kernel (MountOptions.announced). */
  readonly announced: boolean;
  /** Where it is not. */
  readonly believed?: Believed | undefined;
}

const believedLong: Believed = { namesSec: kernelLimits.believedSec, attributesSec: kernelLimits.believedSec };

export class Session {
  readonly vfs: Vfs;
  readonly privileges: Privileges;
  readonly references: References;
  readonly files = new OpenFiles();
  readonly reply: ReplyBuffer;
  /** Before INIT nothing is. */
  agreed: Agreed = agreedOn({ flags: 0 });
  readonly accessTimes: AccessTimes;
  readonly directIo: boolean;
  /** Replies that a change can overtake; undefined where the kernel believes them only briefly. */
  readonly unapplied: Unapplied | undefined;
  readonly #believed: Believed;
  readonly #sink: ReplySink;
  readonly #pending = new Map<number, PendingRequest>();
  readonly #abandoned = new Set<number>();
  /** The last ones: most requests come from the same program as the one before. */
  #caller: Caller | undefined;
  #creator: { readonly of: Caller; readonly caller: Caller } | undefined;
  /** Announcements so far. */
  #announcements = 0;

  constructor(vfs: Vfs, sink: ReplySink, { accessTimes, directIo, announced, believed = believedBriefly }: Serving) {
    this.vfs = vfs;
    this.accessTimes = accessTimes;
    this.directIo = directIo;
    this.#sink = sink;
    this.privileges = new Privileges(vfs, (ino) => this.forgetAttributes(ino));
    this.references = new References(vfs);
    this.reply = new ReplyBuffer(
      (ino) => this.swapRoot(ino),
      (ino) => vfs.mirrors?.(ino) === true,
    );
    this.#believed = believed;
    this.unapplied = announced ? new Unapplied() : undefined;
    this.#believeBriefly(false);
  }

  /** Requests that wait inside the filesystem. */
  get pending(): ReadonlyMap<number, PendingRequest> {
    return this.#pending;
  }

  /**
   * The kernel is about to get the file: fuse_open_out.open_flags. With `direct_io` writes may run side by side, since each
   * request is one operation here: the kernel lets those through that stay within the file while nobody maps it. Where
   * programs did not ask for that a write(2) of several requests keeps others off for as long as it lasts.
   */
  hand({ handle, ino, flags, keepsPages }: Opened): number {
    this.references.opened(handle);
    if (this.directIo) return openReply.directIo | openReply.parallelDirectWrites;
    const isPinned = this.vfs.isPinned?.(ino) === true;
    const pastPages = isPinned || (this.vfs.writePastPages !== undefined && this.files.canGoPastPages(ino, flags));
    this.files.opened(handle, ino, flags, pastPages);
    const readsOnly = (flags & openFlag.accessMode) === openFlag.readOnly;
    const noFlush = this.vfs.flush !== undefined && readsOnly ? openReply.noFlush : 0;
    return (keepsPages && !isPinned ? openReply.keepCache : 0) | (pastPages ? openReply.directIo : 0) | noFlush;
  }

  /** Node of the kernel to inode and back: the root is node 1, and what is inode 1 otherwise takes the root's number. */
  swapRoot(number: number): number {
    const root = this.vfs.rootIno;
    return number === root ? rootNodeId : number === rootNodeId ? root : number;
  }

  /**
   * The mount runs with default_permissions, so the kernel has checked access, and besides the primary group only those
   * matter that the request comes with.
   */
  caller(h: RequestHeader, groups: readonly number[]): Caller {
    const last = this.#caller;
    if (last?.uid === h.uid && last.gid === h.gid && last.pid === h.pid && groups.length === 0) return last;
    const { uid, gid, pid } = h;
    const atime = this.accessTimes.files;
    const caller: Caller = { uid, gid, groups: [gid, ...groups], pid, access: 'kernel', atime };
    if (groups.length === 0) this.#caller = caller;
    return caller;
  }

  /** Who reads a directory. */
  lister(by: Caller): Caller {
    return by.atime === this.accessTimes.directories ? by : { ...by, atime: this.accessTimes.directories };
  }

  /** Who creates something, where the kernel has not applied the umask. */
  creator(by: Caller, umask: number): Caller {
    if (!this.agreed.givesUmask) return by;
    if (this.#creator?.of !== by || this.#creator.caller.umask !== umask) {
      this.#creator = { of: by, caller: { ...by, umask } };
    }
    return this.#creator.caller;
  }

  /**
   * Answers with what `encode` writes about the value, now or when it is there. `undo` takes back what the kernel
   * would own by this reply, when it does not take the reply. Answers a promise while the request is being served.
   */
  answer<T>(
    h: RequestHeader,
    reply: Reply<T>,
    encode: (value: T) => number,
    undo?: (value: T) => unknown,
  ): Promise<void> | undefined {
    if (reply instanceof Promise) return this.#answerLater(h, reply, encode, undo);
    this.#finish(h, reply, encode, undo);
    return undefined;
  }

  /** Like answer, with an empty reply. */
  done(h: RequestHeader, reply: Reply<unknown>): Promise<void> | undefined {
    return this.answer(h, reply, empty);
  }

  /**
   * Answers with an entry, which counts as one reference of the kernel on the inode. `name`: as what the inode of the
   * request was asked for.
   */
  entry(h: RequestHeader, reply: Reply<Attr>, name?: string): Promise<void> | undefined {
    return this.answer(
      h,
      reply,
      (attr) => {
        this.references.remember(attr.ino);
        if (name === undefined) this.unapplied?.attributes(h.pid, attr.ino);
        else this.unapplied?.entry(h.pid, this.swapRoot(h.nodeId), name, attr.ino);
        return this.reply.entry(attr);
      },
      (attr) => void this.references.forget(attr.ino, 1),
    );
  }

  /** Answers that there is no such name. */
  absent(h: RequestHeader): undefined {
    if (this.unapplied === undefined) return this.refuse(h, 'ENOENT');
    this.#sink.send(this.reply.bytes, this.reply.finish(h.unique, 0, this.reply.absent()));
    return undefined;
  }

  /**
   * `reply` changes something in `ino` that the kernel then marks as out of date by itself: so that it stays marked,
   * whatever replies other threads have yet to apply.
   */
  changing<T>(h: RequestHeader, ino: number, reply: Reply<T>): Reply<T> {
    if (this.unapplied === undefined) return reply;
    if (reply instanceof Promise) {
      return after(reply, (value) => {
        this.overtake(h, ino);
        return value;
      });
    }
    this.overtake(h, ino);
    return reply;
  }

  /** As `changing`, once it has changed and before the reply. */
  overtake(h: RequestHeader, ino: number): void {
    if (this.unapplied?.isOvertaking(h.pid, ino) === true) this.forgetAttributes(ino);
  }

  /** Something is being announced: what was found out before must not be believed for long afterwards. */
  announcing(): void {
    this.#announcements++;
  }

  /** Answers what is no fault of anybody, and so common that it is worth no error. */
  refuse(h: RequestHeader, code: 'ENOENT' | 'ENODATA'): undefined {
    this.#sink.send(this.reply.bytes, this.reply.finish(h.unique, errnoOf(code), 0));
    return undefined;
  }

  /** Answers with an open file, which is the kernel's from then on. */
  opened(h: RequestHeader, reply: Reply<Opened>): Promise<void> | undefined {
    return this.answer(
      h,
      reply,
      (file) => this.reply.opened(file.handle, this.hand(file)),
      ({ handle }) => this.release(handle),
    );
  }

  /** The same of a directory. */
  openedDirectory(h: RequestHeader, reply: Reply<Handle>): Promise<void> | undefined {
    return this.answer(
      h,
      reply,
      (handle) => {
        this.references.opened(handle);
        return this.reply.opened(handle, 0);
      },
      (handle) => this.release(handle),
    );
  }

  /** Closes a file that the kernel has, or would have, open. */
  release(handle: Handle): Reply<void> {
    if (!this.references.closed(handle)) throw new FsError('EBADF', { op: 'release' });
    this.files.closed(handle);
    return this.vfs.release(handle);
  }

  /** Answers a READ whose pieces `read` hands over, or its failure. */
  data(
    h: RequestHeader,
    read: (use: (pieces: readonly Uint8Array[]) => void) => Reply<void>,
  ): Promise<void> | undefined {
    let sent = false;
    const use = (pieces: readonly Uint8Array[]): void => {
      if (sent || this.#abandoned.has(h.unique)) return;
      sent = true;
      let length = 0;
      for (const piece of pieces) length += piece.byteLength;
      this.overtake(h, this.swapRoot(h.nodeId)); // the time of access
      this.reply.finish(h.unique, 0, length);
      this.#sink.sendPieces(this.reply.bytes, outHeaderSize, pieces);
    };
    const failed = (error: unknown): void => {
      if (!sent) this.fail(h.unique, error);
    };
    let reply: Reply<void>;
    try {
      reply = read(use);
    } catch (error) {
      failed(error);
      return undefined;
    }
    if (!(reply instanceof Promise)) return undefined;
    this.#pending.set(h.unique, { header: h, reply });
    return reply.then(
      () => void this.#settle(h),
      (error: unknown) => {
        if (this.#settle(h)) failed(error);
      },
    );
  }

  fail(unique: number, error: unknown): void {
    this.#sink.send(this.reply.bytes, this.reply.finish(unique, errnoFor(error), 0));
  }

  /** Answers a waiting request with EINTR; what comes of it later is dropped. Only for requests that change nothing. */
  abandon(h: RequestHeader): void {
    if (!this.#pending.delete(h.unique)) return;
    this.#abandoned.add(h.unique);
    this.fail(h.unique, new FsError('EINTR'));
  }

  /**
   * Before the reply to a request that has changed more than the kernel expects of it: the mode, where it looks for new sizes
   * and times (FUSE_STATX_MODSIZE), or anything (IOCTL). On a message about attributes alone it does not block (fuse_reverse_inval_inode).
   */
  forgetAttributes(ino: number): void {
    const message = encodeInvalInode(this.swapRoot(ino), 0, 0);
    this.#sink.send(message, message.length);
  }

  #answerLater<T>(
    h: RequestHeader,
    reply: Promise<T>,
    encode: (value: T) => number,
    undo?: (value: T) => unknown,
  ): Promise<void> {
    this.#pending.set(h.unique, { header: h, reply });
    const announcements = this.#announcements;
    return reply.then(
      (value) => {
        if (!this.#settle(h)) return;
        this.#believeBriefly(announcements !== this.#announcements);
        this.#finish(h, value, encode, undo);
        this.#believeBriefly(false);
      },
      (error: unknown) => {
        if (this.#settle(h)) this.fail(h.unique, error);
      },
    );
  }

  #believeBriefly(isBrief: boolean): void {
    if (this.unapplied === undefined) this.reply.believed = this.#believed;
    else this.reply.believed = isBrief ? believedBriefly : believedLong;
  }

  /** The request is served; false when it was answered before, by abandon. */
  #settle(h: RequestHeader): boolean {
    this.#abandoned.delete(h.unique);
    return this.#pending.delete(h.unique);
  }

  #finish<T>(h: RequestHeader, value: T, encode: (value: T) => number, undo?: (value: T) => unknown): void {
    let payload: number;
    try {
      payload = encode(value);
    } catch (error) {
      this.fail(h.unique, error);
      return;
    }
    const taken = this.#sink.send(this.reply.bytes, this.reply.finish(h.unique, 0, payload));
    if (!taken) undo?.(value);
  }
}

function empty(): number {
  return 0;
}

/** The errno for the kernel. What is no FsError is a fault of ours: EIO to the caller, and said aloud. */
function errnoFor(error: unknown): number {
  if (error instanceof FsError) return errnoOf(error.code) ?? errnoOf('EIO');
  process.emitWarning(error instanceof Error ? error : new Error(String(error)));
  return errnoOf('EIO');
}
