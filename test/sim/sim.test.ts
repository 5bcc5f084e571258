/** The simulator in a program of its own, as it exchanges the clock and the network. A failure prints seed and trace. */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { mutate, mutations } from './mutations/index.ts';

const run = promisify(execFile);
const hooks = ['--import', './test/support/typescript.mjs', '--import', './test/sim/hooks.mjs'];

async function simulate(...options: string[]): Promise<string> {
  const args = [...hooks, 'test/sim/main.ts', ...options];
  const { stdout } = await run(process.execPath, args, { maxBuffer: 1 << 28 }).catch((error: unknown) => {
    throw new Error(error instanceof Error && 'stdout' in error ? String(error.stdout).slice(-20_000) : 'no output');
  });
  return stdout.replace(/, [\d.]+ s\n$/, '');
}

test('server, engine and clients keep their promises through faults', { timeout: 600_000 }, async () => {
  const output = await simulate('--seed', '1', '--seeds', '200');
  expect(output).toContain('seeds from 1');
});

test('what is reported does not depend on how many processes run it', { timeout: 600_000 }, async () => {
  const [one, three] = await Promise.all([
    simulate('--seed', '700', '--seeds', '12', '--jobs', '1', '--trace'),
    simulate('--seed', '700', '--seeds', '12', '--jobs', '3', '--trace'),
  ]);
  expect(three).toBe(one);
});

test.each(mutations)('what the mutation $name breaks stands in the code', async (mutation) => {
  for (const [module, source] of await mutate(mutation, (each) => readFile(each, 'utf8')))
    expect(source).not.toBe(await readFile(module, 'utf8'));
});

/** Some that are found soon; `npm run sim:mutations` tries all. */
const sample = [
  'grant-during-recall',
  'recall-asks-nobody',
  'grant-is-not-reserved',
  'two-writers',
  'return-of-a-part-returns-all',
  'quarantine-ends-with-the-lease',
  'courteous-is-not-fenced',
  'fence-puts-nothing-away',
  'holds-forgotten',
  'quarantine-forgotten-at-restart',
  'commit-persists-no-data',
  'commit-converts-all',
  'commit-does-not-grow',
  'returned-stays-provisional',
  'client-ignores-recalls',
  'client-does-not-commit-at-recall',
  'client-reads-below-its-own-write',
];

test('what is broken on purpose is found', { timeout: 600_000 }, async () => {
  const output = await simulate('--seed', '1000000', '--seeds', '100', '--mutations', ...sample);
  expect(output).not.toContain('NOT FOUND');
  for (const name of sample) expect(output).toContain(name);
});

test('a seed is a run, whatever ran before it', { timeout: 600_000 }, async () => {
  const [alone, after] = await Promise.all([
    simulate('--seed', '504', '--seeds', '1', '--trace'),
    simulate('--seed', '503', '--seeds', '2', '--trace'),
  ]);
  const trace = alone.slice(0, alone.lastIndexOf('seeds from'));
  expect(trace.length).toBeGreaterThan(1000);
  expect(after).toContain(trace);
});
