/** The store with its records in memory says what the store says, whatever is read, listed, filled and written meanwhile. */
import { fc, test as property } from '@fast-check/vitest';
import { expect, test } from 'vitest';
import { encodeDentry, encodeInode } from '../../fs/format/codec.ts';
import { dentryKey, dentryRange, inodeKey } from '../../fs/format/keys.ts';
import type { InodeRecord } from '../../fs/format/records.ts';
import { CachedStore } from '../../fs/meta/cached-store.ts';
import type { MetaStore, StoreOp } from '../../fs/meta/store.ts';
import { type Name, nameFromLatin1 } from '../../fs/name.ts';
import { GatedStore } from './gated-store.ts';
import { tempStore } from './temp-store.ts';

const mib = 2 ** 20;

function inode(ino: number, size: number, target = ''): InodeRecord {
  const time = { sec: 1_800_000_000, nsec: size % 1_000_000_000 };
  const times = { atime: time, mtime: time, ctime: time, btime: { sec: -5, nsec: 0 } };
  const rest = { uid: 0, gid: 0, nlink: 1, rdev: 0, change: 1, flags: 0, parent: 0, quota: 0 };
  const mode = target === '' ? 0o100644 : 0o120777;
  return { ino, mode, size, ...rest, ...times, target: new Uint8Array(Buffer.from(target)) };
}
const putInode = (record: InodeRecord): StoreOp => ({ key: inodeKey(record.ino), value: encodeInode(record) });
const putName = (parent: number, name: Name, ino: number): StoreOp => ({
  key: dentryKey(parent, name),
  value: encodeDentry({ ino, type: 0o100000, cookie: ino + 3 }),
});
const deleteName = (parent: number, name: Name): StoreOp => ({ key: dentryKey(parent, name), value: undefined });
const nameOf = (n: number): Name => nameFromLatin1(`f${n}`);

/** Counts what is read of the store behind. */
function counting(store: MetaStore) {
  const reads = { get: 0 };
  const counted: MetaStore = {
    get room() {
      return store.room;
    },
    get: (key) => {
      reads.get++;
      return store.get(key);
    },
    range: (from, to, entries) => store.range(from, to, entries),
    batch: (ops, expected) => store.batch(ops, expected),
    close: () => store.close(),
  };
  return { store: counted, reads };
}

async function filled(cached: CachedStore): Promise<void> {
  for await (const _page of cached.fill());
}

test('what was read, written or listed once is read of the store no more', async () => {
  const { store: real } = await tempStore();
  const { store, reads } = counting(real);
  const [a, b, c] = [nameFromLatin1('a'), nameFromLatin1('b'), nameFromLatin1('c')];
  await real.batch([putInode(inode(7, 1)), putName(1, a, 7), putName(1, b, 8), putName(2, c, 9)]);
  const cached = new CachedStore(store, mib);
  for (let i = 0; i < 2; i++) {
    expect(cached.inode(7)).toEqual(inode(7, 1));
    expect(cached.dentry(1, a)?.ino).toBe(7);
  }
  expect(reads.get).toBe(2);
  const { from, to } = dentryRange(1);
  for await (const _page of cached.range(from, to));
  expect(cached.dentry(1, b)?.ino).toBe(8);
  await cached.batch([putInode(inode(9, 5)), putName(1, c, 9)]);
  expect(cached.inode(9)).toEqual(inode(9, 5));
  expect(cached.dentry(1, c)?.ino).toBe(9);
  expect(reads.get).toBe(2);
  // One that is not there is asked for each time, until all names are known.
  expect(cached.dentry(2, a)).toBeUndefined();
  expect(cached.dentry(2, a)).toBeUndefined();
  expect(reads.get).toBe(4);
  await filled(cached);
  expect(cached.knowsNames).toBe(true);
  expect(cached.dentry(2, a)).toBeUndefined();
  expect(cached.dentry(2, c)?.ino).toBe(9);
  expect(reads.get).toBe(4);
});

test('records of every form are read from memory as from the store', async () => {
  const { store } = await tempStore();
  const records = [
    inode(1, 0),
    inode(2, 2 ** 40 + 1),
    inode(2 ** 33, 3),
    inode(4, 300, 't'.repeat(300)),
    inode(5, 4095, 't'.repeat(4095)),
    inode(6, 20, 't'.repeat(20)),
    { ...inode(7, 1), parent: 1, rdev: 5, quota: 2 ** 35 },
    { ...inode(8, 1), change: 2 ** 50, flags: 0xffff_ffff, uid: 0xffff_fffe, mode: 0o100000 },
  ];
  const cached = new CachedStore(store, mib);
  await cached.batch(records.map(putInode));
  for (const record of records) expect(cached.inode(record.ino)).toEqual(record);
});

test('a batch is seen when it is durable, and not before: nor what it deletes gone', async () => {
  const { store: real } = await tempStore();
  const store = new GatedStore(real);
  const cached = new CachedStore(store, mib);
  const name = nameFromLatin1('name');
  await cached.batch([putName(1, name, 7)]);
  store.hold();
  const writing = cached.batch([deleteName(1, name), putInode(inode(7, 1))]);
  expect(cached.dentry(1, name)?.ino).toBe(7);
  expect(cached.inode(7)).toBeUndefined();
  store.open();
  await writing;
  expect(cached.dentry(1, name)).toBeUndefined();
  expect(cached.inode(7)).toEqual(inode(7, 1));
});

