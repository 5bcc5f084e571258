/** Numbers that are given out faster than groups become durable, with few of them reserved at a time. */
import { expect, vi } from 'vitest';
import type { limits } from '../../fs/limits.ts';
import { n, root } from '../support/filesystem.ts';
import { test } from './fixture.ts';

vi.mock('../../fs/limits.ts', async (original) => {
  const real = await original<{ limits: typeof limits }>();
  return { limits: { ...real.limits, numbersAhead: 64 } };
});

test('a client that comes while the numbers are being raised does not keep others waiting for them', async ({
  lab,
}) => {
  const { vfs } = lab;
  const make = (name: string) => vfs.mknod(vfs.rootIno, n(name), 0o100644, 0, root);
  // Up to the last numbers that are reserved: more than half, so that they are being raised with this group.
  let made = 0;
  for (; made < 25; made++) await make(`f${made}`);
  lab.fs.newClientId();
  await vfs.syncfs();
  for (; made < 200; made++) await make(`f${made}`);
  expect(lab.fs.status().inodes).toBe(201);
});
