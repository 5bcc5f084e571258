import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openDevice } from '../../fs/bar/open.ts';
import {
  decodeCounts,
  decodeDentry,
  decodeExtent,
  decodeInode,
  encodeCounts,
  encodeCut,
  encodeDentry,
  encodeExtent,
  encodeHold,
  encodeInode,
  encodeOrphan,
  encodeProvisional,
  encodeXattr,
} from '../../fs/format/codec.ts';
import {
  countsKey,
  cutKey,
  dentryKey,
  extentKey,
  holdKey,
  inodeKey,
  orphanKey,
  provisionalKey,
  xattrKey,
} from '../../fs/format/keys.ts';
import {
  type CountsRecord,
  EXTENT_SHARED,
  EXTENT_UNWRITTEN,
  type ExtentRecord,
  INODE_ALIGN_SHIFT,
  INODE_COW,
  INODE_PINNED,
  INODE_SNAPSHOT,
  INODE_SNAPSHOTS,
  type InodeRecord,
} from '../../fs/format/records.ts';
import { snapshotsIno } from '../../fs/format/snapshots.ts';
import { type CheckSummary, checkFilesystem } from '../../fs/fsck/check.ts';
import { problemText } from '../../fs/fsck/problem.ts';
import { limits } from '../../fs/limits.ts';
import { openLevelStore } from '../../fs/meta/level-store.ts';
import type { MetaStore, StoreOp } from '../../fs/meta/store.ts';
import { Lab, n, root, writeFile } from '../support/filesystem.ts';

const bs = limits.blockSize;
const rootIno = 1;

let lab: Lab;
/** Inode numbers of what stands in the filesystem: /dir/inner, /dir/file (two blocks), /file (two blocks, two names). */
let at: { dir: number; inner: number; deep: number; file: number };

beforeEach(async () => {
  lab = await Lab.create();
  const { vfs } = lab;
  const dir = (await vfs.mkdir(rootIno, n('dir'), 0o755, root)).ino;
  const inner = (await vfs.mkdir(dir, n('inner'), 0o755, root)).ino;
  const { attr, handle } = await vfs.create(dir, n('file'), 0o644, 2, root);
  await vfs.write(handle, 0, Buffer.alloc(2 * bs, 'd'), root);
  await vfs.release(handle);
  const file = await writeFile(vfs, 'file', Buffer.alloc(2 * bs, 'f'));
  await vfs.link(file, rootIno, n('again'), root);
  await lab.fs.cloneFile(file, rootIno, n('clone'), root);
  await vfs.setxattr(file, 'user.note', Buffer.from('x'), 'either', root);
  at = { dir, inner, deep: attr.ino, file };
  await lab.unmount();
});

afterEach(() => lab.remove());

async function check(image = lab.image, meta = lab.meta): Promise<CheckSummary> {
  const device = await openDevice(image, { writable: false, lock: true });
  const store = await openLevelStore(meta, { create: false });
  try {
    return await checkFilesystem({ device, store, onPass: () => {}, onProblem: () => {} });
  } finally {
    await store.close();
    await device.close();
  }
}

/** What was found, one line each. */
async function problems(): Promise<readonly string[]> {
  return (await check()).problems.map((problem) => `${problem.pass} ${problem.code}: ${problemText(problem)}`);
}

async function damage(ops: (store: MetaStore) => readonly StoreOp[]): Promise<void> {
  const store = await openLevelStore(lab.meta, { create: false });
  try {
    await store.batch(ops(store));
  } finally {
    await store.close();
  }
}

function inodeChange(store: MetaStore, ino: number, change: Partial<InodeRecord>): StoreOp {
  const key = inodeKey(ino);
  return { key, value: encodeInode({ ...decodeInode(key, present(store.get(key))), ...change }) };
}

function flagsOf(store: MetaStore, ino: number): number {
  const key = inodeKey(ino);
  return decodeInode(key, present(store.get(key))).flags;
}

function pin(store: MetaStore, exponent = 0): StoreOp {
  return inodeChange(store, at.deep, { flags: INODE_PINNED | (exponent << INODE_ALIGN_SHIFT) });
}

function extentOf(store: MetaStore, ino: number): ExtentRecord {
  const key = extentKey(ino, 0);
  return decodeExtent(key, present(store.get(key)));
}

