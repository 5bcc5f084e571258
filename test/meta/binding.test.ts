import { fc, test } from '@fast-check/vitest';
import { describe, expect } from 'vitest';
import { storeKey } from '../../fs/format/keys.ts';
import type { StoreRecord } from '../../fs/format/records.ts';
import type { Superblock } from '../../fs/format/superblock.ts';
import { bindStore, checkBinding, nextGeneration, readBinding } from '../../fs/meta/binding.ts';
import { bytes, tempStore } from './temp-store.ts';

const uuid = new Uint8Array(16).fill(1);
const record: StoreRecord = {
  formatVersion: 1,
  uuid,
  generation: 7,
  superblockGeneration: 6,
  nextIno: 2,
  nextClientId: 1,
  reserve: 0,
};
const superblock: Superblock = {
  formatVersion: 1,
  compat: 0n,
  roCompat: 0n,
  incompat: 0n,
  blockSize: 4096,
  blockCount: 16,
  uuid,
  label: '',
  createdAt: 0,
  mountedAt: 0,
  generation: 7,
  dirty: false,
  volatile: false,
};
const fails = (code: string, message: string) =>
  expect.objectContaining({ code, message: expect.stringContaining(message) });

describe('the record of the store', () => {
  test('is read as it was written', async () => {
    const { store } = await tempStore();
    await bindStore(store, record, undefined);
    expect(readBinding(store)).toEqual(record);
  });

  test('is not written over that of another filesystem', async () => {
    const { store } = await tempStore();
    await bindStore(store, record, undefined);
    await expect(bindStore(store, { ...record, generation: 9 }, undefined)).rejects.toEqual(fails('ESTALE', ''));
    await bindStore(store, { ...record, generation: 8 }, record);
    await expect(bindStore(store, { ...record, generation: 9 }, record)).rejects.toEqual(fails('ESTALE', ''));
    expect(readBinding(store).generation).toBe(8);
  });

  test('is missed when it is not there, and named when it is damaged', async () => {
    const { store } = await tempStore();
    expect(() => readBinding(store)).toThrow(fails('EUCLEAN', 'no filesystem'));
    await store.batch([{ key: storeKey(), value: bytes('?') }]);
    expect(() => readBinding(store)).toThrow(fails('EUCLEAN', 'record S'));
  });
});

describe('a store and a superblock', () => {
  test.each([7, 8])('of generation 7 and %d in the store belong together', (generation) => {
    expect(() => checkBinding(superblock, { ...record, generation })).not.toThrow();
  });

  test('of different filesystems are refused with both names', () => {
    const foreign = { ...record, uuid: new Uint8Array(16).fill(2) };
    const message = '02020202-0202-0202-0202-020202020202; the device holds 01010101-';
    expect(() => checkBinding(superblock, foreign)).toThrow(fails('ESTALE', message));
  });

  test('are refused when the store is an older copy', () => {
    const older = { ...record, generation: 6 };
    expect(() => checkBinding(superblock, older)).toThrow(fails('ESTALE', 'metadata is older than the superblock'));
  });

  test('are refused when the device is an older copy or forgot', () => {
    const ahead = { ...record, generation: 9 };
    expect(() => checkBinding(superblock, ahead)).toThrow(fails('ESTALE', 'the device holds an older copy:'));
    expect(() => checkBinding({ ...superblock, volatile: true }, ahead)).toThrow(fails('ESTALE', 'lost its content'));
  });

  test('are refused when the device is as it was before the superblocks were last written', () => {
    const next = { ...record, generation: 8, superblockGeneration: 7 };
    expect(() => checkBinding(superblock, next)).not.toThrow();
    expect(() => checkBinding(superblock, { ...next, superblockGeneration: 8 })).toThrow(fails('ESTALE', 'older copy'));
  });

  test('are refused when the store is of a newer program', () => {
    expect(() => checkBinding(superblock, { ...record, formatVersion: 2 })).toThrow(fails('EOPNOTSUPP', 'version 2'));
  });

  test.prop([fc.array(fc.constantFrom('mounted', 'crashed before the store', 'crashed between', 'crashed after'))])(
    'belong together after any mounts and crashes, and no generation serves twice',
    (mounts) => {
      let [device, store] = [superblock, record];
      const served = new Set<number>();
      for (const mount of mounts) {
        checkBinding(device, store);
        const generation = nextGeneration(device);
        if (mount === 'crashed before the store') continue;
        store = { ...store, generation };
        if (mount === 'crashed between') continue;
        device = { ...device, generation };
        if (mount === 'mounted') store = { ...store, superblockGeneration: generation };
        expect(served.has(generation)).toBe(false);
        served.add(generation);
      }
      checkBinding(device, store);
    },
  );
});
