/** Names and inodes: what each call does, and each error that its manual page lists. */
import { describe, expect } from 'vitest';
import { limits } from '../../fs/limits.ts';
import type { MetaStore, StoreEntry, StoreOp } from '../../fs/meta/store.ts';
import { nameFromBytes, nameFromText } from '../../fs/name.ts';
import { alice, errnoOfCall, n, root, writeFile } from '../support/filesystem.ts';
import { at, clientRecord, Gate, list, makeDir, makeFile, test } from './fixture.ts';

/** Pages of a listing come only when the test says so; each shows the store as it was when the listing began. */
class SlowListing implements MetaStore {
  readonly #store: MetaStore;
  #gate: Gate | undefined;

  constructor(store: MetaStore) {
    this.#store = store;
  }

  hold(): Gate {
    this.#gate = new Gate();
    return this.#gate;
  }

  get room(): number {
    return this.#store.room;
  }

  get(key: Uint8Array): Uint8Array | undefined {
    return this.#store.get(key);
  }

  async *range(from: Uint8Array, to: Uint8Array): AsyncGenerator<readonly StoreEntry[]> {
    for await (const page of this.#store.range(from, to)) {
      await this.#gate?.passed;
      yield page;
    }
  }

  batch(ops: readonly StoreOp[], expected?: readonly StoreOp[]): Promise<void> {
    return this.#store.batch(ops, expected);
  }

  close(): Promise<void> {
    return this.#store.close();
  }
}

describe('create', () => {
  test('makes an empty file of the caller with one link', async ({ vfs }) => {
    await vfs.setattr(vfs.rootIno, { mode: 0o777 }, root);
    const { attr, handle } = await vfs.create(vfs.rootIno, n('f'), 0o640, 2, alice);
    await vfs.release(handle);
    expect(attr).toMatchObject({ mode: 0o100640, nlink: 1, uid: 1000, gid: 1000, size: 0, blocks: 0 });
    expect(await at(vfs, 'f')).toEqual(attr);
  });

  test('is seen in the times and the change attribute of the directory', async ({ vfs }) => {
    const before = await at(vfs, '');
    await makeFile(vfs, 'f');
    const after = await at(vfs, '');
    expect(after.change).toBeGreaterThan(before.change);
    expect(after.mtime).not.toEqual(before.mtime);
    expect(after.ctime).toEqual(after.mtime);
  });

  test('EEXIST where the name is taken, by anything', async ({ vfs }) => {
    await makeFile(vfs, 'f');
    await makeDir(vfs, 'd');
    expect(await errnoOfCall(() => makeFile(vfs, 'f'))).toBe('EEXIST');
    expect(await errnoOfCall(() => makeFile(vfs, 'd'))).toBe('EEXIST');
    expect(await errnoOfCall(() => makeDir(vfs, 'f'))).toBe('EEXIST');
  });

  test('ENOTDIR below a file', async ({ vfs }) => {
    await makeFile(vfs, 'f');
    expect(await errnoOfCall(() => makeFile(vfs, 'f/below'))).toBe('ENOTDIR');
    expect(await errnoOfCall(() => makeDir(vfs, 'f/below'))).toBe('ENOTDIR');
  });

  test('ENOENT in a directory that was removed while open', async ({ vfs }) => {
    const dir = await makeDir(vfs, 'd');
    const handle = await vfs.opendir(dir, root);
    await vfs.rmdir(vfs.rootIno, n('d'), root);
    expect(await errnoOfCall(() => vfs.create(dir, n('f'), 0o644, 2, root))).toBe('ENOENT');
    expect(await errnoOfCall(() => vfs.mkdir(dir, n('e'), 0o755, root))).toBe('ENOENT');
    await vfs.release(handle);
  });

  test("EINVAL for '.' and '..', which no directory holds as entries", async ({ vfs }) => {
    const file = await makeFile(vfs, 'f');
    for (const dots of ['.', '..']) {
      const name = nameFromText(dots);
      expect(await errnoOfCall(() => vfs.create(vfs.rootIno, name, 0o644, 2, root))).toBe('EINVAL');
      expect(await errnoOfCall(() => vfs.mkdir(vfs.rootIno, name, 0o755, root))).toBe('EINVAL');
      expect(await errnoOfCall(() => vfs.link(file, vfs.rootIno, name, root))).toBe('EINVAL');
      expect(await errnoOfCall(() => vfs.rename(vfs.rootIno, n('f'), vfs.rootIno, name, 'replace', root))).toBe(
        'EINVAL',
      );
      expect(await errnoOfCall(() => vfs.rmdir(vfs.rootIno, name, root))).toBe('EINVAL');
      expect(await errnoOfCall(() => vfs.unlink(vfs.rootIno, name, root))).toBe('EINVAL');
    }
    expect(await list(vfs, vfs.rootIno)).toEqual(['.', '..', 'f']);
  });

  test('takes any bytes as a name, up to 255 of them', async ({ lab }) => {
    const bytes = Buffer.alloc(255, 0xff);
    bytes[7] = 0x0a;
    const name = nameFromBytes(bytes);
    const { attr, handle } = await lab.vfs.create(lab.vfs.rootIno, name, 0o644, 0, root);
    await lab.vfs.release(handle);
    await lab.remount();
    expect((await lab.vfs.lookup(lab.vfs.rootIno, name, root)).ino).toBe(attr.ino);
    expect(await list(lab.vfs, lab.vfs.rootIno)).toContain(name);
    expect(await errnoOfCall(() => nameFromBytes(Buffer.alloc(256, 0x61)))).toBe('ENAMETOOLONG');
  });
});

