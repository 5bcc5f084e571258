/**
 * Serves a `Vfs` through fuse-native (libfuse 2.9, high level): portable, path by path, with what that costs said
 * where it is paid: no caller (operations.ts), UTF-8 names (names.ts), milliseconds and the package's own faults
 * (remedies.ts), no invalidation from inside (invalidate.ts).
 */
import { stat } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type Fuse from 'fuse-native';
import { FsError } from '../../errors.ts';
import type { Caller } from '../../vfs.ts';
import type { MountDriver, MountOptions } from '../driver.ts';
import { OpenFiles } from './handles.ts';
import { PageInvalidator } from './invalidate.ts';
import { loadFuseNative } from './library.ts';
import { Names } from './names.ts';
import { type Mount, operations } from './operations.ts';
import { remedy } from './remedies.ts';
import { fuseDescriptors, takeAway, watchSession } from './session.ts';

/** The C side keeps the mount point and the option string in char[1024] each. */
const mountPointMax = 1023;
const optionsMax = 1023 - 160;
/** How long the open files of a busy mount are served after it was detached, in ms; then the daemon's end ends them. */
const detachGraceMs = 2000;

/** @throws FsError ENAMETOOLONG, EINVAL, EIO (the kernel refused), ENOSYS (the library does not load) */
export const mountFuseNative: MountDriver = async (vfs, options) => {
  if (Buffer.byteLength(options.mountPoint) > mountPointMax) {
    throw new FsError('ENAMETOOLONG', {
      op: 'mount',
      path: options.mountPoint,
      detail: 'fuse-native takes 1023 bytes',
    });
  }
  const library = await loadFuseNative();
  const caller = owner();
  const mount: Mount = { vfs, caller, names: new Names(vfs, caller), files: new OpenFiles() };
  const fuse = new library(options.mountPoint, operations(mount), libraryOptions(options));
  remedy(fuse, mount);

  const before = fuseDescriptors();
  await start(fuse, options);
  const session = [...fuseDescriptors()].find((fd) => !before.has(fd));
  if (session === undefined) throw new FsError('EIO', { op: 'mount', path: options.mountPoint, detail: 'no session' });
  let over = false;
  const ended = new Promise<void>((resolve) => {
    watchSession(session, () => {
      over = true;
      void releaseAll(mount).then(resolve);
    });
  });
  void ended.then(() => options.onUnmounted());
  await stat(options.mountPoint);

  const pages = new PageInvalidator(options.mountPoint, mount.files);
  return {
    mountPoint: options.mountPoint,
    unmount: async () => {
      if (!over) await takeAway(options.mountPoint);
      await Promise.race([ended, sleep(detachGraceMs, undefined, { ref: false })]);
    },
    invalidate: (ino) => pages.invalidate(ino),
    invalidateAttributes: async () => {}, // attributes are not believed at all
    invalidateEntry: async () => {}, // names are believed for a second at most
    removeEntry: async () => {},
  };
};

async function start(fuse: Fuse, options: MountOptions): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    fuse.mount((error) => {
      if (error === null || error === undefined) resolve();
      else reject(new FsError('EIO', { op: 'mount', path: options.mountPoint, detail: error.message }, error));
    });
  });
}

/**
 * `timeout: false`: an operation may wait for a layout to come back, longer than the library's 15 seconds, after which
 * it would answer for us and take the buffer away under the handler.
 *
 * What the library has no option for follows the source, which it hands on as it is:
 * - attr_timeout=0 where nothing else is said: peers change sizes and times behind the kernel's back, and nothing can tell it so. Names are
 *   believed for a second, as libfuse does by default: paths are resolved afresh for every operation anyway.
 * - neither kernel_cache nor auto_cache: an open drops the file's pages, so reads are coherent from close to open, as
 *   over NFS (RFC 8881 §10.3.1); auto_cache would compare times in milliseconds and miss quick changes.
 * - use_ino: hard links show the same inode number.
 * - big_writes, max_write: 128 KiB a request instead of one page.
 */
function libraryOptions(options: MountOptions): Fuse.Options {
  const extra = [
    `attr_timeout=${options.believed?.attributesSec ?? 0}`,
    'ac_attr_timeout=0',
    ...(options.believed === undefined ? [] : [`entry_timeout=${options.believed.namesSec}`]),
    'use_ino',
    'big_writes',
    'max_write=131072',
    options.readOnly ? 'ro' : 'rw',
    ...(process.geteuid?.() === 0 ? ['suid', 'dev'] : []), // libfuse takes them away, mount(8) of root does not
    ...(options.directIo ? ['direct_io'] : []),
    ...options.options,
  ];
  const fsname = [options.source.replace(/[\\,]/g, '\\$&'), ...extra].join(',');
  if (Buffer.byteLength(fsname) > optionsMax) {
    throw new FsError('EINVAL', { op: 'mount', path: options.source, detail: 'device path and options are too long' });
  }
  return { timeout: false, allowOther: options.allowOther, defaultPermissions: true, subtype: 'iopmemfs', fsname };
}

function owner(): Caller {
  const gid = process.getegid?.() ?? 0;
  const groups = process.getgroups?.() ?? [gid];
  return { uid: process.geteuid?.() ?? 0, gid, groups, pid: process.pid, access: 'kernel' };
}

/** The kernel sends no release for files that are open when the connection breaks. */
async function releaseAll({ vfs, files }: Mount): Promise<void> {
  for (const file of files.drain()) await vfs.release(file.handle);
}
