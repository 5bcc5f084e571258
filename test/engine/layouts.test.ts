/** What a grant shows and what becomes of its blocks: RFC 5663 §2.3, RFC 8881 §18.42 to §18.44. */
import { describe, expect } from 'vitest';
import { extentState } from '../../fs/engine/leases.ts';
import { FsError } from '../../fs/errors.ts';
import { errnoOfCall, Lab, n, readAll, root, withHandle, writeFile } from '../support/filesystem.ts';
import { bs, makeDir, makeFile, pattern, test } from './fixture.ts';
import {
  afterCrash,
  client,
  commit,
  dma,
  everyBlock,
  giveBack,
  grantRead,
  grantWrite,
  other,
  segment,
  shape,
} from './layout-steps.ts';

const { readWrite, read, invalid, none } = extentState;
/** A file of data, a hole, preallocated blocks and data: 2 blocks each. */
async function mixed(lab: Lab): Promise<number> {
  const ino = await writeFile(lab.vfs, 'f', pattern(2 * bs));
  await withHandle(lab.vfs, ino, 2, async (handle) => {
    await lab.vfs.fallocate(handle, 'allocate', 4 * bs, 2 * bs, root);
    await lab.vfs.write(handle, 6 * bs, pattern(2 * bs, 2), root);
  });
  return ino;
}

describe('a grant for reading', () => {
  test('shows READ_DATA where there is data and NONE_DATA elsewhere, without gaps', async ({ lab }) => {
    const ino = await mixed(lab);
    const extents = await grantRead(lab, ino, 0, 8);
    expect(shape(extents)).toEqual([
      [read, 0, 2],
      [none, 2, 2],
      [none, 4, 2],
      [read, 6, 2],
    ]);
    const [first] = await lab.fs.map(ino);
    expect(extents[0]?.storageOffset).toBe(first?.storageOffset);
  });

  test('ends with the block that holds the end of the file', async ({ lab }) => {
    const ino = await writeFile(lab.vfs, 'f', pattern(2 * bs + 1));
    expect(shape(await grantRead(lab, ino, 1, 100))).toEqual([[read, 1, 2]]);
    expect(await grantRead(lab, ino, 3, 1)).toEqual([]);
  });

  test('shows shared blocks as they are', async ({ lab }) => {
    const ino = await writeFile(lab.vfs, 'f', pattern(2 * bs));
    const { ino: clone } = await lab.fs.cloneFile(ino, lab.vfs.rootIno, n('clone'), root);
    expect(await grantRead(lab, clone, 0, 2)).toEqual(await grantRead(lab, ino, 0, 2));
  });

  test('leaves only when its mapping is durable', async ({ lab }) => {
    const ino = await writeFile(lab.vfs, 'f', pattern(2 * bs));
    const granted = await grantRead(lab, ino, 0, 2);
    await afterCrash(lab, async (crashed) => {
      expect(await grantRead(crashed, ino, 0, 2)).toEqual(granted);
      expect((await readAll(crashed.vfs, ino)).equals(pattern(2 * bs))).toBe(true);
    });
  });

  test('EISDIR, EINVAL for what is no file and for part blocks, ESTALE', async ({ lab }) => {
    const dir = await makeDir(lab.vfs, 'd');
    const file = await makeFile(lab.vfs, 'f');
    const { ino: fifo } = await lab.vfs.mknod(lab.vfs.rootIno, n('fifo'), 0o010600, 0, root);
    expect(await errnoOfCall(() => grantRead(lab, dir, 0, 1))).toBe('EISDIR');
    expect(await errnoOfCall(() => grantRead(lab, fifo, 0, 1))).toBe('EINVAL');
    expect(await errnoOfCall(() => grantRead(lab, 999, 0, 1))).toBe('ESTALE');
    expect(await errnoOfCall(() => lab.fs.layouts.mapForRead(file, { offset: 1, length: bs }, client))).toBe('EINVAL');
    expect(await errnoOfCall(() => lab.fs.layouts.mapForWrite(file, { offset: 0, length: 100 }, client))).toBe(
      'EINVAL',
    );
  });
});

