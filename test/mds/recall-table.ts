/**
 * What each operation asks back, as docs/recalls.md says, for a file like this (in blocks): 0 to 3 data, 4 and 5 a hole,
 * 6 and 7 data, 8 the end block, with 100 bytes. One holder has RW from 0 to 12, another time READ up to the end.
 */
export const block = 4096;
export const fileSize = 8 * block + 100;
export const rwBlocks = 12;

/** iomode (2 RW, 3 both), first block, blocks, changed. */
export type Asked = readonly [iomode: 2 | 3, from: number, count: number, changed: boolean];

export interface Row {
  /** Of a holder of RW; one after the other where there are several. */
  readonly writer: readonly Asked[];
  readonly reader: readonly Asked[];
  /** Of the client itself that the operation is done for, which holds RW. */
  readonly own: readonly Asked[];
}

const all = (from: number, count: number, changed: boolean): Row => {
  const asked: readonly Asked[] = [[3, from, count, changed]];
  const reader: readonly Asked[] = from > 8 ? [] : [[3, from, Math.min(count, 9 - from), changed]];
  return { writer: asked, reader, own: asked };
};
const inPlace = (from: number, count: number): Row => ({ ...all(from, count, false), own: [] });
const writers = (...asked: readonly (readonly [from: number, count: number])[]): Row => {
  const rows = asked.map(([from, count]): Asked => [2, from, count, false]);
  return { writer: rows, reader: [], own: rows };
};
const nothing: Row = { writer: [], reader: [], own: [] };
const endBlock = [8, 1] as const;

/** Blocks [from, from + count) where no other unit is given. */
export const table = {
  'write in place to 1 and 2': inPlace(1, 2),
  'write to the hole at 4': all(4, 1, false),
  'write to 3 and the hole at 4': all(3, 2, false),
  'append to the end block': inPlace(8, 1),
  'write behind the end, to 10': {
    writer: [
      [2, 8, 1, false],
      [3, 10, 1, false],
    ],
    reader: [],
    own: [
      [2, 8, 1, false],
      [3, 10, 1, false],
    ],
  },
  'truncate into 2': all(2, 7, true),
  'truncate to 2': all(2, 7, true),
  'truncate to the same size': nothing,
  'truncate to 11': writers(endBlock),
  'truncate to more within the end block': writers(endBlock),
  'open with O_TRUNC': all(0, 9, true),
  'punch 1 and 2': all(1, 2, true),
  'punch bytes of 1': all(1, 1, true),
  'zero 1 and 2': all(1, 2, true),
  'zero 9, longer': {
    ...all(9, 1, true),
    writer: [[3, 9, 1, true], ...writers(endBlock).writer],
    own: [[3, 9, 1, true], ...writers(endBlock).own],
  },
  'collapse 1': { ...all(1, 8, true), writer: [[3, 1, 11, true]], own: [[3, 1, 11, true]] },
  'insert at 1': { ...all(1, 8, true), writer: [[3, 1, 11, true]], own: [[3, 1, 11, true]] },
  'allocate 0 to 3': nothing,
  'allocate 3 to 6': writers([4, 2]),
  'allocate 9 and 10, longer': writers([9, 2], endBlock),
  'allocate 9 and 10, same size': writers([9, 2]),
  'copy from 1 and 2': writers([1, 2]),
  'copy to 1 and 2': all(1, 2, true),
  'copy bytes from 1': nothing,
  'copy bytes to 1': inPlace(1, 1),
  'clone the file': writers([0, rwBlocks]),
  'clone its directory': writers([0, rwBlocks]),
  'snapshot of its directory': writers([0, rwBlocks]),
  // Whoever may write to it has it open, so that it stays.
  'unlink its last name': { ...nothing, reader: [[3, 0, 9, true]] },
  'unlink one of two names': nothing,
  'rename over it': { ...nothing, reader: [[3, 0, 9, true]] },
  'rename it': nothing,
  'exchange it': nothing,
  'link it': nothing,
  'set cow': writers([0, rwBlocks]),
  'change mode, owner and times': nothing,
  'set an attribute': nothing,
  'set a quota on its directory': nothing,
  'sync it': nothing,
  'seek in it': nothing,
} as const satisfies Record<string, Row>;

export type OperationName = keyof typeof table;

/** What a content is after an operation. */
export const over = (offset: number, data: Buffer) => (before: Buffer) => {
  const after = Buffer.alloc(Math.max(before.length, offset + data.length));
  before.copy(after);
  data.copy(after, offset);
  return after;
};
export const cutTo = (size: number) => (before: Buffer) => {
  const after = Buffer.alloc(size);
  before.copy(after);
  return after;
};
