/** What becomes of layouts when their file is closed (RFC 8881 §18.43.3, logr_return_on_close). */
import { expect } from 'vitest';
import { operations } from '../../mds/protocol/ops.ts';
import { endMs, leaseMs } from './rig.ts';
import { test } from './rig-test.ts';

const read = 1;
const rw = 2;
const block = 4096;

test('a layout for writing is to be returned before the last close, one for reading is not', async ({ rig }) => {
  const client = await rig.client();
  const { ino, stateid } = await client.create('a', Buffer.alloc(block));
  const get = async (iomode: number) =>
    (await client.call(operations.LAYOUTGET, [ino, stateid, iomode, 0, block, block, 64, false]))[3];
  expect(await get(read)).toBe(false);
  expect(await get(rw)).toBe(true);
});

test('what was not returned before the last close is recalled, for writing only', async ({ rig }) => {
  const client = await rig.client();
  const { ino, stateid } = await client.create('a', Buffer.alloc(4 * block));
  const first = await client.layout(ino, stateid, read, 2 * block, block);
  await client.layout(ino, first.stateid, rw, 0, block);
  const second = await client.open(ino);
  await client.call(operations.CLOSE, [stateid]);
  expect(rig.server.status().layouts).toMatchObject([{ ino, state: 'held' }]);
  await client.call(operations.CLOSE, [second]);
  const [recalled, , iomode, offset, length, changed] = await client.connection.recall();
  expect([iomode, offset, length, changed]).toEqual([rw, 0, block, false]);
  expect(rig.server.status().breaks).toMatchObject([{ ino, reason: 'close' }]);

  await client.call(operations.LAYOUTRETURN, [1, ino, recalled, rw, 0, Infinity, false]);
  expect(rig.server.status()).toMatchObject({
    breaks: [],
    layouts: [{ ino, state: 'held', segments: [{ iomode: read, offset: 2 * block, length: block }] }],
  });
});

test('a client that closes and keeps what it may write is fenced at the deadline', async ({ rig }) => {
  const client = await rig.client();
  const { ino, stateid } = await client.create('a', Buffer.alloc(block));
  await client.layout(ino, stateid, rw, 0, block);
  await client.call(operations.CLOSE, [stateid]);
  await client.connection.recall();
  rig.clock.advance(leaseMs - 1);
  await client.call(operations.SEQUENCE, []);
  expect(rig.server.status().counters.layoutsRevoked).toBe(0);
  rig.clock.advance(1);
  await rig.until('the fence', () => rig.lab.fs.quarantined().get(client.id) === block);
});

test('opening and closing again begins no second recall, and no get passes the first', async ({ rig }) => {
  const client = await rig.client();
  const { ino, stateid } = await client.create('a', Buffer.alloc(block));
  const held = await client.layout(ino, stateid, rw, 0, block);
  await client.call(operations.CLOSE, [stateid]);
  await client.connection.recall();
  const again = await client.open(ino);
  const get = [ino, again, rw, 0, block, block, 64, false] as const;
  expect(await client.statusOf(operations.LAYOUTGET, [...get])).toBe('RECALLCONFLICT');
  await client.call(operations.CLOSE, [again]);
  expect(rig.server.status().breaks).toHaveLength(1);
  expect(rig.server.status().counters.recallsSent).toBe(1);
  await client.returnLayout(ino, held.stateid);
  const third = await client.open(ino);
  expect((await client.layout(ino, third, rw, 0, block)).segment).toEqual([rw, 0, block]);
});

test('a layout that is kept over the close is no leave to ask for more', async ({ rig }) => {
  const client = await rig.client();
  const { ino, stateid } = await client.create('a', Buffer.alloc(2 * block));
  const held = await client.layout(ino, stateid, read, 0, block);
  await client.call(operations.CLOSE, [stateid]);
  const get = (state: typeof stateid) =>
    client.statusOf(operations.LAYOUTGET, [ino, state, read, block, block, block, 64, false]);
  expect(await get(held.stateid)).toBe('OPENMODE');
  expect(await get(stateid)).toBe('OPENMODE');
  await client.open(ino, read);
  expect(await get(held.stateid)).toBe('OK');
});

test('the end of its client takes the layouts with the opens', async ({ rig }) => {
  const client = await rig.client();
  const { ino, stateid } = await client.create('a', Buffer.alloc(block));
  const held = await client.layout(ino, stateid, read, 0, block);
  rig.clock.advance(endMs);
  await rig.until('its end', () => rig.server.status().layouts.length === 0);
  expect(await client.statusOf(operations.TEST_STATEID, [[held.stateid]])).toBe('BADSESSION');
});
