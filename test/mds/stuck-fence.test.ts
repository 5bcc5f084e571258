/** A fence that fails, and fails again: nobody gets what the client may still reach, and nobody waits for it without end. */
import { constants } from 'node:fs';
import { expect, vi } from 'vitest';
import { FsError } from '../../fs/errors.ts';
import { fencingLimits } from '../../mds/fencing/limits.ts';
import { serverLimits } from '../../mds/limits.ts';
import { operations } from '../../mds/protocol/ops.ts';
import { root, withHandle } from '../support/filesystem.ts';
import { RawClient } from './raw-client.ts';
import { leaseMs, type Rig } from './rig.ts';
import { test as base } from './rig-test.ts';

const test = base.extend({ options: { courtesyMs: 0 } });
const block = 4096;
const [read, rw] = [1, 2] as const;
const fault = new FsError('EIO', { detail: 'the copy failed' });

/** A holder of a layout for writing, somebody else, and fences that fail from here on. */
async function holder(rig: Rig) {
  const client = await rig.client({ owner: 'holder' });
  const { ino, stateid } = await client.create('held', Buffer.alloc(4 * block, 7));
  await client.layout(ino, stateid, rw, 0, 4 * block);
  const other = await rig.client({ owner: 'other' });
  const failing = vi.spyOn(rig.lab.fs.layouts, 'quarantine').mockRejectedValue(fault);
  return { client, ino, other, open: await other.open(ino), failing };
}

type Held = Awaited<ReturnType<typeof holder>>;

/** Time passes, and everybody but the holder renews. */
async function pass(rig: Rig, { other }: Pick<Held, 'other'>, ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= leaseMs / 2) {
    await other.call(operations.SEQUENCE, []);
    rig.clock.advance(Math.min(left, leaseMs / 2));
  }
}

/** The bytes written, or what it failed with. */
function write({ lab: { vfs } }: Rig, ino: number): Promise<unknown> {
  const text = Buffer.from('acknowledged');
  return outcome(withHandle(vfs, ino, constants.O_WRONLY, (handle) => vfs.write(handle, 0, text, root)));
}

interface Waiting {
  readonly written: Promise<unknown>;
}

/** The same, when it waits already: from here on time counts for the recall. */
async function waitingWrite(rig: Rig, ino: number): Promise<Waiting> {
  const before = rig.server.status().breaks.length;
  const written = write(rig, ino);
  await rig.until('the write to wait', () => rig.server.status().breaks.length > before);
  return { written };
}

const outcome = (work: Promise<unknown>): Promise<unknown> => work.catch((error: unknown) => error);

const failed = (rig: Rig): Promise<void> =>
  rig.until('the fence to fail', () => rig.server.status().fences[0]?.error?.includes('the copy failed') === true);

test('operations fail after one more deadline, and go on when it holds', async ({ rig }) => {
  const of = await holder(rig);
  const { written } = await waitingWrite(rig, of.ino);
  await pass(rig, of, leaseMs);
  await failed(rig);
  expect(rig.server.status().fences).toMatchObject([{ client: of.client.id, provider: 'quarantine' }]);
  expect(rig.server.status().breaks).toHaveLength(1);

  await pass(rig, of, leaseMs);
  expect(await written).toMatchObject({ code: 'EIO', context: { ino: of.ino, client: of.client.id } });
  expect(await write(rig, of.ino)).toMatchObject({ code: 'EIO' });
  expect(await of.other.statusOf(operations.WRITE, [of.open, 0, 2, Buffer.from('x')])).toBe('IO');
  expect(await of.other.statusOf(operations.RECALL, [null, of.ino, 0, block])).toBe('IO');
  expect(await of.other.statusOf(operations.RECALL, [null, null, 0, Infinity])).toBe('IO');
  const granted = of.other.statusOf(operations.LAYOUTGET, [of.ino, of.open, rw, 0, block, block, 64, false], 1);
  await rig.until('it to wait', () => rig.server.status().breaks.length === 1);
  await pass(rig, of, serverLimits.layoutWaitMs);
  expect(await granted).toBe('LAYOUTTRYLATER');

  of.failing.mockRestore();
  await pass(rig, of, fencingLimits.retryLongestMs);
  await rig.until('the fence to hold', () => rig.server.status().layouts.length === 0);
  expect(await write(rig, of.ino)).toBe(12);
});

test('one that only takes long is waited for', async ({ rig }) => {
  const of = await holder(rig);
  const { layouts } = rig.lab.fs;
  of.failing.mockRestore();
  const quarantine = layouts.quarantine.bind(layouts);
  const copied = new AbortController();
  vi.spyOn(layouts, 'quarantine').mockImplementation(async (client, segments) => {
    await new Promise((resolve) => {
      copied.signal.addEventListener('abort', resolve);
    });
    await quarantine(client, segments);
  });
  const { written } = await waitingWrite(rig, of.ino);
  await pass(rig, of, 4 * leaseMs);
  expect(rig.server.status().breaks).toHaveLength(1);
  copied.abort();
  expect(await written).toBe(12);
});

