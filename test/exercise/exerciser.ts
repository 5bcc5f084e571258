/** Several processes that exercise one mounted filesystem, remounts between, and the shortest script of what went wrong. */
import { type ChildProcess, fork } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Sandbox } from '../tools/sandbox.ts';
import { unprotect } from './flags.ts';
import type { Features } from './generator.ts';
import { Jobs } from './jobs.ts';
import { type Operation, printed } from './operations.ts';
import { shorten } from './shorten.ts';
import type { Bases, Order, Report } from './worker.ts';

export interface Plan {
  readonly seed: number;
  /** Operations of each process in a round. */
  readonly count: number;
  readonly processes: number;
  readonly driver: 'kernel' | 'fuse-native';
  /** Of the mount, with commas between; empty: none. */
  readonly options: string;
  readonly isRoot: boolean;
  /** What happens from time to time. */
  readonly ends: 'remount' | 'crash' | undefined;
  readonly fsck: boolean;
  /** Relocation goes on meanwhile. */
  readonly jobs: boolean;
  /** How long a script may be tried to be shortened. */
  readonly shortenMs: number;
  readonly say: (line: string) => void;
}

export interface Mismatch {
  readonly seed: number;
  readonly detail: string;
  readonly script: readonly Operation[];
}

const program = fileURLToPath(new URL('./worker.ts', import.meta.url));
const typescript = fileURLToPath(new URL('../support/typescript.mjs', import.meta.url));

/** A process that has not said for so long that it is alive hangs in a system call. */
const silenceMaxMs = 120_000;

const deviceSize = 512 << 20;

export class Exerciser {
  readonly #plan: Plan;
  readonly #box: Sandbox;
  #workers: Worker[] = [];
  #jobs: Jobs | undefined;

  private constructor(plan: Plan, box: Sandbox) {
    this.#plan = plan;
    this.#box = box;
  }

  static async start(plan: Plan): Promise<Exerciser> {
    const box = await Sandbox.create(deviceSize);
    const exerciser = new Exerciser(plan, box);
    try {
      await box.command('chmod', '755', box.dir);
      await box.must('mkfs', box.image);
      await exerciser.#mount();
      return exerciser;
    } catch (error) {
      await exerciser.end();
      throw error;
    }
  }