describe('mkdir', () => {
  test('makes two links to the directory and one more to its parent', async ({ vfs }) => {
    const before = await at(vfs, '');
    await makeDir(vfs, 'd', 0o750);
    expect(await at(vfs, 'd')).toMatchObject({ mode: 0o40750, nlink: 2 });
    expect((await at(vfs, '')).nlink).toBe(before.nlink + 1);
    await makeDir(vfs, 'd/e');
    expect((await at(vfs, 'd')).nlink).toBe(3);
  });
});

describe('rmdir', () => {
  test('takes the name and the link to the parent away', async ({ vfs }) => {
    const dir = await makeDir(vfs, 'd');
    await vfs.rmdir(vfs.rootIno, n('d'), root);
    expect((await at(vfs, '')).nlink).toBe(2);
    expect(await errnoOfCall(() => at(vfs, 'd'))).toBe('ENOENT');
    expect(await errnoOfCall(() => vfs.getattr(dir, root))).toBe('ESTALE');
  });

  test('ENOTEMPTY as long as one entry is there, also one that only the store knows', async ({ lab }) => {
    await makeDir(lab.vfs, 'd');
    await makeFile(lab.vfs, 'd/f');
    expect(await errnoOfCall(() => lab.vfs.rmdir(lab.vfs.rootIno, n('d'), root))).toBe('ENOTEMPTY');
    await lab.remount();
    expect(await errnoOfCall(() => lab.vfs.rmdir(lab.vfs.rootIno, n('d'), root))).toBe('ENOTEMPTY');
    await lab.vfs.unlink((await at(lab.vfs, 'd')).ino, n('f'), root);
    await lab.vfs.rmdir(lab.vfs.rootIno, n('d'), root);
  });

  test('ENOENT, ENOTDIR', async ({ vfs }) => {
    await makeFile(vfs, 'f');
    expect(await errnoOfCall(() => vfs.rmdir(vfs.rootIno, n('d'), root))).toBe('ENOENT');
    expect(await errnoOfCall(() => vfs.rmdir(vfs.rootIno, n('f'), root))).toBe('ENOTDIR');
  });

  test('a directory that is open lives on, without links and without entries', async ({ vfs }) => {
    const dir = await makeDir(vfs, 'd');
    const handle = await vfs.opendir(dir, root);
    await vfs.rmdir(vfs.rootIno, n('d'), root);
    expect((await vfs.getattr(dir, root)).nlink).toBe(0);
    expect((await vfs.readdir(handle, 2, 10, root)).length).toBe(0);
    await vfs.release(handle);
    expect(await errnoOfCall(() => vfs.getattr(dir, root))).toBe('ESTALE');
  });
});

