/** Data moves on the device while everything goes on: what files hold and who shares what stays the same. */
import { truncate } from 'node:fs/promises';
import { describe, expect } from 'vitest';
import type { BarDevice } from '../../fs/bar/device.ts';
import type { Filesystem, JobRequest } from '../../fs/engine/filesystem.ts';
import type { JobStatus } from '../../fs/engine/relocation/job.ts';
import type { MappedExtent } from '../../fs/vfs.ts';
import { Lab, n, readAll, root, withHandle, writeFile } from '../support/filesystem.ts';
import { DyingDevice } from './dying-device.ts';
import { FakeLeases } from './fake-leases.ts';
import { bs, clientRecord, makeFile, pattern, test } from './fixture.ts';

/** Runs a job to its end. */
async function finished(fs: Filesystem, request: JobRequest): Promise<JobStatus> {
  const id = fs.startJob(request);
  for (;;) {
    const job = fs.job();
    if (job?.id !== id) throw new Error(`job ${id} is not to be found`);
    if (job.state !== 'running') return job;
    await new Promise(setImmediate);
  }
}

async function done(fs: Filesystem, request: JobRequest): Promise<JobStatus> {
  const job = await finished(fs, request);
  expect(job.error).toBeUndefined();
  expect(job.state).toBe('done');
  return job;
}

/** Two files written block by block in turn, so that neither lies together. */
async function interleaved(lab: Lab, blocks: number): Promise<readonly [a: number, b: number]> {
  const inos = [await makeFile(lab.vfs, 'a'), await makeFile(lab.vfs, 'b')] as const;
  const contents = [pattern(blocks * bs, 1), pattern(blocks * bs, 2)] as const;
  for (let block = 0; block < blocks; block++) {
    for (const [i, ino] of inos.entries()) {
      const data = contents[i === 0 ? 0 : 1].subarray(block * bs, (block + 1) * bs);
      await withHandle(lab.vfs, ino, 2, (handle) => lab.vfs.write(handle, block * bs, data, root));
    }
  }
  return inos;
}

async function expectContent(lab: Lab, ino: number, content: Buffer): Promise<void> {
  expect((await readAll(lab.vfs, ino)).equals(content), `content of inode ${ino}`).toBe(true);
}

async function places(lab: Lab, ino: number): Promise<number[]> {
  return (await lab.fs.map(ino)).map(({ storageOffset }) => storageOffset);
}

/** Writes the files a piece at a time, in turn, and answers how many pieces each has before they are closed. */
async function grow(lab: Lab, files: number, size: number, piece: number): Promise<readonly number[]> {
  const before = (await lab.vfs.statfs()).blocksFree;
  const contents = Array.from({ length: files }, (_, i) => pattern(size, i));
  const opened = [];
  for (const [i, content] of contents.entries()) {
    const made = await lab.vfs.create(lab.vfs.rootIno, n(`g${i}`), 0o644, 2, root);
    opened.push({ ...made, content });
  }
  for (let at = 0; at < size; at += piece) {
    for (const { handle, content } of opened) {
      expect(await lab.vfs.write(handle, at, content.subarray(at, at + piece), root)).toBe(piece);
    }
  }
  const { blocksFree } = await lab.vfs.statfs();
  expect(before - blocksFree, 'what is kept counts as free').toBe((files * size) / bs);
  const pieces: number[] = [];
  for (const { attr } of opened) pieces.push((await lab.fs.map(attr.ino)).length);
  for (const { attr, content } of opened) await expectContent(lab, attr.ino, content);
  for (const { handle } of opened) await lab.vfs.release(handle);
  return pieces;
}

/** The filesystem as it would be found after a kill at this moment, on a device that is going to lose its power. */
async function onDyingDevice(lab: Lab): Promise<[Lab, DyingDevice]> {
  const devices: DyingDevice[] = [];
  const wrap = (real: BarDevice): BarDevice => {
    const device = new DyingDevice(real);
    devices.push(device);
    return device;
  };
  const crash = await lab.afterCrash({ device: wrap });
  const [device] = devices;
  if (device === undefined) throw new Error('the device was not wrapped');
  return [crash, device];
}

/** Bytes of files that lie in a range of the device. */
async function bytesWithin(lab: Lab, inos: readonly number[], offset: number, length: number): Promise<number> {
  const extents: MappedExtent[] = [];
  for (const ino of inos) extents.push(...(await lab.fs.map(ino)));
  return extents
    .map((e) => Math.min(offset + length, e.storageOffset + e.length) - Math.max(offset, e.storageOffset))
    .reduce((sum, bytes) => sum + Math.max(0, bytes), 0);
}

