/** What the server does when the filesystem below it fails, or may not be written. */
import { join } from 'node:path';
import { expect } from 'vitest';
import { openDevice } from '../../fs/bar/open.ts';
import { openFilesystem } from '../../fs/engine/engine.ts';
import type { Filesystem } from '../../fs/engine/filesystem.ts';
import type { LayoutBackend } from '../../fs/engine/leases.ts';
import { FsError } from '../../fs/errors.ts';
import { openLevelStore } from '../../fs/meta/level-store.ts';
import { operations } from '../../mds/protocol/ops.ts';
import { MetadataServer } from '../../mds/server.ts';
import { errnoOfCall } from '../support/filesystem.ts';
import { ManualClock } from './manual-clock.ts';
import { RawClient } from './raw-client.ts';
import { endMs, leaseMs } from './rig.ts';
import { test } from './rig-test.ts';

const block = 4096;
const by = { uid: 0, gid: 0, groups: [0], pid: 1, access: 'engine' as const };

/** `fs` with another side for layouts. */
function withLayouts(fs: Filesystem, layouts: LayoutBackend): Filesystem {
  return {
    vfs: fs.vfs,
    layouts,
    device: fs.device,
    uuid: fs.uuid,
    generation: fs.generation,
    setLeases: (leases) => fs.setLeases(leases),
    map: (ino) => fs.map(ino),
    cloneFile: (ino, parent, name, caller) => fs.cloneFile(ino, parent, name, caller),
    cloneTree: (ino, parent, name, caller) => fs.cloneTree(ino, parent, name, caller),
    pin: (ino, size, align, caller) => fs.pin(ino, size, align, caller),
    unpin: (ino, caller) => fs.unpin(ino, caller),
    isPinned: (ino) => fs.isPinned(ino),
    setReserve: (reserve) => fs.setReserve(reserve),
    setQuota: (ino, bytesMax, inodesMax) => fs.setQuota(ino, bytesMax, inodesMax),
    removeQuota: (ino) => fs.removeQuota(ino),
    quotas: (ino) => fs.quotas(ino),
    onNameRemoved: (listener) => fs.onNameRemoved(listener),
    onAccessed: (listener) => fs.onAccessed(listener),
    status: () => fs.status(),
    fragmentation: () => fs.fragmentation(),
    startJob: (request) => fs.startJob(request),
    job: () => fs.job(),
    cancelJob: (id) => fs.cancelJob(id),
    clientRecords: () => fs.clientRecords(),
    newClientId: () => fs.newClientId(),
    putClient: (record) => fs.putClient(record),
    removeClient: (client) => fs.removeClient(client),
    quarantined: () => fs.quarantined(),
    close: () => fs.close(),
  };
}

test('while a fence fails nobody gets the range; it is tried again until it holds', async ({ rig }) => {
  const { fs } = rig.lab;
  let failures = 3;
  const layouts: LayoutBackend = {
    ...fs.layouts,
    quarantine: (client, segments) => {
      if (failures-- > 0) return Promise.reject(new FsError('EIO', { client }));
      return fs.layouts.quarantine(client, segments);
    },
  };
  const clock = new ManualClock();
  const server = new MetadataServer(withLayouts(fs, layouts), { clock, leaseMs });
  const address = await server.listen(`unix:${join(rig.lab.dir, 'failing.sock')}`);
  const client = await RawClient.connect(address);
  try {
    const { ino, stateid } = await client.create('a', Buffer.alloc(2 * block));
    const held = await client.layout(ino, stateid, 2, 0, 2 * block);
    const truncated = Promise.resolve(fs.vfs.setattr(ino, { size: 0 }, by));
    await client.connection.recall();
    clock.advance(leaseMs / 2);
    await client.call(operations.SEQUENCE, []);
    clock.advance(leaseMs / 2);
    for (const waitMs of [1000, 2000, 4000]) {
      await client.call(operations.SEQUENCE, []);
      expect(server.status().breaks).toHaveLength(1);
      expect(await client.statusOf(operations.FREE_STATEID, [held.stateid])).toBe('DELAY');
      clock.advance(waitMs);
    }
    expect((await truncated).size).toBe(0);
    expect(failures).toBe(-1);
  } finally {
    await client.connection.end();
    await server.close();
  }
});

