import { EventEmitter, once } from 'node:events';
import { fc, test } from '@fast-check/vitest';
import { describe, expect, onTestFinished, vi } from 'vitest';
import { AssertionFailure, FsError } from '../../fs/errors.ts';
import { GroupCommit, type GroupCommitOptions } from '../../fs/meta/group-commit.ts';
import type { StoreOp } from '../../fs/meta/store.ts';
import { GatedStore } from './gated-store.ts';
import { bytes, entries, tempStore, text } from './temp-store.ts';

/** A minimal engine: named counters in memory, group commit over a real LevelDB. */
async function lab(overrides: Partial<GroupCommitOptions> = {}) {
  const store = new GatedStore((await tempStore()).store);
  const pending = new Map<string, string>();
  const events: string[] = [];
  const failures: unknown[] = [];
  const commit = new GroupCommit(store, {
    collect: (group) => {
      events.push(`collect ${group}`);
      const ops: StoreOp[] = [...pending].map(([key, value]) => ({ key: bytes(key), value: bytes(value) }));
      pending.clear();
      return ops;
    },
    beforeWrite: () => undefined,
    onDurable: (group) => events.push(`durable ${group}`),
    onFailure: (error) => failures.push(error),
    intervalMs: 3_600_000,
    recordsMax: 1000,
    ...overrides,
  });
  /** One change of an operation. */
  const change = (key: string, value: string): void => {
    pending.set(key, value);
    commit.dirty();
  };
  const stored = (key: string) => text(store.get(bytes(key)));
  return { store, commit, change, stored, events, failures };
}

const eio = expect.objectContaining({ name: 'FsError', code: 'EIO' });
/** All microtasks that are due, and those they make. */
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

describe('sync', () => {
  test('settles when all that was changed before it is in the store', async () => {
    const { commit, change, stored, events } = await lab();
    change('a', '1');
    change('b', '2');
    await commit.sync();
    expect([stored('a'), stored('b')]).toEqual(['1', '2']);
    expect(events).toEqual(['collect 1', 'durable 1']);
    expect([commit.open, commit.durable]).toEqual([2, 1]);
  });

  test('of nothing settles at once and writes nothing', async () => {
    const { store, commit, events } = await lab();
    await commit.sync();
    expect(store.begun).toBe(0);
    expect(events).toEqual([]);
    expect([commit.open, commit.durable]).toEqual([1, 0]);
  });

  test('does not settle before the batch has', async () => {
    const { store, commit, change } = await lab();
    store.hold();
    change('a', '1');
    let settled = false;
    const synced = commit.sync().then(() => {
      settled = true;
    });
    await turn();
    expect([store.begun, settled, commit.durable]).toEqual([1, false, 0]);
    store.open();
    await synced;
  });

  test('is shared: many callers, one batch', async () => {
    const { store, commit, change } = await lab();
    const syncs = Array.from({ length: 100 }, (_, i) => {
      change(`k${i}`, '');
      return commit.sync();
    });
    await Promise.all(syncs);
    expect(store.begun).toBe(1);
  });

  test('that comes while a batch is written waits for the next one if something changed since', async () => {
    const { store, commit, change, stored } = await lab();
    store.hold();
    change('a', '1');
    const first = commit.sync();
    await turn();
    change('a', '2');
    const second = Promise.all([commit.sync(), commit.sync()]);
    store.open();
    await first;
    expect(commit.durable).toBe(1);
    await second;
    expect([stored('a'), commit.durable, store.begun]).toEqual(['2', 2, 2]);
  });

  test('that comes while a batch is written waits for just that if nothing changed since', async () => {
    const { store, commit, change } = await lab();
    store.hold();
    change('a', '1');
    const first = commit.sync();
    await turn();
    let settled = false;
    const second = commit.sync().then(() => {
      settled = true;
    });
    await turn();
    expect(settled).toBe(false);
    store.open();
    await Promise.all([first, second]);
    expect(store.begun).toBe(1);
  });

  test('settles after the group was told durable', async () => {
    const { commit, change, events } = await lab();
    change('a', '1');
    await commit.sync().then(() => events.push('synced'));
    expect(events).toEqual(['collect 1', 'durable 1', 'synced']);
  });
});

