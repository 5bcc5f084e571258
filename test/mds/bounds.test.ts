/** What clients can make the server keep has a bound over all of them, and one of them cannot take it all. */
import { describe, expect } from 'vitest';
import { encodeFrame } from '../../mds/protocol/frame.ts';
import { operations } from '../../mds/protocol/ops.ts';
import type { RawClient, RawConnection } from './raw-client.ts';
import { leaseMs, type Rig } from './rig.ts';
import { test as base } from './rig-test.ts';

const opensOf = ({ server }: Rig): readonly number[] => server.status().clients.map(({ opens }) => opens);

describe('open files of all clients', () => {
  const opensMax = 16;
  const test = base.extend({ options: { opensMax } });

  async function openUntilRefused(client: RawClient, ino: number): Promise<number> {
    for (let opened = 0; ; opened++) {
      const answer = await client.statusOf(operations.OPEN, [[0, ino], 1, false, false]);
      if (answer === 'OK' && opened <= opensMax) continue;
      expect(answer).toBe('DELAY');
      return opened;
    }
  }

  test('one alone gets half of them and its part of the rest, another one its part too', async ({ rig }) => {
    const [greedy, other] = [await rig.client({ owner: 'greedy' }), await rig.client({ owner: 'other' })];
    const { ino } = await greedy.create('a');
    await openUntilRefused(greedy, ino);
    expect(opensOf(rig)).toEqual([opensMax / 2, 0]);
    expect(await openUntilRefused(other, ino)).toBe(opensMax / 4);
    expect(await greedy.statusOf(operations.OPEN, [[0, ino], 1, false, false])).toBe('DELAY');
  });

  test('however many ask at once, there are never more', async ({ rig }) => {
    const clients = await Promise.all([1, 2, 3, 4, 5, 6].map((n) => rig.client({ owner: `client ${n}` })));
    const { ino } = (await clients[0]?.create('a')) ?? { ino: 0 };
    const answers = clients.flatMap((client) =>
      Array.from({ length: 8 }, (_, slot) => client.statusOf(operations.OPEN, [[0, ino], 1, false, false], slot)),
    );
    expect(new Set(await Promise.all(answers))).toEqual(new Set(['OK', 'DELAY']));
    const open = opensOf(rig).reduce((sum, opens) => sum + opens, 0);
    expect(open).toBeLessThanOrEqual(opensMax);
    expect(open).toBeGreaterThanOrEqual(opensMax / 2);
  });

  test('what a silent client keeps by courtesy goes first', async ({ rig }) => {
    const silent = await rig.client({ owner: 'silent' });
    const { ino } = await silent.create('a');
    await openUntilRefused(silent, ino);
    rig.clock.advance(leaseMs);
    const other = await rig.client({ owner: 'other' });
    await openUntilRefused(other, ino); // it ends now
    await rig.until('the end of the silent one', () => rig.server.status().clients.length === 1);
    expect(await openUntilRefused(other, ino)).toBeGreaterThan(0);
    expect(await silent.statusOf(operations.SEQUENCE, [])).toBe('BADSESSION');
  });
});

describe('requests that are not complete', () => {
  const halfFramesMax = 100_000;
  const test = base.extend({ options: { halfFramesMax } });
  const request = encodeFrame([0, 999, null, 0, 0, false, 1, [Buffer.alloc(60_000)], null]);
  const half = request.subarray(0, 40_000);

  /** It has come when a request that was sent after it, over another connection, is answered. */
  async function begin(connection: RawConnection, witness: RawClient, bytes: Uint8Array = half): Promise<void> {
    await new Promise<void>((resolve) => {
      connection.socket.write(bytes, () => resolve());
    });
    await witness.call(operations.SEQUENCE, []);
    await witness.call(operations.SEQUENCE, []);
  }

  test('beyond the bound the connection goes that began first, and whoever sends on is served', async ({ rig }) => {
    const witness = await rig.client();
    const [first, second, third] = [await rig.connection(), await rig.connection(), await rig.connection()];
    await begin(first, witness);
    await begin(second, witness);
    expect(rig.server.status().counters.protocolErrors).toBe(0);
    third.socket.write(half);
    await first.closed;
    expect(rig.server.status().counters.protocolErrors).toBe(1);
    for (const connection of [second, third]) {
      connection.socket.write(request.subarray(half.length));
      expect((await connection.call(operations.STATUS, []))[0]).toBeDefined();
    }
  });

  test('what is complete counts no more, nor what a connection had that is gone', async ({ rig }) => {
    const witness = await rig.client();
    for (let round = 0; round < 5; round++) {
      const [done, gone] = [await rig.connection(), await rig.connection()];
      await begin(done, witness);
      done.socket.write(request.subarray(half.length));
      await done.call(operations.STATUS, []);
      await begin(gone, witness);
      const { protocolErrors } = rig.server.status().counters;
      gone.socket.end();
      await gone.closed;
      // Its end inside a frame is a fault of its own.
      await rig.until('its end', () => rig.server.status().counters.protocolErrors === protocolErrors + 1);
      expect(await done.call(operations.STATUS, [])).toBeDefined();
    }
  });

  test('a connection that sends in one go is not the first, whatever others began before', async ({ rig }) => {
    const witness = await rig.client();
    const busy = await rig.connection();
    await begin(busy, witness);
    const other = await rig.connection();
    await begin(other, witness);
    // The rest of the request, and half of the next one.
    await begin(busy, witness, Buffer.concat([request.subarray(half.length), half]));
    const third = await rig.connection();
    third.socket.write(half);
    await other.closed;
    busy.socket.write(request.subarray(half.length));
    expect(await busy.call(operations.STATUS, [])).toBeDefined();
  });
});