function countsOf(store: MetaStore): CountsRecord {
  return decodeCounts(countsKey(), present(store.get(countsKey())));
}

const provided = (block: number, length: number) => encodeProvisional({ clientId: 1, device: 0, block, length });

function present<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('the record is not there');
  return value;
}

describe('a sound filesystem', () => {
  test('is clean, with clones, hard links and xattrs', async () => {
    const summary = await check();
    expect(summary.problems).toEqual([]);
    expect(summary).toMatchObject({ dirty: false, inodes: 6, usage: { fileBlocks: 4, provisionalBlocks: 0 } });
  });

  test('is clean after a crash, and says that it was not unmounted', async () => {
    await lab.mount();
    await writeFile(lab.vfs, 'late', Buffer.from('late'));
    await lab.vfs.syncfs();
    const copy = join(lab.dir, 'copy');
    await cp(lab.meta, join(copy, 'meta'), { recursive: true });
    await cp(lab.image, join(copy, 'image'));
    const summary = await check(join(copy, 'image'), join(copy, 'meta'));
    expect(summary.problems).toEqual([]);
    expect(summary).toMatchObject({ dirty: true, inodes: 7 });
  });
});

describe('pinned files', () => {
  test('one that is in one piece and aligned is sound', async () => {
    await damage((store) => [pin(store)]);
    expect(await problems()).toEqual([]);
  });

  test.each([
    ['in two pieces', 'file block 1 begins another extent'],
    ['too short', 'its extent has file blocks 0+1, not 0+2'],
    ['unwritten', 'it is unwritten, or shared with other files'],
    ['not aligned', 'of the device is no multiple of 1073741824'],
    ['without blocks', 'has no blocks'],
  ])('one that is %s is found', async (what, detail) => {
    await damage((store) => {
      const extent = extentOf(store, at.deep);
      const put = (fileBlock: number, value: ExtentRecord | undefined): StoreOp => ({
        key: extentKey(at.deep, fileBlock),
        value: value === undefined ? undefined : encodeExtent(value),
      });
      const { block } = extent;
      switch (what) {
        case 'in two pieces':
          return [pin(store), put(0, { ...extent, length: 1 }), put(1, { ...extent, block: block + 1, length: 1 })];
        case 'too short':
          return [pin(store), put(0, { ...extent, length: 1 })];
        case 'unwritten':
          return [pin(store), put(0, { ...extent, flags: EXTENT_UNWRITTEN })];
        case 'not aligned':
          return [pin(store, 18)];
        default:
          return [pin(store), put(0, undefined)];
      }
    });
    expect(await problems()).toEqual(expect.arrayContaining([expect.stringContaining(detail)]));
    expect((await problems()).every((each) => each.startsWith('5 pinned: '))).toBe(true);
  });
});

describe('names', () => {
  test('an entry that leads nowhere is found with its name', async () => {
    await damage(() => [{ key: inodeKey(at.deep), value: undefined }]);
    expect(await problems()).toEqual(
      expect.arrayContaining([
        `3 dangling-entry: inode ${at.dir} (/dir): entry "file" leads to inode ${at.deep}, which does not exist`,
        expect.stringContaining('5 extent-owner'),
      ]),
    );
  });

  test('an entry that says another type than its inode is found', async () => {
    await damage((store) => {
      const key = dentryKey(rootIno, n('file'));
      const entry = decodeDentry(key, present(store.get(key)));
      return [{ key, value: encodeDentry({ ...entry, type: 0o120000 }) }];
    });
    expect(await problems()).toEqual([
      `3 entry-type: inode 1 (/): entry "file" says type 0120000, inode ${at.file} is of type 0100000`,
    ]);
  });

  test('a file without a name is found, unless it is recorded as open', async () => {
    await damage((store) => [
      { key: dentryKey(at.dir, n('file')), value: undefined },
      inodeChange(store, at.deep, { nlink: 0 }),
    ]);
    expect(await problems()).toEqual([
      `3 disconnected: inode ${at.deep}: has no name and is not recorded as an orphan`,
    ]);
    await damage(() => [{ key: orphanKey(at.deep), value: encodeOrphan() }]);
    expect(await problems()).toEqual([]);
  });

  test('an orphan that has a name is found', async () => {
    await damage(() => [{ key: orphanKey(at.file), value: encodeOrphan() }]);
    expect(await problems()).toEqual([expect.stringContaining('3 orphan')]);
  });

  test('two directories in each other, with no way to the root, are found', async () => {
    await damage((store) => {
      const key = dentryKey(rootIno, n('dir'));
      const entry = present(store.get(key));
      return [
        { key, value: undefined },
        { key: dentryKey(at.inner, n('loop')), value: entry },
        inodeChange(store, at.dir, { parent: at.inner }),
      ];
    });
    const found = await problems();
    expect(found.filter((text) => text.startsWith('3 disconnected'))).toHaveLength(2);
  });

  test('a directory with two names, and one whose parent is another, are found', async () => {
    await damage((store) => {
      const entry = present(store.get(dentryKey(at.dir, n('inner'))));
      return [{ key: dentryKey(rootIno, n('twice')), value: entry }, inodeChange(store, at.dir, { parent: at.inner })];
    });
    const found = await problems();
    expect(found).toContain(`3 two-parents: inode ${at.inner} (/dir/inner): the directory has 2 names`);
    expect(found).toContain(
      `3 parent: inode ${at.dir} (/dir): says its parent is inode ${at.inner}, but is in inode 1`,
    );
  });

  test('two entries at one listing position are found', async () => {
    await damage((store) => {
      const key = dentryKey(rootIno, n('file'));
      const other = dentryKey(rootIno, n('again'));
      const { cookie } = decodeDentry(other, present(store.get(other)));
      return [{ key, value: encodeDentry({ ...decodeDentry(key, present(store.get(key))), cookie }) }];
    });
    expect(await problems()).toEqual([expect.stringContaining('3 cookie')]);
  });
});

