/** A quota is set on a tree that is in use: what others do meanwhile counts, and what is interrupted leaves no quota. */
import { expect, vi } from 'vitest';
import type { limits } from '../../fs/limits.ts';
import { errnoOfCall, type Lab, n, root, withHandle } from '../support/filesystem.ts';
import { at, bs, list, makeDir, makeFile, pattern, test } from './fixture.ts';

// Slices of one look, and records that fill a group: everybody gets a turn between any two steps.
vi.mock('../../fs/limits.ts', async (original) => {
  const real = await original<{ limits: typeof limits }>();
  return { limits: { ...real.limits, sliceMs: 0, groupRecordsMax: 20, unwrittenRecordsMax: 60, inodeCacheMax: 16 } };
});

const turn = () => new Promise((resolve) => setImmediate(resolve));
const write = (lab: Lab, ino: number, blocks: number) =>
  withHandle(lab.vfs, ino, 2, (handle) => lab.vfs.write(handle, 0, pattern(blocks * bs), root));

/** `d` with ten directories of 100 files, of a block each: several looks for each directory. */
async function makeTree(lab: Lab): Promise<number> {
  const dir = await makeDir(lab.vfs, 'd');
  for (let i = 0; i < 10; i++) {
    await makeDir(lab.vfs, `d/${i}`);
    for (let f = 0; f < 100; f++) await write(lab, await makeFile(lab.vfs, `d/${i}/${f}`), 1);
  }
  return dir;
}

/** What is under way, and whether it is over. */
function watched(set: Promise<void>): { readonly set: Promise<void>; readonly isOver: () => boolean } {
  const over = new AbortController();
  return { set: set.finally(() => over.abort()), isOver: () => over.signal.aborted };
}

async function used(lab: Lab, ino: number): Promise<[number, number]> {
  const [quota] = await lab.fs.quotas(ino);
  return quota === undefined ? [0, 0] : [quota.bytes / bs, quota.inodes];
}

/** Inodes and blocks below `d` by looking. */
async function counted(lab: Lab): Promise<[number, number]> {
  let [blocks, inodes] = [0, 1];
  for (const name of await list(lab.vfs, (await at(lab.vfs, 'd')).ino)) {
    if (name === '.' || name === '..') continue;
    inodes++;
    const sub = await at(lab.vfs, `d/${name}`);
    for (const file of await list(lab.vfs, sub.ino)) {
      if (file === '.' || file === '..') continue;
      inodes++;
      blocks += (await at(lab.vfs, `d/${name}/${file}`)).blocks / (bs / 512);
    }
  }
  return [blocks, inodes];
}

test('what is made, moved, written and removed meanwhile counts as it is in the end', async ({ lab }) => {
  const { vfs } = lab;
  const dir = await makeTree(lab);
  const outside = await makeFile(vfs, 'outside');
  const subs = await Promise.all(Array.from({ length: 10 }, async (_, i) => (await at(vfs, `d/${i}`)).ino));
  const { set, isOver } = watched(lab.fs.setQuota(dir, 10_000 * bs, Infinity));
  let rounds = 0;
  for (; !isOver(); rounds++) {
    const [from, to] = [subs[rounds % 10] ?? dir, subs[(rounds * 7 + 3) % 10] ?? dir];
    const { attr, handle } = await vfs.create(to, n(`new${rounds}`), 0o644, 2, root);
    await vfs.write(handle, 0, pattern(2 * bs), root);
    await vfs.release(handle);
    await vfs.link(attr.ino, from, n(`link${rounds}`), root);
    await vfs.unlink(from, n(`link${rounds}`), root);
    const name = n(String(rounds % 100));
    const errno = await errnoOfCall(() => vfs.rename(from, name, to, n(`moved${rounds}`), 'replace', root));
    if (errno !== undefined) expect(errno).toBe('ENOENT'); // moved before
    await errnoOfCall(() => vfs.unlink(to, n(String((rounds * 3) % 100)), root));
    await errnoOfCall(() =>
      vfs.rename(dir, n(String(rounds % 10)), dir, n(String((rounds % 10) + 10)), 'noreplace', root),
    );
    // Nothing crosses the border of the tree from the first moment on.
    expect(await errnoOfCall(() => vfs.rename(to, n(`new${rounds}`), vfs.rootIno, n('x'), 'replace', root))).toBe(
      'EXDEV',
    );
    expect(await errnoOfCall(() => vfs.rename(vfs.rootIno, n('outside'), from, n('x'), 'replace', root))).toBe('EXDEV');
    await turn();
  }
  await set;
  expect(rounds).toBeGreaterThan(5);
  expect(await used(lab, dir)).toEqual(await counted(lab));
  expect(await lab.fs.quotas(outside)).toEqual([]);
});