describe('link and unlink', () => {
  test('two names are one inode; the last one takes it along', async ({ vfs }) => {
    const ino = await writeFile(vfs, 'a', Buffer.from('content'));
    const before = await vfs.getattr(ino, root);
    const linked = await vfs.link(ino, vfs.rootIno, n('b'), root);
    expect(linked).toMatchObject({ ino, nlink: 2, size: 7 });
    expect(linked.ctime).not.toEqual(before.ctime);
    expect(linked.mtime).toEqual(before.mtime);
    await vfs.unlink(vfs.rootIno, n('a'), root);
    expect(await at(vfs, 'b')).toMatchObject({ ino, nlink: 1 });
    await vfs.unlink(vfs.rootIno, n('b'), root);
    expect(await errnoOfCall(() => vfs.getattr(ino, root))).toBe('ESTALE');
  });

  test('EPERM for directories, EEXIST, ESTALE for what is gone', async ({ vfs }) => {
    const dir = await makeDir(vfs, 'd');
    const file = await makeFile(vfs, 'f');
    expect(await errnoOfCall(() => vfs.link(dir, vfs.rootIno, n('d2'), root))).toBe('EPERM');
    expect(await errnoOfCall(() => vfs.link(file, vfs.rootIno, n('d'), root))).toBe('EEXIST');
    await vfs.unlink(vfs.rootIno, n('f'), root);
    expect(await errnoOfCall(() => vfs.link(file, vfs.rootIno, n('g'), root))).toBe('ESTALE');
  });

  test('unlink: ENOENT, EISDIR, ENOTDIR', async ({ vfs }) => {
    await makeDir(vfs, 'd');
    const file = await makeFile(vfs, 'f');
    expect(await errnoOfCall(() => vfs.unlink(vfs.rootIno, n('x'), root))).toBe('ENOENT');
    expect(await errnoOfCall(() => vfs.unlink(vfs.rootIno, n('d'), root))).toBe('EISDIR');
    expect(await errnoOfCall(() => vfs.unlink(file, n('x'), root))).toBe('ENOTDIR');
  });

  test('the inode count follows', async ({ lab }) => {
    const before = lab.fs.status().inodes;
    const ino = await makeFile(lab.vfs, 'f');
    await lab.vfs.link(ino, lab.vfs.rootIno, n('g'), root);
    expect(lab.fs.status().inodes).toBe(before + 1);
    await lab.vfs.unlink(lab.vfs.rootIno, n('f'), root);
    await lab.vfs.unlink(lab.vfs.rootIno, n('g'), root);
    expect(lab.fs.status().inodes).toBe(before);
  });
});

describe('symlink', () => {
  test('keeps its target byte for byte', async ({ lab }) => {
    const target = Buffer.from([0x2e, 0x2e, 0x2f, 0xff, 0x0a]);
    const attr = await lab.vfs.symlink(lab.vfs.rootIno, n('l'), target, root);
    expect(attr).toMatchObject({ mode: 0o120777, size: 5, nlink: 1 });
    await lab.remount();
    expect(Buffer.from(await lab.vfs.readlink(attr.ino, root))).toEqual(target);
  });

  test('ENOENT for an empty target, ENAMETOOLONG past 4095 bytes, EINVAL to read what is none', async ({ vfs }) => {
    const make = (target: Buffer) => vfs.symlink(vfs.rootIno, n('l'), target, root);
    expect(await errnoOfCall(() => make(Buffer.alloc(0)))).toBe('ENOENT');
    expect(await errnoOfCall(() => make(Buffer.alloc(limits.symlinkMax + 1, 0x61)))).toBe('ENAMETOOLONG');
    expect(await errnoOfCall(() => make(Buffer.alloc(limits.symlinkMax, 0x61)))).toBeUndefined();
    const file = await makeFile(vfs, 'f');
    expect(await errnoOfCall(() => vfs.readlink(file, root))).toBe('EINVAL');
  });
});

