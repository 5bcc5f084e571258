/** Which device and which store make a filesystem together, and what is said when they do not. */
import assert from 'node:assert/strict';
import { cp, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect } from 'vitest';
import type { BarDevice } from '../../fs/bar/device.ts';
import { openDevice } from '../../fs/bar/open.ts';
import { formatFilesystem, openFilesystem } from '../../fs/engine/engine.ts';
import { readSuperblock, writeSuperblocks } from '../../fs/engine/superblocks.ts';
import { encodeCounts, encodeExtent } from '../../fs/format/codec.ts';
import { countsKey, describeKey, extentKey } from '../../fs/format/keys.ts';
import { encodeSuperblock, type Superblock } from '../../fs/format/superblock.ts';
import { newUuid } from '../../fs/format/uuid.ts';
import { limits } from '../../fs/limits.ts';
import { readBinding } from '../../fs/meta/binding.ts';
import { openLevelStore } from '../../fs/meta/level-store.ts';
import type { MetaStore } from '../../fs/meta/store.ts';
import { errnoOfCall, Lab, n, readAll, root, writeFile } from '../support/filesystem.ts';
import { bs, clientRecord, makeFile, pattern, test } from './fixture.ts';

/** Runs `use` on the device of an unmounted lab. */
async function onDevice<T>(lab: Lab, use: (device: BarDevice) => T | Promise<T>): Promise<T> {
  const device = await openDevice(lab.image, { writable: true });
  try {
    return await use(device);
  } finally {
    await device.close();
  }
}

async function withLab(use: (lab: Lab) => Promise<void>): Promise<void> {
  const lab = await Lab.create();
  try {
    await use(lab);
  } finally {
    await lab.remove();
  }
}

/** A store that tells where each listing of it begins. */
function watched(store: MetaStore, onRange: (from: Uint8Array) => void): MetaStore {
  return {
    get room() {
      return store.room;
    },
    get: (key) => store.get(key),
    range: (from, to) => {
      onRange(from);
      return store.range(from, to);
    },
    batch: (ops, expected) => store.batch(ops, expected),
    close: () => store.close(),
  };
}

/** The message of the error that mounting fails with, its errno first. */
async function refusal(lab: Lab): Promise<string> {
  try {
    await lab.mount();
  } catch (error) {
    return String(error instanceof Error ? error.message : error);
  }
  return 'mounted';
}