describe('defragmentation', () => {
  test('brings the blocks of a file together', async ({ lab }) => {
    const [a, b] = await interleaved(lab, 20);
    expect((await lab.fs.map(a)).length).toBeGreaterThan(10);
    const { moved } = await done(lab.fs, { kind: 'defragment', ino: a });
    expect(moved).toBe(20 * bs);
    expect(await lab.fs.map(a)).toHaveLength(1);
    await expectContent(lab, a, pattern(20 * bs, 1));
    await expectContent(lab, b, pattern(20 * bs, 2));
    await lab.remount();
    expect(await lab.fs.map(a)).toHaveLength(1);
    await expectContent(lab, a, pattern(20 * bs, 1));
  });

  test('of all files leaves each in one piece, and a second time moves nothing', async ({ lab }) => {
    const inos = await interleaved(lab, 50);
    await done(lab.fs, { kind: 'defragment', ino: undefined });
    for (const [i, ino] of inos.entries()) {
      expect(await lab.fs.map(ino)).toHaveLength(1);
      await expectContent(lab, ino, pattern(50 * bs, i + 1));
    }
    expect(await lab.fs.fragmentation()).toMatchObject({ files: 2, fragmentedFiles: 0, extents: 2, idealExtents: 2 });
    expect((await done(lab.fs, { kind: 'defragment', ino: undefined })).moved).toBe(0);
  });

  test('keeps holes, unwritten blocks and times', async ({ lab }) => {
    const [a] = await interleaved(lab, 8);
    await withHandle(lab.vfs, a, 2, async (handle) => {
      await lab.vfs.fallocate(handle, 'punch', 2 * bs, 2 * bs, root);
      await lab.vfs.fallocate(handle, 'allocate', 8 * bs, 4 * bs, root);
    });
    const before = await lab.vfs.getattr(a, root);
    await done(lab.fs, { kind: 'defragment', ino: a });
    expect(await lab.vfs.getattr(a, root)).toEqual(before);
    const content = Buffer.concat([pattern(8 * bs, 1).fill(0, 2 * bs, 4 * bs), Buffer.alloc(4 * bs)]);
    await expectContent(lab, a, content);
    const extents = await lab.fs.map(a);
    expect(extents.map(({ offset, length, unwritten }) => [offset / bs, length / bs, unwritten])).toEqual([
      [0, 2, false],
      [4, 4, false],
      [8, 4, true],
    ]);
  });

  test('moves shared blocks for all files that share them', async ({ lab }) => {
    const [a] = await interleaved(lab, 10);
    const { ino: clone } = await lab.fs.cloneFile(a, lab.vfs.rootIno, n('clone'), root);
    const used = lab.fs.status().blocks.file;
    await done(lab.fs, { kind: 'defragment', ino: clone });
    expect(await lab.fs.map(clone)).toHaveLength(1);
    expect(await places(lab, a)).toEqual(await places(lab, clone));
    expect(lab.fs.status().blocks).toMatchObject({ file: used, shared: 10 });
    await expectContent(lab, a, pattern(10 * bs, 1));
    await expectContent(lab, clone, pattern(10 * bs, 1));
    // Still copy-on-write.
    await withHandle(lab.vfs, clone, 2, (handle) => lab.vfs.write(handle, 0, Buffer.alloc(bs, 7), root));
    await expectContent(lab, a, pattern(10 * bs, 1));
  });

  test('of all files does not scatter one for the sake of another', async ({ lab }) => {
    const whole = await writeFile(lab.vfs, 'whole', pattern(10 * bs, 1));
    const { ino: clone } = await lab.fs.cloneFile(whole, lab.vfs.rootIno, n('clone'), root);
    await withHandle(lab.vfs, clone, 2, (handle) => lab.vfs.write(handle, 5 * bs, Buffer.alloc(bs, 7), root));
    await done(lab.fs, { kind: 'defragment', ino: undefined });
    const blocks = (await lab.fs.map(whole)).map(({ storageOffset, length }) => [storageOffset, length] as const);
    expect(blocks.every(([at], i) => i === 0 || at === (blocks[i - 1]?.[0] ?? 0) + (blocks[i - 1]?.[1] ?? 0))).toBe(
      true,
    );
  });

  test('puts a large file where it can be mapped by huge pages', async ({ lab }) => {
    const size = 3 << 20;
    await writeFile(lab.vfs, 'first', pattern(bs));
    const large = await makeFile(lab.vfs, 'large');
    for (let at = 0; at < size; at += 1 << 18) {
      await withHandle(lab.vfs, large, 2, (handle) => lab.vfs.write(handle, at, pattern(1 << 18, at >> 18), root));
      await writeFile(lab.vfs, `between-${at}`, pattern(bs));
    }
    await done(lab.fs, { kind: 'defragment', ino: large });
    const extents = await lab.fs.map(large);
    expect(extents).toHaveLength(1);
    expect((extents[0]?.storageOffset ?? 1) % (2 << 20)).toBe(0);
  });
});

