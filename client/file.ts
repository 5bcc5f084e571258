import { iomode } from '../layout/types.ts';
import { operations } from '../mds/protocol/index.ts';
import { abortable, onAbort } from './abort.ts';
import { ClientError, withContext } from './errors.ts';
import type { OpenInode } from './inode.ts';
import type { Layout, LayoutRequest } from './layout.ts';
import { clientLimits } from './limits.ts';
import type { OpenState } from './open-state.ts';
import type { OperationOptions } from './operation.ts';
import type { Session } from './session.ts';
import { Stats } from './stats.ts';
import { afterTurn, Turns } from './turns.ts';

/** How the bytes went: from and to the device itself, or through the server, and then why. */
export type Route =
  | { readonly path: 'direct'; readonly reason?: undefined }
  | { readonly path: 'server'; readonly reason: string };

export type ReadResult = Route & { readonly bytesRead: number };
export type WriteResult = Route & { readonly bytesWritten: number };

/**
 * An open file. Positions and lengths are bytes; buffers belong to the call until it settles. Every method rejects with
 * ClientError: CLOSED after close, NOT_OPEN_FOR when the flags of `open` do not allow it, and what the server says.
 */
export class ClientFile {
  readonly path: string;
  readonly #inode: OpenInode;
  readonly #open: OpenState;
  readonly #session: Session;
  readonly #detached: (file: ClientFile) => void;
  readonly #turns = new Turns();
  #closing: Promise<void> | undefined;

  /** Made by `Client.open`. */
  constructor(path: string, inode: OpenInode, open: OpenState, session: Session, detached: (file: ClientFile) => void) {
    this.path = path;
    this.#inode = inode;
    this.#open = open;
    this.#session = session;
    this.#detached = detached;
  }

  get ino(): number {
    return this.#inode.ino;
  }

