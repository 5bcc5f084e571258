/** Snapshots in `.snapshots`, clones of trees, and how both go again. */
import { expect } from 'vitest';
import type { Vfs } from '../../fs/vfs.ts';
import { errnoOfCall, type Lab, n, readAll, root, writeFile } from '../support/filesystem.ts';
import { at, bs, list, makeDir, makeFile, pattern, test } from './fixture.ts';

/** Waits for what goes on in the background. */
async function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  for (let looks = 0; looks < 20_000; looks++) {
    if (await condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  throw new Error(`never came: ${what}`);
}

const reaped = (lab: Lab): Promise<void> =>
  until('everything deleted is gone', () => lab.fs.status().reaping.trees === 0);

async function snapshot(vfs: Vfs, path: string, name: string): Promise<number> {
  const { ino } = await at(vfs, `${path}/.snapshots`);
  return (await vfs.mkdir(ino, n(name), 0o777, root)).ino;
}

async function deleteSnapshot(vfs: Vfs, path: string, name: string): Promise<void> {
  const { ino } = await at(vfs, `${path}/.snapshots`);
  await vfs.rmdir(ino, n(name), root);
}

test('smoke: a snapshot shows what was there', async ({ lab, vfs }) => {
  const dir = await makeDir(vfs, 'd');
  await makeDir(vfs, 'd/sub');
  const file = await writeFile(vfs, 'f', pattern(3 * bs + 10));
  await vfs.link(file, dir, n('hard'), root);
  await vfs.link(file, dir, n('hard2'), root);
  await makeFile(vfs, 'd/sub/empty');
  expect(await list(vfs, (await at(vfs, 'd/.snapshots')).ino)).toEqual(['.', '..']);
  await snapshot(vfs, 'd', 's1');
  expect(await list(vfs, (await at(vfs, 'd/.snapshots')).ino)).toEqual(['.', '..', 's1']);
  expect(await list(vfs, dir)).toEqual(['.', '..', 'sub', 'hard', 'hard2']);
  const copy = await at(vfs, 'd/.snapshots/s1/hard');
  expect(copy.nlink).toBe(2);
  await vfs.setattr(file, { size: 0 }, root);
  expect((await readAll(vfs, copy.ino)).equals(pattern(3 * bs + 10))).toBe(true);
  expect(await errnoOfCall(() => vfs.setattr(copy.ino, { size: 0 }, root))).toBe('EROFS');
  await deleteSnapshot(vfs, 'd', 's1');
  await reaped(lab);
  expect(lab.fs.status()).toMatchObject({ inodes: 5 });
  expect(lab.fs.status().blocks.file).toBe(0);
});
