/**
 * DEVICE_CHALLENGE: fresh random bytes in the part of the superblock block that is no superblock (docs/format.md §1), for a
 * client to find through its own mapping. Equal UUIDs and generations prove nothing, since images get copied.
 */
import { randomBytes } from 'node:crypto';
import type { BarDevice } from '../fs/bar/device.ts';
import { challengeArea } from '../fs/format/superblock.ts';

export interface Challenge {
  /** Byte of the device. */
  readonly storageOffset: number;
  readonly nonce: Uint8Array;
}

const nonceBytes = 32;
const places = challengeArea.length / nonceBytes;

/** As many at once as the area has places; one that was overwritten before it was read is asked for again. */
export class Challenges {
  readonly #device: BarDevice;
  #next = 0;

  constructor(device: BarDevice) {
    this.#device = device;
  }

  /** @throws FsError EROFS when nothing can be written, ENODEV, EIO */
  async issue(): Promise<Challenge> {
    const storageOffset = challengeArea.offset + (this.#next % places) * nonceBytes;
    this.#next += 1;
    const nonce = randomBytes(nonceBytes);
    this.#device.write(storageOffset, nonce);
    // Posted writes of a BAR arrive with the next read; in memory they are there already, and need not survive.
    if (this.#device.kind === 'pci') await this.#device.persist(storageOffset, nonceBytes);
    return { storageOffset, nonce };
  }
}
