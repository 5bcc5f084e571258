/** What a fenced client could reach of files with many extents is put away, and given back, a few at a time. */
import { expect, vi } from 'vitest';
import type { Filesystem } from '../../fs/engine/filesystem.ts';
import { extentState } from '../../fs/engine/leases.ts';
import type { limits } from '../../fs/limits.ts';
import { CrashRecorder } from '../support/crash-recorder.ts';
import { errnoOfCall, readAll, root, withHandle, writeFile } from '../support/filesystem.ts';
import { bs, clientRecord, makeFile, makeScattered, pattern, test } from './fixture.ts';

const client = 7;
const extents = 100;
/** Blocks of two slices: what ends a wait, for the request or for the store, may run right before the next turn. */
const most = 2 * 4 * 4;
const whole = { offset: 0, length: 2 * extents * bs };

vi.mock('../../fs/limits.ts', async (original) => {
  const real = await original<{ limits: typeof limits }>();
  const lowered = { releasedExtentsMax: 4, reapedExtentsMax: 32, sliceStepsMax: 4, fencedBlocksMax: 4 };
  return { limits: { ...real.limits, ...lowered } };
});

const putAway = (fs: Filesystem): number => (fs.quarantined().get(client) ?? 0) / bs;

/** Blocks held for the client, each time that others get their turn until the work is done. */
async function turns(fs: Filesystem, work: () => Promise<void>): Promise<readonly number[]> {
  const seen = [putAway(fs)];
  const turn = { isLast: false };
  const done = work().finally(() => {
    turn.isLast = true;
  });
  while (!turn.isLast) {
    await new Promise((resolve) => setImmediate(resolve));
    seen.push(putAway(fs));
  }
  await done;
  return seen;
}

function longestStep(seen: readonly number[]): number {
  return Math.max(...seen.slice(1).map((blocks, i) => Math.abs(blocks - (seen[i] ?? 0))));
}

test.for(['read', 'write'] as const)('a fence of one that could %s', async (access, { lab, vfs }) => {
  const ino = await makeScattered(vfs, 'f', extents);
  const content = await readAll(vfs, ino);
  const { layouts } = lab.fs;
  if (access === 'read') await layouts.mapForRead(ino, whole, client);
  else await layouts.mapForWrite(ino, { offset: 0, length: bs }, client);
  const before = lab.fs.status().blocks.file;
  const seen = await turns(lab.fs, () => layouts.quarantine(client, [{ ino, ...whole, access }]));
  expect(longestStep(seen)).toBeLessThanOrEqual(most);
  expect(seen.at(-1)).toBe(extents);
  expect(lab.fs.status().blocks).toMatchObject({ file: before, quarantined: access === 'write' ? extents : 0 });
  expect((await readAll(vfs, ino)).equals(content)).toBe(true);

  const back = await turns(lab.fs, () => layouts.releaseQuarantine(client));
  expect(longestStep(back)).toBeLessThanOrEqual(most);
  expect(back.at(-1)).toBe(0);
  expect(lab.fs.status().blocks.quarantined).toBe(0);
});

test('a fence of one that had blocks for what it would write', async ({ lab, vfs }) => {
  const ino = await makeScattered(vfs, 'f', extents);
  const { layouts } = lab.fs;
  await layouts.mapForWrite(ino, whole, client);
  const other = await makeFile(vfs, 'other');
  await layouts.mapForWrite(other, { offset: 0, length: 4 * bs }, client + 1);
  const seen = await turns(lab.fs, () => layouts.quarantine(client, []));
  expect(longestStep(seen)).toBeLessThanOrEqual(most);
  expect(seen.at(-1)).toBe(extents);
  expect(lab.fs.status().blocks).toMatchObject({ provisional: 4, quarantined: extents });
});

test('a long extent is copied in parts, which follow each other', async ({ lab, vfs }) => {
  const ino = await writeFile(vfs, 'f', pattern(300 * bs));
  const { layouts } = lab.fs;
  await layouts.mapForWrite(ino, { offset: 0, length: 300 * bs }, client);
  const seen = await turns(lab.fs, () =>
    layouts.quarantine(client, [{ ino, offset: 0, length: 300 * bs, access: 'write' }]),
  );
  expect(longestStep(seen)).toBeLessThanOrEqual(most);
  expect((await readAll(vfs, ino)).equals(pattern(300 * bs))).toBe(true);
  expect(await lab.fs.map(ino)).toHaveLength(1);
});

