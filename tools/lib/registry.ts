/**
 * How programs find the server of a path: every serving daemon leaves a file RUN/<uuid>.json beside its control socket
 * RUN/<uuid>.sock, and RUN/mounts/<st_dev>.json for its mount, and takes them away when it ends. Entries of daemons
 * that were killed are not believed.
 */
import { lstat, mkdir, readdir, readFile, rename, rm, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { FsError } from '../../fs/errors.ts';
import { serverLimits } from '../../mds/limits.ts';
import { devicePath, runDir, runDirs } from './places.ts';

export interface Registration {
  readonly pid: number;
  /** Field 22 of /proc/pid/stat: tells the daemon from a later process with its number. */
  readonly startTime: string;
  /** Of the server: the control socket, or for a remote mount whatever it was mounted from. */
  readonly address: string;
  /** What is mounted, from the root of the filesystem. */
  readonly subtree: string;
  readonly device: string;
  readonly uuid: string;
  readonly mountPoint: string | undefined;
}

/**
 * How long a daemon may take to finish after its mount is gone, in ms: a lease of the usual length and a fence, for clients that
 * do not return their layouts, and the rest for itself. And how often that is looked at.
 */
const stopMs = serverLimits.leaseMs + serverLimits.drainFenceMs + 30_000;
const pollMs = 50;

export const controlSocket = (uuid: string): string => join(runDir(), `${uuid}.sock`);
const serverFile = (dir: string, uuid: string): string => join(dir, `${uuid}.json`);
const mountFile = (dir: string, dev: number): string => join(dir, 'mounts', `${dev}.json`);

/** Makes the run directory. Others may look into it, but not change it. */
export async function prepareRunDir(): Promise<void> {
  await mkdir(join(runDir(), 'mounts'), { recursive: true, mode: 0o755 });
}

/** @throws FsError EBUSY when a living daemon serves this UUID already */
export async function requireUnserved(uuid: string): Promise<void> {
  const other = await firstIn((dir) => serverFile(dir, uuid));
  if (other === undefined || other.pid === process.pid) return;
  const detail = `a copy of this filesystem (UUID ${uuid}) is served already by process ${other.pid}`;
  throw new FsError('EBUSY', { path: other.device, detail });
}

export type Service = Omit<Registration, 'pid' | 'startTime'>;

/** Makes the daemon findable; the answer takes that back. */
export function register(service: Service): Promise<() => Promise<void>> {
  return enter(serverFile(runDir(), service.uuid), service);
}

/** The same by its mount, with this st_dev. */
export function registerMount(service: Service, dev: number): Promise<() => Promise<void>> {
  return enter(mountFile(runDir(), dev), service);
}

async function enter(file: string, service: Service): Promise<() => Promise<void>> {
  const startTime = (await startTimeOf(process.pid)) ?? '';
  // Whole or not at all, for those who read it this moment.
  await writeFile(`${file}.${process.pid}`, JSON.stringify({ pid: process.pid, startTime, ...service }));
  await rename(`${file}.${process.pid}`, file);
  return () => rm(file, { force: true });
}

/** The living daemon whose mount has this st_dev. */
export function serverOfMount(dev: number): Promise<Registration | undefined> {
  return firstIn((dir) => mountFile(dir, dev));
}

/** All living daemons, by device path. */
export async function allServers(): Promise<readonly Registration[]> {
  const found = (await Promise.all(runDirs().map((dir) => serversIn(dir)))).flat();
  return found.sort((a, b) => (a.device < b.device ? -1 : 1));
}

async function serversIn(dir: string): Promise<readonly Registration[]> {
  let names: readonly string[];
  try {
    names = await readdir(dir);
  } catch {
    return []; // no daemon ran here yet
  }
  const files = names.filter((name) => name.endsWith('.json')).map((name) => registrationIn(join(dir, name)));
  return (await Promise.all(files)).filter((entry) => entry !== undefined);
}

export async function isRunning({ pid, startTime }: Pick<Registration, 'pid' | 'startTime'>): Promise<boolean> {
  return (await startTimeOf(pid)) === startTime;
}

/** False: it still runs after the longest time that a daemon may take. */
export async function waitForEnd(server: Registration): Promise<boolean> {
  const deadline = Date.now() + stopMs;
  while (await isRunning(server)) {
    if (Date.now() > deadline) return false;
    await sleep(pollMs);
  }
  return true;
}

async function firstIn(file: (dir: string) => string): Promise<Registration | undefined> {
  for (const dir of runDirs()) {
    const found = await registrationIn(file(dir));
    if (found !== undefined) return found;
  }
  return undefined;
}

async function registrationIn(file: string): Promise<Registration | undefined> {
  let entry: unknown;
  try {
    entry = JSON.parse(await readFile(file, 'utf8'));
  } catch {
    return undefined; // not there, or being removed
  }
  return isRegistration(entry) && (await isRunning(entry)) ? entry : undefined;
}

function isRegistration(value: unknown): value is Registration {
  if (typeof value !== 'object' || value === null) return false;
  const texts = ['startTime', 'address', 'subtree', 'device', 'uuid'] as const;
  const field = (name: string): unknown => Reflect.get(value, name);
  const mountPoint = field('mountPoint');
  return (
    Number.isSafeInteger(field('pid')) &&
    texts.every((name) => typeof field(name) === 'string') &&
    (mountPoint === undefined || typeof mountPoint === 'string')
  );
}

/** undefined: no such process, or it is a zombie, which serves nobody. */
async function startTimeOf(pid: number): Promise<string | undefined> {
  try {
    const text = await readFile(`/proc/${pid}/stat`, 'latin1');
    // The name before it, in parentheses, may hold spaces and parentheses itself.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

/** Asks for what no kernel keeps. @throws FsError ENOTCONN: on a mount whose daemon was killed */
export async function requireAlive(path: string): Promise<void> {
  try {
    await statfs(path);
  } catch (error) {
    if (!(error instanceof Error) || !('code' in error) || error.code !== 'ENOTCONN') return; // others say it better
    throw new FsError('ENOTCONN', { path, detail: 'its daemon has died: iopmemfs umount, then mount again' });
  }
}

/** The server of a path on its mount, or of its device. @throws FsError ENOENT, ENOTCONN */
export async function serverAt(path: string): Promise<Registration> {
  const device = await devicePath(path);
  const byDevice = (await allServers()).find((server) => server.device === device);
  if (byDevice !== undefined) return byDevice;
  await requireAlive(path);
  const found = await serverOfMount((await lstat(path)).dev);
  if (found !== undefined) return found;
  const detail = 'neither a device that is served nor on a mount; iopmemfs status lists what runs';
  throw new FsError('ENOENT', { path, detail });
}
