/** A restart of the server, and what clients may claim of the run before it (RFC 8881 §8.4.2, §18.42, §18.51). */
import { describe, expect } from 'vitest';
import { operations } from '../../mds/protocol/ops.ts';
import { sequenceFlag } from '../../mds/protocol/status.ts';
import { MetadataServer } from '../../mds/server.ts';
import { mountedVfs, withCoherence } from '../../tools/lib/coherence.ts';
import { KernelCaches } from '../../tools/lib/kernel-caches.ts';
import { n, root, writeFile } from '../support/filesystem.ts';
import type { RawClient } from './raw-client.ts';
import { endMs, leaseMs, type Rig } from './rig.ts';
import { test } from './rig-test.ts';

const block = 4096;
const [read, rw] = [1, 2];

type Claim = [offset: number, length: number, storage: number];

const claimOf = (extents: readonly (readonly [number, number, number, Uint8Array, number])[]): Claim[] =>
  extents
    .filter(([state]) => state === 0 || state === 2)
    .map(([, offset, length, , storage]) => [offset, length, storage]);

/** A client with a layout for writing over blocks past the end of a file of `size` bytes, filled with 0xaa and not committed. */
async function writer(rig: Rig, { name = 'a', owner = 'w', size = 0, uid = 0 } = {}) {
  const client = await rig.client({ owner, verifier: '1', uid });
  const { ino, stateid } = await client.create(name, size === 0 ? undefined : Buffer.alloc(size, 7));
  const layout = await client.layout(ino, stateid, rw, 0, 2 * block);
  const claims = claimOf(layout.extents);
  for (const [, length, storage] of claims) rig.lab.fs.device.write(storage, Buffer.alloc(length, 0xaa));
  return { client, ino, layout, claims };
}

const back = (rig: Rig, { owner = 'w', verifier = '2', uid = 0 } = {}): Promise<RawClient> =>
  rig.client({ owner, verifier, uid, complete: false });

const reclaim = (client: RawClient, ino: number, claims: Claim[], last: number | null = 2 * block - 1) =>
  client.statusOf(operations.LAYOUTCOMMIT, [ino, null, [], last, null, claims]);

const complete = (client: RawClient) => client.statusOf(operations.RECLAIM_COMPLETE, []);

async function contentOf(rig: Rig, ino: number): Promise<Buffer> {
  const reader = await rig.client({ owner: `reader ${Math.random()}` });
  const [data] = await reader.call(operations.READ, [await reader.open(ino, 1), 0, 4 * block]);
  await reader.connection.end();
  return Buffer.from(data);
}

const isFormer = (state: string): boolean => state === 'returning' || state === 'reclaiming';

async function endGrace(rig: Rig, afterMs = leaseMs): Promise<void> {
  rig.clock.advance(afterMs);
  await rig.until('the end of grace', () => !rig.server.status().clients.some(({ state }) => isFormer(state)));
}

