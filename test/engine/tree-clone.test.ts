/** Clones of trees: everything that is there, as it is at one moment, or nothing. */
import { expect } from 'vitest';
import { INODE_COW } from '../../fs/format/records.ts';
import { alice, bob, errnoOfCall, Lab, n, readAll, root, withHandle, writeFile } from '../support/filesystem.ts';
import { at, bs, clientRecord, list, makeDir, makeFile, pattern, test } from './fixture.ts';
import { describeTree, makeTree, reaped, until, withLeases } from './trees.ts';

/** How many inodes the copy under way had taken, each time that others got their turn, while `work` went on. */
async function takenDuring(lab: Lab, work: () => Promise<unknown>): Promise<readonly number[]> {
  const taken: number[] = [0];
  let isOver = false;
  const look = (): void => {
    if (isOver) return;
    const { copying } = lab.fs.status();
    if (copying !== undefined) taken.push(copying);
    setImmediate(look);
  };
  setImmediate(look);
  try {
    await work();
    return taken;
  } finally {
    isOver = true;
  }
}

function numbered(value: number): Buffer {
  return Buffer.from(String(value).padStart(12));
}

async function cloneTree(lab: Lab, path: string, name: string, by = root): Promise<number> {
  const { ino } = await at(lab.vfs, path);
  return (await lab.fs.cloneTree(ino, lab.vfs.rootIno, n(name), by)).ino;
}

test('every kind of file is there, with content, attributes, times, owners, flags and links', async ({ lab, vfs }) => {
  const dir = await makeDir(vfs, 'd', 0o2750);
  const sub = await makeDir(vfs, 'd/sub', 0o700, root);
  const file = await writeFile(vfs, 'f', pattern(3 * bs + 10));
  await vfs.link(file, dir, n('one'), root);
  await vfs.link(file, sub, n('two'), root);
  await vfs.setattr(file, { uid: 1000, gid: 50, mode: 0o6711, mtime: { sec: -5, nsec: 123 } }, root);
  await vfs.symlink(dir, n('link'), Buffer.from('../anywhere'), root);
  await vfs.mknod(dir, n('fifo'), 0o010644, 0, root);
  await vfs.mknod(dir, n('device'), 0o020600, 0x103, root);
  await vfs.mknod(sub, n('socket'), 0o140600, 0, root);
  const sparse = await makeFile(vfs, 'd/sparse');
  await withHandle(vfs, sparse, 2, async (handle) => {
    await vfs.write(handle, 5 * bs, pattern(100, 2), root);
    await vfs.fallocate(handle, 'allocate-keep-size', 10 * bs, 4 * bs, root);
  });
  await vfs.setattr(sparse, { size: 8 * bs + 1 }, root);
  await vfs.setxattr(sparse, 'user.note', Buffer.from('x'), 'either', root);
  await vfs.setxattr(dir, 'trusted.t', Buffer.from([0, 255]), 'either', root);
  const cow = await writeFile(vfs, 'cow', pattern(bs));
  await vfs.setxattr(cow, 'system.iopmemfs.cow', Buffer.from('on'), 'either', root);
  await vfs.rename(vfs.rootIno, n('cow'), dir, n('cow'), 'replace', root);
  await makeDir(vfs, 'd/sub/empty');

  const clone = await cloneTree(lab, 'd', 'c');
  expect(await describeTree(vfs, clone)).toEqual(
    new Map(
      [...(await describeTree(vfs, dir))].map(([path, found]) => [
        path,
        path.endsWith('/one') || path.endsWith('/two') ? found.replace('"nlink":3', '"nlink":2') : found,
      ]),
    ),
  );
  const flags = Buffer.from(await vfs.getxattr((await at(vfs, 'c/cow')).ino, 'system.iopmemfs.cow', root));
  expect(flags.toString(), `flag ${INODE_COW}`).toBe('on');
  expect((await vfs.getattr(clone, root)).nlink).toBe(3);
  expect(lab.fs.status().blocks).toMatchObject({ file: 4 + 1 + 4 + 1, shared: 4 + 1 + 1 });
});

