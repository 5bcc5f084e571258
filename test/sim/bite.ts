/** Does the simulation bite? Each mutation runs over fresh seeds until a check finds it. */
import { readFile } from 'node:fs/promises';
import { type Mutation, mutate, mutationNamed, mutations } from './mutations/index.ts';
import { runPool } from './pool.ts';

export interface Bite {
  readonly name: string;
  /** Until it was found, or all. */
  readonly seedsRun: number;
  /** What found it; undefined: nothing did. */
  readonly failure: string | undefined;
}

export interface BiteOptions {
  /** The first one, for each mutation. */
  readonly seed: number;
  /** For each mutation at most. */
  readonly seeds: number;
  readonly jobs: number;
  /** All by default. */
  readonly names: readonly string[] | undefined;
}

/** @throws Error: a mutation does not fit its module */
export async function tryMutations(options: BiteOptions, onBite: (bite: Bite) => void): Promise<void> {
  const wanted: readonly Mutation[] = options.names?.map(mutationNamed) ?? mutations;
  for (const mutation of wanted) await mutate(mutation, (module) => readFile(module, 'utf8'));
  for (const { name } of wanted) {
    const { seed, seeds, jobs } = options;
    let seedsRun = 0;
    let failure: string | undefined;
    await runPool({
      seed,
      seeds,
      jobs,
      mutation: name,
      onOutcome: (outcome) => {
        seedsRun++;
        failure = outcome.failure;
        return failure !== undefined;
      },
    });
    onBite({ name, seedsRun, failure });
  }
}
