/**
 * Which layouts each operation asks back, and that it changes nothing while it waits (RFC 5663 §2.3.5; the callers of
 * xfs_break_layouts in Linux).
 */
import { describe, expect } from 'vitest';
import type { Caller, FallocateMode, Vfs } from '../../fs/vfs.ts';
import { errnoOfCall, type Lab, n, readAll, root, withHandle, writeFile } from '../support/filesystem.ts';
import { FakeLeases } from './fake-leases.ts';
import { test as base, bs, makeFile, pattern } from './fixture.ts';

const test = base.extend<{ leases: FakeLeases }>({
  leases: async ({ lab }, use) => {
    const leases = new FakeLeases();
    lab.fs.setLeases(leases);
    await use(leases);
    expect(leases.open, 'breaks that nobody ended').toBe(0);
  },
});

const asClient = (client: number): Caller => ({ ...root, client });

function writeAt(vfs: Vfs, ino: number, offset: number, data: Uint8Array, by = root): Promise<number> {
  return withHandle(vfs, ino, 2, (handle) => vfs.write(handle, offset, data, by));
}

function fallocate(vfs: Vfs, ino: number, mode: FallocateMode, offset: number, length: number): Promise<void> {
  return withHandle(vfs, ino, 2, (handle) => vfs.fallocate(handle, mode, offset, length, root));
}

/** Whether the promise settled by the next turn of the loop. */
async function settles(promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  const done = (): void => {
    settled = true;
  };
  promise.then(done, done);
  await new Promise((resolve) => setImmediate(resolve));
  return settled;
}

