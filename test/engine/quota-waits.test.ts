/** EDQUOT comes at once, unless files of the same tree are about to go. */
import { constants } from 'node:fs';
import { expect, vi } from 'vitest';
import type { limits } from '../../fs/limits.ts';
import { n, root, withHandle } from '../support/filesystem.ts';
import { bs, makeDir, makeFile, pattern, test } from './fixture.ts';

const { O_RDWR } = constants;

// However slow the machine is, a file that lost its name does not count as one in use before the test is over.
vi.mock('../../fs/limits.ts', async (original) => {
  const real = await original<{ limits: typeof limits }>();
  return { limits: { ...real.limits, lingerMs: 600_000 } };
});

test('EDQUOT does not wait for what goes elsewhere, but for what goes in the tree', async ({ lab }) => {
  const { vfs } = lab;
  const dir = await makeDir(vfs, 'd');
  await lab.fs.setQuota(dir, 2 * bs, Infinity);
  const file = await makeFile(vfs, 'd/file');
  const { handle: outside } = await vfs.create(vfs.rootIno, n('outside'), 0o644, O_RDWR, root);
  const { attr, handle: inside } = await vfs.create(dir, n('inside'), 0o644, O_RDWR, root);
  await vfs.write(inside, 0, pattern(2 * bs), root);
  await vfs.unlink(vfs.rootIno, n('outside'), root);
  await withHandle(vfs, file, O_RDWR, async (handle) => {
    // An operation that waits for nothing throws at once.
    expect(() => vfs.write(handle, 0, pattern(1), root)).toThrow('EDQUOT');
    vfs.remember(attr.ino, 1);
    await vfs.release(inside);
    await vfs.unlink(dir, n('inside'), root);
    const written = vfs.write(handle, 0, pattern(2 * bs), root);
    vfs.forget(attr.ino, 1);
    expect(await written).toBe(2 * bs);
  });
  await vfs.release(outside);
});

test('a directory that the kernel is about to let go of makes room for another', async ({ lab }) => {
  const { vfs } = lab;
  const dir = await makeDir(vfs, 'd');
  await lab.fs.setQuota(dir, Infinity, 2);
  const { ino } = await vfs.mkdir(dir, n('old'), 0o755, root);
  vfs.remember(ino, 1);
  await vfs.rmdir(dir, n('old'), root);
  const made = vfs.mkdir(dir, n('new'), 0o755, root);
  vfs.forget(ino, 1);
  expect((await made).nlink).toBe(2);
});