  /**
   * Reads up to `length` bytes at `position` into `buffer` from `offset` on; fewer only at the end of the file.
   * Under a cached layout this is one copy of memory, done when the call returns.
   */
  read(
    buffer: Uint8Array,
    offset: number,
    length: number,
    position: number,
    options?: OperationOptions,
  ): Promise<ReadResult> {
    try {
      options?.signal?.throwIfAborted();
      const target = this.#part(buffer, offset, length, position, 'read');
      const bytesRead = this.#inode.data.read(target, position);
      if (bytesRead === length) return this.#settled({ bytesRead, path: 'direct' });
      return this.#guard('read', options, this.#read(target, position, bytesRead));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * As `read`, at once, under a layout that is cached; short at its end, at the end of the file and after 16 MiB. A loop
   * of it has to let the event loop go round by itself, or recalls go unheard.
   * @throws ClientError NOT_CACHED (EAGAIN) when the server has to be asked: `read` does
   */
  readSync(buffer: Uint8Array, offset: number, length: number, position: number): number {
    const target = this.#part(buffer, offset, length, position, 'read');
    const bytesRead = this.#inode.data.read(target, position);
    if (bytesRead === 0 && length > 0) throw this.#notCached('read');
    return bytesRead;
  }

  /** Writes all of it, or what there is space for. Durable, and seen by others, after `sync` or `close`. */
  write(
    buffer: Uint8Array,
    offset: number,
    length: number,
    position: number,
    options?: OperationOptions,
  ): Promise<WriteResult> {
    try {
      options?.signal?.throwIfAborted();
      const source = this.#part(buffer, offset, length, position, 'write');
      const bytesWritten = this.#inode.data.write(source, position);
      if (bytesWritten === length) return this.#settled({ bytesWritten, path: 'direct' });
      return this.#guard('write', options, this.#write(source, position, bytesWritten));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** As `write`, at once, under a layout that is cached. @throws ClientError NOT_CACHED (EAGAIN) */
  writeSync(buffer: Uint8Array, offset: number, length: number, position: number): number {
    const source = this.#part(buffer, offset, length, position, 'write');
    const bytesWritten = this.#inode.data.write(source, position);
    if (bytesWritten === 0 && length > 0) throw this.#notCached('write');
    return bytesWritten;
  }

  /** All of the file. @throws ClientError FBIG above 2 GiB, which no Buffer holds */
  async readFile(options?: OperationOptions): Promise<Buffer> {
    const { size } = await this.stat(options);
    if (size >= 2 ** 31) throw new ClientError('FBIG', `${size} bytes do not fit a Buffer`, this.#context('read'));
    const content = Buffer.allocUnsafe(size);
    let done = 0;
    while (done < size) {
      const { bytesRead } = await this.read(content, done, size - done, done, options);
      if (bytesRead === 0) break;
      done += bytesRead;
    }
    return content.subarray(0, done);
  }

  /** The size counts what was written here and is not committed yet. */
  async stat(options?: OperationOptions): Promise<Stats> {
    this.#requireOpen('stat');
    return new Stats(await this.#guard('stat', options, this.#inode.getattr()));
  }

  async truncate(size = 0, options?: OperationOptions): Promise<void> {
    this.#requireOpen('truncate');
    if (!this.#open.writable) throw new ClientError('NOT_OPEN_FOR', 'not open for writing', this.#context('truncate'));
    requireOffset(size, 'size');
    await this.#guard('truncate', options, this.#inode.truncate(this.#open, size));
  }

  /** Everything written through this client is part of the file and durable. */
  async sync(options?: OperationOptions): Promise<void> {
    this.#requireOpen('fsync');
    await this.#guard('fsync', options, this.#inode.sync());
  }

  /**
   * A layout for a program that moves the data by itself. What this library had written there is committed first, and
   * its own reads and writes on the range go through the server meanwhile.
   * @throws ClientError LAYOUTUNAVAILABLE, LAYOUTTRYLATER, BADLAYOUT and others of LAYOUTGET, LAYOUT_HELD
   */
  async layout(request: LayoutRequest, options?: OperationOptions): Promise<Layout> {
    this.#requireOpen('layoutget');
    requireOffset(request.offset, 'offset');
    if (!(request.length > 0)) throw new ClientError('ARGUMENT', `a layout of ${request.length} bytes`);
    const allowed = request.iomode === 'RW' ? this.#open.writable : this.#open.readable;
    if (!allowed) throw new ClientError('NOT_OPEN_FOR', `not open for ${request.iomode}`, this.#context('layoutget'));
    const made = this.#inode.layout(this.#open, request);
    // A layout that nobody waits for any more must not be held for ever.
    const forget = onAbort(options?.signal, () => void made.then((layout) => layout.return()).catch(() => {}));
    return await this.#guard('layoutget', options, made).finally(forget);
  }

  /** Commits, gives all layouts back with the last handle of the file, and closes. A second call waits for the first. */
  close(): Promise<void> {
    this.#closing ??= this.#inode
      .detach(this.#open)
      .catch((error: unknown) => {
        throw withContext(error, this.#context('close'));
      })
      .finally(() => this.#detached(this));
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** The rest of a read of which `done` bytes are there already. */
  async #read(target: Uint8Array, position: number, start: number): Promise<ReadResult> {
    const { data } = this.#inode;
    let done = start;
    for (let tries = 0; tries < clientLimits.directTriesMax; ) {
      const at = position + done;
      if (at >= data.size) await this.#inode.getattr();
      if (at >= data.size) return { bytesRead: done, path: 'direct' };
      const need = { offset: at, length: Math.min(target.length - done, data.size - at) };
      const reason = await this.#inode.acquire(this.#open, iomode.read, need);
      if (reason !== undefined) return await this.#readByServer(target, position, reason);
      if (!data.sizeCurrent) await this.#inode.getattr();
      await this.#proveLease();

      const count = data.read(target.subarray(done), at);
      done += count;
      if (done === target.length) return { bytesRead: done, path: 'direct' };
      if (count === 0) tries += 1;
      else await afterTurn(undefined);
    }
    return await this.#readByServer(target, position, 'RECALLCONFLICT: recalled as fast as granted');
  }

  async #readByServer(target: Uint8Array, position: number, reason: string): Promise<ReadResult> {
    const bytesRead = await this.#inode.readByServer(this.#open, target, position);
    return { bytesRead, path: 'server', reason };
  }

  async #write(source: Uint8Array, position: number, start: number): Promise<WriteResult> {
    const { data } = this.#inode;
    let done = start;
    for (let tries = 0; tries < clientLimits.directTriesMax; ) {
      if (data.dirtyRanges >= clientLimits.dirtyRangesMax) await this.#inode.commit();
      const need = { offset: position + done, length: source.length - done };
      const reason = await this.#inode.acquire(this.#open, iomode.rw, need);
      if (reason !== undefined) return await this.#writeByServer(source, position, done, reason);
      // So that what is written can be read back without asking.
      if (this.#open.readable && !data.sizeCurrent) await this.#inode.getattr();
      await this.#proveLease();

      const count = data.write(source.subarray(done), position + done);
      done += count;
      if (done === source.length) return { bytesWritten: done, path: 'direct' };
      if (count === 0) tries += 1;
      else await afterTurn(undefined);
    }
    return await this.#writeByServer(source, position, done, 'RECALLCONFLICT: recalled as fast as granted');
  }

  /** Only what is left after `done` bytes: others may have written there since. */
  async #writeByServer(source: Uint8Array, position: number, done: number, reason: string): Promise<WriteResult> {
    const rest = await this.#inode.writeByServer(this.#open, source.subarray(done), position + done);
    return { bytesWritten: done + rest, path: 'server', reason };
  }

  /** At once, or after a turn of the event loop when it is time for one. */
  #settled<T>(result: T): Promise<T> {
    return this.#turns.due ? afterTurn(result) : Promise.resolve(result);
  }

  /** Renews the lease if nothing proves that it lives. */
  async #proveLease(): Promise<void> {
    if (!this.#session.lease.live) await this.#session.call(operations.SEQUENCE, []);
  }

  #part(buffer: Uint8Array, offset: number, length: number, position: number, call: 'read' | 'write'): Uint8Array {
    this.#requireOpen(call);
    const allowed = call === 'read' ? this.#open.readable : this.#open.writable;
    if (!allowed) throw new ClientError('NOT_OPEN_FOR', `not open for ${call}`, this.#context(call));
    requireOffset(position, 'position');
    const inside = Number.isInteger(offset) && Number.isInteger(length) && offset >= 0 && length >= 0;
    if (!inside || offset + length > buffer.length) {
      throw new ClientError(
        'ARGUMENT',
        `bytes ${offset}+${length} of a buffer of ${buffer.length}`,
        this.#context(call),
      );
    }
    return offset === 0 && length === buffer.length ? buffer : buffer.subarray(offset, offset + length);
  }

  #requireOpen(call: string): void {
    if (this.#closing !== undefined) throw new ClientError('CLOSED', 'the file was closed', this.#context(call));
  }

  #notCached(call: string): ClientError {
    return new ClientError('NOT_CACHED', 'no live layout of this client covers it', this.#context(call));
  }

  #guard<T>(syscall: string, options: OperationOptions | undefined, work: Promise<T>): Promise<T> {
    return abortable(work, options?.signal).catch((error: unknown) => {
      throw withContext(error, this.#context(syscall));
    });
  }

  #context(syscall: string): { syscall: string; path: string } {
    return { syscall, path: this.path };
  }
}

function requireOffset(value: number, name: string): void {
  if (!Number.isSafeInteger(value) || value < 0) throw new ClientError('ARGUMENT', `${name} ${value}`);
}
