import { describe, expect } from 'vitest';
import { stateIdFromWire } from '../../mds/protocol/fields.ts';
import { operations, returnKind } from '../../mds/protocol/ops.ts';
import { sequenceFlag } from '../../mds/protocol/status.ts';
import { endMs, leaseMs } from './rig.ts';
import { test } from './rig-test.ts';

const read = 1;
const rw = 2;
const any = 3;
const block = 4096;

describe('granting', () => {
  test('the first grant has seqid 1, its mapping is what the device holds', async ({ rig }) => {
    const client = await rig.client();
    const { ino, stateid } = await client.create('a', Buffer.alloc(3 * block, 7));
    const layout = await client.layout(ino, stateid, read, 0, Infinity);
    expect(layout.stateid[0]).toBe(1);
    expect(layout.segment).toEqual([read, 0, 3 * block]);
    const [state, offset, length, , storage] = layout.extents[0] ?? [];
    expect([state, offset, length]).toEqual([1, 0, 3 * block]);
    expect(rig.lab.fs.device.views(storage ?? 0, block)[0]?.every((byte) => byte === 7)).toBe(true);
  });

  test('what a client wrote below its layout is the file once it is committed', async ({ rig }) => {
    const client = await rig.client();
    const { ino, stateid } = await client.create('a');
    const layout = await client.layout(ino, stateid, rw, 0, 2 * block);
    const [state, , , device, storage] = layout.extents[0] ?? [];
    expect(state).toBe(2);
    const [, path, , size] = await client.call(operations.GETDEVICEINFO, [device ?? new Uint8Array(16), 0]);
    expect([path, size]).toEqual([rig.lab.fs.device.path, rig.lab.fs.device.size]);
    rig.lab.fs.device.write(storage ?? 0, Buffer.alloc(2 * block, 9));
    expect(
      await client.call(operations.LAYOUTCOMMIT, [ino, layout.stateid, [[0, 2 * block]], 4999, null, null]),
    ).toEqual([5000]);
    expect(await client.returnLayout(ino, layout.stateid)).toBeNull();
    const [data] = await client.call(operations.READ, [stateid, 0, 8192]);
    expect(Buffer.from(data)).toEqual(Buffer.alloc(5000, 9));
  });

  test('what was not committed is free again after the return', async ({ rig }) => {
    const client = await rig.client();
    const { ino, stateid } = await client.create('a');
    const layout = await client.layout(ino, stateid, rw, 0, 8 * block);
    expect(rig.lab.fs.status().blocks.provisional).toBe(8);
    await client.returnLayout(ino, layout.stateid);
    expect(rig.lab.fs.status().blocks.provisional).toBe(0);
  });

  test('ranges are aligned outwards to blocks', async ({ rig }) => {
    const client = await rig.client();
    const { ino, stateid } = await client.create('a', Buffer.alloc(3 * block));
    expect((await client.layout(ino, stateid, rw, 5000, 10)).segment).toEqual([rw, block, block]);
  });

  test('a record of the client is durable before its first layout', async ({ rig }) => {
    const client = await rig.client();
    const { ino, stateid } = await client.create('a', Buffer.alloc(block));
    expect(rig.lab.fs.clientRecords()).toEqual([]);
    await client.layout(ino, stateid, read, 0, block);
    expect(rig.lab.fs.clientRecords().map((record) => record.clientId)).toEqual([client.id]);
  });
});

