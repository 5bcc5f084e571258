import type { FileHandle as NodeFileHandle } from 'node:fs/promises';
import type { Interface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import type { ReadableStream } from 'node:stream/web';
import { bytesOf, type Data, requireOffset } from './arguments.ts';
import { type CopiedFile, type CopyOptions, type CopyResult, copyIn, copyOut, copyRange } from './copy/copy.ts';
import { OutsideFile, OutsideStream } from './copy/outside.ts';
import { ClientError, withContext } from './errors.ts';
import { FileIo, type Route, type RouteCounters, requireDirect } from './file-io.ts';
import type { OpenInode } from './inode.ts';
import {
  type BufferRange,
  isView,
  newBuffer,
  type Position,
  partOf,
  positionOf,
  type ReadOptions,
  type Transfer,
  transferOf,
  writeTransferOf,
} from './io-arguments.ts';
import { OpenFile } from './open-file.ts';
import type { HandleFlags } from './open-flags.ts';
import type { Opened } from './opening.ts';
import type { Limits, OperationOptions } from './operation.ts';
import type { ByteRange } from './ranges.ts';
import type { Session } from './session.ts';
import {
  linesOf,
  ReadStream,
  type ReadStreamOptions,
  WriteStream,
  type WriteStreamOptions,
  webStreamOf,
} from './streams.ts';
import { afterTurn, Turns } from './turns.ts';
import { readWhole, type WholeData, writeWhole } from './whole.ts';

export type ReadResult<B = Uint8Array> = Route & { readonly bytesRead: number; readonly buffer: B };
export type WriteResult<B = Uint8Array> = Route & { readonly bytesWritten: number; readonly buffer: B };
export type ReadvResult = Route & { readonly bytesRead: number; readonly buffers: readonly NodeJS.ArrayBufferView[] };
export type WritevResult = Route & {
  readonly bytesWritten: number;
  readonly buffers: readonly NodeJS.ArrayBufferView[];
};

/**
 * An open file, as node's FileHandle. Positions and lengths are bytes; buffers belong to the call until it settles. Every
 * method rejects with ClientError: CLOSED after close, NOT_OPEN_FOR when the flags of `open` do not allow it, and what the
 * server says.
 */
export class FileHandle extends OpenFile {
  readonly #flags: HandleFlags;
  readonly #io: FileIo;
  readonly #turns = new Turns();
  /** Where I/O without a position goes on. */
  #position = 0;
  /** Such I/O, one after the other. */
  #line: Promise<unknown> = Promise.resolve();

  /** Made by `Client.open`. */
  constructor(
    path: string,
    flags: HandleFlags,
    inode: OpenInode,
    opened: Opened,
    session: Session,
    detached: (file: OpenFile) => void,
  ) {
    super(path, inode, opened, detached);
    this.#flags = flags;
    this.#io = new FileIo(inode, opened.open, session);
  }

  /** Bytes moved through this handle, and how. */
  get counters(): RouteCounters {
    return this.#io.counters;
  }

  // Reading.

  read<B extends NodeJS.ArrayBufferView>(
    buffer: B,
    offset?: number | null,
    length?: number | null,
    position?: Position,
    options?: OperationOptions,
  ): Promise<ReadResult<B>>;
  read<B extends NodeJS.ArrayBufferView>(buffer: B, options?: BufferRange): Promise<ReadResult<B>>;
  read<B extends NodeJS.ArrayBufferView = Buffer>(options?: ReadOptions<B>): Promise<ReadResult<B>>;
  /**
   * Reads up to `length` bytes (all that the buffer takes from `offset` on) at `position` (null: the current one, which
   * moves); fewer only at the end of the file. Without a buffer into a new one of 16 KiB.
   * Under a cached layout this is one copy of memory, done when the call returns.
   */
  read(
    first?: NodeJS.ArrayBufferView | ReadOptions<NodeJS.ArrayBufferView>,
    second?: number | null | BufferRange,
    length?: number | null,
    position?: Position,
    options?: OperationOptions,
  ): Promise<ReadResult<NodeJS.ArrayBufferView>> {
    try {
      this.requireOpenFor('read');
      const buffer = isView(first) ? first : (first?.buffer ?? newBuffer());
      const transfer = transferOf(buffer, isView(first) ? second : (first ?? {}), length, position, options);
      if (transfer.position === null) return this.#readHere(buffer, transfer);
      transfer.options?.signal?.throwIfAborted();
      const bytesRead = this.#io.readNow(transfer.bytes, transfer.position);
      if (bytesRead === transfer.bytes.length) return this.#settled({ bytesRead, buffer, path: 'direct' });
      return this.#readRest(buffer, transfer.bytes, transfer.position, bytesRead, transfer.options);
    } catch (error) {
      return Promise.reject(withContext(error, this.context('read')));
    }
  }

  async #readHere<B>(buffer: B, { bytes, options }: Transfer): Promise<ReadResult<B>> {
    return await this.#inLine('read', options, async (limits) => {
      const { count, route } = await this.#io.read(bytes, this.#position, 0, limits);
      limits.signal?.throwIfAborted();
      this.#position += count;
      return { bytesRead: count, buffer, ...route };
    });
  }

  async #readRest<B>(
    buffer: B,
    bytes: Uint8Array,
    position: number,
    start: number,
    options: OperationOptions | undefined,
  ): Promise<ReadResult<B>> {
    return await this.run('read', options, async (limits) => {
      const { count, route } = await this.#io.read(bytes, position, start, limits);
      return { bytesRead: count, buffer, ...route };
    });
  }

  /**
   * As `read` at a position, at once, under a layout that is cached; short at its end, at the end of the file and after
   * 16 MiB. A loop of it has to let the event loop go round by itself, or recalls go unheard.
   * @throws ClientError NOT_CACHED (EAGAIN) when the server has to be asked: `read` does
   */
  readSync(buffer: Uint8Array, offset: number, length: number, position: number): number {
    try {
      this.requireOpenFor('read');
      requireOffset(position, 'position');
      const count = this.#io.readNow(partOf(buffer, offset, length), position);
      requireDirect(count, length);
      return count;
    } catch (error) {
      throw withContext(error, this.context('read'));
    }
  }

  /** Into one buffer after the other, as preadv(2). @param position null: the current one */
  async readv(
    buffers: readonly NodeJS.ArrayBufferView[],
    position?: Position,
    options?: OperationOptions,
  ): Promise<ReadvResult> {
    this.requireOpenFor('read');
    return await this.#vector('read', options, positionOf(position), async (from, limits) => {
      let bytesRead = 0;
      let route: Route = { path: 'direct' };
      for (const bytes of buffers.map((buffer) => bytesOf(buffer))) {
        const part = await this.#io.read(bytes, from + bytesRead, 0, limits);
        bytesRead += part.count;
        if (part.route.path === 'server') ({ route } = part);
        if (part.count < bytes.length) break;
      }
      return [bytesRead, { bytesRead, buffers, ...route }];
    });
  }

  readFile(options?: OperationOptions & { readonly encoding?: null }): Promise<Buffer>;
  readFile(options: BufferEncoding | (OperationOptions & { readonly encoding: BufferEncoding })): Promise<string>;
  /**
   * All of the file, wherever the current position is, which stays; `counters` tell how the bytes came.
   * @throws ClientError FBIG above 2 GiB, which no Buffer holds
   */
  async readFile(
    options?: BufferEncoding | (OperationOptions & { readonly encoding?: BufferEncoding | null }),
  ): Promise<Buffer | string> {
    const { encoding, ...limits } = typeof options === 'string' ? { encoding: options } : (options ?? {});
    this.requireOpenFor('read');
    const content = await this.run('read', limits, async (within) =>
      readWhole(this.#io, await this.inode.getattr(), within),
    );
    return typeof encoding === 'string' ? content.toString(encoding) : content;
  }

  // Writing.

  write<B extends NodeJS.ArrayBufferView>(
    buffer: B,
    offset?: number | null,
    length?: number | null,
    position?: Position,
    options?: OperationOptions,
  ): Promise<WriteResult<B>>;
  write<B extends NodeJS.ArrayBufferView>(buffer: B, options?: BufferRange): Promise<WriteResult<B>>;
  write(
    text: string,
    position?: Position,
    encoding?: BufferEncoding | null,
    options?: OperationOptions,
  ): Promise<WriteResult<string>>;
  /** Writes all of it, or what there is space for. Durable, and seen by others, after `sync` or `close`. */
  write(
    data: Data,
    second?: Position | BufferRange,
    third?: number | null | BufferEncoding,
    fourth?: Position | OperationOptions,
    fifth?: OperationOptions,
  ): Promise<WriteResult<Data>> {
    try {
      this.requireOpenFor('write');
      const transfer = writeTransferOf(data, second, third, fourth, fifth);
      const { bytes, position, options } = transfer;
      if (this.#flags.append || this.#flags.synchronous || position === null) return this.#writeInLine(data, transfer);
      options?.signal?.throwIfAborted();
      const bytesWritten = this.#io.writeNow(bytes, position);
      if (bytesWritten === bytes.length) return this.#settled({ bytesWritten, buffer: data, path: 'direct' });
      return this.#writeRest(data, bytes, position, bytesWritten, options);
    } catch (error) {
      return Promise.reject(withContext(error, this.context('write')));
    }
  }

  async #writeRest<B>(
    buffer: B,
    bytes: Uint8Array,
    position: number,
    start: number,
    options: OperationOptions | undefined,
  ): Promise<WriteResult<B>> {
    return await this.run('write', options, async (limits) => {
      const { count, route } = await this.#io.write(bytes, position, start, limits);
      return { bytesWritten: count, buffer, ...route };
    });
  }

  async #writeInLine<B>(buffer: B, { bytes, position, options }: Transfer): Promise<WriteResult<B>> {
    return await this.#inLine('write', options, async (limits) => {
      const { count, route } = await this.#put(bytes, position, limits);
      return { bytesWritten: count, buffer, ...route };
    });
  }

  /** As the flags of `open` have it: at the end, at `position`, or at the current one; durable where they say so. */
  async #put(bytes: Uint8Array, position: number | null, limits: Limits): Promise<{ count: number; route: Route }> {
    const moved = this.#flags.append
      ? await this.#io.append(bytes, limits)
      : await this.#io.write(bytes, position ?? this.#position, 0, limits);
    limits.signal?.throwIfAborted();
    if (!this.#flags.append && position === null) this.#position += moved.count;
    if (this.#flags.synchronous) await this.inode.sync();
    return moved;
  }

  /** As `write` at a position, at once, under a layout that is cached. @throws ClientError NOT_CACHED (EAGAIN) */
  writeSync(buffer: Uint8Array, offset: number, length: number, position: number): number {
    try {
      this.requireOpenFor('write');
      if (this.#flags.append || this.#flags.synchronous) {
        throw new ClientError('NOT_CACHED', 'open for appending, or for durable writes: only the server does that');
      }
      requireOffset(position, 'position');
      const count = this.#io.writeNow(partOf(buffer, offset, length), position);
      requireDirect(count, length);
      return count;
    } catch (error) {
      throw withContext(error, this.context('write'));
    }
  }

  /** One buffer after the other, as pwritev(2). @param position null: the current one */
  async writev(
    buffers: readonly NodeJS.ArrayBufferView[],
    position?: Position,
    options?: OperationOptions,
  ): Promise<WritevResult> {
    this.requireOpenFor('write');
    const whole = buffers.length === 1 ? bytesOf(buffers[0] ?? '') : Buffer.concat(buffers.map((one) => bytesOf(one)));
    const { buffer, ...result } = await this.#writeInLine(buffers, {
      bytes: whole,
      position: positionOf(position),
      options,
    });
    return { ...result, buffers: buffer };
  }

  /** At the current position, as node does: a file is replaced by truncating it before, or by `Client.writeFile`. */
  async writeFile(
    data: WholeData,
    options?: BufferEncoding | (OperationOptions & { readonly encoding?: BufferEncoding | null }),
  ): Promise<void> {
    this.requireOpenFor('write');
    const { encoding, ...limits } = typeof options === 'string' ? { encoding: options } : (options ?? {});
    await this.#inLine('write', limits, (within) =>
      writeWhole(data, encoding ?? 'utf8', within, async (bytes) => (await this.#put(bytes, null, within)).count),
    );
  }

  /** The same: a handle that was opened with `a` appends. */
  appendFile(
    data: WholeData,
    options?: BufferEncoding | (OperationOptions & { readonly encoding?: BufferEncoding | null }),
  ): Promise<void> {
    return this.writeFile(data, options);
  }

  /**
   * The bytes themselves, on the device, as this process has them mapped: `use` gets them in pieces, in order, and is done
   * with them when it returns (a promise would be too late). Of a range for reading it gets what is in the file; holes are pieces of
   * zeros that all share, not to be written to. With `write` all of the range counts as written, and grows the file to its end.
   * @throws ClientError NOT_DIRECT (EOPNOTSUPP): only direct access would do; what `use` throws
   */
  async view<T>(
    range: ByteRange,
    use: (views: readonly Uint8Array[]) => T,
    options?: OperationOptions & { readonly write?: boolean },
  ): Promise<T> {
    const writing = options?.write === true;
    this.requireOpenFor(writing ? 'write' : 'read');
    return await this.run('view', options, async (limits) => {
      requireOffset(range.offset, 'offset');
      requireOffset(range.length, 'length');
      if (writing && this.#flags.append)
        throw new ClientError('NOT_DIRECT', 'open for appending: the server does that');
      const result = await this.#io.view(range, writing, use, limits);
      if (writing && this.#flags.synchronous) await this.inode.sync();
      return result;
    });
  }

  // Copies that the kernel makes.

  /**
   * Copies to a file or block device (a path, or a handle of node's), or to a socket, straight from the memory of the device: no
   * byte passes a buffer of this process where the file can be read directly. A path that is not there is created.
   * @throws ClientError; what open(2) and write(2) say
   */
  async copyTo(target: string | NodeFileHandle | Writable, options: CopyOptions = {}): Promise<CopyResult> {
    this.requireOpenFor('read');
    const { start = 0, length = Infinity, position = 0, direct = 'auto', ...limits } = options;
    return await this.run('copy', limits, async (within) => {
      const range = copyRange(start, length, position);
      const sink =
        target instanceof Writable
          ? new OutsideStream(target)
          : await OutsideFile.open(target, 'write', position, direct);
      try {
        return await copyOut(this.#copied(), range, sink, within);
      } finally {
        await sink.close();
      }
    });
  }

  /**
   * The other way: the kernel reads `source` into the memory of the device. What was copied is part of the file, durably. Bytes
   * of a block that is begun or ended within are staged. From a socket or another stream: `createWriteStream`.
   * @throws ClientError; what open(2) and read(2) say
   */
  async copyFrom(source: string | NodeFileHandle, options: CopyOptions = {}): Promise<CopyResult> {
    this.requireOpenFor('write');
    const { start = 0, length = Infinity, position = 0, direct = 'auto', ...limits } = options;
    return await this.run('copy', limits, async (within) => {
      const range = copyRange(start, length, position);
      const from = await OutsideFile.open(source, 'read', position, direct);
      try {
        return await copyIn(this.#copied(), range, from, within);
      } finally {
        await from.close();
      }
    });
  }

  #copied(): CopiedFile {
    const { inode } = this;
    return {
      layout: (request) => inode.layout(this.opened.open, request),
      views: (segment, within, length) => inode.views(segment, within, length),
      size: async () => (await inode.getattr()).size,
      read: async (target, position, within) => (await this.#io.read(target, position, 0, within)).count,
      write: async (bytes, position, within) => {
        const { count } = await this.#io.write(bytes, position, 0, within);
        if (count < bytes.length) throw new ClientError('NOSPC', `${count} of ${bytes.length} bytes at ${position}`);
      },
    };
  }

  // Streams. They expose how their bytes went.

  createReadStream(options?: ReadStreamOptions): ReadStream {
    return new ReadStream(this, options);
  }

  createWriteStream(options?: WriteStreamOptions): WriteStream {
    return new WriteStream(this, options);
  }

  /** Of bytes, from the current position on. The handle stays open. */
  readableWebStream(options?: OperationOptions): ReadableStream<Uint8Array> {
    return webStreamOf(this, options);
  }

  /** Lines without their ends, for `for await`. */
  readLines(options?: ReadStreamOptions): Interface {
    return linesOf(this, options);
  }

  /** What has no position of its own, one after the other. */
  async #inLine<T>(
    syscall: string,
    options: OperationOptions | undefined,
    work: (limits: Limits) => Promise<T>,
  ): Promise<T> {
    return await this.run(syscall, options, (limits) => {
      const turn = this.#line.then(() => {
        limits.signal?.throwIfAborted();
        return work(limits);
      });
      this.#line = turn.catch(() => {});
      return turn;
    });
  }

  /** At `position`, or in line at the current one, which moves by the first answer of `work`. */
  async #vector<T>(
    syscall: string,
    options: OperationOptions | undefined,
    position: number | null,
    work: (from: number, limits: Limits) => Promise<readonly [number, T]>,
  ): Promise<T> {
    if (position !== null) {
      return await this.run(syscall, options, async (limits) => (await work(position, limits))[1]);
    }
    return await this.#inLine(syscall, options, async (limits) => {
      const [count, result] = await work(this.#position, limits);
      this.#position += count;
      return result;
    });
  }

  /** At once, or after a turn of the event loop when it is time for one. */
  #settled<T>(result: T): Promise<T> {
    return this.#turns.due ? afterTurn(result) : Promise.resolve(result);
  }
}
