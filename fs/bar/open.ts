import type { Stats } from 'node:fs';
import { type FileHandle, open, realpath, stat, statfs } from 'node:fs/promises';
import { constants } from 'node:os';
import { type ErrnoName, FsError } from '../errors.ts';
import type { BarDevice, CacheMode } from './device.ts';
import { tryLock } from './libc.ts';
import { type DeviceDescription, MappedDevice } from './mapped-device.ts';
import { blockDeviceSize, devdaxResource, enableMemory, pciResourceOf, readPciResource } from './sysfs.ts';

export interface OpenDeviceOptions {
  readonly writable: boolean;
  /** Refuse if another daemon has the device, and keep others out until close. Without it the device is shared. */
  readonly lock?: boolean;
  /** Bus address of byte 0 as peers see it; otherwise what sysfs says, 0n for files. */
  readonly busAddress?: bigint;
  /** Bytes; 1 unless the hardware takes only whole words. */
  readonly accessWidth?: BarDevice['accessWidth'];
  /** Otherwise what the kind of device implies. */
  readonly cacheMode?: CacheMode;
  /** Bytes mapped in one piece, a multiple of 4096; limits.windowSize by default. */
  readonly windowSize?: number;
}

type Identity = Pick<DeviceDescription, 'kind' | 'size' | 'busAddress' | 'cacheMode'>;

/**
 * Maps a file, a PCI BAR, a device-dax or a block device.
 * @throws FsError ENOENT, EACCES, EISDIR, EINVAL (empty, or no memory to map), EBUSY (locked by another), ENODEV (a BAR
 * without memory), EOPNOTSUPP (device-dax without libpmem), or what mmap(2) says; each names the path
 */
export async function openDevice(path: string, options: OpenDeviceOptions): Promise<BarDevice> {
  let handle: FileHandle | undefined;
  try {
    const identity = await identify(path);
    if (identity.kind === 'pci') await enableMemory(pciResourceOf(await realpath(path)), path);
    if (identity.size === 0) throw new FsError('EINVAL', { path, detail: 'is empty' });
    handle = await open(path, options.writable ? 'r+' : 'r');
    if (options.lock === true && !tryLock(handle.fd, { path })) {
      throw new FsError('EBUSY', { path, detail: 'in use by another daemon' });
    }
    const description: DeviceDescription = {
      path,
      kind: identity.kind,
      size: identity.size,
      writable: options.writable,
      accessWidth: options.accessWidth ?? 1,
      busAddress: options.busAddress ?? identity.busAddress,
      cacheMode: options.cacheMode ?? identity.cacheMode,
      measure: async () => (await identify(path)).size,
    };
    return new MappedDevice(handle, description, options.windowSize);
  } catch (error) {
    await handle?.close();
    throw named(error, path);
  }
}

async function identify(path: string): Promise<Identity> {
  const found = await stat(path);
  if (found.isFile()) return identifyFile(path, found);
  if (found.isDirectory()) throw new FsError('EISDIR', { path, detail: 'is a directory, not a device or an image' });
  if (found.isBlockDevice()) {
    return { kind: 'block', size: await blockDeviceSize(found.rdev), busAddress: 0n, cacheMode: 'wb' };
  }
  const dax = found.isCharacterDevice() ? await devdaxResource(found.rdev) : undefined;
  if (dax !== undefined) return { kind: 'devdax', size: dax.size, busAddress: dax.start, cacheMode: 'wb' };
  throw new FsError('EINVAL', { path, detail: 'is neither memory nor an image: cannot be mapped' });
}

async function identifyFile(path: string, found: Stats): Promise<Identity> {
  const pci = pciResourceOf(await realpath(path));
  if (pci !== undefined) {
    const { start, size } = await readPciResource(pci);
    return { kind: 'pci', size, busAddress: start, cacheMode: pci.writeCombining ? 'wc' : 'uc' };
  }
  // TMPFS_MAGIC of include/uapi/linux/magic.h
  const kind = (await statfs(path)).type === 0x01021994 ? 'tmpfs' : 'file';
  return { kind, size: found.size, busAddress: 0n, cacheMode: 'wb' };
}

/** The error with the path in its context, whoever threw it. */
function named(error: unknown, path: string): unknown {
  if (error instanceof FsError) {
    return error.context.path === undefined ? new FsError(error.code, { path, ...error.context }, error) : error;
  }
  if (!(error instanceof Error) || !('code' in error) || typeof error.code !== 'string') return error;
  return isErrnoName(error.code) ? new FsError(error.code, { path, op: 'open' }, error) : error;
}

function isErrnoName(code: string): code is ErrnoName & keyof typeof constants.errno {
  return code in constants.errno;
}
