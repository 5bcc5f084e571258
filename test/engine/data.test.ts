/** Bytes of files: holes, ends, preallocation, short of space. */
import { constants } from 'node:fs';
import { describe, expect, vi } from 'vitest';
import { openDevice } from '../../fs/bar/open.ts';
import { openFilesystem } from '../../fs/engine/engine.ts';
import type { Filesystem } from '../../fs/engine/filesystem.ts';
import { limits } from '../../fs/limits.ts';
import { openLevelStore } from '../../fs/meta/level-store.ts';
import type { FallocateMode, Vfs } from '../../fs/vfs.ts';
import { errnoOfCall, Lab, n, readAll, readRange, root, withHandle, writeFile } from '../support/filesystem.ts';
import { at, bs, makeDir, makeFile, pattern, test } from './fixture.ts';

const zeros = (length: number) => Buffer.alloc(length);

function writeAt(vfs: Vfs, ino: number, offset: number, data: Uint8Array): Promise<number> {
  return withHandle(vfs, ino, 2, (handle) => vfs.write(handle, offset, data, root));
}

function fallocate(vfs: Vfs, ino: number, mode: FallocateMode, offset: number, length: number): Promise<void> {
  return withHandle(vfs, ino, 2, (handle) => vfs.fallocate(handle, mode, offset, length, root));
}

function readAt(vfs: Vfs, ino: number, offset: number, length: number): Promise<Buffer> {
  return withHandle(vfs, ino, 0, (handle) => readRange(vfs, handle, offset, length));
}

/** A device of 32 blocks, two of them superblocks. */
const smallDevice = test.extend<{ small: Lab }>({
  // oxlint-disable-next-line eslint/no-empty-pattern -- vitest reads from the pattern which fixtures are needed
  small: async ({}, use) => {
    const lab = await Lab.create(32 * bs);
    try {
      await use(lab);
      expect(await lab.problems(), 'found by fsck').toEqual([]);
    } finally {
      await lab.remove();
    }
  },
});

describe('reading', () => {
  test('ends with the file, and answers nothing past it', async ({ vfs }) => {
    const content = pattern(10_000);
    const ino = await writeFile(vfs, 'f', content);
    expect((await readAt(vfs, ino, 9_990, 100)).equals(content.subarray(9_990))).toBe(true);
    expect((await readAt(vfs, ino, 10_000, 1)).length).toBe(0);
    expect((await readAt(vfs, ino, 1e12, 1)).length).toBe(0);
    expect((await readAt(vfs, ino, 0, 0)).length).toBe(0);
  });

  test('EISDIR, EINVAL for what holds no data', async ({ vfs }) => {
    const dir = await makeDir(vfs, 'd');
    const fifo = (await vfs.mknod(vfs.rootIno, n('fifo'), 0o010600, 0, root)).ino;
    expect(await errnoOfCall(() => readAt(vfs, dir, 0, 1))).toBe('EISDIR');
    expect(await errnoOfCall(() => readAt(vfs, fifo, 0, 1))).toBe('EINVAL');
    expect(await errnoOfCall(() => vfs.setattr(dir, { size: 0 }, root))).toBe('EISDIR');
    expect(await errnoOfCall(() => vfs.setattr(fifo, { size: 0 }, root))).toBe('EINVAL');
  });

  test('is in atime when the file changed since it was last read, not on every read (relatime)', async ({ vfs }) => {
    const ino = await writeFile(vfs, 'f', Buffer.from('x'));
    await readAt(vfs, ino, 0, 1);
    const first = await vfs.getattr(ino, root);
    expect(first.atime).not.toEqual(first.mtime);
    await readAt(vfs, ino, 0, 1);
    expect((await vfs.getattr(ino, root)).atime).toEqual(first.atime);
    expect((await vfs.getattr(ino, root)).change).toBe(first.change);
  });

  test('goes by whole words where the device takes nothing else', async ({ lab }) => {
    const content = pattern(9_001);
    const ino = await writeFile(lab.vfs, 'f', content);
    await lab.unmount();
    const device = await openDevice(lab.image, { writable: true, accessWidth: 8 });
    vi.spyOn(device, 'views').mockImplementation(() => expect.unreachable('a view has no access width'));
    const fs = await openFilesystem({ device, store: await openLevelStore(lab.meta, { create: false }) });
    expect((await readAt(fs.vfs, ino, 1, 8_999)).equals(content.subarray(1, 9_000))).toBe(true);
    await fs.vfs.setattr(ino, { size: 20_000 }, root);
    expect((await readAt(fs.vfs, ino, 9_000, 20_000)).subarray(1).equals(zeros(10_999))).toBe(true);
    await fs.close();
  });
});

