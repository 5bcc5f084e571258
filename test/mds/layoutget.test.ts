/** LAYOUTGET: what is asked for, and what may be answered. RFC 8881 §18.43.3, tables 22 and 23; RFC 5663 §2.3. */
import { describe, expect } from 'vitest';
import { operations } from '../../mds/protocol/ops.ts';
import { status } from '../../mds/protocol/status.ts';
import { n, root } from '../support/filesystem.ts';
import type { RawClient } from './raw-client.ts';
import { test } from './rig-test.ts';

const read = 1;
const rw = 2;
const block = 4096;
const MAX = Infinity;
const largest = Number.MAX_SAFE_INTEGER;

/** Two blocks of data, a hole of one, and a part of a block: bytes, and where it ends. */
const size = 3 * block + 2000;
const fileEnd = 4 * block;

async function sparse(client: RawClient) {
  const { ino, stateid } = await client.create('sparse', Buffer.alloc(2 * block, 7));
  await client.call(operations.WRITE, [stateid, 3 * block, 2, Buffer.alloc(2000, 7)]);
  return { ino, stateid };
}

interface Row {
  readonly rule: string;
  readonly iomode: number;
  readonly offset: number;
  readonly length: number;
  readonly minlength: number;
  readonly extentsMax?: number;
  /** Offset and length of the segment, or the status. */
  readonly answer: readonly [offset: number, length: number] | string;
}

