import { fc, test } from '@fast-check/vitest';
import { expect } from 'vitest';
import { Counts } from '../fs/counts.ts';

const numbers = fc.oneof(fc.nat(50), fc.constantFrom(2 ** 32, 2 ** 32 + 1, 2 ** 52 + 1, Number.MAX_SAFE_INTEGER));

test.prop([fc.array(fc.tuple(numbers, fc.integer({ min: -3, max: 4 })), { maxLength: 500 })])(
  'counts what is added and taken, never below 0',
  (changes) => {
    const counts = new Counts();
    const model = new Map<number, number>();
    for (const [number, change] of changes) {
      const count = Math.max(0, (model.get(number) ?? 0) + change);
      expect(counts.add(number, change)).toBe(count);
      if (count === 0) model.delete(number);
      else model.set(number, count);
      expect(counts.get(number)).toBe(count);
      expect(counts.has(number)).toBe(count > 0);
    }
    expect(counts.size).toBe(model.size);
    expect([...counts.keys()].toSorted((a, b) => a - b)).toEqual([...model.keys()].toSorted((a, b) => a - b));
    for (const [number, count] of model) expect(counts.get(number)).toBe(count);
    counts.clear();
    expect([...counts.keys()]).toEqual([]);
    for (const number of model.keys()) expect(counts.get(number)).toBe(0);
  },
);

test.prop([fc.integer({ min: 1, max: 1000 })], { numRuns: 5 })('a hundred thousand in steps come and go', (step) => {
  const counts = new Counts();
  const total = 100_000;
  for (let i = 0; i < total; i++) counts.add(i * step, (i % 7) + 1);
  expect(counts.size).toBe(total);
  for (let i = 0; i < total; i += 2) counts.add(i * step, -7);
  expect(counts.size).toBe(total / 2);
  let wrong = 0;
  for (let i = 0; i < total; i++) if (counts.get(i * step) !== (i % 2 === 0 ? 0 : (i % 7) + 1)) wrong++;
  expect(wrong).toBe(0);
  for (let i = 1; i < total; i += 2) counts.add(i * step, -7);
  expect(counts.size).toBe(0);
});