describe('evacuation', () => {
  test('empties a range, shared blocks too, and gives it back', async ({ lab }) => {
    const [a, b] = await interleaved(lab, 100);
    const { ino: clone } = await lab.fs.cloneFile(a, lab.vfs.rootIno, n('clone'), root);
    await lab.vfs.syncfs();
    const before = lab.fs.status().blocks;
    const [offset, length] = [0, 50 * bs];
    expect(await bytesWithin(lab, [a, b, clone], offset, length)).toBeGreaterThan(0);
    await done(lab.fs, { kind: 'evacuate', offset, length, retire: false });
    expect(await bytesWithin(lab, [a, b, clone], offset, length)).toBe(0);
    expect(lab.fs.status().blocks).toEqual(before);
    expect(await places(lab, a)).toEqual(await places(lab, clone));
    for (const ino of [a, clone]) await expectContent(lab, ino, pattern(100 * bs, 1));
    await expectContent(lab, b, pattern(100 * bs, 2));
  });

  test('retires a range for good', async ({ lab }) => {
    const [a, b] = await interleaved(lab, 50);
    const [offset, length] = [10 * bs, 20 * bs];
    const { free } = lab.fs.status().blocks;
    await done(lab.fs, { kind: 'evacuate', offset, length, retire: true });
    await done(lab.fs, { kind: 'evacuate', offset: 20 * bs, length, retire: true });
    expect(lab.fs.status().blocks).toMatchObject({ bad: 30, free: free - 30 });
    await lab.remount();
    expect(lab.fs.status().blocks).toMatchObject({ bad: 30, free: free - 30 });
    const rest = await writeFile(lab.vfs, 'rest', pattern((free - 30) * bs, 3));
    expect(await bytesWithin(lab, [a, b, rest], offset, 30 * bs)).toBe(0);
    await expectContent(lab, a, pattern(50 * bs, 1));
  });

  test('without room it fails, and what moved stays whole', async ({ lab }) => {
    const fill = await makeFile(lab.vfs, 'fill');
    const { free } = lab.fs.status().blocks;
    const content = pattern((free - 10) * bs, 3);
    await withHandle(lab.vfs, fill, 2, (handle) => lab.vfs.write(handle, 0, content, root));
    const job = await finished(lab.fs, { kind: 'evacuate', offset: 0, length: 100 * bs, retire: false });
    expect(job).toMatchObject({
      state: 'failed',
      error: {
        code: 'ENOSPC',
        detail: expect.stringMatching(/^\d+ bytes of files are left in bytes \d+\+\d+: 0 bytes are free .* missing$/),
      },
    });
    expect(lab.fs.status().blocks).toMatchObject({ withheld: 0 });
    await expectContent(lab, fill, content);
  });

  test('refuses what is no part of the filesystem', ({ lab }) => {
    const evacuate = (offset: number, length: number) => () =>
      lab.fs.startJob({ kind: 'evacuate', offset, length, retire: false });
    expect(evacuate(0, bs)).toThrow(/superblock/);
    expect(evacuate(bs, 0)).toThrow(/EINVAL/);
    expect(evacuate(0, 17 << 20)).toThrow(/EINVAL/);
  });
});

