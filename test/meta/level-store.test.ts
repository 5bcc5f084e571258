import { execFileSync } from 'node:child_process';
import { readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fc, test } from '@fast-check/vitest';
import { ClassicLevel } from 'classic-level';
import { describe, expect, onTestFinished, vi } from 'vitest';
import { limits } from '../../fs/limits.ts';
import { destroyLevelStore, openLevelStore } from '../../fs/meta/level-store.ts';
import type { StoreOp } from '../../fs/meta/store.ts';
import { until } from '../support/until.ts';
import { bytes, entries, tempDir, tempStore, text } from './temp-store.ts';

const put = (key: string, value: string): StoreOp => ({ key: bytes(key), value: bytes(value) });
const gone = (key: string): StoreOp => ({ key: bytes(key), value: undefined });
const keys = (found: [string, string][]) => found.map(([key]) => key);
const numbered = (i: number) => i.toString().padStart(6, '0');
const fails = (code: string, message = '') =>
  expect.objectContaining({ name: 'FsError', code, message: expect.stringContaining(message) });

describe('opening', () => {
  test('what was written is there after a reopen', async () => {
    const { store, dir } = await tempStore();
    await store.batch([put('a', '1'), put('b', '2')]);
    await store.close();
    const again = await openLevelStore(dir, { create: false });
    expect(await entries(again)).toEqual([
      ['a', '1'],
      ['b', '2'],
    ]);
    await again.close();
  });

  test('parents of a new store are made', async () => {
    const dir = join(await tempDir(), 'a', 'b', 'c');
    await (await openLevelStore(dir, { create: true })).close();
    await (await openLevelStore(dir, { create: false })).close();
  });

  test('a missing store is ENOENT and nothing is made', async () => {
    const dir = await tempDir();
    await expect(openLevelStore(join(dir, 'none'), { create: false })).rejects.toEqual(
      fails('ENOENT', join(dir, 'none')),
    );
    await expect(openLevelStore(dir, { create: false })).rejects.toEqual(fails('ENOENT', 'no metadata store'));
    expect(await readdir(dir)).toEqual([]);
  });

  test('a new store does not take the place of an old one', async () => {
    const { store, dir } = await tempStore();
    await store.batch([put('a', '1')]);
    await store.close();
    await expect(openLevelStore(dir, { create: true })).rejects.toEqual(fails('EEXIST', dir));
    const again = await openLevelStore(dir, { create: false });
    expect(text(again.get(bytes('a')))).toBe('1');
    await again.close();
  });

  test('a store in use is EBUSY and names its directory', async () => {
    const { store, dir } = await tempStore();
    await expect(openLevelStore(dir, { create: false })).rejects.toEqual(fails('EBUSY', dir));
    await expect(destroyLevelStore(dir)).rejects.toEqual(fails('EBUSY', dir));
    await store.batch([put('a', '1')]);
  });

  test('a file in the place of the directory is ENOTDIR', async () => {
    const file = join(await tempDir(), 'file');
    await writeFile(file, '');
    await expect(openLevelStore(file, { create: true })).rejects.toEqual(fails('ENOTDIR', file));
    await expect(openLevelStore(file, { create: false })).rejects.toEqual(fails('ENOTDIR', file));
  });

  test.each(['CURRENT', 'MANIFEST'])('a store that lost its %s is EUCLEAN', async (lost) => {
    const { store, dir } = await tempStore();
    await store.batch([put('a', '1')]);
    await store.close();
    for (const name of await readdir(dir)) if (name.startsWith(lost)) await rm(join(dir, name));
    await expect(openLevelStore(dir, { create: false })).rejects.toEqual(fails('EUCLEAN', dir));
  });

  test('a store with garbage for its root is EUCLEAN', async () => {
    const { store, dir } = await tempStore();
    await store.close();
    await writeFile(join(dir, 'CURRENT'), 'garbage');
    await expect(openLevelStore(dir, { create: false })).rejects.toEqual(fails('EUCLEAN', dir));
  });

  test('a destroyed store leaves foreign files alone', async () => {
    const { store, dir } = await tempStore();
    await store.close();
    await writeFile(join(dir, 'notes'), '');
    await destroyLevelStore(dir);
    expect(await readdir(dir)).toEqual(['notes']);
    await destroyLevelStore(dir);
    await (await openLevelStore(dir, { create: true })).close();
  });
});

describe('reading', () => {
  test('a range is in byte order, from inclusive, to exclusive', async () => {
    const { store } = await tempStore();
    await store.batch(['b', 'a\xff', 'a', 'c', '\xfe', 'a\x00'].map((key) => put(key, key)));
    expect(keys(await entries(store))).toEqual(['a', 'a\x00', 'a\xff', 'b', 'c', '\xfe']);
    expect(keys(await entries(store, 'a\x00', 'c'))).toEqual(['a\x00', 'a\xff', 'b']);
    expect(store.get(bytes('none'))).toBeUndefined();
  });

  test('a range over several pages is of one moment', async () => {
    const { store } = await tempStore();
    const count = limits.storePageEntries * 2 + 10;
    await store.batch(Array.from({ length: count }, (_, i) => put(numbered(i), 'old')));
    let seen = 0;
    let pages = 0;
    for await (const page of store.range(bytes('0'), bytes('9'))) {
      if (pages++ === 0) {
        await store.batch([gone(numbered(count - 1)), put(numbered(count - 2), 'new'), put(numbered(count), 'new')]);
      }
      for (const [k, v] of page) {
        expect(text(k)).toBe(numbered(seen++));
        expect(text(v)).toBe('old');
      }
    }
    expect(pages).toBeGreaterThan(2);
    expect(seen).toBe(count);
  });

  test('a range left early does not hold up the close', async () => {
    const { store } = await tempStore();
    await store.batch([put('a', '1')]);
    for await (const page of store.range(bytes('a'), bytes('b'))) {
      expect(page).toHaveLength(1);
      break;
    }
    await store.close();
  });
});

