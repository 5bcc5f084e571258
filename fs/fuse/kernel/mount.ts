/** mount(2) of a FUSE filesystem: the device, the options, and what a failure means. */
import { closeSync, constants, openSync } from 'node:fs';
import { FsError } from '../../errors.ts';
import type { MountOptions } from '../driver.ts';
import { mode } from './abi.ts';
import { mayMount, mountThroughHelper, unmountThroughHelper } from './fusermount.ts';
import { mount, mountFlag, umount, umountFlag } from './libc.ts';
import { kernelLimits } from './limits.ts';

/** Shown in /proc/mounts behind "fuse.". */
const subtype = 'iopmemfs';

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

/**
 * A connection to the kernel's FUSE, mounted: by mount(2) where that is ours to call, else by fusermount3.
 * @throws FsError with what to do in its detail; nothing is open or mounted then
 */
export async function mountConnection(options: MountOptions): Promise<number> {
  const flags = mountFlags(options); // names what is wrong with the options, whoever mounts
  if (!mayMount()) return mountThroughHelper(options, subtype);
  const fd = openDevice();
  try {
    await mount(options.source, options.mountPoint, `fuse.${subtype}`, flags, mountData(fd, options));
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
  return fd;
}

/**
 * Gives a mount of ours other flags. FUSE takes no other change, and passes over the data of a remount by mount(2)
 * (fuse_parse_param, fuse_reconfigure in fs/fuse/inode.c). What is not asked for is off, access times stay as they are.
 * @throws FsError EBUSY (to be read-only, with files open for writing), EPERM, EINVAL
 */
export async function remountConnection(options: Pick<MountOptions, 'source' | 'mountPoint' | 'readOnly' | 'options'>) {
  const { source, mountPoint } = options;
  await mount(source, mountPoint, `fuse.${subtype}`, mountFlags(options) | mountFlag.remount, '');
}

/**
 * Takes the mount away; one that is in use only with `lazy`, and then from the tree alone.
 * @throws FsError EBUSY, EINVAL (nothing is mounted there)
 */
export function unmountConnection(mountPoint: string, lazy: boolean): Promise<void> {
  if (!mayMount()) return unmountThroughHelper(mountPoint, lazy);
  return umount(mountPoint, umountFlag.noFollow | (lazy ? umountFlag.detach : 0));
}

/** O_NONBLOCK, not yet mounted. @throws FsError */
function openDevice(): number {
  try {
    return openSync('/dev/fuse', constants.O_RDWR | constants.O_NONBLOCK);
  } catch (cause) {
    const code = codeOf(cause);
    throw new FsError(
      code,
      { op: 'mount', path: '/dev/fuse', detail: deviceAdvice.get(code) ?? 'cannot be opened' },
      cause,
    );
  }
}

function codeOf(error: unknown): 'EACCES' | 'EPERM' | 'ENODEV' | 'EIO' {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'EACCES' || code === 'EPERM') return code;
  return code === 'ENOENT' || code === 'ENXIO' || code === 'ENODEV' ? 'ENODEV' : 'EIO';
}

const noFuse = 'the kernel has no FUSE: modprobe fuse (in a container: --device /dev/fuse)';
const deviceAdvice: ReadonlyMap<string, string> = new Map([
  ['ENODEV', noFuse],
  ['EACCES', 'may not be opened: look at its mode and owner'],
  ['EPERM', 'the container may not use the device: start it with --device /dev/fuse'],
]);

const advice: ReadonlyMap<string, string> = new Map([
  ['EPERM', 'mount(2) is not permitted here, in spite of CAP_SYS_ADMIN: a container may forbid it'],
  ['ENOENT', 'the mount point does not exist'],
  ['ENOTDIR', 'the mount point is not a directory'],
  ['ENODEV', noFuse],
  ['ENOTCONN', 'a dead mount is in the way: umount -l it'],
]);
