/** Clients whose lease has ended: they keep what nobody needs, and lose it without being asked as soon as somebody does. */
import { describe, expect } from 'vitest';
import { serverLimits } from '../../mds/limits.ts';
import { operations } from '../../mds/protocol/ops.ts';
import { sequenceFlag } from '../../mds/protocol/status.ts';
import { root } from '../support/filesystem.ts';
import type { RawClient } from './raw-client.ts';
import { endMs, leaseMs, type Rig } from './rig.ts';
import { test } from './rig-test.ts';

const block = 4096;
const [read, rw] = [1, 2];

/** A client with an open file and a layout on it, whose lease has ended. */
async function courteous(rig: Rig, iomode = rw) {
  const client = await rig.client({ owner: 'silent' });
  const { ino, stateid } = await client.create('a', Buffer.alloc(2 * block, 7));
  const layout = await client.layout(ino, stateid, iomode, 0, 2 * block);
  rig.clock.advance(leaseMs);
  expect(rig.server.status().clients).toMatchObject([{ id: client.id, state: 'courtesy', leaseLeftMs: 0 }]);
  return { client, ino, open: stateid, layout: layout.stateid };
}

/** The statuses of stateids, by TEST_STATEID. */
async function tested(client: RawClient, stateid: readonly [number, Uint8Array]): Promise<number | undefined> {
  const [[answer]] = await client.call(operations.TEST_STATEID, [[[stateid[0], stateid[1]]]]);
  return answer;
}

describe('while nobody needs anything of it', () => {
  test('it comes back with all that it had', async ({ rig }) => {
    const { client, ino, open, layout } = await courteous(rig);
    rig.clock.advance(serverLimits.courtesyMs - 1);
    expect(await client.statusOf(operations.SEQUENCE, [])).toBe('OK');
    expect(client.flags).toBe(0);
    expect(rig.server.status().clients).toMatchObject([{ id: client.id, state: 'active', leaseLeftMs: leaseMs }]);
    await client.call(operations.LAYOUTCOMMIT, [ino, layout, [[0, block]], null, null, null]);
    await client.call(operations.WRITE, [open, 0, 2, Buffer.alloc(block)]);
  });

  test('it is active again, and is asked like others', async ({ rig }) => {
    const { client, ino } = await courteous(rig);
    await client.call(operations.SEQUENCE, []);
    const truncated = rig.lab.vfs.setattr(ino, { size: 0 }, root);
    const [stateid] = await client.connection.recall();
    await client.returnLayout(ino, stateid);
    await truncated;
  });

  test('only a request that passes its slot brings it back', async ({ rig }) => {
    const { client } = await courteous(rig);
    const { connection, session } = client;
    await connection.request([0, connection.nextXid(), session, 0, 77, false, 53, [], null]);
    await connection.call(operations.BIND_CONN_TO_SESSION, [session]);
    expect(rig.server.status().clients).toMatchObject([{ state: 'courtesy' }]);
  });

  test('it ends after a day', async ({ rig }) => {
    const { client } = await courteous(rig);
    rig.clock.advance(serverLimits.courtesyMs);
    expect(await client.statusOf(operations.SEQUENCE, [])).toBe('BADSESSION');
    await rig.until('the fence', () => rig.server.status().layouts.length === 0);
    expect(rig.lab.fs.quarantined().has(client.id)).toBe(true);
    expect(rig.server.status().clients).toMatchObject([{ id: client.id, state: 'expired' }]);
  });

  test('a read by another does not hurt what is held for reading', async ({ rig }) => {
    const { client, ino } = await courteous(rig, read);
    const other = await rig.client({ owner: 'other' });
    await other.layout(ino, await other.open(ino), read, 0, block);
    expect(await client.statusOf(operations.SEQUENCE, [])).toBe('OK');
    expect(client.flags).toBe(0);
  });

  test('a client with nothing to lose ends with its lease', async ({ rig }) => {
    const client = await rig.client();
    rig.clock.advance(leaseMs);
    expect(rig.server.status().clients).toEqual([]);
    expect(await client.statusOf(operations.SEQUENCE, [])).toBe('BADSESSION');
  });
});