describe('another size', () => {
  const image = 16 << 20;

  test('larger: what the device grew by can be used', async ({ lab }) => {
    const a = await writeFile(lab.vfs, 'a', pattern(100 * bs, 1));
    const before = await lab.vfs.statfs();
    await truncate(lab.image, 2 * image + 100);
    await done(lab.fs, { kind: 'resize', size: undefined });
    const grown = (image / bs) * 2 - before.blocks - 2;
    expect(await lab.vfs.statfs()).toMatchObject({
      blocks: before.blocks + grown,
      blocksFree: before.blocksFree + grown,
    });
    const b = await writeFile(lab.vfs, 'b', pattern(image + (image >> 1), 2));
    await lab.remount();
    expect(lab.fs.status().blocks.total).toBe((2 * image) / bs);
    await expectContent(lab, a, pattern(100 * bs, 1));
    await expectContent(lab, b, pattern(image + (image >> 1), 2));
  });

  test('smaller: what lay past the end was moved, and the image can be cut', async ({ lab }) => {
    const first = await writeFile(lab.vfs, 'first', pattern(8 << 20, 1));
    const second = await writeFile(lab.vfs, 'second', pattern(4 << 20, 2));
    const { ino: clone } = await lab.fs.cloneFile(second, lab.vfs.rootIno, n('clone'), root);
    await lab.vfs.unlink(lab.vfs.rootIno, n('first'), root);
    await done(lab.fs, { kind: 'resize', size: image / 2 });
    expect(first).toBeGreaterThan(0);
    expect(await lab.vfs.statfs()).toMatchObject({ blocks: image / 2 / bs - 2 });
    await truncate(lab.image, image / 2);
    await lab.remount();
    for (const ino of [second, clone]) await expectContent(lab, ino, pattern(4 << 20, 2));
    expect(lab.fs.status().blocks).toMatchObject({ total: image / 2 / bs, shared: (4 << 20) / bs });
  });

  test('what does not fit, or is not there, is refused, and nothing changes', async ({ lab }) => {
    await writeFile(lab.vfs, 'a', pattern(10 << 20, 1));
    const before = lab.fs.status().blocks;
    const errors = [
      [8 << 20, 'ENOSPC'],
      [2 * image, 'EINVAL'],
      [bs, 'EINVAL'],
    ] as const;
    for (const [size, code] of errors) {
      expect(await finished(lab.fs, { kind: 'resize', size })).toMatchObject({ state: 'failed', error: { code } });
    }
    expect(lab.fs.status().blocks).toEqual(before);
  });

  test('bad memory past the end is bad again when the filesystem grows over it', async ({ lab }) => {
    await done(lab.fs, { kind: 'evacuate', offset: 12 << 20, length: 16 * bs, retire: true });
    await done(lab.fs, { kind: 'resize', size: 8 << 20 });
    expect(lab.fs.status().blocks.bad).toBe(0);
    await lab.remount();
    await done(lab.fs, { kind: 'resize', size: undefined });
    expect(lab.fs.status().blocks.bad).toBe(16);
    await lab.remount();
    expect(lab.fs.status().blocks).toMatchObject({ bad: 16, total: image / bs });
  });

  for (const to of [8 << 20, 32 << 20, 24 << 20]) {
    test(`to ${to >> 20} MiB: whichever write of a superblock is the last, torn or whole, a mount finds a size`, async () => {
      const lab = await Lab.create(image);
      try {
        await truncate(lab.image, 32 << 20);
        const ino = await writeFile(lab.vfs, 'a', pattern(4 << 20, 1));
        await done(lab.fs, { kind: 'evacuate', offset: 0, length: 4 << 20, retire: false }); // towards the end
        await lab.unmount();
        for (let writes = 0; ; writes++) {
          for (const torn of [false, true]) {
            const [crash, device] = await onDyingDevice(lab);
            try {
              device.superblocksLeft = writes;
              device.tearsTheNext = torn;
              const job = await finished(crash.fs, { kind: 'resize', size: to });
              await crash.unmount().catch(() => undefined);
              await crash.mount();
              expect([image / bs, to / bs]).toContain(crash.fs.status().blocks.total);
              await expectContent(crash, ino, pattern(4 << 20, 1));
              expect(await crash.problems()).toEqual([]);
              if (job.state === 'done') return;
            } finally {
              await crash.remove();
            }
          }
        }
      } finally {
        await lab.remove();
      }
    });
  }
});

describe('clients', () => {
  test('layouts over what moves are recalled, for reading too, and of every file that shares it', async () => {
    const leases = new FakeLeases();
    const lab = await Lab.create(16 << 20, leases);
    try {
      const [a] = await interleaved(lab, 10);
      const { ino: clone } = await lab.fs.cloneFile(a, lab.vfs.rootIno, n('clone'), root);
      const held = [leases.hold(a, 0, 10 * bs, 7, 'read'), leases.hold(clone, 0, 10 * bs, 8, 'read')];
      const before = await places(lab, a);
      const job = finished(lab.fs, { kind: 'defragment', ino: a });
      for (const each of held) {
        while (leases.recalled.length === 0) await new Promise(setImmediate);
        expect(await places(lab, a), 'nothing moves while a client may look').toEqual(before);
        leases.recalled.length = 0;
        leases.giveBack(each);
      }
      expect(await job).toMatchObject({ state: 'done' });
      expect(await lab.fs.map(a)).toHaveLength(1);
      expect(leases.open).toBe(0);
      expect(await lab.problems()).toEqual([]);
    } finally {
      await lab.remove();
    }
  });

  test('blocks that a fenced client may reach cannot be given up; the job says who it is', async ({ lab }) => {
    const ino = await writeFile(lab.vfs, 'f', pattern(10 * bs));
    const { layouts } = lab.fs;
    await lab.fs.putClient(clientRecord(3));
    await layouts.mapForWrite(ino, { offset: 0, length: 10 * bs }, 3);
    await layouts.quarantine(3, [{ ino, offset: 0, length: 10 * bs, access: 'write' }]);
    const all = { kind: 'evacuate', offset: 0, length: 100 * bs, retire: false } as const;
    const job = await finished(lab.fs, all);
    expect(job).toMatchObject({ state: 'failed', error: { code: 'EBUSY' } });
    expect(job.error?.detail).toContain('iopmemfs client evict 3');
    await layouts.releaseQuarantine(3);
    await done(lab.fs, all);
  });
});

