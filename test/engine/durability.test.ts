/**
 * What survives a crash: all that was synced, nothing half, and never another file's data. A crash is a copy of store and
 * device as they are at that moment.
 */
import { describe, expect, vi } from 'vitest';
import type { Filesystem } from '../../fs/engine/filesystem.ts';
import { FsError } from '../../fs/errors.ts';
import { GatedStore } from '../meta/gated-store.ts';
import { errnoOfCall, Lab, n, readAll, root, withHandle, writeFile } from '../support/filesystem.ts';
import { until } from '../support/until.ts';
import { at, test as base, bs, list, makeDir, makeFile, pattern } from './fixture.ts';
import { WatchedDevice } from './watched-device.ts';

/** `gated` is mounted on a store whose batches the test holds back or lets fail. */
const test = base.extend<{ gated: { lab: Lab; store: GatedStore } }>({
  gated: async ({ lab }, use) => {
    await lab.unmount();
    const stores: GatedStore[] = [];
    const gate = (real: ConstructorParameters<typeof GatedStore>[0]): GatedStore => {
      const store = new GatedStore(real);
      stores.push(store);
      return store;
    };
    await lab.mount(undefined, { store: gate });
    const [store] = stores;
    if (store === undefined) throw new Error('the store was not wrapped');
    await use({ lab, store });
    store.open();
  },
});

async function afterCrash<T>(lab: Lab, use: (crashed: Lab) => Promise<T>): Promise<T> {
  const crashed = await lab.afterCrash();
  try {
    const result = await use(crashed);
    expect(await crashed.problems(), 'found by fsck').toEqual([]);
    return result;
  } finally {
    await crashed.remove();
  }
}

function writeAt(lab: Lab, ino: number, offset: number, data: Uint8Array): Promise<number> {
  return withHandle(lab.vfs, ino, 2, (handle) => lab.vfs.write(handle, offset, data, root));
}

describe('what fsync has acknowledged', () => {
  test('a sync answers for what a daemon that was killed had stored', async ({ lab }) => {
    const ino = await writeFile(lab.vfs, 'f', pattern(2 * bs));
    await lab.vfs.fsync(ino, false);
    const [extent] = await lab.fs.map(ino);
    await writeAt(lab, ino, 0, Buffer.alloc(2 * bs, 7));
    const crashed = await lab.crashed();
    const devices: WatchedDevice[] = [];
    await crashed.mount(undefined, {
      device: (real) => {
        const device = new WatchedDevice(real);
        devices.push(device);
        return device;
      },
    });
    try {
      await crashed.vfs.fsync(ino, true);
      expect(devices[0]?.covers(extent?.storageOffset ?? -1, 2 * bs)).toBe(true);
    } finally {
      await crashed.remove();
    }
  });

  test('data, size, times and attributes are there after a crash', async ({ lab }) => {
    const ino = await writeFile(lab.vfs, 'f', pattern(3 * bs + 5));
    await lab.vfs.setattr(ino, { mode: 0o4711, uid: 12, mtime: { sec: 99, nsec: 1 } }, root);
    await lab.vfs.setxattr(ino, 'user.a', Buffer.from('x'), 'either', root);
    await lab.vfs.fsync(ino, false);
    const attr = await lab.vfs.getattr(ino, root);
    await afterCrash(lab, async (crashed) => {
      expect(await at(crashed.vfs, 'f')).toEqual(attr);
      expect((await readAll(crashed.vfs, ino)).equals(pattern(3 * bs + 5))).toBe(true);
      expect(await crashed.vfs.listxattr(ino, root)).toEqual(['user.a']);
    });
  });

  test('names, links, directories and renames too', async ({ lab }) => {
    const { vfs } = lab;
    await makeDir(vfs, 'a');
    const dir = await makeDir(vfs, 'a/b');
    const ino = await writeFile(vfs, 'f', pattern(10));
    await vfs.link(ino, dir, n('linked'), root);
    await vfs.rename((await at(vfs, 'a')).ino, n('b'), vfs.rootIno, n('moved'), 'replace', root);
    await vfs.fsync(vfs.rootIno, false);
    await afterCrash(lab, async (crashed) => {
      expect(await list(crashed.vfs, crashed.vfs.rootIno)).toEqual(['.', '..', 'a', 'f', 'moved']);
      expect(await at(crashed.vfs, 'moved/linked')).toMatchObject({ ino, nlink: 2 });
      expect((await at(crashed.vfs, 'a')).nlink).toBe(2);
    });
  });

  test('is there when the promise settles, not earlier', async ({ gated: { lab, store } }) => {
    const ino = await writeFile(lab.vfs, 'f', pattern(10));
    store.hold();
    let acknowledged = false;
    const sync = Promise.resolve(lab.vfs.fsync(ino, true)).then(() => {
      acknowledged = true;
    });
    await new Promise((resolve) => setImmediate(resolve));
    expect(acknowledged).toBe(false);
    await afterCrash(lab, async (crashed) => {
      expect(await list(crashed.vfs, crashed.vfs.rootIno)).toEqual(['.', '..']);
    });
    store.open();
    await sync;
    await afterCrash(lab, async (crashed) => {
      expect((await readAll(crashed.vfs, ino)).equals(pattern(10))).toBe(true);
    });
  });

  test('a change made while a group is written is in the next one, and its sync waits for that', async ({
    gated: { lab, store },
  }) => {
    const ino = await writeFile(lab.vfs, 'f', pattern(10));
    store.hold();
    const first = Promise.resolve(lab.vfs.syncfs());
    await new Promise((resolve) => setImmediate(resolve));
    await lab.vfs.rename(lab.vfs.rootIno, n('f'), lab.vfs.rootIno, n('g'), 'replace', root);
    await writeAt(lab, ino, 0, pattern(20, 2));
    const second = Promise.resolve(lab.vfs.syncfs());
    store.open();
    await first;
    await second;
    await afterCrash(lab, async (crashed) => {
      expect((await at(crashed.vfs, 'g')).size).toBe(20);
      expect((await readAll(crashed.vfs, ino)).equals(pattern(20, 2))).toBe(true);
    });
  });
});