describe('inodes', () => {
  test('a wrong link count is found, of a file and of a directory', async () => {
    await damage((store) => [inodeChange(store, at.file, { nlink: 7 }), inodeChange(store, at.dir, { nlink: 2 })]);
    expect(await problems()).toEqual([
      `4 link-count: inode ${at.dir} (/dir): has link count 2, should be 3`,
      `4 link-count: inode ${at.file} (/again): has link count 7, should be 2`,
    ]);
  });

  test('a record that does not decode is found, and the check goes on', async () => {
    await damage(() => [{ key: inodeKey(at.deep), value: Buffer.from('garbage') }]);
    const found = await problems();
    expect(found[0]).toMatch(/^2 bad-record/);
    expect(found.some((text) => text.startsWith('3 dangling-entry'))).toBe(true);
  });

  test('an extended attribute of nobody is found', async () => {
    await damage(() => [{ key: xattrKey(999, 'user.lost'), value: encodeXattr(Buffer.from('x')) }]);
    expect(await problems()).toEqual(['2 xattr: inode 999: has an extended attribute and does not exist']);
  });

  test('a number that would be given once more is found', async () => {
    await damage((store) => {
      const file = decodeInode(inodeKey(at.file), present(store.get(inodeKey(at.file))));
      const name = dentryKey(rootIno, n('file'));
      return [
        { key: inodeKey(10 ** 9), value: encodeInode({ ...file, ino: 10 ** 9, nlink: 1 }) },
        {
          key: dentryKey(rootIno, n('far')),
          value: encodeDentry({ ...decodeDentry(name, present(store.get(name))), ino: 10 ** 9, cookie: 99 }),
        },
      ];
    });
    expect(await problems()).toEqual([
      expect.stringContaining(`2 inode-number: inode ${10 ** 9}`),
      expect.stringContaining('2 inode-count'),
    ]);
  });

  test('a wrong count of them is found; one that was left by a program without counts is none', async () => {
    const key = countsKey();
    await damage((store) => [{ key, value: encodeCounts({ ...countsOf(store), inodes: 5 }) }]);
    expect(await problems()).toEqual(['2 inode-count: 5 inodes are counted in the metadata store, there are 6']);
    await damage((store) => [{ key, value: encodeCounts({ generation: countsOf(store).generation - 1, inodes: 5 }) }]);
    expect(await problems()).toEqual([]);
  });
});

