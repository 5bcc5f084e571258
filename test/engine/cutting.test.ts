/** Truncating and punching of many extents goes a few at a time. The limits are lowered, so that few are many. */
import { constants } from 'node:fs';
import { describe, expect, vi } from 'vitest';
import type { limits } from '../../fs/limits.ts';
import type { Handle, Vfs } from '../../fs/vfs.ts';
import { GatedStore } from '../meta/gated-store.ts';
import { CrashRecorder } from '../support/crash-recorder.ts';
import { errnoOfCall, type Lab, n, readAll, root, withHandle, writeFile } from '../support/filesystem.ts';
import { bs, list, makeDir, makeFile, makeScattered, pattern, test } from './fixture.ts';
import { client, commit, dma, giveBack, grantWrite } from './layout-steps.ts';
import { reaped, takeSnapshot, until, withLeases } from './trees.ts';

const { O_RDWR, O_TRUNC } = constants;

const [step, stepsOfTurn] = [16, 4];

vi.mock('../../fs/limits.ts', async (original) => {
  const real = await original<{ limits: typeof limits }>();
  return { limits: { ...real.limits, releasedExtentsMax: 16, reapedExtentsMax: 128, sliceStepsMax: 4 } };
});

/** Of a file of `extents` extents: bytes. */
const sizeOf = (extents: number): number => (2 * extents - 1) * bs;

/** A request for the range of bytes, and what it makes of a content. */
interface Request {
  readonly run: (vfs: Vfs, handle: Handle, ino: number, range: Range) => Promise<unknown>;
  readonly of: (content: Buffer, range: Range) => Buffer;
}

type Range = readonly [from: number, to: number];

/** Every second block is a hole. At the edges data is zeroed in place, unless the file is copied on each write. */
const [inHoles, inData]: readonly [Range, Range] = [
  [3 * bs + 5, 501 * bs + 7],
  [4 * bs + 5, 500 * bs + 7],
];

/** Each takes more out of a file of 400 extents than goes at once. */
const requests: Readonly<Record<string, Request>> = {
  truncate: {
    run: async (vfs, handle, ino, [from]) => vfs.setattr(ino, { size: from }, root, handle),
    of: (content, [from]) => content.subarray(0, from),
  },
  'open for truncation': {
    run: async (vfs, _, ino) => vfs.release(await vfs.open(ino, O_RDWR | O_TRUNC, root)),
    of: () => Buffer.alloc(0),
  },
  punch: {
    run: async (vfs, handle, _, [from, to]) => vfs.fallocate(handle, 'punch', from, to - from, root),
    of: (content, [from, to]) => Buffer.from(content).fill(0, from, to),
  },
};

/** Runs, and answers the blocks of files each time that others get their turn until the reply comes. */
async function turns(lab: Lab, request: () => Promise<unknown>): Promise<readonly number[]> {
  const seen = [lab.fs.status().blocks.file];
  const turn = { isLast: false };
  const reply = request().finally(() => {
    turn.isLast = true;
  });
  while (!turn.isLast) {
    await new Promise((resolve) => setImmediate(resolve));
    seen.push(lab.fs.status().blocks.file);
  }
  await reply;
  return seen;
}

