/** EXCHANGE_ID and CREATE_SESSION: who is who (RFC 8881 §18.35.5, §18.36). */
import { describe, expect } from 'vitest';
import { exchangeFlag, operations } from '../../mds/protocol/ops.ts';
import { type Identity, introduction, type RawConnection } from './raw-client.ts';
import { leaseMs } from './rig.ts';
import { test } from './rig-test.ts';

const block = 4096;

/** EXCHANGE_ID with the flags given. */
async function exchange(connection: RawConnection, identity: Identity, flags: number = exchangeFlag.USE_PNFS_MDS) {
  const args = introduction({ owner: 'o', ...identity });
  args[2] = flags >>> 0;
  const [id, sequence, answered] = await connection.call(operations.EXCHANGE_ID, args);
  return { id, sequence, confirmed: (answered & exchangeFlag.CONFIRMED_R) !== 0, flags: answered };
}

const update = exchangeFlag.USE_PNFS_MDS | exchangeFlag.UPD_CONFIRMED_REC_A;

describe('EXCHANGE_ID', () => {
  test('case 1, a new owner: a client that is not confirmed', async ({ rig }) => {
    const first = await exchange(await rig.connection(), {});
    expect(first.confirmed).toBe(false);
    expect(rig.server.status().clients).toEqual([]);
  });

  test('case 2, the same again: the client that it is', async ({ rig }) => {
    const client = await rig.client({ owner: 'o' });
    expect(await exchange(await rig.connection(), {})).toMatchObject({ id: client.id, confirmed: true });
    expect(await client.statusOf(operations.SEQUENCE, [])).toBe('OK');
  });

  test('case 3, another user: not while the client has state', async ({ rig }) => {
    const client = await rig.client({ owner: 'o' });
    const { stateid } = await client.create('a');
    const connection = await rig.connection();
    for (const verifier of ['v1', 'v2']) {
      await expect(exchange(connection, { uid: 1000, verifier })).rejects.toThrow('CLID_INUSE');
    }
    await client.call(operations.CLOSE, [stateid]);
    const other = await exchange(connection, { uid: 1000 });
    expect(other).toMatchObject({ confirmed: false });
    expect(await client.statusOf(operations.SEQUENCE, []), 'only CREATE_SESSION ends it').toBe('OK');
    await connection.call(operations.CREATE_SESSION, [other.id, other.sequence, 4, 1]);
    expect(await client.statusOf(operations.SEQUENCE, [])).toBe('BADSESSION');
  });

  test('case 3, another user: not if there is state again before the confirmation', async ({ rig }) => {
    const client = await rig.client({ owner: 'o' });
    const connection = await rig.connection();
    const other = await exchange(connection, { uid: 1000 });
    await client.create('a');
    const created = connection.call(operations.CREATE_SESSION, [other.id, other.sequence, 4, 1]);
    await expect(created).rejects.toThrow('CLID_INUSE');
    expect(await client.statusOf(operations.SEQUENCE, [])).toBe('OK');
  });

  test('case 4, the one before was not confirmed: it is replaced', async ({ rig }) => {
    const connection = await rig.connection();
    const first = await exchange(connection, {});
    const second = await exchange(connection, { uid: 1000, verifier: 'v2' });
    expect(second.id).not.toBe(first.id);
    const stale = connection.call(operations.CREATE_SESSION, [first.id, first.sequence, 4, 1]);
    await expect(stale).rejects.toThrow('STALE_CLIENTID');
    await connection.call(operations.CREATE_SESSION, [second.id, second.sequence, 4, 1]);
  });

  test('case 5, a new verifier: another client, which replaces it when it is confirmed', async ({ rig }) => {
    const client = await rig.client({ owner: 'o' });
    const connection = await rig.connection();
    const next = await exchange(connection, { verifier: 'v2' });
    expect(next).toMatchObject({ confirmed: false });
    expect(await client.statusOf(operations.SEQUENCE, [])).toBe('OK');
    await connection.call(operations.CREATE_SESSION, [next.id, next.sequence, 4, 1]);
    expect(await client.statusOf(operations.SEQUENCE, [])).toBe('BADSESSION');
  });

  test('case 6, an update: the same client, with what it says of itself now', async ({ rig }) => {
    const client = await rig.client({ owner: 'o' });
    const connection = await rig.connection();
    const args = introduction({ owner: 'o' });
    args[2] = update;
    args[3] = 'renamed';
    const [id, , flags] = await connection.call(operations.EXCHANGE_ID, args);
    expect([id, flags >>> 31]).toEqual([client.id, 1]);
    expect(rig.server.status().clients).toMatchObject([{ id: client.id, implementation: 'renamed' }]);
  });

  test('case 7, an update of what is not there, or not confirmed', async ({ rig }) => {
    const connection = await rig.connection();
    await expect(exchange(connection, {}, update)).rejects.toThrow('NOENT');
    await exchange(connection, {});
    await expect(exchange(connection, {}, update)).rejects.toThrow('NOENT');
  });

  test('case 8, an update with another verifier, and case 9, by another user', async ({ rig }) => {
    const client = await rig.client({ owner: 'o' });
    const connection = await rig.connection();
    await expect(exchange(connection, { verifier: 'v2' }, update)).rejects.toThrow('NOT_SAME');
    await expect(exchange(connection, { uid: 1000 }, update)).rejects.toThrow('PERM');
    expect(await client.statusOf(operations.SEQUENCE, [])).toBe('OK');
  });

  test('flags that mean nothing here, or are for answers, are INVAL', async ({ rig }) => {
    const connection = await rig.connection();
    for (const flags of [1, 0x100, 0x0008_0000, exchangeFlag.CONFIRMED_R]) {
      await expect(exchange(connection, {}, exchangeFlag.USE_PNFS_MDS | flags)).rejects.toThrow('INVAL');
    }
  });

  test('without the role of a metadata server there are no layouts, but everything else', async ({ rig }) => {
    const owner = await rig.client({ owner: 'with files' });
    const { ino } = await owner.create('a', Buffer.alloc(block));
    const connection = await rig.connection();
    const { id, sequence, flags } = await exchange(connection, {}, exchangeFlag.USE_NON_PNFS);
    expect(flags).toBe(exchangeFlag.USE_NON_PNFS);
    const [session] = await connection.call(operations.CREATE_SESSION, [id, sequence, 4, 1]);
    const ask = async (seqid: number, op: number, args: unknown[]) =>
      (await connection.request([0, connection.nextXid(), session, 0, seqid, false, op, args, null]))[2];
    expect(await ask(1, operations.GETATTR.number, [ino])).toBe(0);
    expect(await ask(2, operations.LAYOUTGET.number, [ino, [1, Buffer.alloc(12)], 1, 0, block, 1, 64, false])).toBe(
      10004,
    );
    expect(await ask(3, operations.GETDEVICEINFO.number, [Buffer.alloc(16)])).toBe(10004);
  });

  test('what is never confirmed is forgotten with its lease', async ({ rig }) => {
    const connection = await rig.connection();
    const { id, sequence } = await exchange(connection, {});
    rig.clock.advance(leaseMs);
    const late = connection.call(operations.CREATE_SESSION, [id, sequence, 4, 1]);
    await expect(late).rejects.toThrow('STALE_CLIENTID');
  });
});

