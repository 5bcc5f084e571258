import type { SynchronousEngine } from '../../client/dma/engine.ts';
import { FsError } from '../../fs/errors.ts';

/** A device in the memory of the test, which remembers what was touched. */
export class MemoryEngine implements SynchronousEngine {
  readonly name = 'memory';
  readonly synchronous = true;
  readonly bytes: Uint8Array;
  readonly writable: boolean;
  reads = 0;
  writes = 0;
  #closed = false;

  constructor(size: number, fill = 0xee, writable = true) {
    this.bytes = new Uint8Array(size).fill(fill);
    this.writable = writable;
  }

  get size(): number {
    return this.bytes.length;
  }

  read(storageOffset: number, target: Uint8Array): void {
    this.#check(storageOffset, target.length);
    this.reads += 1;
    target.set(this.bytes.subarray(storageOffset, storageOffset + target.length));
  }

  write(storageOffset: number, source: Uint8Array): void {
    this.#check(storageOffset, source.length);
    if (!this.writable) throw new FsError('EROFS', { op: 'write' });
    this.writes += 1;
    this.bytes.set(source, storageOffset);
  }

  close(): Promise<void> {
    this.#closed = true;
    return Promise.resolve();
  }

  #check(offset: number, length: number): void {
    if (this.#closed) throw new FsError('ENODEV', { op: 'memory' });
    if (!Number.isSafeInteger(offset) || offset < 0 || offset + length > this.bytes.length)
      throw new FsError('EINVAL', { range: { offset, length } });
  }
}
