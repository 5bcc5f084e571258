import type { BarDevice } from '../../fs/bar/device.ts';

/**
 * Whatever was written to the device before has arrived when this returns: a read does not pass writes that are on their way
 * to the same memory (PCI Express Base Specification §2.4.1), from whomever they come. Without it a write of a client that
 * was cut off in time could land in a block that belongs to another file by then.
 * @throws FsError ENODEV
 */
export function drain(device: Pick<BarDevice, 'read' | 'size' | 'accessWidth'>): void {
  const word = Buffer.alloc(Math.max(device.accessWidth, 8));
  device.read(device.size - word.length, word);
}
