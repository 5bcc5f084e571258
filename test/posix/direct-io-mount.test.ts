/** A mount with -o direct_io: the kernel keeps no pages of what programs read and write, and programs notice nothing. */
import { execFile } from 'node:child_process';
import { copyFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { O_CREAT, O_RDWR } from './support/constants.ts';
import { canMount, mounted } from './support/mounted.ts';
import { must } from './support/process.ts';

const run = promisify(execFile);
const fs = mounted({ options: 'direct_io' });

describe.skipIf(!canMount)('a mount with direct_io', () => {
  test('runs programs', async () => {
    const path = `${await fs.directory()}/true`;
    await copyFile('/bin/true', path);
    await expect(run(path)).resolves.toBeDefined();
  });

  test('two writers of one file, side by side, each within their own bytes', async () => {
    const path = `${await fs.directory()}/shared`;
    const other = (await fs.another()).as(fs.alice.identity);
    const mine = await must(fs.alice.open(path, O_CREAT | O_RDWR, 0o644));
    await must(fs.alice.ftruncate(mine, 64 * 4096));
    const theirs = await must(other.open(path, O_RDWR));
    await Promise.all(
      Array.from({ length: 64 }, (_, n) =>
        n % 2 === 0
          ? must(fs.alice.pwrite(mine, Buffer.alloc(4096, 'm'), n * 4096))
          : must(other.pwrite(theirs, Buffer.alloc(4096, 't'), n * 4096)),
      ),
    );
    const content = await must(fs.alice.pread(mine, 64 * 4096, 0));
    for (let n = 0; n < 64; n++)
      expect(content.toString('latin1', n * 4096, n * 4096 + 1)).toBe(n % 2 === 0 ? 'm' : 't');
    await must(fs.alice.close(mine));
    await must(other.close(theirs));
  });
});
