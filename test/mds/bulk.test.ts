import { describe, expect } from 'vitest';
import { operations } from '../../mds/protocol/ops.ts';
import { asked, returnAll } from './other-callbacks.ts';
import { leaseMs } from './rig.ts';
import { test } from './rig-test.ts';

const read = 1;
const rw = 2;
const block = 4096;
const everything = [null, null, 0, Infinity] as const;

describe('everything of a client is asked back (RFC 8881 §12.5.5.2.1.5)', () => {
  test('one callback, without a stateid; until it is answered layouts are RECALLCONFLICT, commits are legal', async ({
    rig,
  }) => {
    const [client, admin] = [await rig.client(), await rig.client({ owner: 'admin' })];
    const { ino, stateid } = await client.create('a', Buffer.alloc(block));
    const other = await client.create('b', Buffer.alloc(block));
    const layout = await client.layout(ino, stateid, rw, 0, block);
    await client.layout(other.ino, other.stateid, read, 0, block);
    const { all, next } = asked(client);
    const recalled = admin.call(operations.RECALL, [client.id, null, 0, Infinity]);
    expect(await next(0)).toEqual([5, 3, null, null, 3, 0, Infinity, false]);
    expect(
      await client.statusOf(operations.LAYOUTGET, [other.ino, other.stateid, read, 0, block, 0, 64, false], 1),
    ).toBe('RECALLCONFLICT');
    expect(await client.statusOf(operations.LAYOUTRETURN, [1, ino, layout.stateid, 3, 0, Infinity, false], 1)).toBe(
      'RECALLCONFLICT',
    );
    expect(
      await client.statusOf(operations.LAYOUTCOMMIT, [ino, layout.stateid, [[0, block]], null, null, null], 1),
    ).toBe('OK');
    expect(await returnAll(client, 2), 'another kind than was asked for').toBe('RECALLCONFLICT');
    expect(await returnAll(client)).toBe('OK');
    await recalled;
    expect(rig.server.status().layouts).toEqual([]);
    expect(all).toHaveLength(1);
    expect((await client.layout(ino, stateid, read, 0, block)).stateid[0]).toBe(1);
  });

  test('its device ids end with it, and it is told where it wished so', async ({ rig }) => {
    const [client, admin] = [await rig.client(), await rig.client({ owner: 'admin' })];
    const { ino, stateid } = await client.create('a', Buffer.alloc(block));
    const { extents } = await client.layout(ino, stateid, read, 0, block);
    const device = extents[0]?.[3] ?? new Uint8Array(16);
    await client.call(operations.GETDEVICEINFO, [device, 1 << 2]);
    const { next } = asked(client);
    const recalled = admin.call(operations.RECALL, [...everything]);
    await next(0);
    await returnAll(client);
    await recalled;
    expect(await next(1)).toEqual([14, [[2, Buffer.from(device), true]]]);
    expect(await client.statusOf(operations.GETDEVICEINFO, [device, 0], 1)).toBe('NOENT');
  });

  test('NOMATCHING_LAYOUT ends it too', async ({ rig }) => {
    const [client, admin] = [await rig.client(), await rig.client({ owner: 'admin' })];
    const { ino, stateid } = await client.create('a', Buffer.alloc(block));
    await client.layout(ino, stateid, rw, 0, 4 * block);
    asked(client, 'NOMATCHING_LAYOUT');
    await admin.call(operations.RECALL, [...everything]);
    expect(rig.server.status().layouts).toEqual([]);
    expect(rig.lab.fs.status().blocks.provisional).toBe(0);
  });

  test('who does not return is fenced at the deadline', async ({ rig }) => {
    const [client, admin] = [await rig.client(), await rig.client({ owner: 'admin' })];
    const { ino, stateid } = await client.create('a', Buffer.alloc(block));
    const layout = await client.layout(ino, stateid, rw, 0, block);
    const { next } = asked(client);
    const recalled = admin.call(operations.RECALL, [client.id, null, 0, Infinity]);
    await next(0);
    rig.clock.advance(leaseMs - 1);
    await client.call(operations.SEQUENCE, [], 1);
    await admin.call(operations.SEQUENCE, [], 1);
    expect(rig.server.status().clients.map(({ state }) => state)).toEqual(['active', 'active']);
    rig.clock.advance(1);
    await recalled;
    expect(await client.statusOf(operations.LAYOUTCOMMIT, [ino, layout.stateid, [], null, null, null], 1)).toBe(
      'ADMIN_REVOKED',
    );
  });

  test('a file, or a range of one, is asked back from everybody', async ({ rig }) => {
    const [client, admin] = [await rig.client(), await rig.client({ owner: 'admin' })];
    const { ino, stateid } = await client.create('a', Buffer.alloc(4 * block));
    await client.layout(ino, stateid, read, 0, 4 * block);
    const recalled = admin.call(operations.RECALL, [null, ino, block, block]);
    const [of, , iomode, offset, length, changed] = await client.connection.recall();
    expect([iomode, offset, length, changed]).toEqual([3, block, block, false]);
    await client.call(operations.LAYOUTRETURN, [1, ino, of, 3, offset, length, false], 1);
    await recalled;
  });

  test('takes the administrator, and somebody who is there', async ({ rig }) => {
    const nobody = await rig.client({ owner: 'nobody', uid: 65_534 });
    expect(await nobody.statusOf(operations.RECALL, [...everything])).toBe('PERM');
    const admin = await rig.client({ owner: 'admin' });
    expect(await admin.statusOf(operations.RECALL, [4711, null, 0, Infinity])).toBe('NOENT');
    expect(await admin.statusOf(operations.RECALL, [admin.id, 16, 0, Infinity])).toBe('INVAL');
  });
});
