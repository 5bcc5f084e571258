/** What the server asks back of a pinned file, and what not. */
import { expect } from 'vitest';
import { operations } from '../../mds/protocol/ops.ts';
import { n, root } from '../support/filesystem.ts';
import { Holder } from './holder.ts';
import { block } from './recall-table.ts';
import { test } from './rig-test.ts';

test('a layout for writing outlives the last close, and goes with the last name', async ({ rig }) => {
  const client = await rig.client();
  const { ino, stateid } = await client.create('a', Buffer.alloc(2 * block));
  await client.call(operations.PIN, [ino, 2 * block, block]);
  const got = await client.call(operations.LAYOUTGET, [ino, stateid, 2, 0, 2 * block, 2 * block, 16, false]);
  expect(got[3], 'to be returned before the last close').toBe(false);
  const holder = Holder.watching(client, ino);
  await client.call(operations.CLOSE, [stateid]);
  await holder.settled();
  expect(holder.asked).toEqual([]);
  await holder.through(Promise.resolve(rig.lab.vfs.unlink(rig.lab.vfs.rootIno, n('a'), root)));
  expect(holder.asked).toEqual([[3, 0, 2, true]]);
});

test('several hold it for writing; letting it go asks all of them, and then one holds it', async ({ rig }) => {
  const [a, b] = [await rig.client(), await rig.client({ owner: 'other' })];
  const { ino, stateid } = await a.create('a', Buffer.alloc(2 * block));
  await a.call(operations.PIN, [ino, null, block]);
  await a.layout(ino, stateid, 2, 0, 2 * block);
  const open = await b.open(ino);
  await b.layout(ino, open, 2, 0, 2 * block);
  const holders = [Holder.watching(a, ino), Holder.watching(b, ino)] as const;
  const unpinned = Promise.resolve(rig.lab.fs.unpin(ino, root));
  await Promise.all(holders.map((holder) => holder.through(unpinned)));
  expect(holders.map((holder) => holder.asked.length)).toEqual([1, 1]);
  await b.layout(ino, open, 2, 0, 2 * block);
  const other = a.layout(ino, stateid, 2, 0, 2 * block, 1);
  const recall = await holders[1].recalled();
  await holders[1].giveBack(recall);
  await other;
});

test('who may not pin it asks nobody for anything', async ({ rig }) => {
  const holder = await rig.client();
  const { ino, stateid } = await holder.create('a', Buffer.alloc(block));
  await holder.layout(ino, stateid, 2, 0, block);
  const recalled: unknown[] = [];
  holder.connection.onRecall = (recall) => {
    recalled.push(recall);
    return 'NOMATCHING_LAYOUT';
  };
  const stranger = await rig.client({ owner: 'stranger', uid: 1000 });
  expect(await stranger.statusOf(operations.PIN, [ino, block, block])).toBe('PERM');
  expect(recalled).toEqual([]);
});
