/**
 * Real programs, on ours and on bindfs over the machine's disk (the nearest that a FUSE filesystem in C comes to ext4),
 * alternating. Each program meets servers that were just started, and what its first run took is told apart: then the
 * code of ours is still being compiled. Each run begins in an empty directory, and what it left is removed outside of
 * the clock.
 */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { command, onCores } from './lib/command.ts';
import type { Place } from './lib/place.ts';
import { cpuSeconds } from './lib/processor.ts';
import type { Program } from './lib/programs.ts';
import { median } from './lib/statistics.ts';
import type { Running, System } from './lib/systems.ts';

export interface ProgramsOptions {
  readonly place: Place;
  readonly programs: readonly Program[];
  /** Ours is the first. */
  readonly systems: readonly System[];
  /** Those after the first run. */
  readonly rounds: number;
  /** Divides the work of every program: a try instead of a measurement. */
  readonly divisor: number;
  readonly imageBytes: number;
  readonly progress: (text: string) => void;
}

/** Of one run: on the clock, and the processor time of the server. */
interface Run {
  readonly seconds: number;
  readonly serverCpuSeconds: number;
}

interface ProgramFigure {
  readonly system: string;
  /** The first run, on a server that was just started. */
  readonly first: Run;
  /** Median of the others, each figure by itself. */
  readonly later: Run;
}

export interface ProgramResult {
  readonly title: string;
  /** By system; none: it could not be run here. */
  readonly figures: readonly ProgramFigure[];
  /** How many times as fast ours is, and was the first time. */
  readonly ratio: number | undefined;
  readonly firstRatio: number | undefined;
}

/** @throws FsError */
export async function measurePrograms(options: ProgramsOptions): Promise<readonly ProgramResult[]> {
  const results: ProgramResult[] = [];
  for (const program of options.programs) {
    const inputs = join(options.place.memory, 'inputs');
    await mkdir(inputs);
    options.progress(`preparing ${program.title}`);
    const figures = (await program.prepare(inputs, options.divisor)) ? await measure(program, inputs, options) : [];
    await rm(inputs, { recursive: true });
    const [ours, peer] = figures;
    const ratio = (of: 'first' | 'later'): number | undefined =>
      ours === undefined || peer === undefined ? undefined : peer[of].seconds / ours[of].seconds;
    results.push({ title: program.title, figures, ratio: ratio('later'), firstRatio: ratio('first') });
  }
  return results;
}

/** All the rounds of one program, on servers of its own. */
async function measure(program: Program, inputs: string, options: ProgramsOptions): Promise<readonly ProgramFigure[]> {
  const { systems, rounds, imageBytes } = options;
  const place = { memory: join(options.place.memory, program.name), disk: join(options.place.disk, program.name) };
  for (const directory of [place.memory, place.disk]) await mkdir(directory);
  const running: Running[] = [];
  const runs = new Map<string, Run[]>();
  try {
    for (const system of systems) {
      running.push(await system.start({ place, cores: '0,1', backing: place.disk, imageBytes }));
    }
    for (let round = 0; round <= rounds; round++) {
      for (const on of running) {
        options.progress(`${program.title} on ${on.name}, round ${round} of ${rounds}`);
        const run = await once(program, inputs, on, place.disk);
        runs.set(on.name, [...(runs.get(on.name) ?? []), run]);
      }
    }
  } finally {
    for (const each of running.toReversed()) await each.stop();
  }
  for (const directory of [place.memory, place.disk]) await rm(directory, { recursive: true });
  return [...runs].flatMap(([system, [first, ...later]]) =>
    first === undefined ? [] : [{ system, first, later: later.length === 0 ? first : middle(later) }],
  );
}

async function once(program: Program, inputs: string, on: Running, disk: string): Promise<Run> {
  const own = join(on.directory, 'run');
  await mkdir(own);
  await program.begin?.(inputs, own);
  // The disk, too: what the run before left to be written back, of whichever system, is not this one's.
  await command('sync', ['-f', own, disk]);
  const [file = '', ...args] = program.run(inputs, own);
  const cpu = await cpuSeconds(on.serverPid);
  const start = performance.now();
  await command(...onCores('0,1', file, ...args));
  const run = {
    seconds: (performance.now() - start) / 1000,
    serverCpuSeconds: (await cpuSeconds(on.serverPid)) - cpu,
  };
  await rm(own, { recursive: true });
  return run;
}

function middle(runs: readonly Run[]): Run {
  return {
    seconds: median(runs.map(({ seconds }) => seconds)),
    serverCpuSeconds: median(runs.map(({ serverCpuSeconds }) => serverCpuSeconds)),
  };
}
