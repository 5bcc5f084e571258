import { realpath } from 'node:fs/promises';
import { join, resolve } from 'node:path';

/** Where metadata lives, one folder for each filesystem UUID. */
export function stateDir(): string {
  return resolve(process.env.IOPMEMFS_STATE ?? '/var/lib/iopmemfs');
}

/** Where running servers can be found. */
export function runDir(): string {
  return resolve(process.env.IOPMEMFS_RUN ?? '/run/iopmemfs');
}

/** The metadata directory of a filesystem: what the option says, or the one named after its UUID. */
export function metadataDir(uuid: string, option: string | undefined): string {
  return option === undefined ? join(stateDir(), uuid) : resolve(option);
}

export function logFile(uuid: string): string {
  return join(stateDir(), `${uuid}.log`);
}

/** One name for a device, however it was reached; a missing one keeps its own for the message. */
export async function devicePath(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch {
    return resolve(path);
  }
}
