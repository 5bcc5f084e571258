/** The simulator in a program of its own, as it exchanges the clock and the network. A failure prints seed and trace. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

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
  const output = await simulate('--seed', '1', '--seeds', '100');
  expect(output).toContain('seeds from 1');
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