const rows: readonly Row[] = [
  // What makes no sense.
  ...[0, 3, 77].map((iomode) => ({
    rule: `iomode ${iomode} is none that is granted`,
    iomode,
    offset: 0,
    length: block,
    minlength: 0,
    answer: 'BADIOMODE',
  })),
  {
    rule: 'more is needed than is wished for',
    iomode: read,
    offset: 0,
    length: block,
    minlength: block + 1,
    answer: 'INVAL',
  },
  {
    rule: 'more is needed than the nothing that is wished for',
    iomode: read,
    offset: 0,
    length: 0,
    minlength: 1,
    answer: 'INVAL',
  },
  {
    rule: 'MAX is more than any length',
    iomode: rw,
    offset: 0,
    length: block,
    minlength: MAX,
    answer: 'INVAL',
  },
  {
    rule: 'the wish ends beyond the largest offset',
    iomode: read,
    offset: block,
    length: largest,
    minlength: 1,
    answer: 'INVAL',
  },
  {
    rule: 'the need ends beyond the largest offset, whatever the wish',
    iomode: read,
    offset: block,
    length: MAX,
    minlength: largest,
    answer: 'INVAL',
  },
  // For reading.
  {
    rule: 'READ: what is needed is given exactly where nothing more is wished for',
    iomode: read,
    offset: block,
    length: block,
    minlength: block,
    answer: [block, block],
  },
  {
    rule: 'READ: whole blocks, from the one that the offset lies in',
    iomode: read,
    offset: 5000,
    length: 10,
    minlength: 10,
    answer: [block, block],
  },
  {
    rule: 'READ: the need counts from the offset, not from the block that it lies in',
    iomode: read,
    offset: 5000,
    length: block,
    minlength: block,
    answer: [block, 2 * block],
  },
  {
    rule: 'READ: the end of the file ends the need',
    iomode: read,
    offset: 2 * block,
    length: 100 * block,
    minlength: 100 * block,
    answer: [2 * block, 2 * block],
  },
  {
    rule: 'READ: MAX needed is the rest of the file',
    iomode: read,
    offset: block,
    length: MAX,
    minlength: MAX,
    answer: [block, 3 * block],
  },
  {
    rule: 'READ: nothing needed, and all of it is ready, holes too',
    iomode: read,
    offset: 2 * block,
    length: block,
    minlength: 0,
    answer: [0, fileEnd],
  },
  {
    rule: 'READ 0/0: any segment with the offset in it',
    iomode: read,
    offset: 2 * block + 1,
    length: 0,
    minlength: 0,
    answer: [0, fileEnd],
  },
  {
    rule: 'READ: the last byte of the file',
    iomode: read,
    offset: size - 1,
    length: 1,
    minlength: 1,
    answer: [3 * block, block],
  },
  { rule: 'READ: at the end of the file', iomode: read, offset: size, length: 1, minlength: 1, answer: 'BADLAYOUT' },
  {
    rule: 'READ: at the end of the file, nothing needed',
    iomode: read,
    offset: size,
    length: 1,
    minlength: 0,
    answer: 'LAYOUTTRYLATER',
  },
  {
    rule: 'READ: beyond the end of the file, to the end',
    iomode: read,
    offset: 9 * block,
    length: MAX,
    minlength: MAX,
    answer: 'BADLAYOUT',
  },
  {
    rule: 'READ: no more extents than are taken, where fewer will do',
    iomode: read,
    offset: 0,
    length: fileEnd,
    minlength: 3 * block,
    extentsMax: 2,
    answer: [0, 3 * block],
  },
  {
    rule: 'READ: more extents needed than are taken',
    iomode: read,
    offset: 0,
    length: fileEnd,
    minlength: 3 * block + 1,
    extentsMax: 2,
    answer: 'TOOSMALL',
  },
  {
    rule: 'READ: nothing needed, and one extent taken',
    iomode: read,
    offset: block,
    length: fileEnd,
    minlength: 0,
    extentsMax: 1,
    answer: [0, 2 * block],
  },
  {
    rule: 'READ: an extent that begins before the offset does not count from its beginning',
    iomode: read,
    offset: block + 1000,
    length: 2 * block,
    minlength: block,
    extentsMax: 1,
    answer: 'TOOSMALL',
  },
  // For writing.
  {
    rule: 'RW: what is needed is given exactly where nothing more is wished for',
    iomode: rw,
    offset: 2 * block,
    length: block,
    minlength: block,
    answer: [2 * block, block],
  },
  {
    rule: 'RW: the need counts from the offset, not from the block that it lies in',
    iomode: rw,
    offset: 5000,
    length: block,
    minlength: block,
    answer: [block, 2 * block],
  },
  {
    rule: 'RW: beyond the end of the file',
    iomode: rw,
    offset: 9 * block,
    length: block,
    minlength: block,
    answer: [9 * block, block],
  },
  {
    rule: 'RW: to the end is the end that the file has',
    iomode: rw,
    offset: block,
    length: MAX,
    minlength: 1,
    answer: [0, fileEnd],
  },
  {
    rule: 'RW: to the end, from beyond it',
    iomode: rw,
    offset: 9 * block,
    length: MAX,
    minlength: block + 1,
    answer: [9 * block, 2 * block],
  },
  { rule: 'RW: MAX needed is never given', iomode: rw, offset: 0, length: MAX, minlength: MAX, answer: 'BADLAYOUT' },
  {
    rule: 'RW: more needed than one grant may hold',
    iomode: rw,
    offset: 0,
    length: MAX,
    minlength: 2 ** 30 + 1,
    answer: 'BADLAYOUT',
  },
  {
    rule: 'RW: at the largest offset',
    iomode: rw,
    offset: largest - 1,
    length: 1,
    minlength: 1,
    answer: 'BADLAYOUT',
  },
  {
    rule: 'RW: at the largest offset, nothing needed',
    iomode: rw,
    offset: largest - 1,
    length: 1,
    minlength: 0,
    answer: 'LAYOUTTRYLATER',
  },
  {
    rule: 'RW: nothing needed is what holds data already',
    iomode: rw,
    offset: block,
    length: 100 * block,
    minlength: 0,
    answer: [block, block],
  },
  {
    rule: 'RW 0/0: any segment with the offset in it',
    iomode: rw,
    offset: block + 1,
    length: 0,
    minlength: 0,
    answer: [block, block],
  },
  {
    rule: 'RW: nothing needed, and nothing written there',
    iomode: rw,
    offset: 2 * block,
    length: block,
    minlength: 0,
    answer: 'LAYOUTTRYLATER',
  },
  {
    rule: 'RW 0/0: beyond the end of the file',
    iomode: rw,
    offset: 9 * block,
    length: 0,
    minlength: 0,
    answer: 'LAYOUTTRYLATER',
  },
  {
    rule: 'RW: more extents needed than are taken',
    iomode: rw,
    offset: 0,
    length: 3 * block,
    minlength: 3 * block,
    extentsMax: 1,
    answer: 'TOOSMALL',
  },
  {
    rule: 'RW: an extent that begins before the offset does not count from its beginning',
    iomode: rw,
    offset: block + 1000,
    length: 2 * block,
    minlength: block,
    extentsMax: 1,
    answer: 'TOOSMALL',
  },
];