describe('writing', () => {
  test('is in size, mtime, ctime and the change attribute', async ({ vfs }) => {
    const ino = await makeFile(vfs, 'f');
    const before = await vfs.getattr(ino, root);
    expect(await writeAt(vfs, ino, 0, pattern(5_000))).toBe(5_000);
    const after = await vfs.getattr(ino, root);
    expect(after).toMatchObject({ size: 5_000, blocks: 16 });
    expect(after.mtime).not.toEqual(before.mtime);
    expect(after.ctime).toEqual(after.mtime);
    expect(after.change).toBeGreaterThan(before.change);
  });

  test('of no bytes changes nothing, not even the size', async ({ vfs }) => {
    const ino = await makeFile(vfs, 'f');
    const before = await vfs.getattr(ino, root);
    expect(await writeAt(vfs, ino, 1_000_000, Buffer.alloc(0))).toBe(0);
    expect(await vfs.getattr(ino, root)).toEqual(before);
  });

  test('with O_APPEND goes to the end, wherever that is by then', async ({ vfs }) => {
    const ino = await makeFile(vfs, 'f');
    const a = await vfs.open(ino, 1 | constants.O_APPEND, root);
    const b = await vfs.open(ino, 1 | constants.O_APPEND, root);
    await vfs.write(a, 0, Buffer.from('one '), root);
    await vfs.write(b, 0, Buffer.from('two '), root);
    await vfs.write(a, 999, Buffer.from('three'), root);
    await vfs.release(a);
    await vfs.release(b);
    expect((await readAll(vfs, ino)).toString()).toBe('one two three');
  });

  test('in place leaves the blocks where they are', async ({ lab }) => {
    const ino = await writeFile(lab.vfs, 'f', pattern(5 * bs));
    const before = await lab.fs.map(ino);
    await writeAt(lab.vfs, ino, 100, pattern(3 * bs, 2));
    expect(await lab.fs.map(ino)).toEqual(before);
  });

  test('sequentially makes one extent', async ({ lab }) => {
    const ino = await makeFile(lab.vfs, 'f');
    await withHandle(lab.vfs, ino, 2, async (handle) => {
      for (let i = 0; i < 50; i++) await lab.vfs.write(handle, i * 5_000, pattern(5_000, i), root);
    });
    expect((await lab.fs.map(ino)).length).toBe(1);
  });

  test('EFBIG past the largest size; up to it the last byte can be written and read', async ({ lab }) => {
    const ino = await makeFile(lab.vfs, 'f');
    const last = limits.fileSizeMax - 1;
    expect(await errnoOfCall(() => writeAt(lab.vfs, ino, last, Buffer.from('xy')))).toBe('EFBIG');
    expect(await errnoOfCall(() => lab.vfs.setattr(ino, { size: last + 2 }, root))).toBe('EFBIG');
    expect(await errnoOfCall(() => fallocate(lab.vfs, ino, 'allocate', last, 2))).toBe('EFBIG');
    expect(await writeAt(lab.vfs, ino, last, Buffer.from('x'))).toBe(1);
    await lab.remount();
    expect(await lab.vfs.getattr(ino, root)).toMatchObject({ size: limits.fileSizeMax, blocks: 8 });
    expect((await readAt(lab.vfs, ino, last, 10)).toString()).toBe('x');
    expect(await withHandle(lab.vfs, ino, 0, (handle) => lab.vfs.seek(handle, 0, 'data', root))).toBe(last + 1 - bs);
    expect(await errnoOfCall(() => fallocate(lab.vfs, ino, 'insert', 0, bs))).toBe('EFBIG');
    const small = await writeFile(lab.vfs, 'small', pattern(bs));
    await fallocate(lab.vfs, small, 'allocate-keep-size', limits.fileSizeMax - bs, bs);
    expect(await errnoOfCall(() => fallocate(lab.vfs, small, 'insert', 0, bs)), 'blocks past the end').toBe('EFBIG');
  });
});

