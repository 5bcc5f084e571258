/** The back channel: slots of callbacks, what becomes of those that are not answered, and what they refer to (RFC 8881 §2.10). */
import { describe, expect } from 'vitest';
import { operations } from '../../mds/protocol/ops.ts';
import { type StatusName, sequenceFlag } from '../../mds/protocol/status.ts';
import { root } from '../support/filesystem.ts';
import type { RawClient, RawConnection } from './raw-client.ts';
import { leaseMs, type Rig } from './rig.ts';
import { test } from './rig-test.ts';

const block = 4096;
const read = 1;
/** serverLimits.callbackReplyMs and callbackLostMs. */
const replyMs = 5000;
const lostMs = 60_000;

/** `count` files, each with a layout of the client, whose callbacks it does not answer by itself. */
async function holder(rig: Rig, count: number, callbackSlots = 1): Promise<{ client: RawClient; inos: number[] }> {
  const client = await rig.client({ owner: 'holder', callbackSlots });
  client.connection.answers = ['silence'];
  const inos: number[] = [];
  for (let index = 0; index < count; index++) {
    const { ino, stateid } = await client.create(`file ${index}`, Buffer.alloc(block, 1));
    await client.layout(ino, stateid, read, 0, block);
    inos.push(ino);
  }
  return { client, inos };
}

/** Needs the layout back; settles when it is. */
function truncate(rig: Rig, ino: number): Promise<unknown> {
  return Promise.resolve(rig.lab.vfs.setattr(ino, { size: 0 }, root));
}

/** slot, seqid and the inode of a recall. */
async function summary(connection: RawConnection, index: number) {
  const [, , , slot, seqid, , , args] = await connection.callback(index);
  return { slot, seqid, ino: args[1] };
}

async function answer(connection: RawConnection, index: number, status: StatusName): Promise<void> {
  const [, xid] = await connection.callback(index);
  connection.answer(xid, status);
}

/** A second connection of the client, bound; it answers nothing by itself. */
async function another(rig: Rig, client: RawClient): Promise<RawConnection> {
  const connection = await rig.connection();
  connection.answers = ['silence'];
  await connection.call(operations.BIND_CONN_TO_SESSION, [client.session]);
  return connection;
}

/** Over the connection given, since that of the client may be gone. */
async function flags(client: RawClient, connection: RawConnection, seqid: number): Promise<number | undefined> {
  const frame = await connection.request([0, connection.nextXid(), client.session, 6, seqid, false, 53, [], null]);
  return frame[5]?.[0];
}

describe('callback slots', () => {
  test('as many as asked for, from 1 to 64', async ({ rig }) => {
    const connection = await rig.connection();
    for (const [asked, given] of [
      [0, 1],
      [7, 7],
      [1000, 64],
    ] as const) {
      const client = await rig.client({ owner: `asks ${asked}` });
      const reply = await connection.call(operations.CREATE_SESSION, [client.id, client.creation + 1, 4, asked]);
      expect(reply[2]).toBe(given);
    }
  });

  test('with one, callbacks come one after the other, each with the next sequence number', async ({ rig }) => {
    const { client, inos } = await holder(rig, 3);
    const { connection } = client;
    const truncated = inos.map((ino) => truncate(rig, ino));
    for (const [index, ino] of inos.entries()) {
      expect(await summary(connection, index)).toEqual({ slot: 0, seqid: index + 1, ino });
      await client.call(operations.SEQUENCE, []);
      expect(connection.callbacks).toHaveLength(index + 1);
      await answer(connection, index, 'NOMATCHING_LAYOUT');
    }
    await Promise.all(truncated);
  });

  test('with several, they come at once, and a slot without an answer holds up no other', async ({ rig }) => {
    const { client, inos } = await holder(rig, 4, 2);
    const { connection } = client;
    const truncated = inos.map((ino) => truncate(rig, ino));
    expect(await summary(connection, 0)).toEqual({ slot: 0, seqid: 1, ino: inos[0] });
    expect(await summary(connection, 1)).toEqual({ slot: 1, seqid: 1, ino: inos[1] });
    await answer(connection, 1, 'NOMATCHING_LAYOUT');
    expect(await summary(connection, 2)).toEqual({ slot: 1, seqid: 2, ino: inos[2] });
    await answer(connection, 2, 'NOMATCHING_LAYOUT');
    expect(await summary(connection, 3)).toEqual({ slot: 1, seqid: 3, ino: inos[3] });
    await answer(connection, 3, 'NOMATCHING_LAYOUT');
    await Promise.all(truncated.slice(1));
    await answer(connection, 0, 'NOMATCHING_LAYOUT');
    await truncated[0];
  });

  test('a callback that waits for a slot too long is sent again later', async ({ rig }) => {
    const { client, inos } = await holder(rig, 2);
    const { connection } = client;
    const truncated = inos.map((ino) => truncate(rig, ino));
    await connection.callback(0);
    rig.clock.advance(replyMs);
    await client.call(operations.SEQUENCE, []);
    await answer(connection, 0, 'NOMATCHING_LAYOUT');
    await client.call(operations.SEQUENCE, []);
    rig.clock.advance(1000);
    expect(await summary(connection, 1)).toMatchObject({ slot: 0, seqid: 2 });
    await answer(connection, 1, 'NOMATCHING_LAYOUT');
    // The answer to the first one came when nobody waited for it any more: that was asked anew as well.
    await answer(connection, 2, 'NOMATCHING_LAYOUT');
    await Promise.all(truncated);
  });
});