test('original and clone go their own ways, and what is left of the blocks goes with the last of them', async ({
  lab,
  vfs,
}) => {
  await makeDir(vfs, 'd');
  const file = await writeFile(vfs, 'f', pattern(4 * bs));
  await vfs.rename(vfs.rootIno, n('f'), (await at(vfs, 'd')).ino, n('f'), 'replace', root);
  await cloneTree(lab, 'd', 'c');
  const copy = await at(vfs, 'c/f');
  expect(copy.ino).not.toBe(file);
  await withHandle(vfs, file, 2, (handle) => vfs.write(handle, 0, pattern(bs, 7), root));
  await withHandle(vfs, copy.ino, 2, (handle) => vfs.write(handle, 3 * bs, pattern(bs, 8), root));
  const [one, two] = [Buffer.from(pattern(4 * bs)), Buffer.from(pattern(4 * bs))];
  pattern(bs, 7).copy(one, 0);
  pattern(bs, 8).copy(two, 3 * bs);
  expect((await readAll(vfs, file)).equals(one)).toBe(true);
  expect((await readAll(vfs, copy.ino)).equals(two)).toBe(true);
  await vfs.unlink((await at(vfs, 'd')).ino, n('f'), root);
  await vfs.unlink((await at(vfs, 'c')).ino, n('f'), root);
  await vfs.syncfs();
  expect(lab.fs.status().blocks).toMatchObject({ file: 0, shared: 0 });
});

test('into the tree itself: the clone is not part of what is cloned', async ({ lab, vfs }) => {
  const dir = await makeTree(vfs, 'd', 2, 2);
  const clone = await lab.fs.cloneTree(dir, dir, n('inside'), root);
  expect(await list(vfs, clone.ino)).toEqual(['.', '..', 'd0', 'd1']);
  expect(await list(vfs, dir)).toEqual(['.', '..', 'd0', 'd1', 'inside']);
  expect((await vfs.lookup(clone.ino, '..', root)).ino).toBe(dir);
  expect((await vfs.getattr(dir, root)).nlink).toBe(5);
});

test('what cannot be is refused before anything is done', async ({ lab, vfs }) => {
  const dir = await makeTree(vfs, 'd', 1, 1);
  const file = await writeFile(vfs, 'f', pattern(10));
  const clone = (source: number, parent: number, name: string, by = root) =>
    errnoOfCall(() => lab.fs.cloneTree(source, parent, n(name), by));
  const { inodes } = lab.fs.status();
  expect(await clone(dir, vfs.rootIno, 'f')).toBe('EEXIST');
  expect(await clone(dir, vfs.rootIno, '.snapshots')).toBe('EEXIST');
  expect(await clone(file, vfs.rootIno, 'x')).toBe('ENOTDIR');
  expect(await clone(dir, file, 'x')).toBe('ENOTDIR');
  expect(await clone(99_999, vfs.rootIno, 'x')).toBe('ESTALE');
  expect(await clone(dir, vfs.rootIno, 'x', alice)).toBe('EACCES');
  expect(lab.fs.status()).toMatchObject({ inodes, reaping: { trees: 0 } });
});

test('an ordinary user clones what is all his own', async ({ lab, vfs }) => {
  await makeDir(vfs, 'home', 0o777);
  const home = (await at(vfs, 'home')).ino;
  const dir = (await vfs.mkdir(home, n('d'), 0o755, alice)).ino;
  const mine = await vfs.mknod(dir, n('mine'), 0o100644, 0, alice);
  await lab.fs.cloneTree(dir, home, n('c'), alice);
  expect(await at(vfs, 'home/c/mine')).toMatchObject({ uid: alice.uid, gid: alice.gid });
  const { inodes } = lab.fs.status();
  await vfs.setattr(mine.ino, { uid: bob.uid }, root);
  expect(await errnoOfCall(() => lab.fs.cloneTree(dir, home, n('again'), alice))).toBe('EPERM');
  await reaped(lab);
  expect(await list(vfs, home), 'nothing of it shows').toEqual(['.', '..', 'd', 'c']);
  expect(lab.fs.status(), 'nothing of it is left').toMatchObject({ inodes, blocks: { file: 0 } });
});