describe('blocks', () => {
  test('two files on one block are found, unless both say that they share it', async () => {
    await damage((store) => [{ key: extentKey(at.deep, 0), value: encodeExtent(extentOf(store, at.file)) }]);
    expect(await problems()).toEqual([]); // the clone made them shared
    await damage((store) => {
      const extent = extentOf(store, at.file);
      return [{ key: extentKey(at.deep, 0), value: encodeExtent({ ...extent, flags: extent.flags & ~EXTENT_SHARED }) }];
    });
    const found = await problems();
    expect(found.length).toBeGreaterThan(0);
    expect(found.every((text) => text.startsWith('5 shared-blocks'))).toBe(true);
  });

  test('blocks outside of the filesystem, the superblocks among them, are found', async () => {
    const last = (16 << 20) / bs - 1;
    await damage((store) => [
      { key: extentKey(at.deep, 0), value: encodeExtent({ ...extentOf(store, at.deep), block: last - 1 }) },
    ]);
    expect(await problems()).toEqual([
      `5 out-of-bounds: inode ${at.deep} (/dir/file): extent: blocks ${last - 1}..${last} are outside of 1..${last - 1}`,
    ]);
  });

  test('written blocks past the end of the file are found', async () => {
    await damage((store) => [inodeChange(store, at.deep, { size: 10 })]);
    expect(await problems()).toEqual([
      `5 beyond-eof: inode ${at.deep} (/dir/file): written file blocks 0..1 lie past the end at block 1`,
    ]);
  });

  test('what is being cut may lie there, of a regular file', async () => {
    await damage((store) => [
      inodeChange(store, at.deep, { size: 10 }),
      { key: cutKey(at.deep), value: encodeCut({ ino: at.deep, from: 1, to: 2 }) },
    ]);
    expect(await problems()).toEqual([]);
    await damage(() => [{ key: cutKey(at.dir), value: encodeCut({ ino: at.dir, from: 0, to: 1 }) }]);
    expect(await problems()).toEqual([
      `5 cut: inode ${at.dir} (/dir): blocks are being taken out of it, and it is not a regular file`,
    ]);
  });

  test('one place of a file mapped twice is found', async () => {
    await damage((store) => [
      { key: extentKey(at.deep, 1), value: encodeExtent({ ...extentOf(store, at.deep), block: 1000, length: 1 }) },
    ]);
    expect(await problems()).toEqual([
      `5 file-overlap: inode ${at.deep} (/dir/file): file blocks 1..1 are mapped twice`,
    ]);
  });

  test('blocks granted for writing that belong to a file as well are found', async () => {
    await damage((store) => {
      const { block } = extentOf(store, at.deep);
      const value = encodeProvisional({ clientId: 1, device: 0, block, length: 1 });
      return [{ key: provisionalKey(at.file, 8), value }];
    });
    expect(await problems()).toEqual([expect.stringMatching(/^5 provisional: inode/)]);
  });

  test('blocks granted for writing over those of a file are in order where these are shared or the file is `cow`', async () => {
    const give = (ino: number) => damage(() => [{ key: provisionalKey(ino, 1), value: provided(1000, 4) }]);
    await give(at.file);
    expect(await problems(), 'shared').toEqual([]);
    await damage(() => [{ key: provisionalKey(at.file, 1), value: undefined }]);
    await give(at.deep);
    expect(await problems(), 'its own').toEqual([
      `5 provisional: inode ${at.deep} (/dir/file): file blocks 1..4 are granted on other blocks than those it has, which are its own`,
    ]);
    await damage((store) => [inodeChange(store, at.deep, { flags: INODE_COW })]);
    expect(await problems(), 'staged').toEqual([]);
    await damage(() => [{ key: provisionalKey(at.deep, 3), value: provided(2000, 1) }]);
    expect(await problems(), 'granted twice').toEqual([
      `5 provisional: inode ${at.deep} (/dir/file): file blocks 3..3 are granted on two blocks each`,
    ]);
  });

  test('quarantine over blocks of a file is in order, outside of the device it is not', async () => {
    await damage((store) => {
      const { block } = extentOf(store, at.deep);
      const held = { device: 0, length: 1, access: 'read', since: 1 } as const;
      return [{ key: holdKey(block, 1), value: encodeHold(held) }];
    });
    expect(await problems()).toEqual([]);
    await damage(() => {
      const held = { device: 0, length: 1, access: 'write', since: 1 } as const;
      return [{ key: holdKey(10 ** 6, 1), value: encodeHold(held) }];
    });
    expect(await problems()).toEqual([expect.stringContaining('5 quarantine')]);
  });
});

