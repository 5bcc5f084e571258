/**
 * fdatasync(2): the data is durable and found after a crash. Where a crash would find it without any record that is still
 * to be written, the store has no part in it; where not, it waits for the store as fsync(2) does.
 */
import { expect } from 'vitest';
import type { BarDevice } from '../../fs/bar/device.ts';
import { FsError } from '../../fs/errors.ts';
import { GatedStore } from '../meta/gated-store.ts';
import { errnoOfCall, type Lab, n, readAll, root, withHandle, writeFile } from '../support/filesystem.ts';
import { until } from '../support/until.ts';
import { test as base, bs, Gate, pattern } from './fixture.ts';
import { WatchedDevice } from './watched-device.ts';

/** What is persisted waits for a gate, or fails, if the test wants. */
class SlowDevice extends WatchedDevice {
  gate: Gate | undefined;
  failure: FsError | undefined;
  /** Calls that came. */
  asked = 0;

  override async persist(offset: number, length: number): Promise<void> {
    this.asked++;
    await this.gate?.passed;
    if (this.failure !== undefined) throw this.failure;
    await super.persist(offset, length);
  }
}

interface Slow {
  readonly lab: Lab;
  readonly device: SlowDevice;
  readonly store: GatedStore;
  /** A file of four blocks, durable. */
  readonly ino: number;
}

const test = base.extend<{ slow: Slow }>({
  slow: async ({ lab }, use) => {
    await lab.unmount();
    const parts: { device?: SlowDevice; store?: GatedStore } = {};
    await lab.mount(undefined, {
      device: (real: BarDevice) => (parts.device = new SlowDevice(real)),
      store: (real) => (parts.store = new GatedStore(real)),
    });
    const { device, store } = parts;
    if (device === undefined || store === undefined) throw new Error('nothing was wrapped');
    const ino = await writeFile(lab.vfs, 'f', pattern(4 * bs));
    await lab.vfs.syncfs();
    await use({ lab, device, store, ino });
    store.open();
    device.gate?.open();
  },
});

function write({ lab, ino }: Slow, offset: number, data: Uint8Array): Promise<number> {
  return withHandle(lab.vfs, ino, 2, (handle) => lab.vfs.write(handle, offset, data, root));
}

const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

/** Does the sync of the data wait for the store? */
async function waitsForStore({ lab, store, ino }: Slow): Promise<boolean> {
  const begun = store.begun;
  store.hold();
  const sync = Promise.resolve(lab.vfs.fsync(ino, true)).then(() => 'settled');
  const batch = until('a batch', () => store.begun > begun).then(() => 'batch');
  const first = await Promise.race([sync, batch]);
  store.open();
  await sync;
  if (first === 'settled') await lab.vfs.syncfs(); // so that there is a batch
  await batch;
  return first === 'batch';
}

test('what was overwritten in place is on the device, and the store is not asked', async ({ slow }) => {
  const { lab, device, ino } = slow;
  await write(slow, bs + 7, pattern(bs, 2));
  device.persisted.length = 0;
  expect(await waitsForStore(slow)).toBe(false);
  const [extent] = await lab.fs.map(ino);
  expect(device.covers((extent?.storageOffset ?? Number.NaN) + bs + 7, bs)).toBe(true);
});

test('it is there after a crash, with the old times at worst', async ({ slow }) => {
  const { lab, store, ino } = slow;
  store.hold();
  await write(slow, 0, pattern(4 * bs, 2));
  await lab.vfs.fsync(ino, true);
  const crashed = await lab.afterCrash();
  expect((await readAll(crashed.vfs, ino)).equals(pattern(4 * bs, 2))).toBe(true);
  expect(await crashed.problems()).toEqual([]);
  await crashed.remove();
});

test('fsync(2) brings the times too', async ({ slow }) => {
  const { lab, ino } = slow;
  await write(slow, 0, pattern(bs, 2));
  await lab.vfs.fsync(ino, false);
  const { mtime, change } = await lab.vfs.getattr(ino, root);
  const crashed = await lab.afterCrash();
  expect(await crashed.vfs.getattr(ino, root)).toMatchObject({ mtime, change });
  await crashed.remove();
});