describe('what was not', () => {
  test('is not there, or was never changed: whole operations, all of a group or nothing', async ({ lab }) => {
    const { vfs } = lab;
    const ino = await writeFile(vfs, 'f', pattern(4 * bs));
    await vfs.syncfs();
    await vfs.rename(vfs.rootIno, n('f'), vfs.rootIno, n('g'), 'replace', root);
    await makeFile(vfs, 'new');
    await vfs.setattr(ino, { size: 10, mode: 0o600 }, root);
    await afterCrash(lab, async (crashed) => {
      expect(await list(crashed.vfs, crashed.vfs.rootIno)).toEqual(['.', '..', 'f']);
      expect(await at(crashed.vfs, 'f')).toMatchObject({ size: 4 * bs, mode: 0o100644 });
    });
  });

  test('of a longer file shows the old one; of a hole filled, zeros', async ({ lab }) => {
    const grown = await writeFile(lab.vfs, 'grown', pattern(100));
    const sparse = await makeFile(lab.vfs, 'sparse');
    await lab.vfs.setattr(sparse, { size: 4 * bs }, root);
    await lab.vfs.syncfs();
    await writeAt(lab, grown, 100, pattern(5 * bs, 2));
    await writeAt(lab, sparse, bs, pattern(bs, 3));
    await afterCrash(lab, async (crashed) => {
      expect((await readAll(crashed.vfs, grown)).equals(pattern(100))).toBe(true);
      expect((await readAll(crashed.vfs, sparse)).equals(Buffer.alloc(4 * bs))).toBe(true);
      await crashed.vfs.setattr(grown, { size: 3 * bs }, root);
      expect((await readAll(crashed.vfs, grown)).subarray(100).equals(Buffer.alloc(3 * bs - 100))).toBe(true);
    });
  });

  test('of preallocated blocks shows zeros, whatever was written into them', async ({ lab }) => {
    const ino = await makeFile(lab.vfs, 'f');
    await withHandle(lab.vfs, ino, 2, (handle) => lab.vfs.fallocate(handle, 'allocate', 0, 4 * bs, root));
    await lab.vfs.syncfs();
    await writeAt(lab, ino, 0, pattern(2 * bs));
    await afterCrash(lab, async (crashed) => {
      expect((await readAll(crashed.vfs, ino)).equals(Buffer.alloc(4 * bs))).toBe(true);
    });
  });

  for (const giveUp of ['unlink', 'truncate', 'punch'] as const) {
    test(`blocks given up by ${giveUp} are not reused before that is durable: a crash shows the old data`, async ({
      gated: { lab, store },
    }) => {
      const { vfs } = lab;
      const size = lab.fs.status().blocks.free * bs - 8 * bs;
      const old = Buffer.alloc(size, 0x11);
      const ino = await writeFile(vfs, 'old', old);
      await vfs.syncfs();
      store.hold();
      if (giveUp === 'unlink') await vfs.unlink(vfs.rootIno, n('old'), root);
      if (giveUp === 'truncate') await vfs.setattr(ino, { size: 0 }, root);
      if (giveUp === 'punch') await withHandle(vfs, ino, 2, (handle) => vfs.fallocate(handle, 'punch', 0, size, root));
      const next = await makeFile(vfs, 'next');
      const handle = await vfs.open(next, 2, root);
      const written = Promise.resolve(vfs.write(handle, 0, Buffer.alloc(size, 0x22), root));
      await new Promise((resolve) => setImmediate(resolve));
      await afterCrash(lab, async (crashed) => {
        expect((await readAll(crashed.vfs, ino)).equals(old)).toBe(true);
      });
      store.open();
      expect(await written).toBe(size);
      await vfs.release(handle);
      expect((await readAll(vfs, next)).equals(Buffer.alloc(size, 0x22))).toBe(true);
    });
  }
});

