import { fc, test } from '@fast-check/vitest';
import { expect } from 'vitest';
import { contains, intersect, overlap, type Range, rangeOf, subtract } from '../../layout/ranges.ts';

const bytes = 24;
const range = fc
  .tuple(fc.nat(bytes - 1), fc.integer({ min: 1, max: bytes }))
  .map(([start, length]): Range => ({ start, end: start + length > bytes ? Infinity : start + length }));
const ascending = fc.array(range, { maxLength: 6 }).map((all) => all.sort((a, b) => a.start - b.start));

/** Byte by byte; the byte after the last stands for everything beyond. */
function bytesOf(...ranges: readonly Range[]): boolean[] {
  return Array.from({ length: bytes + 1 }, (_, byte) => ranges.some(({ start, end }) => start <= byte && byte < end));
}

test('a length of zero, negative or fractional numbers make no range', () => {
  for (const [offset, length] of [
    [0, 0],
    [-1, 5],
    [0, -5],
    [0.5, 1],
    [0, 1.5],
    [Number.NaN, 1],
    [Infinity, 1],
  ] as const) {
    expect(rangeOf(offset, length), `${offset}+${length}`).toBeUndefined();
  }
});

test('offset + length beyond the largest offset makes no range, unless the length means to the end', () => {
  expect(rangeOf(Number.MAX_SAFE_INTEGER, 1)).toBeUndefined();
  expect(rangeOf(1, Number.MAX_SAFE_INTEGER)).toBeUndefined();
  expect(rangeOf(0, 2 ** 64)).toBeUndefined();
  expect(rangeOf(0, Number.MAX_SAFE_INTEGER)).toEqual({ start: 0, end: Number.MAX_SAFE_INTEGER });
  expect(rangeOf(Number.MAX_SAFE_INTEGER, Infinity)).toEqual({ start: Number.MAX_SAFE_INTEGER, end: Infinity });
});

test.prop([range, range])('intersect has the bytes of both, and overlap says whether there are any', (a, b) => {
  const both = intersect(a, b);
  const left = bytesOf(a);
  const right = bytesOf(b);
  expect(both === undefined ? bytesOf() : bytesOf(both)).toEqual(left.map((inA, byte) => inA && right[byte]));
  expect(overlap(a, b)).toBe(both !== undefined);
});

test.prop([range, range])('contains: every byte of the inner is one of the outer', (a, b) => {
  const outer = bytesOf(a);
  expect(contains(a, b)).toBe(bytesOf(b).every((inner, byte) => !inner || outer[byte]));
});

test.prop([range, ascending])('subtract leaves the bytes that no hole has, ascending and not empty', (from, holes) => {
  const left = subtract(from, holes);
  const hole = bytesOf(...holes);
  expect(bytesOf(...left)).toEqual(bytesOf(from).map((inside, byte) => inside && !hole[byte]));
  expect(left.every(({ start, end }, index) => start < end && start >= (left[index - 1]?.end ?? 0))).toBe(true);
});
