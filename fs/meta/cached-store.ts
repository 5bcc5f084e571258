/**
 * The store with its inodes and names in memory, as far as there is room. Nobody else writes to it, so what was read or
 * written once is known until a batch changes it.
 */
import { decodeDentry, decodeInode } from '../format/codec.ts';
import { dentryKey, dentryRange, inodeKey, inodeRange, isDentryKey, isInodeKey } from '../format/keys.ts';
import { quickDentry, quickInode } from '../format/quick-records.ts';
import type { DentryRecord, InodeRecord } from '../format/records.ts';
import { limits } from '../limits.ts';
import type { Name } from '../name.ts';
import { RecordCache } from './record-cache.ts';
import type { MetaStore, StoreEntry, StoreOp } from './store.ts';

export class CachedStore implements MetaStore {
  readonly #store: MetaStore;
  readonly #cache: RecordCache;
  /** Batches begun, and those of them that are not over. */
  #begun = 0;
  #underWay = 0;
  /** Keys deleted since the listing began that `fill` reads from. */
  #deleted: Set<string> | undefined;

  /** @param bytesMax of memory for records */
  constructor(store: MetaStore, bytesMax: number) {
    this.#store = store;
    this.#cache = new RecordCache(bytesMax);
  }

  get room(): number {
    return this.#store.room;
  }

  /** All names of the store are in memory: for one that does not exist nothing is read. */
  get knowsNames(): boolean {
    return this.#cache.knowsNames;
  }

  /** @throws FsError EUCLEAN, EIO */
  inode(ino: number): InodeRecord | undefined {
    const cache = this.#cache;
    const isHere = cache.findInode(ino);
    const quick = isHere ? quickInode(ino, cache.bytes, cache.start, cache.end) : undefined;
    if (quick !== undefined) return quick;
    const key = inodeKey(ino);
    const value = isHere ? cache.bytes.slice(cache.start, cache.end) : this.#read(key);
    return value === undefined ? undefined : decodeInode(key, value);
  }

  /** @throws FsError EUCLEAN, EIO */
  dentry(parent: number, name: Name): DentryRecord | undefined {
    const cache = this.#cache;
    const isHere = cache.findName(parent, name);
    if (!isHere && cache.knowsNames) return undefined;
    const quick = isHere ? quickDentry(cache.bytes, cache.start, cache.end) : undefined;
    if (quick !== undefined) return quick;
    const key = dentryKey(parent, name);
    const value = isHere ? cache.bytes.slice(cache.start, cache.end) : this.#read(key);
    return value === undefined ? undefined : decodeDentry(key, value);
  }

  get(key: Uint8Array): Uint8Array | undefined {
    return this.#store.get(key);
  }

  /** What is listed stays in memory, unless a batch may have changed it since the listing began. */
  async *range(from: Uint8Array, to: Uint8Array, pageEntries?: number): AsyncGenerator<readonly StoreEntry[]> {
    const begun = this.#begun;
    const keeps = this.#underWay === 0 && (isInodeKey(from) || (isDentryKey(from) && !this.knowsNames));
    for await (const page of this.#store.range(from, to, pageEntries)) {
      if (keeps && begun === this.#begun) for (const [key, value] of page) this.#keep(key, value);
      yield page;
    }
  }

  async batch(ops: readonly StoreOp[], expect?: readonly StoreOp[]): Promise<void> {
    this.#begun++;
    this.#underWay++;
    try {
      await this.#store.batch(ops, expect);
      // Before anybody hears of it, and lets go of what he had changed (R1).
      for (const { key, value } of ops) if (isInodeKey(key) || isDentryKey(key)) this.#changed(key, value);
    } finally {
      this.#underWay--;
    }
  }

  close(): Promise<void> {
    return this.#store.close();
  }

  /** Reads all names and inodes into memory, while there is room: a page each time it is asked to go on. */
  async *fill(): AsyncGenerator<void> {
    const { dropped } = this.#cache;
    const [names, inodes] = [dentryRange(), inodeRange()];
    try {
      if (!(yield* this.#fillFrom(names.from, names.to, dropped))) return;
      if (dropped === this.#cache.dropped) this.#cache.hasAllNames();
      yield* this.#fillFrom(inodes.from, inodes.to, dropped);
    } finally {
      this.#deleted = undefined;
    }
  }

  /**
   * False: there is no room for more. Nor was there where anything was dropped: what had changed since the listing began
   * would come back as it was before.
   */
  async *#fillFrom(from: Uint8Array, to: Uint8Array, dropped: number): AsyncGenerator<void, boolean> {
    let start: Uint8Array | undefined = from;
    while (start !== undefined) {
      const deleted = new Set<string>();
      this.#deleted = deleted;
      let last: Uint8Array | undefined;
      for await (const page of this.#store.range(start, to, limits.fillPageEntries)) {
        for (const [key, value] of page) {
          if (this.#cache.isFull || dropped !== this.#cache.dropped) return false;
          if (deleted.size === 0 || !deleted.has(textOf(key))) this.#keep(key, value);
        }
        last = page.at(-1)?.[0];
        // What is remembered has a bound: the rest comes from a later listing.
        if (deleted.size > limits.fillDeletionsMax) break;
        last = undefined;
        yield;
      }
      start = last;
    }
    return true;
  }

  #read(key: Uint8Array): Uint8Array | undefined {
    const value = this.#store.get(key);
    if (value !== undefined) this.#cache.put(key, value);
    return value;
  }

  /** What was read is older than what was changed since. */
  #keep(key: Uint8Array, value: Uint8Array): void {
    if (!this.#cache.has(key)) this.#cache.put(key, value);
  }

  #changed(key: Uint8Array, value: Uint8Array | undefined): void {
    if (value === undefined) {
      this.#cache.delete(key);
      this.#deleted?.add(textOf(key));
    } else {
      this.#cache.put(key, value);
    }
  }
}

function textOf(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('latin1');
}
