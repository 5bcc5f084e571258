/** `npm run sim`: the real server, engine and client library in a world of virtual time, one run for each seed. */
import { Command } from 'commander';
import { natural } from '../support/natural.ts';
import { realMs } from './loop.ts';
import { runSeed } from './world.ts';

interface Options {
  readonly seed: number;
  readonly seeds: number;
  readonly trace: boolean;
  readonly keepGoing: boolean;
}

const options: Options = new Command('sim')
  .description('Runs server, engine and clients in virtual time with faults, and checks every access to the memory')
  .option('--seed <number>', 'the first one', natural, Math.floor(Math.random() * 2 ** 31))
  .option('--seeds <number>', 'how many, counting on', natural, 100)
  .option('--trace', 'print what happens also where nothing fails', false)
  .option('--keep-going', 'name the seeds that fail, without their trace, and go on', false)
  .parse()
  .opts();

const began = realMs();
let [events, operations, undecided] = [0, 0, 0];
for (let seed = options.seed; seed < options.seed + options.seeds; seed++) {
  const outcome = await runSeed(seed);
  events += outcome.events;
  operations += outcome.operations;
  undecided += outcome.undecided;
  if (options.trace || (outcome.failure !== undefined && !options.keepGoing)) console.log(outcome.trace.join('\n'));
  if (outcome.failure !== undefined) {
    console.log(`seed ${seed}: ${outcome.failure}`);
    process.exitCode = 1;
    if (!options.keepGoing) break;
  }
}
const seconds = (realMs() - began) / 1000;
const counts = `${operations} block operations, ${undecided} blocks undecided, ${events} events`;
console.log(`seeds from ${options.seed}: ${counts}, ${seconds.toFixed(1)} s`);
process.exit();