describe.each(Object.entries(requests))('%s', (_, request) => {
  test('goes in steps, between which others get their turn; its reply comes after the last', async ({ lab, vfs }) => {
    const ino = await makeScattered(vfs, 'f', 400);
    const after = request.of(await readAll(vfs, ino), inData);
    await vfs.syncfs();
    const seen = await withHandle(vfs, ino, O_RDWR, (handle) =>
      turns(lab, async () => request.run(vfs, handle, ino, inData)),
    );
    const steps = seen.slice(1).map((blocks, i) => (seen[i] ?? 0) - blocks);
    expect(Math.max(...steps)).toBeLessThanOrEqual(step * stepsOfTurn);
    expect(steps.filter((blocks) => blocks > 0).length).toBeGreaterThan(2);
    const { blocks } = await vfs.getattr(ino, root);
    expect(seen.at(-1), 'nothing is left to go').toBe(blocks / (bs / 512));
    expect((await readAll(vfs, ino)).equals(after)).toBe(true);
  });

  test('only this file waits, and nobody sees half of it', async ({ lab, vfs }) => {
    const ino = await makeScattered(vfs, 'f', 400);
    const other = await writeFile(vfs, 'other', pattern(bs));
    const after = request.of(await readAll(vfs, ino), inData);
    const before = lab.fs.status().blocks.file;
    await withHandle(vfs, ino, O_RDWR, async (handle) => {
      const requested = request.run(vfs, handle, ino, inData);
      const read = readAll(vfs, ino);
      const sought = errnoOfCall(() => vfs.seek(handle, 600 * bs, 'data', root));
      const clone = lab.fs.cloneFile(ino, vfs.rootIno, n('clone'), root);
      const snapshot = takeSnapshot(vfs, '', 's');
      expect((await readAll(vfs, other)).equals(pattern(bs))).toBe(true);
      await vfs.setattr(other, { size: 1 }, root);
      expect(lab.fs.status().blocks.file, 'nothing has gone so far').toBe(before);
      expect((await read).equals(after)).toBe(true);
      expect(await sought, 'past the end of a file that was cut').toBe(after.length > 600 * bs ? undefined : 'ENXIO');
      expect((await readAll(vfs, (await clone).ino)).equals(after)).toBe(true);
      const { ino: copy } = await vfs.lookup(await snapshot, n('f'), root);
      expect((await readAll(vfs, copy)).equals(after)).toBe(true);
      await requested;
    });
  });

  test.each([false, true])('a crash leaves the file as before or as after; cow: %s', async (isCow) => {
    const recorder = await CrashRecorder.create(2048 * bs);
    const { vfs } = recorder.fs;
    const ino = await makeScattered(vfs, 'f', 400);
    if (isCow) await vfs.setxattr(ino, 'system.iopmemfs.cow', Buffer.from('on'), 'either', root);
    const before = await readAll(vfs, ino);
    await vfs.syncfs();
    recorder.mark(1);
    const range = isCow ? inData : inHoles;
    await withHandle(vfs, ino, O_RDWR, (handle) => request.run(vfs, handle, ino, range));
    const after = request.of(before, range);
    // And what comes past the new end, or into the hole, comes after all of it.
    const written = Buffer.concat([after, Buffer.alloc(Math.max(0, 200 * bs - after.length))]);
    pattern(bs, 9).copy(written, 199 * bs);
    await withHandle(vfs, ino, O_RDWR, async (handle) => vfs.write(handle, 199 * bs, pattern(bs, 9), root));
    await vfs.syncfs();
    const left = new Set<number>();
    const seen = new Set<number>();
    const allowed = [before, after, written];
    const crashes = await recorder.forEachCrash(async ({ fs }) => {
      left.add(fs.status().blocks.file);
      const found = await readAll(fs.vfs, ino);
      const version = allowed.findIndex((each) => each.equals(found));
      expect(version, `neither as before nor as after: ${found.length} bytes`).toBeGreaterThanOrEqual(0);
      seen.add(version);
      const { blocks } = await fs.vfs.getattr(ino, root);
      expect(fs.status().blocks.file).toBe(blocks / (bs / 512));
    });
    expect(crashes).toBeGreaterThan(0);
    expect(left.size, 'durable in several groups').toBeGreaterThan(2);
    expect(seen).toEqual(new Set([0, 1, 2]));
    await recorder.fs.close();
  });

  test('unmounted on the way; a mount only for reading shows it done, another does it', async ({ lab, vfs }) => {
    const ino = await makeScattered(vfs, 'f', 400);
    const after = request.of(await readAll(vfs, ino), inData);
    await vfs.syncfs();
    const requested = request.run(vfs, await vfs.open(ino, O_RDWR, root), ino, inData);
    await lab.unmount();
    await requested;
    await lab.mount(undefined, { readOnly: true });
    expect((await readAll(lab.vfs, ino)).equals(after)).toBe(true);
    const { blocks } = await lab.vfs.getattr(ino, root);
    await lab.remount();
    expect((await readAll(lab.vfs, ino)).equals(after)).toBe(true);
    expect(lab.fs.status().blocks.file).toBe(blocks / (bs / 512));
  });
});

test('of a file without a name all goes at the next mount', async ({ lab, vfs }) => {
  const { ino } = await vfs.lookup(vfs.rootIno, n('.'), root);
  const { attr, handle } = await vfs.tmpfile(ino, 0o600, O_RDWR, root);
  for (let i = 0; i < 400; i++) await vfs.write(handle, 2 * i * bs, pattern(bs, i), root);
  await vfs.syncfs();
  const cut = vfs.setattr(attr.ino, { size: bs }, root, handle);
  await lab.unmount();
  await cut;
  await lab.mount();
  await reaped(lab);
  expect(lab.fs.status()).toMatchObject({ inodes: 1, blocks: { file: 0 } });
});

test('it is removed after it is cut', async ({ lab, vfs }) => {
  const ino = await makeScattered(vfs, 'f', 400);
  const cut = vfs.setattr(ino, { size: bs }, root);
  await vfs.unlink(vfs.rootIno, n('f'), root);
  await cut;
  await reaped(lab);
  expect(await list(vfs, vfs.rootIno)).toEqual(['.', '..']);
  expect(lab.fs.status()).toMatchObject({ inodes: 1, blocks: { file: 0 } });
});