describe('CREATE_SESSION', () => {
  test('by another user than was introduced is CLID_INUSE, and changes nothing', async ({ rig }) => {
    const connection = await rig.connection();
    const { id, sequence } = await exchange(connection, {});
    const create = (uid: number) =>
      connection.request([
        0,
        connection.nextXid(),
        null,
        0,
        0,
        false,
        operations.CREATE_SESSION.number,
        [id, sequence, 4, 1],
        [uid, uid, []],
      ]);
    expect((await create(1000))[2]).toBe(10017);
    expect((await create(0))[2]).toBe(0);
  });

  test('sent again, also after the session is gone, gets the answer that it got', async ({ rig }) => {
    const connection = await rig.connection();
    const { id, sequence } = await exchange(connection, {});
    const [first] = await connection.call(operations.CREATE_SESSION, [id, sequence, 4, 1]);
    await connection.call(operations.DESTROY_SESSION, [first]);
    const [again] = await connection.call(operations.CREATE_SESSION, [id, sequence, 4, 1]);
    expect(Buffer.from(again)).toEqual(Buffer.from(first));
    const [next] = await connection.call(operations.CREATE_SESSION, [id, (sequence + 1) >>> 0, 4, 1]);
    expect(Buffer.from(next)).not.toEqual(Buffer.from(first));
  });

  test('no more than 4 sessions of a client; a destroyed one makes room', async ({ rig }) => {
    const client = await rig.client();
    const { connection, id, creation } = client;
    const sessions: Uint8Array[] = [];
    for (let more = 1; more <= 3; more++) {
      const [session] = await connection.call(operations.CREATE_SESSION, [id, (creation + more) >>> 0, 4, 1]);
      sessions.push(session);
    }
    const next = (creation + 4) >>> 0;
    await expect(connection.call(operations.CREATE_SESSION, [id, next, 4, 1])).rejects.toThrow('DELAY');
    await connection.call(operations.DESTROY_SESSION, [sessions[0] ?? client.session]);
    await connection.call(operations.CREATE_SESSION, [id, next, 4, 1]);
  });
});

