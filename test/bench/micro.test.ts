/** Every row of the benchmark runs on a mount of ours. How fast is nobody's business here. */
import { execFile, spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { rows, selectRows, syncRows } from '../../bench/lib/rows.ts';
import { median } from '../../bench/lib/statistics.ts';

const program = fileURLToPath(new URL('../../dist/bench/main.js', import.meta.url));
const hasCompiler = spawnSync('gcc', ['--version']).status === 0;

test.skipIf(!hasCompiler)(
  'all rows, a few operations each',
  async () => {
    const args = ['micro', '--alone', '--rounds', '1', '--divide', '1000', '--cores', '1', '--json'];
    const { stdout } = await promisify(execFile)(process.execPath, [program, ...args]);
    const printed: unknown = JSON.parse(stdout);
    const figure = { system: 'iopmemfs', operationsPerSecond: expect.any(Number) };
    expect(printed).toMatchObject({
      results: [{ cores: 1, rows: rows.map(({ name }) => ({ row: { name }, figures: [figure] })) }],
    });
  },
  240_000,
);

test('rows come with those that make their files, and with those that remove them, which are not shown', () => {
  const selected = selectRows('stat');
  expect(selected.map(({ name }) => name)).toEqual(['create', 'stat', 'rename', 'unlink']);
  expect(selected.filter(({ isSilent }) => isSilent !== true).map(({ name }) => name)).toEqual(['stat']);
  expect(selectRows('read,random-write').map(({ name }) => name)).toEqual(['random-write', 'read']);
  expect(() => selectRows('sleep')).toThrow('no row "sleep"');
});

test('rows have names of their own', () => {
  const names = [...rows, ...syncRows].map(({ name }) => name);
  expect(new Set(names).size).toBe(names.length);
});

test.each([
  [[3, 1, 2], 2],
  [[4, 1, 2, 3], 2.5],
  [[], Number.NaN],
])('the median of %j is %d', (values, middle) => {
  expect(median(values)).toBe(middle);
});
