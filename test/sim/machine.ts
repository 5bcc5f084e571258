/**
 * The server's machine: memory behind a BAR that outlives every process, and a metadata store that a crash cuts at its
 * last sync. Both take virtual time, and tell the checks what is touched.
 */
import type { MetaStore, StoreOp } from '../../fs/meta/store.ts';
import { MemoryDevice, MemoryStore } from '../support/crash-recorder.ts';
import { loop } from './loop.ts';

export interface Watcher {
  /** The server stores to these bytes of the device. */
  serverWrites(offset: number, source: Uint8Array): void;
  /** These bytes, as they were when that was asked for, survive a loss of power. */
  persisted(offset: number, bytes: Uint8Array): void;
}

/** The server's mapping of the device. */
export class ServerDevice extends MemoryDevice {
  readonly #watcher: Watcher;

  constructor(memory: Buffer, watcher: Watcher) {
    super(memory);
    this.#watcher = watcher;
  }

  override write(offset: number, source: Uint8Array): void {
    this.#watcher.serverWrites(offset, source);
    super.write(offset, source);
  }

  override async persist(offset: number, length: number): Promise<void> {
    const bytes = Buffer.from(this.memory.subarray(offset, offset + length));
    await loop().sleep(0.01 + loop().random.below(100) / 1000);
    this.#watcher.persisted(offset, bytes);
  }
}

/** What is on the disk. */
export class Disk {
  readonly records = new MemoryStore();
  /** Written, and not synced yet. */
  readonly unsynced: (readonly StoreOp[])[] = [];

  /** The server's process, or its machine, is gone: of what was not synced the first batches may be there, each whole. */
  async crash(): Promise<void> {
    const kept = this.unsynced.slice(0, loop().random.below(this.unsynced.length + 1));
    this.unsynced.length = 0;
    for (const ops of kept) await this.records.batch(ops);
  }
}

/** One process' view of the disk: a batch is there for readers at once, and on the disk once it is synced. */
export class ServerStore extends MemoryStore implements MetaStore {
  readonly #disk: Disk;
  #tail: Promise<void> = Promise.resolve();

  constructor(disk: Disk) {
    super(disk.records.records);
    this.#disk = disk;
  }

  override async batch(ops: readonly StoreOp[]): Promise<void> {
    const copied = ops.map(({ key, value }) => ({
      key: Uint8Array.from(key),
      value: value === undefined ? undefined : Uint8Array.from(value),
    }));
    const before = this.#tail;
    const written = (async (): Promise<void> => {
      await before;
      this.#disk.unsynced.push(copied);
      const { random } = loop();
      await loop().sleep(random.oneIn(20) ? random.below(50) : 0.1 + random.below(1000) / 1000);
      await super.batch(copied);
      this.#disk.unsynced.shift();
      await this.#disk.records.batch(copied);
    })();
    this.#tail = written;
    await written;
  }

  override async close(): Promise<void> {
    await this.#tail;
  }
}