describe('LAYOUTCOMMIT of the former run', () => {
  test('makes what was written and not committed part of the file, after a kill too', async ({ rig }) => {
    const { ino, claims } = await writer(rig);
    await rig.crash();
    const client = await back(rig);
    expect(await client.call(operations.LAYOUTCOMMIT, [ino, null, [], 4999, [12, 34], claims])).toEqual([5000]);
    expect(await complete(client)).toBe('OK');
    expect((await contentOf(rig, ino)).equals(Buffer.alloc(5000, 0xaa))).toBe(true);
    const [attr] = await client.call(operations.GETATTR, [ino]);
    expect(attr[9]).not.toEqual([12, 34]); // the file is younger than that
    await rig.crash();
    expect((await contentOf(rig, ino)).equals(Buffer.alloc(5000, 0xaa))).toBe(true);
    expect(rig.lab.fs.status().blocks).toMatchObject({ provisional: 0, quarantined: 0 });
    expect(await rig.lab.problems()).toEqual([]);
  });

  test('grants nothing, and may be sent again', async ({ rig }) => {
    const { ino, claims } = await writer(rig);
    await rig.restart();
    const client = await back(rig);
    expect(await reclaim(client, ino, claims)).toBe('OK');
    expect(await reclaim(client, ino, claims)).toBe('OK');
    expect(rig.server.status().layouts).toEqual([]);
  });

  test('takes a part, and frees the rest with RECLAIM_COMPLETE, not before', async ({ rig }) => {
    const { ino, claims } = await writer(rig);
    const [storage = 0] = claims.map(([, , at]) => at);
    await rig.restart();
    const client = await back(rig);
    expect(await reclaim(client, ino, [[0, block, storage]], block - 1)).toBe('OK');
    expect(rig.lab.fs.status().blocks).toMatchObject({ provisional: 1 });
    expect(rig.server.status().clients).toMatchObject([{}, { state: 'reclaiming' }]);
    expect(await complete(client)).toBe('OK');
    expect(rig.lab.fs.status().blocks).toMatchObject({ provisional: 0, quarantined: 0 });
    expect(rig.server.status()).toMatchObject({ graceLeftMs: 0, clients: [{ id: client.id }] });
    expect((await contentOf(rig, ino)).equals(Buffer.alloc(block, 0xaa))).toBe(true);
  });

  test('of data written in place sets the size', async ({ rig }) => {
    const { ino, claims, layout } = await writer(rig, { size: 100 });
    expect(layout.extents.map(([state]) => state)).toEqual([0, 2]);
    await rig.restart();
    const client = await back(rig);
    const [first] = claims;
    expect(await reclaim(client, ino, first === undefined ? [] : [first], 199)).toBe('OK');
    expect((await contentOf(rig, ino)).equals(Buffer.alloc(200, 0xaa))).toBe(true);
  });

  test('of a file whose every overwrite is atomic takes the stage', async ({ rig }) => {
    const client = await rig.client({ owner: 'w', verifier: '1' });
    const { ino, stateid } = await client.create('a', Buffer.alloc(2 * block, 7));
    await client.call(operations.SETXATTR, [ino, Buffer.from('system.iopmemfs.cow'), Buffer.from('on'), 0]);
    const { extents } = await client.layout(ino, stateid, rw, 0, 2 * block);
    const stage = extents.filter(([state]) => state === 2);
    expect(stage.length).toBeGreaterThan(0);
    const old = extents.filter(([state]) => state === 1);
    for (const [, , length, , at] of stage) rig.lab.fs.device.write(at, Buffer.alloc(length, 0xaa));
    await rig.crash();
    const again = await back(rig);
    expect(
      await reclaim(
        again,
        ino,
        old.map(([, o, l, , at]): Claim => [o, l, at]),
        null,
      ),
    ).toBe('RECLAIM_BAD');
    const at = stage[0]?.[4] ?? 0;
    expect(await reclaim(again, ino, [[0, block, at]], block - 1)).toBe('OK');
    expect(await complete(again)).toBe('OK');
    const content = Buffer.concat([Buffer.alloc(block, 0xaa), Buffer.alloc(block, 7)]);
    expect((await contentOf(rig, ino)).equals(content)).toBe(true);
    expect(await rig.lab.problems()).toEqual([]);
  });

  test('over blocks of a clone puts the new ones in their place, and what is not claimed stays the old data', async ({
    rig,
  }) => {
    const client = await rig.client({ owner: 'w', verifier: '1' });
    const { ino, stateid } = await client.create('a', Buffer.alloc(2 * block, 7));
    const [{ 0: clone }] = await client.call(operations.CLONE, [ino, client.rootIno, Buffer.from('clone')]);
    const { extents } = await client.layout(ino, stateid, rw, 0, 2 * block);
    const fresh = claimOf(extents);
    expect(extents.map(([state]) => state)).toEqual([1, 2]);
    for (const [, length, at] of fresh) rig.lab.fs.device.write(at, Buffer.alloc(length, 0xaa));
    await rig.crash();
    const again = await back(rig);
    expect(
      await reclaim(
        again,
        ino,
        extents.slice(0, 1).map(([, o, l, , at]): Claim => [o, l, at]),
        null,
      ),
    ).toBe('RECLAIM_BAD');
    const [, , at = 0] = fresh[0] ?? [];
    expect(await reclaim(again, ino, [[0, block, at]], null)).toBe('OK');
    expect(await reclaim(again, ino, [[0, block, at]], null), 'again').toBe('OK');
    expect(await complete(again)).toBe('OK');
    const content = Buffer.concat([Buffer.alloc(block, 0xaa), Buffer.alloc(block, 7)]);
    expect((await contentOf(rig, ino)).equals(content)).toBe(true);
    expect((await contentOf(rig, clone)).equals(Buffer.alloc(2 * block, 7)), 'the clone').toBe(true);
    expect(rig.lab.fs.status().blocks).toMatchObject({ provisional: 0, quarantined: 0 });
    expect(await rig.lab.problems()).toEqual([]);
  });

  test('past the old end shows zeros between', async ({ rig }) => {
    const { ino, claims } = await writer(rig, { size: 100 });
    const [, second] = claims;
    await rig.restart();
    const client = await back(rig);
    expect(await reclaim(client, ino, second === undefined ? [] : [second])).toBe('OK');
    const content = Buffer.alloc(2 * block, 0xaa).fill(0, 100, block);
    const found = await contentOf(rig, ino);
    expect(found.subarray(100).equals(content.subarray(100))).toBe(true);
  });

  test('leaves alone what another former client wrote past the end', async ({ rig }) => {
    const tail = await rig.client({ owner: 'tail', verifier: '1' });
    const { ino, stateid } = await tail.create('a', Buffer.alloc(100, 7));
    const first = claimOf((await tail.layout(ino, stateid, rw, 0, block)).extents);
    const next = await rig.client({ owner: 'w', verifier: '1' });
    const second = claimOf((await next.layout(ino, await next.open(ino), rw, block, block)).extents);
    for (const [, , storage] of first) rig.lab.fs.device.write(storage + 100, Buffer.alloc(50, 0xbb));
    for (const [, , storage] of second) rig.lab.fs.device.write(storage, Buffer.alloc(block, 0xaa));
    await rig.restart();
    expect(await reclaim(await back(rig), ino, second)).toBe('OK');
    expect(await reclaim(await back(rig, { owner: 'tail' }), ino, first, 149)).toBe('OK');
    const expected = Buffer.alloc(2 * block, 0xaa)
      .fill(0, 0, block)
      .fill(7, 0, 100)
      .fill(0xbb, 100, 150);
    expect((await contentOf(rig, ino)).equals(expected)).toBe(true);
  });
});

