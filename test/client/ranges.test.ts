import { fc, test } from '@fast-check/vitest';
import { describe, expect, test as plain } from 'vitest';
import { aligned, endOf, overlap, RangeSet, without } from '../../client/ranges.ts';

const range = fc.record({ offset: fc.nat(60), length: fc.integer({ min: 1, max: 20 }) });
const bytesOf = ({ offset, length }: { offset: number; length: number }): number[] =>
  Array.from({ length }, (_, index) => offset + index);
const listed = (ranges: Iterable<{ offset: number; length: number }>): number[] => [...ranges].flatMap(bytesOf);

describe('a set of bytes', () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('add' as const), range }),
    fc.record({ kind: fc.constant('take' as const), range }),
  );

  test.prop([fc.array(step, { maxLength: 40 })])('holds what was added and not taken', (steps) => {
    const set = new RangeSet();
    const model = new Set<number>();
    for (const { kind, range: at } of steps) {
      if (kind === 'add') {
        set.add(at);
        for (const byte of bytesOf(at)) model.add(byte);
      } else {
        const taken = listed(set.take(at));
        expect(taken).toEqual(bytesOf(at).filter((byte) => model.has(byte)));
        for (const byte of taken) model.delete(byte);
      }
      expect(set.end).toBe(model.size === 0 ? 0 : Math.max(...model) + 1);
    }
    const all = set.take({ offset: 0, length: Infinity });
    expect(listed(all)).toEqual([...model].sort((a, b) => a - b));
    for (const [index, piece] of all.entries()) {
      const next = all[index + 1];
      if (next !== undefined) expect(next.offset, 'neighbours are joined').toBeGreaterThan(endOf(piece));
    }
    expect(set.size).toBe(0);
  });
});

test.prop([range, fc.array(range, { maxLength: 6 })])(
  'what is left without holes is what no hole covers',
  (whole, holes) => {
    const covered = new Set(listed(holes));
    expect(listed(without(whole, holes))).toEqual(bytesOf(whole).filter((byte) => !covered.has(byte)));
  },
);

test.prop([range, range])('an overlap is what both have', (a, b) => {
  const both = overlap(a, b);
  expect(both === undefined ? [] : bytesOf(both)).toEqual(bytesOf(a).filter((byte) => bytesOf(b).includes(byte)));
});

plain('to the end and beyond is a range like others', () => {
  const toTheEnd = { offset: 4096, length: Infinity };
  expect(overlap(toTheEnd, { offset: 0, length: 8192 })).toEqual({ offset: 4096, length: 4096 });
  expect(without(toTheEnd, [{ offset: 8192, length: 4096 }])).toEqual([
    { offset: 4096, length: 4096 },
    { offset: 12_288, length: Infinity },
  ]);
  expect(without({ offset: 0, length: 8192 }, [toTheEnd])).toEqual([{ offset: 0, length: 4096 }]);
  expect(without(toTheEnd, [toTheEnd])).toEqual([]);
});

plain('alignment rounds outwards', () => {
  expect(aligned({ offset: 4097, length: 1 }, 4096)).toEqual({ offset: 4096, length: 4096 });
  expect(aligned({ offset: 4096, length: 4096 }, 4096)).toEqual({ offset: 4096, length: 4096 });
  expect(aligned({ offset: 4095, length: 2 }, 4096)).toEqual({ offset: 0, length: 8192 });
});
