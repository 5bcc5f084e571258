import { fc, test } from '@fast-check/vitest';
import { expect } from 'vitest';
import { Table } from '../../layout/table.ts';

interface Item {
  readonly number: number;
}

/** Numbers that meet in few slots, and some that do not fit 32 bits. */
const numbers = fc.oneof(
  fc.integer({ min: 0, max: 40 }),
  fc.integer({ min: 0, max: 8 }).map((n) => n * 2 ** 33),
);
const steps = fc.array(fc.tuple(fc.boolean(), numbers), { maxLength: 200 });

test.prop([steps])('a table finds what was added and not deleted, and nothing else', (all) => {
  const table = new Table<Item>((item) => item.number);
  const model = new Map<number, Item>();
  for (const [adds, number] of all) {
    const item = { number };
    if (adds) table.add(item);
    else table.delete(number);
    if (adds) model.set(number, item);
    else model.delete(number);
    expect(table.size).toBe(model.size);
    for (const [key, value] of model) expect(table.get(key)).toBe(value);
    expect(table.get(number)).toBe(model.get(number));
    expect(new Set(table.values())).toEqual(new Set(model.values()));
  }
});
