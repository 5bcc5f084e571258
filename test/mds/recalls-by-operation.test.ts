/** docs/recalls.md, over the wire: each operation asks back exactly what it must, waits for that, and then is right. */
import { describe, expect } from 'vitest';
import { createKind, fallocateModes, operations, renameModes } from '../../mds/protocol/ops.ts';
import { Holder } from './holder.ts';
import type { RawClient } from './raw-client.ts';
import { block, cutTo, fileSize, type OperationName, over, type Row, rwBlocks, table } from './recall-table.ts';
import type { Rig } from './rig.ts';
import { test } from './rig-test.ts';

type Open = Awaited<ReturnType<RawClient['open']>>;

/** Where the operation happens: directory `d` with the file `f`, and `other`, as large, beside it. */
interface Place {
  readonly by: RawClient;
  readonly directory: number;
  readonly ino: number;
  readonly stateid: Open;
  readonly other: Open;
}

const name = (text: string): Buffer => Buffer.from(text);
const bytes = (letter: string, length: number): Buffer => Buffer.alloc(length, letter);

/** Data in all blocks but 4 and 5. */
function content(letter: string): Buffer {
  const data = bytes(letter, fileSize);
  data.fill(0, 4 * block, 6 * block);
  return data;
}

async function create(
  by: RawClient,
  directory: number,
  text: string,
  letter: string,
): Promise<{ ino: number; stateid: Open }> {
  const [stateid, [ino]] = await by.call(operations.OPEN, [[2, directory, name(text), 0o644, true], 3, false, false]);
  const data = content(letter);
  await by.call(operations.WRITE, [stateid, 0, 2, data.subarray(0, 4 * block)]);
  await by.call(operations.WRITE, [stateid, 6 * block, 2, data.subarray(6 * block)]);
  return { ino, stateid };
}

async function makePlace(by: RawClient): Promise<Place> {
  const [[directory]] = await by.call(operations.CREATE, [by.rootIno, name('d'), [createKind.directory, 0o755]]);
  const other = await create(by, directory, 'other', 'o');
  return { by, directory, other: other.stateid, ...(await create(by, directory, 'f', '-')) };
}

const write =
  (offset: number, data: Uint8Array) =>
  ({ by, stateid }: Place) =>
    by.call(operations.WRITE, [stateid, offset, 2, data]);
const truncate =
  (size: number) =>
  ({ by, ino, stateid }: Place) =>
    by.call(operations.SETATTR, [ino, stateid, [null, null, null, size, null, null]]);
const fallocate =
  (mode: (typeof fallocateModes)[number], offset: number, length: number) =>
  ({ by, stateid }: Place) =>
    by.call(operations.FALLOCATE, [stateid, fallocateModes.indexOf(mode), offset, length]);
const rename =
  (from: string, to: string, mode: (typeof renameModes)[number] = 'replace') =>
  ({ by, directory }: Place) =>
    by.call(operations.RENAME, [directory, name(from), directory, name(to), renameModes.indexOf(mode)]);

interface Operation {
  readonly run: (place: Place) => Promise<unknown>;
  /** What the file reads as afterwards, from what it read before; the same by default. */
  readonly expected?: (before: Buffer) => Buffer;
  /** It goes, where nobody has it open. */
  readonly removes?: true;
  /** Nobody has the file open. */
  readonly isClosed?: true;
  readonly prepare?: (place: Place) => Promise<unknown>;
}

const without = (offset: number, length: number) => (before: Buffer) =>
  Buffer.concat([before.subarray(0, offset), before.subarray(offset + length)]);
const withZeros = (offset: number, length: number) => (before: Buffer) =>
  Buffer.concat([before.subarray(0, offset), Buffer.alloc(length), before.subarray(offset)]);

