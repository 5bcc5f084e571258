import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/**
 * Takes a mount out of the tree with the program that may: umount(8) for root, fusermount3(1) for those who mounted
 * through it. One that is in use goes only with `lazy`. Rejects with what the program said.
 */
export async function detach(mountPoint: string, lazy: boolean): Promise<void> {
  const [program, ...args] =
    process.geteuid?.() === 0
      ? ['umount', ...(lazy ? ['-l'] : []), '--', mountPoint]
      : ['fusermount3', '-u', ...(lazy ? ['-z'] : []), '--', mountPoint];
  await promisify(execFile)(program, args);
}