describe('DESTROY_SESSION', () => {
  test('of a session that is not known is BADSESSION', async ({ rig }) => {
    const connection = await rig.connection();
    await expect(connection.call(operations.DESTROY_SESSION, [Buffer.alloc(16)])).rejects.toThrow('BADSESSION');
  });

  test('waits for what runs; meanwhile the session is DEADSESSION, afterwards BADSESSION', async ({ rig }) => {
    const [holder, client] = [await rig.client({ owner: 'h' }), await rig.client({ owner: 'c' })];
    const { ino, stateid } = await holder.create('a', Buffer.alloc(block));
    await holder.layout(ino, stateid, 1, 0, block);
    const open = await client.open(ino);
    const running = client.layout(ino, open, 2, 0, block, 1);
    const [recalled] = await holder.connection.recall();
    const destroyed = client.connection.call(operations.DESTROY_SESSION, [client.session]);
    expect(await client.statusOf(operations.SEQUENCE, [], 2)).toBe('DEADSESSION');
    const bound = client.connection.call(operations.BIND_CONN_TO_SESSION, [client.session]);
    await expect(bound).rejects.toThrow('DEADSESSION');
    await holder.returnLayout(ino, recalled);
    expect((await running).segment).toEqual([2, 0, block]);
    await destroyed;
    expect(await client.statusOf(operations.SEQUENCE, [], 3)).toBe('BADSESSION');
  });

  test('within the session itself is refused, since it would wait for itself', async ({ rig }) => {
    const client = await rig.client();
    expect(await client.statusOf(operations.DESTROY_SESSION, [client.session])).toBe('INVAL');
    expect(await client.statusOf(operations.SEQUENCE, [])).toBe('OK');
  });

  test('leaves what the client has, for its next session', async ({ rig }) => {
    const client = await rig.client();
    const { connection, id, creation } = client;
    const { stateid } = await client.create('a', Buffer.alloc(block, 3));
    await connection.call(operations.DESTROY_SESSION, [client.session]);
    const [session] = await connection.call(operations.CREATE_SESSION, [id, (creation + 1) >>> 0, 4, 1]);
    const args = [stateid, 0, 1];
    const reply = await connection.request([0, connection.nextXid(), session, 0, 1, false, 25, args, null]);
    expect(reply[3]?.[0]).toEqual(Buffer.alloc(1, 3));
  });
});

describe('DESTROY_CLIENTID', () => {
  test('of a client that was never confirmed', async ({ rig }) => {
    const connection = await rig.connection();
    const { id, sequence } = await exchange(connection, {});
    await connection.call(operations.DESTROY_CLIENTID, [id]);
    await expect(connection.call(operations.DESTROY_CLIENTID, [id])).rejects.toThrow('STALE_CLIENTID');
    const created = connection.call(operations.CREATE_SESSION, [id, sequence, 4, 1]);
    await expect(created).rejects.toThrow('STALE_CLIENTID');
  });

  test('of one with a session is CLIENTID_BUSY', async ({ rig }) => {
    const { connection, id } = await rig.client();
    await expect(connection.call(operations.DESTROY_CLIENTID, [id])).rejects.toThrow('CLIENTID_BUSY');
  });
});