describe('a grant for writing', () => {
  test('shows READ_WRITE_DATA where there is data and INVALID_DATA elsewhere, over the whole range', async ({
    lab,
  }) => {
    const ino = await mixed(lab);
    const { provisional } = lab.fs.status().blocks;
    expect(shape(await grantWrite(lab, ino, 0, 10))).toEqual([
      [readWrite, 0, 2],
      [invalid, 2, 2],
      [invalid, 4, 2],
      [readWrite, 6, 2],
      [invalid, 8, 2],
    ]);
    expect(lab.fs.status().blocks.provisional).toBe(provisional + 4);
    expect((await lab.vfs.getattr(ino, root)).size).toBe(8 * bs);
    await giveBack(lab, ino);
  });

  test('of provisional blocks is durable before it leaves: a crash does not give them to anybody else', async ({
    lab,
  }) => {
    const ino = await makeFile(lab.vfs, 'f');
    const granted = await grantWrite(lab, ino, 0, 4);
    await afterCrash(lab, async (crashed) => {
      expect(crashed.fs.status().blocks.provisional).toBe(4);
      const role = granted.map(({ storageOffset }) => storageOffset);
      const big = await writeFile(crashed.vfs, 'big', Buffer.alloc(crashed.fs.status().blocks.free * bs, 1));
      for (const { storageOffset, length } of await crashed.fs.map(big)) {
        for (const start of role) expect(start >= storageOffset && start < storageOffset + length).toBe(false);
      }
    });
    await giveBack(lab, ino);
  });

  test('asked for again shows the same blocks', async ({ lab }) => {
    const ino = await mixed(lab);
    const first = await grantWrite(lab, ino, 0, 8);
    expect(await grantWrite(lab, ino, 0, 8)).toEqual(first);
    await giveBack(lab, ino);
  });

  test('EAGAIN where another client has provisional blocks', async ({ lab }) => {
    const ino = await makeFile(lab.vfs, 'f');
    await grantWrite(lab, ino, 0, 2);
    expect(await errnoOfCall(() => grantWrite(lab, ino, 1, 4, other))).toBe('EAGAIN');
    expect(lab.fs.status().blocks.provisional).toBe(2);
    await giveBack(lab, ino);
    expect(shape(await grantWrite(lab, ino, 1, 4, other))).toEqual([[invalid, 1, 4]]);
    await giveBack(lab, ino, other);
  });

  test('EFBIG past the largest file, EROFS on a read-only mount', async ({ lab }) => {
    const ino = await makeFile(lab.vfs, 'f');
    expect(await errnoOfCall(() => grantWrite(lab, ino, 2 ** 41 - 2, 2))).toBe('EFBIG');
    await lab.unmount();
    await lab.mount(undefined, { readOnly: true });
    expect(await errnoOfCall(() => grantWrite(lab, ino, 0, 1))).toBe('EROFS');
    expect(await errnoOfCall(() => commit(lab, ino, 0, bs))).toBe('EROFS');
  });

  test('is not in the file before the commit: its blocks read as zeros', async ({ lab }) => {
    const ino = await makeFile(lab.vfs, 'f');
    await lab.vfs.setattr(ino, { size: 4 * bs }, root);
    dma(lab.fs, await grantWrite(lab, ino, 0, 4), 0, pattern(4 * bs));
    expect((await readAll(lab.vfs, ino)).equals(Buffer.alloc(4 * bs))).toBe(true);
    expect((await lab.vfs.getattr(ino, root)).blocks).toBe(0);
    await giveBack(lab, ino);
    expect((await readAll(lab.vfs, ino)).equals(Buffer.alloc(4 * bs))).toBe(true);
  });
});

