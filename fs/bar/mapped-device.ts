import type { FileHandle } from 'node:fs/promises';
import { assert, type ErrorContext, FsError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { BarDevice, CacheMode, DeviceKind, DirectAccess, PagePin } from './device.ts';
import { type Mapping, mapShared, unmap } from './libc.ts';
import { type Persist, persistenceOf } from './persistence.ts';
import { openWindow, type Window } from './window.ts';

const sectorSize = 512;
const pageShift = 12n;

/** What is known of a device before it is mapped. */
export interface DeviceDescription {
  readonly path: string;
  readonly kind: DeviceKind;
  /** Bytes; a multiple of `accessWidth`. */
  readonly size: number;
  readonly accessWidth: BarDevice['accessWidth'];
  readonly cacheMode: CacheMode;
  readonly busAddress: bigint;
  readonly writable: boolean;
  /** Bytes that it has later on; always `size` if left out. */
  readonly measure?: () => Promise<number>;
}

/**
 * A device mapped into this process, in windows of `windowSize` bytes. Access within one window is one copy of memory.
 * The file behind it must not become smaller than what is used of it, and have its blocks: the kernel answers an access to
 * a page that it cannot provide with SIGBUS.
 */
export class MappedDevice implements BarDevice {
  readonly path: string;
  readonly kind: DeviceKind;
  readonly accessWidth: BarDevice['accessWidth'];
  readonly cacheMode: CacheMode;
  readonly busAddress: bigint;
  readonly writable: boolean;

  #size: number;
  readonly #measure: () => Promise<number>;
  readonly #handle: FileHandle;
  readonly #windowSize: number;
  readonly #persist: Persist;
  readonly #mappings: Mapping[] = [];
  /** Windows that a larger one took the place of; somebody may still hold views of them. */
  readonly #replaced: Mapping[] = [];
  /** Empty once closed. */
  readonly #windows: Window[] = [];
  /** Pins and calls of persist that teardown waits for. */
  #users = 0;
  #closing: Promise<void> | undefined;
  #unused: () => void = () => {};

  /**
   * Takes over `handle` if it succeeds.
   * @param windowSize bytes, a multiple of the page size
   * @throws FsError with mmap(2)'s errno, EINVAL, EOPNOTSUPP
   */
  constructor(handle: FileHandle, description: DeviceDescription, windowSize: number = limits.windowSize) {
    assert(windowSize > 0 && windowSize % limits.blockSize === 0, `mapping windows of ${windowSize} bytes`);
    this.path = description.path;
    this.kind = description.kind;
    this.#size = description.size;
    this.#measure = description.measure ?? (async () => description.size);
    this.accessWidth = description.accessWidth;
    this.cacheMode = description.cacheMode;
    this.busAddress = description.busAddress;
    this.writable = description.writable;
    if (this.size % this.accessWidth !== 0) {
      throw this.#error('EINVAL', { detail: `${this.size} bytes are no multiple of the access width` });
    }
    this.#handle = handle;
    this.#windowSize = windowSize;
    this.#persist = this.writable ? persistenceOf(this.kind, this.accessWidth, this.path) : async () => {};
    try {
      this.#map(0);
    } catch (error) {
      this.#unmap();
      throw error;
    }
  }

  get size(): number {
    return this.#size;
  }

  views(offset: number, length: number): readonly Uint8Array[] {
    this.#requireInside(offset, length);
    const views: Uint8Array[] = [];
    this.#eachWindow(offset, length, ({ bytes }, at, count) => views.push(bytes.subarray(at, at + count)));
    return views;
  }

  read(offset: number, target: Uint8Array): void {
    const { length } = target;
    this.#requireInside(offset, length);
    const index = Math.floor(offset / this.#windowSize);
    const at = offset - index * this.#windowSize;
    if (at + length <= this.#windowSize) this.#windows[index]?.read(at, target);
    else {
      this.#eachWindow(offset, length, (window, from, count, done) => {
        window.read(from, target.subarray(done, done + count));
      });
    }
  }

  write(offset: number, source: Uint8Array): void {
    const { length } = source;
    this.#requireInside(offset, length);
    this.#requireWritable();
    const index = Math.floor(offset / this.#windowSize);
    const at = offset - index * this.#windowSize;
    if (at + length <= this.#windowSize) this.#windows[index]?.write(at, source);
    else {
      this.#eachWindow(offset, length, (window, to, count, done) => {
        window.write(to, source.subarray(done, done + count));
      });
    }
  }

  zero(offset: number, length: number): void {
    this.#requireInside(offset, length);
    this.#requireWritable();
    this.#eachWindow(offset, length, (window, at, count) => window.zero(at, count));
  }

  copy(from: number, to: number, length: number): void {
    this.#requireInside(from, length);
    this.#requireInside(to, length);
    this.#requireWritable();
    assert(from + length <= to || to + length <= from, `copy of ${length} bytes from ${from} over itself at ${to}`);
    this.#eachWindow(from, length, (source, sourceAt, count, done) => {
      this.#eachWindow(to + done, count, (target, targetAt, part, skip) => {
        source.copyTo(sourceAt + skip, part, target, targetAt);
      });
    });
  }

  async persist(offset: number, length: number): Promise<void> {
    this.#requireInside(offset, length);
    if (length === 0) return;
    const ranges: { mapping: Mapping; start: number; end: number }[] = [];
    for (let at = offset; at < offset + length; ) {
      const index = Math.floor(at / this.#windowSize);
      const windowStart = index * this.#windowSize;
      const end = Math.min(offset + length, windowStart + this.#windowSize);
      const mapping = this.#mappings[index];
      assert(mapping !== undefined, `window ${index} is not mapped`);
      ranges.push({ mapping, start: at - windowStart, end: end - windowStart });
      at = end;
    }
    this.#users++;
    try {
      await this.#persist(ranges);
    } finally {
      this.#leave();
    }
  }

  async refresh(): Promise<void> {
    this.#requireOpen();
    const measured = await this.#measure();
    this.#requireOpen();
    const size = measured - (measured % this.accessWidth);
    const before = this.#size;
    if (size === 0) throw this.#error('EINVAL', { detail: 'is empty' });
    this.#size = size;
    if (size <= before) return;
    try {
      this.#map(Math.floor(before / this.#windowSize));
    } catch (error) {
      this.#size = before;
      throw error;
    }
  }

  directAccess(sector: number): DirectAccess {
    const offset = sector * sectorSize;
    this.#requireOpen();
    if (!Number.isSafeInteger(sector) || sector < 0 || offset + sectorSize > this.size) {
      throw this.#error('EIO', {
        op: 'directAccess',
        detail: `sector ${sector} of ${Math.floor(this.size / sectorSize)}`,
      });
    }
    const busAddress = this.busAddress + BigInt(offset);
    return { busAddress, pageFrame: busAddress >> pageShift, contiguous: this.size - offset };
  }

  pin(offset: number, length: number): PagePin {
    this.#requireInside(offset, length);
    if (this.#closing !== undefined) throw this.#error('ENODEV', { op: 'pin', detail: 'the device is going away' });
    this.#users++;
    let pinned = true;
    return {
      offset,
      length,
      unpin: () => {
        assert(pinned, `pin of ${this.path} at ${offset}+${length} given back twice`);
        pinned = false;
        this.#leave();
      },
    };
  }

  close(): Promise<void> {
    this.#closing ??= this.#tearDown();
    return this.#closing;
  }

  /** Maps the windows from `index` on, the first of which may be there already, but not up to the end. */
  #map(index: number): void {
    for (let at = index; at * this.#windowSize < this.size; at++) {
      const offset = at * this.#windowSize;
      const length = Math.min(this.#windowSize, this.size - offset);
      const known = this.#mappings[at];
      if (known !== undefined && known.buffer.byteLength >= length) continue;
      const mapping = mapShared(this.#handle.fd, offset, length, this.writable, { path: this.path });
      if (known !== undefined) this.#replaced.push(known);
      this.#mappings[at] = mapping;
      this.#windows[at] = openWindow(mapping.buffer, this.accessWidth);
    }
  }

  async #tearDown(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#unused = resolve;
      if (this.#users === 0) resolve();
    });
    this.#unmap();
    await this.#handle.close();
  }

  #leave(): void {
    this.#users--;
    if (this.#users === 0) this.#unused();
  }

  #unmap(): void {
    this.#windows.length = 0;
    for (const mapping of [...this.#mappings.splice(0), ...this.#replaced.splice(0)]) unmap(mapping);
  }

  /** Cuts a range, which lies inside, at the borders of the windows: `done` bytes of it come before the piece. */
  #eachWindow(
    offset: number,
    length: number,
    visit: (window: Window, at: number, count: number, done: number) => void,
  ): void {
    for (let done = 0; done < length; ) {
      const index = Math.floor((offset + done) / this.#windowSize);
      const at = offset + done - index * this.#windowSize;
      const count = Math.min(length - done, this.#windowSize - at);
      const window = this.#windows[index];
      assert(window !== undefined, `window ${index} is not mapped`);
      visit(window, at, count, done);
      done += count;
    }
  }

  #requireInside(offset: number, length: number): void {
    this.#requireOpen();
    const valid = Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 0;
    if (valid && offset + length <= this.size) return;
    throw this.#error('EINVAL', { range: { offset, length }, detail: `outside of ${this.size} bytes` });
  }

  #requireOpen(): void {
    if (this.#windows.length === 0) throw this.#error('ENODEV', { detail: 'the device is closed' });
  }

  #requireWritable(): void {
    if (!this.writable) throw this.#error('EROFS', { detail: 'opened for reading' });
  }

  #error(code: 'EINVAL' | 'EIO' | 'ENODEV' | 'EROFS', context: ErrorContext): FsError {
    return new FsError(code, { path: this.path, ...context });
  }
}