describe('RECLAIM_BAD', () => {
  test('for anything but what is on record', async ({ rig }) => {
    const { ino, claims } = await writer(rig);
    const other = await writer(rig, { name: 'b', owner: 'other' });
    const third = await rig.client({ owner: 'third', verifier: '1' });
    const { ino: untouched, stateid } = await third.create('c', Buffer.alloc(block, 1));
    const seen = await third.layout(untouched, stateid, read, 0, block);
    await rig.restart();
    const client = await back(rig);
    const [[, , at] = [0, 0, 0]] = claims;
    const bad: [number, Claim[]][] = [
      [ino, [[0, block, at + block]]],
      [ino, [[block, block, at]]],
      [ino, [[0, 3 * block, at]]],
      [ino, other.claims],
      [other.ino, claims],
      [other.ino, other.claims],
      [untouched, seen.extents.map(([, offset, length, , storage]): Claim => [offset, length, storage])],
      [4711, claims],
    ];
    for (const [file, what] of bad)
      expect(await reclaim(client, file, what, null), JSON.stringify(what)).toBe('RECLAIM_BAD');
    expect(await reclaim(client, ino, claims)).toBe('OK');
  });

  test('for another owner, and for another principal of the same name', async ({ rig }) => {
    const { client, ino, claims } = await writer(rig);
    await rig.restart();
    expect(await reclaim(await back(rig, { owner: 'other' }), ino, claims)).toBe('RECLAIM_BAD');
    expect(await reclaim(await back(rig, { uid: 1000 }), ino, claims)).toBe('RECLAIM_BAD');
    expect(rig.server.status().clients.find(({ id }) => id === client.id)).toMatchObject({ state: 'returning' });
  });

  test('with the old verifier: that is no word on what reaches the device', async ({ rig }) => {
    const { ino, claims } = await writer(rig);
    await rig.restart();
    expect(await reclaim(await back(rig, { verifier: '1' }), ino, claims)).toBe('RECLAIM_BAD');
  });

  test('for a client whose lease ended before the restart (RFC 8881 §8.4.3)', async ({ rig }) => {
    const { client, ino, claims } = await writer(rig);
    rig.clock.advance(endMs);
    await rig.until('the quarantine', () => rig.lab.fs.quarantined().has(client.id));
    await writer(rig, { name: 'b', owner: 'other' });
    await rig.crash();
    expect(await reclaim(await back(rig), ino, claims)).toBe('RECLAIM_BAD');
  });

  test('for a client that missed a run of the server (RFC 8881 §8.4.3)', async ({ rig }) => {
    const { ino, claims } = await writer(rig);
    await rig.restart();
    await endGrace(rig);
    await writer(rig, { name: 'b', owner: 'other' });
    await rig.restart();
    const client = await back(rig);
    expect(client.flags).toBe(0);
    expect(await reclaim(client, ino, claims)).toBe('RECLAIM_BAD');
  });

  test.for([
    ['another start', Buffer.alloc(16, 2)],
    ['an unknown start', Buffer.alloc(0)],
  ] as const)('in %s of the machine, which may have lost what was written', async ([, boot], { rig }) => {
    await rig.restart({ boot: Buffer.alloc(16, 1) });
    const { ino, claims } = await writer(rig);
    await rig.restart({ boot });
    await rig.restart({ boot: Buffer.alloc(16, 1) });
    await rig.restart({ boot });
    const client = await back(rig);
    await client.call(operations.SEQUENCE, []);
    expect(client.flags).toBe(0);
    expect(await reclaim(client, ino, claims)).toMatch(/RECLAIM_BAD|NO_GRACE/);
    expect(rig.lab.fs.status().blocks).toMatchObject({ provisional: 0, quarantined: 0 });
  });

  test('where the administrator said that it is dead', async ({ rig }) => {
    const { client: former, ino, claims } = await writer(rig);
    await writer(rig, { name: 'b', owner: 'other' });
    await rig.restart();
    const client = await back(rig);
    const admin = await rig.client({ owner: 'admin' });
    await admin.call(operations.EVICT, [former.id]);
    expect(await reclaim(client, ino, claims)).toBe('RECLAIM_BAD');
  });

  test('where the file is gone', async ({ rig }) => {
    const { client: former, ino, claims } = await writer(rig);
    await writer(rig, { name: 'b', owner: 'other' });
    await former.call(operations.REMOVE, [former.rootIno, Buffer.from('a'), false]);
    await former.call(operations.SYNCFS, []);
    await rig.crash();
    const client = await back(rig);
    expect(await reclaim(client, ino, claims)).toBe('RECLAIM_BAD');
    await complete(client);
    expect(rig.lab.fs.status().blocks).toMatchObject({ provisional: 2, quarantined: 0 });
  });
});