test('who needs the space waits for it', async ({ lab, vfs }) => {
  const ino = await makeScattered(vfs, 'f', 400);
  const rest = lab.fs.status().blocks.free;
  await writeFile(vfs, 'rest', Buffer.alloc(rest * bs, 1));
  await vfs.syncfs();
  const other = await makeFile(vfs, 'new');
  await withHandle(vfs, other, O_RDWR, async (handle) => {
    const cut = vfs.setattr(ino, { size: 0 }, root);
    expect(await vfs.write(handle, 0, Buffer.alloc(400 * bs, 2), root)).toBe(400 * bs);
    expect(await errnoOfCall(() => vfs.write(handle, 400 * bs, pattern(bs), root))).toBe('ENOSPC');
    await cut;
  });
});

test('it counts in its quota until it has gone, and who needs that waits for it', async ({ lab, vfs }) => {
  const dir = await makeDir(vfs, 'd');
  await lab.fs.setQuota(dir, 400 * bs, 3);
  const ino = await makeScattered(vfs, 'd/f', 400);
  const other = await makeFile(vfs, 'd/new');
  await withHandle(vfs, other, O_RDWR, async (handle) => {
    const cut = vfs.setattr(ino, { size: bs }, root);
    expect(await vfs.write(handle, 0, Buffer.alloc(399 * bs, 2), root)).toBe(399 * bs);
    expect(await errnoOfCall(() => vfs.write(handle, 399 * bs, pattern(bs), root))).toBe('EDQUOT');
    await cut;
  });
  expect(await lab.fs.quotas(dir)).toMatchObject([{ bytes: 400 * bs }]);
});

test('layouts are recalled first, and granted when it has gone', async () => {
  await withLeases(async (lab, leases) => {
    const { vfs } = lab;
    const ino = await makeScattered(vfs, 'f', 100);
    const held = leases.hold(ino, 100 * bs, bs, 9, 'read');
    const cut = vfs.setattr(ino, { size: bs }, root);
    expect(leases.recalled).toMatchObject([{ ino, reason: 'unmap' }]);
    expect((await readAll(vfs, ino)).length).toBe(sizeOf(100));
    leases.giveBack(held);
    await cut;

    const again = await makeScattered(vfs, 'g', 100);
    const handle = await vfs.open(again, O_RDWR, root);
    const punched = vfs.fallocate(handle, 'punch', 0, 198 * bs, root);
    const whole = { offset: 0, length: 199 * bs };
    const [read, write] = await Promise.all([
      lab.fs.layouts.mapForRead(again, whole, 9),
      lab.fs.layouts.mapForWrite(again, whole, 10),
    ]);
    expect(read.map(({ state }) => state)).toEqual([3, 1]);
    expect(write.map(({ state }) => state)).toEqual([2, 0]);
    await punched;
    await vfs.release(handle);
  });
});

test('what a client commits meanwhile behind the old end stays', async () => {
  await withLeases(async (lab, leases) => {
    const { vfs } = lab;
    const ino = await makeScattered(vfs, 'f', 400);
    dma(lab.fs, await grantWrite(lab, ino, 900, 1), 900 * bs, pattern(bs, 7));
    const held = leases.hold(ino, 900 * bs, bs, client);
    const cut = vfs.setattr(ino, { size: bs }, root);
    const { size } = await commit(lab, ino, 900 * bs, bs, 901 * bs - 1);
    expect(size).toBe(901 * bs);
    await cut;
    leases.giveBack(held);
    await giveBack(lab, ino);
    const expected = Buffer.concat([pattern(bs, 0), Buffer.alloc(899 * bs), pattern(bs, 7)]);
    expect((await readAll(vfs, ino)).equals(expected)).toBe(true);
    await lab.remount();
    expect((await readAll(lab.vfs, ino)).equals(expected)).toBe(true);
  });
});

test('whoever begins one while the filesystem is closed is not left waiting; the next mount does it', async ({
  lab,
}) => {
  await lab.unmount();
  const parts: { store?: GatedStore } = {};
  await lab.mount(undefined, { store: (real) => (parts.store = new GatedStore(real)) });
  const { store } = parts;
  if (store === undefined) throw new Error('nothing was wrapped');
  const ino = await makeScattered(lab.vfs, 'f', 400);
  await lab.vfs.syncfs();
  await writeFile(lab.vfs, 'other', pattern(bs));
  const begun = store.begun;
  store.hold();
  const { vfs } = lab;
  const closed = lab.unmount();
  await until('the last batch', () => store.begun > begun); // what was going on has been stopped
  const cut = Promise.resolve(vfs.setattr(ino, { size: bs }, root));
  store.open();
  await Promise.all([cut, closed]);
  await lab.mount();
  expect((await readAll(lab.vfs, ino)).equals(pattern(bs, 0))).toBe(true);
  expect(lab.fs.status().blocks.file).toBe(2);
});
