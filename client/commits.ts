import { wireLimits } from '../mds/protocol/index.ts';
import { type ByteRange, endOf } from './ranges.ts';

/** What one LAYOUTCOMMIT names. */
export interface CommitPart<R extends ByteRange> {
  readonly ranges: readonly R[];
  /** Offset of the last byte written of these ranges; null: it says nothing of the size. */
  readonly last: number | null;
}

/** No request larger than the protocol allows, and each names the last byte written of its own ranges. `ranges` ascend. */
export function* commitsOf<R extends ByteRange>(
  ranges: readonly R[],
  lastWriteOffset: number | undefined,
): Generator<CommitPart<R>> {
  for (let from = 0; from < ranges.length; from += wireLimits.commitRangesMax) {
    const some = ranges.slice(from, from + wireLimits.commitRangesMax);
    yield { ranges: some, last: lastIn(some, lastWriteOffset) };
  }
}

function lastIn(ranges: readonly ByteRange[], lastWriteOffset: number | undefined): number | null {
  if (lastWriteOffset === undefined) return null;
  const last = ranges.findLast(({ offset }) => offset <= lastWriteOffset);
  return last === undefined ? null : Math.min(lastWriteOffset, endOf(last) - 1);
}
