import { readdirSync, readlinkSync } from 'node:fs';
import { detach } from '../detach.ts';

/** How often the session is looked at, in ms: what `umount` and the end of the daemon are apart at most. */
const watchMs = 100;

/** The descriptors of this process that are open on /dev/fuse. */
export function fuseDescriptors(): ReadonlySet<string> {
  const found = new Set<string>();
  for (const fd of readdirSync('/proc/self/fd')) if (isFuse(fd)) found.add(fd);
  return found;
}

/**
 * Calls `ended` once libfuse's loop is over. fuse-native says nothing of it, but libfuse closes its descriptor of
 * /dev/fuse then, and only then: a lazily detached mount goes on until its last file is closed.
 */
export function watchSession(fd: string, ended: () => void): void {
  const timer = setInterval(() => {
    if (isFuse(fd)) return;
    clearInterval(timer);
    ended();
  }, watchMs);
}

/** Takes the mount away: plainly if nobody uses it, otherwise detached, so that nobody new comes in. */
export async function takeAway(mountPoint: string): Promise<void> {
  try {
    await detach(mountPoint, false);
  } catch {
    await detach(mountPoint, true);
  }
}

function isFuse(fd: string): boolean {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`) === '/dev/fuse';
  } catch {
    return false; // closed between the listing and the look
  }
}
