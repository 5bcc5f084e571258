import { fc, test as prop } from '@fast-check/vitest';
import { describe, expect, test } from 'vitest';
import { type LayoutSegment, scatterGather } from '../../client/index.ts';
import { statusOf } from './rig.ts';

const block = 4096;
const base = 2n ** 32n - 16n * BigInt(block);

type Kind = LayoutSegment['state'] | 'cow';

/** A layout of runs of blocks; `cow` is READ_DATA with INVALID_DATA over it. */
function layoutOf(runs: readonly { kind: Kind; blocks: number; gap: number }[], hasBus: boolean): LayoutSegment[] {
  let [offset, storage] = [0, 0];
  const placed = (
    state: 'READ_WRITE_DATA' | 'READ_DATA' | 'INVALID_DATA',
    length: number,
    at: number,
  ): LayoutSegment => {
    const busAddress = hasBus ? base + BigInt(at) : undefined;
    return { state, offset, length, deviceId: 'd', storageOffset: at, busAddress };
  };
  return runs.flatMap(({ kind, blocks, gap }) => {
    const length = blocks * block;
    storage += gap * block;
    const at = storage;
    storage += 2 * length * (kind === 'cow' ? 1 : 0) + (kind === 'cow' ? 0 : length);
    const segments =
      kind === 'NONE_DATA'
        ? [{ state: kind, offset, length } as const]
        : kind === 'cow'
          ? [placed('READ_DATA', length, at), placed('INVALID_DATA', length, at + length)]
          : [placed(kind, length, at)];
    offset += length;
    return segments;
  });
}

const run = fc.record({
  kind: fc.constantFrom<Kind>('READ_WRITE_DATA', 'READ_DATA', 'INVALID_DATA', 'NONE_DATA', 'cow'),
  blocks: fc.integer({ min: 1, max: 5 }),
  gap: fc.integer({ min: 0, max: 2 }),
});
const limits = fc.record(
  {
    maxSegmentBytes: fc.integer({ min: 512, max: 4 * block }),
    maxSegments: fc.integer({ min: 1, max: 4 }),
    boundary: fc.constantFrom(512, block, 4 * block),
    alignment: fc.constantFrom(1, 64, 512),
  },
  { requiredKeys: [] },
);
const cases = {
  runs: fc.array(run, { minLength: 1, maxLength: 8 }),
  limits,
  from: fc.integer({ min: 0, max: 40 }),
  units: fc.integer({ min: 0, max: 200 }),
  hasBus: fc.boolean(),
};

/** Where each byte of the range is, as a reader finds it. */
function placeOf(segments: readonly LayoutSegment[], at: number): number | undefined {
  for (const state of ['READ_WRITE_DATA', 'READ_DATA'] as const) {
    for (const segment of segments) {
      if (segment.state !== state || at < segment.offset || at >= segment.offset + segment.length) continue;
      return segment.storageOffset + at - segment.offset;
    }
  }
  return undefined;
}

/** Nothing lies there. Places change at whole blocks only. */
function isHole(segments: readonly LayoutSegment[], from: number, to: number): boolean {
  for (let at = from; at < to; at += 512) if (placeOf(segments, at) !== undefined) return false;
  return from <= to;
}

const refused = async (work: () => unknown): Promise<void> =>
  expect(await statusOf(async () => work())).toBe('ARGUMENT');

describe('scatter-gather lists', () => {
  prop.prop(cases)(
    'name every byte once, in order, within the limits',
    ({ runs, limits: bounds, from, units, hasBus }) => {
      const segments = layoutOf(runs, hasBus);
      const unit = bounds.alignment ?? 1;
      const range = { offset: from * 512, length: units * 512 };
      const lists = scatterGather(segments, range, 'read', bounds);
      const elements = lists.flat();
      for (const list of lists) expect(list.length).toBeLessThanOrEqual(bounds.maxSegments ?? Infinity);
      expect(lists.every((list) => list.length > 0)).toBe(true);
      let at = range.offset;
      for (const { offset, length, storageOffset, busAddress } of elements) {
        expect(isHole(segments, at, offset)).toBe(true);
        expect(length).toBeGreaterThan(0);
        expect(length).toBeLessThanOrEqual(bounds.maxSegmentBytes ?? Infinity);
        expect(storageOffset % unit).toBe(0);
        expect(length % unit).toBe(0);
        expect(busAddress).toBe(hasBus ? base + BigInt(storageOffset) : undefined);
        const first = busAddress ?? BigInt(storageOffset);
        const boundary = BigInt(bounds.boundary ?? 2 ** 40);
        expect(first / boundary).toBe((first + BigInt(length) - 1n) / boundary);
        for (const byte of [offset, offset + length - 1]) {
          expect(placeOf(segments, byte)).toBe(storageOffset + byte - offset);
        }
        at = offset + length;
      }
      expect(isHole(segments, at, range.offset + range.length)).toBe(true);
    },
  );

  test('merge what lies side by side, and take the new place for writing', () => {
    const segments = layoutOf(
      [
        { kind: 'READ_WRITE_DATA', blocks: 2, gap: 0 },
        { kind: 'INVALID_DATA', blocks: 1, gap: 0 },
        { kind: 'cow', blocks: 1, gap: 0 },
      ],
      false,
    );
    const [list, ...others] = scatterGather(segments, { offset: 0, length: 4 * block }, 'write');
    expect(others).toEqual([]);
    expect(list).toMatchObject([
      { offset: 0, length: 3 * block, storageOffset: 0 },
      { offset: 3 * block, length: block, storageOffset: 4 * block },
    ]);
    const [read] = scatterGather(segments, { offset: 0, length: 4 * block }, 'read');
    expect(read).toMatchObject([
      { offset: 0, length: 2 * block },
      { offset: 3 * block, length: block, storageOffset: 3 * block },
    ]);
  });

  test('what cannot be is refused', async () => {
    const readable = layoutOf([{ kind: 'READ_DATA', blocks: 1, gap: 0 }], false);
    const range = { offset: 0, length: block };
    await refused(() => scatterGather(readable, range, 'write'));
    await refused(() => scatterGather(readable, { offset: 1, length: 64 }, 'read', { alignment: 64 }));
    await refused(() => scatterGather(readable, range, 'read', { alignment: 3 }));
    await refused(() => scatterGather(readable, range, 'read', { alignment: 64, maxSegmentBytes: 32 }));
    await refused(() => scatterGather(readable, range, 'read', { boundary: 1000 }));
    await refused(() => scatterGather(readable, range, 'read', { maxSegments: 0 }));
  });
});
