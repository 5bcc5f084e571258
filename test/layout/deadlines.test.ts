import { fc, test } from '@fast-check/vitest';
import { expect } from 'vitest';
import { Deadlines, type Due } from '../../layout/deadlines.ts';

interface Timer extends Due {
  readonly id: number;
}

const steps = fc.array(fc.tuple(fc.nat(9), fc.option(fc.nat(50), { nil: undefined })), { maxLength: 100 });

test.prop([steps])('the first is the earliest of what was set last and not deleted', (all) => {
  const timers = Array.from({ length: 10 }, (_, id): Timer => ({ id, dueAt: 0, heapIndex: undefined }));
  const deadlines = new Deadlines<Timer>();
  const expected = new Map<number, number>();
  for (const [id, at] of all) {
    const timer = timers[id];
    if (timer === undefined) continue;
    if (at === undefined) {
      deadlines.delete(timer);
      expected.delete(id);
    } else {
      deadlines.set(timer, at);
      expected.set(id, at);
    }
    const earliest = expected.size === 0 ? undefined : Math.min(...expected.values());
    expect(deadlines.first()?.dueAt).toBe(earliest);
  }
  const order: number[] = [];
  for (let first = deadlines.first(); first !== undefined; first = deadlines.first()) {
    order.push(first.dueAt);
    deadlines.delete(first);
  }
  expect(order).toEqual([...expected.values()].sort((a, b) => a - b));
});