describe('a commit', () => {
  test('makes provisional blocks the file, durably, without moving them', async ({ lab }) => {
    const ino = await makeFile(lab.vfs, 'f');
    const extents = await grantWrite(lab, ino, 0, 4);
    dma(lab.fs, extents, 0, pattern(4 * bs));
    expect(await commit(lab, ino, 0, 4 * bs, 4 * bs - 1)).toEqual({ size: 4 * bs });
    expect((await lab.fs.map(ino))[0]?.storageOffset).toBe(extents[0]?.storageOffset);
    expect(lab.fs.status().blocks.provisional).toBe(0);
    await afterCrash(lab, async (crashed) => {
      expect((await readAll(crashed.vfs, ino)).equals(pattern(4 * bs))).toBe(true);
    });
    expect(shape(await grantWrite(lab, ino, 0, 4))).toEqual([[readWrite, 0, 4]]);
  });

  test('makes preallocated blocks written', async ({ lab }) => {
    const ino = await mixed(lab);
    const extents = await grantWrite(lab, ino, 4, 2);
    dma(lab.fs, extents, 4 * bs, pattern(2 * bs, 5));
    await commit(lab, ino, 4 * bs, 2 * bs);
    expect((await readAll(lab.vfs, ino)).subarray(4 * bs, 6 * bs).equals(pattern(2 * bs, 5))).toBe(true);
    expect((await lab.fs.map(ino)).some(({ unwritten }) => unwritten)).toBe(false);
  });

  test('of a part leaves the rest provisional', async ({ lab }) => {
    const ino = await makeFile(lab.vfs, 'f');
    await lab.vfs.setattr(ino, { size: 4 * bs }, root);
    const extents = await grantWrite(lab, ino, 0, 4);
    dma(lab.fs, extents, 0, pattern(4 * bs));
    await commit(lab, ino, bs, bs);
    expect(lab.fs.status().blocks.provisional).toBe(3);
    const whole = Buffer.alloc(4 * bs);
    pattern(4 * bs).copy(whole, bs, bs, 2 * bs);
    expect((await readAll(lab.vfs, ino)).equals(whole)).toBe(true);
    await giveBack(lab, ino);
  });

  test('ends with the file: what lies past it stays provisional', async ({ lab }) => {
    const ino = await makeFile(lab.vfs, 'f');
    dma(lab.fs, await grantWrite(lab, ino, 0, 4), 0, pattern(4 * bs));
    expect(await commit(lab, ino, 0, 4 * bs, bs + 9)).toEqual({ size: bs + 10 });
    expect((await readAll(lab.vfs, ino)).equals(pattern(4 * bs).subarray(0, bs + 10))).toBe(true);
    expect(lab.fs.status().blocks.provisional).toBe(2);
    await giveBack(lab, ino);
  });

  test('never makes the file shorter, and says the size only if it changed', async ({ lab }) => {
    const ino = await writeFile(lab.vfs, 'f', pattern(4 * bs));
    await grantWrite(lab, ino, 0, 2);
    expect(await commit(lab, ino, 0, 2 * bs, 5)).toEqual({ size: undefined });
    expect((await lab.vfs.getattr(ino, root)).size).toBe(4 * bs);
  });

  test('without a last write leaves the size alone', async ({ lab }) => {
    const ino = await makeFile(lab.vfs, 'f');
    await grantWrite(lab, ino, 0, 2);
    expect(await commit(lab, ino, 0, 2 * bs)).toEqual({ size: undefined });
    expect((await lab.vfs.getattr(ino, root)).size).toBe(0);
    expect(lab.fs.status().blocks.provisional).toBe(2);
    await giveBack(lab, ino);
  });

  test('EINVAL for a last write outside of its ranges, and nothing is committed', async ({ lab }) => {
    const ino = await makeFile(lab.vfs, 'f');
    await grantWrite(lab, ino, 0, 4);
    expect(await errnoOfCall(() => commit(lab, ino, 0, 2 * bs, 2 * bs))).toBe('EINVAL');
    expect(await errnoOfCall(() => commit(lab, ino, bs, bs, 0))).toBe('EINVAL');
    expect(await lab.vfs.getattr(ino, root)).toMatchObject({ size: 0, blocks: 0 });
    await giveBack(lab, ino);
  });

  test('EINVAL for a part of a block that is not the last of the file, and nothing is committed', async ({ lab }) => {
    const ino = await makeFile(lab.vfs, 'f');
    await lab.vfs.setattr(ino, { size: 8 * bs }, root);
    await grantWrite(lab, ino, 0, 8);
    for (const [offset, length] of [
      [100, 2 * bs - 100],
      [bs, bs + 1],
      [2 * bs, 10],
    ] as const)
      expect(await errnoOfCall(() => commit(lab, ino, offset, length))).toBe('EINVAL');
    expect((await lab.vfs.getattr(ino, root)).blocks).toBe(0);
    expect(await commit(lab, ino, 7 * bs, bs + 10, 8 * bs + 9)).toEqual({ size: 8 * bs + 10 });
    expect((await lab.vfs.getattr(ino, root)).blocks).toBe(bs / 512);
    await giveBack(lab, ino);
  });

  test('of blocks provided to somebody else takes none of them', async ({ lab }) => {
    const ino = await makeFile(lab.vfs, 'f');
    await grantWrite(lab, ino, 0, 2, other);
    await commit(lab, ino, 0, 2 * bs, 2 * bs - 1);
    expect((await lab.vfs.getattr(ino, root)).blocks).toBe(0);
    expect(lab.fs.status().blocks.provisional).toBe(2);
    await giveBack(lab, ino, other);
  });

  test('moves mtime to the time given, but never back and never into the future', async ({ lab }) => {
    const ino = await writeFile(lab.vfs, 'f', pattern(bs));
    const send = (mtimeNs: bigint) =>
      lab.fs.layouts.commitLayout(
        ino,
        { ranges: [{ offset: 0, length: bs }], lastWriteOffset: undefined, mtimeNs },
        client,
      );
    await lab.vfs.setattr(ino, { mtime: { sec: 1000, nsec: 5 } }, root);
    await send(2_000_000_000_007n);
    expect((await lab.vfs.getattr(ino, root)).mtime).toEqual({ sec: 2000, nsec: 7 });
    const { change } = await lab.vfs.getattr(ino, root);
    await send(1_500_000_000_000n);
    const after = await lab.vfs.getattr(ino, root);
    expect(after.mtime).toEqual({ sec: 2000, nsec: 7 });
    expect(after.change).toBeGreaterThan(change);
    await send(10n ** 19n);
    expect((await lab.vfs.getattr(ino, root)).mtime.sec).toBeLessThan(10 ** 10);
  });
});