/** Of all extents of the file, when the batch that `sync` brings about begins. */
async function expectPersisted(
  { lab, device, store }: { lab: Lab; device: WatchedDevice; store: GatedStore },
  ino: number,
  sync: () => unknown,
): Promise<void> {
  store.hold();
  const begun = store.begun;
  const synced = Promise.resolve(sync());
  await until('the batch', () => store.begun > begun);
  for (const { storageOffset, length } of await lab.fs.map(ino)) {
    expect(device.covers(storageOffset, length)).toBe(true);
  }
  store.open();
  await synced;
}

describe('data is on the device before the group that refers to it is in the store', () => {
  const onDisk = base.extend<{ disk: { lab: Lab; device: WatchedDevice; store: GatedStore } }>({
    disk: async ({ lab }, use) => {
      await lab.unmount();
      const parts: { device?: WatchedDevice; store?: GatedStore } = {};
      await lab.mount(undefined, {
        device: (real) => (parts.device = new WatchedDevice(real)),
        store: (real) => (parts.store = new GatedStore(real)),
      });
      const { device, store } = parts;
      if (device === undefined || store === undefined) throw new Error('nothing was wrapped');
      await use({ lab, device, store });
      store.open();
    },
  });

  onDisk('what was written to new blocks, and what was written in place', async ({ disk }) => {
    const { lab, device } = disk;
    const ino = await writeFile(lab.vfs, 'f', pattern(3 * bs + 5));
    device.persisted.length = 0;
    await expectPersisted(disk, ino, () => lab.vfs.fsync(ino, false));
    await writeAt(lab, ino, 0, pattern(4 * bs));
    device.persisted.length = 0;
    await expectPersisted(disk, ino, () => lab.vfs.fsync(ino, false));
  });

  onDisk('what a peer wrote, when it commits', async ({ disk }) => {
    const { lab, device } = disk;
    const ino = await writeFile(lab.vfs, 'f', pattern(2 * bs));
    await lab.fs.layouts.mapForWrite(ino, { offset: 0, length: 4 * bs }, 7);
    device.persisted.length = 0;
    const request = { ranges: [{ offset: 0, length: 4 * bs }], lastWriteOffset: 4 * bs - 1, mtimeNs: undefined };
    await expectPersisted(disk, ino, () => lab.fs.layouts.commitLayout(ino, request, 7));
  });

  onDisk('what a peer wrote over shared blocks, when it commits', async ({ disk }) => {
    const { lab, device } = disk;
    const ino = await writeFile(lab.vfs, 'f', pattern(2 * bs));
    await lab.fs.cloneFile(ino, lab.vfs.rootIno, n('clone'), root);
    const range = { offset: 0, length: 2 * bs };
    await lab.fs.layouts.mapForWrite(ino, range, 7);
    device.persisted.length = 0;
    const request = { ranges: [range], lastWriteOffset: undefined, mtimeNs: undefined };
    await expectPersisted(disk, ino, () => lab.fs.layouts.commitLayout(ino, request, 7));
  });

  onDisk('the copies that a fence makes', async ({ disk }) => {
    const { lab, device } = disk;
    const ino = await writeFile(lab.vfs, 'f', pattern(2 * bs));
    const range = { offset: 0, length: 2 * bs };
    await lab.fs.layouts.mapForWrite(ino, range, 7);
    device.persisted.length = 0;
    await expectPersisted(disk, ino, () => lab.fs.layouts.quarantine(7, [{ ino, ...range, access: 'write' }]));
  });
});