describe('holes', () => {
  test('read as zeros and take no space', async ({ vfs }) => {
    const ino = await makeFile(vfs, 'f');
    await writeAt(vfs, ino, 3 * bs + 10, Buffer.from('data'));
    expect(await vfs.getattr(ino, root)).toMatchObject({ size: 3 * bs + 14, blocks: 8 });
    expect((await readAll(vfs, ino)).equals(Buffer.concat([zeros(3 * bs + 10), Buffer.from('data')]))).toBe(true);
    await writeAt(vfs, ino, bs, pattern(bs));
    const whole = Buffer.concat([zeros(bs), pattern(bs), zeros(bs + 10), Buffer.from('data')]);
    expect((await readAll(vfs, ino)).equals(whole)).toBe(true);
  });

  test('of 100 GB cost as little as small ones', async ({ lab }) => {
    const ino = await makeFile(lab.vfs, 'f');
    const far = 100e9;
    await writeAt(lab.vfs, ino, far, Buffer.from('far'));
    await lab.remount();
    expect(await lab.vfs.getattr(ino, root)).toMatchObject({ size: far + 3, blocks: 8 });
    expect((await readAt(lab.vfs, ino, far - 5, 100)).equals(Buffer.from('\0\0\0\0\0far'))).toBe(true);
    expect((await readAt(lab.vfs, ino, 50e9, 3 << 20)).equals(zeros(3 << 20))).toBe(true);
    await lab.vfs.setattr(ino, { size: 0 }, root);
    expect((await lab.vfs.getattr(ino, root)).blocks).toBe(0);
  });
});

/** A file of 100 bytes whose last block has 0xee behind them, as a crash or a peer that never committed leaves it. */
async function dirtyTail(lab: Lab, size = 100): Promise<number> {
  const ino = await writeFile(lab.vfs, 'f', pattern(size));
  const [extent] = await lab.fs.map(ino);
  lab.fs.device.write((extent?.storageOffset ?? 0) + size, Buffer.alloc(bs - size, 0xee));
  return ino;
}

const expected = (size: number) => Buffer.concat([pattern(100), zeros(size - 100)]);