describe('a callback that is not answered', () => {
  test('comes again over another connection, with its slot and sequence number', async ({ rig }) => {
    const { client, inos } = await holder(rig, 1);
    const second = await another(rig, client);
    const truncated = inos.map((ino) => truncate(rig, ino));
    const first = await client.connection.callback(0);
    expect(second.callbacks).toEqual([]);
    rig.clock.advance(replyMs);
    const again = await second.callback(0);
    expect(again.slice(2)).toEqual(first.slice(2));
    await answer(second, 0, 'NOMATCHING_LAYOUT');
    await Promise.all(truncated);
  });

  test('is not sent twice over a connection that stands, and its late answer counts', async ({ rig }) => {
    const { client, inos } = await holder(rig, 1);
    const truncated = inos.map((ino) => truncate(rig, ino));
    await client.connection.callback(0);
    for (let seconds = 0; seconds < 8; seconds++) {
      rig.clock.advance(1000);
      await client.call(operations.SEQUENCE, []);
    }
    expect(client.connection.callbacks).toHaveLength(1);
    await answer(client.connection, 0, 'NOMATCHING_LAYOUT');
    await Promise.all(truncated);
  });

  test('goes over another connection at once when its own ends', async ({ rig }) => {
    const { client, inos } = await holder(rig, 1);
    const second = await another(rig, client);
    const truncated = inos.map((ino) => truncate(rig, ino));
    await client.connection.callback(0);
    await client.connection.end();
    expect(await summary(second, 0)).toEqual({ slot: 0, seqid: 1, ino: inos[0] });
    await answer(second, 0, 'NOMATCHING_LAYOUT');
    await Promise.all(truncated);
  });

  test('goes over the next connection that is bound', async ({ rig }) => {
    const { client, inos } = await holder(rig, 1);
    const truncated = inos.map((ino) => truncate(rig, ino));
    await client.connection.callback(0);
    await client.connection.end();
    await rig.until('its end', () => rig.server.status().clients[0]?.connections === 0);
    const second = await another(rig, client);
    expect(await summary(second, 0)).toEqual({ slot: 0, seqid: 1, ino: inos[0] });
    // Somebody asks again, and hears the answer to what is out.
    rig.clock.advance(1000);
    await second.call(operations.STATUS, []);
    await answer(second, 0, 'NOMATCHING_LAYOUT');
    expect(second.callbacks).toHaveLength(1);
    await Promise.all(truncated);
  });

  test('goes through another session of the client where its own has no connection', async ({ rig }) => {
    const { client, inos } = await holder(rig, 1);
    const other = await rig.connection();
    other.answers = ['silence'];
    const [session] = await other.call(operations.CREATE_SESSION, [client.id, client.creation + 1, 4, 1]);
    await client.connection.end();
    await rig.until('its end', () => rig.server.status().clients[0]?.connections === 1);
    const truncated = inos.map((ino) => truncate(rig, ino));
    const [, , of, slot, seqid] = await other.callback(0);
    expect([Buffer.from(of), slot, seqid]).toEqual([Buffer.from(session), 0, 1]);
    await answer(other, 0, 'NOMATCHING_LAYOUT');
    await Promise.all(truncated);
  });
});