test('numbers of inodes and listing positions are never used twice, over crashes', async ({ lab }) => {
  const used = new Set<number>();
  let current = lab;
  const labs: Lab[] = [];
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < 10; i++) used.add(await makeFile(current.vfs, `r${round}f${i}`));
    await current.vfs.syncfs();
    for (let i = 0; i < 10; i++) await makeFile(current.vfs, `lost${round}f${i}`);
    current = await current.afterCrash();
    labs.push(current);
  }
  const handle = await current.vfs.opendir(current.vfs.rootIno, root);
  const entries = await current.vfs.readdir(handle, 0, 1000, root);
  await current.vfs.release(handle);
  expect(used.size).toBe(30);
  expect(new Set(entries.map(({ cookie }) => cookie)).size).toBe(32);
  expect(new Set(entries.slice(2).map(({ ino }) => ino))).toEqual(used);
  for (const each of labs.toReversed()) await each.remove();
});

test('changes reach the store by themselves within the group interval', async ({ gated: { lab, store } }) => {
  const begun = store.begun;
  await makeFile(lab.vfs, 'f');
  await until('the batch', () => store.begun > begun);
  const survives = async () => (await afterCrash(lab, ({ vfs }) => list(vfs, vfs.rootIno))).includes('f');
  await until('it to be on the disk', survives);
});

describe('when the store fails', () => {
  /** A filesystem whose store refuses every batch from now on. */
  const broken = base.extend<{ failing: { lab: Lab; fs: Filesystem; file: number } }>({
    // oxlint-disable-next-line eslint/no-empty-pattern -- vitest reads from the pattern which fixtures are needed
    failing: async ({}, use) => {
      const lab = await Lab.create();
      try {
        const file = await writeFile(lab.vfs, 'f', pattern(bs));
        await lab.unmount();
        const stores: GatedStore[] = [];
        await lab.mount(undefined, {
          store: (real) => {
            const store = new GatedStore(real);
            stores.push(store);
            return store;
          },
        });
        stores[0]?.fail(new FsError('ENOSPC', { detail: 'disk full' }));
        await use({ lab, fs: lab.fs, file });
      } finally {
        // Closing says EIO: not everything is durable.
        expect(await errnoOfCall(() => lab.unmount())).toBe('EIO');
        await lab.remove();
      }
    },
  });

  broken('sync says EIO, and so does everything after it; reading goes on', async ({ failing: { fs, file } }) => {
    await makeFile(fs.vfs, 'new');
    expect(await errnoOfCall(() => fs.vfs.fsync(file, false))).toBe('EIO');
    expect(fs.status().shutdown).toContain('disk full');
    const top = fs.vfs.rootIno;
    for (const change of [
      () => makeFile(fs.vfs, 'another'),
      () => fs.vfs.unlink(top, n('f'), root),
      () => fs.vfs.setattr(file, { mode: 0o600 }, root),
      () => fs.vfs.setxattr(file, 'user.a', Buffer.from('x'), 'either', root),
      () => fs.cloneFile(file, top, n('clone'), root),
      () => fs.layouts.mapForWrite(file, { offset: 0, length: bs }, 1),
      () => withHandle(fs.vfs, file, 2, (handle) => fs.vfs.write(handle, 0, pattern(10), root)),
      () => fs.vfs.syncfs(),
    ]) {
      expect(await errnoOfCall(change), String(change)).toBe('EIO');
    }
    expect((await readAll(fs.vfs, file)).equals(pattern(bs))).toBe(true);
    expect(await list(fs.vfs, top)).toContain('f');
  });

  broken('a grant fails rather than leave without being durable', async ({ failing: { fs, file } }) => {
    const range = { offset: 0, length: 2 * bs };
    expect(await errnoOfCall(() => fs.layouts.mapForWrite(file, range, 1))).toBe('EIO');
    expect(await errnoOfCall(() => fs.layouts.quarantine(1, []))).toBe('EIO');
  });

  broken('a file that loses its last user stays for the next mount; nothing is thrown', async ({ failing }) => {
    const { fs, lab } = failing;
    const handle = await fs.vfs.open(failing.file, 0, root);
    await fs.vfs.unlink(fs.vfs.rootIno, n('f'), root);
    expect(await errnoOfCall(() => fs.vfs.syncfs())).toBe('EIO');
    await fs.vfs.release(handle);
    await afterCrash(lab, async (crashed) => {
      expect((await readAll(crashed.vfs, failing.file)).equals(pattern(bs))).toBe(true);
    });
  });

  broken('the next mount finds what was durable before', async ({ failing: { fs, lab, file } }) => {
    await makeFile(fs.vfs, 'new');
    expect(await errnoOfCall(() => fs.vfs.syncfs())).toBe('EIO');
    await afterCrash(lab, async (crashed) => {
      expect(await list(crashed.vfs, crashed.vfs.rootIno)).toEqual(['.', '..', 'f']);
      expect((await readAll(crashed.vfs, file)).equals(pattern(bs))).toBe(true);
    });
  });
});