  async end(): Promise<void> {
    const jobs = this.#jobs?.end();
    await Promise.all(this.#workers.map((worker) => worker.end()));
    const reference = join(this.#box.dir, 'reference');
    if (existsSync(reference)) unprotect(Buffer.from(reference));
    await this.#box.remove();
    await jobs;
  }

  /** All processes, each with a seed of its own, to the end or to the first mismatch. */
  async round(seed: number): Promise<Mismatch | undefined> {
    while (this.#workers.length < this.#plan.processes) this.#workers.push(await Worker.start(this.#box.env));
    const reports = this.#workers.map((worker, i) =>
      worker.order({
        order: 'exercise',
        bases: this.#bases(`p${i}`),
        seed: seed + i,
        count: this.#plan.count,
        features: this.#features,
        ends: this.#plan.ends,
        log: this.#log(i),
      }),
    );
    if (this.#plan.jobs) this.#jobs = new Jobs(this.#box, seed, deviceSize);
    const ends = await this.#conduct(reports);
    const failed = await this.#jobs?.end();
    const which = ends.findIndex((end) => end.report !== 'same');
    const end = ends[which];
    if (end === undefined) return failed === undefined ? this.#check(seed) : { seed, detail: failed, script: [] };
    if (end.report === 'differs') return this.#shortened(seed + which, end.detail, end.script);
    const log = await readFile(this.#log(which), 'utf8');
    return { seed: seed + which, detail: `the process ${end.report}`, script: scriptOf(log) };
  }

  /** Does `script` by itself; answers what differs. */
  async replay(script: readonly Operation[]): Promise<string | undefined> {
    this.#workers[0] ??= await Worker.start(this.#box.env);
    const worker = this.#workers[0];
    const answer = worker.order({ order: 'replay', bases: this.#bases('replay'), script, features: this.#features });
    const [end] = await this.#conduct([answer], [worker]);
    if (end === undefined || end.report === 'same') return undefined;
    if (end.report === 'differs') return end.detail;
    this.#workers = this.#workers.filter((other) => other !== worker);
    return `the process ${end.report}`;
  }

  get #features(): Features {
    const isFull = this.#plan.driver === 'kernel';
    // A crash takes back snapshots that were not synced, which the comparison afterwards does not know.
    return { isFull, isRoot: this.#plan.isRoot, hasSnapshots: isFull && this.#plan.ends !== 'crash' };
  }

  #bases(name: string): Bases {
    return { mount: this.#box.path(name), reference: join(this.#box.dir, 'reference', name) };
  }

  #log(worker: number): string {
    return join(this.#box.dir, `operations-${worker}`);
  }

  /** Remounts once all that still run ask for it. */
  async #conduct(first: readonly Promise<End>[], workers: readonly Worker[] = this.#workers): Promise<readonly End[]> {
    const ends: End[] = [];
    let waiting = [...first.entries()];
    for (;;) {
      const asked = await Promise.all(waiting.map(async ([i, answer]) => [i, await answer] as const));
      for (const [i, end] of asked) if (!isPause(end)) ends[i] = end;
      const remounting = asked.filter(([, end]) => isPause(end)).map(([i]) => i);
      if (remounting.length === 0) return ends;
      if (asked.some(([, end]) => end.report === 'crash')) await this.#crash();
      else await this.#remount();
      waiting = remounting.flatMap((i) => {
        const worker = workers[i];
        return worker === undefined ? [] : [[i, worker.order({ order: 'continue' })]];
      });
    }
  }

  async #remount(): Promise<void> {
    await this.#box.umount();
    if (this.#plan.fsck) await this.#fsck();
    await this.#mount();
  }

  /** Kills the daemon where it stands. */
  async #crash(): Promise<void> {
    for (const pid of await this.#box.daemons()) process.kill(pid, 'SIGKILL');
    await this.#box.command('umount', '-l', this.#box.mountPoint);
    await this.#mount();
    if (this.#plan.fsck) await this.#remount();
  }

  async #fsck(): Promise<void> {
    const { code, stdout, stderr } = await this.#box.run('fsck', this.#box.image);
    if (code !== 0) throw new Error(`fsck: exit code ${code}: ${stdout}${stderr}`);
  }

  async #mount(): Promise<void> {
    const driver = this.#plan.driver === 'kernel' ? [] : ['driver=fuse-native', 'allow_other'];
    const options = [...driver, this.#plan.options].filter((option) => option !== '');
    await this.#box.mount(...(options.length === 0 ? [] : ['-o', options.join(',')]));
    await this.#box.command('chmod', '755', this.#box.mountPoint);
  }

  /** At the end of a round. */
  async #check(seed: number): Promise<Mismatch | undefined> {
    if (!this.#plan.fsck) return undefined;
    try {
      await this.#remount();
      return undefined;
    } catch (error) {
      return { seed, detail: error instanceof Error ? error.message : String(error), script: [] };
    }
  }

  /** The fewest operations of `script` that show a difference. */
  async shorten(script: readonly Operation[]): Promise<Mismatch | undefined> {
    const shortest = await shorten(script, (part) => this.replay(part), this.#plan.shortenMs);
    return shortest === undefined ? undefined : { seed: this.#plan.seed, ...shortest };
  }

  async #shortened(seed: number, detail: string, script: readonly Operation[]): Promise<Mismatch> {
    this.#plan.say(`seed ${seed}, after ${script.length} operations: ${detail}; looking for fewer`);
    return (await this.shorten(script)) ?? { seed, detail: `${detail} (not seen again in a replay)`, script };
  }
}

/** How an order ends. */
type End = Report | { readonly report: 'hangs' | 'ended' };

class Worker {
  readonly #child: ChildProcess;
  #settle: ((end: End) => void) | undefined;
  #silence: NodeJS.Timeout | undefined;

  private constructor(child: ChildProcess) {
    this.#child = child;
    child.on('message', (message: Report) => {
      if (message.report === 'alive') this.#silence?.refresh();
      else this.#end(message);
    });
    child.once('exit', () => this.#end({ report: 'ended' }));
  }

  /** @param env where it finds the daemon */
  static async start(env: NodeJS.ProcessEnv): Promise<Worker> {
    const execArgv = ['--import', typescript];
    const child = fork(program, { env, execArgv, serialization: 'advanced', stdio: 'inherit' });
    const worker = new Worker(child);
    await worker.#report();
    return worker;
  }

  order(order: Order): Promise<End> {
    const end = this.#report();
    this.#child.send(order);
    return end;
  }

  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.kill('SIGKILL');
    await gone;
  }

  #report(): Promise<End> {
    return new Promise((resolve) => {
      this.#settle = resolve;
      this.#silence = setTimeout(() => {
        this.#end({ report: 'hangs' });
        this.#child.kill('SIGKILL');
      }, silenceMaxMs);
    });
  }

  #end(end: End): void {
    clearTimeout(this.#silence);
    this.#settle?.(end);
    this.#settle = undefined;
  }
}

function isPause({ report: kind }: End): boolean {
  return kind === 'remount' || kind === 'crash';
}

export function scriptOf(text: string): readonly Operation[] {
  return text
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line): Operation => JSON.parse(line));
}

export function report({ seed, detail, script }: Mismatch): string {
  return [`seed ${seed}: ${detail}`, `${script.length} operations show it:`, ...script.map(printed)].join('\n');
}