describe('one get of a file alone', () => {
  for (const { rule, iomode, offset, length, minlength, extentsMax = 64, answer } of rows) {
    test(rule, async ({ rig }) => {
      const client = await rig.client();
      const { ino, stateid } = await sparse(client);
      const args = [ino, stateid, iomode, offset, length, minlength, extentsMax, false] as const;
      if (typeof answer === 'string') {
        expect(await client.statusOf(operations.LAYOUTGET, [...args])).toBe(answer);
        expect(rig.server.status().layouts).toEqual([]);
        expect(rig.lab.fs.status().blocks.provisional).toBe(0);
        return;
      }
      const [layout, segment, extents] = await client.call(operations.LAYOUTGET, [...args]);
      expect([segment, layout[0]]).toEqual([[iomode, ...answer], 1]);
      // Ascending, without a gap, all of the segment.
      let at = answer[0];
      for (const [, from, bytes] of extents) {
        expect(from).toBe(at);
        at += bytes;
      }
      expect(at).toBe(answer[0] + answer[1]);
      expect(extents.length).toBeLessThanOrEqual(extentsMax);
    });
  }

  test('LAYOUTTRYLATER says whether a signal will follow', async ({ rig }) => {
    const client = await rig.client();
    const { ino, stateid } = await sparse(client);
    const args = [ino, stateid, rw, 2 * block, block, 0, 64, true];
    const [, , number, results] = await client.connection.request([
      0,
      client.connection.nextXid(),
      client.session,
      3,
      1,
      true,
      operations.LAYOUTGET.number,
      args,
      null,
    ]);
    expect([number, results]).toEqual([status.LAYOUTTRYLATER, [false]]);
  });
});

describe('the state', () => {
  test('is an open of this client and file, good for this, or the layout that it led to', async ({ rig }) => {
    const client = await rig.client();
    const { ino, stateid } = await sparse(client);
    const other = await client.create('other', Buffer.alloc(block));
    const stranger = await rig.client({ owner: 'stranger' });
    const [readOnly, writeOnly] = [await client.open(ino, 1), await client.open(ino, 2)];
    const get = (state: typeof stateid, iomode: number, who = client) =>
      who.statusOf(operations.LAYOUTGET, [ino, state, iomode, 0, block, block, 64, false]);
    expect(await get(readOnly, rw)).toBe('OPENMODE');
    expect(await get(writeOnly, read)).toBe('OPENMODE');
    expect(await get(other.stateid, read)).toBe('BAD_STATEID');
    expect(await get(stateid, read, stranger)).toBe('BAD_STATEID');
    expect(await get([0, Buffer.alloc(12)], read)).toBe('BAD_STATEID');
    expect(await get([2 ** 32 - 1, Buffer.alloc(12, 255)], read)).toBe('BAD_STATEID');
    const closed = await client.open(ino);
    await client.call(operations.CLOSE, [closed]);
    expect(await get(closed, read)).toBe('BAD_STATEID');

    const { stateid: layout } = await client.layout(ino, stateid, read, 0, block);
    expect(await get([0, layout[1]], read)).toBe('BAD_STATEID');
    expect(await get([2, layout[1]], read)).toBe('BAD_STATEID');
    expect(await get(layout, read, stranger)).toBe('BAD_STATEID');
    expect(await get(layout, rw)).toBe('OK');
  });

  test('comes before what the file is like', async ({ rig }) => {
    const client = await rig.client();
    const { ino } = await sparse(client);
    const get = (state: readonly [number, Uint8Array]) =>
      client.statusOf(operations.LAYOUTGET, [ino, [...state], read, 9 * block, 1, 1, 64, false]);
    expect(await get([1, Buffer.alloc(12)])).toBe('BAD_STATEID');
  });
});

describe('what has no layouts', () => {
  test('directories', async ({ rig }) => {
    const client = await rig.client();
    const { stateid } = await sparse(client);
    const args = [client.rootIno, stateid, read, 0, block, 0, 64, false] as const;
    expect(await client.statusOf(operations.LAYOUTGET, [...args])).toBe('WRONG_TYPE');
  });

  test.for(['immutable', 'append'])('%s files, for writing', async (flag, { rig }) => {
    const client = await rig.client();
    const { ino, stateid } = await sparse(client);
    await rig.lab.vfs.setxattr(ino, 'system.iopmemfs.flags', Buffer.from(flag), 'either', root);
    const get = (iomode: number) =>
      client.statusOf(operations.LAYOUTGET, [ino, stateid, iomode, 0, block, block, 64, false]);
    expect(await get(rw)).toBe('LAYOUTUNAVAILABLE');
    expect(rig.server.status().layouts).toEqual([]);
    expect(await get(read)).toBe('OK');
  });

  test('files of a snapshot, for writing: they cannot even be opened for it', async ({ rig }) => {
    const client = await rig.client();
    await sparse(client);
    const { vfs } = rig.lab;
    const snapshots = await vfs.lookup(vfs.rootIno, n('.snapshots'), root);
    const taken = await vfs.mkdir(snapshots.ino, n('taken'), 0o755, root);
    const { ino } = await vfs.lookup(taken.ino, n('sparse'), root);
    expect(await client.statusOf(operations.OPEN, [[0, ino], 3, false, false])).toBe('ROFS');
    const open = await client.open(ino, 1);
    const args = [ino, open, rw, 0, block, block, 64, false] as const;
    expect(await client.statusOf(operations.LAYOUTGET, [...args])).toBe('OPENMODE');
  });
});
