/**
 * Unmounting beside strangers. umount(2) refuses a mount that anybody just looks at: one statfs(2) is enough, and df(1)
 * asks that of every mount there is, and holds it until the daemon has answered (user_statfs, fs/statfs.c). So a
 * refusal is taken for one only when it lasts, and then it says who was seen to use the mount.
 */
import { readdir, readFile, readlink } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

interface Refusable {
  readonly code: number | null;
  readonly stderr: string;
}

/** Longer than a look takes on a loaded machine, shorter than any test, in ms. */
const patienceMs = 30_000;
const pauseMs = 50;

/** `attempt` to unmount, again while the mount is in use. The last outcome; one that gave up names the holders. */
export async function whileInUse<T extends Refusable>(mountPoint: string, attempt: () => Promise<T>): Promise<T> {
  const end = Date.now() + patienceMs;
  for (;;) {
    const outcome = await attempt();
    if (outcome.code === 0 || !/busy|in use/i.test(outcome.stderr)) return outcome;
    if (Date.now() >= end) {
      const holders = (await holdersOf(mountPoint)).join('\n');
      return { ...outcome, stderr: `${outcome.stderr}after ${patienceMs} ms, held by:\n${holders}` };
    }
    await sleep(pauseMs);
  }
}

/** What processes have open, mapped or for their directory there, a line each: the links and maps of proc(5). */
export async function holdersOf(mountPoint: string): Promise<readonly string[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  return (await Promise.all(pids.map((pid) => heldBy(pid, mountPoint)))).flat();
}

async function heldBy(pid: string, mountPoint: string): Promise<readonly string[]> {
  const isThere = (path: string): boolean => path === mountPoint || path.startsWith(`${mountPoint}/`);
  const descriptors = (await or(readdir(`/proc/${pid}/fd`), [])).map((fd) => `fd/${fd}`);
  const links = ['cwd', 'root', 'exe', ...descriptors].map(async (name) => ({
    name,
    path: await or(readlink(`/proc/${pid}/${name}`), ''),
  }));
  const maps = (await or(readFile(`/proc/${pid}/maps`, 'utf8'), '')).split('\n');
  const mapped = maps.map((line) => ({ name: 'mmap', path: line.slice(line.indexOf('/')) }));
  const held = [...(await Promise.all(links)), ...mapped].filter(({ path }) => isThere(path));
  return held.map(({ name, path }) => `process ${pid}: ${name} ${path}`);
}

/** Processes end, and others are not ours to look into. */
function or<T>(asked: Promise<T>, otherwise: T): Promise<T> {
  return asked.catch(() => otherwise);
}