describe('the grace period', () => {
  test('is the only time to reclaim, and RECLAIM_COMPLETE ends it', async ({ rig }) => {
    const { client, ino, claims } = await writer(rig);
    expect(await reclaim(client, ino, claims)).toBe('NO_GRACE');
    await writer(rig, { name: 'b', owner: 'other' });
    await rig.restart();
    const early = await back(rig);
    expect(await complete(early)).toBe('OK');
    expect(await reclaim(early, ino, claims)).toBe('NO_GRACE');
    const late = await back(rig, { owner: 'other' });
    rig.clock.advance(leaseMs - 1);
    await late.call(operations.SEQUENCE, []);
    await endGrace(rig, 1);
    expect(await reclaim(late, ino, claims)).toBe('NO_GRACE');
  });

  test('is as long as the lease was before', async ({ rig }) => {
    await writer(rig);
    await rig.restart({ leaseMs: leaseMs / 2 });
    expect(rig.server.status()).toMatchObject({ leaseMs: leaseMs / 2, graceLeftMs: leaseMs });
    await rig.restart({ leaseMs: 2 * leaseMs });
    expect(rig.server.status()).toMatchObject({ graceLeftMs: 2 * leaseMs });
  });

  test('gives no layouts, and nobody new state before his own RECLAIM_COMPLETE', async ({ rig }) => {
    const { ino } = await writer(rig);
    await rig.restart();
    const client = await rig.client({ owner: 'new', complete: false });
    expect(await client.statusOf(operations.OPEN, [[0, ino], 3, false, false])).toBe('GRACE');
    expect(await complete(client)).toBe('OK');
    const open = await client.open(ino);
    expect(await client.statusOf(operations.LAYOUTGET, [ino, open, read, 0, block, 0, 64, false])).toBe('GRACE');
    await endGrace(rig);
    const late = await rig.client({ owner: 'later', complete: false });
    expect(await late.statusOf(operations.LAYOUTGET, [ino, open, read, 0, block, 0, 64, false])).toBe('GRACE');
    expect(await late.statusOf(operations.OPEN, [[0, ino], 3, false, false])).toBe('GRACE');
  });

  test('is told by a flag to who has something to reclaim', async ({ rig }) => {
    await writer(rig);
    await rig.restart();
    const [client, other] = [await back(rig), await back(rig, { owner: 'other' })];
    for (const each of [client, other]) await each.call(operations.SEQUENCE, []);
    expect([client.flags, other.flags]).toEqual([sequenceFlag.RESTART_RECLAIM_NEEDED, 0]);
    await complete(client);
    await client.call(operations.SEQUENCE, []);
    expect(client.flags).toBe(0);
  });

  test('keeps the right over a restart in it, whoever came back meanwhile', async ({ rig }) => {
    const { ino, claims } = await writer(rig);
    await rig.crash();
    const second = await back(rig, { verifier: '2' });
    await second.connection.end();
    await rig.crash();
    const third = await back(rig, { verifier: '3' });
    expect(await reclaim(third, ino, claims)).toBe('OK');
    expect(await complete(third)).toBe('OK');
    expect((await contentOf(rig, ino)).equals(Buffer.alloc(2 * block, 0xaa))).toBe(true);
  });

  test('passes the right on to the next incarnation', async ({ rig }) => {
    const { ino, claims } = await writer(rig);
    await rig.restart();
    const second = await back(rig, { verifier: '2' });
    const third = await back(rig, { verifier: '3' });
    expect(await second.statusOf(operations.SEQUENCE, [])).toBe('BADSESSION');
    expect(await reclaim(third, ino, claims)).toBe('OK');
  });

  test('ends for whoever came back, and then lost its lease', async ({ rig }) => {
    await writer(rig);
    await rig.restart({ leaseMs: leaseMs / 2 });
    await back(rig);
    expect(rig.lab.fs.status().blocks).toMatchObject({ provisional: 2 });
    rig.clock.advance(leaseMs / 2);
    await rig.until('the release', () => rig.server.status().graceLeftMs === 0);
    expect(rig.lab.fs.status().blocks).toMatchObject({ provisional: 0, quarantined: 0 });
  });

  test('frees at its end what those who are back did not reclaim, and keeps the rest away', async ({ rig }) => {
    const here = await writer(rig);
    const away = await writer(rig, { name: 'b', owner: 'away' });
    await rig.restart();
    const client = await back(rig);
    rig.clock.advance(leaseMs - 1);
    await client.call(operations.SEQUENCE, []);
    await endGrace(rig, 1);
    expect([...rig.lab.fs.quarantined()]).toEqual([[away.client.id, 2 * block]]);
    expect(rig.lab.fs.status().blocks).toMatchObject({ provisional: 0 });
    expect(await reclaim(client, here.ino, here.claims)).toBe('NO_GRACE');
    expect(await complete(client)).toBe('OK');
  });

  test('lets operations go on with the last client that the file waits for', async ({ rig }) => {
    const { ino } = await writer(rig, { size: 100 });
    await writer(rig, { name: 'b', owner: 'other' });
    await rig.restart();
    const waiting = Promise.resolve(rig.lab.vfs.setattr(ino, { size: 0 }, root));
    expect(rig.server.status().breaks).toMatchObject([{ ino, reason: 'unmap (grace)' }]);
    const client = await back(rig);
    await client.call(operations.SEQUENCE, []);
    expect(rig.server.status().breaks).toHaveLength(1);
    await complete(client);
    await waiting;
    expect(rig.server.status()).toMatchObject({ graceLeftMs: leaseMs, breaks: [] });
  });

  test('keeps programs on the mount from reading what a former client could write, and only that', async ({ rig }) => {
    const { ino, claims } = await writer(rig);
    const reader = await rig.client({ owner: 'reader' });
    const { ino: other, stateid } = await reader.create('b', Buffer.alloc(block, 3));
    await reader.layout(other, stateid, read, 0, block);
    await rig.restart();
    const server = rig.server;
    const caches = new KernelCaches();
    const mds = new MetadataServer(withCoherence(rig.lab.fs, caches), { leaseMs, clock: rig.clock });
    const vfs = mountedVfs(rig.lab.vfs, caches);
    try {
      const readAll = async (file: number): Promise<Buffer> => {
        const handle = await vfs.open(file, 0, root);
        const data = await vfs.read(handle, 0, 4 * block, root, (pieces) => Buffer.concat(pieces));
        await vfs.release(handle);
        return data;
      };
      expect((await readAll(other)).length).toBe(block);
      const pending = readAll(ino);
      await rig.until('the read to wait', () => mds.status().breaks.length > 0);
      expect(mds.status().breaks).toMatchObject([{ ino, reason: 'cache (grace)' }]);
      const address = await mds.listen(`unix:${rig.lab.dir}/second.sock`);
      const client = await rig.clientAt(address, { owner: 'w', verifier: '2', complete: false });
      expect(await reclaim(client, ino, claims)).toBe('OK');
      await complete(client);
      expect((await pending).equals(Buffer.alloc(2 * block, 0xaa))).toBe(true);
    } finally {
      await mds.close();
      await server.close();
    }
  });
});

