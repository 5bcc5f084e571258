import { fc, test } from '@fast-check/vitest';
import { describe, expect } from 'vitest';
import { AssertionFailure } from '../../fs/errors.ts';
import { type BlockRange, Space } from '../../fs/space/space.ts';
import { Model, operations } from './model.ts';

const empty = (total: number) => Space.builder(total, []).finish();

/** A device whose free extents are exactly these. */
function withFree(total: number, ...free: BlockRange[]): Space {
  const builder = Space.builder(total, []);
  let end = 0;
  for (const { block, length } of [...free, { block: total, length: 0 }]) {
    if (block > end) builder.addFile({ block: end, length: block - end });
    end = block + length;
  }
  return builder.finish();
}

const range = (block: number, length: number): BlockRange => ({ block, length });

describe('after any sequence of operations', () => {
  test.prop([operations()], { numRuns: 200 })('every block is where the rules put it', (sequence) => {
    const model = new Model();
    for (const operation of sequence) {
      model.apply(operation);
      model.check();
    }
  });
});

describe('allocation', () => {
  test('takes the smallest extent that holds it whole', () => {
    const space = withFree(100, range(0, 40), range(50, 8), range(70, 10));
    expect(space.allocate(6)).toEqual([range(50, 6)]);
    expect(space.allocate(9)).toEqual([range(70, 9)]);
  });

  test('grows an extent at the goal before it takes another', () => {
    const space = withFree(100, range(10, 4), range(50, 40));
    expect(space.allocate(10, { goal: 12 })).toEqual([range(12, 2), range(50, 8)]);
  });

  test('takes the largest extents first when no single one is enough', () => {
    const space = withFree(100, range(0, 3), range(10, 20), range(50, 5), range(70, 10));
    expect(space.allocate(33)).toEqual([range(10, 20), range(70, 10), range(0, 3)]);
  });

  test('changes nothing when it fails', () => {
    const space = withFree(100, range(0, 8), range(20, 8));
    const before = space.counts();
    expect(space.allocate(17)).toBeUndefined();
    expect(space.allocate(9, { contiguous: true })).toBeUndefined();
    expect(space.allocate(8, { contiguous: true, align: 16 })).toEqual([range(0, 8)]);
    expect(space.allocate(8, { contiguous: true, align: 16 })).toBeUndefined();
    expect(space.counts()).toEqual({ ...before, free: 8, file: before.file + 8 });
  });

  test('aligns where that keeps it whole, and gives up the alignment rather than the whole', () => {
    const space = withFree(4096, range(100, 1000), range(2000, 520));
    expect(space.allocate(512, { align: 512 })).toEqual([range(512, 512)]);
    expect(space.allocate(512, { align: 512 })).toEqual([range(2000, 512)]);
  });

  test('finds an aligned start behind more small extents than it tries', () => {
    const small = Array.from({ length: 200 }, (_, i) => range(i * 16 + 1, 8));
    const space = withFree(8192, ...small, range(5000, 100));
    expect(space.allocate(8, { align: 16, contiguous: true })).toEqual([range(5008, 8)]);
  });

  test('a goal outside of the device is no goal', () => {
    expect(empty(10).allocate(2, { goal: 10 })).toEqual([range(0, 2)]);
    expect(empty(10).allocate(2, { goal: -1 })).toEqual([range(0, 2)]);
  });
});

