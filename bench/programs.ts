/**
 * Real programs, on ours and on bindfs over the machine's disk (the nearest that a FUSE filesystem in C comes to ext4),
 * alternating. Each begins in an empty directory, and what it left is removed outside of the clock.
 */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { command, onCores } from './lib/command.ts';
import type { Place } from './lib/place.ts';
import { median } from './lib/statistics.ts';
import type { Running, System } from './lib/systems.ts';

export interface ProgramsOptions {
  readonly place: Place;
  /** Ours is the first. */
  readonly systems: readonly System[];
  readonly rounds: number;
  /** Divides the work of every program: a try instead of a measurement. */
  readonly divisor: number;
  readonly imageBytes: number;
  readonly progress: (text: string) => void;
}

interface Program {
  readonly title: string;
  /** Makes what it works on, in memory, once. False: it cannot be run here. */
  prepare(inputs: string, divisor: number): Promise<boolean>;
  /** What stands in the directory before the clock starts. */
  begin?(inputs: string, directory: string): Promise<void>;
  run(inputs: string, directory: string, divisor: number): readonly string[];
}

export interface ProgramResult {
  readonly title: string;
  /** Median seconds by system; undefined: it could not be run here. */
  readonly seconds: Readonly<Record<string, number>> | undefined;
  /** How many times as fast ours is. */
  readonly ratio: number | undefined;
}

const treeFiles = 100_000;
const sourceFiles = 3000;
const inserts = 2000;
const project = fileURLToPath(new URL('../../', import.meta.url));

const programs: readonly Program[] = [
  {
    title: `git clone of ${sourceFiles} files`,
    prepare: async (inputs, divisor) => {
      const repository = join(inputs, 'repository');
      await smallFiles(repository, Math.ceil(sourceFiles / divisor), 4000);
      const git = ['-C', repository, '-c', 'user.name=bench', '-c', 'user.email=bench@localhost'];
      await command('git', [...git, 'init', '-q']);
      await command('git', [...git, 'add', '-A']);
      await command('git', [...git, 'commit', '-q', '-m', 'all']);
      return true;
    },
    run: (inputs, directory) => [
      'git',
      'clone',
      '-q',
      '--no-local',
      join(inputs, 'repository'),
      join(directory, 'clone'),
    ],
  },
  {
    title: `tar x of ${treeFiles} files`,
    prepare: async (inputs, divisor) => {
      await smallFiles(join(inputs, 'tree'), Math.ceil(treeFiles / divisor), 200);
      await command('tar', ['-cf', join(inputs, 'tree.tar'), '-C', inputs, 'tree']);
      await rm(join(inputs, 'tree'), { recursive: true });
      return true;
    },
    run: (inputs, directory) => ['tar', '-xf', join(inputs, 'tree.tar'), '-C', directory],
  },
  {
    title: "npm ci of this project's packages, from npm's cache",
    prepare: async (inputs) => {
      const own = join(inputs, 'project');
      await mkdir(own);
      for (const name of ['package.json', 'package-lock.json']) await command('cp', [join(project, name), own]);
      try {
        await command('npm', npmCi(own));
        return true;
      } catch {
        return false; // not everything is in the cache
      } finally {
        await rm(join(own, 'node_modules'), { recursive: true, force: true });
      }
    },
    begin: async (inputs, directory) => {
      await command('cp', ['-r', join(inputs, 'project'), directory]);
    },
    run: (_inputs, directory) => ['npm', ...npmCi(join(directory, 'project'))],
  },
  {
    title: `sqlite3: ${inserts} inserts, each synced`,
    prepare: () => Promise.resolve(true),
    run: (_inputs, directory, divisor) => {
      const insert = "INSERT INTO t(text) VALUES ('a row of some length, as programs write them');";
      const sql = `PRAGMA synchronous=FULL; CREATE TABLE t(id INTEGER PRIMARY KEY, text TEXT); ${insert.repeat(Math.ceil(inserts / divisor))}`;
      return ['sqlite3', join(directory, 'db'), sql];
    },
  },
];

/** @throws FsError */
export async function measurePrograms(options: ProgramsOptions): Promise<readonly ProgramResult[]> {
  const { place, systems, imageBytes, divisor, rounds } = options;
  const running: Running[] = [];
  const results: ProgramResult[] = [];
  try {
    for (const system of systems) {
      running.push(await system.start({ place, cores: '0,1', backing: place.disk, imageBytes }));
    }
    for (const program of programs) {
      const inputs = join(place.memory, 'inputs');
      await mkdir(inputs);
      options.progress(`preparing ${program.title}`);
      if (await program.prepare(inputs, divisor)) results.push(await measure(program, running, inputs, options));
      else results.push({ title: program.title, seconds: undefined, ratio: undefined });
      await rm(inputs, { recursive: true });
    }
  } finally {
    for (const each of running.toReversed()) await each.stop();
  }
  return results;

  async function measure(program: Program, on: readonly Running[], inputs: string, all: ProgramsOptions) {
    const times = new Map<string, number[]>();
    for (let round = 1; round <= rounds; round++) {
      for (const { name, directory } of on) {
        all.progress(`${program.title} on ${name}, round ${round} of ${rounds}`);
        const own = join(directory, 'run');
        await mkdir(own);
        await program.begin?.(inputs, own);
        await command('sync', ['-f', own]);
        const [file = '', ...args] = program.run(inputs, own, divisor);
        const start = performance.now();
        await command(...onCores('0,1', file, ...args));
        times.set(name, [...(times.get(name) ?? []), (performance.now() - start) / 1000]);
        await rm(own, { recursive: true });
      }
    }
    const seconds = Object.fromEntries([...times].map(([name, values]) => [name, median(values)]));
    const [ours, peer] = on.map(({ name }) => seconds[name]);
    const ratio = ours === undefined || peer === undefined ? undefined : peer / ours;
    return { title: program.title, seconds, ratio };
  }
}

function npmCi(directory: string): readonly string[] {
  return ['ci', '--prefix', directory, '--offline', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
}

/** `count` files of `bytes` bytes, a hundred in a directory. */
async function smallFiles(directory: string, count: number, bytes: number): Promise<void> {
  for (let first = 0; first < count; first += 100) {
    const own = join(directory, String(first / 100).padStart(4, '0'));
    await mkdir(own, { recursive: true });
    for (let i = first; i < Math.min(first + 100, count); i++) {
      const line = `line of file ${i}\n`;
      await writeFile(join(own, `file-${i}`), line.repeat(Math.ceil(bytes / line.length)));
    }
  }
}