describe('mknod', () => {
  test('makes fifos, sockets, plain files, and devices with their number', async ({ lab }) => {
    const { vfs } = lab;
    await vfs.mknod(vfs.rootIno, n('fifo'), 0o010600, 0, root);
    await vfs.mknod(vfs.rootIno, n('sock'), 0o140600, 0, root);
    await vfs.mknod(vfs.rootIno, n('plain'), 0o600, 0, root);
    await vfs.mknod(vfs.rootIno, n('null'), 0o020666, 0x103, root);
    await lab.remount();
    expect((await at(lab.vfs, 'fifo')).mode).toBe(0o010600);
    expect((await at(lab.vfs, 'sock')).mode).toBe(0o140600);
    expect((await at(lab.vfs, 'plain')).mode).toBe(0o100600);
    expect(await at(lab.vfs, 'null')).toMatchObject({ mode: 0o020666, rdev: 0x103 });
  });

  test('EINVAL for directories, symlinks, unknown types and device numbers past 32 bits', async ({ lab }) => {
    const make = (mode: number, rdev = 0) => lab.vfs.mknod(lab.vfs.rootIno, n('x'), mode, rdev, root);
    for (const mode of [0o040755, 0o120777, 0o030600, 0o170600]) {
      expect(await errnoOfCall(() => make(mode)), mode.toString(8)).toBe('EINVAL');
    }
    expect(await errnoOfCall(() => make(0o020600, 2 ** 32))).toBe('EINVAL');
    await lab.vfs.syncfs();
    expect(lab.fs.status().shutdown).toBeUndefined();
  });

  test('bits past the mode and the number of what is no device are dropped, never stored', async ({ lab }) => {
    const attr = await lab.vfs.mknod(lab.vfs.rootIno, n('x'), 0xffff_0000 + 0o100644, 2 ** 40, root);
    expect(attr).toMatchObject({ mode: 0o100644, rdev: 0 });
    await lab.vfs.syncfs();
  });
});

describe('tmpfile', () => {
  test('has no name and no link until it is linked', async ({ vfs }) => {
    const { attr, handle } = await vfs.tmpfile(vfs.rootIno, 0o600, 2, root);
    expect(attr.nlink).toBe(0);
    expect(await list(vfs, vfs.rootIno)).toEqual(['.', '..']);
    await vfs.write(handle, 0, Buffer.from('x'), root);
    await vfs.link(attr.ino, vfs.rootIno, n('named'), root);
    await vfs.release(handle);
    expect(await at(vfs, 'named')).toMatchObject({ ino: attr.ino, nlink: 1, size: 1 });
  });

  test('goes with its handle otherwise', async ({ lab }) => {
    const before = lab.fs.status();
    const { attr, handle } = await lab.vfs.tmpfile(lab.vfs.rootIno, 0o600, 2, root);
    await lab.vfs.write(handle, 0, Buffer.alloc(100_000, 1), root);
    await lab.vfs.release(handle);
    await lab.vfs.syncfs();
    expect(await errnoOfCall(() => lab.vfs.getattr(attr.ino, root))).toBe('ESTALE');
    expect(lab.fs.status()).toMatchObject({ inodes: before.inodes, blocks: before.blocks });
  });
});

describe('lookup', () => {
  test("'.' is the directory and '..' its parent; the root is its own", async ({ vfs }) => {
    const d = await makeDir(vfs, 'd');
    const e = await makeDir(vfs, 'd/e');
    expect((await vfs.lookup(e, '.', root)).ino).toBe(e);
    expect((await vfs.lookup(e, '..', root)).ino).toBe(d);
    expect((await vfs.lookup(vfs.rootIno, '..', root)).ino).toBe(vfs.rootIno);
  });

  test('ENOENT, also when asked twice; found once it is made', async ({ vfs }) => {
    expect(await errnoOfCall(() => at(vfs, 'f'))).toBe('ENOENT');
    expect(await errnoOfCall(() => at(vfs, 'f'))).toBe('ENOENT');
    const ino = await makeFile(vfs, 'f');
    expect((await at(vfs, 'f')).ino).toBe(ino);
  });

  test('ENOTDIR in a file, ESTALE in what is gone', async ({ vfs }) => {
    const file = await makeFile(vfs, 'f');
    const dir = await makeDir(vfs, 'd');
    await vfs.rmdir(vfs.rootIno, n('d'), root);
    expect(await errnoOfCall(() => vfs.lookup(file, n('x'), root))).toBe('ENOTDIR');
    expect(await errnoOfCall(() => vfs.lookup(dir, n('x'), root))).toBe('ESTALE');
  });
});

