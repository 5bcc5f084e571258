import type { BarDevice, DirectAccess, PagePin } from '../../fs/bar/device.ts';

/** A device that says it is a file on a disk, and which ranges were made persistent when. */
export class WatchedDevice implements BarDevice {
  readonly kind = 'file';
  readonly persisted: { readonly offset: number; readonly length: number }[] = [];
  readonly #device: BarDevice;

  constructor(device: BarDevice) {
    this.#device = device;
  }

  /** Every byte of the range was persisted since `persisted` was last emptied. */
  covers(offset: number, length: number): boolean {
    let at = offset;
    for (const range of this.persisted.toSorted((a, b) => a.offset - b.offset)) {
      if (range.offset <= at) at = Math.max(at, range.offset + range.length);
    }
    return at >= offset + length;
  }

  get path(): string {
    return this.#device.path;
  }
  get size(): number {
    return this.#device.size;
  }
  get accessWidth(): BarDevice['accessWidth'] {
    return this.#device.accessWidth;
  }
  get cacheMode(): BarDevice['cacheMode'] {
    return this.#device.cacheMode;
  }
  get busAddress(): bigint {
    return this.#device.busAddress;
  }
  get writable(): boolean {
    return this.#device.writable;
  }
  views(offset: number, length: number): readonly Uint8Array[] {
    return this.#device.views(offset, length);
  }
  read(offset: number, target: Uint8Array): void {
    this.#device.read(offset, target);
  }
  write(offset: number, source: Uint8Array): void {
    this.#device.write(offset, source);
  }
  zero(offset: number, length: number): void {
    this.#device.zero(offset, length);
  }
  copy(from: number, to: number, length: number): void {
    this.#device.copy(from, to, length);
  }
  async persist(offset: number, length: number): Promise<void> {
    await this.#device.persist(offset, length);
    this.persisted.push({ offset, length });
  }
  refresh(): Promise<void> {
    return this.#device.refresh();
  }
  directAccess(sector: number): DirectAccess {
    return this.#device.directAccess(sector);
  }
  pin(offset: number, length: number): PagePin {
    return this.#device.pin(offset, length);
  }
  close(): Promise<void> {
    return this.#device.close();
  }
}
