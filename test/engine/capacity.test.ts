/**
 * Small limits in the place of the real ones: what is in memory goes and comes back, groups are sealed in the midst of
 * everything, and the largest numbers of links are reached.
 */
import { describe, expect, vi } from 'vitest';
import { Directory, DirectoryTable } from '../../fs/engine/directory.ts';
import { Inode, InodeTable } from '../../fs/engine/inode.ts';
import { limits } from '../../fs/limits.ts';
import { errnoOfCall, n, readAll, root, withHandle, writeFile } from '../support/filesystem.ts';
import { at, bs, list, makeDir, makeFile, pattern, test } from './fixture.ts';

vi.mock('../../fs/limits.ts', async (original) => {
  const real = await original<{ limits: typeof limits }>();
  const small = {
    inodeCacheMax: 16,
    groupRecordsMax: 10,
    unwrittenRecordsMax: 30,
    linkMax: 5,
    directoryLinkMax: 5,
    storePageEntries: 7,
  };
  return { limits: { ...real.limits, ...small } };
});

const record = (ino: number) => ({
  ino,
  mode: 0o100644,
  uid: 0,
  gid: 0,
  nlink: 1,
  size: 0,
  rdev: 0,
  atime: { sec: 0, nsec: 0 },
  mtime: { sec: 0, nsec: 0 },
  ctime: { sec: 0, nsec: 0 },
  btime: { sec: 0, nsec: 0 },
  change: 1,
  flags: 0,
  parent: 0,
  target: new Uint8Array(0),
  quota: 0,
});

function inodeTable(capacity: number) {
  const loaded: number[] = [];
  const inodes = new InodeTable({
    load: (ino) => {
      loaded.push(ino);
      return record(ino);
    },
    snapshots: () => undefined,
    durable: () => 3,
    capacity,
    overfull: () => undefined,
  });
  return { inodes, loaded };
}

describe('the table of inodes', () => {
  test('forgets the longest unused, and reads them again when asked', () => {
    const { inodes, loaded } = inodeTable(16);
    for (let ino = 1; ino <= 20; ino++) inodes.get(ino);
    while (inodes.resident(1) !== undefined) inodes.trim();
    expect(inodes.resident(20)).toBeDefined();
    loaded.length = 0;
    inodes.get(1);
    inodes.get(20);
    expect(loaded).toEqual([1]);
  });

  test('keeps what is open, without a name, or not durable', () => {
    const { inodes } = inodeTable(16);
    const kept = [1, 2, 3].map((ino) => inodes.get(ino));
    const [open, nameless, changed] = kept;
    if (open === undefined || nameless === undefined || changed === undefined) return;
    open.opens = 1;
    nameless.nlink = 0;
    changed.group = 4;
    for (let ino = 4; ino <= 100; ino++) inodes.get(ino);
    for (let i = 0; i < 100; i++) inodes.trim();
    for (const inode of kept) expect(inodes.resident(inode.ino)).toBe(inode);
    expect(inodes.resident(4)).toBeUndefined();
  });

  test('does not bring back from the store what was deleted and is not durable', () => {
    const { inodes } = inodeTable(16);
    const inode = new Inode(record(1));
    inodes.add(inode);
    inodes.delete(inode, 4);
    expect(inodes.peek(1)).toBeUndefined();
    inodes.forgetDeleted(3);
    expect(inodes.peek(1)).toBeUndefined();
    inodes.forgetDeleted(4);
    expect(inodes.peek(1)).toBeDefined();
  });
});

function directoryTable() {
  return new DirectoryTable({
    load: (ino) => ({ ino: ino + 1000, type: 0o100000, cookie: ino + 3 }),
    knowsAll: () => false,
    loadAll: async function* () {},
    durable: () => 3,
    capacity: 16,
    overfull: () => undefined,
  });
}

describe('the table of directories', () => {
  test('forgets whole directories, but none that is open or not durable', () => {
    const directories = directoryTable();
    const open = directories.get(1);
    open.opens = 1;
    const changed = directories.get(2);
    changed.group = 4;
    for (let ino = 1; ino <= 50; ino++) directories.lookup(ino, n('name'));
    const unused = directories.get(3);
    for (let i = 0; i < 100; i++) directories.trim();
    expect(directories.get(1)).toBe(open);
    expect(directories.get(2)).toBe(changed);
    expect(directories.get(3)).not.toBe(unused);
  });

  test('remembers that a name is not there only until the store says so itself', () => {
    const directory = new Directory(1, true);
    directory.set({ name: n('a'), ino: 2, type: 0o100000, cookie: 3 });
    directory.set({ name: n('b'), ino: 3, type: 0o100000, cookie: 4 });
    directory.remove(n('a'));
    expect(directory.entries.get(n('a'))).toBeNull();
    directory.settle();
    expect([...directory.entries.keys()]).toEqual(['b']);
    expect(directory.size).toBe(1);
  });
});

