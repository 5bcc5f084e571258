/** What sysfs tells about devices whose own file tells nothing of their size. */
import { readFile, readlink, writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { FsError } from '../errors.ts';

/** A BAR by its file in sysfs: `resource0` is uncached, `resource0_wc` write-combining. */
export interface PciResource {
  /** The device's folder. */
  readonly folder: string;
  /** Number of the BAR, 0 to 5; 6 is the expansion ROM. */
  readonly bar: number;
  readonly writeCombining: boolean;
}

/** @param path as realpath(3) gives it */
export function pciResourceOf(path: string): PciResource | undefined {
  const match = /^(\/sys\/devices\/.*\/[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])\/resource([0-6])(_wc)?$/.exec(path);
  const [, folder, bar, suffix] = match ?? [];
  if (folder === undefined || bar === undefined) return undefined;
  return { folder, bar: Number(bar), writeCombining: suffix !== undefined };
}

/**
 * Start and length in bytes of a BAR, from the device's `resource` file: one line for each, with start, last byte and flags in
 * hexadecimal (Documentation/PCI/sysfs-pci.rst).
 * @throws FsError ENODEV when the BAR is not implemented or not assigned
 */
export function parsePciResource(text: string, bar: number): { readonly start: bigint; readonly size: number } {
  const match = /^0x([0-9a-f]+) 0x([0-9a-f]+) 0x[0-9a-f]+$/.exec(text.split('\n')[bar] ?? '');
  const [, first, last] = match ?? [];
  const start = BigInt(`0x${first ?? '0'}`);
  const end = BigInt(`0x${last ?? '0'}`);
  if (end <= start) throw new FsError('ENODEV', { detail: `BAR ${bar} has no memory assigned` });
  return { start, size: Number(end - start) + 1 };
}

export async function readPciResource(
  resource: PciResource,
): Promise<{ readonly start: bigint; readonly size: number }> {
  return parsePciResource(await readFile(`${resource.folder}/resource`, 'utf8'), resource.bar);
}

/**
 * A function without a driver answers no accesses to its memory until it is enabled (Documentation/ABI/testing/sysfs-bus-pci,
 * `enable`); with one it is already.
 * @throws FsError EACCES: that is for root
 */
export async function enableMemory(resource: PciResource | undefined, path: string): Promise<void> {
  if (resource === undefined) return;
  const file = `${resource.folder}/enable`;
  if ((await readFile(file, 'utf8')).trim() !== '0') return;
  try {
    await writeFile(file, '1');
  } catch (cause) {
    throw new FsError('EACCES', { path, detail: 'its function has no driver and is not enabled; root can' }, cause);
  }
}

/** Bytes of a block device; its `size` counts sectors of 512 bytes whatever the device's own are. */
export async function blockDeviceSize(rdev: number): Promise<number> {
  return Number(await readFile(`/sys/dev/block/${numbers(rdev)}/size`, 'utf8')) * 512;
}

/** Bytes and physical address of a device-dax, or undefined for any other character device. */
export async function devdaxResource(
  rdev: number,
): Promise<{ readonly start: bigint; readonly size: number } | undefined> {
  const folder = `/sys/dev/char/${numbers(rdev)}`;
  if (basename(await readlink(`${folder}/subsystem`)) !== 'dax') return undefined;
  const [size, start] = await Promise.all([readFile(`${folder}/size`, 'utf8'), readFile(`${folder}/resource`, 'utf8')]);
  return { start: BigInt(start.trim()), size: Number(size) };
}

/** `major:minor` of a device number as the kernel hands it to user space (new_encode_dev in include/linux/kdev_t.h). */
export function numbers(rdev: number): string {
  const major = (rdev >>> 8) & 0xfff;
  const minor = (rdev & 0xff) | ((rdev >>> 12) & 0xfff00);
  return `${major}:${minor}`;
}