describe('sealing', () => {
  test('waits for the end of the operation, however many records it changes', async () => {
    const { store, commit, change, stored, events } = await lab({ recordsMax: 3 });
    for (let i = 0; i < 10; i++) change(`k${i}`, 'x');
    expect([commit.open, events]).toEqual([1, []]);
    await turn();
    await commit.sync();
    expect([store.begun, stored('k0'), stored('k9')]).toEqual([1, 'x', 'x']);
  });

  test('happens early when the group is full', async () => {
    const { commit, change } = await lab({ recordsMax: 3 });
    change('a', '1');
    change('b', '1');
    await turn();
    expect(commit.open).toBe(1);
    change('c', '1');
    await turn();
    expect(commit.open).toBe(2);
  });

  test('happens when the interval since the first change ends, once', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => {
      vi.useRealTimers();
    });
    const { commit, change, stored } = await lab({ intervalMs: 1000 });
    change('a', '1');
    vi.advanceTimersByTime(600);
    change('b', '1');
    vi.advanceTimersByTime(399);
    await turn();
    expect(commit.open).toBe(1);
    vi.advanceTimersByTime(1);
    await turn();
    expect(commit.open).toBe(2);
    await commit.sync();
    expect(stored('b')).toBe('1');
    vi.advanceTimersByTime(10_000);
    await turn();
    expect([commit.open, vi.getTimerCount()]).toEqual([2, 0]);
  });

  test('by the interval starts anew with each group', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => {
      vi.useRealTimers();
    });
    const { commit, change } = await lab({ intervalMs: 1000 });
    change('a', '1');
    vi.advanceTimersByTime(600);
    await commit.sync();
    change('b', '1');
    vi.advanceTimersByTime(999);
    await turn();
    expect(commit.open).toBe(2);
    vi.advanceTimersByTime(1);
    await turn();
    expect(commit.open).toBe(3);
  });

  test('puts what changes afterwards into the next group', async () => {
    const { store, commit, change, stored } = await lab();
    store.hold();
    change('a', '1');
    const first = commit.sync();
    await turn();
    expect(commit.open).toBe(2);
    change('a', '2');
    change('b', '2');
    store.open();
    await first;
    expect([stored('a'), stored('b'), commit.records]).toEqual(['1', undefined, 2]);
  });
});

describe('the data of a group', () => {
  test('is on the device before its metadata is written', async () => {
    const device = new EventEmitter();
    const arrived = once(device, 'persisted').then(() => undefined);
    const { store, commit, change } = await lab({ beforeWrite: () => arrived });
    change('a', '1');
    const synced = commit.sync();
    await turn();
    expect(store.begun).toBe(0);
    device.emit('persisted');
    await synced;
    expect(store.begun).toBe(1);
  });

  test('alone is durable without a batch', async () => {
    const persisted: number[] = [];
    const { store, commit } = await lab({
      beforeWrite: (group) => {
        persisted.push(group);
        return Promise.resolve();
      },
    });
    commit.dirty();
    await commit.sync();
    expect([persisted, store.begun, commit.durable]).toEqual([[1], 0, 1]);
  });
});