describe('what lies past the end of the file in its last block is never seen', () => {
  test('when truncate makes it longer', async ({ lab }) => {
    const ino = await dirtyTail(lab);
    await lab.vfs.setattr(ino, { size: 200 }, root);
    expect((await readAll(lab.vfs, ino)).equals(expected(200))).toBe(true);
    await lab.vfs.setattr(ino, { size: 3 * bs }, root);
    expect((await readAll(lab.vfs, ino)).equals(expected(3 * bs))).toBe(true);
  });

  test('when a write behind it does', async ({ lab }) => {
    for (const offset of [150, bs - 1, bs, 5 * bs + 7]) {
      const ino = await dirtyTail(lab);
      await writeAt(lab.vfs, ino, offset, Buffer.from('x'));
      const whole = Buffer.concat([expected(offset), Buffer.from('x')]);
      expect((await readAll(lab.vfs, ino)).equals(whole), `at ${offset}`).toBe(true);
      await lab.vfs.unlink(lab.vfs.rootIno, n('f'), root);
    }
  });

  test('when fallocate does', async ({ lab }) => {
    for (const mode of ['allocate', 'zero'] as const) {
      for (const offset of [50, 1_000, 2 * bs]) {
        const ino = await dirtyTail(lab);
        await fallocate(lab.vfs, ino, mode, offset, bs);
        const whole = expected(offset + bs);
        if (mode === 'zero') whole.fill(0, offset);
        expect((await readAll(lab.vfs, ino)).equals(whole), `${mode} at ${offset}`).toBe(true);
        await lab.vfs.unlink(lab.vfs.rootIno, n('f'), root);
      }
    }
  });

  test('when copy_file_range does, by sharing or by copying', async ({ lab }) => {
    const source = await writeFile(lab.vfs, 'source', pattern(2 * bs, 3));
    for (const offset of [2 * bs, 1_000]) {
      const ino = await dirtyTail(lab);
      await withHandle(lab.vfs, source, 0, (from) =>
        withHandle(lab.vfs, ino, 2, (to) => lab.vfs.copyRange(from, 0, to, offset, bs, root)),
      );
      const whole = Buffer.concat([expected(offset), pattern(2 * bs, 3).subarray(0, bs)]);
      expect((await readAll(lab.vfs, ino)).equals(whole), `at ${offset}`).toBe(true);
      await lab.vfs.unlink(lab.vfs.rootIno, n('f'), root);
    }
  });

  test('in a clone, or in the target of a copy that ends in the same block', async ({ lab }) => {
    const ino = await dirtyTail(lab);
    const clone = await lab.fs.cloneFile(ino, lab.vfs.rootIno, n('clone'), root);
    const copy = await makeFile(lab.vfs, 'copy');
    const [extent] = await lab.fs.map(ino);
    expect(extent?.shares).toBe(2);
    await withHandle(lab.vfs, ino, 0, (from) =>
      withHandle(lab.vfs, copy, 2, (to) => lab.vfs.copyRange(from, 0, to, 0, 100, root)),
    );
    for (const each of [ino, clone.ino, copy]) {
      await lab.vfs.setattr(each, { size: bs }, root);
      expect((await readAll(lab.vfs, each)).equals(expected(bs))).toBe(true);
    }
  });

  test('in the target of a copy, whose source was never cloned', async ({ lab }) => {
    const ino = await dirtyTail(lab);
    const copy = await makeFile(lab.vfs, 'copy');
    await withHandle(lab.vfs, ino, 0, (from) =>
      withHandle(lab.vfs, copy, 2, (to) => lab.vfs.copyRange(from, 0, to, 0, 100, root)),
    );
    await lab.vfs.setattr(copy, { size: bs }, root);
    expect((await readAll(lab.vfs, copy)).equals(expected(bs))).toBe(true);
  });

  test('when a peer writes behind it and commits', async ({ lab }) => {
    const ino = await dirtyTail(lab);
    await lab.remount();
    const [extent] = await lab.fs.layouts.mapForWrite(ino, { offset: 0, length: bs }, 7);
    lab.fs.device.write((extent?.storageOffset ?? 0) + 500, Buffer.from('peer'));
    const ranges = [{ offset: 0, length: bs }];
    await lab.fs.layouts.commitLayout(ino, { ranges, lastWriteOffset: 503, mtimeNs: undefined }, 7);
    const whole = Buffer.concat([expected(500), Buffer.from('peer')]);
    expect((await readAll(lab.vfs, ino)).equals(whole)).toBe(true);
  });

  test('but what a peer wrote there after its grant is not zeroed by its next one', async ({ lab }) => {
    const ino = await dirtyTail(lab);
    const [extent] = await lab.fs.layouts.mapForWrite(ino, { offset: 0, length: bs }, 7);
    lab.fs.device.write((extent?.storageOffset ?? 0) + 100, Buffer.from('to be committed'));
    await lab.fs.layouts.mapForWrite(ino, { offset: 0, length: 4 * bs }, 7);
    const ranges = [{ offset: 0, length: bs }];
    await lab.fs.layouts.commitLayout(ino, { ranges, lastWriteOffset: 114, mtimeNs: undefined }, 7);
    expect((await readAll(lab.vfs, ino)).subarray(100).toString()).toBe('to be committed');
    await lab.fs.layouts.releaseProvisional(ino, { offset: 0, length: 4 * bs }, 7);
  });

  test('when the file was made shorter before it was made longer', async ({ vfs }) => {
    const ino = await writeFile(vfs, 'f', pattern(3 * bs));
    await vfs.setattr(ino, { size: 100 }, root);
    await vfs.setattr(ino, { size: 3 * bs }, root);
    expect((await readAll(vfs, ino)).equals(expected(3 * bs))).toBe(true);
    expect((await vfs.getattr(ino, root)).blocks).toBe(8);
  });

  test('also when a clone had the block', async ({ lab }) => {
    const ino = await writeFile(lab.vfs, 'f', pattern(3 * bs));
    const clone = await lab.fs.cloneFile(ino, lab.vfs.rootIno, n('clone'), root);
    await lab.vfs.setattr(ino, { size: 100 }, root);
    await lab.fs.cloneFile(ino, lab.vfs.rootIno, n('clone2'), root);
    await lab.vfs.setattr(ino, { size: 3 * bs }, root);
    expect((await readAll(lab.vfs, ino)).equals(expected(3 * bs))).toBe(true);
    expect((await readAll(lab.vfs, clone.ino)).equals(pattern(3 * bs))).toBe(true);
  });
});