test('a tree much larger than the caches is made, changed, listed and removed', async ({ lab }) => {
  const { vfs } = lab;
  const names = Array.from({ length: 40 }, (_, i) => `f${i}`);
  for (let d = 0; d < 3; d++) {
    await makeDir(vfs, `d${d}`);
    for (const name of names) {
      const ino = await makeFile(vfs, `d${d}/${name}`);
      await vfs.setxattr(ino, 'user.a', Buffer.from(name), 'either', root);
      await withHandle(vfs, ino, 2, (handle) => vfs.write(handle, 0, Buffer.from(`${d}${name}`), root));
    }
  }
  await vfs.syncfs();
  await new Promise((resolve) => setImmediate(resolve));
  for (let d = 0; d < 3; d++) {
    const dir = (await at(vfs, `d${d}`)).ino;
    expect((await list(vfs, dir, 9)).slice(2)).toEqual(names);
    for (const name of names) {
      const { ino, size } = await at(vfs, `d${d}/${name}`);
      expect(size).toBe(name.length + 1);
      expect((await readAll(vfs, ino)).toString()).toBe(`${d}${name}`);
      expect(Buffer.from(await vfs.getxattr(ino, 'user.a', root)).toString()).toBe(name);
      await vfs.rename(dir, n(name), dir, n(`${name}-moved`), 'replace', root);
      await vfs.setattr(ino, { mode: 0o600 }, root);
    }
    expect(await errnoOfCall(() => vfs.rmdir(vfs.rootIno, n(`d${d}`), root))).toBe('ENOTEMPTY');
    for (const name of names) {
      expect((await at(vfs, `d${d}/${name}-moved`)).mode).toBe(0o100600);
      await vfs.unlink(dir, n(`${name}-moved`), root);
    }
    await vfs.rmdir(vfs.rootIno, n(`d${d}`), root);
  }
  await vfs.syncfs();
  expect(lab.fs.status()).toMatchObject({ inodes: 1, blocks: { free: 4094 } });
});

test('whoever changes more than is being written waits for the store', async ({ lab }) => {
  const { vfs } = lab;
  const pending: unknown[] = [];
  for (let i = 0; i < 100; i++) pending.push(vfs.mknod(vfs.rootIno, n(`f${i}`), 0o100644, 0, root));
  expect(pending.some((each) => each instanceof Promise)).toBe(true);
  await Promise.all(pending);
  expect((await list(vfs, vfs.rootIno)).length).toBe(102);
});

test('groups are sealed between operations: a crash at any moment shows whole ones', async ({ lab }) => {
  const { vfs } = lab;
  await makeDir(vfs, 'a');
  await makeDir(vfs, 'b');
  await makeFile(vfs, 'a/moving');
  await vfs.syncfs();
  const [a, b] = [(await at(vfs, 'a')).ino, (await at(vfs, 'b')).ino];
  for (let round = 0; round < 12; round++) {
    const [from, to] = round % 2 === 0 ? [a, b] : [b, a];
    await vfs.rename(from, n('moving'), to, n('moving'), 'replace', root);
    await makeFile(vfs, `filler${round}`);
    const crashed = await lab.afterCrash();
    try {
      const found = [...(await list(crashed.vfs, a)), ...(await list(crashed.vfs, b))];
      expect(found.filter((name) => name === 'moving')).toEqual(['moving']);
      expect(await crashed.problems(), 'found by fsck').toEqual([]);
    } finally {
      await crashed.remove();
    }
  }
});

test('EMLINK at the limit of links: for files, for subdirectories, and for those that move in', async ({ vfs }) => {
  const ino = await makeFile(vfs, 'f');
  for (let i = 1; i < 5; i++) await vfs.link(ino, vfs.rootIno, n(`f${i}`), root);
  expect(await errnoOfCall(() => vfs.link(ino, vfs.rootIno, n('more'), root))).toBe('EMLINK');
  expect((await vfs.getattr(ino, root)).nlink).toBe(limits.linkMax);

  const full = await makeDir(vfs, 'full');
  for (let i = 0; i < 3; i++) await makeDir(vfs, `full/d${i}`);
  expect(await errnoOfCall(() => makeDir(vfs, 'full/more'))).toBe('EMLINK');
  const other = await makeDir(vfs, 'other');
  await makeDir(vfs, 'other/d');
  const file = await makeFile(vfs, 'full/file');
  const move = (toName: string, mode: 'replace' | 'exchange') =>
    errnoOfCall(() => vfs.rename(other, n('d'), full, n(toName), mode, root));
  expect(await move('more', 'replace')).toBe('EMLINK');
  expect(await move('file', 'exchange')).toBe('EMLINK');
  expect((await at(vfs, 'full/file')).ino).toBe(file);
  expect(await move('d0', 'replace')).toBeUndefined();
  expect((await vfs.getattr(full, root)).nlink).toBe(limits.linkMax);
});

test('a file of many pieces is written, shifted and read while its records go in many groups', async ({ lab }) => {
  const ino = await makeFile(lab.vfs, 'f');
  await withHandle(lab.vfs, ino, 2, async (handle) => {
    for (let i = 0; i < 60; i++) await lab.vfs.write(handle, 2 * i * bs, pattern(bs, i), root);
    await lab.vfs.fallocate(handle, 'insert', bs, bs, root);
    await lab.vfs.fallocate(handle, 'collapse', 0, bs, root);
  });
  const crashed = await lab.afterCrash();
  expect(await crashed.problems(), 'found by fsck').toEqual([]);
  await crashed.remove();
  await lab.remount();
  const whole = await readAll(lab.vfs, ino);
  for (let i = 1; i < 60; i++)
    expect(whole.subarray(2 * i * bs, (2 * i + 1) * bs).equals(pattern(bs, i)), `piece ${i}`).toBe(true);
  await writeFile(lab.vfs, 'g', pattern(10));
});
