/**
 * Directories in memory. A name is looked up in what is resident, else in the store by one key; a listing needs the
 * directory complete, which is loaded behind a Wait. Listings go by cookie: unique, growing, never reused, so that they
 * stay right while entries come and go.
 */
import { assert } from '../errors.ts';
import type { DentryRecord } from '../format/records.ts';
import { limits } from '../limits.ts';
import type { Name } from '../name.ts';
import { Wait } from './wait.ts';

export interface Dentry extends DentryRecord {
  readonly name: Name;
}

export class Directory {
  readonly ino: number;
  /** null: known not to exist. */
  readonly entries = new Map<Name, Dentry | null>();
  /** Those that are null in `entries`. */
  readonly #absent = new Set<Name>();
  /** Every entry of the store is in `entries`. */
  complete: boolean;
  /** Group that holds its last change. */
  group = 0;
  /** Names asked for that neither it nor the store had. */
  missed = 0;
  /** The load under way. */
  loading: Promise<void> | undefined;
  /** Open handles: a listing goes on over many calls and must not be loaded again for each. */
  opens = 0;
  /** Entries by cookie, once somebody lists; entries removed meanwhile are skipped. */
  #order: Dentry[] | undefined;
  #live = 0;

  constructor(ino: number, complete: boolean) {
    this.ino = ino;
    this.complete = complete;
  }

  /** Entries that are resident: all of them while complete. */
  get size(): number {
    return this.#live;
  }

  set(entry: Dentry): void {
    const old = this.entries.get(entry.name);
    if (old === null) this.#absent.delete(entry.name);
    if (old === undefined || old === null) this.#live++;
    this.entries.set(entry.name, entry);
    const order = this.#order;
    if (order === undefined) return;
    const last = order.at(-1);
    if (last === undefined || last.cookie < entry.cookie) order.push(entry);
    else this.#order = undefined;
  }

  remove(name: Name): void {
    const old = this.entries.get(name);
    assert(old !== undefined && old !== null, 'only an entry that is resident is removed');
    this.#live--;
    // A complete directory needs no memory of what is not in it, once that is in the store; `settle` drops it.
    this.absent(name);
    const order = this.#order;
    if (order !== undefined && order.length > 64 && order.length > 2 * this.#live) this.#order = undefined;
  }

  /** The store does not have it, or will not when the open group is durable. */
  absent(name: Name): void {
    this.entries.set(name, null);
    this.#absent.add(name);
  }

  /** Adds what the store has, where nothing newer is known. */
  fill(entry: Dentry): void {
    if (!this.entries.has(entry.name)) this.set(entry);
  }

  /** The store holds all changes: names known not to exist need not be remembered. */
  settle(): void {
    if (this.loading !== undefined) return; // its older view of the store would bring them back
    for (const name of this.#absent) this.entries.delete(name);
    this.#absent.clear();
  }

  /** Entries with cookies after `cookie` and before `end`, at most `limit`; the directory must be complete. */
  between(cookie: number, end: number, limit: number): readonly Dentry[] {
    const order = (this.#order ??= this.#sorted());
    let low = 0;
    let high = order.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const entry = order[middle];
      if (entry !== undefined && entry.cookie <= cookie) low = middle + 1;
      else high = middle;
    }
    const page: Dentry[] = [];
    for (let i = low; i < order.length && page.length < limit; i++) {
      const entry = order[i];
      if (entry === undefined || entry.cookie >= end) break;
      if (this.entries.get(entry.name) === entry) page.push(entry);
    }
    return page;
  }

  #sorted(): Dentry[] {
    const order: Dentry[] = [];
    for (const entry of this.entries.values()) if (entry !== null) order.push(entry);
    return order.sort((a, b) => a.cookie - b.cookie);
  }
}

export interface DirectoryTableOptions {
  /** One entry of the store. */
  load(ino: number, name: Name): DentryRecord | undefined;
  /** Whether what `load` does not have costs nothing to ask for. */
  knowsAll(): boolean;
  /** All entries of the store, a page at a time. */
  loadAll(ino: number): AsyncIterable<readonly Dentry[]>;
  /** Groups up to this one are durable. */
  durable(): number;
  /** Resident names, in all directories. */
  readonly capacity: number;
  /** Asks for a `trim` once no operation runs: an operation may hold what a trim lets go. */
  overfull(): void;
}

export class DirectoryTable {
  readonly #options: DirectoryTableOptions;
  readonly #directories = new Map<number, Directory>();
  #names = 0;

  constructor(options: DirectoryTableOptions) {
    this.#options = options;
  }

