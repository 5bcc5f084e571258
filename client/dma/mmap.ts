import type { BarDevice } from '../../fs/bar/device.ts';
import { openDevice } from '../../fs/bar/open.ts';
import { FsError } from '../../fs/errors.ts';
import type { SynchronousEngine } from './engine.ts';

/** Load and store through a mapping of the device in this process: one copy of memory for each access. */
export class MmapEngine implements SynchronousEngine {
  readonly name = 'mmap';
  readonly synchronous = true;
  readonly #device: BarDevice;

  /** Closes the device with itself. */
  constructor(device: BarDevice) {
    this.#device = device;
  }

  get size(): number {
    return this.#device.size;
  }

  get writable(): boolean {
    return this.#device.writable;
  }

  read(storageOffset: number, target: Uint8Array): void {
    this.#device.read(storageOffset, target);
  }

  write(storageOffset: number, source: Uint8Array): void {
    this.#device.write(storageOffset, source);
  }

  /** The bytes themselves, until `close`; in pieces of at most 1 GiB. @throws FsError EINVAL, ENODEV */
  views(storageOffset: number, length: number): readonly Uint8Array[] {
    return this.#device.views(storageOffset, length);
  }

  close(): Promise<void> {
    return this.#device.close();
  }
}

/**
 * Maps the device or image at `path` for writing, or for reading where that is all that is permitted.
 * @throws FsError ENOENT, EACCES, EINVAL… of `openDevice`
 */
export async function openMmapEngine(path: string, accessWidth: BarDevice['accessWidth']): Promise<MmapEngine> {
  try {
    return new MmapEngine(await openDevice(path, { writable: true, lock: false, accessWidth }));
  } catch (error) {
    const readable = error instanceof FsError && ['EACCES', 'EPERM', 'EROFS'].includes(error.code);
    if (!readable) throw error;
    return new MmapEngine(await openDevice(path, { writable: false, lock: false, accessWidth }));
  }
}