describe('jobs', () => {
  test('run one at a time, and can be cancelled', async ({ lab }) => {
    const inos = await interleaved(lab, 200);
    const id = lab.fs.startJob({ kind: 'defragment', ino: undefined });
    expect(() => lab.fs.startJob({ kind: 'defragment', ino: undefined })).toThrow(/EBUSY/);
    lab.fs.cancelJob(id);
    while (lab.fs.job()?.state === 'running') await new Promise(setImmediate);
    expect(lab.fs.job()?.state).toBe('cancelled');
    expect(lab.fs.status().blocks.withheld).toBe(0);
    for (const [i, ino] of inos.entries()) await expectContent(lab, ino, pattern(200 * bs, i + 1));
    expect(() => lab.fs.cancelJob(id)).toThrow(/ESRCH/);
  });

  test('end with the filesystem', async ({ lab }) => {
    const inos = await interleaved(lab, 200);
    lab.fs.startJob({ kind: 'defragment', ino: undefined });
    await lab.remount();
    for (const [i, ino] of inos.entries()) await expectContent(lab, ino, pattern(200 * bs, i + 1));
  });
});

describe('space kept for files that grow', () => {
  test('files written at the same time in small pieces have few extents', async ({ lab }) => {
    for (const pieces of await grow(lab, 4, 1 << 20, bs)) expect(pieces).toBeLessThanOrEqual(8);
    expect((await lab.fs.fragmentation()).freeExtents, 'given back at close').toBeLessThanOrEqual(24);
  });

  test('what is kept goes to whoever needs it: a device is full when its last block is', async ({ lab }) => {
    const { attr, handle } = await lab.vfs.create(lab.vfs.rootIno, n('open'), 0o644, 2, root);
    for (let at = 0; at < 2 << 20; at += 1 << 18) await lab.vfs.write(handle, at, pattern(1 << 18, 1), root);
    const { free } = lab.fs.status().blocks;
    const rest = await writeFile(lab.vfs, 'rest', pattern(free * bs, 2));
    expect(lab.fs.status().blocks.free).toBe(0);
    await expectContent(lab, rest, pattern(free * bs, 2));
    await expect(async () => lab.vfs.write(handle, 2 << 20, pattern(bs), root)).rejects.toThrow(/ENOSPC/);
    await lab.vfs.unlink(lab.vfs.rootIno, n('rest'), root);
    expect(await lab.vfs.write(handle, 2 << 20, pattern(bs), root)).toBe(bs);
    expect((await lab.vfs.getattr(attr.ino, root)).size).toBe((2 << 20) + bs);
    await lab.vfs.release(handle);
  });

  test('what a file writes past its first 2 MiB can be mapped by huge pages', async () => {
    const lab = await Lab.create(64 << 20);
    try {
      await writeFile(lab.vfs, 'first', pattern(3 * bs));
      const [a, b] = await grow(lab, 2, 10 << 20, 1 << 17);
      expect(Math.max(a ?? 0, b ?? 0)).toBeLessThanOrEqual(10);
      const { hugePageBytes, hugeMappableBytes } = await lab.fs.fragmentation();
      expect(hugePageBytes).toBe(20 << 20);
      expect(hugeMappableBytes).toBeGreaterThanOrEqual(16 << 20);
      const { attr, handle } = await lab.vfs.create(lab.vfs.rootIno, n('reserved'), 0o644, 2, root);
      await lab.vfs.fallocate(handle, 'allocate', 0, 8 << 20, root);
      await lab.vfs.release(handle);
      expect((await lab.fs.map(attr.ino)).map(({ storageOffset }) => storageOffset % (2 << 20))).toEqual([0]);
      expect(await lab.problems()).toEqual([]);
    } finally {
      await lab.remove();
    }
  });
});