test('when the filesystem shuts down before a fence holds, whoever waits fails, and nothing is moved again', async ({
  rig,
}) => {
  await rig.server.close();
  await rig.lab.unmount();
  let broken = false;
  const fs = await rig.lab.mount(undefined, {
    store: (store) =>
      new Proxy(store, {
        get(target, name) {
          if (name === 'batch' && broken)
            return () => Promise.reject(new FsError('EIO', { detail: 'the disk is gone' }));
          const value: unknown = Reflect.get(target, name, target);
          return typeof value === 'function' ? value.bind(target) : value;
        },
      }),
  });
  let fences = 0;
  const layouts: LayoutBackend = {
    ...fs.layouts,
    quarantine: (client, segments) => {
      fences++;
      return fs.layouts.quarantine(client, segments);
    },
  };
  const clock = new ManualClock();
  const server = new MetadataServer(withLayouts(fs, layouts), { clock, leaseMs, layoutWaitMs: 10 * leaseMs });
  const address = await server.listen(`unix:${join(rig.lab.dir, 'broken.sock')}`);
  const holder = await RawClient.connect(address, { owner: 'holder' });
  const other = await RawClient.connect(address, { owner: 'other' });
  try {
    const { ino, stateid } = await holder.create('a', Buffer.alloc(2 * block));
    await holder.layout(ino, stateid, 2, 0, 2 * block);
    const open = await other.open(ino);
    const truncated = Promise.resolve(fs.vfs.setattr(ino, { size: 0 }, by)).catch((error: unknown) => error);
    const granted = other.statusOf(operations.LAYOUTGET, [ino, open, 1, 0, block, 1, 64, false]);
    await holder.connection.recall();
    await rig.until('both to wait', () => server.status().breaks.length === 2);
    broken = true;
    clock.advance(leaseMs / 2);
    await other.call(operations.SEQUENCE, [], 1);
    clock.advance(leaseMs / 2);
    expect(await truncated).toMatchObject({ code: 'EIO' });
    expect(await granted).toBe('IO');
    clock.advance(10 * leaseMs);
    expect(fences).toBe(1);
    expect(server.status().breaks).toEqual([]);
    expect(await errnoOfCall(() => fs.vfs.setattr(ino, { size: 0 }, by))).toBe('EIO');
  } finally {
    for (const client of [holder, other]) await client.connection.end();
    await server.close();
    expect(await errnoOfCall(() => rig.lab.unmount())).toBe('EIO');
  }
});

test('a mapping that fails leaves nothing behind', async ({ rig }) => {
  const client = await rig.client();
  const { ino, stateid } = await client.create('a', Buffer.alloc(block));
  const { free } = rig.lab.fs.status().blocks;
  const wanted = (free + 10) * block;
  expect(await client.statusOf(operations.LAYOUTGET, [ino, stateid, 2, 0, wanted, wanted, 64, false])).toBe('NOSPC');
  expect(rig.server.status().layouts).toEqual([]);
  expect(rig.lab.fs.status().blocks).toMatchObject({ free, provisional: 0 });
  const [, segment] = await client.call(operations.LAYOUTGET, [ino, stateid, 2, 0, wanted, 2 * block, 64, false]);
  expect(segment).toEqual([2, 0, 2 * block]);
});

test('a read-only filesystem gives layouts for reading, and ends clients without writing', async ({ rig }) => {
  const client = await rig.client();
  const { ino } = await client.create('a', Buffer.alloc(block, 1));
  await rig.server.close();
  await rig.lab.unmount();
  const device = await openDevice(rig.lab.image, { writable: false });
  const store = await openLevelStore(rig.lab.meta, { create: false });
  const fs = await openFilesystem({ device, store, readOnly: true });
  const clock = new ManualClock();
  const server = new MetadataServer(fs, { clock, leaseMs });
  try {
    const address = await server.listen(`unix:${join(rig.lab.dir, 'read-only.sock')}`);
    const reader = await RawClient.connect(address);
    const open = await reader.open(ino, 1);
    expect((await reader.layout(ino, open, 1, 0, block)).segment).toEqual([1, 0, block]);
    clock.advance(endMs);
    await rig.until('the end of the client', () => server.status().layouts.length === 0);
    expect(server.status().clients).toEqual([]);
    await reader.connection.end();
  } finally {
    await server.close();
    await fs.close();
  }
});
