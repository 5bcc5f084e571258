import { realpath } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { Command } from 'commander';
import { FsError } from '../../fs/errors.ts';
import { detach } from '../../fs/fuse/detach.ts';
import { mountedAt, mountType } from '../lib/mount-table.ts';
import { ExitError, errorText } from '../lib/program.ts';
import { serverOfMount, waitForEnd } from '../lib/registry.ts';
import { mountExit } from './mount.ts';

export function umountCommand(): Command {
  return new Command('umount')
    .description('Unmount, and wait until the daemon has written and closed everything.')
    .argument('<directory>', 'mount point')
    .option('-l, --lazy', 'detach it although it is in use; the daemon ends with the last open file')
    .action(async (directory: string, options: { readonly lazy?: true }) => {
      try {
        await unmount(directory, options.lazy === true);
      } catch (error) {
        throw new ExitError(mountExit.failure, errorText(error), error);
      }
    });
}

/** @throws FsError EINVAL (nothing of ours is mounted there), EBUSY, ETIMEDOUT */
async function unmount(directory: string, lazy: boolean): Promise<void> {
  const mountPoint = await mountPointAt(directory);
  const mounted = mountedAt(mountPoint);
  if (mounted?.type !== mountType)
    throw new FsError('EINVAL', { path: mountPoint, detail: 'no iopmemfs is mounted here' });
  const server = await serverOfMount(mounted.dev);
  try {
    await detach(mountPoint, lazy);
  } catch (cause) {
    throw notUnmounted(mountPoint, cause);
  }
  if (lazy || server === undefined || (await waitForEnd(server))) return;
  throw new FsError('ETIMEDOUT', { path: mountPoint, detail: `process ${server.pid} is still closing the filesystem` });
}

/** Asks the mount itself nothing where its name says enough: its server may not answer. */
async function mountPointAt(directory: string): Promise<string> {
  const above = await realpath(dirname(resolve(directory))).catch(() => dirname(resolve(directory)));
  const named = join(above, basename(resolve(directory)));
  if (mountedAt(named) !== undefined) return named;
  return realpath(directory).catch(() => directory); // a dead mount answers nothing
}

/** What umount(8) or fusermount3(1) said, where it is not one of the two things that people meet. */
function notUnmounted(path: string, cause: unknown): FsError {
  const said = cause instanceof Error && 'stderr' in cause ? String(cause.stderr).trim() : String(cause);
  if (/busy/i.test(said)) {
    return new FsError(
      'EBUSY',
      { path, detail: 'in use: close its files and leave its directories, or use -l' },
      cause,
    );
  }
  // fusermount3(1) has a list of what each user mounted through it.
  const others = /entry for .* not found/.test(said);
  return new FsError(
    'EPERM',
    { path, detail: others ? 'somebody else mounted it: only they and root unmount it' : said },
    cause,
  );
}
