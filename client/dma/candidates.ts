/** Where on this machine the memory of the server may be. Which of these it is only the proof tells (proof.ts). */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { parsePciResource } from '../../fs/bar/sysfs.ts';
import { FsError } from '../../fs/errors.ts';
import { clientLimits } from '../limits.ts';

/** How the program says which device is meant; undefined: it does not. */
export interface DeviceChoice {
  /** A path, `iopmemN`, `daxX.Y`, a PCI address (`0000:03:00.0`), or the UUID of the filesystem. */
  readonly device: string | undefined;
  /** Folders whose files are looked at as well. */
  readonly directories: readonly string[];
  /** `/`, but in tests. */
  readonly root: string;
}

/** What is known of the memory that is looked for. */
export interface Sought {
  /** Where it is on the server's host. */
  readonly path: string;
  /** Bytes. */
  readonly size: number;
}

/** vendor:device and BAR of what such memory usually is: the iopmem card, and ivshmem of QEMU. */
const usual: ReadonlyMap<string, number> = new Map([
  ['0x11f8:0xf115', 4],
  ['0x1af4:0x1110', 2],
]);

/** IORESOURCE_MEM and IORESOURCE_PREFETCH of include/linux/ioport.h: reading it has no side effects. */
const [memoryFlag, prefetchFlag] = [0x200, 0x2000];

const uuidForm = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const pciForm = /^([0-9a-f]{4,}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/i;

/** True if `name` says which filesystem, not which device. */
export function isUuid(name: string): boolean {
  return uuidForm.test(name);
}

/**
 * Paths to try, the likeliest first; what is not asked for is not searched.
 * @throws FsError ENOENT, EACCES when the device that was named is not here; EINVAL when the name has no form that is known
 */
export async function* candidates(sought: Sought, choice: DeviceChoice): AsyncGenerator<string, void> {
  const { device, root, directories } = choice;
  if (device !== undefined && !isUuid(device)) return yield* await named(device, sought, root);
  yield sought.path;
  const found = [
    ...(await pciResources(root, sought.size, sought.path.endsWith('_wc'))),
    ...(await entries(join(root, 'dev'), /^(dax\d+\.\d+|iopmem\d+)$/)),
  ];
  for (const directory of directories) found.push(...(await entries(directory, /./)));
  yield* found.filter((path) => path !== sought.path).slice(0, clientLimits.candidatesMax);
}

/** The paths that a name stands for. @throws as `candidates` */
export async function named(device: string, sought: Sought | undefined, root: string): Promise<readonly string[]> {
  if (device.includes('/')) return [await present(device)];
  if (/^(dax\d+\.\d+|iopmem\d+)$/.test(device)) return [await present(join(root, 'dev', device))];
  if (!pciForm.test(device)) {
    const detail = 'no path, iopmemN, daxX.Y, PCI address or UUID';
    throw new FsError('EINVAL', { path: device, detail });
  }
  const address = device.split(':').length === 2 ? `0000:${device}` : device;
  const folder = await present(join(root, 'sys/bus/pci/devices', address.toLowerCase()));
  const resources = await memoryOf(folder);
  const large = resources.filter(({ size }) => size >= (sought?.size ?? 0));
  if (large.length === 0) throw new FsError('ENODEV', { path: folder, detail: 'has no BAR of that size' });
  return large.sort((a, b) => b.size - a.size).map(({ path }) => path);
}

async function present(path: string): Promise<string> {
  try {
    await stat(path);
    return path;
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause && cause.code === 'EACCES' ? 'EACCES' : 'ENOENT';
    throw new FsError(code, { path, detail: 'the device is not here' }, cause);
  }
}

async function existing(paths: readonly string[]): Promise<readonly string[]> {
  const looks = await Promise.all(
    paths.map(async (path) => {
      const found = await stat(path).catch(() => undefined);
      return found === undefined ? [] : [path];
    }),
  );
  return looks.flat();
}

/** The usual devices first; of others only prefetchable memory of the very size, since reading registers may change them. */
async function pciResources(root: string, size: number, writeCombining: boolean): Promise<readonly string[]> {
  const likely: string[] = [];
  const possible: string[] = [];
  for (const folder of await entries(join(root, 'sys/bus/pci/devices'), /./)) {
    const id = await Promise.all([idOf(folder, 'vendor'), idOf(folder, 'device')]);
    const usualBar = usual.get(id.join(':'));
    for (const resource of await memoryOf(folder)) {
      const path = writeCombining ? `${resource.path}_wc` : resource.path;
      if (resource.bar === usualBar && resource.size >= size) likely.push(path);
      else if (resource.prefetchable && resource.size === size) possible.push(path);
    }
  }
  return await existing([...likely, ...possible]);
}

interface Resource {
  readonly path: string;
  readonly bar: number;
  readonly size: number;
  readonly prefetchable: boolean;
}

/** The BARs of a PCI device that are memory. */
async function memoryOf(folder: string): Promise<readonly Resource[]> {
  const text = await readFile(join(folder, 'resource'), 'utf8').catch(() => '');
  return text
    .split('\n')
    .slice(0, 6)
    .flatMap((line, bar): readonly Resource[] => {
      const flags = Number(line.split(' ')[2] ?? 0);
      if ((flags & memoryFlag) === 0) return [];
      try {
        const { size } = parsePciResource(text, bar);
        const prefetchable = (flags & prefetchFlag) !== 0;
        return [{ path: join(folder, `resource${bar}`), bar, size, prefetchable }];
      } catch (error) {
        if (error instanceof FsError) return [];
        throw error;
      }
    });
}

async function idOf(folder: string, file: string): Promise<string> {
  return (await readFile(join(folder, file), 'utf8').catch(() => '')).trim().toLowerCase();
}

/** Paths in a folder, in order; none where it cannot be read. */
async function entries(directory: string, form: RegExp): Promise<readonly string[]> {
  const names = await readdir(directory).catch(() => []);
  return names
    .filter((name) => form.test(name))
    .sort()
    .map((name) => join(directory, name));
}