describe('a block that was given up', () => {
  test('is handed out again only once its group is durable', () => {
    const space = empty(8);
    space.allocate(8);
    space.release(range(0, 4), 5);
    space.release(range(4, 4), 6);
    expect(space.allocate(1)).toBeUndefined();
    space.durable(5);
    expect(space.allocate(8)).toBeUndefined();
    expect(space.allocate(4)).toEqual([range(0, 4)]);
    space.durable(6);
    expect(space.allocate(4)).toEqual([range(4, 4)]);
  });

  test('stays with those that still share it', () => {
    const space = empty(8);
    space.allocate(8);
    space.share(range(2, 4));
    space.release(range(0, 8), 1);
    expect([...space.sharesIn(range(2, 4))]).toEqual([{ block: 2, length: 4, count: 1 }]);
    expect(space.counts()).toMatchObject({ file: 4, shared: 0, freeing: 4 });
  });

  test('is quarantined while a fenced client may touch it, until the last of them is gone', () => {
    const space = empty(8);
    space.allocate(8);
    space.hold(range(0, 4), 1, 'read');
    space.hold(range(2, 4), 2, 'write');
    space.release(range(0, 8), 1);
    space.durable(1);
    expect(space.counts()).toMatchObject({ quarantined: 6, free: 2 });
    expect(space.dropHolds(1)).toEqual([range(0, 4)]);
    expect(space.counts()).toMatchObject({ quarantined: 4, free: 4 });
    expect(space.dropHolds(2)).toEqual([range(2, 4)]);
    expect(space.counts()).toMatchObject({ quarantined: 0, free: 8 });
    expect(space.freeExtents()).toBe(1);
  });

  test('waits for its group even when its quarantine ends earlier', () => {
    const space = empty(4);
    space.allocate(4);
    space.hold(range(0, 4), 1, 'write');
    space.release(range(0, 4), 7);
    space.dropHolds(1);
    expect(space.allocate(1)).toBeUndefined();
    space.durable(7);
    expect(space.allocate(4)).toEqual([range(0, 4)]);
  });

  test('does not become free when it is held after it was given up', () => {
    const space = empty(4);
    space.allocate(4);
    space.release(range(0, 4), 1);
    space.hold(range(1, 2), 9, 'read');
    space.durable(1);
    expect(space.counts()).toMatchObject({ free: 2, quarantined: 2 });
  });
});

describe('provisional blocks', () => {
  test('are a file’s only after the commit of the client that holds them', () => {
    const space = empty(8);
    space.allocateProvisional(8, 1);
    expect(() => space.provisionalToFile(range(0, 4), 2)).toThrow('not provisional of client 2');
    space.provisionalToFile(range(0, 4), 1);
    space.releaseProvisional(range(4, 4), 1, 1);
    expect(space.counts()).toMatchObject({ file: 4, freeing: 4, provisional: 0 });
  });

  test('of a fenced client are quarantined until it is known dead', () => {
    const space = empty(8);
    space.allocateProvisional(8, 1);
    space.quarantineProvisional(range(2, 4), 1);
    expect([...space.holds()]).toEqual([{ range: range(2, 4), client: 1, access: 'write' }]);
    expect(space.dropHolds(1)).toEqual([range(2, 4)]);
    expect(space.counts()).toMatchObject({ free: 4, provisional: 4 });
  });
});

describe('assertions', () => {
  test.each<[string, (space: Space) => void]>([
    ['release of free blocks', (space) => space.release(range(0, 1), 1)],
    ['release beyond the file', (space) => space.release(range(3, 2), 1)],
    ['share of provisional blocks', (space) => space.share(range(9, 1))],
    ['commit of a file’s blocks', (space) => space.provisionalToFile(range(2, 1), 1)],
    ['release of another client’s blocks', (space) => space.releaseProvisional(range(8, 1), 1, 2)],
    ['quarantine of another client’s blocks', (space) => space.quarantineProvisional(range(8, 1), 2)],
    ['hold over a superblock', (space) => space.hold(range(14, 2), 1, 'read')],
    ['range outside of the device', (space) => space.share(range(15, 2))],
    ['allocation of nothing', (space) => space.allocate(0)],
    ['allocation of half a block', (space) => space.allocate(0.5)],
    ['giving up in a durable group', (space) => space.release(range(2, 1), 0)],
  ])('%s fails and changes nothing', (_, act) => {
    const builder = Space.builder(16, [range(15, 1)]);
    builder.addFile(range(2, 2));
    builder.addProvisional(range(8, 4), 1);
    const space = builder.finish();
    space.durable(0);
    const before = space.counts();
    expect(() => act(space)).toThrow(AssertionFailure);
    expect(space.counts()).toEqual(before);
    expect([...space.holds()]).toEqual([]);
  });
});

test.prop([fc.integer({ min: 1, max: 6 })])('counts of shares survive any number of clones', (clones) => {
  const space = empty(4);
  space.allocate(4);
  for (let i = 0; i < clones; i++) space.share(range(1, 2));
  expect([...space.sharesIn(range(0, 4))].map(({ count }) => count)).toEqual([1, clones + 1, 1]);
  expect([space.isShared(0), space.isShared(1)]).toEqual([false, true]);
  for (let i = 0; i < clones; i++) space.release(range(1, 2), 1);
  expect(space.counts()).toMatchObject({ file: 4, shared: 0, freeing: 0 });
});