test.for<readonly [string, (slow: Slow) => unknown]>([
  ['grew', (slow) => write(slow, 4 * bs, pattern(1))],
  [
    'grew within its last block',
    async (slow) => {
      await slow.lab.vfs.setattr(slow.ino, { size: 3 * bs + 1 }, root);
      await slow.lab.vfs.syncfs();
      await write(slow, 3 * bs, pattern(100));
    },
  ],
  ['was cut', ({ lab, ino }) => lab.vfs.setattr(ino, { size: bs }, root)],
  [
    'had a hole filled',
    async (slow) => {
      await withHandle(slow.lab.vfs, slow.ino, 2, (handle) => slow.lab.vfs.fallocate(handle, 'punch', bs, bs, root));
      await slow.lab.vfs.syncfs();
      await write(slow, bs, pattern(bs, 3));
    },
  ],
  [
    'had preallocated blocks written',
    async (slow) => {
      const { lab, ino } = slow;
      await withHandle(lab.vfs, ino, 2, (handle) => lab.vfs.fallocate(handle, 'allocate', 4 * bs, 4 * bs, root));
      await lab.vfs.syncfs();
      await write(slow, 5 * bs, pattern(bs, 3));
    },
  ],
  [
    'got blocks of its own in place of shared ones',
    async (slow) => {
      const { lab, ino } = slow;
      await lab.fs.cloneFile(ino, lab.vfs.rootIno, n('clone'), root);
      await lab.vfs.syncfs();
      await write(slow, 0, pattern(bs, 3));
    },
  ],
  [
    'got another mode, which ends with a write',
    async (slow) => {
      await slow.lab.vfs.setattr(slow.ino, { mode: 0o4755 }, root);
      await slow.lab.vfs.syncfs();
      await withHandle(slow.lab.vfs, slow.ino, 2, (handle) =>
        slow.lab.vfs.write(handle, 0, pattern(bs), { ...root, uid: 1000, gid: 1000, groups: [1000] }),
      );
    },
  ],
])('a file that %s waits for the store, and is whole after a crash', async ([, change], { slow }) => {
  const { lab, ino } = slow;
  await change(slow);
  expect(await waitsForStore(slow)).toBe(true);
  const [content, { size, mode }] = [await readAll(lab.vfs, ino), await lab.vfs.getattr(ino, root)];
  const crashed = await lab.afterCrash();
  expect((await readAll(crashed.vfs, ino)).equals(content)).toBe(true);
  expect(await crashed.vfs.getattr(ino, root)).toMatchObject({ size, mode });
  await crashed.remove();
});

test('blocks that the group under way maps are waited for', async ({ slow }) => {
  const { lab, store, ino } = slow;
  await withHandle(lab.vfs, ino, 2, (handle) => lab.vfs.fallocate(handle, 'punch', bs, bs, root));
  await lab.vfs.syncfs();
  await write(slow, bs, pattern(bs, 2));
  store.hold();
  const growing = Promise.resolve(lab.vfs.syncfs());
  await turn(); // the group is sealed
  await write(slow, bs, pattern(bs, 3)); // in place
  let settled = false;
  const sync = Promise.resolve(lab.vfs.fsync(ino, true)).then(() => {
    settled = true;
  });
  await turn();
  expect(settled).toBe(false);
  store.open();
  await Promise.all([growing, sync]);
});

test('a group waits for data that a sync is about', async ({ slow }) => {
  const { lab, device, store, ino } = slow;
  device.gate = new Gate();
  await write(slow, 0, pattern(bs, 2));
  const sync = Promise.resolve(lab.vfs.fsync(ino, true));
  await until('the device is asked', () => device.asked > 0);
  const begun = store.begun;
  const group = Promise.resolve(lab.vfs.fsync(ino, false));
  for (let turns = 0; turns < 20; turns++) await turn();
  expect(store.begun).toBe(begun);
  device.gate.open();
  await Promise.all([sync, group]);
  expect(store.begun).toBe(begun + 1);
});

test('a second sync waits for data that the first is about', async ({ slow }) => {
  const { lab, device, ino } = slow;
  const gate = new Gate();
  device.gate = gate;
  await write(slow, 0, pattern(bs, 2));
  const first = Promise.resolve(lab.vfs.fsync(ino, true));
  await until('the device is asked', () => device.asked > 0);
  device.gate = undefined;
  await write(slow, 3 * bs, pattern(bs, 2));
  let settled = false;
  const second = Promise.resolve(lab.vfs.fsync(ino, true)).then(() => {
    settled = true;
  });
  await until('it is asked again', () => device.asked > 1);
  await turn();
  expect(settled).toBe(false);
  gate.open();
  await Promise.all([first, second]);
});

test('where the device fails the sync says EIO, and so does everything that would write', async ({ slow }) => {
  const { lab, device, ino } = slow;
  device.failure = new FsError('EIO', { detail: 'a cell is broken' });
  await write(slow, 0, pattern(bs, 2));
  expect(await errnoOfCall(() => lab.vfs.fsync(ino, true))).toBe('EIO');
  expect(lab.fs.status().shutdown).toContain('a cell is broken');
  expect(await errnoOfCall(() => lab.vfs.fsync(ino, true))).toBe('EIO');
  expect(await errnoOfCall(() => write(slow, 0, pattern(bs)))).toBe('EIO');
  expect(await errnoOfCall(() => lab.unmount())).toBe('EIO');
});
