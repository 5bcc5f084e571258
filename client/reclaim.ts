/**
 * What was written under layouts of a server that has restarted (docs/protocol.md §4): the new incarnation of this client
 * says where it lies, before anything else, and it becomes part of the file.
 */
import type { operations, RequestOf } from '../mds/protocol/index.ts';
import { commitsOf } from './commits.ts';
import type { Uncommitted } from './file-data.ts';
import { LayoutCache, type Written } from './layout-cache.ts';
import { everything } from './ranges.ts';

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

export function* reclaimsOf(ino: number, { written, lastWriteOffset }: Uncommitted): Generator<ReclaimArgs> {
  for (const { ranges, last } of commitsOf(inOrder(written), lastWriteOffset)) {
    const claims = ranges.map(({ offset, length, place }): [number, number, number] => [
      offset,
      length,
      place.storageOffset,
    ]);
    yield [ino, null, [], last, null, claims];
  }
}

/** Ascending, each byte once: what was written again lies where it lay. */
function inOrder(written: readonly Written[]): readonly Written[] {
  const cache = new LayoutCache();
  cache.insertWritten(written);
  return cache.written(everything);
}