describe('mounting', () => {
  test('an empty filesystem has a root directory of its maker and all blocks free but the superblocks', async ({
    lab,
  }) => {
    expect(await lab.vfs.getattr(lab.vfs.rootIno, root)).toMatchObject({ mode: 0o040755, nlink: 2, uid: 0 });
    const { blocks, ...status } = lab.fs.status();
    expect(blocks).toMatchObject({ total: 4096, reserved: 2, free: 4094, file: 0 });
    expect(status).toMatchObject({ label: 'lab', inodes: 1, readOnly: false, shutdown: undefined, blockSize: bs });
  });

  test('for writing raises the generation, for reading leaves everything as it is', async ({ lab }) => {
    const { generation, uuid } = lab.fs;
    await lab.remount();
    expect(lab.fs.generation).toBe(generation + 1);
    expect(lab.fs.uuid).toBe(uuid);
    await lab.unmount();
    const before = await onDevice(lab, (device) => readSuperblock(device));
    await lab.mount(undefined, { readOnly: true });
    expect(lab.fs.generation).toBe(generation + 1);
    await lab.unmount();
    expect(await onDevice(lab, (device) => readSuperblock(device))).toEqual(before);
  });

  test('knows how many inodes there are without looking at them, after a crash too', async ({ lab }) => {
    for (const name of ['a', 'b', 'c']) await writeFile(lab.vfs, name, pattern(10));
    await lab.vfs.unlink(lab.vfs.rootIno, n('b'), root);
    await lab.vfs.syncfs();
    const crashed = await lab.afterCrash();
    for (const each of [lab, crashed]) {
      await each.unmount();
      const read: string[] = [];
      await each.mount(undefined, { store: (store) => watched(store, (from) => read.push(describeKey(from))) });
      expect(each.fs.status().inodes).toBe(3);
      expect(read).toContain('0x45');
      expect(read).not.toContain('0x49');
    }
    await crashed.unmount();
  });

  test('counts them where the last mount for writing was by a program that keeps no count', async ({ lab }) => {
    await writeFile(lab.vfs, 'a', pattern(10));
    await lab.unmount();
    const store = await openLevelStore(lab.meta, { create: false });
    const { generation } = readBinding(store);
    await store.batch([{ key: countsKey(), value: encodeCounts({ generation: generation - 1, inodes: 77 }) }]);
    await store.close();
    for (let mounts = 0; mounts < 2; mounts++) {
      await lab.mount();
      expect(lab.fs.status().inodes).toBe(2);
      await lab.unmount();
    }
    await lab.mount();
  });

  test('marks the superblock dirty until it is unmounted in order', async ({ lab }) => {
    expect(readSuperblock(lab.fs.device).dirty).toBe(true);
    await lab.unmount();
    expect(await onDevice(lab, (device) => readSuperblock(device).dirty)).toBe(false);
  });

  test('while another has it is EBUSY, whatever of the two is taken', async ({ lab }) => {
    expect(await errnoOfCall(() => openDevice(lab.image, { writable: true, lock: true }))).toBe('EBUSY');
    expect(await errnoOfCall(() => openLevelStore(lab.meta, { create: false }))).toBe('EBUSY');
  });

  test('a crash between the store and the superblock is taken up, as often as it happens', async ({ lab }) => {
    const ino = await writeFile(lab.vfs, 'f', pattern(10));
    await lab.unmount();
    const before = await onDevice(lab, (device) => readSuperblock(device));
    for (let i = 0; i < 3; i++) {
      const store = await openLevelStore(lab.meta, { create: false });
      // The store goes one generation ahead, then the device fails.
      await onDevice(lab, async (real) => {
        const device = new Proxy(real, {
          get: (target, name) => {
            if (name === 'write') return () => assert.fail('cut off');
            const value: unknown = Reflect.get(target, name, target);
            return typeof value === 'function' ? value.bind(target) : value;
          },
        });
        await expect(openFilesystem({ device, store })).rejects.toThrow('cut off');
      });
      expect(readBinding(store).generation).toBe(before.generation + 1);
      await store.close();
    }
    await lab.mount();
    expect(lab.fs.generation).toBe(before.generation + 1);
    expect((await readAll(lab.vfs, ino)).equals(pattern(10))).toBe(true);
  });
});

function damage(device: BarDevice, block: number): void {
  device.write(block * bs + 20, Buffer.alloc(100, 0xaa));
}

/** Both superblocks rewritten with some fields changed, as another version would have left them. */
async function rewrite(lab: Lab, change: Partial<Superblock>): Promise<void> {
  await onDevice(lab, (device) => {
    const block = encodeSuperblock({ ...readSuperblock(device), ...change });
    for (const at of [0, 4095]) device.write(at * bs, block);
  });
}

