/** Leases that are renewed by a note of the time: they end neither early nor late, however many there are. */
import { describe, expect, test } from 'vitest';
import { Client } from '../../mds/client.ts';
import { Reach } from '../../mds/fencing/reach.ts';
import { LeaseEnds } from '../../mds/lease-ends.ts';
import { ManualClock } from './manual-clock.ts';

const leaseMs = 1000;

interface Ended {
  readonly id: number;
  readonly at: number;
}

/** Without courtesy. */
function leases(count: number) {
  const clock = new ManualClock();
  const ended: Ended[] = [];
  const ends = new LeaseEnds(
    clock,
    { leaseMs, courtesyMs: 0 },
    {
      isWorthCourtesy: () => false,
      lapsed: () => {},
      expired: ({ id }) => ended.push({ id, at: clock.now() }),
      forgotten: () => {},
    },
  );
  const introduction = {
    owner: Buffer.from('owner'),
    verifier: Buffer.alloc(8),
    implementation: 'a test',
    pnfs: true,
    ioMaxMs: 0,
    credentials: [0, 0, []] as [number, number, number[]],
    process: null,
  };
  const clients = Array.from(
    { length: count },
    (_, id) => new Client(id, introduction, new Reach(null, () => {}), 1, 0),
  );
  for (const client of clients) ends.renew(client);
  return { clock, ends, ended, clients };
}

describe('a lease', () => {
  test('of who renews often lasts, and ends one lease after the last time', () => {
    const { clock, ends, ended, clients } = leases(1);
    for (let time = 0; time < 100; time++) {
      clock.advance(leaseMs - 1);
      for (const client of clients) ends.renew(client);
    }
    expect(ended).toEqual([]);
    const last = clock.now();
    clock.advance(3 * leaseMs);
    expect(ended).toEqual([{ id: 0, at: last + leaseMs }]);
  });

  test('of each of thousands ends when it is its turn, in whatever order they renewed', () => {
    const count = 4000;
    const { clock, ends, ended, clients } = leases(count);
    const due = new Map(clients.map(({ id }) => [id, clock.now() + leaseMs]));
    // Each once more, in an order that has nothing to do with the first one; one in five not at all.
    for (let step = 0; step < count; step++) {
      const client = clients[(step * 1237) % count];
      if (step % 10 === 0) clock.advance(1);
      if (client === undefined || client.id % 5 === 0) continue;
      ends.renew(client);
      due.set(client.id, clock.now() + leaseMs);
    }
    clock.advance(3 * leaseMs);
    expect(new Map(ended.map(({ id, at }) => [id, at]))).toEqual(due);
    expect(ended).toHaveLength(count);
    expect(ended.map(({ at }) => at)).toEqual(ended.map(({ at }) => at).toSorted((a, b) => a - b));
  });

  test('of a client that is gone wakes nobody, and leaves those of others as they are', () => {
    const { clock, ends, ended, clients } = leases(100);
    for (const client of clients) if (client.id % 2 === 0) ends.delete(client);
    const at = clock.now() + leaseMs;
    clock.advance(2 * leaseMs);
    expect(ended.map(({ id }) => id).toSorted((a, b) => a - b)).toEqual(
      clients.filter(({ id }) => id % 2 === 1).map(({ id }) => id),
    );
    for (const each of ended) expect(each.at).toBe(at);
  });
});
