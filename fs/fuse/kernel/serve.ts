/** Serves requests of the kernel: decodes, hands to the operation, and answers whatever goes wrong. */
import { FsError } from '../../errors.ts';
import type { Name } from '../../name.ts';
import type { Caller, Vfs } from '../../vfs.ts';
import { opcode } from './abi.ts';
import { accessTimes } from './access-times.ts';
import { access, getattr, getxattr, listxattr, removexattr, setattr, setxattr, statfs, statx } from './attributes.ts';
import type { Cursor } from './cursor.ts';
import { copyFileRange, fallocate, flush, lseek, open, read, write } from './data.ts';
import { decodeGroups, decodeHeader, decodeRequest } from './decode.ts';
import { opendir, readdir, readdirplus } from './directory.ts';
import { agreedOn, negotiate } from './init.ts';
import { Interrupts } from './interrupts.ts';
import { ioctl } from './ioctl.ts';
import { kernelLimits } from './limits.ts';
import { create, link, lookup, mkdir, mknod, readlink, rename, symlink, tmpfile } from './namespace.ts';
import type { Operation, Request, RequestHeader, RequestOf } from './request.ts';
import { type ReplySink, type Serving, Session } from './session.ts';
import type { Standing } from './unapplied.ts';

export interface ServerEvents {
  /** INIT was answered: the mount works. */
  onReady(): void;
  /** INIT could not be agreed on. */
  onRefused(error: FsError): void;
}

const cached: Serving = { accessTimes: accessTimes([]), directIo: false, announced: false };

export class Server {
  readonly #session: Session;
  readonly #interrupts: Interrupts;
  readonly #events: ServerEvents;

  constructor(vfs: Vfs, sink: ReplySink, events: ServerEvents, serving: Serving = cached) {
    this.#session = new Session(vfs, sink, serving);
    this.#interrupts = new Interrupts(this.#session);
    this.#events = events;
  }

  /** Requests that wait inside the filesystem. */
  get pending(): number {
    return this.#session.pending.size;
  }

  /** What peers changed on an inode may be its mode too. Answers the replies that may miss the announcement. */
  changed(ino: number): readonly Standing[] {
    this.#session.announcing();
    this.#session.privileges.forget(ino);
    return this.#session.unapplied?.ofInode(ino) ?? [];
  }

  /** The same for a name in a directory. */
  changedName(parent: number, name: Name): readonly Standing[] {
    this.#session.announcing();
    return this.#session.unapplied?.ofName(parent, name) ?? [];
  }

  /** Node number of an inode, for notifications. */
  nodeId(ino: number): number {
    return this.#session.swapRoot(ino);
  }

  /** The mount has ended: what the kernel held of the filesystem is given back. */
  stop(): void {
    this.#interrupts.stop();
    this.#session.references.dropAll();
  }