describe('superblocks', () => {
  test('a damaged first one is replaced from its copy', async ({ lab }) => {
    const ino = await writeFile(lab.vfs, 'f', pattern(10));
    await lab.unmount();
    await onDevice(lab, (device) => damage(device, 0));
    await lab.mount();
    expect((await readAll(lab.vfs, ino)).equals(pattern(10))).toBe(true);
    expect(readSuperblock(lab.fs.device).generation).toBe(lab.fs.generation);
  });

  test('a damaged copy is replaced from the first', async ({ lab }) => {
    await lab.unmount();
    await onDevice(lab, (device) => damage(device, 4095));
    await lab.remount();
  });

  test('the whole one of the two is never written while the other is damaged', async ({ lab }) => {
    await lab.unmount();
    for (const [broken, whole] of [
      [0, 4095],
      [4095, 0],
    ] as const) {
      await onDevice(lab, async (device) => {
        const superblock = readSuperblock(device);
        damage(device, broken);
        const order: number[] = [];
        const write = device.write.bind(device);
        device.write = (offset, bytes) => {
          order.push(offset / bs);
          write(offset, bytes);
        };
        await writeSuperblocks(device, superblock);
        expect(order).toEqual([broken, whole]);
      });
    }
  });

  test('both damaged is EUCLEAN, none at all EINVAL', () =>
    withLab(async (lab) => {
      await lab.unmount();
      await onDevice(lab, (device) => {
        damage(device, 0);
        damage(device, 4095);
      });
      expect(await refusal(lab)).toMatch(/^EUCLEAN: .*both superblocks are damaged/);
      await onDevice(lab, (device) => {
        device.zero(0, bs);
        device.zero(4095 * bs, bs);
      });
      expect(await refusal(lab)).toMatch(/^EINVAL: .*not an iopmemfs filesystem/);
    }));

  test('an image that was cut short is EINVAL, and says by how much', () =>
    withLab(async (lab) => {
      await lab.unmount();
      const file = await open(lab.image, 'r+');
      await file.truncate(4000 * bs);
      await file.close();
      expect(await refusal(lab)).toMatch(/^EINVAL: .*has 4096 blocks, the device only 4000/);
    }));

  test('an image that was made larger mounts with the size it was made for, also from its copy', () =>
    withLab(async (lab) => {
      const ino = await writeFile(lab.vfs, 'f', pattern(10));
      await lab.unmount();
      const file = await open(lab.image, 'r+');
      await file.truncate(5000 * bs);
      await file.close();
      await lab.mount();
      expect(lab.fs.status().blocks.total).toBe(4096);
      expect((await readAll(lab.vfs, ino)).equals(pattern(10))).toBe(true);
    }));

  test('of a newer version, or with a feature that forbids it, is EOPNOTSUPP', () =>
    withLab(async (lab) => {
      await lab.unmount();
      const whole = await onDevice(lab, (device) => readSuperblock(device));
      for (const change of [{ incompat: 1n }, { formatVersion: 2 }]) {
        await rewrite(lab, change);
        expect(await refusal(lab)).toMatch(/^EOPNOTSUPP: .*newer version/);
        await onDevice(lab, (device) => writeSuperblocks(device, whole));
      }
    }));

  test('with a feature that allows reading only is EROFS, and mounts for reading', () =>
    withLab(async (lab) => {
      await lab.unmount();
      await rewrite(lab, { roCompat: 4n });
      expect(await refusal(lab)).toMatch(/^EROFS: .*mount it read-only/);
      await lab.mount(undefined, { readOnly: true });
    }));
});

describe('device and store', () => {
  test('of different filesystems are ESTALE', () =>
    withLab(async (lab) => {
      const other = await Lab.create();
      try {
        await lab.unmount();
        await other.unmount();
        await rm(lab.meta, { recursive: true });
        await cp(other.meta, lab.meta, { recursive: true });
        expect(await refusal(lab)).toMatch(/^ESTALE: the metadata store belongs to another filesystem/);
      } finally {
        await other.remove();
      }
    }));

  test('where the store is an older copy are ESTALE', () =>
    withLab(async (lab) => {
      await lab.unmount();
      const copy = join(lab.dir, 'copy');
      await cp(lab.meta, copy, { recursive: true });
      await lab.mount();
      await lab.remount();
      await lab.unmount();
      await rm(lab.meta, { recursive: true });
      await cp(copy, lab.meta, { recursive: true });
      expect(await refusal(lab)).toMatch(/^ESTALE: metadata is older than the superblock/);
    }));

  test('where the device holds older content are ESTALE', () =>
    withLab(async (lab) => {
      await lab.unmount();
      const copy = join(lab.dir, 'copy');
      await cp(lab.image, copy);
      await lab.mount();
      await lab.remount();
      await lab.unmount();
      await cp(copy, lab.image);
      expect(await refusal(lab)).toMatch(/^ESTALE: the superblock is older than the metadata/);
    }));

  test('where the store is empty are EUCLEAN', () =>
    withLab(async (lab) => {
      await lab.unmount();
      await rm(lab.meta, { recursive: true });
      await (await openLevelStore(lab.meta, { create: true })).close();
      expect(await refusal(lab)).toMatch(/^EUCLEAN: /);
    }));

  test('a mount that fails leaves both to the caller: the next one may try again', () =>
    withLab(async (lab) => {
      await lab.unmount();
      const store = await openLevelStore(lab.meta, { create: false });
      const device = await openDevice(lab.image, { writable: true, lock: true });
      const broken = await openDevice(lab.image, { writable: true });
      const whole = readSuperblock(device);
      broken.zero(0, bs);
      broken.zero(4095 * bs, bs);
      await broken.close();
      expect(await errnoOfCall(() => openFilesystem({ device, store }))).toBe('EINVAL');
      await writeSuperblocks(device, whole);
      const fs = await openFilesystem({ device, store });
      await fs.close();
    }));

  test('extents that overlap refuse the mount and name fsck', () =>
    withLab(async (lab) => {
      const a = await writeFile(lab.vfs, 'a', pattern(2 * bs));
      const [extent] = await lab.fs.map(a);
      await lab.unmount();
      const store = await openLevelStore(lab.meta, { create: false });
      const block = (extent?.storageOffset ?? 0) / bs;
      const value = encodeExtent({ device: 0, block: block + 10, length: 4, flags: 0 });
      await store.batch([{ key: extentKey(a, 1), value }]);
      await store.close();
      expect(await refusal(lab)).toMatch(/^EUCLEAN: .*overlap: run fsck/);
    }));
});