  get(ino: number): Directory {
    let directory = this.#directories.get(ino);
    if (directory === undefined) {
      directory = new Directory(ino, false);
      this.#directories.set(ino, directory);
    }
    return directory;
  }

  /** A directory just made has no entries in the store. */
  created(ino: number): Directory {
    const directory = new Directory(ino, true);
    this.#directories.set(ino, directory);
    return directory;
  }

  delete(ino: number): void {
    this.#directories.delete(ino);
  }

  /** The inode of that name, undefined if there is none. Keeps no entry in memory: the store has what was read of it. */
  find(ino: number, name: Name): number | undefined {
    const directory = this.get(ino);
    const known = directory.entries.get(name);
    if (known !== undefined) return known?.ino;
    return directory.complete ? undefined : this.#loadEntry(directory, name)?.ino;
  }

  /** The entry as a change needs it: the same object for everybody. */
  lookup(ino: number, name: Name): Dentry | undefined {
    const directory = this.get(ino);
    const known = directory.entries.get(name);
    if (known !== undefined) return known ?? undefined;
    if (directory.complete) return undefined;
    const record = this.#loadEntry(directory, name);
    if (record === undefined) return undefined;
    const entry = { ...record, name };
    directory.set(entry);
    this.grew();
    return entry;
  }

  #loadEntry(directory: Directory, name: Name): DentryRecord | undefined {
    const record = this.#options.load(directory.ino, name);
    if (record === undefined && !this.#options.knowsAll()) {
      directory.absent(name);
      this.grew();
      if (++directory.missed === limits.directoryMissesMax) this.#loadSoon(directory);
    }
    return record;
  }

  /** @throws Wait until every entry is resident */
  requireComplete(ino: number): Directory {
    const directory = this.get(ino);
    if (directory.complete) return directory;
    throw new Wait(this.#loading(directory, Infinity));
  }

  /** Answers whether it is empty: some entry is resident, or there is none. @throws Wait until one is, or all are */
  requireAny(ino: number): Directory {
    const directory = this.get(ino);
    if (directory.complete || directory.size > 0) return directory;
    throw new Wait(this.#loading(directory, 1));
  }

  /**
   * Whoever asks for many names that are not there creates files: what a directory does not have it knows at once when it
   * is complete. A larger one stays incomplete.
   */
  #loadSoon(directory: Directory): void {
    // Nobody waits for it; what fails fails again for whoever needs it.
    this.#loading(directory, this.#options.capacity >> 3).catch(() => undefined);
  }

  /** One more name is resident. */
  grew(): void {
    if (++this.#names > this.#options.capacity) this.#options.overfull();
  }

  /** Whoever finds that not enough was loaded asks again. */
  #loading(directory: Directory, enough: number): Promise<void> {
    directory.loading ??= this.#load(directory, enough).finally(() => {
      directory.loading = undefined;
    });
    return directory.loading;
  }

  /** Until `enough` entries are resident, or all. Not counted again at the end: some may have gone since it was enough. */
  async #load(directory: Directory, enough: number): Promise<void> {
    let isWhole = true;
    for await (const page of this.#options.loadAll(directory.ino)) {
      for (const entry of page) directory.fill(entry);
      this.#names += page.length;
      isWhole = directory.size < enough;
      if (!isWhole) break;
    }
    if (isWhole) directory.complete = true;
    if (this.#names > this.#options.capacity) this.#options.overfull();
  }

  /** Whole directories go, the longest resident first; those in use stay. Bounded by what it looks at. */
  trim(): void {
    if (this.#names <= this.#options.capacity) return;
    const durable = this.#options.durable();
    let looks = 1 + (this.#directories.size >> 3);
    let names = 0;
    for (const [ino, directory] of this.#directories) {
      if (looks-- <= 0 || names > this.#options.capacity >> 3) break;
      this.#directories.delete(ino);
      if (directory.group > durable || directory.loading !== undefined || directory.opens > 0)
        this.#directories.set(ino, directory);
      else names += directory.entries.size;
    }
    this.#names = Math.max(0, this.#names - names);
    if (names === 0) this.#recount();
  }

  #recount(): void {
    this.#names = 0;
    for (const directory of this.#directories.values()) this.#names += directory.entries.size;
    // Everything resident is in use: look again only after it grew by another eighth.
    if (this.#names > this.#options.capacity) this.#names = this.#options.capacity - (this.#options.capacity >> 3);
  }
}

/** Names resident at most; about 250 bytes each. */
export const residentNamesMax = limits.inodeCacheMax;
