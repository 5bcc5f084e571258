/** Snapshots and tree clones beside clients that hold layouts. */
import { expect } from 'vitest';
import { extentState } from '../../fs/engine/leases.ts';
import { createKind, operations } from '../../mds/protocol/ops.ts';
import type { RawClient } from './raw-client.ts';
import { test } from './rig-test.ts';

const read = 1;
const rw = 2;
const block = 4096;

/** A directory `d` with a file `f` of one block in it, open at the client. */
async function fileInDirectory(client: RawClient) {
  const [{ 0: directory }] = await client.call(operations.CREATE, [
    client.rootIno,
    Buffer.from('d'),
    [createKind.directory, 0o755],
  ]);
  const [stateid, { 0: ino }] = await client.call(operations.OPEN, [
    [2, directory, Buffer.from('f'), 0o644, true],
    3,
    false,
    false,
  ]);
  await client.call(operations.WRITE, [stateid, 0, 2, Buffer.alloc(block, 1)]);
  return { directory, ino, stateid };
}

async function lookUp(client: RawClient, parent: number, ...names: readonly string[]): Promise<number> {
  let ino = parent;
  for (const name of names) [{ 0: ino }] = await client.call(operations.LOOKUP, [ino, Buffer.from(name)]);
  return ino;
}

async function contentOf(client: RawClient, ino: number): Promise<Buffer> {
  const stateid = await client.open(ino, 1);
  const [data] = await client.call(operations.READ, [stateid, 0, 4 * block]);
  await client.call(operations.CLOSE, [stateid]);
  return Buffer.from(data);
}

test('a layout for writing is recalled, what it commits is in the snapshot, what is written later is not', async ({
  rig,
}) => {
  const [writer, other] = [await rig.client({ owner: 'w' }), await rig.client({ owner: 'o' })];
  const { directory, ino, stateid } = await fileInDirectory(writer);
  const held = await writer.layout(ino, stateid, rw, 0, 2 * block);
  const { device } = rig.lab.fs;
  for (const [, offset, length, , storage] of held.extents)
    device.write(storage, Buffer.alloc(length, offset === 0 ? 2 : 3));

  const snapshots = await lookUp(other, directory, '.snapshots');
  const made = other.call(operations.CREATE, [snapshots, Buffer.from('s'), [createKind.directory, 0]]);
  const [recalled, recalledIno] = await writer.connection.recall();
  expect(recalledIno).toBe(ino);
  await writer.call(operations.LAYOUTCOMMIT, [ino, recalled, [[0, 2 * block]], 2 * block - 1, null, null]);
  await writer.returnLayout(ino, recalled);
  const [{ 0: snapshot }] = await made;

  const whole = Buffer.concat([Buffer.alloc(block, 2), Buffer.alloc(block, 3)]);
  const copy = await lookUp(other, snapshot, 'f');
  expect((await contentOf(other, copy)).equals(whole)).toBe(true);
  // The blocks are shared by now: the client gets others to write to, and the snapshot stays as it is.
  const again = await writer.layout(ino, stateid, rw, 0, 2 * block);
  expect(again.extents.map(([state]) => state)).toEqual([extentState.read, extentState.invalid]);
  for (const [state, , length, , storage] of again.extents)
    if (state === extentState.invalid) device.write(storage, Buffer.alloc(length, 9));
  expect((await contentOf(other, ino)).equals(whole), 'uncommitted').toBe(true);
  await writer.call(operations.LAYOUTCOMMIT, [ino, again.stateid, [[0, 2 * block]], 2 * block - 1, null, null]);
  await writer.returnLayout(ino, again.stateid);
  expect((await contentOf(other, ino)).equals(Buffer.alloc(2 * block, 9))).toBe(true);
  expect((await contentOf(other, copy)).equals(whole)).toBe(true);
});

test('files of a snapshot are leased for reading, never for writing', async ({ rig }) => {
  const client = await rig.client();
  const { directory } = await fileInDirectory(client);
  const snapshots = await lookUp(client, directory, '.snapshots');
  await client.call(operations.CREATE, [snapshots, Buffer.from('s'), [createKind.directory, 0]]);
  const copy = await lookUp(client, snapshots, 's', 'f');
  expect(await client.statusOf(operations.OPEN, [[0, copy], 3, false, false])).toBe('ROFS');
  const stateid = await client.open(copy, 1);
  expect(await client.statusOf(operations.LAYOUTGET, [copy, stateid, rw, 0, block, block, 64, false])).toBe('OPENMODE');
  const layout = await client.layout(copy, stateid, read, 0, Infinity);
  expect(layout.segment).toEqual([read, 0, block]);
  await client.returnLayout(copy, layout.stateid);
});

test('when the snapshot is deleted they are recalled, and only then the blocks come back', async ({ rig }) => {
  const client = await rig.client();
  const { directory, stateid } = await fileInDirectory(client);
  const snapshots = await lookUp(client, directory, '.snapshots');
  await client.call(operations.CREATE, [snapshots, Buffer.from('s'), [createKind.directory, 0]]);
  const copy = await lookUp(client, snapshots, 's', 'f');
  const open = await client.open(copy, 1);
  const layout = await client.layout(copy, open, read, 0, Infinity);
  await client.call(operations.CLOSE, [open]);
  await client.call(operations.WRITE, [stateid, 0, 2, Buffer.alloc(block, 5)]);
  const before = rig.lab.fs.status();
  expect(before.blocks.file).toBe(2);

  await client.call(operations.REMOVE, [snapshots, Buffer.from('s'), true]);
  expect(await client.statusOf(operations.LOOKUP, [snapshots, Buffer.from('s')])).toBe('NOENT');
  const [recalled, recalledIno] = await client.connection.recall();
  expect([recalledIno, Buffer.from(recalled[1])]).toEqual([copy, Buffer.from(layout.stateid[1])]);
  expect(rig.server.status().filesystem).toMatchObject({ reaping: { trees: 1 }, blocks: { file: 2 } });
  await client.returnLayout(copy, recalled);
  await rig.until('the snapshot is gone', () => rig.lab.fs.status().reaping.trees === 0);
  expect(rig.lab.fs.status()).toMatchObject({ inodes: before.inodes - 2, blocks: { file: 1, quarantined: 0 } });
});

test('CLONE_TREE: a tree that can be written, of what is all the caller’s own', async ({ rig }) => {
  const client = await rig.client();
  const { directory, ino } = await fileInDirectory(client);
  const name = Buffer.from('c');
  const [{ 0: clone }] = await client.call(operations.CLONE_TREE, [directory, client.rootIno, name]);
  const copy = await lookUp(client, clone, 'f');
  expect(copy).not.toBe(ino);
  await client.call(operations.WRITE, [await client.open(copy), 0, 2, Buffer.alloc(block, 7)]);
  expect((await contentOf(client, ino)).equals(Buffer.alloc(block, 1))).toBe(true);
  expect(await client.statusOf(operations.CLONE_TREE, [directory, client.rootIno, name])).toBe('EXIST');
  expect(await client.statusOf(operations.CLONE_TREE, [ino, client.rootIno, Buffer.from('x')])).toBe('NOTDIR');
});
