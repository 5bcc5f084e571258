/**
 * Seeds in as many processes as are given, reported in the order of the seeds: what is reported does not depend on how many
 * there are, nor on which one ran what.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Outcome } from './world.ts';

/** Seeds that a process gets at once: few, so that none has many left when one has failed. */
const atOnce = 4;

export interface Order {
  readonly seeds: readonly number[];
  /** Also of runs in which nothing fails. */
  readonly withTrace: boolean;
}

export interface PoolOptions {
  /** The first seed. */
  readonly seed: number;
  readonly seeds: number;
  readonly jobs: number;
  readonly withTrace?: boolean;
  /** Name of what is broken on purpose (mutations/). */
  readonly mutation?: string | undefined;
  /** Called for each seed, in their order; true: enough. */
  readonly onOutcome: (outcome: Outcome) => boolean;
}

/** @throws Error: the simulation does not start */
export async function runPool(options: PoolOptions): Promise<void> {
  const pool = new Pool(options);
  const count = Math.max(1, Math.min(options.jobs, Math.ceil(options.seeds / atOnce)));
  await Promise.all(Array.from({ length: count }, () => pool.serve()));
}

class Pool {
  readonly #options: PoolOptions;
  readonly #early = new Map<number, Outcome>();
  readonly #children = new Set<ChildProcess>();
  /** The first seed that no process has been given, and the first that is not reported. */
  #next: number;
  #awaited: number;
  #enough = false;

  constructor(options: PoolOptions) {
    this.#options = options;
    this.#next = options.seed;
    this.#awaited = options.seed;
  }

  /** One process from its start to its end. */
  serve(): Promise<void> {
    const { mutation } = this.#options;
    const args = mutation === undefined ? [] : ['--mutation', mutation];
    const child = fork(fileURLToPath(new URL('./worker.ts', import.meta.url)), args, { serialization: 'advanced' });
    this.#children.add(child);
    let running = this.#order(child);
    let hasStarted = false;
    return new Promise((resolve, reject) => {
      child.on('message', (outcome: Outcome) => {
        hasStarted = true;
        running.shift();
        this.#take(outcome);
        if (running.length === 0 && !this.#enough) running = this.#order(child);
      });
      child.on('error', reject);
      child.on('exit', (code, signal) => {
        this.#children.delete(child);
        const [seed] = running;
        if (code === 1 && !hasStarted) reject(new Error('a process of the simulation does not start'));
        if (seed !== undefined && !this.#enough) this.#take(deadly(seed, `its process ended: ${signal ?? code}`));
        resolve();
      });
    });
  }

  /** Sends it what it is to run next, and answers that; nothing: it ends. */
  #order(child: ChildProcess): number[] {
    const { seed, seeds, withTrace = false } = this.#options;
    const end = Math.min(this.#next + atOnce, seed + seeds);
    const ordered = Array.from({ length: end - this.#next }, (_, index) => this.#next + index);
    this.#next = end;
    const order: Order = { seeds: ordered, withTrace };
    if (ordered.length === 0) child.disconnect();
    else child.send(order);
    return ordered;
  }

  #take(outcome: Outcome): void {
    this.#early.set(outcome.seed, outcome);
    while (!this.#enough) {
      const next = this.#early.get(this.#awaited);
      if (next === undefined) return;
      this.#early.delete(this.#awaited++);
      this.#enough = this.#options.onOutcome(next);
    }
    for (const child of this.#children) child.kill();
  }
}

function deadly(seed: number, failure: string): Outcome {
  return { seed, failure, trace: [], events: 0, operations: 0, undecided: 0, virtualMs: 0 };
}