const cases: readonly (readonly [OperationName, Operation])[] = [
  [
    'write in place to 1 and 2',
    { run: write(block + 10, bytes('x', block)), expected: over(block + 10, bytes('x', block)) },
  ],
  [
    'write to the hole at 4',
    { run: write(4 * block + 10, bytes('x', 10)), expected: over(4 * block + 10, bytes('x', 10)) },
  ],
  [
    'write to 3 and the hole at 4',
    { run: write(3 * block, bytes('x', 2 * block)), expected: over(3 * block, bytes('x', 2 * block)) },
  ],
  ['append to the end block', { run: write(fileSize, bytes('x', 10)), expected: over(fileSize, bytes('x', 10)) }],
  [
    'write behind the end, to 10',
    { run: write(10 * block, bytes('x', 10)), expected: over(10 * block, bytes('x', 10)) },
  ],
  ['truncate into 2', { run: truncate(2 * block + 5), expected: cutTo(2 * block + 5) }],
  ['truncate to 2', { run: truncate(2 * block), expected: cutTo(2 * block) }],
  ['truncate to the same size', { run: truncate(fileSize) }],
  ['truncate to 11', { run: truncate(11 * block), expected: cutTo(11 * block) }],
  ['truncate to more within the end block', { run: truncate(fileSize + 50), expected: cutTo(fileSize + 50) }],
  [
    'open with O_TRUNC',
    {
      run: ({ by, ino }) => by.call(operations.OPEN, [[0, ino], 3, true, false]),
      expected: cutTo(0),
    },
  ],
  ['punch 1 and 2', { run: fallocate('punch', block, 2 * block), expected: over(block, Buffer.alloc(2 * block)) }],
  ['punch bytes of 1', { run: fallocate('punch', block + 10, 20), expected: over(block + 10, Buffer.alloc(20)) }],
  ['zero 1 and 2', { run: fallocate('zero', block, 2 * block), expected: over(block, Buffer.alloc(2 * block)) }],
  ['zero 9, longer', { run: fallocate('zero', 9 * block, block), expected: cutTo(10 * block) }],
  ['collapse 1', { run: fallocate('collapse', block, block), expected: without(block, block) }],
  ['insert at 1', { run: fallocate('insert', block, block), expected: withZeros(block, block) }],
  ['allocate 0 to 3', { run: fallocate('allocate', 0, 4 * block) }],
  ['allocate 3 to 6', { run: fallocate('allocate', 3 * block, 4 * block) }],
  ['allocate 9 and 10, longer', { run: fallocate('allocate', 9 * block, 2 * block), expected: cutTo(11 * block) }],
  ['allocate 9 and 10, same size', { run: fallocate('allocate-keep-size', 9 * block, 2 * block) }],
  [
    'copy from 1 and 2',
    {
      run: ({ by, stateid, other }) => by.call(operations.COPY, [stateid, block, other, 0, 2 * block]),
    },
  ],
  [
    'copy to 1 and 2',
    {
      run: async ({ by, stateid, other }) => {
        await by.call(operations.COPY, [other, 0, stateid, block, 2 * block]);
      },
      expected: over(block, bytes('o', 2 * block)),
    },
  ],
  [
    'copy bytes from 1',
    {
      run: ({ by, stateid, other }) => by.call(operations.COPY, [stateid, block + 1, other, 7, 50]),
    },
  ],
  [
    'copy bytes to 1',
    {
      run: ({ by, stateid, other }) => by.call(operations.COPY, [other, 6, stateid, block + 7, 50]),
      expected: over(block + 7, bytes('o', 50)),
    },
  ],
  ['clone the file', { run: ({ by, ino, directory }) => by.call(operations.CLONE, [ino, directory, name('clone')]) }],
  [
    'clone its directory',
    {
      run: ({ by, directory }) => by.call(operations.CLONE_TREE, [directory, by.rootIno, name('tree')]),
    },
  ],
  [
    'snapshot of its directory',
    {
      run: async ({ by, directory }) => {
        const [[snapshots]] = await by.call(operations.LOOKUP, [directory, name('.snapshots')]);
        await by.call(operations.CREATE, [snapshots, name('s'), [createKind.directory, 0]]);
      },
    },
  ],
  [
    'unlink its last name',
    {
      run: ({ by, directory }) => by.call(operations.REMOVE, [directory, name('f'), false]),
      removes: true,
      isClosed: true,
    },
  ],
  [
    'unlink one of two names',
    {
      prepare: ({ by, ino, directory }) => by.call(operations.LINK, [ino, directory, name('f2')]),
      run: ({ by, directory }) => by.call(operations.REMOVE, [directory, name('f'), false]),
      isClosed: true,
    },
  ],
  ['rename over it', { run: rename('other', 'f'), removes: true, isClosed: true }],
  ['rename it', { run: rename('f', 'g'), isClosed: true }],
  ['exchange it', { run: rename('f', 'other', 'exchange'), isClosed: true }],
  ['link it', { run: ({ by, ino, directory }) => by.call(operations.LINK, [ino, directory, name('f2')]) }],
  [
    'set cow',
    {
      run: ({ by, ino }) => by.call(operations.SETXATTR, [ino, name('system.iopmemfs.cow'), name('on'), 0]),
    },
  ],
  [
    'change mode, owner and times',
    {
      run: ({ by, ino }) => by.call(operations.SETATTR, [ino, null, [0o600, 5, 5, null, 'now', 'now']]),
    },
  ],
  ['set an attribute', { run: ({ by, ino }) => by.call(operations.SETXATTR, [ino, name('user.a'), name('x'), 0]) }],
  [
    'set a quota on its directory',
    { run: ({ by, directory }) => by.call(operations.QUOTA_SET, [directory, 1 << 20, 100]) },
  ],
  ['sync it', { run: ({ by, ino }) => by.call(operations.COMMIT, [ino, false]) }],
  ['seek in it', { run: ({ by, stateid }) => by.call(operations.SEEK, [stateid, 0, 1]) }],
];

