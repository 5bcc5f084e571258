/** A tree that is too large is not copied, and what was copied of it goes again. The limit is lowered for that. */
import { expect, vi } from 'vitest';
import { errnoOfCall, n, root } from '../support/filesystem.ts';
import { list, test } from './fixture.ts';
import { makeTree, reaped, takeSnapshot } from './trees.ts';

vi.mock('../../fs/limits.ts', async (original) => {
  const { limits } = await original<typeof import('../../fs/limits.ts')>();
  return { limits: { ...limits, treeCopyInodesMax: 100 } };
});

test('E2BIG: clones and snapshots of more inodes than the limit', async ({ lab, vfs }) => {
  const dir = await makeTree(vfs, 'd', 9, 10);
  await lab.fs.cloneTree(dir, vfs.rootIno, n('fits'), root);
  await vfs.mkdir(dir, n('one more'), 0o755, root);
  const { inodes } = lab.fs.status();
  expect(await errnoOfCall(() => lab.fs.cloneTree(dir, vfs.rootIno, n('c'), root))).toBe('E2BIG');
  expect(await errnoOfCall(() => takeSnapshot(vfs, 'd', 's'))).toBe('E2BIG');
  await reaped(lab);
  expect(lab.fs.status()).toMatchObject({ inodes, blocks: { shared: 90 } });
  expect(await list(vfs, vfs.rootIno)).toEqual(['.', '..', 'd', 'fits']);
});