  /**
   * Serves the request under the cursor. Never throws. Answers a promise, which never rejects, when the bytes under
   * the cursor are in use until it settles.
   */
  serve(c: Cursor): Promise<void> | undefined {
    let header: RequestHeader;
    try {
      header = decodeHeader(c);
    } catch (error) {
      process.emitWarning(error instanceof Error ? error : String(error));
      return undefined;
    }
    try {
      const by = this.#session.caller(header, decodeGroups(header, c));
      const request = decodeRequest(header, c, this.#session.agreed);
      if (this.#session.pending.size >= kernelLimits.pendingMax && starts.has(request.op)) {
        throw new FsError('ENOMEM', { detail: `${kernelLimits.pendingMax} requests wait` });
      }
      const serving = this.#dispatch(header, request, by);
      return request.op === 'write' ? serving : undefined;
    } catch (error) {
      if (!unanswered.has(header.opcode)) this.#session.fail(header.unique, error);
      return undefined;
    }
  }

  #dispatch(h: RequestHeader, r: Request, by: Caller): Promise<void> | undefined {
    const s = this.#session;
    const ino = s.swapRoot(h.nodeId);
    switch (r.op) {
      case 'init':
        return this.#init(h, r);
      case 'lookup':
        return lookup(s, h, r, by);
      case 'forget':
        return forget(s, ino, r.count);
      case 'batchForget':
        for (const one of r.forgets) forget(s, s.swapRoot(one.nodeId), one.count);
        return undefined;
      case 'getattr':
        return getattr(s, h, by);
      case 'statx':
        return statx(s, h, by);
      case 'setattr':
        return setattr(s, h, r, by);
      case 'access':
        return access(s, h, r, by);
      case 'readlink':
        return readlink(s, h, by);
      case 'symlink':
        return symlink(s, h, r, by);
      case 'mknod':
        return mknod(s, h, r, by);
      case 'mkdir':
        return mkdir(s, h, r, by);
      case 'unlink':
        return s.done(h, s.changing(h, ino, s.vfs.unlink(ino, r.name, by)));
      case 'rmdir':
        return s.done(h, s.changing(h, ino, s.vfs.rmdir(ino, r.name, by)));
      case 'rename':
        return rename(s, h, r, by);
      case 'link':
        return link(s, h, r, by);
      case 'create':
        return create(s, h, r, by);
      case 'tmpfile':
        return tmpfile(s, h, r, by);
      case 'open':
        return open(s, h, r, by);
      case 'read':
        return read(s, h, r, by);
      case 'write':
        return write(s, h, r, by);
      case 'fallocate':
        return fallocate(s, h, r, by);
      case 'lseek':
        return lseek(s, h, r, by);
      case 'copyFileRange':
        return copyFileRange(s, h, r, by);
      case 'flush':
        return flush(s, h, r);
      case 'fsync':
        return s.done(h, s.vfs.fsync(ino, r.dataOnly));
      case 'fsyncdir':
        return s.done(h, s.vfs.fsync(ino, r.dataOnly));
      case 'syncfs':
        return s.done(h, s.vfs.syncfs());
      case 'opendir':
        return opendir(s, h, by);
      case 'readdir':
        return readdir(s, h, r, by);
      case 'readdirplus':
        return readdirplus(s, h, r, by);
      case 'release':
      case 'releasedir':
        return s.done(h, s.release(r.handle));
      case 'setxattr':
        return setxattr(s, h, r, by);
      case 'getxattr':
        return getxattr(s, h, r, by);
      case 'listxattr':
        return listxattr(s, h, r, by);
      case 'removexattr':
        return removexattr(s, h, r, by);
      case 'statfs':
        return statfs(s, h);
      case 'interrupt':
        this.#interrupts.interrupt(r.unique);
        return undefined;
      case 'destroy':
        return s.done(h, undefined);
      case 'ioctl':
        return ioctl(s, h, r, by);
      // The answer to a NOTIFY_RETRIEVE, which is never sent; it has none itself.
      case 'notifyReply':
        return undefined;
      // POLL, BMAP and locks: the kernel then does them itself. SETUPMAPPING: of virtio-fs alone. All in docs/fuse.md.
      case 'unsupported':
        throw new FsError('ENOSYS');
    }
  }

  #init(h: RequestHeader, r: RequestOf<'init'>): undefined {
    try {
      const agreed = negotiate(r, this.#session.vfs.hasAcls === true);
      this.#session.agreed = agreedOn(agreed);
      void this.#session.answer(h, agreed, (fields) => this.#session.reply.init(fields));
      if (r.major === agreed.major) this.#events.onReady();
    } catch (error) {
      this.#session.fail(h.unique, error);
      if (error instanceof FsError) this.#events.onRefused(error);
    }
    return undefined;
  }
}

/** The kernel waits for no reply, and takes none, not even a refusal (fuse.h). */
const unanswered: ReadonlySet<number> = new Set([
  opcode.forget,
  opcode.batchForget,
  opcode.interrupt,
  opcode.notifyReply,
]);

/** What begins new work; what ends work (release, forget, interrupt) is served however much waits. */
const starts: ReadonlySet<Operation> = new Set<Operation>([
  'lookup',
  'getattr',
  'statx',
  'setattr',
  'read',
  'write',
  'open',
  'opendir',
  'create',
  'fsync',
  'readdir',
  'readdirplus',
  'fallocate',
  'copyFileRange',
  'ioctl',
]);

/** FORGET is never answered (fuse.h). */
function forget(s: Session, ino: number, count: number): undefined {
  if (s.references.forget(ino, count)) s.privileges.forget(ino);
  return undefined;
}
