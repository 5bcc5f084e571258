import { limits } from '../fs/limits.ts';
import { clientLimits } from './limits.ts';
import { aligned, type ByteRange, endOf } from './ranges.ts';

/**
 * What to lease for reading `need` of a file of `size` bytes: the whole file when it is small, since leases of readers do
 * not hurt each other; otherwise the windows that `need` touches.
 */
export function readWindow(need: ByteRange, size: number): ByteRange {
  const unit = clientLimits.readWindow;
  if (size <= unit && endOf(need) <= size) return aligned({ offset: 0, length: size }, limits.blockSize);
  return aligned(need, unit);
}

/**
 * What to lease for writing `need`: the huge pages that it touches, so that the server can allocate aligned and in one
 * piece; twice as much each time while the writes go on where the last lease ended, so that a long sequential write
 * asks a logarithmic number of times, and a small one reserves little.
 */
export function writeWindow(need: ByteRange, last: ByteRange | undefined): ByteRange {
  const pages = aligned(need, clientLimits.writeWindowMin);
  const goesOn = last !== undefined && pages.offset === endOf(last);
  if (!goesOn) return pages;
  const doubled = Math.min(last.length * 2, clientLimits.writeWindowMax);
  return { offset: pages.offset, length: Math.max(pages.length, doubled) };
}

/** Only the blocks themselves: others hold or want what lies around. */
export function exactWindow(need: ByteRange): ByteRange {
  return aligned(need, limits.blockSize);
}