describe('formatting', () => {
  test('EINVAL for a device too small or not of whole blocks, ESTALE for a store that is in use', async ({ lab }) => {
    const uuid = newUuid();
    const options = { uuid, label: '', volatile: false, uid: 0, gid: 0 };
    await lab.unmount();
    const store = await openLevelStore(lab.meta, { create: false });
    const image = join(lab.dir, 'other');
    for (const [size, code] of [
      [limits.deviceSizeMin - bs, 'EINVAL'],
      [limits.deviceSizeMin + 1, 'EINVAL'],
      [limits.deviceSizeMin, 'ESTALE'],
    ] as const) {
      const file = await open(image, 'w');
      await file.truncate(size);
      await file.close();
      const device = await openDevice(image, { writable: true });
      expect(await errnoOfCall(() => formatFilesystem({ device, store, ...options })), `${size} bytes`).toBe(code);
      await device.close();
    }
    expect(Buffer.compare(readBinding(store).uuid, uuid)).not.toBe(0);
    await store.close();
  });
});

test('clients and their numbers survive a mount; a number is never given twice', async ({ lab }) => {
  const first = lab.fs.newClientId();
  await lab.fs.putClient(clientRecord(first));
  await lab.fs.layouts.mapForRead(await makeFile(lab.vfs, 'granted'), { offset: 0, length: bs }, first);
  const crashed = await lab.afterCrash();
  expect(crashed.fs.newClientId()).toBeGreaterThan(first);
  await crashed.remove();
  await lab.remount();
  const [found] = lab.fs.clientRecords();
  expect(found).toMatchObject({ clientId: first, since: clientRecord(first).since });
  expect(Buffer.from(found?.owner ?? []).toString()).toBe('owner');
  const second = lab.fs.newClientId();
  expect(second).toBeGreaterThan(first);
  await lab.fs.removeClient(first);
  await lab.fs.removeClient(first);
  await makeFile(lab.vfs, 'f');
  await lab.remount();
  expect(lab.fs.clientRecords()).toEqual([]);
  expect(lab.fs.newClientId()).toBeGreaterThan(second);
});

test('the device as it was one mount ago is refused: its metadata has gone on', async ({ lab }) => {
  const old = join(lab.dir, 'old-image');
  await writeFile(lab.vfs, 'f', pattern(8 * bs));
  await lab.unmount();
  await cp(lab.image, old);
  await lab.mount();
  await lab.vfs.syncfs();
  await lab.unmount();
  await cp(lab.image, join(lab.dir, 'new-image'));
  await cp(old, lab.image);
  expect(await refusal(lab)).toContain('the device holds an older copy');
  await cp(join(lab.dir, 'new-image'), lab.image);
  await lab.mount();
});