describe('readdir', () => {
  test("'.' and '..' come first, then entries in pages of any size, each once", async ({ vfs }) => {
    const names = Array.from({ length: 25 }, (_, i) => `f${i}`);
    for (const name of names) await makeFile(vfs, name);
    for (const page of [1, 2, 3, 7, 100]) {
      expect(await list(vfs, vfs.rootIno, page), `pages of ${page}`).toEqual(['.', '..', ...names]);
    }
  });

  test('tells type and inode of each entry', async ({ lab }) => {
    const dir = await makeDir(lab.vfs, 'd');
    const file = await makeFile(lab.vfs, 'd/f');
    await lab.remount();
    const handle = await lab.vfs.opendir(dir, root);
    const entries = await lab.vfs.readdir(handle, 0, 10, root);
    await lab.vfs.release(handle);
    expect(entries.map(({ name, ino, type }) => [name, ino, type])).toEqual([
      ['.', dir, 0o040000],
      ['..', lab.vfs.rootIno, 0o040000],
      ['f', file, 0o100000],
    ]);
  });

  test('what is there all the time is listed once while others come and go', async ({ vfs }) => {
    const kept = Array.from({ length: 300 }, (_, i) => `kept${i}`);
    for (const [i, name] of kept.entries()) {
      await makeFile(vfs, name);
      await makeFile(vfs, `going${i}`);
    }
    const handle = await vfs.opendir(vfs.rootIno, root);
    const seen: string[] = [];
    for (let cookie = 0, page = 0; ; page++) {
      const entries = await vfs.readdir(handle, cookie, 10, root);
      if (entries.length === 0) break;
      for (const { name } of entries) seen.push(name);
      cookie = entries.at(-1)?.cookie ?? 0;
      for (let i = page * 5; i < page * 5 + 5 && i < 300; i++) {
        await vfs.unlink(vfs.rootIno, n(`going${i}`), root);
        if (page < 20) await makeFile(vfs, `coming${i}`);
      }
    }
    await vfs.release(handle);
    expect(seen.filter((name) => name.startsWith('kept'))).toEqual(kept);
    expect(new Set(seen).size).toBe(seen.length);
  });

  test('a name that was removed and made again is not listed twice', async ({ vfs }) => {
    await makeFile(vfs, 'a');
    const handle = await vfs.opendir(vfs.rootIno, root);
    await vfs.readdir(handle, 0, 10, root);
    await vfs.unlink(vfs.rootIno, n('a'), root);
    await makeFile(vfs, 'a');
    const entries = await vfs.readdir(handle, 0, 10, root);
    expect(entries.map(({ name }) => name)).toEqual(['.', '..', 'a']);
    await vfs.release(handle);
  });

  test('ENOTDIR to open a file so, EBADF after release', async ({ vfs }) => {
    const file = await makeFile(vfs, 'f');
    expect(await errnoOfCall(() => vfs.opendir(file, root))).toBe('ENOTDIR');
    const handle = await vfs.opendir(vfs.rootIno, root);
    await vfs.release(handle);
    expect(await errnoOfCall(() => vfs.readdir(handle, 0, 10, root))).toBe('EBADF');
  });

  test('changes made while a directory is loaded are in the listing, even if they are durable before', async ({
    lab,
  }) => {
    for (let i = 0; i < 200; i++) await makeFile(lab.vfs, `f${i}`);
    await lab.unmount();
    const store: { slow?: SlowListing } = {};
    await lab.mount(undefined, { store: (real) => (store.slow = new SlowListing(real)) });
    const { vfs } = lab;
    const loaded = store.slow?.hold();
    const handle = await vfs.opendir(vfs.rootIno, root);
    const listing = vfs.readdir(handle, 0, 1000, root);
    await Promise.all([
      vfs.unlink(vfs.rootIno, n('f10'), root),
      vfs.rename(vfs.rootIno, n('f20'), vfs.rootIno, n('renamed'), 'replace', root),
      makeFile(vfs, 'new'),
    ]);
    await vfs.syncfs();
    loaded?.open();
    const names = (await listing).map(({ name }) => String(name));
    await vfs.release(handle);
    expect(names).toContain('new');
    expect(names).toContain('renamed');
    expect(names).not.toContain('f10');
    expect(names).not.toContain('f20');
    expect(names.length).toBe(2 + 200);
  });
});

