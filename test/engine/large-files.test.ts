/** Files of many extents go in the background, a few extents at a time. The limits are lowered, so that few are many. */
import { describe, expect, vi } from 'vitest';
import type { limits } from '../../fs/limits.ts';
import type { Vfs } from '../../fs/vfs.ts';
import { CrashRecorder } from '../support/crash-recorder.ts';
import { errnoOfCall, Lab, n, readAll, root, withHandle, writeFile } from '../support/filesystem.ts';
import { bs, list, makeDir, makeFile, makeScattered, pattern, test } from './fixture.ts';
import { deleteSnapshot, reaped, takeSnapshot, until, withLeases } from './trees.ts';

const [step, stepsOfTurn, group] = [16, 4, 128];

vi.mock('../../fs/limits.ts', async (original) => {
  const real = await original<{ limits: typeof limits }>();
  return { limits: { ...real.limits, releasedExtentsMax: 16, reapedExtentsMax: 128, sliceStepsMax: 4 } };
});

/** Blocks of files, each time that others get their turn, until all are gone. */
async function turns(lab: Lab): Promise<readonly number[]> {
  const seen: number[] = [lab.fs.status().blocks.file];
  while (lab.fs.status().reaping.trees > 0) {
    await new Promise((resolve) => setImmediate(resolve));
    seen.push(lab.fs.status().blocks.file);
  }
  return seen;
}

/** What may take the last name, or the last user, of a file `f`. */
const ends: Readonly<Record<string, (vfs: Vfs, ino: number) => Promise<void>>> = {
  unlink: async (vfs) => vfs.unlink(vfs.rootIno, n('f'), root),
  'rename over it': async (vfs) => {
    await makeFile(vfs, 'g');
    await vfs.rename(vfs.rootIno, n('g'), vfs.rootIno, n('f'), 'replace', root);
  },
  'the last close': async (vfs, ino) => {
    const handle = await vfs.open(ino, 0, root);
    await vfs.unlink(vfs.rootIno, n('f'), root);
    await vfs.release(handle);
  },
  'the last forget': async (vfs, ino) => {
    vfs.remember(ino, 1);
    await vfs.unlink(vfs.rootIno, n('f'), root);
    vfs.forget(ino, 1);
  },
};

describe.each(Object.entries(ends))('%s', (_, end) => {
  test('answers at once; between two steps others get their turn', async ({ lab, vfs }) => {
    const before = lab.fs.status();
    const ino = await makeScattered(vfs, 'f', 1000);
    await vfs.setxattr(ino, 'user.a', Buffer.from('x'), 'either', root);
    await vfs.syncfs();
    await end(vfs, ino);
    expect(lab.fs.status().blocks.file, 'nothing of it has gone').toBe(1000);
    expect(await errnoOfCall(() => vfs.getattr(ino, root))).toBe('ESTALE');
    expect(await errnoOfCall(() => vfs.open(ino, 0, root))).toBe('ESTALE');
    expect(await errnoOfCall(() => vfs.link(ino, vfs.rootIno, n('again'), root))).toBe('ESTALE');
    const seen = await turns(lab);
    const steps = seen.slice(1).map((blocks, i) => (seen[i] ?? 0) - blocks);
    expect(Math.max(...steps)).toBeLessThanOrEqual(step * stepsOfTurn);
    expect(seen.at(-1)).toBe(0);
    await vfs.syncfs();
    expect(lab.fs.status().blocks).toEqual(before.blocks);
    expect(lab.fs.status().inodes).toBe((await list(vfs, vfs.rootIno)).length - 1);
  });
});

test('a crash at any moment leaves the rest to the next mount', async () => {
  const recorder = await CrashRecorder.create(2048 * bs);
  const { fs } = recorder;
  const kept = await writeFile(fs.vfs, 'kept', pattern(10 * bs));
  await makeScattered(fs.vfs, 'f', 500);
  await fs.vfs.syncfs();
  await fs.vfs.unlink(fs.vfs.rootIno, n('f'), root);
  recorder.mark(1);
  await until('it is gone', () => fs.status().reaping.trees === 0);
  await fs.vfs.syncfs();
  const left = new Set<number>();
  const crashes = await recorder.forEachCrash(async ({ fs: found }) => {
    const blocks = found.status().blocks.file;
    left.add(blocks);
    if (blocks === 510) return;
    expect(await list(found.vfs, found.vfs.rootIno)).toEqual(['.', '..', 'kept']);
    // Every second one is unmounted on the way: fsck comes after either.
    if (left.size % 2 === 0) return;
    await until('the rest is gone', () => found.status().reaping.trees === 0);
    expect(found.status()).toMatchObject({ inodes: 2, blocks: { file: 10 } });
    expect((await readAll(found.vfs, kept)).equals(pattern(10 * bs))).toBe(true);
  });
  expect(crashes).toBeGreaterThan(0);
  expect(left.size, 'durable in several groups').toBeGreaterThanOrEqual(Math.floor(500 / group));
  await fs.close();
});

