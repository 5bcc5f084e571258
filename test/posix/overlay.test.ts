/** overlayfs with its upper layer on the mount, as containers have it: it wants RENAME_WHITEOUT, trusted attributes and d_type. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { describe, expect, onTestFinished, test } from 'vitest';
import { S_IFCHR } from './support/constants.ts';
import { canMount, mounted } from './support/mounted.ts';
import { must } from './support/process.ts';

const run = promisify(execFile);
const fs = mounted();
const hasOverlay = readFileSync('/proc/filesystems', 'utf8').includes('\toverlay\n');

interface Layers {
  readonly merged: string;
  readonly upper: string;
}

/** `lower` has the files `file` and `dir/inside`. */
async function overlay(): Promise<Layers> {
  const dir = await fs.directory();
  const lower = `${dir}/lower`;
  const upper = `${dir}/upper`;
  const work = `${dir}/work`;
  const merged = `${dir}/merged`;
  for (const path of [lower, upper, work, merged, `${lower}/dir`]) await mkdir(path);
  await writeFile(`${lower}/file`, 'lower');
  await writeFile(`${lower}/dir/inside`, 'inside');
  const options = `lowerdir=${lower},upperdir=${upper},workdir=${work}`;
  await run('mount', ['-t', 'overlay', 'overlay', '-o', options, merged]);
  onTestFinished(async () => void (await run('umount', [merged])));
  return { merged, upper };
}

describe.skipIf(!canMount || !hasOverlay)('overlayfs', () => {
  test('what is written goes to the upper layer', async () => {
    const { merged, upper } = await overlay();
    await writeFile(`${merged}/file`, ' and upper', { flag: 'a' });
    expect(await readFile(`${upper}/file`, 'utf8')).toBe('lower and upper');
  });

  test('what is removed or renamed leaves a whiteout', async () => {
    const { merged, upper } = await overlay();
    await rename(`${merged}/file`, `${merged}/other`);
    await rm(`${merged}/dir`, { recursive: true });
    expect(await readdir(merged)).toEqual(['other']);
    for (const name of ['file', 'dir'])
      expect(await fs.root.lstat(`${upper}/${name}`)).toMatchObject({ mode: S_IFCHR, rdev: { major: 0, minor: 0 } });
  });

  test('a directory made anew does not show what the lower one held', async () => {
    const { merged, upper } = await overlay();
    await rm(`${merged}/dir`, { recursive: true });
    await mkdir(`${merged}/dir`);
    expect(await readdir(`${merged}/dir`)).toEqual([]);
    expect((await must(fs.root.getxattr(`${upper}/dir`, 'trusted.overlay.opaque'))).toString()).toBe('y');
    expect((await stat(`${merged}/dir`)).isDirectory()).toBe(true);
  });
});
