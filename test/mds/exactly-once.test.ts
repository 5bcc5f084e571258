/** What a slot takes for a retry, and what is kept for one (RFC 8881 §2.10.6). */
import { describe, test as each, expect } from 'vitest';
import { digestOf } from '../../mds/protocol/digest.ts';
import { encodeMessage, sizeAtMost } from '../../mds/protocol/msgpack.ts';
import { operations } from '../../mds/protocol/ops.ts';
import { status } from '../../mds/protocol/status.ts';
import { ReplyBudget } from '../../mds/reply-budget.ts';
import { test } from './rig-test.ts';

describe('a false retry', () => {
  test('of the same operation with other arguments, or for another user, is found', async ({ rig }) => {
    const client = await rig.client();
    const { connection, session, rootIno } = client;
    const make = (name: string, uid: number | undefined) =>
      connection.request([
        0,
        connection.nextXid(),
        session,
        0,
        1,
        true,
        operations.CREATE.number,
        [rootIno, Buffer.from(name), [2, 0o755]],
        uid === undefined ? null : [uid, uid, []],
      ]);
    const first = await make('a', undefined);
    expect(first[2]).toBe(status.OK);
    for (const other of [await make('b', undefined), await make('a', 1000)]) {
      expect([other[2], other[5]]).toEqual([status.SEQ_FALSE_RETRY, null]);
    }
    expect((await make('a', undefined))[3]).toEqual(first[3]);
  });

  each('long data counts with its length, its head and its tail', () => {
    const data = Buffer.alloc(2 ** 20, 7);
    const digest = digestOf([38, [[1, Buffer.alloc(12)], 0, 2, data]]);
    for (const [at, byte] of [
      [0, 1],
      [200, 1],
      [2 ** 20 - 1, 1],
    ] as const) {
      const other = Buffer.from(data);
      other[at] = byte;
      expect(digestOf([38, [[1, Buffer.alloc(12)], 0, 2, other]])).not.toBe(digest);
    }
    expect(digestOf([38, [[1, Buffer.alloc(12)], 0, 2, data.subarray(1)]])).not.toBe(digest);
    expect(digestOf([38, [[1, Buffer.alloc(12)], 0, 2, Buffer.from(data)]])).toBe(digest);
  });
});

describe('a reply that is kept', () => {
  test('is refused before a READ of more runs, and the seqid is used up', async ({ rig }) => {
    const client = await rig.client();
    const { stateid } = await client.create('a', Buffer.alloc(10, 1));
    const { connection, session } = client;
    const before = rig.server.status().counters.bytesRead;
    const reply = await connection.request([0, 90, session, 1, 1, true, 25, [stateid, 0, 300_000], null]);
    expect(reply[2]).toBe(status.REP_TOO_BIG_TO_CACHE);
    expect(rig.server.status().counters.bytesRead).toBe(before);
    const next = await connection.request([0, 91, session, 1, 2, false, 25, [stateid, 0, 300_000], null]);
    expect(next[2]).toBe(status.OK);
  });

  each('is measured as no less than it takes', () => {
    const message = [1, -5, 2 ** 40, Infinity, null, true, 'text', Buffer.alloc(300), [[], [127, 128]]];
    expect(sizeAtMost(message)).toBeGreaterThanOrEqual(encodeMessage(message).length);
  });
});

describe('the budget of kept replies', () => {
  each('within it everybody keeps what they like; beyond it only who has less than their share', () => {
    const budget = new ReplyBudget(1000);
    budget.clients = 4;
    const [large, small] = [{ keptBytes: 0 }, { keptBytes: 0 }];
    budget.account(large, 990);
    budget.account(small, 9);
    expect([budget.hasRoomFor(large), budget.hasRoomFor(small)]).toEqual([true, true]);
    budget.account(small, 1);
    expect([budget.hasRoomFor(large), budget.hasRoomFor(small)]).toEqual([false, true]);
    budget.account(large, -500);
    expect(budget.hasRoomFor(large)).toBe(true);
  });
});

test('many clients with sessions on one connection: none is put off, and all go with their leases', async ({ rig }) => {
  const connection = await rig.connection();
  const before = rig.server.status().clients.length;
  for (let index = 0; index < 3000; index += 100) {
    await Promise.all(
      Array.from({ length: 100 }, async (_, offset) => {
        const owner = Buffer.from(`owner ${index + offset}`);
        const [id, sequence] = await connection.call(operations.EXCHANGE_ID, [
          owner,
          Buffer.alloc(8, 1),
          0x0002_0000,
          'many',
          1000,
          [0, 0, []],
          null,
        ]);
        await connection.call(operations.CREATE_SESSION, [id, sequence, 32, 64]);
      }),
    );
  }
  expect(rig.server.status().clients).toHaveLength(before + 3000);
  rig.clock.advance(rig.server.status().leaseMs);
  expect(rig.server.status().clients).toEqual([]);
});
