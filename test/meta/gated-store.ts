import { EventEmitter, once } from 'node:events';
import { FsError } from '../../fs/errors.ts';
import type { MetaStore, StoreEntry, StoreOp } from '../../fs/meta/store.ts';

/** A real store whose batches the test can hold back or let fail, and that knows whether two ran at once. */
export class GatedStore implements MetaStore {
  readonly #store: MetaStore;
  readonly #gate = new EventEmitter();
  #held = false;
  #failing: unknown;
  #running = 0;
  /** Batches begun. */
  begun = 0;
  overlapped = false;

  constructor(store: MetaStore) {
    this.#store = store;
  }

  /** Batches that begin from now on wait until `open`. */
  hold(): void {
    this.#held = true;
  }

  open(): void {
    this.#held = false;
    this.#gate.emit('open');
  }

  /** Every batch that has not passed the gate yet fails and writes nothing. */
  fail(error: unknown = new FsError('ENOSPC')): void {
    this.#failing = error;
  }

  get room(): number {
    return this.#store.room;
  }

  get(key: Uint8Array): Uint8Array | undefined {
    return this.#store.get(key);
  }

  range(from: Uint8Array, to: Uint8Array): AsyncIterable<readonly StoreEntry[]> {
    return this.#store.range(from, to);
  }

  async batch(ops: readonly StoreOp[], expect?: readonly StoreOp[]): Promise<void> {
    this.begun++;
    this.overlapped ||= this.#running > 0;
    this.#running++;
    try {
      if (this.#held) await once(this.#gate, 'open');
      if (this.#failing !== undefined) throw this.#failing;
      await this.#store.batch(ops, expect);
    } finally {
      this.#running--;
    }
  }

  close(): Promise<void> {
    return this.#store.close();
  }
}
