/** Does the simulation bite? Each mutation runs over fresh seeds until a check finds it. */
import { type Mutation, mutationNamed, mutations } from './mutations.ts';
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

export async function tryMutations(options: BiteOptions, onBite: (bite: Bite) => void): Promise<void> {
  const wanted: readonly Mutation[] = options.names?.map(mutationNamed) ?? mutations;
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