test('while it is made, what it has is not changed, what it has not yet is, and everything is read', async () => {
  await withLeases(async (lab, leases) => {
    const { vfs } = lab;
    const dir = await makeTree(vfs, 'd', 3, 1);
    const [first, second] = [await at(vfs, 'd/d0/f0'), await at(vfs, 'd/d2/f0')];
    const elsewhere = await writeFile(vfs, 'elsewhere', pattern(10));
    // The file in the middle keeps the copy waiting.
    const held = leases.hold((await at(vfs, 'd/d1/f0')).ino, 0, Infinity, 7);
    const clone = lab.fs.cloneTree(dir, vfs.rootIno, n('c'), root);
    await until('the copy waits for the layout', () => leases.recalled.length === 1);
    expect(lab.fs.status().copying).toBe(4);
    expect(await errnoOfCall(() => at(vfs, 'c'))).toBe('ENOENT');

    const settled: string[] = [];
    const note = (name: string, done: unknown) => Promise.resolve(done).then(() => settled.push(name));
    const waiting = [
      note(
        'write',
        withHandle(vfs, first.ino, 2, (handle) => vfs.write(handle, 0, Buffer.from('CHANGED'), root)),
      ),
      note('setattr', vfs.setattr(first.ino, { mode: 0o600 }, root)),
      note('setxattr', vfs.setxattr(first.ino, 'user.x', Buffer.from('x'), 'either', root)),
      note('unlink', vfs.unlink((await at(vfs, 'd/d0')).ino, n('f0'), root)),
      note('create', vfs.mkdir(dir, n('new'), 0o755, root)),
      note('rename', vfs.rename(dir, n('d2'), vfs.rootIno, n('moved'), 'replace', root)),
      note('link', vfs.link(first.ino, vfs.rootIno, n('again'), root)),
      note('layout', lab.fs.layouts.mapForWrite(first.ino, { offset: 0, length: bs }, 8)),
    ];
    await withHandle(vfs, second.ino, 2, (handle) => vfs.write(handle, 0, Buffer.from('changed in time'), root));
    await withHandle(vfs, elsewhere, 2, (handle) => vfs.write(handle, 0, Buffer.from('changed'), root));
    await vfs.setattr(elsewhere, { mode: 0o600 }, root);
    expect((await readAll(vfs, first.ino)).toString()).toBe('content 0 0');
    expect(await list(vfs, dir)).toEqual(['.', '..', 'd0', 'd1', 'd2']);
    expect(settled).toEqual([]);

    leases.giveBack(held);
    await clone;
    await Promise.allSettled(waiting);
    expect(settled, 'once it is complete all of them go on').toContain('rename');
    expect(await list(vfs, (await at(vfs, 'c')).ino)).toEqual(['.', '..', 'd0', 'd1', 'd2']);
    expect((await readAll(vfs, (await at(vfs, 'c/d0/f0')).ino)).toString()).toBe('content 0 0');
    expect((await readAll(vfs, (await at(vfs, 'c/d2/f0')).ino)).toString()).toBe('changed in time');
    expect((await at(vfs, 'c/d0/f0')).mode & 0o777).toBe(0o644);
    expect(leases.open).toBe(0);
    expect(await lab.problems()).toEqual([]);
  });
});

test('what a client commits under the layout that is recalled is in the clone', async () => {
  await withLeases(async (lab, leases) => {
    const { vfs } = lab;
    const dir = await makeTree(vfs, 'd', 1, 1);
    const { ino } = await at(vfs, 'd/d0/f0');
    const client = lab.fs.newClientId();
    await lab.fs.putClient(clientRecord(client));
    const [extent] = await lab.fs.layouts.mapForWrite(ino, { offset: 0, length: 2 * bs }, client);
    const held = leases.hold(ino, 0, 2 * bs, client);
    const clone = lab.fs.cloneTree(dir, vfs.rootIno, n('c'), root);
    await until('the layout is recalled', () => leases.recalled.length > 0);
    // It is on record that there are such layouts, so that nothing was taken yet and others are not kept waiting.
    expect(lab.fs.status().copying).toBeUndefined();
    await vfs.mkdir(dir, n('meanwhile'), 0o755, root);

    lab.fs.device.write(extent?.storageOffset ?? 0, pattern(bs, 5));
    const request = { ranges: [{ offset: 0, length: bs }], lastWriteOffset: bs - 1, mtimeNs: undefined };
    await lab.fs.layouts.commitLayout(ino, request, client);
    await lab.fs.layouts.releaseProvisional(ino, { offset: 0, length: 2 * bs }, client);
    lab.fs.layouts.forgetGrant(ino, client);
    leases.giveBack(held);
    await clone;
    expect((await readAll(vfs, (await at(vfs, 'c/d0/f0')).ino)).equals(pattern(bs, 5))).toBe(true);
    expect(await list(vfs, (await at(vfs, 'c')).ino)).toEqual(['.', '..', 'd0', 'meanwhile']);
  });
});