test('of a client that is declared dead nothing is copied', async ({ rig }) => {
  const of = await holder(rig);
  const { layouts } = rig.lab.fs;
  of.failing.mockRestore();
  const quarantine = layouts.quarantine.bind(layouts);
  vi.spyOn(layouts, 'quarantine').mockImplementation((client, segments) =>
    segments.length > 0 ? Promise.reject(fault) : quarantine(client, segments),
  );
  const { written } = await waitingWrite(rig, of.ino);
  await pass(rig, of, leaseMs);
  await failed(rig);
  await of.other.call(operations.EVICT, [of.client.id]);
  expect(await written).toBe(12);
  expect(rig.server.status().fences).toEqual([]);
});

test('the next incarnation is told to come later, and is there when it does', async ({ rig }) => {
  const of = await holder(rig);
  const { written } = await waitingWrite(rig, of.ino);
  await pass(rig, of, leaseMs / 2);
  const next = outcome(RawClient.connect(rig.address, { owner: 'holder', verifier: 'v2' }));
  await failed(rig);
  await pass(rig, of, serverLimits.confirmWaitMs);
  expect(await next).toMatchObject({ status: 'DELAY' });
  of.failing.mockRestore();
  await pass(rig, of, 2 * fencingLimits.retryFirstMs);
  expect(await written).toBe(12);
  const client = await rig.client({ owner: 'holder', verifier: 'v2' });
  expect(await client.statusOf(operations.GETATTR, [of.ino])).toBe('OK');
});

test('a server that stops does not wait for it', async ({ rig }) => {
  const of = await holder(rig);
  const { written } = await waitingWrite(rig, of.ino);
  await pass(rig, of, leaseMs);
  await failed(rig);
  const drained = rig.server.drain();
  await pass(rig, of, leaseMs);
  expect(await drained).toBe(false);
  expect(await written).toMatchObject({ code: 'EIO' });
});

test('after a restart it keeps others from its files alone', async ({ rig }) => {
  const { ino, client } = await holder(rig);
  await rig.crash({ courtesyMs: 0 });
  const failing = vi.spyOn(rig.lab.fs.layouts, 'quarantineFormer').mockRejectedValue(fault);
  const other = await rig.client({ owner: 'other', verifier: 'v2' });
  const { written } = await waitingWrite(rig, ino);
  await pass(rig, { other }, leaseMs);
  await failed(rig);
  await pass(rig, { other }, leaseMs);
  expect(await written).toMatchObject({ code: 'EIO', context: { ino, client: client.id } });
  const own = await other.create('own', Buffer.alloc(block));
  const get = (of: number, stateid: typeof own.stateid) =>
    other.statusOf(operations.LAYOUTGET, [of, stateid, read, 0, block, block, 64, false]);
  expect(await get(ino, await other.open(ino))).toBe('LAYOUTTRYLATER');
  expect(await get(own.ino, own.stateid)).toBe('OK');
  failing.mockRestore();
  await pass(rig, { other }, fencingLimits.retryLongestMs);
  await rig.until('the fence to hold', () => rig.server.status().graceLeftMs === 0);
  expect(await write(rig, ino)).toBe(12);
});

test('keeps no slot of the client itself', async ({ rig }) => {
  const of = await holder(rig);
  const { layouts } = rig.lab.fs;
  const mapForWrite = layouts.mapForWrite.bind(layouts);
  const mapped = new AbortController();
  const asked = new Promise<void>((resolve) => {
    vi.spyOn(layouts, 'mapForWrite').mockImplementation(async (...args) => {
      resolve();
      await new Promise((goOn) => {
        mapped.signal.addEventListener('abort', goOn);
      });
      return mapForWrite(...args);
    });
  });
  const { ino, stateid } = await of.client.create('second');
  const get = of.client.statusOf(operations.LAYOUTGET, [ino, stateid, rw, 0, block, block, 64, false], 1);
  await asked;
  const { written } = await waitingWrite(rig, of.ino);
  for (let half = 0; half < 2; half++) {
    await of.client.call(operations.SEQUENCE, []);
    await pass(rig, of, leaseMs / 2);
  }
  await failed(rig);
  mapped.abort();
  expect(await get).toBe('RECALLCONFLICT');
  of.failing.mockRestore();
  await pass(rig, of, fencingLimits.retryLongestMs);
  await written;
  await rig.until('the fence to hold', () => rig.server.status().layouts.length === 0);
  expect(rig.lab.fs.status().blocks.provisional).toBe(0);
  expect(await write(rig, of.ino)).toBe(12);
});

test('who lacks space is told so, and waits no more for what it was given', async ({ rig }) => {
  const of = await holder(rig);
  const { ino, stateid } = await of.client.create('large');
  const room = Math.floor(rig.lab.fs.status().blocks.free * 0.9) * block;
  await of.client.layout(ino, stateid, rw, 0, room);
  const { written } = await waitingWrite(rig, of.ino);
  for (let deadline = 0; deadline < 2; deadline++) {
    await pass(rig, of, leaseMs);
    await failed(rig);
  }
  expect(await written).toMatchObject({ code: 'EIO' });
  const own = await of.other.create('own');
  expect(await of.other.statusOf(operations.FALLOCATE, [own.stateid, 0, 0, room])).toBe('NOSPC');
});