describe('what is asked for', () => {
  test('a write in place: write, over the blocks it touches', async ({ lab, leases }) => {
    const ino = await writeFile(lab.vfs, 'f', pattern(4 * bs));
    leases.asked.length = 0;
    await writeAt(lab.vfs, ino, bs + 10, pattern(bs), asClient(3));
    expect(leases.asked).toEqual([{ ino, offset: bs, length: 2 * bs, reason: 'write', client: 3 }]);
  });

  test('a write that adds, converts or copies blocks: remap, since a layout would say what is not so', async ({
    lab,
    leases,
  }) => {
    const ino = await writeFile(lab.vfs, 'f', pattern(4 * bs));
    await lab.fs.cloneFile(ino, lab.vfs.rootIno, n('clone'), root);
    await fallocate(lab.vfs, ino, 'allocate', 4 * bs, bs);
    leases.asked.length = 0;
    for (const block of [0, 4, 5]) await writeAt(lab.vfs, ino, block * bs, pattern(10), asClient(3));
    expect(leases.asked.map(({ offset, length, reason }) => [offset, length, reason])).toEqual([
      [0, bs, 'remap'],
      [4 * bs, bs, 'remap'],
      [5 * bs, bs, 'remap'],
    ]);
  });

  test('a write far behind the end: nothing in between but the block that the file ended in', async ({
    lab,
    leases,
  }) => {
    const ino = await writeFile(lab.vfs, 'f', pattern(bs + 100));
    leases.asked.length = 0;
    await writeAt(lab.vfs, ino, 9 * bs, pattern(10));
    expect(leases.asked.map(({ offset, length, reason }) => [offset, length, reason])).toEqual([
      [bs + 100, bs - 100, 'extend'],
      [9 * bs, bs, 'remap'],
    ]);
  });

  test('a file made longer: nothing, but the block it ended in where that has a rest', async ({ lab, leases }) => {
    const whole = await writeFile(lab.vfs, 'whole', pattern(2 * bs));
    const part = await writeFile(lab.vfs, 'part', pattern(100));
    const hole = await makeFile(lab.vfs, 'hole');
    leases.asked.length = 0;
    for (const ino of [whole, hole]) await lab.vfs.setattr(ino, { size: 10 * bs }, root);
    expect(leases.asked).toEqual([]);
    await lab.vfs.setattr(part, { size: 10 * bs }, root);
    expect(leases.asked).toEqual([{ ino: part, offset: 100, length: bs - 100, reason: 'extend', client: undefined }]);
  });

  test('fallocate and copies behind the end: the block that the file ended in as well', async ({ lab, leases }) => {
    const { vfs } = lab;
    const source = await writeFile(vfs, 'source', pattern(bs));
    const whole = [4 * bs, bs, 'unmap'];
    const grow: [longer: (ino: number) => unknown, of: unknown[]][] = [
      [(ino) => fallocate(vfs, ino, 'allocate', 4 * bs, bs), []],
      [(ino) => fallocate(vfs, ino, 'zero', 4 * bs, bs), [whole]],
      [
        (ino) =>
          withHandle(vfs, source, 0, (from) =>
            withHandle(vfs, ino, 2, (to) => vfs.copyRange(from, 0, to, 4 * bs, bs, root)),
          ),
        [whole],
      ],
    ];
    for (const [i, [longer, besides]] of grow.entries()) {
      const ino = await writeFile(vfs, `f${i}`, pattern(bs + 100));
      leases.asked.length = 0;
      await longer(ino);
      const asked = leases.asked.filter((each) => each.ino === ino);
      expect(asked.map(({ offset, length, reason }) => [offset, length, reason])).toEqual([
        ...besides,
        [bs + 100, bs - 100, 'extend'],
      ]);
    }
  });

  test('a file made shorter: unmap, from the block that is cut to the last block of the file, and not beyond', async ({
    lab,
    leases,
  }) => {
    const ino = await writeFile(lab.vfs, 'f', pattern(4 * bs));
    leases.asked.length = 0;
    await lab.vfs.setattr(ino, { size: bs + 1 }, root);
    await lab.vfs.release(await lab.vfs.open(ino, 1 | 0o1000, root));
    expect(leases.asked.map(({ offset, length, reason }) => [offset, length, reason])).toEqual([
      [bs, 3 * bs, 'unmap'],
      [0, 2 * bs, 'unmap'],
    ]);
  });

  test('a file truncated to the size that it has: unmap where blocks past the end go, else nothing', async ({
    lab,
    leases,
  }) => {
    const ino = await writeFile(lab.vfs, 'f', pattern(bs + 1));
    await fallocate(lab.vfs, ino, 'allocate-keep-size', 0, 9 * bs);
    leases.asked.length = 0;
    for (let i = 0; i < 2; i++) await lab.vfs.setattr(ino, { size: bs + 1 }, root);
    expect(leases.asked.map(({ offset, length, reason }) => [offset, length, reason])).toEqual([
      [2 * bs, 7 * bs, 'unmap'],
    ]);
  });

  test('fallocate: unmap, over the blocks, to the end and beyond where it moves what follows; space alone: nothing', async ({
    lab,
    leases,
  }) => {
    const ino = await writeFile(lab.vfs, 'f', pattern(8 * bs));
    const modes = ['punch', 'zero', 'allocate', 'collapse', 'insert'] as const;
    leases.asked.length = 0;
    for (const mode of modes) await fallocate(lab.vfs, ino, mode, bs, bs);
    await fallocate(lab.vfs, ino, 'punch', bs + 10, bs);
    expect(leases.asked.map(({ offset, length, reason }) => [offset / bs, length / bs, reason])).toEqual([
      [1, 1, 'unmap'],
      [1, 1, 'unmap'],
      [1, Infinity, 'unmap'],
      [1, Infinity, 'unmap'],
      [1, 2, 'unmap'],
    ]);
  });

  test('space where a client was given blocks to write to: extend, over these, all of them at once', async ({
    lab,
    leases,
  }) => {
    const ino = await writeFile(lab.vfs, 'f', pattern(bs));
    for (const block of [2, 4, 8]) await lab.fs.layouts.mapForWrite(ino, { offset: block * bs, length: bs }, 3);
    const held = [2, 4, 8].map((block) => leases.hold(ino, block * bs, bs, 3));
    leases.asked.length = 0;
    const allocated = fallocate(lab.vfs, ino, 'allocate-keep-size', 0, 6 * bs);
    expect(await settles(allocated)).toBe(false);
    expect(leases.recalled.map(({ offset, length, reason }) => [offset / bs, length / bs, reason])).toEqual([
      [2, 1, 'extend'],
      [4, 1, 'extend'],
    ]);
    for (const each of held.slice(0, 2)) {
      await lab.fs.layouts.releaseProvisional(ino, each, 3);
      leases.giveBack(each);
    }
    await allocated;
    expect(leases.recalled).toHaveLength(2);
  });

  test('a clone: share, over the whole source; a copy: share and unmap, over what it shares', async ({
    lab,
    leases,
  }) => {
    const a = await writeFile(lab.vfs, 'a', pattern(8 * bs));
    const b = await writeFile(lab.vfs, 'b', pattern(8 * bs));
    leases.asked.length = 0;
    await lab.fs.cloneFile(a, lab.vfs.rootIno, n('clone'), root);
    await withHandle(lab.vfs, a, 0, (from) =>
      withHandle(lab.vfs, b, 2, (to) => lab.vfs.copyRange(from, bs, to, 3 * bs, 2 * bs, root)),
    );
    expect(leases.asked).toEqual([
      { ino: a, offset: 0, length: Infinity, reason: 'share', client: undefined },
      { ino: a, offset: bs, length: 2 * bs, reason: 'share', client: undefined },
      { ino: b, offset: 3 * bs, length: 2 * bs, reason: 'unmap', client: undefined },
    ]);
  });

  test('the last unlink, or being replaced: unmap, over everything; other names and directories: nothing', async ({
    lab,
    leases,
  }) => {
    const { vfs } = lab;
    const [a, b] = [await writeFile(vfs, 'a', pattern(bs)), await writeFile(vfs, 'b', pattern(bs))];
    await vfs.link(a, vfs.rootIno, n('a2'), root);
    await vfs.mkdir(vfs.rootIno, n('d'), 0o755, root);
    await vfs.symlink(vfs.rootIno, n('l'), Buffer.from('x'), root);
    leases.asked.length = 0;
    await vfs.unlink(vfs.rootIno, n('a2'), root);
    await vfs.rmdir(vfs.rootIno, n('d'), root);
    await vfs.unlink(vfs.rootIno, n('l'), root);
    await vfs.rename(vfs.rootIno, n('a'), vfs.rootIno, n('c'), 'replace', root);
    expect(leases.asked).toEqual([]);
    await vfs.rename(vfs.rootIno, n('c'), vfs.rootIno, n('b'), 'replace', root);
    await vfs.unlink(vfs.rootIno, n('b'), root);
    expect(leases.asked).toEqual([
      { ino: b, offset: 0, length: Infinity, reason: 'unmap', client: undefined },
      { ino: a, offset: 0, length: Infinity, reason: 'unmap', client: undefined },
    ]);
  });

  test('an open file that loses its name: nothing until its last handle goes', async ({ lab, leases }) => {
    const { vfs } = lab;
    const ino = await writeFile(vfs, 'f', pattern(bs));
    const [first, last] = [await vfs.open(ino, 0, root), await vfs.open(ino, 0, root)];
    leases.asked.length = 0;
    await vfs.unlink(vfs.rootIno, n('f'), root);
    await vfs.release(first);
    expect(leases.asked).toEqual([]);
    await vfs.release(last);
    expect(leases.asked).toEqual([{ ino, offset: 0, length: Infinity, reason: 'unmap', client: undefined }]);
  });

  test('reading, and changing attributes or names: nothing', async ({ lab, leases }) => {
    const { vfs } = lab;
    const ino = await writeFile(vfs, 'f', pattern(bs));
    leases.asked.length = 0;
    await readAll(vfs, ino);
    await vfs.setattr(ino, { mode: 0o600, uid: 5, mtime: 'now' }, root);
    await vfs.setxattr(ino, 'user.a', Buffer.from('x'), 'either', root);
    await vfs.link(ino, vfs.rootIno, n('g'), root);
    await vfs.fsync(ino, false);
    expect(leases.asked).toEqual([]);
  });
});

