import { mkdtemp, open, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { BarDevice, DeviceKind } from '../../fs/bar/device.ts';
import { tryLock } from '../../fs/bar/libc.ts';
import { MappedDevice } from '../../fs/bar/mapped-device.ts';
import { openDevice } from '../../fs/bar/open.ts';
import { FsError } from '../../fs/errors.ts';
import { deviceSize, type Subject, windowSize } from './conformance.ts';

export const tmpfs = '/dev/shm';
/** Kept over a restart (FHS 5.15), so not memory. */
export const disk = '/var/tmp';

/** A sparse image in a folder of its own. */
export async function createImage(
  parent: string,
  size: number,
): Promise<{ path: string; remove: () => Promise<void> }> {
  const folder = await mkdtemp(join(parent, 'iopmemfs-bar-'));
  const path = join(folder, 'image');
  await writeFile(path, '');
  await truncate(path, size);
  return { path, remove: () => rm(folder, { recursive: true }) };
}

/** An image as itself. */
export async function imageSubject(parent: string, accessWidth: BarDevice['accessWidth']): Promise<Subject> {
  const image = await createImage(parent, deviceSize);
  return {
    open: (options) => openDevice(image.path, { ...options, accessWidth, windowSize }),
    stored: () => readFile(image.path),
    remove: image.remove,
  };
}

/** An image that is treated as hardware of some kind would be. */
export async function hardwareSubject(kind: DeviceKind, accessWidth: BarDevice['accessWidth']): Promise<Subject> {
  const image = await createImage(tmpfs, deviceSize);
  return {
    open: async ({ writable, lock }) => {
      const handle = await open(image.path, writable ? 'r+' : 'r');
      if (lock === true && !tryLock(handle.fd, {})) {
        await handle.close();
        throw new FsError('EBUSY', { path: image.path, detail: 'in use by another daemon' });
      }
      const busAddress = 0xfe00_0000n;
      const description = { path: image.path, kind, size: deviceSize, accessWidth, busAddress, writable } as const;
      return new MappedDevice(handle, { ...description, cacheMode: 'wc' }, windowSize);
    },
    stored: () => readFile(image.path),
    remove: image.remove,
  };
}
