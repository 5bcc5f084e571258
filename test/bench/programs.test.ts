/** The benchmark of programs runs on a mount of ours, and tells the first run apart. How fast is nobody's business here. */
import { execFile, spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { programs, selectPrograms } from '../../bench/lib/programs.ts';
import { programsTable } from '../../bench/lib/report.ts';

const program = fileURLToPath(new URL('../../dist/bench/main.js', import.meta.url));
const hasPrograms = ['git', 'tar', 'sqlite3', 'taskset'].every(
  (name) => spawnSync(name, ['--version']).error === undefined,
);

test.skipIf(!hasPrograms || process.geteuid?.() !== 0)(
  'git, tar and sqlite3, a few files each, the first run and one more',
  async () => {
    const args = [
      'programs',
      '--programs',
      'clone,tar,sqlite',
      '--alone',
      '--rounds',
      '1',
      '--divide',
      '500',
      '--json',
    ];
    const { stdout } = await promisify(execFile)(process.execPath, [program, ...args]);
    const run = { seconds: expect.any(Number), serverCpuSeconds: expect.any(Number) };
    expect(JSON.parse(stdout)).toMatchObject({
      results: selectPrograms('clone,tar,sqlite').map(({ title }) => ({
        title,
        figures: [{ system: 'iopmemfs', first: run, later: run }],
      })),
    });
  },
  240_000,
);

test('programs are chosen by name', () => {
  expect(selectPrograms('sqlite,tar').map(({ name }) => name)).toEqual(['tar', 'sqlite']);
  expect(() => selectPrograms('cp')).toThrow('no program "cp"');
  expect(new Set(programs.map(({ name }) => name)).size).toBe(programs.length);
});

const run = (seconds: number) => ({ seconds, serverCpuSeconds: seconds / 2 });

test('the table has both runs, and says what was not run', () => {
  const table = programsTable([
    { title: 'one', figures: [{ system: 'iopmemfs', first: run(4), later: run(2) }], ratio: undefined, firstRatio: 3 },
    { title: 'other', figures: [], ratio: undefined, firstRatio: undefined },
  ]);
  for (const part of ['2.00 s (1.00)', '4.00 s (2.00)', '3.00', 'the first time', 'not run']) {
    expect(table).toContain(part);
  }
});