test('directories that move within the tree are not missed', async ({ lab }) => {
  const { vfs } = lab;
  const dir = await makeTree(lab);
  await makeDir(vfs, 'd/last');
  const last = (await at(vfs, 'd/last')).ino;
  const { set, isOver } = watched(lab.fs.setQuota(dir, 10_000 * bs, Infinity));
  for (let i = 0; !isOver(); i++) {
    if (i < 10) await vfs.rename(dir, n(String(i)), last, n(String(i)), 'replace', root);
    else if (i < 20) await vfs.rename(last, n(String(i - 10)), dir, n(String(i - 10)), 'replace', root);
    await turn();
  }
  await set;
  expect(await used(lab, dir)).toEqual([1000, 1012]);
});

test('until all is counted the limit is not kept; then it is', async ({ lab }) => {
  const dir = await makeTree(lab);
  const other = await makeDir(lab.vfs, 'other');
  const set = lab.fs.setQuota(dir, 5 * bs, 5);
  await turn();
  expect(await lab.fs.quotas()).toMatchObject([{ inForce: false, bytesMax: 5 * bs }]);
  expect(await errnoOfCall(() => lab.fs.setQuota(lab.vfs.rootIno, 5 * bs, 5))).toBe('EINVAL');
  expect(await errnoOfCall(() => lab.fs.setQuota(other, 5 * bs, 5))).toBe('EBUSY');
  expect((await lab.vfs.statfs(dir)).blocks).toBe((await lab.vfs.statfs()).blocks);
  await makeFile(lab.vfs, 'd/0/meanwhile');
  await lab.fs.setQuota(dir, 6 * bs, 6); // waits for the same, with other limits
  await set;
  expect(await lab.fs.quotas()).toMatchObject([{ inForce: true, bytesMax: 6 * bs, inodes: 1012 }]);
  expect(await errnoOfCall(() => makeFile(lab.vfs, 'd/0/now'))).toBe('EDQUOT');
});

test('what one that came to nothing left behind means nothing, also after a crash', async ({ lab }) => {
  const dir = await makeTree(lab);
  const set = errnoOfCall(() => lab.fs.setQuota(dir, 5 * bs, Infinity));
  for (let i = 0; i < 12; i++) await turn();
  await lab.fs.removeQuota(dir);
  expect(await set).toBe('ECANCELED');
  await lab.vfs.syncfs();
  const crashed = await lab.afterCrash();
  try {
    expect(await crashed.fs.quotas()).toEqual([]);
    expect(await write(crashed, (await at(crashed.vfs, 'd/3/3')).ino, 10)).toBe(10 * bs);
    await crashed.fs.setQuota(dir, 10_000 * bs, Infinity);
    expect(await used(crashed, dir)).toEqual([1009, 1011]);
    expect(await crashed.problems()).toEqual([]);
  } finally {
    await crashed.remove();
  }
});

test('unmounting, or removing it, ends it', async ({ lab }) => {
  const dir = await makeTree(lab);
  const removed = errnoOfCall(() => lab.fs.setQuota(dir, 5 * bs, Infinity));
  await turn();
  await lab.fs.removeQuota(dir);
  expect(await removed).toBe('ECANCELED');
  expect(await lab.fs.quotas()).toEqual([]);
  const unmounted = errnoOfCall(() => lab.fs.setQuota(dir, 5 * bs, Infinity));
  await turn();
  await lab.remount();
  expect(await unmounted).toBe('ECANCELED');
  expect(await lab.fs.quotas()).toEqual([]);
});