/** Free space full of 0xdd. */
async function dirtySpace(lab: Lab): Promise<void> {
  await writeFile(lab.vfs, 'dirt', Buffer.alloc(1 << 20, 0xdd));
  await lab.vfs.unlink(lab.vfs.rootIno, n('dirt'), root);
  await lab.vfs.syncfs();
}

describe('preallocated blocks', () => {
  test('read as zeros, whatever they held before', async ({ lab }) => {
    await dirtySpace(lab);
    const ino = await makeFile(lab.vfs, 'f');
    await fallocate(lab.vfs, ino, 'allocate', 0, 10 * bs);
    expect(await lab.vfs.getattr(ino, root)).toMatchObject({ size: 10 * bs, blocks: 80 });
    expect((await lab.fs.map(ino))[0]?.unwritten).toBe(true);
    expect((await readAll(lab.vfs, ino)).equals(zeros(10 * bs))).toBe(true);
    await lab.remount();
    expect((await readAll(lab.vfs, ino)).equals(zeros(10 * bs))).toBe(true);
  });

  test('are written a block at a time: the rest of the block becomes zeros', async ({ lab }) => {
    await dirtySpace(lab);
    const ino = await makeFile(lab.vfs, 'f');
    await fallocate(lab.vfs, ino, 'allocate', 0, 10 * bs);
    const blocks = await lab.fs.map(ino);
    await writeAt(lab.vfs, ino, 3 * bs + 100, pattern(bs));
    const whole = zeros(10 * bs);
    pattern(bs).copy(whole, 3 * bs + 100);
    expect((await readAll(lab.vfs, ino)).equals(whole)).toBe(true);
    const after = await lab.fs.map(ino);
    expect(after.map(({ offset, unwritten }) => [offset / bs, unwritten])).toEqual([
      [0, true],
      [3, false],
      [5, true],
    ]);
    expect(after[1]?.storageOffset).toBe((blocks[0]?.storageOffset ?? 0) + 3 * bs);
  });

  test('past the end do not change the size, and are there when it grows', async ({ lab }) => {
    await dirtySpace(lab);
    const ino = await writeFile(lab.vfs, 'f', pattern(100));
    await fallocate(lab.vfs, ino, 'allocate-keep-size', 0, 10 * bs);
    expect(await lab.vfs.getattr(ino, root)).toMatchObject({ size: 100, blocks: 80 });
    await lab.vfs.setattr(ino, { size: 10 * bs }, root);
    expect((await readAll(lab.vfs, ino)).equals(Buffer.concat([pattern(100), zeros(10 * bs - 100)]))).toBe(true);
    await lab.vfs.setattr(ino, { size: 100 }, root);
    expect((await lab.vfs.getattr(ino, root)).blocks).toBe(8);
  });

  test('past the end go when the file is truncated to the size that it has', async ({ vfs }) => {
    const ino = await writeFile(vfs, 'f', pattern(100));
    await fallocate(vfs, ino, 'allocate-keep-size', 0, 10 * bs);
    await vfs.setattr(ino, { size: 100 }, root);
    expect(await vfs.getattr(ino, root)).toMatchObject({ size: 100, blocks: 8 });
  });
});