async function read(by: RawClient, ino: number): Promise<Buffer | undefined> {
  if ((await by.statusOf(operations.GETATTR, [ino])) === 'STALE') return undefined;
  const stateid = await by.open(ino, 1);
  const [data] = await by.call(operations.READ, [stateid, 0, 16 * block]);
  await by.call(operations.CLOSE, [stateid]);
  return Buffer.from(data);
}

/** Who holds: somebody else, RW or READ, or the client itself RW. */
async function holderOf(kind: keyof Row, rig: Rig, { by, ino }: Place): Promise<Holder> {
  const client = kind === 'own' ? by : await rig.client({ owner: 'holder' });
  return Holder.of(client, ino, kind === 'reader' ? 1 : 2, 0, rwBlocks * block);
}

test('the cases are those of the table', () => {
  expect(cases.map(([operation]) => operation)).toEqual(Object.keys(table));
});

describe.each(['writer', 'reader', 'own'] as const)('what the %s is asked for', (kind) => {
  test.for(cases)('%s', async ([operation, { run, expected, removes, isClosed, prepare }], { rig }) => {
    const place = await makePlace(await rig.client({ owner: 'by' }));
    await prepare?.(place);
    if (isClosed === true)
      for (const open of [place.stateid, place.other]) await place.by.call(operations.CLOSE, [open]);
    const before = content('-');
    const holder = await holderOf(kind, rig, place);
    const recalls = rig.server.status().counters.recallsSent;

    await holder.through(run(place));
    expect(holder.asked).toEqual(table[operation][kind]);
    expect(rig.server.status().counters.recallsSent - recalls, 'recalls of anybody').toBe(holder.asked.length);
    const after = expected === undefined ? before : expected(before);
    expect(await read(place.by, place.ino)).toEqual(removes === true && kind === 'reader' ? undefined : after);
    await holder.settled();
    expect(holder.asked, 'reading it asks for nothing').toHaveLength(table[operation][kind].length);
  });
});

test('a file that lost its last name asks for nothing until its last user closes it, who does not wait for that', async ({
  rig,
}) => {
  const { by, directory, ino, stateid } = await makePlace(await rig.client({ owner: 'by' }));
  const holder = await Holder.of(await rig.client({ owner: 'holder' }), ino, 1, 0, fileSize);
  const second = await by.open(ino);
  await by.call(operations.REMOVE, [directory, name('f'), false]);
  await by.call(operations.CLOSE, [second]);
  await holder.settled();
  expect(holder.asked).toEqual([]);
  await by.call(operations.CLOSE, [stateid]);
  const recall = await holder.recalled();
  expect(holder.asked).toEqual([[3, 0, 9, true]]);
  expect(await by.statusOf(operations.GETATTR, [ino])).toBe('OK');
  await holder.giveBack(recall);
  await rig.until('the file is gone', () => rig.lab.fs.status().inodes === 3);
  expect(await by.statusOf(operations.GETATTR, [ino])).toBe('STALE');
});
