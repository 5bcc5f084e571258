/**
 * Random operations on a filesystem with two quotas, one of which is set, removed and set again while everything goes on:
 * what the quotas say is what a walk over the tree counts, at every turn, after remounts, and after crashes (by fsck).
 */
import { constants } from 'node:fs';
import { expect } from 'vitest';
import { errnoOfCall, type Lab, n, root, withHandle } from '../support/filesystem.ts';
import { bs, makeDir, pattern, test } from './fixture.ts';

const { O_RDWR } = constants;
const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31);
const steps = Number(process.env['STEPS'] ?? 1200);
const client = 7;

/** mulberry32 */
function randomOf(start: number): (below: number) => number {
  let state = start;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

interface Count {
  blocks: number;
  inodes: number;
}

/** What is below a directory, itself included, by looking at all of it. */
async function count(lab: Lab, ino: number): Promise<Count> {
  const { vfs } = lab;
  const seen = new Set<number>();
  const sum = { blocks: 0, inodes: 0 };
  const queue = [ino];
  for (let at = queue.pop(); at !== undefined; at = queue.pop()) {
    if (seen.has(at)) continue;
    seen.add(at);
    const attr = await vfs.getattr(at, root);
    sum.inodes++;
    sum.blocks += attr.blocks / (bs / 512);
    if ((attr.mode & 0o170000) !== 0o040000) continue;
    const handle = await vfs.opendir(at, root);
    for (const entry of await vfs.readdir(handle, 0, 10_000, root)) {
      if (entry.name !== '.' && entry.name !== '..') queue.push(entry.ino);
    }
    await vfs.release(handle);
  }
  return sum;
}

test('quotas say what there is', async ({ lab }) => {
  console.log(`SEED=${seed}`);
  const random = randomOf(seed);
  const tops = [await makeDir(lab.vfs, 'a'), await makeDir(lab.vfs, 'b'), await makeDir(lab.vfs, 'none')];
  const [a = 0, b = 0] = tops;
  await lab.fs.setQuota(a, 150 * bs, 60);
  /** Directories by number, and files by directory and name: what may be gone by now is an error like others. */
  const directories = [...tops];
  const files: { readonly dir: number; readonly name: string; readonly ino: number }[] = [];
  let names = 0;

  const some = <T>(list: readonly T[]): T | undefined => list[random(list.length)];
  const inSomeFile = async (use: (handle: Parameters<typeof lab.vfs.release>[0]) => unknown): Promise<void> => {
    const file = some(files);
    if (file !== undefined) await withHandle(lab.vfs, file.ino, O_RDWR, async (handle) => use(handle));
  };
  const operations: readonly (() => Promise<unknown>)[] = [
    async () => {
      const [dir, name] = [some(directories) ?? a, `f${++names}`];
      const { attr, handle } = await lab.vfs.create(dir, n(name), 0o644, O_RDWR, root);
      files.push({ dir, name, ino: attr.ino });
      await lab.vfs.release(handle);
    },
    async () => {
      const made = await lab.vfs.mkdir(some(directories) ?? a, n(`d${++names}`), 0o755, root);
      directories.push(made.ino);
    },
    () =>
      inSomeFile((handle) => lab.vfs.write(handle, random(20) * bs + random(bs), pattern(random(6 * bs) + 1), root)),
    () =>
      inSomeFile((handle) => lab.vfs.write(handle, random(20) * bs + random(bs), pattern(random(6 * bs) + 1), root)),
    () => {
      const modes = ['allocate', 'allocate-keep-size', 'punch', 'zero', 'collapse', 'insert'] as const;
      const mode = some(modes) ?? 'punch';
      return inSomeFile((handle) => lab.vfs.fallocate(handle, mode, random(10) * bs, (random(6) + 1) * bs, root));
    },
    async () => {
      const file = some(files);
      if (file !== undefined) await lab.vfs.setattr(file.ino, { size: random(16 * bs) }, root);
    },
    async () => {
      const file = some(files);
      if (file !== undefined) await lab.vfs.unlink(file.dir, n(file.name), root);
    },
    async () => {
      const [file, dir, name] = [some(files), some(directories) ?? a, `r${++names}`];
      if (file === undefined) return;
      await lab.vfs.rename(file.dir, n(file.name), dir, n(name), 'replace', root);
      files.push({ dir, name, ino: file.ino });
    },
    async () => {
      const [file, dir, name] = [some(files), some(directories) ?? a, `l${++names}`];
      if (file === undefined) return;
      // With names on both sides when a quota is set, a file counts in it even when it has only the other one left.
      const [quota] = await lab.fs.quotas(file.ino);
      if (quota?.ino !== a) return;
      await lab.vfs.link(file.ino, dir, n(name), root);
      files.push({ dir, name, ino: file.ino });
    },
    async () => {
      const [file, dir, name] = [some(files), some(directories) ?? a, `c${++names}`];
      if (file === undefined) return;
      const clone = await lab.fs.cloneFile(file.ino, dir, n(name), root);
      files.push({ dir, name, ino: clone.ino });
    },
    async () => {
      const [source, target] = [some(files), some(files)];
      if (source === undefined || target === undefined) return;
      const [from, to, length] = [random(8) * bs, random(8) * bs, (random(8) + 1) * bs];
      await withHandle(lab.vfs, source.ino, 0, (input) =>
        withHandle(lab.vfs, target.ino, O_RDWR, (output) => lab.vfs.copyRange(input, from, output, to, length, root)),
      );
    },
    async () => {
      const file = some(files);
      if (file === undefined) return;
      const range = { offset: random(10) * bs, length: (random(5) + 1) * bs };
      await lab.fs.layouts.mapForWrite(file.ino, range, client);
      const last = range.offset + random(range.length);
      if (random(2) === 0) {
        await lab.fs.layouts.commitLayout(
          file.ino,
          { ranges: [range], lastWriteOffset: last, mtimeNs: undefined },
          client,
        );
      }
      await lab.fs.layouts.releaseProvisional(file.ino, { offset: 0, length: Infinity }, client);
      lab.fs.layouts.forgetGrant(file.ino, client);
    },
  ];

  const check = async (): Promise<void> => {
    for (const quota of await lab.fs.quotas()) {
      const { blocks, inodes } = await count(lab, quota.ino);
      expect({ path: quota.path, blocks: quota.bytes / bs, inodes: quota.inodes }).toEqual({
        path: quota.path,
        blocks,
        inodes,
      });
    }
  };
  let setting: Promise<unknown> = Promise.resolve();
  for (let step = 0; step < steps; step++) {
    const operation = some(operations);
    if (operation === undefined) break;
    await errnoOfCall(operation);
    // Set while others go on: what follows runs between its slices.
    if (step % 100 === 50) setting = errnoOfCall(() => lab.fs.setQuota(b, (random(300) + 1) * bs, random(80) + 1));
    if (step % 100 === 60) await setting;
    if (step % 100 === 80) await errnoOfCall(() => lab.fs.removeQuota(b));
    if (step % 100 === 75) await check();
    if (step % 300 === 90) await lab.remount();
    if (step % 400 === 395) {
      await lab.vfs.syncfs();
      const crashed = await lab.afterCrash();
      expect(await crashed.problems(), `SEED=${seed}`).toEqual([]);
      await crashed.remove();
    }
  }
  await setting;
  await check();
});