describe('fallocate', () => {
  test('punch takes whole blocks out, zeroes the edges and leaves the size', async ({ vfs }) => {
    const ino = await writeFile(vfs, 'f', pattern(10 * bs));
    await fallocate(vfs, ino, 'punch', bs + 100, 3 * bs);
    const whole = pattern(10 * bs);
    whole.fill(0, bs + 100, 4 * bs + 100);
    expect((await readAll(vfs, ino)).equals(whole)).toBe(true);
    expect(await vfs.getattr(ino, root)).toMatchObject({ size: 10 * bs, blocks: 64 });
    await fallocate(vfs, ino, 'punch', 0, 1e9);
    expect(await vfs.getattr(ino, root)).toMatchObject({ size: 10 * bs, blocks: 0 });
  });

  test('punch within one block zeroes it there', async ({ vfs }) => {
    const ino = await writeFile(vfs, 'f', pattern(2 * bs));
    await fallocate(vfs, ino, 'punch', 10, 20);
    const whole = pattern(2 * bs);
    whole.fill(0, 10, 30);
    expect((await readAll(vfs, ino)).equals(whole)).toBe(true);
    expect((await vfs.getattr(ino, root)).blocks).toBe(16);
  });

  test('collapse takes a piece out, insert puts a hole in; both move blocks in the file only', async ({ lab }) => {
    const content = pattern(6 * bs + 10);
    const ino = await writeFile(lab.vfs, 'f', content);
    const [before] = await lab.fs.map(ino);
    await fallocate(lab.vfs, ino, 'collapse', bs, 2 * bs);
    expect(
      (await readAll(lab.vfs, ino)).equals(Buffer.concat([content.subarray(0, bs), content.subarray(3 * bs)])),
    ).toBe(true);
    expect((await lab.fs.map(ino))[1]?.storageOffset).toBe((before?.storageOffset ?? 0) + 3 * bs);
    await fallocate(lab.vfs, ino, 'insert', bs, 2 * bs);
    await lab.remount();
    const whole = Buffer.concat([content.subarray(0, bs), zeros(2 * bs), content.subarray(3 * bs)]);
    expect((await readAll(lab.vfs, ino)).equals(whole)).toBe(true);
  });

  test('EINVAL for collapse and insert of part blocks or at the end, and for no length', async ({ vfs }) => {
    const ino = await writeFile(vfs, 'f', pattern(4 * bs));
    for (const [mode, offset, length] of [
      ['collapse', 1, bs],
      ['collapse', 0, bs + 1],
      ['collapse', 2 * bs, 2 * bs],
      ['insert', 100, bs],
      ['insert', 0, 100],
      ['insert', 4 * bs, bs],
      ['allocate', 0, 0],
      ['punch', 0, 0],
    ] as const) {
      expect(await errnoOfCall(() => fallocate(vfs, ino, mode, offset, length)), `${mode} ${offset}`).toBe('EINVAL');
    }
    expect((await readAll(vfs, ino)).equals(pattern(4 * bs))).toBe(true);
  });

  test('zero-keep-size leaves the size, zero makes it longer', async ({ vfs }) => {
    const ino = await writeFile(vfs, 'f', pattern(bs + 10));
    await fallocate(vfs, ino, 'zero-keep-size', 10, 2 * bs);
    expect((await readAll(vfs, ino)).equals(Buffer.concat([pattern(10), zeros(bs)]))).toBe(true);
    expect((await vfs.getattr(ino, root)).blocks).toBe(24);
    await fallocate(vfs, ino, 'zero', 0, 2 * bs);
    expect((await readAll(vfs, ino)).equals(zeros(2 * bs))).toBe(true);
  });
});

describe('SEEK_DATA and SEEK_HOLE', () => {
  test('see written blocks as data; holes, preallocation and the end as holes', async ({ vfs }) => {
    const ino = await makeFile(vfs, 'f');
    await writeAt(vfs, ino, 2 * bs, pattern(bs));
    await fallocate(vfs, ino, 'allocate', 3 * bs, 2 * bs);
    await writeAt(vfs, ino, 5 * bs, pattern(bs));
    await writeAt(vfs, ino, 6 * bs, pattern(100));
    await vfs.setattr(ino, { size: 8 * bs }, root);
    await withHandle(vfs, ino, 0, async (handle) => {
      const seek = async (offset: number, whence: 'data' | 'hole') =>
        (await errnoOfCall(() => vfs.seek(handle, offset, whence, root))) ?? vfs.seek(handle, offset, whence, root);
      expect(await seek(0, 'data')).toBe(2 * bs);
      expect(await seek(2 * bs + 5, 'data')).toBe(2 * bs + 5);
      expect(await seek(3 * bs, 'data')).toBe(5 * bs);
      expect(await seek(7 * bs, 'data')).toBe('ENXIO');
      expect(await seek(0, 'hole')).toBe(0);
      expect(await seek(2 * bs, 'hole')).toBe(3 * bs);
      expect(await seek(3 * bs + 1, 'hole')).toBe(3 * bs + 1);
      expect(await seek(5 * bs, 'hole')).toBe(7 * bs);
      expect(await seek(8 * bs, 'hole')).toBe('ENXIO');
      expect(await seek(8 * bs, 'data')).toBe('ENXIO');
    });
  });

  test('the end of a file without holes is its hole', async ({ vfs }) => {
    const ino = await writeFile(vfs, 'f', pattern(bs + 10));
    await withHandle(vfs, ino, 0, async (handle) => {
      expect(await vfs.seek(handle, 5, 'hole', root)).toBe(bs + 10);
    });
  });
});

