import { readdir, realpath, stat, statfs } from 'node:fs/promises';
import { resolve } from 'node:path';
import { FsError } from '../../fs/errors.ts';
import { detach } from '../../fs/fuse/detach.ts';
import { mountedAt, mountType } from './mount-table.ts';

/**
 * The absolute path of a directory that can be mounted on. What a killed daemon left there is taken away first.
 * @throws FsError ENOENT, ENOTDIR, EBUSY (mounted already), ENOTEMPTY
 */
export async function requireMountPoint(path: string): Promise<string> {
  await removeDeadMount(resolve(path));
  let mountPoint: string;
  try {
    mountPoint = await realpath(path);
  } catch (cause) {
    throw new FsError('ENOENT', { path, detail: 'mount point does not exist: make the directory first' }, cause);
  }
  if (!(await stat(mountPoint)).isDirectory()) {
    throw new FsError('ENOTDIR', { path: mountPoint, detail: 'mount point is not a directory' });
  }
  const mounted = mountedAt(mountPoint);
  if (mounted !== undefined) {
    const umount = process.geteuid?.() === 0 ? 'umount' : 'fusermount3 -u';
    const detail = `already mounted: ${mounted.source} (${mounted.type}); ${umount} ${mountPoint} first`;
    throw new FsError('EBUSY', { path: mountPoint, detail });
  }
  if ((await readdir(mountPoint)).length > 0) {
    throw new FsError('ENOTEMPTY', { path: mountPoint, detail: 'mount point is not empty: its files would be hidden' });
  }
  return mountPoint;
}

/** A daemon that was killed leaves a mount of ours that answers ENOTCONN to what the kernel does not know by itself: stat(2) may succeed. */
async function removeDeadMount(path: string): Promise<void> {
  if (mountedAt(path)?.type !== mountType) return;
  try {
    await statfs(path);
  } catch (error) {
    if (!(error instanceof Error) || !('code' in error) || error.code !== 'ENOTCONN') return;
    await detach(path, true);
  }
}
