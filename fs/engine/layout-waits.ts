/** Waiting for layouts on several ranges of a file at once, so that their holders are asked together. */
import { limits } from '../limits.ts';
import type { BreakReason, ByteRange, LayoutBreak } from './leases.ts';
import type { Volume } from './volume.ts';
import { LayoutWait } from './wait.ts';

/** @param ranges ascending @throws Wait while holders are being recalled */
export function requireNoLayoutsOn(v: Volume, ino: number, ranges: readonly ByteRange[], reason: BreakReason): void {
  const found = breakAll(v, ino, ranges.length > limits.layoutBreaksMax ? hull(ranges) : ranges, reason);
  if (found.length === 0) return;
  throw new LayoutWait(Promise.all(found.map(({ done }) => done)), () => {
    for (const each of found) each.release();
  });
}

function breakAll(v: Volume, ino: number, ranges: readonly ByteRange[], reason: BreakReason): readonly LayoutBreak[] {
  const found: LayoutBreak[] = [];
  try {
    for (const range of ranges) {
      const each = v.breakLayouts(ino, range, reason);
      if (each !== undefined) found.push(each);
    }
  } catch (error) {
    for (const each of found) each.release();
    throw error;
  }
  return found;
}

function hull(ranges: readonly ByteRange[]): readonly ByteRange[] {
  const [first, last] = [ranges[0], ranges.at(-1)];
  if (first === undefined || last === undefined) return [];
  return [{ offset: first.offset, length: last.offset + last.length - first.offset }];
}