test('unmounted on the way, and not done by a mount only for reading', async ({ lab, vfs }) => {
  await makeScattered(vfs, 'f', 1000);
  await vfs.unlink(vfs.rootIno, n('f'), root);
  await lab.unmount();
  await lab.mount(undefined, { readOnly: true });
  const { inodes, blocks } = lab.fs.status();
  expect(inodes).toBe(2);
  expect(blocks.file).toBeGreaterThan(0);
  await lab.remount();
  await reaped(lab);
  expect(lab.fs.status()).toMatchObject({ inodes: 1, blocks: { file: 0 } });
});

test('who needs the space waits for it', async ({ lab, vfs }) => {
  await makeScattered(vfs, 'f', 1000);
  const rest = lab.fs.status().blocks.free;
  await writeFile(vfs, 'rest', Buffer.alloc(rest * bs, 1));
  await vfs.syncfs();
  const ino = await makeFile(vfs, 'new');
  await withHandle(vfs, ino, 2, async (handle) => {
    await vfs.unlink(vfs.rootIno, n('f'), root);
    expect(await vfs.write(handle, 0, Buffer.alloc(1000 * bs, 2), root)).toBe(1000 * bs);
    expect(await errnoOfCall(() => vfs.write(handle, 1000 * bs, pattern(bs), root))).toBe('ENOSPC');
  });
});

test('it counts in its quota until it is gone, and who needs that waits for it', async ({ lab, vfs }) => {
  const dir = await makeDir(vfs, 'd');
  await lab.fs.setQuota(dir, 1000 * bs, 3);
  await makeScattered(vfs, 'd/f', 1000);
  const ino = await makeFile(vfs, 'd/new');
  await withHandle(vfs, ino, 2, async (handle) => {
    await vfs.unlink(dir, n('f'), root);
    expect(await vfs.write(handle, 0, Buffer.alloc(1000 * bs, 2), root)).toBe(1000 * bs);
    await makeFile(vfs, 'd/another');
    expect(await errnoOfCall(() => vfs.write(handle, 1000 * bs, pattern(bs), root))).toBe('EDQUOT');
  });
  expect(await lab.fs.quotas(dir)).toMatchObject([{ bytes: 1000 * bs, inodes: 3 }]);
});

test('layouts on it are recalled first', async () => {
  await withLeases(async (lab, leases) => {
    const { vfs } = lab;
    const ino = await makeScattered(vfs, 'f', 100);
    const held = leases.hold(ino, 0, bs, 9, 'read');
    const unlinked = vfs.unlink(vfs.rootIno, n('f'), root);
    expect(leases.recalled).toMatchObject([{ ino, reason: 'unmap' }]);
    expect(await list(vfs, vfs.rootIno)).toEqual(['.', '..', 'f']);
    leases.giveBack(held);
    await unlinked;
    await reaped(lab);
    expect(lab.fs.status()).toMatchObject({ inodes: 1, blocks: { file: 0 } });
  });
});

test('what others share with it stays theirs', async ({ lab, vfs }) => {
  const dir = await makeDir(vfs, 'd');
  const ino = await makeScattered(vfs, 'd/f', 300);
  const content = await readAll(vfs, ino);
  const clone = await lab.fs.cloneFile(ino, vfs.rootIno, n('clone'), root);
  await takeSnapshot(vfs, 'd', 's');
  await vfs.unlink(dir, n('f'), root);
  await deleteSnapshot(vfs, 'd', 's');
  await reaped(lab);
  expect(lab.fs.status()).toMatchObject({ inodes: 3, blocks: { file: 300, shared: 0 } });
  expect((await readAll(vfs, clone.ino)).equals(content)).toBe(true);
});
