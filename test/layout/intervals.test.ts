import { fc, test } from '@fast-check/vitest';
import { expect } from 'vitest';
import { LayoutAssertion } from '../../layout/assert.ts';
import { type Interval, Intervals } from '../../layout/intervals.ts';

const span = fc.tuple(fc.nat(40), fc.integer({ min: 1, max: 12 }));
const operations = fc.array(fc.tuple(fc.boolean(), span, fc.nat()), { maxLength: 120 });

/** Adds, or deletes one that is there; a plain list beside it. */
function build(all: readonly (readonly [boolean, readonly [number, number], number])[]): {
  readonly tree: Intervals<Interval>;
  readonly list: Interval[];
} {
  const tree = new Intervals<Interval>();
  const list: Interval[] = [];
  all.forEach(([adds, [start, length], which], id) => {
    const victim = list[which % Math.max(list.length, 1)];
    if (adds || victim === undefined) {
      const added = { id, start, end: start + length };
      tree.add(added);
      list.push(added);
    } else {
      tree.delete(victim);
      list.splice(list.indexOf(victim), 1);
    }
  });
  list.sort((a, b) => a.start - b.start || a.id - b.id);
  return { tree, list };
}

test.prop([operations, span])('finds what a scan of a list finds, in order', (all, [start, length]) => {
  const { tree, list } = build(all);
  const asked = { start, end: start + length };
  const expected = list.filter((each) => each.start < asked.end && asked.start < each.end);
  expect(tree.size).toBe(list.length);
  expect(tree.values()).toEqual(list);
  expect(tree.overlapping(asked)).toEqual(expected);
  expect(tree.find(asked)).toBe(expected[0]);
  expect(tree.findLast(asked)).toBe(expected.at(-1));
  expect(tree.find(asked, (each) => each.id % 2 === 1)).toBe(expected.find((each) => each.id % 2 === 1));
});

test('ascending, descending and equal starts keep the tree flat: 2^14 intervals in at most 20 levels', () => {
  for (const startOf of [(n: number) => n, (n: number) => -n, () => 7]) {
    const tree = new Intervals<Interval>();
    for (let n = 0; n < 2 ** 14; n++) tree.add({ id: n, start: startOf(n), end: startOf(n) + 1 });
    expect(tree.height).toBeLessThanOrEqual(20);
  }
});

test('deleting what is not there is a contradiction', () => {
  const tree = new Intervals<Interval>();
  tree.add({ id: 1, start: 0, end: 5 });
  expect(() => tree.delete({ id: 2, start: 0, end: 5 })).toThrow(LayoutAssertion);
});