describe('a fault of the back channel', () => {
  for (const status of ['SEQ_MISORDERED', 'BADSLOT', 'BADSESSION', 'SEQ_FALSE_RETRY'] as const) {
    test(`${status}: the slot is not used again, the others are, and every reply says so`, async ({ rig }) => {
      const { client, inos } = await holder(rig, 1, 2);
      const { connection } = client;
      const truncated = inos.map((ino) => truncate(rig, ino));
      await answer(connection, 0, status);
      await client.call(operations.SEQUENCE, []);
      expect(client.flags).toBe(sequenceFlag.BACKCHANNEL_FAULT);
      rig.clock.advance(1000);
      expect(await summary(connection, 1)).toEqual({ slot: 1, seqid: 1, ino: inos[0] });
      await answer(connection, 1, 'NOMATCHING_LAYOUT');
      await Promise.all(truncated);
    });
  }

  test('a slot that is never answered counts as one, in the end', async ({ rig }) => {
    const { client, inos } = await holder(rig, 1, 2);
    const truncated = inos.map((ino) => truncate(rig, ino));
    await client.connection.callback(0);
    for (let waited = 0; waited < lostMs; waited += leaseMs / 2) {
      expect((await flags(client, client.connection, 1 + waited / (leaseMs / 2))) ?? 0).not.toBe(
        sequenceFlag.BACKCHANNEL_FAULT,
      );
      rig.clock.advance(leaseMs / 2);
    }
    await Promise.all(truncated);
    expect(((await flags(client, client.connection, 13)) ?? 0) & sequenceFlag.BACKCHANNEL_FAULT).not.toBe(0);
  });

  test('another session of the client mends it', async ({ rig }) => {
    const { client, inos } = await holder(rig, 2);
    const { connection } = client;
    const truncated = inos.map((ino) => truncate(rig, ino));
    await answer(connection, 0, 'SEQ_MISORDERED');
    const [session] = await connection.call(operations.CREATE_SESSION, [client.id, client.creation + 1, 4, 2]);
    await connection.call(operations.DESTROY_SESSION, [client.session]);
    rig.clock.advance(1000);
    const [, , of] = await connection.callback(1);
    expect(Buffer.from(of)).toEqual(Buffer.from(session));
    await answer(connection, 1, 'NOMATCHING_LAYOUT');
    await answer(connection, 2, 'NOMATCHING_LAYOUT');
    await Promise.all(truncated);
  });

  test('an answer to what was not asked closes the connection', async ({ rig }) => {
    const client = await rig.client();
    client.connection.answer(4711, 'OK');
    await client.connection.closed;
    expect(rig.server.status().counters.protocolErrors).toBe(1);
  });
});

describe('referring calls (RFC 8881 §2.10.6.3)', () => {
  test('name the requests about the file whose replies may still be on their way', async ({ rig }) => {
    const client = await rig.client({ owner: 'holder' });
    client.connection.answers = ['NOMATCHING_LAYOUT'];
    const { ino, stateid } = await client.create('a', Buffer.alloc(block, 1));
    const { ino: other, stateid: otherOpen } = await client.create('b', Buffer.alloc(block, 1));
    await client.layout(ino, stateid, read, 0, block, 2);
    await client.layout(other, otherOpen, read, 0, block, 3);
    await client.call(operations.OPEN, [[0, ino], 1, false, false], 4);
    await truncate(rig, ino);
    const [, , , , , referring] = await client.connection.callback(0);
    expect(referring).toEqual([
      [Buffer.from(client.session), 2, 1],
      [Buffer.from(client.session), 4, 1],
    ]);
  });

  test('but none whose slot was used again: its reply has arrived', async ({ rig }) => {
    const client = await rig.client({ owner: 'holder' });
    client.connection.answers = ['NOMATCHING_LAYOUT'];
    const { ino, stateid } = await client.create('a', Buffer.alloc(block, 1));
    await client.layout(ino, stateid, read, 0, block, 2);
    await client.call(operations.SEQUENCE, [], 2);
    await truncate(rig, ino);
    expect((await client.connection.callback(0))[5]).toEqual([]);
  });
});