test('a batch that fails changes nothing in memory', async () => {
  const { store: real } = await tempStore();
  const store = new GatedStore(real);
  const cached = new CachedStore(store, mib);
  await cached.batch([putInode(inode(7, 1))]);
  store.fail();
  await expect(cached.batch([putInode(inode(7, 2))])).rejects.toThrow('ENOSPC');
  expect(cached.inode(7)).toEqual(inode(7, 1));
});

test('what is deleted while a listing goes on does not come back with it, nor old values', async () => {
  const { store } = await tempStore();
  const cached = new CachedStore(store, 64 * mib);
  const count = 3000;
  const ops = Array.from({ length: count }, (_, n) => putName(1, nameOf(n), n + 1));
  await store.batch(ops);
  const { from, to } = dentryRange(1);
  const listing = cached.range(from, to, 100);
  const filling = cached.fill();
  await listing.next();
  await filling.next();
  await cached.batch([
    ...Array.from({ length: 1000 }, (_, n) => deleteName(1, nameOf(n * 3))),
    ...Array.from({ length: 1000 }, (_, n) => putName(1, nameOf(n * 3 + 1), 900_000 + n)),
  ]);
  for await (const _page of listing);
  for await (const _page of filling);
  expect(cached.knowsNames).toBe(true);
  for (let n = 0; n < count; n++) {
    const ino = cached.dentry(1, nameOf(n))?.ino;
    expect(ino, `f${n}`).toBe(n % 3 === 0 ? undefined : n % 3 === 1 ? 900_000 + (n - 1) / 3 : n + 1);
  }
});

test('with too little memory it does not claim to know all names', async () => {
  const { store } = await tempStore();
  const count = 20_000;
  await store.batch(Array.from({ length: count }, (_, n) => putName(1, nameOf(n), n + 1)));
  const cached = new CachedStore(store, 2 ** 19);
  await filled(cached);
  expect(cached.knowsNames).toBe(false);
  for (let n = 0; n < count; n += 97) expect(cached.dentry(1, nameOf(n))?.ino).toBe(n + 1);
});

const steps = fc.array(
  fc.oneof(
    fc.record({
      do: fc.constant('batch' as const),
      puts: fc.array(fc.tuple(fc.nat(60), fc.nat(1000))),
      deletes: fc.array(fc.nat(60)),
    }),
    fc.record({ do: fc.constantFrom('look' as const, 'list' as const, 'fill' as const, 'settle' as const) }),
  ),
  { minLength: 5, maxLength: 40 },
);

property.prop([steps], { numRuns: 60 })('in any order of batches, looks, listings and fills', async (todo) => {
  const { store } = await tempStore();
  const cached = new CachedStore(store, mib);
  /** As it is with all settled batches, and with those under way. */
  const model = new Map<number, number>();
  let settled = new Map<number, number>();
  let writing: Promise<unknown> = Promise.resolve();
  let others: Promise<unknown>[] = [];
  const look = (): void => {
    for (let n = 0; n <= 60; n++) {
      const is = [cached.dentry(1, nameOf(n))?.ino, cached.inode(n + 1)?.size];
      const [before, after] = [settled.get(n), model.get(n)];
      for (const value of is) if (value !== before) expect(value, `f${n}`).toBe(after);
    }
  };
  for (const step of todo) {
    if (step.do === 'batch') {
      const ops: StoreOp[] = [];
      for (const n of step.deletes) {
        model.delete(n);
        ops.push(deleteName(1, nameOf(n)), { key: inodeKey(n + 1), value: undefined });
      }
      for (const [n, value] of step.puts) {
        model.set(n, value + 1);
        ops.push(putName(1, nameOf(n), value + 1), putInode(inode(n + 1, value + 1)));
      }
      // One at a time is under way, as group commit has it.
      await writing;
      settled = new Map(settled);
      const after = new Map(model);
      writing = cached.batch(ops).then(() => {
        settled = after;
      });
    } else if (step.do === 'look') {
      look();
    } else if (step.do === 'list') {
      const { from, to } = dentryRange(1);
      others.push(drained(cached.range(from, to, 7)));
    } else if (step.do === 'fill') {
      await Promise.all(others);
      others = [filled(cached)];
    } else {
      await writing;
      look();
    }
  }
  await writing;
  await Promise.all(others);
  look();
  expect(settled).toEqual(model);
});

async function drained(pages: AsyncIterable<unknown>): Promise<void> {
  for await (const _page of pages);
}

test('a listing brings back no older record than one that was changed, dropped to make room, and is not here any more', async () => {
  const { store } = await tempStore();
  const numbers = Array.from({ length: 1000 }, (_, i) => i + 1);
  await store.batch(numbers.map((ino) => putInode(inode(ino, 1))));
  const cached = new CachedStore(store, mib);
  const fill = cached.fill();
  await fill.next(); // about half of them; the listing has all as they were
  await cached.batch([putInode(inode(900, 2))]);
  // More than there is room for, and then none of it: there is room again.
  const many = Array.from({ length: 1000 }, (_, i) => inode(10_000 + i, 4000, 't'.repeat(4000)));
  await cached.batch(many.map(putInode));
  await cached.batch(many.map(({ ino }) => ({ key: inodeKey(ino), value: undefined })));
  for await (const _page of fill);
  expect(cached.inode(900)?.size).toBe(2);
});