describe('a return', () => {
  test('gives uncommitted blocks back to free space, of the range and of the client only', async ({ lab }) => {
    await lab.vfs.syncfs();
    const { free } = lab.fs.status().blocks;
    const ino = await makeFile(lab.vfs, 'f');
    await grantWrite(lab, ino, 0, 4);
    await grantWrite(lab, ino, 10, 2, other);
    await lab.fs.layouts.releaseProvisional(ino, { offset: bs, length: 2 * bs }, client);
    await lab.vfs.syncfs();
    expect(lab.fs.status().blocks).toMatchObject({ provisional: 4, free: free - 4 });
    await giveBack(lab, ino);
    await giveBack(lab, ino, other);
    expect(lab.fs.status().blocks.freeing).toBe(4);
    await lab.vfs.syncfs();
    expect(lab.fs.status().blocks).toMatchObject({ provisional: 0, free });
    await lab.remount();
    expect(lab.fs.status().blocks.free).toBe(free);
  });

  test('of nothing is nothing', async ({ lab }) => {
    const ino = await makeFile(lab.vfs, 'f');
    await giveBack(lab, ino);
    await lab.fs.layouts.releaseProvisional(12345, { offset: 0, length: bs }, client);
    expect(lab.fs.status().blocks.provisional).toBe(0);
  });
});

/** Whether filling the device puts data on any of the blocks. */
async function getsReused(lab: Lab, blocks: readonly number[]): Promise<boolean> {
  await lab.vfs.syncfs();
  const name = `filler${lab.fs.generation}`;
  const ino = await writeFile(lab.vfs, name, Buffer.alloc(lab.fs.status().blocks.free * bs, 0xff));
  const taken = await lab.fs.map(ino);
  const reused = blocks.some((block) =>
    taken.some(({ storageOffset, length }) => block >= storageOffset && block < storageOffset + length),
  );
  await lab.vfs.unlink(lab.vfs.rootIno, n(name), root);
  await lab.vfs.syncfs();
  return reused;
}

