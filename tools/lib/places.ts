/**
 * Where things are kept. Root's are the system's; those of an ordinary user are in the user's own directories, as the
 * XDG Base Directory Specification names them, so that who owns an image can format, mount and unmount it without root.
 */
import { realpath } from 'node:fs/promises';
import { homedir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';

const name = 'iopmemfs';
const systemState = `/var/lib/${name}`;
const systemRun = `/run/${name}`;

/** What the help of the programs says about `stateDir`. */
export const stateDirHelp = `$IOPMEMFS_STATE/UUID; ${systemState} for root, ~/.local/state/${name} for others`;

const isRoot = (): boolean => process.geteuid?.() === 0;

/** Where metadata lives, one folder for each filesystem UUID. */
export function stateDir(): string {
  const given = process.env.IOPMEMFS_STATE;
  if (given !== undefined) return resolve(given);
  return isRoot() ? systemState : join(xdg('XDG_STATE_HOME') ?? join(homedir(), '.local', 'state'), name);
}

/**
 * Where this user's servers register. Without a XDG_RUNTIME_DIR (su(1), cron(8)) it is a place that no other user can
 * have made before, unlike any in /tmp.
 */
export function runDir(): string {
  const given = process.env.IOPMEMFS_RUN;
  if (given !== undefined) return resolve(given);
  if (isRoot()) return systemRun;
  const runtime = xdg('XDG_RUNTIME_DIR');
  return runtime === undefined ? join(stateDir(), 'run') : join(runtime, name);
}

/** Where servers are looked for: this user's, and root's, which serve everybody. */
export function runDirs(): readonly string[] {
  const own = runDir();
  return process.env.IOPMEMFS_RUN !== undefined || own === systemRun ? [own] : [own, systemRun];
}

/** "All paths set in these environment variables must be absolute"; others are to be ignored. */
function xdg(variable: string): string | undefined {
  const path = process.env[variable];
  return path !== undefined && isAbsolute(path) ? path : undefined;
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
