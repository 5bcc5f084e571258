/** `npm run sim`: the real server, engine and client library in a world of virtual time, one run for each seed. */
import { availableParallelism } from 'node:os';
import { Command } from 'commander';
import { natural } from '../support/natural.ts';
import { tryMutations } from './bite.ts';
import { runPool } from './pool.ts';

interface Options {
  readonly seed: number;
  readonly seeds?: number;
  readonly jobs: number;
  readonly trace: boolean;
  readonly keepGoing: boolean;
  readonly mutation?: string;
  readonly mutations?: true | readonly string[];
}

const options: Options = new Command('sim')
  .description('Runs server, engine and clients in virtual time with faults, and checks every access to the memory')
  .option('--seed <number>', 'the first one', natural, Math.floor(Math.random() * 2 ** 31))
  .option('--seeds <number>', 'how many, counting on; with --mutations: at most for each', natural)
  .option('--jobs <number>', 'processes that run them', natural, availableParallelism())
  .option('--trace', 'print what happens also where nothing fails', false)
  .option('--keep-going', 'name the seeds that fail, without their trace, and go on', false)
  .option('--mutation <name>', 'with this broken on purpose')
  .option('--mutations [names...]', 'break one after the other on purpose, all or these, until it is found')
  .parse()
  .opts();

if (options.mutations === undefined) await simulate();
else await bite(options.mutations === true ? undefined : options.mutations);

async function simulate(): Promise<void> {
  const { seed, seeds = 100, jobs, trace, keepGoing, mutation } = options;
  const began = performance.now();
  let [events, operations, undecided] = [0, 0, 0];
  await runPool({
    seed,
    seeds,
    jobs,
    mutation,
    withTrace: trace,
    onOutcome: (outcome) => {
      events += outcome.events;
      operations += outcome.operations;
      undecided += outcome.undecided;
      if (trace || (outcome.failure !== undefined && !keepGoing)) console.log(outcome.trace.join('\n'));
      if (outcome.failure === undefined) return false;
      console.log(`seed ${outcome.seed}: ${keepGoing ? outcome.failure.split('\n')[0] : outcome.failure}`);
      process.exitCode = 1;
      return !keepGoing;
    },
  });
  const seconds = (performance.now() - began) / 1000;
  const counts = `${operations} block operations, ${undecided} blocks undecided, ${events} events`;
  console.log(`seeds from ${seed}: ${counts}, ${seconds.toFixed(1)} s`);
}

async function bite(names: readonly string[] | undefined): Promise<void> {
  const { seed, seeds = 2000, jobs } = options;
  console.log(`seeds from ${seed}, at most ${seeds} for each`);
  let missed = 0;
  await tryMutations({ seed, seeds, jobs, names }, ({ name, seedsRun, failure }) => {
    if (failure === undefined) missed++;
    const found = failure === undefined ? 'NOT FOUND' : (failure.split('\n')[0] ?? '').slice(0, 100);
    console.log(`${name.padEnd(32)} ${String(seedsRun).padStart(5)}  ${found}`);
  });
  if (missed > 0) process.exitCode = 1;
}
