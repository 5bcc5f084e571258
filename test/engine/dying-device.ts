import { FsError } from '../../fs/errors.ts';
import { superblockSize } from '../../fs/format/superblock.ts';
import { WatchedDevice } from './watched-device.ts';

/** A device that loses its power at the write of a superblock, which is on it in part or not at all then. */
export class DyingDevice extends WatchedDevice {
  /** Superblocks that can still be written. */
  superblocksLeft = Infinity;
  /** With the checksum of the new one, and the rest of the old. */
  tearsTheNext = false;
  #dead = false;

  override write(offset: number, source: Uint8Array): void {
    if (!this.#dead && source.length === superblockSize && this.superblocksLeft-- <= 0) {
      this.#dead = true;
      if (this.tearsTheNext) super.write(offset, source.subarray(0, 40));
    }
    this.#requirePower();
    super.write(offset, source);
  }

  override async persist(offset: number, length: number): Promise<void> {
    this.#requirePower();
    await super.persist(offset, length);
  }

  #requirePower(): void {
    if (this.#dead) throw new FsError('EIO', { path: this.path, detail: 'no power' });
  }
}
