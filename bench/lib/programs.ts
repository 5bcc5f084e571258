/** The programs that are run, in this order. */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { FsError } from '../../fs/errors.ts';
import { command } from './command.ts';

export interface Program {
  readonly name: string;
  readonly title: string;
  /** Makes what it works on, in memory, once. False: it cannot be run here. */
  prepare(inputs: string, divisor: number): Promise<boolean>;
  /** What stands in the directory before the clock starts. */
  begin?(inputs: string, directory: string): Promise<void>;
  run(inputs: string, directory: string): readonly string[];
}

const treeFiles = 100_000;
const sourceFiles = 3000;
const inserts = 2000;
const project = fileURLToPath(new URL('../../../', import.meta.url));

export const programs: readonly Program[] = [
  {
    name: 'clone',
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
    name: 'tar',
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
    name: 'npm',
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
    name: 'sqlite',
    title: `sqlite3: ${inserts} inserts, each synced`,
    prepare: async (inputs, divisor) => {
      // In a file: one argument of a program has at most 128 KiB (MAX_ARG_STRLEN, execve(2)).
      const insert = "INSERT INTO t(text) VALUES ('a row of some length, as programs write them');\n";
      const table = 'PRAGMA synchronous=FULL;\nCREATE TABLE t(id INTEGER PRIMARY KEY, text TEXT);\n';
      await writeFile(join(inputs, 'insert.sql'), table + insert.repeat(Math.ceil(inserts / divisor)));
      return true;
    },
    run: (inputs, directory) => ['sqlite3', join(directory, 'db'), `.read ${join(inputs, 'insert.sql')}`],
  },
];

/** The programs of these names (a comma between them). @throws FsError EINVAL */
export function selectPrograms(names: string): readonly Program[] {
  const wanted = names.split(',');
  for (const name of wanted) {
    if (programs.some((program) => program.name === name)) continue;
    const known = programs.map((program) => program.name).join(', ');
    throw new FsError('EINVAL', { detail: `no program ${JSON.stringify(name)}; there are ${known}` });
  }
  return programs.filter(({ name }) => wanted.includes(name));
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
