/**
 * Arithmetic of half-open byte ranges [start, end). `end` may be Infinity: to the end of the file and beyond. No range
 * is empty; what would be empty is undefined, or missing from a list.
 */
import { limits } from './limits.ts';

export interface Range {
  readonly start: number;
  readonly end: number;
}

/**
 * The range of a request, or undefined where the protocol says INVAL (RFC 8881 §18.43.3): a length of zero, or an end
 * above the largest offset. A length of Infinity stands for NFS4_UINT64_MAX.
 */
export function rangeOf(offset: number, length: number): Range | undefined {
  if (!Number.isSafeInteger(offset) || offset < 0) return undefined;
  if (length === Infinity) return { start: offset, end: Infinity };
  if (!Number.isSafeInteger(length) || length <= 0 || length > limits.offsetMax - offset) return undefined;
  return { start: offset, end: offset + length };
}

export function lengthOf(range: Range): number {
  return range.end - range.start;
}

export function overlap(a: Range, b: Range): boolean {
  return a.start < b.end && b.start < a.end;
}

export function contains(outer: Range, inner: Range): boolean {
  return outer.start <= inner.start && inner.end <= outer.end;
}

export function intersect(a: Range, b: Range): Range | undefined {
  const start = Math.max(a.start, b.start);
  const end = Math.min(a.end, b.end);
  return start < end ? { start, end } : undefined;
}

/** What is left of `from` without `holes`, which ascend by start and may overlap each other. */
export function subtract(from: Range, holes: Iterable<Range>): Range[] {
  const left: Range[] = [];
  let start = from.start;
  for (const hole of holes) {
    if (hole.start >= from.end) break;
    if (hole.start > start) left.push({ start, end: hole.start });
    start = Math.max(start, hole.end);
  }
  if (start < from.end) left.push({ start, end: from.end });
  return left;
}