describe('LAYOUTRETURN of the former run', () => {
  test('frees what will not be reclaimed, and lets operations on the file go on', async ({ rig }) => {
    const { ino, claims } = await writer(rig, { size: 100 });
    await writer(rig, { name: 'b', owner: 'other' });
    await rig.restart();
    const waiting = Promise.resolve(rig.lab.vfs.setattr(ino, { size: 0 }, root));
    const client = await back(rig);
    const give = (offset: number, length: number) =>
      client.statusOf(operations.LAYOUTRETURN, [1, ino, null, 3, offset, length, true]);
    expect(await give(block, block)).toBe('OK');
    expect(await reclaim(client, ino, claims)).toBe('RECLAIM_BAD');
    expect(rig.server.status().breaks).toHaveLength(1);
    expect(await give(0, Infinity)).toBe('OK');
    await waiting;
    expect(rig.lab.fs.status().blocks).toMatchObject({ provisional: 2, quarantined: 0 });
  });

  test('is for files, in grace', async ({ rig }) => {
    const { client, ino } = await writer(rig);
    const returned = (who: RawClient, kind: 1 | 2 | 3) =>
      who.statusOf(operations.LAYOUTRETURN, [kind, kind === 1 ? ino : null, null, 3, 0, Infinity, true]);
    expect(await returned(client, 1)).toBe('NO_GRACE');
    expect(await returned(client, 2)).toBe('INVAL');
    await rig.restart();
    const again = await back(rig);
    for (const kind of [2, 3] as const) expect(await returned(again, kind)).toBe('INVAL');
    expect(await returned(again, 1)).toBe('OK');
    await complete(again);
    expect(await returned(again, 1)).toBe('NO_GRACE');
  });
});