describe('recall', () => {
  test('a writer waits for a reader of another client, and gets the range when it is returned', async ({ rig }) => {
    const [reader, writer] = [await rig.client({ owner: 'r' }), await rig.client({ owner: 'w' })];
    const { ino, stateid } = await reader.create('a', Buffer.alloc(block));
    const held = await reader.layout(ino, stateid, read, 0, block);
    const pending = writer.layout(ino, await writer.open(ino), rw, 0, block);
    const [recalled, recalledIno] = await reader.connection.recall();
    expect([recalledIno, recalled[0], Buffer.from(recalled[1])]).toEqual([ino, 2, Buffer.from(held.stateid[1])]);
    await reader.returnLayout(ino, recalled);
    expect((await pending).segment).toEqual([rw, 0, block]);
  });

  test('a layout that is not returned in time to a get is LAYOUTTRYLATER for the one who waits', async ({ rig }) => {
    const [reader, writer] = [await rig.client({ owner: 'r' }), await rig.client({ owner: 'w' })];
    const { ino, stateid } = await reader.create('a', Buffer.alloc(block));
    await reader.layout(ino, stateid, read, 0, block);
    const open = await writer.open(ino);
    const pending = writer.statusOf(operations.LAYOUTGET, [ino, open, rw, 0, block, block, 64, false]);
    await reader.connection.recall();
    rig.clock.advance(9_999);
    await reader.call(operations.SEQUENCE, []);
    rig.clock.advance(1);
    expect(await pending).toBe('LAYOUTTRYLATER');
  });

  test('a local truncate waits for the return of what it frees', async ({ rig }) => {
    const client = await rig.client();
    const { ino, stateid } = await client.create('a', Buffer.alloc(4 * block));
    const held = await client.layout(ino, stateid, rw, 0, 4 * block);
    const { vfs } = rig.lab;
    const truncated = vfs.setattr(ino, { size: 0 }, { uid: 0, gid: 0, groups: [0], pid: 1, access: 'engine' });
    const [, , , , , changed] = await client.connection.recall();
    expect(changed).toBe(true);
    expect(rig.server.status().breaks).toMatchObject([{ ino, reason: 'unmap' }]);
    await client.returnLayout(ino, held.stateid);
    expect((await truncated).size).toBe(0);
    expect(rig.server.status().breaks).toEqual([]);
  });

  test('requests that wait for layouts do not keep a return from being processed', async ({ rig }) => {
    const [reader, writer] = [await rig.client({ owner: 'r' }), await rig.client({ owner: 'w' })];
    const { ino, stateid } = await reader.create('a', Buffer.alloc(block));
    await reader.layout(ino, stateid, read, 0, block);
    const mine = await writer.create('b', Buffer.alloc(block));
    const own = await writer.layout(mine.ino, mine.stateid, rw, 0, block);
    const open = await writer.open(ino);
    const waiting = [1, 2, 3].map((slot) => writer.layout(ino, open, rw, 0, block, slot).catch(() => undefined));
    const [recalled] = await reader.connection.recall();
    expect(await writer.returnLayout(mine.ino, own.stateid)).toBeNull();
    await reader.returnLayout(ino, recalled);
    await Promise.all(waiting);
  });

  test('NOMATCHING_LAYOUT counts as the return', async ({ rig }) => {
    const [reader, writer] = [await rig.client({ owner: 'r' }), await rig.client({ owner: 'w' })];
    const { ino, stateid } = await reader.create('a', Buffer.alloc(block));
    await reader.layout(ino, stateid, read, 0, block);
    reader.connection.answers = ['NOMATCHING_LAYOUT'];
    await writer.layout(ino, await writer.open(ino), rw, 0, block);
    expect(rig.server.status().layouts.map((layout) => layout.client)).toEqual([writer.id]);
  });

  test('DELAY is asked again, and never a reason to revoke before the deadline', async ({ rig }) => {
    const [reader, writer] = [await rig.client({ owner: 'r' }), await rig.client({ owner: 'w' })];
    const { ino, stateid } = await reader.create('a', Buffer.alloc(block));
    await reader.layout(ino, stateid, read, 0, block);
    reader.connection.answers = ['DELAY', 'DELAY', 'OK'];
    const pending = writer.layout(ino, await writer.open(ino), rw, 0, block);
    for (let asked = 0; asked < 2; asked++) {
      await reader.connection.recall();
      await reader.call(operations.SEQUENCE, []);
      rig.clock.advance(1000);
    }
    const [recalled] = await reader.connection.recall();
    await reader.returnLayout(ino, recalled);
    expect((await pending).segment[0]).toBe(rw);
    expect(rig.server.status().counters.layoutsRevoked).toBe(0);
  });

  test('a client that comes back over a new connection gets the recall there', async ({ rig }) => {
    const [reader, writer] = [await rig.client({ owner: 'r' }), await rig.client({ owner: 'w' })];
    const { ino, stateid } = await reader.create('a', Buffer.alloc(block));
    await reader.layout(ino, stateid, read, 0, block);
    await reader.connection.end();
    const pending = writer.layout(ino, await writer.open(ino), rw, 0, block);
    await rig.until('the break', () => rig.server.status().breaks.length === 1);
    const back = await rig.connection();
    await back.call(operations.BIND_CONN_TO_SESSION, [reader.session]);
    rig.clock.advance(1000);
    const [recalled] = await back.recall();
    await back.request([0, 99, reader.session, 1, 1, false, 51, [1, ino, recalled, 3, 0, Infinity, false], null]);
    expect((await pending).segment[0]).toBe(rw);
  });
});

