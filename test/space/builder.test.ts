import { fc, test } from '@fast-check/vitest';
import { describe, expect } from 'vitest';
import { type BlockRange, Space } from '../../fs/space/space.ts';

const total = 64;
const range = (block: number, length: number): BlockRange => ({ block, length });
const ranges = fc.array(
  fc
    .nat(total - 1)
    .chain((block) => fc.record({ block: fc.constant(block), length: fc.integer({ min: 1, max: total - block }) })),
  { maxLength: 20 },
);

describe('the space computed at mount', () => {
  test.prop([ranges])('counts for every block the extents that map it, in whatever order they come', (extents) => {
    const builder = Space.builder(total, []);
    const counts = Array.from({ length: total }, () => 0);
    for (const extent of extents) {
      builder.addFile(extent);
      for (let block = extent.block; block < extent.block + extent.length; block++)
        counts[block] = (counts[block] ?? 0) + 1;
    }
    const space = builder.finish();
    for (const [block, count] of counts.entries()) {
      expect(space.roleOf(block)).toEqual(count === 0 ? { role: 'free' } : { role: 'file', count });
    }
    expect(space.counts()).toMatchObject({
      total,
      free: counts.filter((count) => count === 0).length,
      file: counts.filter((count) => count > 0).length,
      shared: counts.filter((count) => count > 1).length,
    });
  });

  test('gives every kind of record its role', () => {
    const builder = Space.builder(32, [range(0, 1), range(31, 1)]);
    builder.addProvisional(range(10, 2), 7);
    builder.addFile(range(4, 4));
    builder.addHold(range(6, 6), 8, 'write');
    const space = builder.finish();
    expect(space.counts()).toEqual({
      total: 32,
      reserved: 2,
      file: 4,
      shared: 0,
      provisional: 2,
      quarantined: 2,
      freeing: 0,
      withheld: 0,
      bad: 0,
      free: 22,
    });
    expect([...space.holds()]).toEqual([{ range: range(6, 6), client: 8, access: 'write' }]);
    space.dropHolds(8);
    expect(space.counts()).toMatchObject({ quarantined: 0, free: 24 });
  });

  test('a device without records is free', () => {
    expect(Space.builder(8, []).finish().allocate(8)).toEqual([range(0, 8)]);
  });
});

describe('records that contradict each other are a damaged filesystem', () => {
  test.each<[string, (builder: ReturnType<typeof Space.builder>) => void, string]>([
    ['a provisional block in a file', (b) => b.addProvisional(range(5, 2), 1), 'block 5 is of a file and provisional'],
    ['a file on a provisional block', (b) => b.addProvisional(range(2, 3), 1), 'block 4 is provisional of client 1'],
    ['a file on the superblock', (b) => b.addFile(range(0, 1)), 'block 0 is'],
    [
      'two clients on one block',
      (b) => [1, 2].forEach((client) => b.addProvisional(range(10, 1), client)),
      'block 10 is',
    ],
    [
      'a quarantine over the superblock',
      (b) => b.addHold(range(0, 2), 3, 'read'),
      'quarantine over reserved blocks 0+1',
    ],
    ['an extent past the end', (b) => b.addFile(range(15, 2)), 'blocks 15+2 on a device of 16'],
    ['an extent of nothing', (b) => b.addFile(range(3, 0)), 'blocks 3+0'],
    ['a quarantine past the end', (b) => b.addHold(range(16, 1), 1, 'read'), 'blocks 16+1'],
    ['a provisional extent before the start', (b) => b.addProvisional(range(-1, 1), 1), 'blocks -1+1'],
  ])('%s', (_, contradict, message) => {
    const builder = Space.builder(16, [range(0, 1)]);
    builder.addFile(range(4, 4));
    const build = () => {
      contradict(builder);
      builder.finish();
    };
    expect(build).toThrow(expect.objectContaining({ code: 'EUCLEAN', message: expect.stringContaining(message) }));
  });
});
