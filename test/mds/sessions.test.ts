import { describe, expect } from 'vitest';
import type { RequestFrame } from '../../mds/protocol/frame.ts';
import { operations } from '../../mds/protocol/ops.ts';
import { sequenceFlag, status } from '../../mds/protocol/status.ts';
import { introduction, type RawClient } from './raw-client.ts';
import { endMs, leaseMs } from './rig.ts';
import { test } from './rig-test.ts';

const block = 4096;

/** A request of `client` with every field given. */
function frame(
  client: RawClient,
  fields: {
    readonly slot?: number;
    readonly seqid: number;
    readonly cache?: boolean;
    readonly op?: number;
    readonly args?: unknown[];
    readonly session?: Uint8Array;
  },
): RequestFrame {
  const {
    slot = 0,
    seqid,
    cache = false,
    op = operations.SEQUENCE.number,
    args = [],
    session = client.session,
  } = fields;
  return [0, client.connection.nextXid(), session, slot, seqid, cache, op, args, null];
}

const mkdir = (client: RawClient, name: string) => ({
  op: operations.CREATE.number,
  args: [client.rootIno, Buffer.from(name), [2, 0o755]],
});

describe('slots (RFC 8881 §2.10.6)', () => {
  test('a request sent twice runs once, and is answered the same', async ({ rig }) => {
    const client = await rig.client();
    const first = await client.connection.request(frame(client, { seqid: 1, cache: true, ...mkdir(client, 'a') }));
    expect(first[2]).toBe(status.OK);
    const again = await client.connection.request(frame(client, { seqid: 1, cache: true, ...mkdir(client, 'a') }));
    expect(again.slice(2, 5)).toEqual(first.slice(2, 5));
    const fresh = await client.connection.request(frame(client, { seqid: 2, cache: true, ...mkdir(client, 'a') }));
    expect(fresh[2]).toBe(status.EXIST);
  });

  test('a failure is repeated as well', async ({ rig }) => {
    const client = await rig.client();
    const lookup = { op: operations.LOOKUP.number, args: [client.rootIno, Buffer.from('late')] };
    await client.connection.request(frame(client, { seqid: 1, cache: true, ...lookup }));
    await client.connection.request(frame(client, { slot: 1, seqid: 1, ...mkdir(client, 'late') }));
    const again = await client.connection.request(frame(client, { seqid: 1, cache: true, ...lookup }));
    expect(again[2]).toBe(status.NOENT);
  });

  test('the reply is kept over a lost connection', async ({ rig }) => {
    const client = await rig.client();
    await client.connection.request(frame(client, { seqid: 1, cache: true, ...mkdir(client, 'a') }));
    await client.connection.end();
    const back = await rig.connection();
    const again = await back.request(frame(client, { seqid: 1, cache: true, ...mkdir(client, 'a') }));
    expect(again[2]).toBe(status.OK);
  });

  test.for([
    { what: 'a gap', seqid: 3, expected: 'SEQ_MISORDERED' },
    { what: 'an older one', seqid: 0, expected: 'SEQ_MISORDERED' },
    { what: 'a retry that was not to be cached', seqid: 1, expected: 'RETRY_UNCACHED_REP' },
    { what: 'another operation under the same number', seqid: 1, op: 9, expected: 'SEQ_FALSE_RETRY' },
    { what: 'a slot beyond the last', seqid: 1, slot: 500, expected: 'BADSLOT' },
    { what: 'an unknown session', seqid: 2, session: Buffer.alloc(16), expected: 'BADSESSION' },
  ] as const)('$what is $expected, and moves nothing', async ({ expected, ...fields }, { rig }) => {
    const client = await rig.client();
    await client.connection.request(frame(client, { seqid: 1 }));
    const reply = await client.connection.request(frame(client, fields));
    expect([reply[2], reply[5]]).toEqual([status[expected], null]);
    expect((await client.connection.request(frame(client, { seqid: 2 })))[2]).toBe(status.OK);
  });

  test('the first request of a slot has sequence 1', async ({ rig }) => {
    const client = await rig.client();
    for (const seqid of [0, 2]) {
      expect((await client.connection.request(frame(client, { seqid })))[2]).toBe(status.SEQ_MISORDERED);
    }
  });

  test('a retry of what is still running is DELAY', async ({ rig }) => {
    const [holder, waiter] = [await rig.client({ owner: 'h' }), await rig.client({ owner: 'w' })];
    const { ino, stateid } = await holder.create('a', Buffer.alloc(block));
    await holder.layout(ino, stateid, 1, 0, block);
    const open = await waiter.open(ino);
    const get = { slot: 2, seqid: 1, cache: true, op: 50, args: [ino, open, 2, 0, block, 1, 64, false] };
    const running = waiter.connection.request(frame(waiter, get));
    const [recalled] = await holder.connection.recall();
    expect((await waiter.connection.request(frame(waiter, get)))[2]).toBe(status.DELAY);
    await holder.returnLayout(ino, recalled);
    const first = await running;
    expect((await waiter.connection.request(frame(waiter, get)))[3]).toEqual(first[3]);
    expect(rig.server.status().counters.layoutsGranted).toBe(2);
  });

  test('a reply too large to keep is refused where it was to be kept', async ({ rig }) => {
    const client = await rig.client();
    const { stateid } = await client.create('a', Buffer.alloc(600_000));
    const read = { slot: 1, seqid: 1, cache: true, op: operations.READ.number, args: [stateid, 0, 600_000] };
    expect((await client.connection.request(frame(client, read)))[2]).toBe(status.REP_TOO_BIG_TO_CACHE);
  });

  test('operations need a session, and arguments as described', async ({ rig }) => {
    const client = await rig.client();
    await expect(client.connection.call(operations.GETATTR, [client.rootIno])).rejects.toThrow('OP_NOT_IN_SESSION');
    const bad = await client.connection.request(frame(client, { seqid: 1, op: 9, args: ['root'] }));
    expect(bad[2]).toBe(status.BADXDR);
    const illegal = await client.connection.request(frame(client, { seqid: 2, op: 4711 }));
    expect(illegal[2]).toBe(status.OP_ILLEGAL);
  });
});