test('a directory of 100 000 entries is listed whole and searched by name', async ({ lab }) => {
  const count = 100_000;
  const dir = await makeDir(lab.vfs, 'd');
  for (let i = 0; i < count; i++) await lab.vfs.mknod(dir, n(`entry-${i}`), 0o100644, 0, root);
  await lab.remount();
  expect((await lab.vfs.lookup(dir, n('entry-99999'), root)).mode).toBe(0o100644);
  expect(await errnoOfCall(() => lab.vfs.lookup(dir, n('entry-100000'), root))).toBe('ENOENT');
  const names = await list(lab.vfs, dir, 1000);
  expect(names.length).toBe(count + 2);
  expect(new Set(names).size).toBe(count + 2);
  expect(await errnoOfCall(() => lab.vfs.rmdir(lab.vfs.rootIno, n('d'), root))).toBe('ENOTEMPTY');
});

test('a read-only mount refuses every change with EROFS and changes nothing', async ({ lab }) => {
  const file = await writeFile(lab.vfs, 'f', Buffer.from('x'));
  await makeDir(lab.vfs, 'd');
  await lab.unmount();
  await lab.mount(undefined, { readOnly: true });
  const { vfs } = lab;
  const top = vfs.rootIno;
  const changes: (() => unknown)[] = [
    () => vfs.create(top, n('new'), 0o644, 2, root),
    () => vfs.mkdir(top, n('new'), 0o755, root),
    () => vfs.mknod(top, n('new'), 0o100644, 0, root),
    () => vfs.symlink(top, n('new'), Buffer.from('x'), root),
    () => vfs.tmpfile(top, 0o600, 2, root),
    () => vfs.link(file, top, n('new'), root),
    () => vfs.unlink(top, n('f'), root),
    () => vfs.rmdir(top, n('d'), root),
    () => vfs.rename(top, n('f'), top, n('g'), 'replace', root),
    () => vfs.setattr(file, { mode: 0o600 }, root),
    () => vfs.setattr(file, { size: 0 }, root),
    () => vfs.setxattr(file, 'user.a', Buffer.from('x'), 'either', root),
    () => vfs.removexattr(file, 'user.a', root),
    () => vfs.open(file, 2, root),
    () => vfs.access(file, 2, root),
    () => lab.fs.cloneFile(file, top, n('new'), root),
    () => lab.fs.putClient(clientRecord(1)),
  ];
  for (const change of changes) expect(await errnoOfCall(change), String(change)).toBe('EROFS');
  const handle = await vfs.open(file, 0, root);
  expect(await vfs.read(handle, 0, 10, root, (pieces) => Buffer.concat(pieces).toString())).toBe('x');
  await vfs.release(handle);
  expect(await list(vfs, top)).toEqual(['.', '..', 'f', 'd']);
});

test('a directory asked for many names that it does not have loads itself, and misses nothing', async ({ lab }) => {
  const made = lab.vfs;
  for (let i = 0; i < 300; i++) await makeFile(made, `there-${i}`);
  await made.syncfs();
  await lab.remount();
  const { vfs } = lab;
  for (let i = 0; i < 200; i++) expect(await vfs.find(vfs.rootIno, n(`missing-${i}`), root)).toBeUndefined();
  await makeFile(vfs, 'missing-7');
  await vfs.unlink(vfs.rootIno, n('there-7'), root);
  // Whatever the load under way meets meanwhile: what is newer stays.
  expect((await list(vfs, vfs.rootIno)).length).toBe(302);
  expect((await vfs.find(vfs.rootIno, n('missing-7'), root))?.nlink).toBe(1);
  expect(await vfs.find(vfs.rootIno, n('there-7'), root)).toBeUndefined();
  expect((await vfs.find(vfs.rootIno, n('there-299'), root))?.nlink).toBe(1);
});
