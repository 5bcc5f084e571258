/**
 * `-o remount` of mount(8): other flags for what is mounted already, ro and rw first of all. They bind the programs on
 * this mount; the daemon serves its peers as before. The other options come along from fstab(5), and stay as they are.
 */
import { realpath } from 'node:fs/promises';
import { FsError } from '../../fs/errors.ts';
import { remountConnection } from '../../fs/fuse/kernel/mount.ts';
import type { ParsedMountOptions } from './mount-options.ts';
import { mountedAt, mountType } from './mount-table.ts';
import { devicePath } from './places.ts';
import { serverOfMount } from './registry.ts';
import { withClient } from './remote.ts';

/**
 * @param fake looks, and changes nothing
 * @throws FsError EINVAL (this device is not mounted there), EROFS (served read-only), EBUSY, EPERM
 */
export async function remount(
  device: string,
  directory: string,
  { readOnly, kernel }: Pick<ParsedMountOptions, 'readOnly' | 'kernel'>,
  fake = false,
): Promise<void> {
  const mountPoint = await realpath(directory);
  const mounted = mountedAt(mountPoint);
  if (mounted?.type !== mountType || mounted.source !== (await devicePath(device))) {
    throw new FsError('EINVAL', { path: mountPoint, detail: `${device} is not mounted here` });
  }
  if (!readOnly && (await isServedReadOnly(mounted.dev))) {
    const detail = 'the daemon has opened the device to read only: unmount, and mount it rw';
    throw new FsError('EROFS', { path: mountPoint, detail });
  }
  if (fake) return;
  try {
    await remountConnection({ source: mounted.source, mountPoint, readOnly, options: kernel });
  } catch (cause) {
    const code = cause instanceof FsError ? cause.code : 'EIO';
    const detail = advice.get(code);
    throw new FsError(code, { path: mountPoint, ...(detail !== undefined && { detail }) }, cause);
  }
}

const advice: ReadonlyMap<string, string> = new Map([
  ['EBUSY', 'files are open for writing'],
  ['EPERM', 'only root may remount'],
]);

async function isServedReadOnly(dev: number): Promise<boolean> {
  const server = await serverOfMount(dev);
  if (server === undefined) return false;
  return withClient(server, async (client) => (await client.admin.status()).filesystem.readOnly);
}