test('devices of the former run are void', async ({ rig }) => {
  const { client, layout } = await writer(rig);
  const device = layout.extents[0]?.[3] ?? new Uint8Array();
  expect(await client.statusOf(operations.GETDEVICEINFO, [device, 0])).toBe('OK');
  const [key] = (await client.call(operations.GETDEVICEINFO, [device, 0])).slice(8);
  await rig.restart();
  const again = await back(rig);
  expect(await again.statusOf(operations.GETDEVICEINFO, [device, 0])).toBe('NOENT');
  await complete(again);
  const { ino, stateid } = await again.create('new', Buffer.alloc(block, 1));
  const { extents } = await again.layout(ino, stateid, read, 0, block);
  const current = extents[0]?.[3] ?? new Uint8Array();
  expect((await again.call(operations.GETDEVICEINFO, [current, 0])).slice(8)).not.toEqual([key]);
});

test('a file of which a former client only read may be cloned in grace, and get longer', async ({ rig }) => {
  const client = await rig.client({ owner: 'w', verifier: '1' });
  const { ino, stateid } = await client.create('a', Buffer.alloc(100, 1));
  await client.layout(ino, stateid, read, 0, block);
  await rig.restart();
  await rig.lab.vfs.setattr(ino, { size: 200 }, root);
  await rig.lab.fs.cloneFile(ino, rig.lab.vfs.rootIno, n('b'), root);
  expect(rig.server.status()).toMatchObject({ graceLeftMs: leaseMs, breaks: [] });
  await writeFile(rig.lab.vfs, 'c', Buffer.alloc(block));
});