test('the commit of a layout granted after the first recall gets through as well', async () => {
  await withLeases(async (lab, leases) => {
    const { vfs } = lab;
    const dir = await makeTree(vfs, 'd', 1, 1);
    const { ino } = await at(vfs, 'd/d0/f0');
    // Of this one nothing is on record, as of one that comes later.
    const held = leases.hold(ino, 0, bs, 9);
    const clone = lab.fs.cloneTree(dir, vfs.rootIno, n('c'), root);
    await until('the layout is recalled', () => leases.recalled.length > 0);
    expect(lab.fs.status().copying).toBe(2);
    const request = { ranges: [{ offset: 0, length: bs }], lastWriteOffset: 99, mtimeNs: undefined };
    await lab.fs.layouts.commitLayout(ino, request, 9);
    leases.giveBack(held);
    await clone;
    expect((await at(vfs, 'c/d0/f0')).size).toBe(100);
  });
});

test('it is the tree at one moment: of two files written one after the other the second is never newer', async ({
  lab,
  vfs,
}) => {
  await makeTree(vfs, 'd', 12, 60);
  const pairs = await Promise.all(
    ['d0', 'd5', 'd11'].map(async (name, i) => {
      const other = ['d11', 'd0', 'd6'][i] ?? '';
      return { a: (await at(vfs, `d/${name}/f7`)).ino, b: (await at(vfs, `d/${other}/f9`)).ino, name, other };
    }),
  );
  const over = new AbortController();
  let rounds = 0;
  const writers = pairs.map(async ({ a, b }) => {
    for (let value = 1; !over.signal.aborted; value++) {
      for (const ino of [a, b]) await withHandle(vfs, ino, 2, (handle) => vfs.write(handle, 0, numbered(value), root));
      rounds++;
      await new Promise((resolve) => setImmediate(resolve));
    }
  });
  try {
    await until('every file has a number', () => rounds >= 2 * pairs.length);
    for (let i = 0; i < 12; i++) {
      const before = rounds;
      await cloneTree(lab, 'd', `c${i}`);
      await until('the writers go on', () => rounds > before + 3);
      for (const { name, other } of pairs) {
        const [first, second] = await Promise.all(
          [`c${i}/${name}/f7`, `c${i}/${other}/f9`].map(async (path) =>
            Number((await readAll(vfs, (await at(vfs, path)).ino)).toString()),
          ),
        );
        const [newer, older] = [first ?? 0, second ?? 0];
        expect(newer - older === 0 || newer - older === 1, `${newer} and ${older} in clone ${i}`).toBe(true);
      }
    }
  } finally {
    over.abort();
    await Promise.all(writers);
  }
});

test('several at once are made one after the other', async ({ lab, vfs }) => {
  const [d, e] = [await makeTree(vfs, 'd', 4, 200), await makeTree(vfs, 'e', 4, 200)];
  const inodes = 1 + 4 + 4 * 200;
  const taken = await takenDuring(lab, async () => {
    const clones = ['d1', 'e1', 'd2', 'e1'].map((name) =>
      lab.fs.cloneTree(name.startsWith('d') ? d : e, vfs.rootIno, n(name), root),
    );
    const settled = await Promise.allSettled(clones);
    expect(settled.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'fulfilled', 'rejected']);
  });
  expect(Math.max(...taken)).toBeLessThanOrEqual(inodes);
  expect(lab.fs.status()).toMatchObject({ inodes: 1 + 5 * inodes, reaping: { trees: 0 } });
});

test('a directory that is removed meanwhile is not cloned', async () => {
  await withLeases(async (lab, leases) => {
    const { vfs } = lab;
    const first = await makeTree(vfs, 'd', 1, 1);
    await makeDir(vfs, 'e');
    const held = leases.hold((await at(vfs, 'd/d0/f0')).ino, 0, bs, 9);
    const waits = lab.fs.cloneTree(first, vfs.rootIno, n('c'), root);
    const gone = errnoOfCall(async () => lab.fs.cloneTree((await at(vfs, 'e')).ino, vfs.rootIno, n('c2'), root));
    await until('the first one waits', () => leases.recalled.length > 0);
    await vfs.rmdir(vfs.rootIno, n('e'), root);
    leases.giveBack(held);
    await waits;
    expect(await gone).toMatch(/^(ENOENT|ESTALE)$/);
    expect(await list(vfs, vfs.rootIno)).toEqual(['.', '..', 'd', 'c']);
  });
});

