/** `npm run exercise`: random operations on a mounted filesystem, compared with a model and with tmpfs. */
import { readFile } from 'node:fs/promises';
import { Command, Option } from 'commander';
import { natural } from '../support/natural.ts';
import { Exerciser, type Plan, report, scriptOf } from './exerciser.ts';

interface Options {
  readonly seed: number;
  readonly ops: number;
  readonly minutes?: number;
  readonly processes: number;
  readonly driver: Plan['driver'];
  readonly options: string;
  readonly remount: boolean;
  readonly crash: boolean;
  readonly fsck: boolean;
  readonly user: boolean;
  readonly jobs: boolean;
  readonly replay?: string;
}

const options: Options = new Command('exercise')
  .description('Does random operations on a filesystem of its own, compares each with a model and with tmpfs beside it')
  .option('--seed <number>', 'of the first round; later ones count on', natural, Math.floor(Math.random() * 2 ** 31))
  .option('--ops <number>', 'operations of each process in a round', natural, 2000)
  .option('--minutes <number>', 'rounds go on for so long; one round without', Number)
  .option('--processes <number>', 'each in a tree of its own', natural, 1)
  .addOption(new Option('--driver <name>', 'FUSE driver').choices(['kernel', 'fuse-native']).default('kernel'))
  .option('--options <list>', 'of the mount, as direct_io', '')
  .option('--remount', 'unmount and mount again from time to time', false)
  .option('--crash', 'kill the daemon from time to time: what was synced has to be there', false)
  .option('--fsck', 'check the filesystem whenever it is unmounted', false)
  .option('--no-jobs', 'no defragment and evacuate meanwhile')
  .option('--user', 'as an ordinary user', false)
  .option(
    '--replay <file>',
    'do the operations of a script, one a line, instead, and find the fewest that show a difference',
  )
  .parse()
  .opts();

const exerciser = await Exerciser.start({
  seed: options.seed,
  count: options.ops,
  processes: options.processes,
  driver: options.driver,
  options: options.options,
  isRoot: !options.user,
  ends: options.crash ? 'crash' : options.remount ? 'remount' : undefined,
  fsck: options.fsck,
  jobs: options.jobs && options.driver === 'kernel',
  shortenMs: 120_000,
  say: (line) => console.log(line),
});

let isStopped = false;
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    isStopped = true;
    void exerciser.end().finally(() => process.exit(1));
  });
}

async function rounds(): Promise<boolean> {
  const end = Date.now() + (options.minutes ?? 0) * 60_000;
  for (let seed = options.seed, round = 1; ; seed += options.processes, round++) {
    const mismatch = await exerciser.round(seed);
    if (isStopped) return false;
    if (mismatch !== undefined) {
      console.log(report(mismatch));
      return false;
    }
    console.log(`round ${round}, seed ${seed}: ${options.processes} x ${options.ops} operations, no difference`);
    if (Date.now() >= end) return true;
  }
}

async function replay(file: string): Promise<boolean> {
  const mismatch = await exerciser.shorten(scriptOf(await readFile(file, 'utf8')));
  console.log(mismatch === undefined ? 'no difference' : report(mismatch));
  return mismatch === undefined;
}

try {
  const isSame = options.replay === undefined ? await rounds() : await replay(options.replay);
  process.exitCode = isSame ? 0 : 1;
} finally {
  await exerciser.end();
}
