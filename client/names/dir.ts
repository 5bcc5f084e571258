import { ClientError } from '../errors.ts';
import { type OperationOptions, operation } from '../operation.ts';
import type { Dirent } from './dirent.ts';

/** Entries from `cookie` on (0: the first), and where the next ones begin: undefined at the end. */
export type ReadPage = (
  cookie: number,
  limits: OperationOptions,
) => Promise<{ readonly entries: readonly Dirent[]; readonly next: number | undefined }>;

/**
 * A directory that is read a page at a time, as node's fs.Dir. What is created or removed meanwhile may be seen or not; what
 * stays is seen once. It holds nothing at the server.
 */
export class Dir {
  readonly path: string;
  readonly #page: ReadPage;
  #entries: readonly Dirent[] = [];
  #at = 0;
  #next: number | undefined = 0;
  #isClosed = false;
  /** One read after the other. */
  #line: Promise<unknown> = Promise.resolve();

  /** Made by `Client.opendir`. */
  constructor(path: string, page: ReadPage) {
    this.path = path;
    this.#page = page;
  }

  /** The next entry, null after the last one. @throws ClientError CLOSED, and of READDIR */
  async read(options?: OperationOptions): Promise<Dirent | null> {
    return await operation({ syscall: 'readdir', path: this.path }, options, (limits) => {
      const turn = this.#line.then(() => this.#read(limits));
      this.#line = turn.catch(() => {});
      return turn;
    });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Dirent, undefined> {
    try {
      for (let entry = await this.read(); entry !== null; entry = await this.read()) yield entry;
    } finally {
      await this.close();
    }
    return undefined;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #read(limits: OperationOptions): Promise<Dirent | null> {
    if (this.#isClosed) throw new ClientError('CLOSED', 'the directory was closed');
    limits.signal?.throwIfAborted();
    while (this.#at >= this.#entries.length) {
      if (this.#next === undefined) return null;
      const { entries, next } = await this.#page(this.#next, limits);
      this.#entries = entries;
      this.#next = next;
      this.#at = 0;
    }
    return this.#entries[this.#at++] ?? null;
  }
}