describe('clients (RFC 8881 §18.35, §18.36)', () => {
  test('the same owner with the same verifier is the same client', async ({ rig }) => {
    const client = await rig.client({ owner: 'o', verifier: '1' });
    const connection = await rig.connection();
    const [id, , flags] = await connection.call(operations.EXCHANGE_ID, introduction({ owner: 'o', verifier: '1' }));
    expect([id, flags >>> 31]).toEqual([client.id, 1]);
  });

  test('CREATE_SESSION sent twice makes one session', async ({ rig }) => {
    const client = await rig.client();
    const [again] = await client.connection.call(operations.CREATE_SESSION, [client.id, client.creation, 8, 1]);
    expect(Buffer.from(again)).toEqual(Buffer.from(client.session));
    expect(rig.server.status().clients[0]?.sessions).toBe(1);
    const misordered = client.connection.call(operations.CREATE_SESSION, [client.id, client.creation + 5, 8, 1]);
    await expect(misordered).rejects.toThrow('SEQ_MISORDERED');
  });

  test('a new incarnation takes the place of the former one only when it is confirmed', async ({ rig }) => {
    const old = await rig.client({ owner: 'o', verifier: '1' });
    const { ino, stateid } = await old.create('a', Buffer.alloc(2 * block, 1));
    await old.layout(ino, stateid, 2, 0, 4 * block);
    const connection = await rig.connection();
    const [id, sequence] = await connection.call(operations.EXCHANGE_ID, introduction({ owner: 'o', verifier: '2' }));
    expect(await old.statusOf(operations.SEQUENCE, [])).toBe('OK');

    await connection.call(operations.CREATE_SESSION, [id, sequence, 4, 1]);
    expect(await old.statusOf(operations.SEQUENCE, [])).toBe('BADSESSION');
    expect(rig.server.status().layouts).toEqual([]);
    expect(rig.lab.fs.status().blocks.provisional).toBe(0);
    // A new verifier says that nothing of the old one reaches the device; but its program is still there.
    expect(rig.lab.fs.quarantined().has(old.id)).toBe(true);
    await old.connection.end();
    await rig.until(
      'the release',
      () => rig.lab.fs.quarantined().size === 0 && rig.lab.fs.clientRecords().length === 0,
    );
  });

  test('what an expired client could reach is free when its owner comes with a new verifier, not before', async ({
    rig,
  }) => {
    const old = await rig.client({ owner: 'o', verifier: '1' });
    const { ino, stateid } = await old.create('a', Buffer.alloc(block));
    await old.layout(ino, stateid, 2, 0, 4 * block);
    await old.connection.end();
    rig.clock.advance(endMs);
    await rig.until('the quarantine', () => rig.lab.fs.quarantined().has(old.id));
    await rig.client({ owner: 'o', verifier: '1' });
    await rig.client({ owner: 'stranger', verifier: '2' });
    expect(rig.lab.fs.quarantined().has(old.id)).toBe(true);
    await rig.client({ owner: 'o', verifier: '2' });
    expect(rig.lab.fs.quarantined().size).toBe(0);
  });

  test('a client that is not known is STALE_CLIENTID', async ({ rig }) => {
    const connection = await rig.connection();
    await expect(connection.call(operations.CREATE_SESSION, [4711, 1, 4, 1])).rejects.toThrow('STALE_CLIENTID');
    await expect(connection.call(operations.DESTROY_CLIENTID, [4711])).rejects.toThrow('STALE_CLIENTID');
  });

  test('a client ends in order: session, then itself', async ({ rig }) => {
    const client = await rig.client();
    const { ino, stateid } = await client.create('a', Buffer.alloc(block));
    const { stateid: layout } = await client.layout(ino, stateid, 1, 0, block);
    const { connection, id, session } = client;
    await expect(connection.call(operations.DESTROY_CLIENTID, [id])).rejects.toThrow('CLIENTID_BUSY');
    await client.returnLayout(ino, layout);
    await client.call(operations.CLOSE, [stateid]);
    await connection.call(operations.DESTROY_SESSION, [session]);
    await connection.call(operations.DESTROY_CLIENTID, [id]);
    expect(rig.server.status().clients).toEqual([]);
    expect(rig.lab.fs.clientRecords()).toEqual([]);
  });

  test('without a way back to the client every reply says so', async ({ rig }) => {
    const client = await rig.client();
    await client.connection.end();
    const back = await rig.connection();
    const without = await back.request([0, 1, client.session, 0, 1, false, 53, [], null]);
    expect(without[5]?.[0]).toBe(sequenceFlag.CB_PATH_DOWN | sequenceFlag.CB_PATH_DOWN_SESSION);
    await back.call(operations.BIND_CONN_TO_SESSION, [client.session]);
    const bound = await back.request([0, 2, client.session, 0, 2, false, 53, [], null]);
    expect(bound[5]?.[0]).toBe(0);
  });

  test('RECLAIM_COMPLETE is said once', async ({ rig }) => {
    const client = await rig.client();
    expect(await client.statusOf(operations.RECLAIM_COMPLETE, [])).toBe('COMPLETE_ALREADY');
  });
});