describe('fencing', () => {
  test('a client that does not return is fenced at the deadline, and the operation goes on', async ({ rig }) => {
    const client = await rig.client();
    const { ino, stateid } = await client.create('a', Buffer.alloc(2 * block, 5));
    const held = await client.layout(ino, stateid, rw, 0, 2 * block);
    const by = { uid: 0, gid: 0, groups: [0], pid: 1, access: 'engine' as const };
    const truncated = rig.lab.vfs.setattr(ino, { size: block }, by);
    await client.connection.recall();
    rig.clock.advance(leaseMs - 1);
    await client.call(operations.SEQUENCE, []);
    expect(client.flags).toBe(0);
    rig.clock.advance(1);
    expect((await truncated).size).toBe(block);
    expect(rig.lab.fs.quarantined().get(client.id)).toBeGreaterThan(0);

    await client.call(operations.SEQUENCE, []);
    expect(client.flags).toBe(sequenceFlag.RECALLABLE_STATE_REVOKED);
    expect(await client.statusOf(operations.LAYOUTGET, [ino, stateid, read, 0, block, 0, 64, false])).toBe(
      'ADMIN_REVOKED',
    );
    const get = [ino, held.stateid, rw, 0, block, block, 64, false] as const;
    expect(await client.statusOf(operations.LAYOUTGET, [...get])).toBe('ADMIN_REVOKED');
    expect(await client.statusOf(operations.LAYOUTRETURN, [1, ino, held.stateid, any, 0, Infinity, false])).toBe(
      'ADMIN_REVOKED',
    );
    expect(await client.call(operations.TEST_STATEID, [[held.stateid]])).toEqual([[10047]]);
    expect(rig.server.status().clients).toMatchObject([{ id: client.id, state: 'fenced' }]);
  });

  test('freeing the revoked state lifts the fence: quarantine ends, device ids and keys are new', async ({ rig }) => {
    const client = await rig.client();
    const { ino, stateid } = await client.create('a', Buffer.alloc(2 * block, 5));
    const held = await client.layout(ino, stateid, rw, 0, 2 * block);
    const oldDevice = held.extents[0]?.[3] ?? new Uint8Array(16);
    const by = { uid: 0, gid: 0, groups: [0], pid: 1, access: 'engine' as const };
    const truncated = rig.lab.vfs.setattr(ino, { size: block }, by);
    await client.connection.recall();
    rig.clock.advance(leaseMs / 2);
    await client.call(operations.SEQUENCE, []);
    rig.clock.advance(leaseMs / 2);
    await truncated;
    expect(await client.statusOf(operations.GETDEVICEINFO, [oldDevice, 0])).toBe('NOENT');
    await client.call(operations.FREE_STATEID, [held.stateid]);
    await client.call(operations.SEQUENCE, []);
    expect(client.flags).toBe(0);
    expect(rig.lab.fs.quarantined().size).toBe(0);
    expect(await client.statusOf(operations.GETDEVICEINFO, [oldDevice, 0])).toBe('NOENT');
    const again = await client.layout(ino, stateid, read, 0, block);
    await client.call(operations.GETDEVICEINFO, [again.extents[0]?.[3] ?? new Uint8Array(16), 0]);
    expect(await client.statusOf(operations.FREE_STATEID, [again.stateid])).toBe('LOCKS_HELD');
    expect(await client.statusOf(operations.FREE_STATEID, [held.stateid])).toBe('BAD_STATEID');
  });

  test('a client that ends takes layouts, opens and sessions with it', async ({ rig }) => {
    const client = await rig.client();
    const { ino, stateid } = await client.create('a', Buffer.alloc(block, 5));
    await client.layout(ino, stateid, rw, 0, block);
    rig.clock.advance(endMs);
    await rig.until('the quarantine', () => (rig.lab.fs.quarantined().get(client.id) ?? 0) > 0);
    expect(await client.statusOf(operations.SEQUENCE, [])).toBe('BADSESSION');
    await rig.until('the fence', () => rig.server.status().layouts.length === 0);
    expect(rig.server.status().clients).toMatchObject([{ id: client.id, state: 'expired' }]);
  });

  test('only a request that passed its slot renews the lease', async ({ rig }) => {
    const client = await rig.client();
    rig.clock.advance(leaseMs - 1);
    const misordered = await client.connection.request([0, 500, client.session, 0, 77, false, 53, [], null]);
    expect(misordered[2]).toBe(10063);
    rig.clock.advance(1);
    expect(await client.statusOf(operations.SEQUENCE, [])).toBe('BADSESSION');
  });
});

describe('returning', () => {
  test('ALL gives back the layouts of every file', async ({ rig }) => {
    const client = await rig.client();
    for (const name of ['a', 'b']) {
      const { ino, stateid } = await client.create(name, Buffer.alloc(block));
      await client.layout(ino, stateid, rw, 0, block);
    }
    expect(rig.server.status().layouts).toHaveLength(2);
    await client.call(operations.LAYOUTRETURN, [returnKind.all, null, null, any, 0, Infinity, false]);
    expect(rig.server.status().layouts).toEqual([]);
  });

  test('a part can be returned; the rest stays under the same state with the next seqid', async ({ rig }) => {
    const client = await rig.client();
    const { ino, stateid } = await client.create('a', Buffer.alloc(3 * block));
    const held = await client.layout(ino, stateid, rw, 0, 3 * block);
    const [left] = await client.call(operations.LAYOUTRETURN, [1, ino, held.stateid, any, block, block, false]);
    expect(left && stateIdFromWire(left)).toEqual({ ...stateIdFromWire(held.stateid), seqid: 2 });
    expect(rig.server.status().layouts[0]?.segments).toEqual([
      { iomode: rw, offset: 0, length: block },
      { iomode: rw, offset: 2 * block, length: block },
    ]);
  });

  test('a commit outside of what is held is refused', async ({ rig }) => {
    const client = await rig.client();
    const { ino, stateid } = await client.create('a', Buffer.alloc(3 * block));
    const held = await client.layout(ino, stateid, rw, 0, block);
    const commit = (offset: number, last: number | null) =>
      client.statusOf(operations.LAYOUTCOMMIT, [ino, held.stateid, [[offset, block]], last, null, null]);
    expect(await commit(block, null)).toBe('BADLAYOUT');
    expect(await commit(0, 2 * block)).toBe('INVAL');
    expect(await commit(0, null)).toBe('OK');
  });
});