test('without room for the copy the blocks stay in the file, and what is written to them goes elsewhere', async ({
  lab,
  vfs,
}) => {
  const content = pattern(4 * bs);
  const ino = await writeFile(vfs, 'f', content);
  const write = (data: Uint8Array): Promise<number> =>
    withHandle(vfs, ino, 2, (handle) => vfs.write(handle, 0, data, root));
  const { layouts } = lab.fs;
  const granted = await layouts.mapForWrite(ino, { offset: 0, length: 4 * bs }, client);
  const filler = await makeFile(vfs, 'filler');
  await withHandle(vfs, filler, 2, (handle) =>
    vfs.fallocate(handle, 'allocate', 0, lab.fs.status().blocks.free * bs, root),
  );
  await layouts.quarantine(client, [{ ino, offset: 0, length: 4 * bs, access: 'write' }]);
  expect(putAway(lab.fs)).toBe(4);
  expect((await readAll(vfs, ino)).equals(content)).toBe(true);
  expect(await errnoOfCall(() => write(pattern(bs, 2)))).toBe('ENOSPC');

  await withHandle(vfs, filler, 2, (handle) => vfs.fallocate(handle, 'punch', 0, 8 * bs, root));
  const other = await layouts.mapForWrite(ino, { offset: bs, length: bs }, client + 1);
  expect(other.map(({ state }) => state)).toEqual([extentState.read, extentState.invalid]);
  await layouts.releaseProvisional(ino, { offset: bs, length: bs }, client + 1);
  expect(await write(pattern(bs, 2))).toBe(bs);
  const [first] = await lab.fs.map(ino);
  expect(first?.storageOffset).not.toBe(granted[0]?.storageOffset);
  expect((await readAll(vfs, ino)).equals(Buffer.concat([pattern(bs, 2), content.subarray(bs)]))).toBe(true);
  expect(lab.fs.status().blocks.quarantined).toBe(1);
});

test('without room for the copy what was only preallocated is taken out of the file', async ({ lab, vfs }) => {
  const ino = await makeFile(vfs, 'f');
  await withHandle(vfs, ino, 2, (handle) => vfs.fallocate(handle, 'allocate', 0, 4 * bs, root));
  const { layouts } = lab.fs;
  await layouts.mapForWrite(ino, { offset: 0, length: 4 * bs }, client);
  const filler = await makeFile(vfs, 'filler');
  await withHandle(vfs, filler, 2, (handle) =>
    vfs.fallocate(handle, 'allocate', 0, lab.fs.status().blocks.free * bs, root),
  );
  await layouts.quarantine(client, [{ ino, offset: 0, length: 4 * bs, access: 'write' }]);
  expect(lab.fs.status().blocks.quarantined).toBe(4);
  expect((await readAll(vfs, ino)).equals(Buffer.alloc(4 * bs))).toBe(true);
});

test('a crash on the way leaves what was granted on record, until all is put away', async () => {
  const recorder = await CrashRecorder.create(2048 * bs);
  const { fs } = recorder;
  const ino = await makeScattered(fs.vfs, 'f', 20);
  const content = await readAll(fs.vfs, ino);
  await fs.layouts.mapForWrite(ino, { offset: 0, length: 40 * bs }, client);
  await fs.putClient(clientRecord(client));
  recorder.mark(1);
  await fs.layouts.quarantine(client, [{ ino, ...whole, access: 'write' }]);
  const seen = new Set<number>();
  await recorder.forEachCrash(async ({ fs: found }) => {
    seen.add(putAway(found));
    if (found.layouts.granted(client).get(ino) !== 'write') expect(putAway(found)).toBe(40);
    expect((await readAll(found.vfs, ino)).equals(content)).toBe(true);
  });
  expect(seen.size, 'durable in several groups').toBeGreaterThan(2);
  await fs.close();
});
