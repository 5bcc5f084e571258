/** What kind of world a seed makes: most are small, so that many can be run; some have what others lack. */
import type { Random } from '../exercise/random.ts';

export interface Scene {
  /** Programs that use the library. */
  readonly clients: number;
  readonly stepsMax: number;
  /** Clients that break every rule (liar.ts). */
  readonly liars: number;
  /** Of them, the first gives nothing back, as long as it can; then the world lasts at least this long, in ms. */
  readonly stubbornMs: number;
  /** Else it lives long enough to be seen waiting for ever. */
  readonly serverDies: boolean;
  /** Bytes. */
  readonly deviceSize: number;
  /** Files begin with some size, and are truncated and appended to. */
  readonly sizes: boolean;
  /** The program beside the server goes through a kernel that keeps pages (kernel.ts). */
  readonly pages: boolean;
}

const kib = 1024;

export function sceneOf(random: Random): Scene {
  const crowd = random.oneIn(40);
  const liars = random.oneIn(3) ? 1 + random.below(2) : 0;
  const stubbornMs = liars > 0 && random.oneIn(3) ? 12_000 : 0;
  return {
    clients: crowd ? 12 + random.below(20) : 1 + random.below(5),
    stepsMax: crowd ? 8 : 40,
    liars,
    stubbornMs,
    serverDies: !random.oneIn(stubbornMs > 0 ? 2 : 8),
    // Three files that are full take 24 blocks, and what is fenced or copied as much again.
    deviceSize: random.oneIn(8) ? (160 + 4 * random.below(40)) * kib : kib * kib,
    sizes: random.oneIn(3),
    pages: random.oneIn(3),
  };
}