describe('a fence', () => {
  test('moves what the client could write away; a late write of it hurts nobody', async ({ lab }) => {
    const ino = await writeFile(lab.vfs, 'f', pattern(8 * bs));
    const reached = await grantWrite(lab, ino, 2, 4);
    await lab.fs.layouts.quarantine(client, [segment(ino, 2, 4, 'write')]);
    expect(lab.fs.quarantined()).toEqual(new Map([[client, 4 * bs]]));
    expect(lab.fs.status().blocks.quarantined).toBe(4);
    dma(lab.fs, reached, 2 * bs, Buffer.alloc(4 * bs, 0xbb));
    expect((await readAll(lab.vfs, ino)).equals(pattern(8 * bs))).toBe(true);
    await afterCrash(lab, async (crashed) => {
      expect((await readAll(crashed.vfs, ino)).equals(pattern(8 * bs))).toBe(true);
    });
  });

  test('keeps the old blocks from everybody until the client is known dead, also over mounts and crashes', async ({
    lab,
  }) => {
    const ino = await writeFile(lab.vfs, 'f', pattern(4 * bs));
    const reached = everyBlock(await grantWrite(lab, ino, 0, 8));
    await lab.fs.layouts.quarantine(client, [segment(ino, 0, 8, 'write')]);
    expect(lab.fs.status().blocks).toMatchObject({ quarantined: 8, provisional: 0 });
    expect(await getsReused(lab, reached)).toBe(false);
    await afterCrash(lab, async (crashed) => expect(await getsReused(crashed, reached)).toBe(false));
    await lab.remount();
    expect(lab.fs.status().blocks.quarantined).toBe(8);
    expect(await getsReused(lab, reached)).toBe(false);
    await lab.vfs.unlink(lab.vfs.rootIno, n('f'), root);
    expect(await getsReused(lab, reached)).toBe(false);
    await lab.fs.layouts.releaseQuarantine(client);
    expect(lab.fs.quarantined().size).toBe(0);
    expect(lab.fs.status().blocks.quarantined).toBe(0);
    expect(await getsReused(lab, reached)).toBe(true);
    await lab.remount();
    expect(lab.fs.quarantined().size).toBe(0);
  });

  test('leaves what the client could only read in the file, and holds it back when the file gives it up', async ({
    lab,
  }) => {
    const ino = await writeFile(lab.vfs, 'f', pattern(4 * bs));
    const reached = everyBlock(await grantRead(lab, ino, 0, 4));
    await lab.fs.layouts.quarantine(client, [segment(ino, 0, 4, 'read')]);
    expect(everyBlock(await lab.fs.map(ino))).toEqual(reached);
    await lab.remount();
    await lab.vfs.unlink(lab.vfs.rootIno, n('f'), root);
    expect(await getsReused(lab, reached)).toBe(false);
    expect(lab.fs.status().blocks.quarantined).toBe(4);
    await lab.fs.layouts.releaseQuarantine(client);
    expect(await getsReused(lab, reached)).toBe(true);
  });

  test('of one of two clients that reached a block is not enough to reuse it', async ({ lab }) => {
    const ino = await writeFile(lab.vfs, 'f', pattern(2 * bs));
    const reached = everyBlock(await grantRead(lab, ino, 0, 2));
    await lab.fs.layouts.quarantine(client, [segment(ino, 0, 2, 'read')]);
    await lab.fs.layouts.quarantine(other, [segment(ino, 1, 1, 'read')]);
    await lab.vfs.unlink(lab.vfs.rootIno, n('f'), root);
    await lab.fs.layouts.releaseQuarantine(client);
    expect(await getsReused(lab, reached.slice(1))).toBe(false);
    await lab.fs.layouts.releaseQuarantine(other);
    expect(await getsReused(lab, reached.slice(1))).toBe(true);
  });

  test('takes all provisional blocks of the client, also those of files it names no segment of', async ({ lab }) => {
    const a = await makeFile(lab.vfs, 'a');
    const b = await makeFile(lab.vfs, 'b');
    await grantWrite(lab, a, 0, 2);
    await grantWrite(lab, b, 0, 3);
    await grantWrite(lab, b, 10, 1, other);
    await lab.fs.layouts.quarantine(client, []);
    expect(lab.fs.status().blocks).toMatchObject({ provisional: 1, quarantined: 5 });
    expect(lab.fs.quarantined()).toEqual(new Map([[client, 5 * bs]]));
    await giveBack(lab, b, other);
  });

  test('zeroes what the client left past the end of the file, where it would become visible', async ({ lab }) => {
    const ino = await writeFile(lab.vfs, 'f', pattern(100));
    dma(lab.fs, await grantWrite(lab, ino, 0, 1), 100, Buffer.alloc(500, 0xee));
    await lab.fs.layouts.quarantine(client, [segment(ino, 0, 1, 'write')]);
    const extents = await grantWrite(lab, ino, 0, 1, other);
    dma(lab.fs, extents, 200, Buffer.from('x'));
    await commit(lab, ino, 0, bs, 200, other);
    const whole = Buffer.concat([pattern(100), Buffer.alloc(100), Buffer.from('x')]);
    expect((await readAll(lab.vfs, ino)).equals(whole)).toBe(true);
  });

  test('of a file that is gone, and without room for the copies, still ends', async () => {
    const lab = await Lab.create(32 * bs);
    try {
      const ino = await writeFile(lab.vfs, 'f', pattern(30 * bs));
      const before = await lab.fs.map(ino);
      await lab.fs.layouts.quarantine(client, [segment(ino, 0, 30, 'write'), segment(999, 0, 1, 'write')]);
      expect(await lab.fs.map(ino)).toEqual(before);
      await lab.vfs.unlink(lab.vfs.rootIno, n('f'), root);
      await lab.vfs.syncfs();
      expect(lab.fs.status().blocks).toMatchObject({ free: 0, quarantined: 30 });
      await lab.fs.layouts.releaseQuarantine(client);
      expect(lab.fs.status().blocks).toMatchObject({ free: 30, quarantined: 0 });
      expect(await lab.problems()).toEqual([]);
    } finally {
      await lab.remove();
    }
  });
});