test('ten thousand files: others get their turn after at most 256 of them', async () => {
  const lab = await Lab.create(64 << 20);
  try {
    const { vfs } = lab;
    const dir = await makeTree(vfs, 'd', 20, 500);
    const taken = await takenDuring(lab, () => lab.fs.cloneTree(dir, vfs.rootIno, n('c'), root));
    const steps = taken.slice(1).map((count, i) => count - (taken[i] ?? 0));
    expect(Math.max(...steps)).toBeLessThanOrEqual(256);
    expect(taken.at(-1), 'they looked until the end').toBeGreaterThan(9500);
    expect(lab.fs.status().inodes).toBe(1 + 2 * 10_021);
    expect((await at(vfs, 'c')).nlink).toBe(22);
    await vfs.rename(vfs.rootIno, n('c'), vfs.rootIno, n('renamed'), 'replace', root);
    expect(await lab.problems()).toEqual([]);
  } finally {
    await lab.remove();
  }
});

test('a file of many extents is shared in several steps', async ({ lab, vfs }) => {
  const dir = await makeDir(vfs, 'd');
  const file = await makeFile(vfs, 'd/f');
  await withHandle(vfs, file, 2, async (handle) => {
    for (let i = 0; i < 1500; i++) await vfs.write(handle, 2 * i * bs, Buffer.from([i & 255, i >> 8]), root);
  });
  await lab.fs.cloneTree(dir, vfs.rootIno, n('c'), root);
  const copy = (await at(vfs, 'c/f')).ino;
  expect((await readAll(vfs, copy)).equals(await readAll(vfs, file))).toBe(true);
  expect(await lab.fs.map(copy)).toEqual(await lab.fs.map(file));
});

test('unmounting ends it: nothing of it is there afterwards', async ({ lab, vfs }) => {
  const dir = await makeTree(vfs, 'd', 10, 100);
  const { inodes } = lab.fs.status();
  const clone = errnoOfCall(() => lab.fs.cloneTree(dir, vfs.rootIno, n('c'), root));
  await until('it is under way', () => (lab.fs.status().copying ?? 0) > 10);
  await lab.remount();
  expect(await clone).toBe('ESHUTDOWN');
  await reaped(lab);
  expect(await list(lab.vfs, lab.vfs.rootIno)).toEqual(['.', '..', 'd']);
  expect(lab.fs.status()).toMatchObject({ inodes });
});

test('a crash while it is made leaves nothing of it but blocks that come back', async () => {
  await withLeases(async (lab, leases) => {
    const { vfs } = lab;
    const dir = await makeTree(vfs, 'd', 10, 60);
    await vfs.setxattr(dir, 'user.x', Buffer.from('x'), 'either', root);
    await vfs.link((await at(vfs, 'd/d1/f1')).ino, (await at(vfs, 'd/d8')).ino, n('link'), root);
    const { inodes, blocks } = lab.fs.status();
    // Here it waits, and the crash comes.
    const paths = ['d/d0/f0', 'd/d4/f30', 'd/d9/f59'];
    const held = await Promise.all(paths.map(async (path) => leases.hold((await at(vfs, path)).ino, 0, bs, 9)));
    const clone = lab.fs.cloneTree(dir, vfs.rootIno, n('c'), root);
    for (const [i, each] of held.entries()) {
      await until(`it waits for ${paths[i]}`, () => leases.recalled.length === i + 1);
      await vfs.syncfs();
      const crashed = await lab.crashed();
      try {
        expect(await crashed.problems(), 'before the mount').toEqual([]);
        await crashed.mount();
        await reaped(crashed);
        expect(await list(crashed.vfs, crashed.vfs.rootIno)).toEqual(['.', '..', 'd']);
        expect(crashed.fs.status()).toMatchObject({ inodes, blocks: { file: blocks.file, shared: 0 } });
        expect(await crashed.problems(), 'after the mount').toEqual([]);
      } finally {
        await crashed.remove();
      }
      leases.giveBack(each);
    }
    await clone;
    const whole = await lab.crashed();
    expect(await whole.problems(), 'what was made is durable, and whole').toEqual([]);
    await whole.mount();
    expect((await describeTree(whole.vfs, (await at(whole.vfs, 'c')).ino)).size).toBe(612);
    await whole.remove();
  });
});
