/** Leaves out of a script what it takes no part in what it shows: ever smaller pieces, as long as there is time. */
import type { Operation } from './operations.ts';

export interface Shortest {
  readonly script: readonly Operation[];
  readonly detail: string;
}

/** @returns undefined where the whole script shows nothing */
export async function shorten(
  script: readonly Operation[],
  replay: (script: readonly Operation[]) => Promise<string | undefined>,
  timeMs: number,
): Promise<Shortest | undefined> {
  const end = Date.now() + timeMs;
  let shortest: Shortest | undefined = await withOneRemount(script, replay);
  if (shortest === undefined) {
    const detail = await replay(script);
    if (detail === undefined) return undefined;
    shortest = { script, detail };
  }
  let isShorter = true;
  for (let size = Math.ceil(script.length / 2); size >= 1; size = isShorter && size === 1 ? 1 : Math.floor(size / 2)) {
    isShorter = false;
    for (let from = shortest.script.length - size; from > -size; from -= size) {
      if (Date.now() > end) return shortest;
      const without: readonly Operation[] = shortest.script.toSpliced(Math.max(0, from), Math.min(size, size + from));
      const shows = without.length === 0 ? undefined : await replay(without);
      if (shows === undefined) continue;
      shortest = { script: without, detail: shows };
      isShorter = true;
    }
  }
  return shortest;
}

/** Remounts take their time: mostly one at the end shows as much as many do. */
async function withOneRemount(
  script: readonly Operation[],
  replay: (script: readonly Operation[]) => Promise<string | undefined>,
): Promise<Shortest | undefined> {
  const calls = script.filter(({ op }) => op !== 'remount');
  if (calls.length === script.length || script.some(({ op }) => op === 'crash')) return undefined;
  for (const fewer of [calls, [...calls, { op: 'remount' } as const]]) {
    const detail = await replay(fewer);
    if (detail !== undefined) return { script: fewer, detail };
  }
  return undefined;
}