describe('what one client did not commit', () => {
  test('does not show when another one makes the file grow', async ({ lab }) => {
    const ino = await writeFile(lab.vfs, 'f', Buffer.alloc(1000, 1));
    dma(lab.fs, await grantWrite(lab, ino, 0, 1), 2000, Buffer.alloc(100, 0xee));
    await giveBack(lab, ino);
    dma(lab.fs, await grantWrite(lab, ino, 0, 1, other), 3000, Buffer.alloc(10, 2));
    await commit(lab, ino, 0, bs, 3009, other);
    await giveBack(lab, ino, other);
    const expected = Buffer.concat([Buffer.alloc(1000, 1), Buffer.alloc(2000), Buffer.alloc(10, 2)]);
    expect((await readAll(lab.vfs, ino)).equals(expected)).toBe(true);
  });

  test('does not show either where the file has come to end in a block that was provided behind its end', async ({
    lab,
  }) => {
    const ino = await makeFile(lab.vfs, 'f');
    const extents = await grantWrite(lab, ino, 1, 1);
    await lab.vfs.setattr(ino, { size: bs + 100 }, root);
    dma(lab.fs, extents, bs, Buffer.concat([Buffer.alloc(100, 1), Buffer.alloc(bs - 100)]));
    await commit(lab, ino, bs, bs, bs + 99);
    dma(lab.fs, extents, bs + 100, Buffer.alloc(50, 0xee));
    await giveBack(lab, ino);
    dma(lab.fs, await grantWrite(lab, ino, 2, 1, other), 2 * bs, pattern(bs));
    await commit(lab, ino, 2 * bs, bs, 3 * bs - 1, other);
    await giveBack(lab, ino, other);
    const expected = Buffer.concat([Buffer.alloc(bs), Buffer.alloc(100, 1), Buffer.alloc(bs - 100), pattern(bs)]);
    expect((await readAll(lab.vfs, ino)).equals(expected)).toBe(true);
  });

  test('is not committed by a request that had to wait until the client was fenced', async ({ lab }) => {
    const ino = await makeFile(lab.vfs, 'f');
    dma(lab.fs, await grantWrite(lab, ino, 0, 1), 0, pattern(bs));
    let fenced = false;
    const requireHeld = (): void => {
      if (fenced) throw new FsError('EACCES', { client });
    };
    const request = { ranges: [{ offset: 0, length: bs }], lastWriteOffset: bs - 1, mtimeNs: undefined, requireHeld };
    fenced = true;
    await lab.fs.layouts.quarantine(client, [{ ino, offset: 0, length: bs, access: 'write' }]);
    expect(await errnoOfCall(() => lab.fs.layouts.commitLayout(ino, request, client))).toBe('EACCES');
    expect((await lab.vfs.getattr(ino, root)).size).toBe(0);
  });
});

test('a late release does not touch what the next client has written past the end', async ({ lab }) => {
  const ino = await writeFile(lab.vfs, 'f', Buffer.alloc(1000, 1));
  await grantWrite(lab, ino, 0, 1);
  await giveBack(lab, ino);
  dma(lab.fs, await grantWrite(lab, ino, 0, 1, other), 1000, Buffer.alloc(500, 2));
  await giveBack(lab, ino);
  await commit(lab, ino, 0, bs, 1499, other);
  const expected = Buffer.concat([Buffer.alloc(1000, 1), Buffer.alloc(500, 2)]);
  expect((await readAll(lab.vfs, ino)).equals(expected)).toBe(true);
});
