/** Space that a client asked for and has not committed is asked back before anybody is told that there is none. */
import { constants } from 'node:fs';
import { describe, expect } from 'vitest';
import { serverLimits } from '../../mds/limits.ts';
import { operations } from '../../mds/protocol/ops.ts';
import { n, root, withHandle } from '../support/filesystem.ts';
import type { RawClient } from './raw-client.ts';
import { leaseMs, type Rig } from './rig.ts';
import { test } from './rig-test.ts';

const rw = 2;
const block = 4096;
/** RawClient says RECLAIM_COMPLETE in the slot after those that tests use. */
const waitingSlot = 2;

type Open = [seqid: number, other: Uint8Array];

interface Held {
  readonly client: RawClient;
  readonly ino: number;
  readonly open: Open;
}

const freeBytes = ({ lab }: Rig): number => lab.fs.status().blocks.free * block;
const breaks = ({ server }: Rig) => server.status().breaks;
const waits = (rig: Rig) => rig.until('it to wait', () => breaks(rig).length > 0);

/** A client with a layout over a part of what is free, of which it has committed nothing. */
async function holder(rig: Rig, owner = 'holder', share = 0.9, directory?: number): Promise<Held> {
  const client = await rig.client({ owner });
  const name = Buffer.from(`of ${owner}`);
  const [open, [ino]] = await client.call(operations.OPEN, [
    [2, directory ?? client.rootIno, name, 0o644, true],
    3,
    false,
    false,
  ]);
  const length = Math.floor((share * freeBytes(rig)) / block) * block;
  if (length > 0) await client.layout(ino, open, rw, 0, length);
  return { client, ino, open };
}

/** When it is asked: commits the first block, and gives back all. */
async function commitAndReturn({ client, ino }: Held, slot = 1): Promise<void> {
  const [stateid] = await client.connection.recall();
  await client.call(operations.LAYOUTCOMMIT, [ino, stateid, [[0, block]], block - 1, null, null], slot);
  await client.call(operations.LAYOUTRETURN, [1, ino, stateid, rw, 0, Infinity, false], slot);
}

const get = ({ client, ino, open }: Held, length: number, least = length): Promise<string> =>
  client.statusOf(operations.LAYOUTGET, [ino, open, rw, 0, length, least, 64, false], waitingSlot);

async function expectCommitted(rig: Rig, { client, ino }: Held): Promise<void> {
  const [attr] = await client.call(operations.GETATTR, [ino]);
  expect(attr[6]).toBe(block);
  expect(rig.lab.fs.status().blocks.provisional).toBe(0);
}

describe('is waited for by', () => {
  test('FALLOCATE', async ({ rig }) => {
    const held = await holder(rig);
    const other = await rig.client({ owner: 'other' });
    const { stateid } = await other.create('other');
    const length = freeBytes(rig) + 16 * block;
    const done = other.statusOf(operations.FALLOCATE, [stateid, 0, 0, length], waitingSlot);
    await waits(rig);
    expect(breaks(rig)).toMatchObject([{ ino: held.ino, offset: 0, reason: 'space' }]);
    await commitAndReturn(held);
    expect(await done).toBe('OK');
    await expectCommitted(rig, held);
  });

  test('LAYOUTGET', async ({ rig }) => {
    const held = await holder(rig);
    const client = await rig.client({ owner: 'other' });
    const { ino, stateid: open } = await client.create('other');
    const done = get({ client, ino, open }, freeBytes(rig) + 16 * block);
    await commitAndReturn(held);
    expect(await done).toBe('OK');
    expect(rig.server.status().layouts).toMatchObject([{ client: client.id, ino }]);
  });

  test('a write of the mount', async ({ rig }) => {
    const held = await holder(rig);
    const { vfs } = rig.lab;
    const { attr, handle } = await vfs.create(vfs.rootIno, n('written'), 0o644, constants.O_WRONLY, root);
    await vfs.fallocate(handle, 'allocate', 0, freeBytes(rig), root);
    await vfs.release(handle);
    const text = Buffer.alloc(3 * block, 'x');
    const written = withHandle(vfs, attr.ino, constants.O_WRONLY, (each) => vfs.write(each, 2 ** 30, text, root));
    await commitAndReturn(held);
    expect(await written).toBe(text.length);
    await expectCommitted(rig, held);
  });

  test('whoever has used up the quota of a directory, from its files alone', async ({ rig }) => {
    const outside = await holder(rig, 'outside', 0.2);
    const { vfs } = rig.lab;
    const dir = await vfs.mkdir(vfs.rootIno, n('dir'), 0o777, root);
    await rig.lab.fs.setQuota(dir.ino, 8 * block, Infinity);
    const held = await holder(rig, 'inside', 0, dir.ino);
    await held.client.layout(held.ino, held.open, rw, 0, 8 * block);
    const { ino } = await vfs.mknod(dir.ino, n('other'), constants.S_IFREG | 0o644, 0, root);
    const text = Buffer.alloc(2 * block, 'x');
    const written = withHandle(vfs, ino, constants.O_WRONLY, (each) => vfs.write(each, 0, text, root));
    await waits(rig);
    expect(breaks(rig)).toMatchObject([{ ino: held.ino, reason: 'space' }]);
    await commitAndReturn(held);
    expect(await written).toBe(text.length);
    expect(rig.server.status().layouts).toMatchObject([{ client: outside.client.id }]);
  });
});

