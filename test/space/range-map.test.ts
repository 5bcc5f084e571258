import { fc, test } from '@fast-check/vitest';
import { describe, expect } from 'vitest';
import { RangeMap } from '../../fs/space/range-map.ts';

const size = 64;
const same = (a: string, b: string) => a === b;
const range = fc
  .nat(size - 1)
  .chain((start) => fc.record({ start: fc.constant(start), length: fc.integer({ min: 1, max: size - start }) }));
const assignment = fc.record({ range, value: fc.constantFrom('a', 'b', 'c') });

/** The map and the array that it must equal. */
function assigned(assignments: readonly { range: { start: number; length: number }; value: string }[]) {
  const map = RangeMap.filled<string>(size, 'a', same);
  const model = Array.from({ length: size }, () => 'a');
  for (const { range: r, value } of assignments) {
    map.set(r.start, r.length, value);
    model.fill(value, r.start, r.start + r.length);
  }
  return { map, model };
}

function runs(values: readonly string[], from: number) {
  const pieces: { start: number; length: number; value: string }[] = [];
  for (const [i, value] of values.entries()) {
    const last = pieces.at(-1);
    if (last !== undefined && last.value === value) last.length++;
    else pieces.push({ start: from + i, length: 1, value });
  }
  return pieces;
}

describe('a range map', () => {
  test.prop([fc.array(assignment, { maxLength: 30 }), range])(
    'equals an array of its positions',
    (assignments, window) => {
      const { map, model } = assigned(assignments);
      expect(model.map((_, position) => map.get(position))).toEqual(model);
      const { start, length } = window;
      expect(map.slice(start, length)).toEqual(runs(model.slice(start, start + length), start));
    },
  );

  test.prop([fc.array(assignment, { maxLength: 30 })])('stores equal neighbours as one piece', (assignments) => {
    const { map, model } = assigned(assignments);
    const pieces = runs(model, 0);
    expect(map.pieceCount).toBe(pieces.length);
    for (const piece of pieces) expect(map.pieceAt(piece.start + piece.length - 1)).toEqual(piece);
  });

  test.prop([fc.array(assignment, { maxLength: 30 })])(
    'built of pieces is the map that was set piece by piece',
    (assignments) => {
      const { map, model } = assigned(assignments);
      const single = model.map((value, start) => ({ start, length: 1, value }));
      const built = RangeMap.from(single, same);
      expect(built.slice(0, size)).toEqual(map.slice(0, size));
      expect(built.pieceCount).toBe(map.pieceCount);
    },
  );

  test('refuses what lies outside', () => {
    const map = RangeMap.filled<string>(size, 'a', same);
    expect(() => map.get(size)).toThrow('position 64 outside of 64');
    expect(() => map.get(-1)).toThrow('outside');
    expect(() => map.set(60, 5, 'b')).toThrow('range 60+5 outside of 64');
    expect(() => map.slice(0, 0)).toThrow('range 0+0');
    expect(() => RangeMap.from([{ start: 1, length: 1, value: 'a' }], same)).toThrow('does not follow 0');
  });
});
