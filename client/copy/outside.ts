/** The other end of a copy: what the kernel moves bytes to and from by itself. */
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import type { Writable } from 'node:stream';
import { limits } from '../../fs/limits.ts';
import { ClientError } from '../errors.ts';

/** Bytes out of a view, to wherever. Settles when the kernel has them: the view may go then. */
export interface Sink {
  /** Whether the last bytes went past the page cache (O_DIRECT). */
  readonly direct: boolean;
  /** All of `bytes`. */
  write(bytes: Uint8Array): Promise<void>;
  close(): Promise<void>;
}

/** Bytes into a view. */
export interface Source {
  readonly direct: boolean;
  /** Bytes that are still to come, as far as is known; Infinity: anybody's guess. */
  left(): Promise<number>;
  /** Fewer than fit only at the end; 0: there are no more. */
  read(bytes: Uint8Array): Promise<number>;
  close(): Promise<void>;
}

/** Whether to go past the page cache: 'auto' where the other end is a block device. */
export type Directness = boolean | 'auto';

/**
 * A file or block device by its own position, through two descriptors: what O_DIRECT takes (whole aligned blocks of
 * memory and of the file, open(2)) goes through one, the rest through the other. Where the kernel refuses O_DIRECT, on some
 * filesystems and for memory of some devices, all goes through the page cache, still without a buffer of ours.
 */
export class OutsideFile implements Sink, Source {
  readonly #buffered: FileHandle;
  readonly #ownsBuffered: boolean;
  #past: FileHandle | undefined;
  #position: number;
  #wentPast = false;

  private constructor(buffered: FileHandle, ownsBuffered: boolean, past: FileHandle | undefined, position: number) {
    this.#buffered = buffered;
    this.#ownsBuffered = ownsBuffered;
    this.#past = past;
    this.#position = position;
  }

  /** A path is opened, and created for writing where there is none; a handle stays the caller's, and has no O_DIRECT of its own. @throws what open(2) says */
  static async open(
    where: string | FileHandle,
    access: 'read' | 'write',
    position: number,
    directness: Directness,
  ): Promise<OutsideFile> {
    if (typeof where !== 'string') return new OutsideFile(where, false, undefined, position);
    const flags = access === 'read' ? constants.O_RDONLY : constants.O_WRONLY | constants.O_CREAT;
    const buffered = await open(where, flags);
    try {
      const wanted = directness === 'auto' ? (await buffered.stat()).isBlockDevice() : directness;
      const past = wanted ? await openPast(where, access) : undefined;
      return new OutsideFile(buffered, true, past, position);
    } catch (error) {
      await buffered.close();
      throw error;
    }
  }

  get direct(): boolean {
    return this.#wentPast;
  }

  async left(): Promise<number> {
    const found = await this.#buffered.stat();
    return found.isFile() ? Math.max(0, found.size - this.#position) : Infinity;
  }

  async write(bytes: Uint8Array): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      const rest = bytes.subarray(done);
      done += await this.#move(
        rest,
        (handle, part) => handle.write(part, 0, part.length, this.#position),
        'bytesWritten',
      );
    }
  }

  read(bytes: Uint8Array): Promise<number> {
    return this.#move(bytes, (handle, part) => handle.read(part, 0, part.length, this.#position), 'bytesRead');
  }

  async close(): Promise<void> {
    await this.#past?.close();
    if (this.#ownsBuffered) await this.#buffered.close();
  }

  async #move<K extends string>(
    bytes: Uint8Array,
    call: (handle: FileHandle, part: Uint8Array) => Promise<Readonly<Record<K, number>>>,
    key: K,
  ): Promise<number> {
    const { blockSize } = limits;
    const whole = bytes.length - (bytes.length % blockSize);
    let count: number | undefined;
    if (this.#past !== undefined && whole > 0 && this.#position % blockSize === 0) {
      try {
        count = (await call(this.#past, bytes.subarray(0, whole)))[key];
        this.#wentPast = true;
      } catch (error) {
        if (!isRefusal(error)) throw error;
        await this.#past.close();
        this.#past = undefined;
        this.#wentPast = false;
      }
    }
    count ??= (await call(this.#buffered, bytes))[key];
    this.#position += count;
    return count;
  }
}

/** A socket, or another stream that is done with its bytes when it says so. */
export class OutsideStream implements Sink {
  readonly direct = false;
  readonly #stream: Writable;

  constructor(stream: Writable) {
    this.#stream = stream;
  }

  write(bytes: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      const ended = (): void => reject(new ClientError('CLOSED', 'the stream ended before it took all bytes'));
      this.#stream.once('close', ended);
      this.#stream.write(bytes, (error) => {
        this.#stream.off('close', ended);
        if (error === null || error === undefined) resolve();
        else reject(error);
      });
    });
  }

  async close(): Promise<void> {}
}

async function openPast(path: string, access: 'read' | 'write'): Promise<FileHandle | undefined> {
  const flags = access === 'read' ? constants.O_RDONLY : constants.O_WRONLY;
  try {
    return await open(path, flags | constants.O_DIRECT);
  } catch (error) {
    if (isRefusal(error)) return undefined;
    throw error;
  }
}

/** No O_DIRECT on this filesystem or with this alignment (EINVAL), or of memory without pages of the kernel's (EFAULT). */
function isRefusal(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'EINVAL' || error.code === 'EFAULT');
}
