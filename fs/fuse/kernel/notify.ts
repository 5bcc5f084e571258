/** Sends the kernel messages that no request asked for. */
import { constants } from 'node:os';
import { FsError } from '../../errors.ts';
import { lastErrno, systemError, writeBytes } from './libc.ts';
import { kernelLimits } from './limits.ts';

interface Waiting {
  readonly notifier: Notifier;
  readonly bytes: Buffer;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
  /** What it may block on, the same for all that may block together. */
  readonly subject: number | undefined;
}

/** Messages of all mounts that wait for a thread: the threads are the process's. */
class Lane {
  readonly #threads: number;
  readonly #queue: Waiting[] = [];
  #writing = 0;

  constructor(threads: number) {
    this.#threads = threads;
  }

  add(waiting: Waiting): void {
    this.#queue.push(waiting);
    this.#pump();
  }

  #pump(): void {
    while (this.#writing < this.#threads) {
      const waiting = this.#queue.shift();
      if (waiting === undefined) return;
      this.#writing++;
      waiting.notifier.write(waiting, () => {
        this.#writing--;
        this.#pump();
      });
    }
  }
}

const blocking = new Lane(kernelLimits.notifyThreads);
const swift = new Lane(kernelLimits.notifySwiftThreads);

/**
 * Sends notifications from other threads, since the kernel blocks the writer on pages and directories that a request
 * holds: a request which this thread may have to serve first. Those that can block are sent one after the other for
 * each inode, so that an inode costs one thread at most and holds up no other; the rest overtakes them.
 */
export class Notifier {
  readonly #fd: number;
  /** By inode, those behind the one under way. */
  readonly #behind = new Map<number, Waiting[]>();
  #waiting = 0;
  #active = 0;
  #stopped: (() => void) | undefined;

  constructor(fd: number) {
    this.#fd = fd;
  }

  /** One on which the kernel does not block. @throws FsError EAGAIN when too many wait */
  send(bytes: Buffer): Promise<void> {
    return this.#enqueue(bytes, undefined, (waiting) => swift.add(waiting));
  }

  /** One that the kernel may block on the pages of an inode or on a directory. @throws FsError EAGAIN when too many wait */
  sendBlocking(ino: number, bytes: Buffer): Promise<void> {
    return this.#enqueue(bytes, ino, (waiting) => {
      const behind = this.#behind.get(ino);
      if (behind === undefined) {
        this.#behind.set(ino, []);
        blocking.add(waiting);
      } else behind.push(waiting);
    });
  }

  /** Sends no more; resolves when the descriptor is in use no more. What waits is moot: the mount ends. */
  stop(): Promise<void> {
    return new Promise((resolve) => {
      this.#stopped = resolve;
      if (this.#active === 0) resolve();
    });
  }

  /** Called by the lane. */
  write(waiting: Waiting, done: () => void): void {
    if (this.#stopped !== undefined) {
      waiting.resolve();
      this.#next(waiting);
      done();
      return;
    }
    this.#active++;
    writeBytes.async(this.#fd, waiting.bytes, waiting.bytes.length, (error, result) => {
      const errno = result < 0 ? lastErrno() : 0;
      this.#active--;
      if (error !== null) waiting.reject(error);
      else if (errno === 0 || nothingCached.has(errno)) waiting.resolve();
      else waiting.reject(systemError(errno, 'invalidate', '/dev/fuse'));
      if (this.#active === 0) this.#stopped?.();
      this.#next(waiting);
      done();
    });
  }

  #enqueue(bytes: Buffer, subject: number | undefined, add: (waiting: Waiting) => void): Promise<void> {
    if (this.#stopped !== undefined) return Promise.resolve();
    if (this.#waiting >= kernelLimits.notifyQueueMax) {
      return Promise.reject(new FsError('EAGAIN', { op: 'invalidate', detail: `${this.#waiting} invalidations wait` }));
    }
    this.#waiting++;
    return new Promise((resolve, reject) => {
      add({ notifier: this, bytes, subject, resolve, reject });
    });
  }

  #next({ subject }: Waiting): void {
    this.#waiting--;
    if (subject === undefined) return;
    const next = this.#behind.get(subject)?.shift();
    if (next === undefined) this.#behind.delete(subject);
    else blocking.add(next);
  }
}

/** The kernel does not know the inode or name, or the mount is gone. */
const nothingCached: ReadonlySet<number> = new Set([
  constants.errno.ENOENT,
  constants.errno.ENODEV,
  constants.errno.ENOTCONN,
  constants.errno.ECONNABORTED,
]);
