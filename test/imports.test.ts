import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

interface Cruised {
  readonly modules: readonly { readonly source: string }[];
  readonly summary: { readonly error: number; readonly violations: readonly unknown[] };
}

test('imports point one way: tools to mds, client to layout, fs', async () => {
  const args = [
    '--config',
    '.dependency-cruiser.cjs',
    '--output-type',
    'json',
    'fs',
    'layout',
    'mds',
    'client',
    'tools',
  ];
  // Violations make it exit with their number.
  const { stdout } = await promisify(execFile)('node_modules/.bin/depcruise', args, { maxBuffer: 64 << 20 }).catch(
    (error: unknown) => {
      if (error instanceof Error && 'stdout' in error) return { stdout: String(error.stdout) };
      throw error;
    },
  );
  const cruised: Cruised = JSON.parse(stdout);
  expect(cruised.summary.error, JSON.stringify(cruised.summary.violations)).toBe(0);
  for (const folder of ['fs', 'layout', 'mds', 'client', 'tools']) {
    const seen = cruised.modules.filter(({ source }) => source.startsWith(`${folder}/`));
    expect(seen.length, `modules in ${folder}/`).toBeGreaterThan(5);
  }
});