const free = (fs: Filesystem) => fs.status().blocks.free;

describe('short of space', () => {
  smallDevice('a write is cut where the room ends, and what it wrote is the file', async ({ small }) => {
    const ino = await makeFile(small.vfs, 'f');
    await writeFile(small.vfs, 'rest', pattern(20 * bs, 2));
    const data = pattern(60_000);
    expect(await writeAt(small.vfs, ino, 100, data)).toBe(10 * bs - 100);
    expect((await readAll(small.vfs, ino)).equals(Buffer.concat([zeros(100), data.subarray(0, 10 * bs - 100)]))).toBe(
      true,
    );
    expect(free(small.fs)).toBe(0);
    expect(await errnoOfCall(() => writeAt(small.vfs, ino, 10 * bs, data))).toBe('ENOSPC');
    expect((await small.vfs.getattr(ino, root)).size).toBe(10 * bs);
  });

  smallDevice('ENOSPC changes nothing, neither in the file nor in its attributes', async ({ small }) => {
    const ino = await writeFile(small.vfs, 'f', pattern(30 * bs));
    const [before, map] = [await small.vfs.getattr(ino, root), await small.fs.map(ino)];
    expect(await errnoOfCall(() => writeAt(small.vfs, ino, 30 * bs, Buffer.from('x')))).toBe('ENOSPC');
    expect(await errnoOfCall(() => fallocate(small.vfs, ino, 'allocate', 0, 31 * bs))).toBe('ENOSPC');
    expect(await errnoOfCall(() => fallocate(small.vfs, ino, 'zero', 0, 31 * bs))).toBe('ENOSPC');
    expect(await errnoOfCall(() => small.fs.layouts.mapForWrite(ino, { offset: 0, length: 31 * bs }, 7))).toBe(
      'ENOSPC',
    );
    expect(await small.vfs.getattr(ino, root)).toEqual(before);
    expect(await small.fs.map(ino)).toEqual(map);
  });

  smallDevice(
    'what is there can be overwritten, shortened and punched, also not at block borders',
    async ({ small }) => {
      const ino = await writeFile(small.vfs, 'f', pattern(30 * bs));
      expect(free(small.fs)).toBe(0);
      await writeAt(small.vfs, ino, 100, pattern(10 * bs, 2));
      await fallocate(small.vfs, ino, 'punch', 10, 5 * bs);
      await small.vfs.setattr(ino, { size: 20 * bs + 1 }, root);
      await fallocate(small.vfs, ino, 'zero', 15 * bs, bs + 10);
      const whole = pattern(30 * bs).subarray(0, 20 * bs + 1);
      pattern(10 * bs, 2).copy(whole, 100);
      whole.fill(0, 10, 10 + 5 * bs);
      whole.fill(0, 15 * bs, 16 * bs + 10);
      expect((await readAll(small.vfs, ino)).equals(whole)).toBe(true);
    },
  );

  smallDevice('zeroing shared blocks fails before it has preallocated the holes beside them', async ({ small }) => {
    const ino = await writeFile(small.vfs, 'f', pattern(10 * bs));
    await small.fs.cloneFile(ino, small.vfs.rootIno, n('clone'), root);
    await small.vfs.setattr(ino, { size: 20 * bs }, root);
    await writeFile(small.vfs, 'rest', pattern(8 * bs));
    const [before, map] = [await small.vfs.getattr(ino, root), await small.fs.map(ino)];
    // 12 blocks are free; 10 copies and 10 holes are needed.
    expect(await errnoOfCall(() => fallocate(small.vfs, ino, 'zero', 0, 20 * bs))).toBe('ENOSPC');
    expect(await small.vfs.getattr(ino, root)).toEqual(before);
    expect(await small.fs.map(ino)).toEqual(map);
    expect(free(small.fs)).toBe(12);
  });

  smallDevice('a grant for writing fails before it has copied what is shared', async ({ small }) => {
    const ino = await writeFile(small.vfs, 'f', pattern(10 * bs));
    await small.fs.cloneFile(ino, small.vfs.rootIno, n('clone'), root);
    await writeFile(small.vfs, 'rest', pattern(8 * bs));
    const map = await small.fs.map(ino);
    const range = { offset: 0, length: 20 * bs };
    expect(await errnoOfCall(() => small.fs.layouts.mapForWrite(ino, range, 7))).toBe('ENOSPC');
    expect(await small.fs.map(ino)).toEqual(map);
    expect(free(small.fs)).toBe(12);
  });

  smallDevice('punching into shared blocks at both edges needs room for both copies first', async ({ small }) => {
    const ino = await writeFile(small.vfs, 'f', pattern(10 * bs));
    await small.fs.cloneFile(ino, small.vfs.rootIno, n('clone'), root);
    await writeFile(small.vfs, 'rest', pattern(19 * bs));
    const map = await small.fs.map(ino);
    expect(free(small.fs)).toBe(1);
    expect(await errnoOfCall(() => fallocate(small.vfs, ino, 'punch', 100, 3 * bs))).toBe('ENOSPC');
    expect(await small.fs.map(ino)).toEqual(map);
    expect((await readAll(small.vfs, ino)).equals(pattern(10 * bs))).toBe(true);
  });

  smallDevice('space given up is waited for: a write right after unlink finds it', async ({ small }) => {
    await writeFile(small.vfs, 'a', pattern(30 * bs));
    await small.vfs.unlink(small.vfs.rootIno, n('a'), root);
    expect(free(small.fs)).toBe(0);
    const b = await writeFile(small.vfs, 'b', pattern(30 * bs, 2));
    expect((await readAll(small.vfs, b)).equals(pattern(30 * bs, 2))).toBe(true);
  });

  smallDevice('so is the right to write in place where a sharer went', async ({ small }) => {
    const ino = await writeFile(small.vfs, 'a', pattern(30 * bs));
    await small.fs.cloneFile(ino, small.vfs.rootIno, n('b'), root);
    await small.vfs.syncfs();
    await small.vfs.unlink(small.vfs.rootIno, n('b'), root);
    expect(await writeAt(small.vfs, ino, 0, pattern(30 * bs, 2))).toBe(30 * bs);
    expect((await readAll(small.vfs, ino)).equals(pattern(30 * bs, 2))).toBe(true);
  });

  smallDevice('all of it comes back with unlink and sync, however it was cut up', async ({ small }) => {
    const before = free(small.fs);
    for (let i = 0; i < 30; i++) await writeFile(small.vfs, `f${i}`, pattern(10, i));
    for (let i = 0; i < 30; i += 2) await small.vfs.unlink(small.vfs.rootIno, n(`f${i}`), root);
    const ino = await writeFile(small.vfs, 'pieces', pattern(15 * bs));
    expect((await readAll(small.vfs, ino)).equals(pattern(15 * bs))).toBe(true);
    expect((await small.fs.map(ino)).length).toBeGreaterThan(5);
    for (let i = 1; i < 30; i += 2) await small.vfs.unlink(small.vfs.rootIno, n(`f${i}`), root);
    await small.vfs.unlink(small.vfs.rootIno, n('pieces'), root);
    await small.vfs.syncfs();
    expect(free(small.fs)).toBe(before);
    expect((await small.vfs.statfs()).blocksFree).toBe(before);
  });

  smallDevice('statfs counts what is being freed as free', async ({ small }) => {
    const before = (await small.vfs.statfs()).blocksFree;
    await writeFile(small.vfs, 'a', pattern(10 * bs));
    expect((await small.vfs.statfs()).blocksFree).toBe(before - 10);
    await small.vfs.unlink(small.vfs.rootIno, n('a'), root);
    expect((await small.vfs.statfs()).blocksFree).toBe(before);
  });
});

test('large files begin on a huge page', async ({ lab }) => {
  await writeFile(lab.vfs, 'odd', pattern(100));
  const ino = await writeFile(lab.vfs, 'f', Buffer.alloc(limits.hugePage, 1));
  expect(((await lab.fs.map(ino))[0]?.storageOffset ?? 1) % limits.hugePage).toBe(0);
  expect((await at(lab.vfs, 'f')).blocks).toBe(limits.hugePage / 512);
});
