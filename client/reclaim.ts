/**
 * What was written under layouts of a server that has restarted (docs/protocol.md §4): the new incarnation of this client
 * says where it lies, before anything else, and it becomes part of the file.
 */
import { operations, type RequestOf, wireLimits } from '../mds/protocol/index.ts';
import type { Uncommitted } from './file-data.ts';
import { LayoutCache, type Written } from './layout-cache.ts';
import { endOf, everything } from './ranges.ts';

export type ReclaimArgs = RequestOf<typeof operations.LAYOUTCOMMIT>;

/** Sends one LAYOUTCOMMIT and answers the new size if it changed. @throws ClientError */
export type SendReclaim = (args: ReclaimArgs) => Promise<number | null>;

/** All of it together. */
export function joined(parts: readonly (Uncommitted | undefined)[]): Uncommitted | undefined {
  const known = parts.filter((part) => part !== undefined);
  if (known.length === 0) return undefined;
  return {
    ranges: known.flatMap(({ ranges }) => ranges),
    lastWriteOffset: Math.max(...known.map(({ lastWriteOffset }) => lastWriteOffset)),
    written: known.flatMap(({ written }) => written),
  };
}

/** In ascending order, and no request larger than the protocol allows: each names the last byte written of its own ranges. */
export function* reclaimsOf(ino: number, { written, lastWriteOffset }: Uncommitted): Generator<ReclaimArgs> {
  const pieces = inOrder(written);
  for (let from = 0; from < pieces.length; from += wireLimits.commitRangesMax) {
    const some = pieces.slice(from, from + wireLimits.commitRangesMax);
    const last = some.findLast(({ offset }) => offset <= lastWriteOffset);
    const lastHere = last === undefined ? null : Math.min(lastWriteOffset, endOf(last) - 1);
    const claims = some.map(({ offset, length, place }): [number, number, number] => [
      offset,
      length,
      place.storageOffset,
    ]);
    yield [ino, null, [], lastHere, null, claims];
  }
}

/** Ascending, each byte once: what was written again lies where it lay. */
function inOrder(written: readonly Written[]): readonly Written[] {
  const cache = new LayoutCache();
  cache.insertWritten(written);
  return cache.written(everything);
}
