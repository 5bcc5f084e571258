/**
 * What the daemon's heap may hold besides what lives. V8 lets a heap grow up to fourfold before it looks for garbage,
 * which is quick while there is little; but once the caches of names and inodes are full, all that they let go is garbage
 * of the old generation: after a walk over a million files four fifths of the memory were that.
 */
import { constants, type PerformanceEntry, PerformanceObserver } from 'node:perf_hooks';
import { memoryUsage } from 'node:process';
import { setFlagsFromString } from 'node:v8';

/** Bytes that live from which on the heap grows by this many percent between collections. */
const large = 48 * 2 ** 20;
const growthPercent = 30;

export function boundHeapGrowth(): void {
  const observer = new PerformanceObserver((list) => {
    const major = list.getEntries().some(isMajor);
    if (!major || memoryUsage().heapUsed < large) return;
    setFlagsFromString(`--heap-growing-percent=${growthPercent}`);
    observer.disconnect();
  });
  observer.observe({ entryTypes: ['gc'] });
}

function isMajor(entry: PerformanceEntry): boolean {
  const detail: unknown = Reflect.get(entry, 'detail');
  const kind: unknown = typeof detail === 'object' && detail !== null ? Reflect.get(detail, 'kind') : undefined;
  return kind === constants.NODE_PERFORMANCE_GC_MAJOR;
}