describe('restart (RFC 8881 §8.4.2)', () => {
  test('nobody gets a layout, and nothing is changed in place, while clients from before may still write', async ({
    rig,
  }) => {
    const old = await rig.client({ owner: 'o' });
    const { ino, stateid } = await old.create('a', Buffer.alloc(block, 1));
    await old.layout(ino, stateid, 2, 0, 4 * block);
    await rig.restart();
    expect(rig.server.status()).toMatchObject({ graceLeftMs: leaseMs, clients: [{ id: old.id, state: 'returning' }] });

    const client = await rig.client({ owner: 'n' });
    const open = await client.open(ino);
    expect(await client.statusOf(operations.LAYOUTGET, [ino, open, 1, 0, block, 1, 64, false])).toBe('GRACE');
    const written = client.call(operations.WRITE, [open, 0, 2, Buffer.alloc(block, 2)], 1);
    rig.clock.advance(leaseMs - 1);
    await client.call(operations.SEQUENCE, []);
    const [before] = await client.call(operations.READ, [open, 0, 1]);
    expect(before[0]).toBe(1);

    rig.clock.advance(1);
    await written;
    expect(rig.lab.fs.quarantined().get(old.id)).toBe(4 * block);
    expect(rig.server.status()).toMatchObject({ graceLeftMs: 0 });
    await client.layout(ino, open, 1, 0, block);
  });

  test('grace is over at once when everybody has come back with a new verifier', async ({ rig }) => {
    const old = await rig.client({ owner: 'o', verifier: '1' });
    const { ino, stateid } = await old.create('a', Buffer.alloc(block, 1));
    await old.layout(ino, stateid, 2, 0, 4 * block);
    await rig.restart();
    const client = await rig.client({ owner: 'o', verifier: '2' });
    await client.layout(ino, await client.open(ino), 1, 0, block);
    expect(rig.lab.fs.status().blocks).toMatchObject({ provisional: 0, quarantined: 0 });
    expect(rig.lab.fs.clientRecords().map((record) => record.clientId)).toEqual([client.id]);
  });

  test('sessions and client ids from before are unknown, and there is no grace without layouts', async ({ rig }) => {
    const old = await rig.client();
    await rig.restart();
    const connection = await rig.connection();
    const reply = await connection.request([0, 1, old.session, 0, 1, false, 53, [], null]);
    expect(reply[2]).toBe(status.BADSESSION);
    await expect(connection.call(operations.CREATE_SESSION, [old.id, old.creation + 1, 4, 1])).rejects.toThrow(
      'STALE_CLIENTID',
    );
    expect(rig.server.status().graceLeftMs).toBe(0);
  });

  test('a server that closes lets nobody change what a client still holds', async ({ rig }) => {
    const client = await rig.client();
    const { ino, stateid } = await client.create('a', Buffer.alloc(block, 1));
    await client.layout(ino, stateid, 2, 0, block);
    const by = { uid: 0, gid: 0, groups: [0], pid: 1, access: 'engine' as const };
    const truncated = Promise.resolve(rig.lab.vfs.setattr(ino, { size: 0 }, by)).catch((error: unknown) => error);
    await client.connection.recall();
    await rig.server.close();
    expect(await truncated).toMatchObject({ code: 'ESHUTDOWN' });
    expect(() => rig.lab.vfs.setattr(ino, { size: 0 }, by)).toThrow('ESHUTDOWN');
  });
});
