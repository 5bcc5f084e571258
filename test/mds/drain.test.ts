/** Before the device goes: everything is taken back, in time, and what cannot be is on record. */
import { expect } from 'vitest';
import { operations } from '../../mds/protocol/ops.ts';
import { Holder } from './holder.ts';
import { allRecalled, asked, returnAll } from './other-callbacks.ts';
import { block } from './recall-table.ts';
import { leaseMs } from './rig.ts';
import { test } from './rig-test.ts';

const [read, rw] = [1, 2] as const;

test('all layouts are asked back, what was written is committed first, and nothing is left to wait for', async ({
  rig,
}) => {
  const [writer, reader] = [await rig.client({ owner: 'w' }), await rig.client({ owner: 'r' })];
  const one = await writer.create('one', Buffer.alloc(2 * block, 'a'));
  const two = await writer.create('two', Buffer.alloc(2 * block, 'b'));
  const held = await writer.layout(one.ino, one.stateid, rw, 0, 4 * block);
  await reader.layout(two.ino, await reader.open(two.ino), read, 0, 2 * block);
  const [writing, reading] = [asked(writer), asked(reader)];

  const drained = rig.server.drain();
  expect([await writing.next(0), await reading.next(0)]).toEqual([allRecalled, allRecalled]);
  const written = [[2 * block, block]] satisfies [number, number][];
  await writer.call(operations.LAYOUTCOMMIT, [one.ino, held.stateid, written, 3 * block - 1, null, null], 1);
  expect([await returnAll(writer), await returnAll(reader)]).toEqual(['OK', 'OK']);
  expect(await drained).toBe(true);
  expect([writing.all.length, reading.all.length]).toEqual([1, 1]);
  expect(rig.server.status().layouts).toEqual([]);

  await rig.restart();
  const after = await rig.client({ owner: 'later' });
  expect(rig.server.status().graceLeftMs).toBe(0);
  expect((await after.call(operations.GETATTR, [one.ino]))[0][6]).toBe(3 * block);
});

test('meanwhile nothing is granted, also not to those who waited, and everything else goes on', async ({ rig }) => {
  const [client, other] = [await rig.client({ owner: 'c' }), await rig.client({ owner: 'o' })];
  const { ino, stateid } = await client.create('f', Buffer.alloc(2 * block, 'a'));
  const holder = await Holder.of(other, ino, rw, 0, block);
  const waiting = client.statusOf(operations.LAYOUTGET, [ino, stateid, rw, 0, block, block, 64, false], 2);
  const recall = await holder.recalled();
  const drained = rig.server.drain();
  const refused = await client.statusOf(operations.LAYOUTGET, [ino, stateid, read, block, block, block, 64, false]);
  expect(refused).toBe('LAYOUTTRYLATER');
  await client.call(operations.WRITE, [stateid, block, 2, Buffer.alloc(block, 'b')]);
  await holder.giveBack(recall);
  expect(await waiting).toBe('LAYOUTTRYLATER');
  expect(await drained).toBe(true);
});

test('who does not return is fenced at its deadline: what it can reach is put away, for the next run as well', async ({
  rig,
}) => {
  const client = await rig.client({ owner: 'c' });
  const { ino, stateid } = await client.create('f', Buffer.alloc(2 * block, 'a'));
  const { extents } = await client.layout(ino, stateid, rw, 0, 2 * block);
  const { next } = asked(client);
  const drained = rig.server.drain();
  await next(0);
  // It is there, and says nothing about its layout.
  rig.clock.advance(leaseMs - 1);
  await client.call(operations.SEQUENCE, []);
  expect(rig.server.status().layouts).toMatchObject([{ state: 'recalling' }]);
  rig.clock.advance(1);
  expect(await drained).toBe(true);
  expect(rig.lab.fs.quarantined()).toEqual(new Map([[client.id, 2 * block]]));

  await rig.restart();
  expect(rig.lab.fs.quarantined()).toEqual(new Map([[client.id, 2 * block]]));
  for (const [, , length, , storage] of extents) rig.lab.fs.device.write(storage, Buffer.alloc(length, 'x'));
  const after = await rig.client({ owner: 'later' });
  const [data] = await after.call(operations.READ, [await after.open(ino), 0, 2 * block]);
  expect(Buffer.from(data).toString('latin1')).toBe('a'.repeat(2 * block));
});

test('cut short it leaves what is out on record, and the next run waits for it', async ({ rig }) => {
  const client = await rig.client({ owner: 'c' });
  const { ino, stateid } = await client.create('f', Buffer.alloc(2 * block, 'a'));
  await client.layout(ino, stateid, rw, 0, 2 * block);
  const hurry = new AbortController();
  const { next } = asked(client);
  const drained = rig.server.drain(hurry.signal);
  await next(0);
  hurry.abort();
  expect(await drained).toBe(false);
  expect(rig.lab.fs.quarantined().size).toBe(0);
  await rig.restart();
  expect(rig.server.status()).toMatchObject({ graceLeftMs: leaseMs, clients: [{ id: client.id, state: 'returning' }] });
});
