/** What kind of world a seed makes: most are small, so that many can be run; some have what others lack. */
import type { Random } from '../exercise/random.ts';

/**
 * What strikes at the worst moment (faults.ts): a grant is lost with its connection, and the client is away for a while; the answer to
 * a callback is lost; a client stands still for longer than its lease with a layout in its hands; the server dies just after an
 * unstable write; the machine loses its power just after a new server has answered for what the dead one had stored.
 */
export type Aim = 'none' | 'lost-grants' | 'lost-answers' | 'sleepers' | 'unstable-writes' | 'power-after-crash';

const aims: readonly [Aim, ...Aim[]] = [
  'lost-grants',
  'lost-answers',
  'sleepers',
  'unstable-writes',
  'power-after-crash',
];

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
  /** How long a client keeps what it has when its lease is over and nobody needs it, in ms. */
  readonly courtesyMs: number;
  /** Some clients are other machines than the server's, which reach the device only through it and outlive its power. */
  readonly remotes: boolean;
  readonly aim: Aim;
  /** Nothing goes wrong: whoever does as he is asked is left in peace. */
  readonly calm: boolean;
}

const kib = 1024;

export function sceneOf(random: Random): Scene {
  const crowd = random.oneIn(40);
  const liars = random.oneIn(3) ? 1 + random.below(2) : 0;
  const stubbornMs = liars > 0 && random.oneIn(3) ? 12_000 : 0;
  const calm = random.oneIn(12);
  const aim = !calm && random.oneIn(2) ? random.pick(aims) : 'none';
  return {
    clients: crowd ? 12 + random.below(20) : 1 + random.below(5),
    stepsMax: crowd ? 8 : 40,
    liars,
    stubbornMs,
    serverDies: !calm && !random.oneIn(stubbornMs > 0 || aim === 'sleepers' ? 2 : 8),
    // Three files that are full take 24 blocks, and what is fenced or copied as much again.
    deviceSize: random.oneIn(aim === 'sleepers' ? 2 : 8) ? (160 + 4 * random.below(40)) * kib : kib * kib,
    sizes: random.oneIn(3),
    pages: random.oneIn(3),
    courtesyMs: random.oneIn(2) ? 24 * 3_600_000 : random.below(1000),
    remotes: aim === 'unstable-writes' || random.oneIn(6),
    aim,
    calm,
  };
}
