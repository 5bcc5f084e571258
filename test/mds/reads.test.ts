/** READ through the server beside a client that writes on the blocks: it asks for nothing, and sees all that was committed. */
import { expect } from 'vitest';
import { operations } from '../../mds/protocol/ops.ts';
import { Holder } from './holder.ts';
import type { RawClient } from './raw-client.ts';
import { block } from './recall-table.ts';
import type { Rig } from './rig.ts';
import { test } from './rig-test.ts';

const rw = 2;

async function writerOf(rig: Rig, content: Buffer) {
  const [writer, reader] = [await rig.client({ owner: 'w' }), await rig.client({ owner: 'r' })];
  const { ino, stateid } = await writer.create('f', content);
  const { stateid: layout, extents } = await writer.layout(ino, stateid, rw, 0, 4 * block);
  const store = (at: number, data: Buffer): void => {
    const extent = extents.find(([, offset, length]) => offset <= at && at < offset + length);
    if (extent === undefined) throw new Error(`byte ${at} was not granted`);
    rig.lab.fs.device.write(extent[4] + at - extent[1], data);
  };
  const commit = (offset: number, last: number | null) =>
    writer.call(operations.LAYOUTCOMMIT, [ino, layout, [[offset, block]], last, null, null]);
  return { reader, open: await reader.open(ino, 1), holder: Holder.watching(writer, ino), store, commit };
}

async function read(client: RawClient, open: Awaited<ReturnType<RawClient['open']>>): Promise<string> {
  const [data] = await client.call(operations.READ, [open, 0, 8 * block]);
  return Buffer.from(data).toString('latin1');
}

test('in place: what the writer has stored, committed or not', async ({ rig }) => {
  const { reader, open, holder, store, commit } = await writerOf(rig, Buffer.alloc(2 * block, 'a'));
  store(block, Buffer.alloc(block, 'b'));
  expect(await read(reader, open)).toBe('a'.repeat(block) + 'b'.repeat(block));
  await commit(block, null);
  expect(await read(reader, open)).toBe('a'.repeat(block) + 'b'.repeat(block));
  expect(holder.asked).toEqual([]);
});

test('in new blocks, and behind the end: nothing before its commit, everything from then on', async ({ rig }) => {
  const { reader, open, holder, store, commit } = await writerOf(rig, Buffer.alloc(block, 'a'));
  store(block, Buffer.alloc(2 * block, 'b'));
  expect(await read(reader, open)).toBe('a'.repeat(block));
  await commit(block, 2 * block - 1);
  expect(await read(reader, open)).toBe('a'.repeat(block) + 'b'.repeat(block));
  expect(holder.asked).toEqual([]);
});

test('of a hole: zeros before the commit, and never what the blocks held before', async ({ rig }) => {
  const { reader, open, store, commit } = await writerOf(rig, Buffer.alloc(0));
  await reader.call(operations.SETATTR, [
    (await reader.call(operations.LOOKUP, [reader.rootIno, Buffer.from('f')]))[0][0],
    null,
    [null, null, null, 2 * block, null, null],
  ]);
  store(0, Buffer.alloc(block, 'b'));
  expect(await read(reader, open)).toBe('\0'.repeat(2 * block));
  await commit(0, block - 1);
  expect(await read(reader, open)).toBe('b'.repeat(block) + '\0'.repeat(block));
});

test('of a copied range: the source is asked for nothing where bytes are copied, and gives what is there', async ({
  rig,
}) => {
  const { reader, open, holder, store, commit } = await writerOf(rig, Buffer.alloc(2 * block, 'a'));
  store(block, Buffer.alloc(block, 'b'));
  await commit(block, null);
  const copy = await reader.create('copy');
  await reader.call(operations.COPY, [open, block - 1, copy.stateid, 0, 3]);
  expect(await read(reader, copy.stateid)).toBe('abb');
  expect(holder.asked).toEqual([]);
});
