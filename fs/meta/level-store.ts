/** The metadata store on LevelDB: one directory, one process, every batch on the disk before it settles. */
import { mkdir, open, readdir, statfs } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { ClassicLevel } from 'classic-level';
import { Level } from 'level';
import { type ErrnoName, FsError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { MetaStore, StoreEntry, StoreOp } from './store.ts';

/**
 * How LevelDB lays out its tables. A record that is not resident is read while the operation waits for it, so what counts
 * is one read: half the time without decompression, since tables are mapped and a block is then read where it lies, and
 * less again with small blocks in which few keys follow each other from a restart point. It costs disk: 130 bytes a file
 * instead of 54.
 */
const tables = { compression: false, blockSize: 2048, blockRestartInterval: 4 };

type Db = Level<Uint8Array, Uint8Array>;

/**
 * Opens the store in `dir`, or makes an empty one there, with its directory.
 * @throws FsError EBUSY (another process has it), ENOENT (create: false, nothing there), EEXIST (create: true, there
 *   is one already), EUCLEAN (damaged), EACCES, EROFS, ENOSPC, EIO
 */
export async function openLevelStore(dir: string, options: { readonly create: boolean }): Promise<MetaStore> {
  await requireStore(dir, options.create);
  if (options.create) await makeDirectory(dir);
  const db: Db = new Level(dir, {
    keyEncoding: 'view',
    valueEncoding: 'view',
    createIfMissing: options.create,
    errorIfExists: options.create,
    writeBufferSize: limits.storeWriteBuffer,
    ...tables,
  });
  try {
    await db.open();
  } catch (error) {
    throw storeError(error, 'open', dir);
  }
  const store = new LevelStore(db, dir);
  await store.lookAtRoom();
  return store;
}

/**
 * Removes the store in `dir` and the directory too if nothing else is in it. Nothing there is no error.
 * @throws FsError EBUSY, EACCES, EIO
 */
export async function destroyLevelStore(dir: string): Promise<void> {
  try {
    // The part of level that runs under Node; level itself has no destroy.
    await ClassicLevel.destroy(dir);
  } catch (error) {
    throw storeError(error, 'destroy', dir);
  }
}

class LevelStore implements MetaStore {
  readonly #db: Db;
  readonly #dir: string;
  /** The batch under way, with those behind it; never rejects. */
  #tail: Promise<void> = Promise.resolve();
  #waiting = 0;
  /** The first failed write. LevelDB's log may end in half a batch then, so nothing may follow it. */
  #failure: FsError | undefined;
  #room = Infinity;
  #lookedAt = Number.NEGATIVE_INFINITY;

  constructor(db: Db, dir: string) {
    this.#db = db;
    this.#dir = dir;
  }

  get room(): number {
    return this.#room;
  }

  /** Looks at the disk, at most every limits.storeReserveLookMs. A full one would end in G5, for good. */
  async lookAtRoom(): Promise<void> {
    const now = performance.now();
    if (now - this.#lookedAt < limits.storeReserveLookMs) return;
    this.#lookedAt = now;
    try {
      const { bavail, bsize } = await statfs(this.#dir);
      this.#room = Math.max(0, bavail * bsize - limits.storeReserve);
    } catch (error) {
      throw storeError(error, 'statfs', this.#dir);
    }
  }

  get(key: Uint8Array): Uint8Array | undefined {
    try {
      return this.#db.getSync(key);
    } catch (error) {
      throw storeError(error, 'get', this.#dir);
    }
  }

  async *range(
    from: Uint8Array,
    to: Uint8Array,
    pageEntries: number = limits.storePageEntries,
  ): AsyncGenerator<readonly StoreEntry[]> {
    try {
      // The iterator reads a snapshot taken when it is made, at the first page.
      const iterator = this.#db.iterator({ gte: from, lt: to, highWaterMarkBytes: limits.storePageBytes });
      try {
        let coming = iterator.nextv(pageEntries);
        for (;;) {
          const page = await coming;
          if (page.length === 0) return;
          // A thread of the pool reads the next page while this one is looked at.
          coming = iterator.nextv(pageEntries);
          coming.catch(() => undefined); // whoever goes on sees it; whoever stops here need not
          yield page;
        }
      } finally {
        await iterator.close();
      }
    } catch (error) {
      throw storeError(error, 'range', this.#dir);
    }
  }

  batch(ops: readonly StoreOp[], expect: readonly StoreOp[] = []): Promise<void> {
    if (this.#waiting >= limits.storeBatchesMax) {
      return Promise.reject(new FsError('EAGAIN', { op: 'batch', path: this.#dir, detail: 'too many batches wait' }));
    }
    this.#waiting++;
    // One after the other: an expectation is looked at when everything before it is in the store.
    const done = this.#tail.then(() => this.#write(ops, expect));
    this.#tail = done.then(
      () => this.#settled(),
      () => this.#settled(),
    );
    return done;
  }

  async close(): Promise<void> {
    await this.#tail;
    try {
      await this.#db.close();
    } catch (error) {
      throw storeError(error, 'close', this.#dir);
    }
  }

  async #write(ops: readonly StoreOp[], expect: readonly StoreOp[]): Promise<void> {
    if (this.#failure !== undefined) {
      throw new FsError('EIO', { op: 'batch', path: this.#dir, detail: 'an earlier write failed' }, this.#failure);
    }
    for (const { key, value } of expect) {
      if (!same(this.get(key), value)) {
        const detail = `the record at key 0x${Buffer.from(key).toString('hex')} was changed by somebody else`;
        throw new FsError('ESTALE', { op: 'batch', path: this.#dir, detail });
      }
    }
    try {
      // Chained, because an array of operations costs six times as much: each is copied and normalised again.
      const batch = this.#db.batch();
      for (const { key, value } of ops) {
        if (value === undefined) batch.del(key);
        else batch.put(key, value);
      }
      await batch.write({ sync: true });
      await this.lookAtRoom();
    } catch (error) {
      this.#failure = storeError(error, 'batch', this.#dir);
      throw this.#failure;
    }
  }

  #settled(): void {
    this.#waiting--;
  }
}

function same(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return Buffer.compare(a, b) === 0;
}

/**
 * LevelDB keeps its root in the file CURRENT. Asked here, since LevelDB answers "invalid argument" for a store that
 * is missing as for one that has lost this file.
 */
async function requireStore(dir: string, create: boolean): Promise<void> {
  let files: readonly string[];
  try {
    files = await readdir(dir);
  } catch (error) {
    if (create && codeOf(error) === 'ENOENT') return;
    throw storeError(error, 'open', dir);
  }
  if (files.includes('CURRENT')) {
    if (create) throw new FsError('EEXIST', { op: 'open', path: dir, detail: 'there is a metadata store already' });
    return;
  }
  if (files.some((name) => /^(MANIFEST-\d+|\d+\.(ldb|sst|log))$/.test(name))) {
    throw new FsError('EUCLEAN', { op: 'open', path: dir, detail: 'the metadata store has lost its file CURRENT' });
  }
  if (!create) throw new FsError('ENOENT', { op: 'open', path: dir, detail: 'no metadata store' });
}

/** Makes the directory; it and the parents made for it survive power loss (fsync(2): each needs its own parent's). */
async function makeDirectory(dir: string): Promise<void> {
  try {
    // Names and attributes of everybody's files are in there.
    const top = await mkdir(dir, { recursive: true, mode: 0o700 });
    if (top === undefined) return;
    for (let made = resolve(dir); ; made = dirname(made)) {
      const parent = await open(dirname(made));
      try {
        await parent.sync();
      } finally {
        await parent.close();
      }
      if (made === resolve(top)) return;
    }
  } catch (error) {
    throw storeError(error, 'create', dir);
  }
}

/** LevelDB gives no errno: it has a code of its own for few things, and the text of strerror(3) for the rest. */
const byText: readonly (readonly [RegExp, ErrnoName])[] = [
  [/No space left on device|Disk quota exceeded/, 'ENOSPC'],
  [/Read-only file system/, 'EROFS'],
  [/Permission denied/, 'EACCES'],
  [/No such file or directory/, 'EUCLEAN'],
];
const byCode: ReadonlyMap<string, ErrnoName> = new Map([
  ['LEVEL_LOCKED', 'EBUSY'],
  ['LEVEL_CORRUPTION', 'EUCLEAN'],
  ['LEVEL_DATABASE_NOT_OPEN', 'ESHUTDOWN'],
  ['LEVEL_ITERATOR_NOT_OPEN', 'ESHUTDOWN'],
  ['ENOENT', 'ENOENT'],
  ['ENOTDIR', 'ENOTDIR'],
  ['EEXIST', 'ENOTDIR'],
  ['EACCES', 'EACCES'],
  ['EROFS', 'EROFS'],
  ['ENOSPC', 'ENOSPC'],
]);

function storeError(error: unknown, op: string, dir: string): FsError {
  if (error instanceof FsError) return error;
  // The reason for a failed open stands in the cause: the error itself is only LEVEL_DATABASE_NOT_OPEN.
  const inner = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const text = inner instanceof Error ? inner.message : String(inner);
  const code = byCode.get(codeOf(inner)) ?? byText.find(([pattern]) => pattern.test(text))?.[1] ?? 'EIO';
  const detail = code === 'EBUSY' ? 'the metadata store is in use, most likely by a running iopmemfs' : text;
  return new FsError(code, { op, path: dir, detail }, error);
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
}