describe('as soon as somebody needs what it holds', () => {
  test('its layouts are revoked and it is fenced, without being asked and without a wait', async ({ rig }) => {
    const { client, ino } = await courteous(rig);
    const other = await rig.client({ owner: 'other' });
    const { segment } = await other.layout(ino, await other.open(ino), rw, 0, block);
    expect(segment).toEqual([rw, 0, block]);
    expect(client.connection.callbacks).toEqual([]);
    expect(rig.lab.fs.quarantined().get(client.id)).toBe(2 * block);
    expect(rig.server.status().clients).toMatchObject([{ id: client.id, state: 'fenced' }, { id: other.id }]);
  });

  test('an operation of the mount beside the server waits no longer than the fence', async ({ rig }) => {
    const { ino } = await courteous(rig);
    expect((await rig.lab.vfs.setattr(ino, { size: 0 }, root)).size).toBe(0);
  });

  test('it learns by a flag that some state is gone, until it has freed that', async ({ rig }) => {
    const { client, ino, open, layout } = await courteous(rig);
    await rig.lab.vfs.setattr(ino, { size: 0 }, root);
    await client.call(operations.SEQUENCE, []);
    expect(client.flags).toBe(sequenceFlag.EXPIRED_SOME_STATE_REVOKED);
    expect(await tested(client, layout)).toBe(10011);
    expect(await tested(client, open)).toBe(0);
    expect(await client.statusOf(operations.LAYOUTGET, [ino, open, rw, 0, block, 1, 64, false])).toBe('ADMIN_REVOKED');
    expect(await client.statusOf(operations.FREE_STATEID, [layout])).toBe('OK');
    await client.call(operations.SEQUENCE, []);
    expect(client.flags).toBe(0);
    expect(await tested(client, layout)).toBe(10025);
    expect(rig.lab.fs.quarantined().size).toBe(0);
    await client.layout(ino, open, rw, 0, block);
  });

  test('what it was asked for before its lease ended is waited for no longer', async ({ rig }) => {
    const client = await rig.client({ owner: 'silent' });
    const { ino, stateid } = await client.create('a', Buffer.alloc(block, 7));
    await client.layout(ino, stateid, rw, 0, block);
    rig.clock.advance(leaseMs / 2);
    const truncated = rig.lab.vfs.setattr(ino, { size: 0 }, root);
    await client.connection.recall();
    rig.clock.advance(leaseMs / 2);
    await truncated;
    await client.call(operations.SEQUENCE, []);
    expect(client.flags).toBe(sequenceFlag.EXPIRED_SOME_STATE_REVOKED);
  });

  test('the next incarnation of its owner takes its place', async ({ rig }) => {
    const { client } = await courteous(rig);
    await client.connection.end();
    await rig.client({ owner: 'silent', verifier: 'v2' });
    expect(rig.lab.fs.quarantined().size).toBe(0);
    expect(rig.server.status().clients).toHaveLength(1);
  });

  test('another user may have its owner', async ({ rig }) => {
    const { client } = await courteous(rig);
    const other = await rig.client({ owner: 'silent', uid: 1000, verifier: 'v2' });
    expect(rig.server.status().clients.find(({ id }) => id === other.id)?.state).toBe('active');
    expect(await client.statusOf(operations.SEQUENCE, [])).toBe('BADSESSION');
    // But it does not speak for what the former one may still reach.
    expect(rig.lab.fs.quarantined().has(client.id)).toBe(true);
  });
});

test('after the end of all courtesy the store remembers who has to be kept away', async ({ rig }) => {
  const { client } = await courteous(rig);
  rig.clock.advance(endMs);
  await rig.until('the quarantine', () => rig.lab.fs.quarantined().has(client.id));
  expect(rig.lab.fs.clientRecords().map(({ clientId }) => clientId)).toEqual([client.id]);
});

describe('with a recall that may take longer than a lease', () => {
  test.override({ options: { recallDeadlineMs: 3 * leaseMs } });

  test('a client that has no open file any more learns that all is gone', async ({ rig }) => {
    const client = await rig.client({ owner: 'silent' });
    const { ino, stateid } = await client.create('a', Buffer.alloc(block, 7));
    const { stateid: layout } = await client.layout(ino, stateid, rw, 0, block);
    // The layout is asked back with the last close, and not returned.
    await client.call(operations.CLOSE, [stateid]);
    await client.connection.recall();
    rig.clock.advance(leaseMs);
    await client.call(operations.SEQUENCE, []);
    expect(client.flags).toBe(sequenceFlag.EXPIRED_ALL_STATE_REVOKED);
    while ((await client.statusOf(operations.FREE_STATEID, [layout])) === 'DELAY');
    await client.call(operations.SEQUENCE, []);
    expect(client.flags).toBe(0);
  });
});
