/** Inode numbers never come again, not even those of files that a crash undid: a peer may hold a file by its number. */
import { expect, test, vi } from 'vitest';
import type { limits } from '../../fs/limits.ts';
import { CrashRecorder } from '../support/crash-recorder.ts';
import { n, root } from '../support/filesystem.ts';

vi.mock('../../fs/limits.ts', async (original) => {
  const real = await original<{ limits: typeof limits }>();
  return { limits: { ...real.limits, numbersAhead: 64 } };
});

test('after a crash at any moment', async () => {
  const recorder = await CrashRecorder.create(64 * 4096);
  const { vfs } = recorder.fs;
  const given: number[] = [];
  recorder.mark(0);
  for (let i = 0; i < 100; i++) {
    given.push((await vfs.mknod(vfs.rootIno, n(`f${i}`), 0o100644, 0, root)).ino);
    recorder.mark(given.length);
  }
  await vfs.syncfs();
  const crashes = await recorder.forEachCrash(async ({ mark, fs }) => {
    const { ino } = await fs.vfs.mknod(fs.vfs.rootIno, n('new'), 0o100644, 0, root);
    expect(ino).toBeGreaterThan(Math.max(0, ...given.slice(0, mark)));
  });
  expect(crashes).toBeGreaterThan(0);
  await recorder.fs.close();
});
