/** mount(2) of a FUSE filesystem: the device, the options, and what a failure means. */
import { closeSync, constants, openSync } from 'node:fs';
import { FsError } from '../../errors.ts';
import type { MountOptions } from '../driver.ts';
import { mode } from './abi.ts';
import { mount, mountFlag } from './libc.ts';
import { kernelLimits } from './limits.ts';

/** Shown in /proc/mounts; "fuse" is the kernel's part of it. */
const filesystemType = 'fuse.iopmemfs';

/** Options of mount(8) for every filesystem, and what they do to the flags of mount(2). */
const genericOptions: ReadonlyMap<string, { readonly set?: number; readonly clear?: number }> = new Map([
  ['defaults', {}],
  ['rw', { clear: mountFlag.readOnly }],
  ['ro', { set: mountFlag.readOnly }],
  ['suid', { clear: mountFlag.noSuid }],
  ['nosuid', { set: mountFlag.noSuid }],
  ['dev', { clear: mountFlag.noDev }],
  ['nodev', { set: mountFlag.noDev }],
  ['exec', { clear: mountFlag.noExec }],
  ['noexec', { set: mountFlag.noExec }],
  ['async', { clear: mountFlag.synchronous }],
  ['sync', { set: mountFlag.synchronous }],
  ['dirsync', { set: mountFlag.dirSync }],
  ['atime', { clear: mountFlag.noAtime }],
  ['noatime', { set: mountFlag.noAtime }],
  ['diratime', { clear: mountFlag.noDirAtime }],
  ['nodiratime', { set: mountFlag.noDirAtime }],
  ['relatime', { set: mountFlag.relAtime }],
  ['norelatime', { clear: mountFlag.relAtime }],
  ['strictatime', { set: mountFlag.strictAtime }],
  ['nostrictatime', { clear: mountFlag.strictAtime }],
  ['lazytime', { set: mountFlag.lazyTime }],
  ['nolazytime', { clear: mountFlag.lazyTime }],
]);

/** The flags of mount(2) for these options. @throws FsError EINVAL for one that is not known */
export function mountFlags(options: Pick<MountOptions, 'readOnly' | 'options'>): number {
  let flags = 0;
  for (const name of options.options) {
    const option = genericOptions.get(name);
    if (option === undefined) throw new FsError('EINVAL', { op: 'mount', detail: `unknown mount option ${name}` });
    flags = (flags | (option.set ?? 0)) & ~(option.clear ?? 0);
  }
  return options.readOnly ? flags | mountFlag.readOnly : flags;
}

/** The options that FUSE itself takes (fs/fuse/inode.c). Access is checked by the kernel, from the attributes. */
export function mountData(fd: number, options: Pick<MountOptions, 'allowOther'>): string {
  const data = [
    `fd=${fd}`,
    `rootmode=${mode.directory.toString(8)}`,
    `user_id=${process.getuid?.() ?? 0}`,
    `group_id=${process.getgid?.() ?? 0}`,
    `max_read=${kernelLimits.dataMax}`,
    'default_permissions',
  ];
  if (options.allowOther) data.push('allow_other');
  return data.join(',');
}

/** A new connection to the kernel's FUSE, not yet mounted. @throws FsError */
export function openDevice(): number {
  try {
    return openSync('/dev/fuse', constants.O_RDWR | constants.O_NONBLOCK);
  } catch (cause) {
    throw new FsError(
      'ENODEV',
      { op: 'mount', path: '/dev/fuse', detail: 'the kernel has no FUSE: modprobe fuse' },
      cause,
    );
  }
}

/** Mounts the connection. @throws FsError with what to do in its detail; the descriptor is closed then */
export async function mountDevice(fd: number, options: MountOptions): Promise<void> {
  try {
    await mount(options.source, options.mountPoint, filesystemType, mountFlags(options), mountData(fd, options));
  } catch (error) {
    closeSync(fd);
    if (!(error instanceof FsError)) throw error;
    const detail = advice.get(error.code) ?? error.context.detail;
    throw new FsError(error.code, {
      op: 'mount',
      path: options.mountPoint,
      ...(detail === undefined ? {} : { detail }),
    });
  }
}

const advice: ReadonlyMap<string, string> = new Map([
  ['EPERM', 'mounting takes CAP_SYS_ADMIN: run as root'],
  ['ENOENT', 'the mount point does not exist'],
  ['ENOTDIR', 'the mount point is not a directory'],
  ['ENODEV', 'the kernel has no FUSE: modprobe fuse'],
  ['ENOTCONN', 'a dead mount is in the way: umount -l it'],
]);
