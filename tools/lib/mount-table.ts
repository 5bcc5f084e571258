import { readFileSync } from 'node:fs';

export interface MountEntry {
  readonly mountPoint: string;
  readonly type: string;
  readonly source: string;
  /** As st_dev of stat(2) gives it. */
  readonly dev: number;
}

/** Type that our mounts show in /proc/mounts. */
export const mountType = 'fuse.iopmemfs';

/** The mounts that this process sees (proc(5), /proc/pid/mountinfo). */
export function mountTable(): readonly MountEntry[] {
  const entries: MountEntry[] = [];
  for (const line of readFileSync('/proc/self/mountinfo', 'utf8').split('\n')) {
    const [before, after] = line.split(' - ');
    const dev = before?.split(' ')[2];
    const mountPoint = before?.split(' ')[4];
    const [type, source] = after?.split(' ') ?? [];
    if (dev === undefined || mountPoint === undefined || type === undefined || source === undefined) continue;
    entries.push({ mountPoint: unescape(mountPoint), type, source: unescape(source), dev: deviceNumber(dev) });
  }
  return entries;
}

/** The mount on top at exactly this path. */
export function mountedAt(path: string): MountEntry | undefined {
  return mountTable().findLast((entry) => entry.mountPoint === path);
}

/** Space, tab, newline and backslash are written as \ooo. */
function unescape(text: string): string {
  const bytes = text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
  return bytes;
}

/** makedev(3) of glibc for `major:minor`, as far as a double holds it: FUSE mounts have major 0. */
function deviceNumber(text: string): number {
  const [major = 0, minor = 0] = text.split(':').map(Number);
  return (minor & 0xff) + (major & 0xfff) * 2 ** 8 + (minor >>> 8) * 2 ** 20;
}