const state = async ({ fs, vfs }: Lab, inodes: readonly number[]) => ({
  attrs: await Promise.all(inodes.map(async (ino) => ({ ...(await vfs.getattr(ino, root)), atime: 0 }))),
  maps: await Promise.all(inodes.map(async (ino) => fs.map(ino))),
  content: await Promise.all(inodes.map((ino) => readAll(vfs, ino))),
  root: await vfs.getattr(vfs.rootIno, root),
  blocks: fs.status().blocks,
  inodes: fs.status().inodes,
});

describe('while it waits', () => {
  /** Every operation that can wait, on files `f` (4 blocks) and `g` (4 blocks). */
  const operations: Record<string, (lab: Lab, f: number, g: number) => unknown> = {
    write: ({ vfs }, f) => writeAt(vfs, f, 0, pattern(10, 2)),
    'write past the end': ({ vfs }, f) => writeAt(vfs, f, 8 * bs, pattern(10, 2)),
    truncate: ({ vfs }, f) => vfs.setattr(f, { size: 1, mode: 0o600, uid: 5 }, root),
    extend: ({ vfs }, f) => vfs.setattr(f, { size: 9 * bs, mode: 0o600, uid: 5 }, root),
    'open O_TRUNC': async ({ vfs }, f) => vfs.release(await vfs.open(f, 1 | 0o1000, root)),
    punch: ({ vfs }, f) => fallocate(vfs, f, 'punch', 0, 2 * bs),
    allocate: ({ vfs }, f) => fallocate(vfs, f, 'allocate', 3 * bs, 9 * bs), // the block that the file ended in
    zero: ({ vfs }, f) => fallocate(vfs, f, 'zero', 10, 9 * bs),
    collapse: ({ vfs }, f) => fallocate(vfs, f, 'collapse', 0, bs),
    insert: ({ vfs }, f) => fallocate(vfs, f, 'insert', bs, bs),
    clone: ({ fs, vfs }, f) => fs.cloneFile(f, vfs.rootIno, n('clone'), root),
    'copy from it': ({ vfs }, f, g) =>
      withHandle(vfs, f, 0, (a) => withHandle(vfs, g, 2, (b) => vfs.copyRange(a, 0, b, 0, 2 * bs, root))),
    'copy to it': ({ vfs }, f, g) =>
      withHandle(vfs, g, 0, (a) => withHandle(vfs, f, 2, (b) => vfs.copyRange(a, 0, b, 0, 2 * bs, root))),
    'copy bytes to it': ({ vfs }, f, g) =>
      withHandle(vfs, g, 0, (a) => withHandle(vfs, f, 2, (b) => vfs.copyRange(a, 1, b, 2, 100, root))),
    unlink: ({ vfs }) => vfs.unlink(vfs.rootIno, n('f'), root),
    'rename over it': ({ vfs }) => vfs.rename(vfs.rootIno, n('g'), vfs.rootIno, n('f'), 'replace', root),
  };

  for (const [name, operate] of Object.entries(operations)) {
    test(`${name} has changed nothing, and goes on when the layout is back`, async ({ lab, leases }) => {
      const f = await writeFile(lab.vfs, 'f', pattern(3 * bs + 100));
      const g = await writeFile(lab.vfs, 'g', pattern(4 * bs, 3));
      const held = leases.hold(f, 0, Infinity, 9);
      const before = await state(lab, [f, g]);
      const operation = Promise.resolve(operate(lab, f, g));
      expect(await settles(operation)).toBe(false);
      expect(await state(lab, [f, g])).toEqual(before);
      leases.giveBack(held);
      await operation;
    });
  }

  test('it looks again at everything: what it was about to do may be wrong by now', async ({ lab, leases }) => {
    const { vfs } = lab;
    const f = await writeFile(vfs, 'f', pattern(bs));
    const held = leases.hold(f, 0, bs, 9);
    const unlink = Promise.resolve(vfs.unlink(vfs.rootIno, n('f'), root));
    const clone = Promise.resolve(lab.fs.cloneFile(f, vfs.rootIno, n('clone'), root));
    const refused = [errnoOfCall(() => unlink), errnoOfCall(() => clone)];
    await vfs.rename(vfs.rootIno, n('f'), vfs.rootIno, n('elsewhere'), 'replace', root);
    await makeFile(vfs, 'clone');
    leases.giveBack(held);
    expect(await Promise.all(refused)).toEqual(['ENOENT', 'EEXIST']);
    expect((await vfs.getattr(f, root)).nlink).toBe(1);
  });

  test('a handle that is released meanwhile is EBADF, and nothing is written to what has gone', async ({
    lab,
    leases,
  }) => {
    const { vfs } = lab;
    const f = await writeFile(vfs, 'f', pattern(bs));
    const handle = await vfs.open(f, 2, root);
    const held = leases.hold(f, 0, Infinity, 9);
    const write = errnoOfCall(() => vfs.write(handle, 10 * bs, pattern(bs), root));
    const punch = errnoOfCall(() => vfs.fallocate(handle, 'punch', 0, bs, root));
    const copy = errnoOfCall(() => vfs.copyRange(handle, 0, handle, 10 * bs, bs, root));
    await vfs.unlink(vfs.rootIno, n('f'), root);
    await vfs.release(handle);
    leases.giveBack(held);
    expect(await Promise.all([write, punch, copy])).toEqual(['EBADF', 'EBADF', 'EBADF']);
    await vfs.syncfs();
    expect(lab.fs.status().blocks).toMatchObject({ file: 0, freeing: 0 });
  });

  test('two that wait to remove the same file remove it once', async ({ lab, leases }) => {
    const { vfs } = lab;
    const { inodes } = lab.fs.status();
    const f = await writeFile(vfs, 'f', pattern(bs));
    const first = await vfs.open(f, 0, root);
    await vfs.unlink(vfs.rootIno, n('f'), root);
    const held = leases.hold(f, 0, Infinity, 9);
    await vfs.release(first);
    await vfs.release(await vfs.open(f, 0, root));
    leases.giveBack(held);
    await vfs.syncfs();
    await new Promise((resolve) => setImmediate(resolve));
    expect(lab.fs.status()).toMatchObject({ inodes, shutdown: undefined });
    expect(await errnoOfCall(() => vfs.getattr(f, root))).toBe('ESTALE');
  });

  test('a file that is opened again while its removal waits is kept', async ({ lab, leases }) => {
    const { vfs } = lab;
    const f = await writeFile(vfs, 'f', pattern(bs));
    const handle = await vfs.open(f, 0, root);
    await vfs.unlink(vfs.rootIno, n('f'), root);
    const held = leases.hold(f, 0, Infinity, 9);
    await vfs.release(handle);
    const again = await vfs.open(f, 0, root);
    leases.giveBack(held);
    await new Promise((resolve) => setImmediate(resolve));
    expect((await readAll(vfs, f)).equals(pattern(bs))).toBe(true);
    await vfs.release(again);
  });
});