describe('superblocks and binding', () => {
  test('a damaged copy is found', async () => {
    const device = await openDevice(lab.image, { writable: true });
    device.zero(device.size - bs, bs);
    await device.close();
    expect(await problems()).toEqual(["1 superblock: the superblock's copy is absent"]);
  });

  test('metadata of another filesystem is refused', async () => {
    const other = await Lab.create();
    try {
      await other.unmount();
      const device = await openDevice(lab.image, { writable: false });
      const store = await openLevelStore(other.meta, { create: false });
      const checked = checkFilesystem({ device, store, onPass: () => {}, onProblem: () => {} });
      await expect(checked).rejects.toMatchObject({ code: 'ESTALE' });
      await store.close();
      await device.close();
    } finally {
      await other.remove();
    }
  });
});

describe('snapshots', () => {
  /** /dir has a snapshot `s`; its parts: the root, `inner` and `file`. */
  let snapshot: { top: number; inner: number; file: number };

  beforeEach(async () => {
    await lab.mount();
    const { vfs } = lab;
    const top = (await vfs.mkdir(snapshotsIno(at.dir), n('s'), 0o755, root)).ino;
    const [inner, file] = await Promise.all(['inner', 'file'].map(async (name) => vfs.lookup(top, n(name), root)));
    snapshot = { top, inner: inner?.ino ?? 0, file: file?.ino ?? 0 };
    await lab.unmount();
  });

  test('are reached by way of their directory', async () => {
    const summary = await check();
    expect(summary.problems).toEqual([]);
    expect(summary).toMatchObject({ inodes: 9, usage: { fileBlocks: 4 } });
  });

  test('problems in them are named with their path', async () => {
    await damage((store) => [inodeChange(store, snapshot.file, { nlink: 2 })]);
    expect(await problems()).toEqual([
      `4 link-count: inode ${snapshot.file} (/dir/.snapshots/s/file): has link count 2, should be 1`,
    ]);
  });

  test('parts that may change are found', async () => {
    await damage((store) => [
      inodeChange(store, snapshot.file, { flags: flagsOf(store, snapshot.file) & ~INODE_SNAPSHOT }),
    ]);
    const detail = `entry "file": inode ${snapshot.top} is part of a snapshot, inode ${snapshot.file} is not`;
    expect(await problems()).toEqual([`3 snapshot: inode ${snapshot.top}: ${detail}`]);
  });

  test('a root that is not marked, and a directory that does not say that it has some, are found', async () => {
    await damage((store) => [inodeChange(store, at.dir, { flags: flagsOf(store, at.dir) & ~INODE_SNAPSHOTS })]);
    expect(await problems()).toEqual([
      expect.stringMatching(/^3 snapshot: .* has a snapshot "s" and does not say so$/),
    ]);
    await damage((store) => [
      inodeChange(store, at.dir, { flags: flagsOf(store, at.dir) | INODE_SNAPSHOTS }),
      ...[snapshot.top, snapshot.inner, snapshot.file].map((ino) =>
        inodeChange(store, ino, { flags: flagsOf(store, ino) & ~INODE_SNAPSHOT }),
      ),
    ]);
    expect(await problems()).toEqual([expect.stringMatching(/^3 snapshot: .* is not marked as one$/)]);
  });

  test('a root that says another parent is found', async () => {
    await damage((store) => [inodeChange(store, snapshot.top, { parent: at.dir })]);
    expect(await problems()).toEqual([expect.stringContaining(`3 parent: inode ${snapshot.top}`)]);
  });

  test('one that lost its name is sound as an orphan with all that is below it, and only so', async () => {
    await damage((store) => [
      { key: dentryKey(snapshotsIno(at.dir), n('s')), value: undefined },
      inodeChange(store, snapshot.top, { nlink: 0 }),
    ]);
    expect(await problems()).toEqual([
      expect.stringContaining('3 disconnected'),
      expect.stringContaining('3 disconnected'),
    ]);
    await damage(() => [{ key: orphanKey(snapshot.top), value: encodeOrphan() }]);
    expect(await problems()).toEqual([]);
  });

  test('of a directory that does not exist are found', async () => {
    await damage((store) => {
      const key = dentryKey(snapshotsIno(at.dir), n('s'));
      return [{ key: dentryKey(snapshotsIno(99_999), n('s')), value: store.get(key) }];
    });
    expect(await problems()).toEqual(expect.arrayContaining([expect.stringContaining('3 parent')]));
  });
});
