/** Endpoints in shared memory have a file in /dev/shm each, which stays behind when their process is killed. */
import { readdirSync, readlinkSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';

const folder = '/dev/shm';

/** Names in one PID namespace: elsewhere the number is another process. */
function namespaceNumber(): string {
  return /\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0] ?? '0';
}

/** What the endpoints of this process are called by, before the user and a number that libfabric adds. */
export function sharedName(): string {
  return `iopmemfs-rma-${namespaceNumber()}-${process.pid}`;
}

/** Removes the files of our processes that are gone. Never throws: what cannot be removed is somebody else's to care for. */
export function removeLeftovers(): void {
  const pattern = new RegExp(`^iopmemfs-rma-${namespaceNumber()}-(\\d+):`);
  for (const name of names()) {
    const pid = Number(pattern.exec(name)?.[1] ?? Number.NaN);
    if (Number.isNaN(pid) || isAlive(pid)) continue;
    try {
      unlinkSync(join(folder, name));
    } catch {
      // Another one was faster, or it is another user's.
    }
  }
}

function names(): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return !(error instanceof Error && 'code' in error && error.code === 'ESRCH');
  }
}
