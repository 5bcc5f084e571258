/** Layouts are of whole blocks: half a block can be neither kept nor given back. */
import type { ByteRange } from '../fs/engine/leases.ts';
import { limits } from '../fs/limits.ts';

export const blockDown = (offset: number): number => Math.floor(offset / limits.blockSize) * limits.blockSize;
export const blockUp = (offset: number): number => Math.ceil(offset / limits.blockSize) * limits.blockSize;

/** All blocks that the range touches. */
export function wholeBlocks({ offset, length }: ByteRange): ByteRange {
  const start = blockDown(offset);
  return { offset: start, length: blockUp(offset + length) - start };
}

/** What is left of the range, ascending. */
export function without(range: ByteRange, holes: readonly ByteRange[]): readonly ByteRange[] {
  return holes.reduce<readonly ByteRange[]>(
    (left, hole) =>
      left.flatMap(({ offset, length }) => {
        const [end, start] = [offset + length, hole.offset + hole.length];
        if (start <= offset || end <= hole.offset) return [{ offset, length }];
        const before = { offset, length: hole.offset - offset };
        return [before, { offset: start, length: end - start }].filter((part) => part.length > 0);
      }),
    [range],
  );
}

export function isOfWholeBlocks({ offset, length }: ByteRange): boolean {
  return offset % limits.blockSize === 0 && (length === Infinity || length % limits.blockSize === 0);
}