describe('whose layouts stand in the way', () => {
  test('of a write in place: all but those of the client it is done for', async ({ lab, leases }) => {
    const ino = await writeFile(lab.vfs, 'f', pattern(4 * bs));
    const own = leases.hold(ino, 0, Infinity, 3);
    expect(await writeAt(lab.vfs, ino, 0, pattern(10), asClient(3))).toBe(10);
    const foreign = writeAt(lab.vfs, ino, 0, pattern(10), asClient(4));
    expect(await settles(foreign)).toBe(false);
    leases.giveBack(own);
    await foreign;
  });

  test('of a write into a block that was provided to the client itself: also its own, and the commit is safe', async ({
    lab,
    leases,
  }) => {
    const ino = await makeFile(lab.vfs, 'f');
    const range = { offset: 0, length: 2 * bs };
    await lab.fs.layouts.mapForWrite(ino, range, 3);
    const own = leases.hold(ino, 0, 2 * bs, 3);
    const write = writeAt(lab.vfs, ino, 0, pattern(10), asClient(3));
    expect(await settles(write)).toBe(false);
    const ranges = [{ offset: 0, length: bs }];
    await lab.fs.layouts.commitLayout(ino, { ranges, lastWriteOffset: bs - 1, mtimeNs: undefined }, 3);
    await lab.fs.layouts.releaseProvisional(ino, range, 3);
    leases.giveBack(own);
    await write;
    expect((await lab.vfs.getattr(ino, root)).size).toBe(bs);
  });

  test('of a clone: those for writing, not those for reading', async ({ lab, leases }) => {
    const ino = await writeFile(lab.vfs, 'f', pattern(4 * bs));
    leases.hold(ino, 0, Infinity, 3, 'read');
    await lab.fs.cloneFile(ino, lab.vfs.rootIno, n('clone'), root);
    const writing = leases.hold(ino, 3 * bs, bs, 4, 'write');
    const clone = Promise.resolve(lab.fs.cloneFile(ino, lab.vfs.rootIno, n('clone2'), root));
    expect(await settles(clone)).toBe(false);
    leases.giveBack(writing);
    await clone;
  });
});