describe('batches', () => {
  test('every batch is synced to the disk', async () => {
    const { store } = await tempStore();
    const probe = new ClassicLevel(join(await tempDir(), 'probe'));
    await probe.open();
    const spy = vi.spyOn(Object.getPrototypeOf(Object.getPrototypeOf(probe.batch())), 'write');
    onTestFinished(async () => {
      spy.mockRestore();
      await probe.close();
    });
    await store.batch([put('a', '1')]);
    expect(spy.mock.calls).toEqual([[{ sync: true }]]);
  });

  test('a batch whose expectation does not hold writes nothing', async () => {
    const { store } = await tempStore();
    await store.batch([put('a', '1')], [gone('a')]);
    await expect(store.batch([put('b', '2')], [put('a', '1'), gone('a')])).rejects.toEqual(fails('ESTALE', '0x61'));
    await expect(store.batch([put('b', '2')], [put('a', '2')])).rejects.toEqual(fails('ESTALE'));
    await expect(store.batch([put('b', '2')], [put('none', '')])).rejects.toEqual(fails('ESTALE'));
    expect(await entries(store)).toEqual([['a', '1']]);
    await store.batch([put('b', '2')], [put('a', '1'), gone('b')]);
    expect(text(store.get(bytes('b')))).toBe('2');
  });

  test.prop([fc.integer({ min: 2, max: 20 })], { numRuns: 10 })(
    'of %d batches at once with the same expectation one gets through',
    async (count) => {
      const { store } = await tempStore();
      const tries = Array.from({ length: count }, (_, i) => store.batch([put('a', String(i))], [gone('a')]));
      const results = await Promise.allSettled(tries);
      expect(results.filter((r) => r.status === 'fulfilled')).toHaveLength(1);
      expect(text(store.get(bytes('a')))).toBe('0');
    },
  );

  test('batches too many at once are refused, those before them are written', async () => {
    const { store } = await tempStore();
    const tries = Array.from({ length: limits.storeBatchesMax + 1 }, (_, i) => store.batch([put(`k${i}`, '')]));
    const results = await Promise.allSettled(tries);
    expect(results.at(-1)).toEqual({ status: 'rejected', reason: fails('EAGAIN') });
    expect(await entries(store)).toHaveLength(limits.storeBatchesMax);
    await store.batch([put('later', '')]);
  });

  test('close waits for batches under way, and nothing comes after it', async () => {
    const { store, dir } = await tempStore();
    const last = store.batch([put('a', '1')]);
    await store.close();
    await last;
    expect(() => store.get(bytes('a'))).toThrow(fails('ESHUTDOWN'));
    await expect(store.batch([put('b', '2')])).rejects.toEqual(fails('ESHUTDOWN'));
    await expect(entries(store)).rejects.toEqual(fails('ESHUTDOWN'));
    const again = await openLevelStore(dir, { create: false });
    expect(await entries(again)).toEqual([['a', '1']]);
    await again.close();
  });
});

describe('a disk that is full', () => {
  test('is ENOSPC; after a failed write nothing is written, and what was acknowledged is there', async () => {
    const { store, dir } = await tempStore();
    await store.batch([put('a', '1')]);
    // LevelDB goes to its next log file when one is as large as its buffer: these make it find a full disk there.
    const logs = (await readdir(dir)).filter((name) => name.endsWith('.log')).map((name) => Number.parseInt(name, 10));
    for (let next = Math.max(...logs) + 1; next < Math.max(...logs) + 20; next++) {
      await symlink('/dev/full', join(dir, `${String(next).padStart(6, '0')}.log`));
    }
    let acknowledged = 0;
    const fill = async () => {
      for (let i = 0; i < (2 * limits.storeWriteBuffer) / 2 ** 20; i++) {
        await store.batch([{ key: bytes(`fill${i}`), value: Buffer.alloc(2 ** 20, i) }]);
        acknowledged++;
      }
    };
    await expect(fill()).rejects.toEqual(fails('ENOSPC', dir));
    expect(acknowledged).toBeGreaterThan(0);
    await expect(store.batch([put('b', '2')])).rejects.toEqual(fails('EIO', 'earlier write failed'));
    await store.close();

    for (const name of await readdir(dir)) {
      if (name.endsWith('.log') && !logs.includes(Number.parseInt(name, 10))) await rm(join(dir, name));
    }
    const again = await openLevelStore(dir, { create: false });
    expect(text(again.get(bytes('a')))).toBe('1');
    for (let i = 0; i < acknowledged; i++) expect(again.get(bytes(`fill${i}`))).toHaveLength(2 ** 20);
    expect(again.get(bytes('b'))).toBeUndefined();
    await again.close();
  });
});

describe('room on the disk', () => {
  const isRoot = process.getuid?.() === 0;

  test.skipIf(!isRoot)('a store whose disk is nearly full says so, and again when there is room', async () => {
    const dir = await tempDir();
    const size = limits.storeReserve + (16 << 20);
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'iopmemfs-test', dir]);
    onTestFinished(() => void execFileSync('umount', ['-l', dir]));
    const store = await openLevelStore(join(dir, 'store'), { create: true });
    onTestFinished(() => store.close());
    expect(store.room).toBeGreaterThan(0);
    await writeFile(join(dir, 'filler'), Buffer.alloc(20 << 20));
    await until('no room', async () => {
      await store.batch([put('a', '1')]);
      return store.room === 0;
    });
    await rm(join(dir, 'filler'));
    await until('room again', async () => {
      await store.batch([gone('a')]);
      return store.room > 0;
    });
  });
});
