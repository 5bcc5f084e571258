/**
 * What the filesystem needs of a metadata store, and no more, so that a replicated one can stand here later.
 * Keys and values are bytes; keys compare as unsigned bytes.
 */
export interface StoreOp {
  readonly key: Uint8Array;
  /** undefined deletes. */
  readonly value: Uint8Array | undefined;
}

export type StoreEntry = readonly [key: Uint8Array, value: Uint8Array];

export interface MetaStore {
  /**
   * Bytes that new records may still take on its disk, as it was found last; what is left besides is kept for deletions,
   * and for its own housekeeping. 0: nothing new should be taken on.
   */
  readonly room: number;
  /** @throws FsError EIO */
  get(key: Uint8Array): Uint8Array | undefined;
  /**
   * Entries from `from` (inclusive) to `to` (exclusive) in key order, a page at a time, of one moment: when the first page is
   * asked for. A page has at most `pageEntries`, where the store heeds that.
   */
  range(from: Uint8Array, to: Uint8Array, pageEntries?: number): AsyncIterable<readonly StoreEntry[]>;
  /**
   * All or nothing, durable when it settles. Every entry of `expect` must hold (undefined: absent) or nothing is written.
   * @throws FsError EIO, ENOSPC, ESTALE (an expectation does not hold)
   */
  batch(ops: readonly StoreOp[], expect?: readonly StoreOp[]): Promise<void>;
  /** Waits for batches under way. */
  close(): Promise<void>;
}