describe('a failure', () => {
  const broken = new FsError('ENOSPC', { detail: 'injected' });
  const throwing = () => {
    throw broken;
  };
  test.each<[string, Partial<GroupCommitOptions>, boolean]>([
    ['of the store', {}, true],
    ['of the device', { beforeWrite: () => Promise.reject(broken) }, false],
    ['while the device is asked', { beforeWrite: throwing }, false],
    ['of encoding', { collect: throwing }, false],
  ])('%s fails this sync and every later one, and is told once', async (_, overrides, inStore) => {
    const { store, commit, change, failures } = await lab(overrides);
    if (inStore) store.fail(broken);
    change('a', '1');
    const syncs = [commit.sync(), commit.sync()];
    for (const sync of syncs)
      await expect(sync).rejects.toEqual(expect.objectContaining({ code: 'EIO', cause: broken }));
    change('b', '1');
    await expect(commit.sync()).rejects.toEqual(eio);
    await expect(commit.close()).rejects.toEqual(eio);
    expect(failures).toEqual([broken]);
    expect([await entries(store), commit.durable]).toEqual([[], 0]);
  });

  test('fails those who wait for the group after it, too, and nothing is written any more', async () => {
    const { store, commit, change } = await lab();
    store.hold();
    change('a', '1');
    const first = commit.sync();
    await turn();
    change('b', '2');
    const second = commit.sync();
    store.fail();
    store.open();
    await expect(first).rejects.toEqual(eio);
    await expect(second).rejects.toEqual(eio);
    expect([store.begun, await entries(store)]).toEqual([1, []]);
  });

  test('that nobody waits for is told all the same', async () => {
    const { store, commit, change, failures } = await lab({ recordsMax: 1 });
    store.fail(broken);
    change('a', '1');
    await turn();
    await turn();
    expect(failures).toEqual([broken]);
    await expect(commit.sync()).rejects.toEqual(eio);
  });

  test('in what follows durability stops everything', async () => {
    const { commit, change, failures } = await lab({ onDurable: throwing });
    change('a', '1');
    await expect(commit.sync()).rejects.toEqual(eio);
    expect(failures).toEqual([broken]);
  });
});

test('close makes the last changes durable and takes no more', async () => {
  const { commit, change, stored } = await lab();
  change('a', '1');
  await commit.close();
  expect(stored('a')).toBe('1');
  expect(() => change('a', '2')).toThrow(AssertionFailure);
  await commit.close();
});

type Step =
  | { readonly op: 'change'; readonly key: string; readonly many: number }
  | { readonly op: 'sync' | 'turn' | 'hold' | 'open' };
const steps: fc.Arbitrary<readonly Step[]> = fc.array(
  fc.oneof(
    fc.record({
      op: fc.constant('change' as const),
      key: fc.constantFrom('a', 'b', 'c'),
      many: fc.integer({ min: 1, max: 4 }),
    }),
    fc.record({ op: fc.constantFrom('sync' as const, 'turn' as const, 'hold' as const, 'open' as const) }),
  ),
  { maxLength: 60, size: 'max' },
);

test.prop([steps], { numRuns: 30 })(
  'whatever the order, a settled sync means durable, groups follow each other, and none holds half an operation',
  async (script) => {
    const { store, commit, change, stored, events } = await lab({ recordsMax: 5 });
    let version = 0;
    const syncs: Promise<void>[] = [];
    /** As of one moment, every operation is in the store whole or not at all. */
    const whole = async () => {
      const found = new Map(await entries(store));
      expect(found.get('first')).toBe(found.get('last'));
    };
    const syncNow = async (least: number) => {
      await commit.sync();
      expect(Number(stored('last') ?? 0)).toBeGreaterThanOrEqual(least);
    };
    for (const step of script) {
      if (step.op === 'change') {
        // One operation: several records of the same version.
        change('first', String(++version));
        for (let i = 0; i < step.many; i++) change(`${step.key}${i}`, String(version));
        change('last', String(version));
      } else if (step.op === 'sync') syncs.push(syncNow(version));
      else if (step.op === 'turn') await Promise.all([turn(), whole()]);
      else if (step.op === 'hold') store.hold();
      else store.open();
    }
    store.open();
    await Promise.all(syncs);
    await commit.close();
    expect(Number(stored('last') ?? 0)).toBe(version);
    expect(store.overlapped).toBe(false);
    const inOrder = Array.from({ length: commit.durable }, (_, i) => [`collect ${i + 1}`, `durable ${i + 1}`]);
    expect(events).toEqual(inOrder.flat());
  },
);
