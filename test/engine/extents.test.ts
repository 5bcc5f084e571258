import { fc, test } from '@fast-check/vitest';
import { describe, expect } from 'vitest';
import { type Extent, ExtentMap } from '../../fs/engine/extents.ts';

const fileBlocks = 3000;

/** The map under test, what it must say block by block, and the records that its touches would have written. */
class Pair {
  readonly map = new ExtentMap();
  readonly model: (number | undefined)[] = Array.from({ length: fileBlocks }, () => undefined);
  readonly records = new Map<number, Extent>();

  #touch(blocks: ReadonlySet<number>): void {
    for (const fileBlock of blocks) {
      const extent = this.map.at(fileBlock);
      if (extent === undefined) this.records.delete(fileBlock);
      else this.records.set(fileBlock, extent);
    }
  }

  remove(from: number, to: number): void {
    const touched = new Set<number>();
    const removed = this.map.remove(from, to, (fileBlock) => touched.add(fileBlock));
    const mapped = this.model.slice(from, to).filter((block) => block !== undefined).length;
    expect(removed.reduce((sum, { length }) => sum + length, 0)).toBe(mapped);
    this.model.fill(undefined, from, Math.min(to, fileBlocks));
    this.#touch(touched);
  }

  /** Maps what is not mapped yet of [from, to), from device block `block` on. */
  insert(from: number, to: number, block: number): void {
    const touched = new Set<number>();
    for (const hole of [...this.map.cover(from, to)].filter((part) => part.block === undefined)) {
      const at = block + hole.fileBlock - from;
      this.map.insert({ fileBlock: hole.fileBlock, block: at, length: hole.length, mark: 0 }, (fileBlock) =>
        touched.add(fileBlock),
      );
      for (let i = 0; i < hole.length; i++) this.model[hole.fileBlock + i] = at + i;
    }
    this.#touch(touched);
  }

  check(): void {
    const extents = [...this.map.all()];
    const blocks: (number | undefined)[] = Array.from({ length: fileBlocks }, () => undefined);
    for (const { fileBlock, block, length } of extents) {
      for (let i = 0; i < length; i++) blocks[fileBlock + i] = block + i;
    }
    expect(blocks).toEqual(this.model);
    expect(this.map.blocks).toBe(this.model.filter((block) => block !== undefined).length);
    expect(this.map.count).toBe(extents.length);
    expect(this.map.last).toEqual(extents.at(-1));
    expect([...this.records.values()].toSorted((a, b) => a.fileBlock - b.fileBlock)).toEqual(extents);
    for (let i = 1; i < extents.length; i++) {
      const [a, b] = [extents[i - 1], extents[i]];
      if (a === undefined || b === undefined) continue;
      const joined = a.fileBlock + a.length === b.fileBlock && a.block + a.length === b.block;
      expect(joined, 'neighbours that continue each other are one').toBe(false);
    }
  }

  find(fileBlock: number): void {
    const at = this.model.findIndex((block, i) => i >= fileBlock && block !== undefined);
    const found = this.map.find(fileBlock);
    if (at === -1) expect(found).toBeUndefined();
    else {
      expect(found !== undefined && found.fileBlock <= at && at < found.fileBlock + found.length).toBe(true);
      expect(found === undefined ? -1 : found.block + at - found.fileBlock).toBe(this.model[at]);
    }
  }
}

const place = fc.nat({ max: fileBlocks - 1 });
/** A few blocks; or more extents than a chunk of the list holds; or most of the file. */
const length = fc.oneof(
  fc.integer({ min: 1, max: 8 }),
  fc.integer({ min: 200, max: 900 }),
  fc.integer({ min: 1, max: fileBlocks }),
);
const step = fc.record({
  kind: fc.constantFrom('insert', 'remove', 'find'),
  from: place,
  length,
  block: fc.nat(100_000),
});

describe('the extent map', () => {
  test.prop([fc.nat({ max: fileBlocks / 2 - 1 }), fc.array(step, { maxLength: 60 })], { numRuns: 60 })(
    'says of every block what a plain table says, however many extents there are',
    (fragments, steps) => {
      const pair = new Pair();
      for (let i = 0; i < fragments; i++) pair.insert(2 * i, 2 * i + 1, 7 * i + 1);
      pair.check();
      for (const { kind, from, length: count, block } of steps) {
        const to = Math.min(from + count, fileBlocks);
        if (kind === 'insert') pair.insert(from, to, block);
        else if (kind === 'remove') pair.remove(from, to);
        else pair.find(from);
      }
      pair.check();
      pair.remove(0, Infinity);
      expect(pair.map.isEmpty).toBe(true);
      expect(pair.map.count).toBe(0);
      pair.check();
    },
  );
});
