/** What no system call does: told to the metadata server of the mount, as the programs of ours do it. */
import { remotePath, withClient } from '../../tools/lib/remote.ts';
import type { Outcome } from './operations.ts';

const bs = 4096;

/** @param blocks and `inodes`: 0 for no limit */
export function setQuota(directory: string, blocks: number, inodes: number): Promise<Outcome> {
  return outcome(async () => {
    const { server, remote } = await remotePath(directory);
    await withClient(server, (client) => client.admin.setQuota(remote, { bytes: blocks * bs, inodes }));
  });
}

export function removeQuota(directory: string): Promise<Outcome> {
  return outcome(async () => {
    const { server, remote } = await remotePath(directory);
    await withClient(server, (client) => client.admin.removeQuota(remote));
  });
}

async function outcome(work: () => Promise<void>): Promise<Outcome> {
  try {
    await work();
    return 0;
  } catch (error) {
    if (isSystemError(error)) return error.code; // FsError, and what looking up the path said
    throw error;
  }
}

function isSystemError(error: unknown): error is Error & { readonly code: string } {
  return error instanceof Error && 'code' in error && typeof error.code === 'string';
}