describe('is not asked back', () => {
  test('for what is only wished for', async ({ rig }) => {
    await holder(rig);
    const client = await rig.client({ owner: 'other' });
    const { ino, stateid: open } = await client.create('other');
    expect(await get({ client, ino, open }, 2 * freeBytes(rig), block)).toBe('OK');
    expect(rig.server.status().counters.recallsSent).toBe(0);
  });

  test('from more files than needed: those that have most are asked', async ({ rig }) => {
    const [most, least] = [await holder(rig, 'most', 0.7), await holder(rig, 'least', 0.5)];
    const client = await rig.client({ owner: 'other' });
    const { ino, stateid: open } = await client.create('other');
    const done = get({ client, ino, open }, freeBytes(rig) + block);
    await commitAndReturn(most);
    expect(await done).toBe('OK');
    expect(new Set(rig.server.status().layouts.map((layout) => layout.ino))).toEqual(new Set([least.ino, ino]));
    expect(rig.server.status().counters.recallsSent).toBe(1);
  });

  test('from the buffers of sessions, which are in use', async ({ rig }) => {
    const peer = await rig.client({ owner: 'peer' });
    await peer.call(operations.BUFFERS_ALLOC, [1, 2 ** 20, block]);
    const client = await rig.client({ owner: 'other' });
    const { ino, stateid: open } = await client.create('other');
    expect(await get({ client, ino, open }, freeBytes(rig) + block)).toBe('NOSPC');
    expect(rig.server.status().buffers.clients).toHaveLength(1);
  });

  test('for the commit of somebody who may be asked for it in turn', async ({ rig }) => {
    const client = await rig.client({ owner: 'cow' });
    const { ino, stateid } = await client.create('cow', Buffer.alloc(block, 1));
    await client.call(operations.SETXATTR, [ino, Buffer.from('system.iopmemfs.cow'), Buffer.from('on'), 0]);
    const { stateid: layout } = await client.layout(ino, stateid, rw, 0, block);
    await holder(rig, 'holder', 1);
    expect(freeBytes(rig)).toBe(0);
    const status = await client.statusOf(operations.LAYOUTCOMMIT, [ino, layout, [[0, block]], block - 1, null, null]);
    expect(status).toBe('NOSPC');
    expect(rig.server.status().counters.recallsSent).toBe(0);
  });
});

describe('a client that does not give it back', () => {
  test('is fenced at the deadline, and there is no space', async ({ rig }) => {
    const held = await holder(rig);
    const client = await rig.client({ owner: 'other' });
    const { ino, stateid: open } = await client.create('other');
    const done = get({ client, ino, open }, freeBytes(rig) + block);
    await held.client.connection.recall();
    for (let half = 0; half < 2; half++) {
      await held.client.call(operations.SEQUENCE, []);
      await client.call(operations.SEQUENCE, []);
      rig.clock.advance(leaseMs / 2);
    }
    expect(await done).toBe('NOSPC');
    expect(rig.lab.fs.quarantined().has(held.client.id)).toBe(true);
  });
});

describe('two who need more than there is', () => {
  test('take it from each other once, and each has it for a while', async ({ rig }) => {
    const first = await holder(rig, 'first', 0);
    const second = await holder(rig, 'second', 0);
    const length = Math.floor((0.7 * freeBytes(rig)) / block) * block;
    const sent = (): number => rig.server.status().counters.recallsSent;
    expect(await get(first, length)).toBe('OK');

    let done = get(second, length);
    await commitAndReturn(first);
    expect(await done).toBe('OK');
    done = get(first, length);
    await commitAndReturn(second);
    expect(await done).toBe('OK');
    expect(sent()).toBe(2);

    for (let tries = 0; tries < 5; tries++) expect(await get(second, length)).toBe('NOSPC');
    expect(sent()).toBe(2);
    rig.clock.advance(serverLimits.spaceRestMs);
    for (const { client } of [first, second]) await client.call(operations.SEQUENCE, []);
    done = get(second, length);
    await commitAndReturn(first);
    expect(await done).toBe('OK');
  });

  test('who comes while somebody is asked waits along', async ({ rig }) => {
    const held = await holder(rig);
    const others: Held[] = [];
    for (const owner of ['a', 'b']) others.push(await holder(rig, owner, 0));
    const done = others.map((other) => get(other, Math.floor((0.3 * freeBytes(rig)) / block) * block + freeBytes(rig)));
    await waits(rig);
    for (const { client } of others) await client.call(operations.SEQUENCE, []);
    await commitAndReturn(held);
    expect(await Promise.all(done)).toEqual(['OK', 'OK']);
    expect(rig.server.status().counters.recallsSent).toBe(1);
  });
});
