import { EventEmitter } from 'node:events';
import { type Mode, modeOf, ownerOf, requireOffset, type Time, timesOf } from './arguments.ts';
import { ClientError, withContext } from './errors.ts';
import type { OpenInode } from './inode.ts';
import type { Layout, LayoutRequest } from './layout.ts';
import type { Opened } from './opening.ts';
import { type Limits, type OperationOptions, operation } from './operation.ts';
import { Stats } from './stats.ts';

interface OpenFileEvents {
  close: [];
}

/** What of an open file is not its bytes: attributes, barriers, layouts for the program, its end. */
export abstract class OpenFile extends EventEmitter<OpenFileEvents> {
  /** As it was opened. */
  readonly path: string;
  protected readonly inode: OpenInode;
  protected readonly opened: Opened;
  readonly #detached: (file: OpenFile) => void;
  /** What a sync found that nobody waited for any more; said by the next one, or by close. */
  #unheard: unknown;
  /** What calls have begun and is not over; it goes on when its caller has left. */
  readonly #running = new Set<Promise<void>>();
  #closing: Promise<void> | undefined;

  constructor(path: string, inode: OpenInode, opened: Opened, detached: (file: OpenFile) => void) {
    super();
    this.path = path;
    this.inode = inode;
    this.opened = opened;
    this.#detached = detached;
  }

  get ino(): number {
    return this.inode.ino;
  }

  // Attributes.

  /** The size counts what was written here and is not committed yet. */
  async stat(options?: OperationOptions): Promise<Stats> {
    this.requireOpen('stat');
    return await this.run('stat', options, async () => new Stats(await this.inode.getattr()));
  }

  async truncate(size = 0, options?: OperationOptions): Promise<void> {
    this.requireOpenFor('truncate');
    requireOffset(size, 'size');
    await this.run('ftruncate', options, () => this.inode.truncate(this.opened.open, size));
  }

  async chmod(mode: Mode, options?: OperationOptions): Promise<void> {
    this.requireOpen('fchmod');
    await this.run('fchmod', options, (limits) => this.inode.setattr({ mode: modeOf(mode) }, limits));
  }

  async chown(uid: number, gid: number, options?: OperationOptions): Promise<void> {
    this.requireOpen('fchown');
    await this.run('fchown', options, (limits) => this.inode.setattr(ownerOf(uid, gid), limits));
  }

  async utimes(atime: Time, mtime: Time, options?: OperationOptions): Promise<void> {
    this.requireOpen('futime');
    await this.run('futime', options, (limits) => this.inode.setattr(timesOf(atime, mtime), limits));
  }

  // Barriers.

  /** Everything written through this client is part of the file and durable. */
  async sync(options?: OperationOptions): Promise<void> {
    this.requireOpen('fsync');
    await this.#sync('fsync', options);
  }

  /** The same as `sync`: size and data are committed together. */
  async datasync(options?: OperationOptions): Promise<void> {
    this.requireOpen('fdatasync');
    await this.#sync('fdatasync', options);
  }

  async #sync(syscall: string, options: OperationOptions | undefined): Promise<void> {
    options?.signal?.throwIfAborted();
    const unheard = this.#unheard;
    this.#unheard = undefined;
    if (unheard !== undefined) throw withContext(unheard, this.context(syscall));
    let isDone = false;
    const work = this.#counted(this.inode.sync()).finally(() => {
      isDone = true;
    });
    try {
      await operation(this.context(syscall), options, () => work);
    } catch (error) {
      // Said once: by the next one, where nobody waited for this one to the end.
      if (!isDone) work.catch((late: unknown) => (this.#unheard = late));
      throw error;
    }
  }

  /**
   * A layout for a program that moves the data by itself. What this library had written there is committed first, and
   * its own reads and writes on the range go through the server meanwhile.
   * @throws ClientError LAYOUTUNAVAILABLE, LAYOUTTRYLATER, BADLAYOUT and others of LAYOUTGET, LAYOUT_HELD
   */
  async layout(request: LayoutRequest, options?: OperationOptions): Promise<Layout> {
    this.requireOpen('layoutget');
    const { open } = this.opened;
    return await this.run(
      'layoutget',
      options,
      async () => {
        requireOffset(request.offset, 'offset');
        if (!(request.length > 0)) throw new ClientError('ARGUMENT', `a layout of ${request.length} bytes`);
        if (request.iomode !== 'READ' && request.iomode !== 'RW') {
          throw new ClientError('ARGUMENT', `iomode ${String(request.iomode)}: READ or RW`);
        }
        const isAllowed = request.iomode === 'RW' ? open.writable : open.readable;
        if (!isAllowed) throw new ClientError('NOT_OPEN_FOR', `not open for ${request.iomode}`);
        return await this.inode.layout(open, request);
      },
      // A layout that nobody waits for any more must not be held for ever.
      (late) => late.return(),
    );
  }

  /**
   * Commits, gives all layouts back with the last handle of the file, and closes. A second call waits for the first, also
   * when that was not waited for to its end. It begins when the calls that are under way are over, also those that were
   * aborted: what they move goes to blocks that are given back here.
   */
  close(options?: OperationOptions): Promise<void> {
    this.#closing ??= this.#close();
    const closing = this.#closing;
    return options === undefined ? closing : operation(this.context('close'), options, () => closing);
  }

  async #close(): Promise<void> {
    try {
      await Promise.all(this.#running);
      await this.inode.detach(this.opened.open);
      if (this.#unheard !== undefined) throw this.#unheard;
    } catch (error) {
      throw withContext(error, this.context('close'));
    } finally {
      this.#detached(this);
      this.emit('close');
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** One call on this file, which `close` waits for. */
  protected run<T>(
    syscall: string,
    options: OperationOptions | undefined,
    work: (limits: Limits) => Promise<T>,
    undo?: (made: T) => Promise<unknown>,
  ): Promise<T> {
    return operation(this.context(syscall), options, (limits) => this.#counted(work(limits)), undo);
  }

  #counted<T>(work: Promise<T>): Promise<T> {
    const over: Promise<void> = work.then(
      () => void this.#running.delete(over),
      () => void this.#running.delete(over),
    );
    this.#running.add(over);
    return work;
  }

  protected requireOpenFor(call: 'read' | 'write' | 'truncate'): void {
    this.requireOpen(call);
    const { open } = this.opened;
    if (call === 'read' ? open.readable : open.writable) return;
    throw new ClientError('NOT_OPEN_FOR', `not open for ${call}`, this.context(call));
  }

  protected requireOpen(call: string): void {
    if (this.#closing !== undefined) throw new ClientError('CLOSED', 'the file was closed', this.context(call));
  }

  protected context(syscall: string): { syscall: string; path: string } {
    return { syscall, path: this.path };
  }
}
