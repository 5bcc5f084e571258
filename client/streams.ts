import { createInterface, type Interface } from 'node:readline/promises';
import { Readable, Writable } from 'node:stream';
import { ReadableStream } from 'node:stream/web';
import { requireOffset } from './arguments.ts';
import { ClientError } from './errors.ts';
import type { FileHandle } from './file-handle.ts';
import { clientLimits } from './limits.ts';
import type { OperationOptions } from './operation.ts';

/** `timeoutMs` is of the whole stream. */
export interface ReadStreamOptions extends OperationOptions {
  /** First byte; without it the current position of the handle, which moves. */
  readonly start?: number;
  /** Last byte, counted in, as in node. */
  readonly end?: number;
  /** Bytes of one read; 1 MiB by default, the most that one request to the server brings. */
  readonly highWaterMark?: number;
  readonly encoding?: BufferEncoding;
  /** Closes the handle at the end, or when it fails; the default. */
  readonly autoClose?: boolean;
}

/** `timeoutMs` is of the whole stream. */
export interface WriteStreamOptions extends OperationOptions {
  /** Without it the current position of the handle, which moves. */
  readonly start?: number;
  readonly highWaterMark?: number;
  readonly encoding?: BufferEncoding;
  /** Closes the handle before `finish`: then all is durable and seen by others; the default. */
  readonly autoClose?: boolean;
  /** Without `autoClose`: syncs before `finish`. */
  readonly flush?: boolean;
}

/** Ends what a stream has on its way, when it is destroyed or its time is over. */
class Ending {
  readonly #controller = new AbortController();
  readonly #timer: NodeJS.Timeout | undefined;

  constructor(stream: Readable | Writable, timeoutMs: number | undefined) {
    if (timeoutMs === undefined) return;
    const late = new ClientError('TIMEOUT', `the stream did not end within ${timeoutMs} ms`);
    this.#timer = setTimeout(() => stream.destroy(late), timeoutMs);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#controller.abort();
  }
}

/** As fs.ReadStream. */
export class ReadStream extends Readable {
  readonly path: string;
  /** So far, of which `directBytes` came from the device itself. */
  bytesRead = 0;
  directBytes = 0;
  /** Why the last bytes came through the server that did. */
  reason: string | undefined;
  readonly #file: FileHandle;
  readonly #autoClose: boolean;
  readonly #ending: Ending;
  /** undefined: the current one of the handle. */
  #position: number | undefined;
  #left: number;

  /** Made by `FileHandle.createReadStream`. */
  constructor(file: FileHandle, options: ReadStreamOptions = {}) {
    const { start, end = Infinity, highWaterMark = clientLimits.streamPiece, encoding, signal } = options;
    if (start !== undefined) requireOffset(start, 'start');
    super({ highWaterMark, ...(encoding && { encoding }), ...(signal && { signal }) });
    this.path = file.path;
    this.#file = file;
    this.#autoClose = options.autoClose ?? true;
    this.#position = start;
    this.#left = end + 1 - (start ?? 0);
    this.#ending = new Ending(this, options.timeoutMs);
  }

  override _read(size: number): void {
    const length = Math.min(size, this.#left);
    if (length <= 0) this.push(null);
    else
      this.#file.read(Buffer.allocUnsafe(length), this.#range(length)).then(
        ({ bytesRead, buffer, path, reason }) => {
          this.bytesRead += bytesRead;
          this.#left -= bytesRead;
          if (this.#position !== undefined) this.#position += bytesRead;
          if (path === 'direct') this.directBytes += bytesRead;
          else this.reason = reason;
          this.push(bytesRead === 0 ? null : buffer.subarray(0, bytesRead));
        },
        (error: unknown) => this.destroy(asError(error)),
      );
  }

  #range(length: number): { offset: number; length: number; position: number | null; signal: AbortSignal } {
    return { offset: 0, length, position: this.#position ?? null, signal: this.#ending.signal };
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#ending.end();
    if (this.#autoClose)
      this.#file.close().then(
        () => done(error),
        (late: unknown) => done(error ?? asError(late)),
      );
    else done(error);
  }
}

/** As fs.WriteStream. */
export class WriteStream extends Writable {
  readonly path: string;
  /** So far, of which `directBytes` went to the device itself. */
  bytesWritten = 0;
  directBytes = 0;
  /** Why the last bytes went through the server that did. */
  reason: string | undefined;
  readonly #file: FileHandle;
  readonly #options: WriteStreamOptions;
  readonly #ending: Ending;
  #position: number | undefined;

  /** Made by `FileHandle.createWriteStream`. */
  constructor(file: FileHandle, options: WriteStreamOptions = {}) {
    const { start, highWaterMark = clientLimits.streamPiece, encoding, signal } = options;
    if (start !== undefined) requireOffset(start, 'start');
    super({ highWaterMark, ...(encoding && { defaultEncoding: encoding }), ...(signal && { signal }) });
    this.path = file.path;
    this.#file = file;
    this.#options = options;
    this.#position = start;
    this.#ending = new Ending(this, options.timeoutMs);
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#put(chunk).then(
      () => done(),
      (error: unknown) => done(asError(error)),
    );
  }

  override _writev(chunks: { chunk: Buffer }[], done: (error?: Error | null) => void): void {
    this.#put(Buffer.concat(chunks.map(({ chunk }) => chunk))).then(
      () => done(),
      (error: unknown) => done(asError(error)),
    );
  }

  async #put(bytes: Buffer): Promise<void> {
    for (let offset = 0; offset < bytes.length; ) {
      const { bytesWritten, path, reason } = await this.#file.write(bytes, {
        offset,
        position: this.#position ?? null,
        signal: this.#ending.signal,
      });
      if (bytesWritten === 0) throw new ClientError('NOSPC', 'no byte could be written', { syscall: 'write' });
      offset += bytesWritten;
      this.bytesWritten += bytesWritten;
      if (this.#position !== undefined) this.#position += bytesWritten;
      if (path === 'direct') this.directBytes += bytesWritten;
      else this.reason = reason;
    }
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#finish().then(
      () => done(),
      (error: unknown) => done(asError(error)),
    );
  }

  async #finish(): Promise<void> {
    if (this.#options.autoClose ?? true) await this.#file.close();
    else if (this.#options.flush === true) await this.#file.sync({ signal: this.#ending.signal });
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#ending.end();
    if (this.#options.autoClose ?? true) {
      this.#file.close().then(
        () => done(error),
        (late: unknown) => done(error ?? asError(late)),
      );
    } else done(error);
  }
}

export function linesOf(file: FileHandle, options: ReadStreamOptions | undefined): Interface {
  return createInterface({ input: file.createReadStream({ encoding: 'utf8', ...options }), crlfDelay: Infinity });
}

export function webStreamOf(file: FileHandle, options: OperationOptions | undefined): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(clientLimits.streamPiece), options ?? {});
        if (bytesRead === 0) controller.close();
        else controller.enqueue(buffer.subarray(0, bytesRead));
      },
    },
    { highWaterMark: 0 },
  );
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new ClientError('BAD_REPLY', String(error), { cause: error });
}