describe('blocks that moved within a file', () => {
  test.for([
    { mode: 'collapse', moved: [2, 3, 4] },
    { mode: 'insert', moved: [0, 1, 2, 3, 4] },
  ] as const)(
    '$mode: what follows is written only when a crash cannot move them back',
    async ({ mode, moved }, { lab }) => {
      const synced = [1, 2, 3, 4];
      const { vfs } = lab;
      const ino = await writeFile(vfs, 'f', Buffer.concat(synced.map((byte) => Buffer.alloc(bs, byte))));
      await vfs.syncfs();
      await withHandle(vfs, ino, 2, async (handle) => {
        await vfs.fallocate(handle, mode, 0, bs, root);
        await vfs.write(handle, bs, Buffer.alloc(bs, 9), root);
      });
      const crashed = await lab.afterCrash();
      const found = await readAll(crashed.vfs, ino);
      await crashed.remove();
      const shown = Array.from({ length: found.length / bs }, (_, i) => found[i * bs] ?? -1);
      // Either still the old file, or the new one with or without the write; never the write at another place.
      expect([synced, moved, [...moved.slice(0, 1), 9, ...moved.slice(2)]]).toContainEqual(shown);
    },
  );
});

test('with the metadata disk nearly full nothing new begins, and what deletes goes on', async ({ gated }) => {
  const { lab, store } = gated;
  const { vfs } = lab;
  const ino = await writeFile(vfs, 'f', pattern(bs));
  vi.spyOn(store, 'room', 'get').mockReturnValue(0);
  expect(await errnoOfCall(() => vfs.create(vfs.rootIno, n('g'), 0o644, 2, root))).toBe('ENOSPC');
  expect(await errnoOfCall(() => vfs.link(ino, vfs.rootIno, n('g'), root))).toBe('ENOSPC');
  expect(await errnoOfCall(() => vfs.setxattr(ino, 'user.a', Buffer.from('1'), 'either', root))).toBe('ENOSPC');
  await withHandle(vfs, ino, 2, async (handle) => {
    expect(await errnoOfCall(() => vfs.write(handle, bs, pattern(bs), root))).toBe('ENOSPC');
    expect(await vfs.write(handle, 0, pattern(bs), root)).toBe(bs);
  });
  await vfs.unlink(vfs.rootIno, n('f'), root);
  await vfs.syncfs();
  expect(await list(vfs, vfs.rootIno)).toEqual(['.', '..']);
});
