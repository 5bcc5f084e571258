import { fc, test } from '@fast-check/vitest';
import { describe, expect } from 'vitest';
import { ExtentTable, LoadedExtents } from '../../fs/engine/extent-table.ts';
import type { Extent } from '../../fs/engine/extents.ts';

const nobody = (): void => undefined;

/** Inode numbers that come together and far apart, past 2^32 too. */
const ino = fc.oneof(
  fc.integer({ min: 1, max: 60 }),
  fc.nat(40).map((i) => 2 ** 32 * i + 7),
  fc.constant(2 ** 53 - 1),
);
/** Mostly such as can be packed. */
const extent: fc.Arbitrary<Extent> = fc.record({
  fileBlock: fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, fc.nat(50)),
  block: fc.integer({ min: 1, max: 2 ** 40 }),
  length: fc.oneof(fc.integer({ min: 1, max: 100 }), fc.constant(2 ** 30 - 1), fc.constant(2 ** 30)),
  mark: fc.nat(3),
});
const step = fc.oneof(
  fc.record({ kind: fc.constant('put' as const), ino, extent }),
  fc.record({ kind: fc.constantFrom('delete' as const, 'get' as const, 'blocks' as const), ino }),
  fc.record({ kind: fc.constant('trim' as const) }),
);

function check(table: ExtentTable, model: ReadonlyMap<number, readonly Extent[]>): void {
  for (const [file, extents] of model) {
    expect(table.blocksOf(file)).toBe(extents.reduce((sum, { length }) => sum + length, 0));
    expect([...(table.get(file)?.all() ?? [])]).toEqual(extents);
  }
  expect(new Set(table.keys())).toEqual(new Set(model.keys()));
}

describe('the extents of all files', () => {
  test.prop([fc.array(step, { maxLength: 300 })])('are what was put there, packed or not', (steps) => {
    let asked = 0;
    const table = new ExtentTable(new LoadedExtents(), { capacity: 8, overfull: () => asked++ });
    const model = new Map<number, readonly Extent[]>();
    for (const each of steps) {
      if (each.kind === 'trim') table.trim();
      else if (each.kind === 'delete') {
        table.delete(each.ino);
        model.delete(each.ino);
      } else if (each.kind === 'put') {
        table.of(each.ino).remove(0, Infinity, nobody);
        table.of(each.ino).insert(each.extent, nobody);
        model.set(each.ino, [each.extent]);
      } else if (each.kind === 'get') {
        expect([...(table.get(each.ino)?.all() ?? [])]).toEqual(model.get(each.ino) ?? []);
      } else expect(table.blocksOf(each.ino)).toBe(model.get(each.ino)?.[0]?.length ?? 0);
    }
    check(table, model);
    // Trims pack all but a few, and nothing changes by that.
    for (let i = 0; i < 200; i++) table.trim();
    check(table, model);
    if (model.size > 8) expect(asked).toBeGreaterThan(0);
  });

  test.prop([
    fc.uniqueArray(fc.tuple(ino, fc.integer({ min: 1, max: 4 })), { selector: ([file]) => file, maxLength: 90 }),
  ])('are found after a mount, many of a file and one of it', (files) => {
    const loaded = new LoadedExtents();
    const model = new Map<number, readonly Extent[]>();
    for (const [file, count] of files.toSorted(([a], [b]) => a - b)) {
      const extents = Array.from({ length: count }, (_, i) => ({
        fileBlock: 3 * i,
        block: 5 * i + 1,
        length: 2,
        mark: 0,
      }));
      for (const each of extents) expect(loaded.add(file, each)).toBe(true);
      expect(loaded.add(file, { fileBlock: 3 * count - 2, block: 999, length: 1, mark: 0 }), 'overlap').toBe(false);
      model.set(file, extents);
    }
    check(new ExtentTable(loaded, { capacity: 8, overfull: nobody }), model);
  });

  test('take a few numbers each, a hundred thousand of them, however they come and go', () => {
    const table = new ExtentTable(new LoadedExtents(), { capacity: 16, overfull: nobody });
    const put = (file: number): void =>
      table.of(file).insert({ fileBlock: 0, block: file, length: 1, mark: 0 }, nobody);
    for (let file = 1; file <= 100_000; file++) {
      put(file * 2);
      if (file % 64 === 0) for (let i = 0; i < 32; i++) table.trim();
    }
    for (let file = 1; file <= 100_000; file++) if (file % 10 !== 0) table.delete(file * 2);
    for (let file = 1; file <= 100_000; file++) expect(table.blocksOf(file * 2)).toBe(file % 10 === 0 ? 1 : 0);
    expect(table.get(20)?.find(0)).toEqual({ fileBlock: 0, block: 20, length: 1, mark: 0 });
    expect([...table.keys()]).toHaveLength(10_000);
  });
});
