/** How what was written to each kind of device comes to survive power loss. */
import { FsError } from '../errors.ts';
import type { BarDevice, DeviceKind } from './device.ts';
import { cacheFlush, type Mapping, syncMapping } from './libc.ts';

/** Bytes [start, end) of a mapping; not empty. */
export interface MappedRange {
  readonly mapping: Mapping;
  readonly start: number;
  readonly end: number;
}

/** Everything written to the ranges before the call is persistent when it settles. @throws FsError EIO */
export type Persist = (ranges: readonly MappedRange[]) => Promise<void>;

/** @throws FsError EOPNOTSUPP where this machine has no means for that kind of device */
export function persistenceOf(kind: DeviceKind, accessWidth: BarDevice['accessWidth'], path: string): Persist {
  switch (kind) {
    case 'tmpfs':
      return async () => {};
    case 'file':
    case 'block': {
      const sync = new FileSync(path);
      return (ranges) => sync.persist(ranges);
    }
    case 'pci':
      return async (ranges) => readBack(ranges, accessWidth);
    case 'devdax': {
      const flush = cacheFlush();
      if (flush === undefined) {
        const detail = 'writing to device-dax needs libpmem to write back the CPU caches: apt-get install libpmem1';
        throw new FsError('EOPNOTSUPP', { path, detail });
      }
      return async (ranges) => {
        for (const { mapping, start, end } of ranges) flush(mapping.address + BigInt(start), end - start);
      };
    }
  }
}

const pageSize = 4096;

/**
 * msync with one round under way and one collecting, so that any number of callers need one call at a time. A round
 * covers everything of a mapping from the first to the last byte asked for: the clean pages between cost nothing.
 */
class FileSync {
  readonly #path: string;
  #collecting: { readonly hulls: Map<Mapping, Hull>; readonly done: Promise<void> } | undefined;
  #last: Promise<void> = Promise.resolve();

  constructor(path: string) {
    this.#path = path;
  }

  persist(ranges: readonly MappedRange[]): Promise<void> {
    this.#collecting ??= this.#openRound();
    const { hulls, done } = this.#collecting;
    for (const { mapping, start, end } of ranges) {
      const hull = hulls.get(mapping) ?? { start, end };
      hulls.set(mapping, { start: Math.min(hull.start, start), end: Math.max(hull.end, end) });
    }
    return done;
  }

  #openRound(): { readonly hulls: Map<Mapping, Hull>; readonly done: Promise<void> } {
    const hulls = new Map<Mapping, Hull>();
    const run = async (): Promise<void> => {
      this.#collecting = undefined;
      for (const [mapping, hull] of hulls) await this.#sync(mapping, hull);
    };
    this.#last = this.#last.then(run, run);
    return { hulls, done: this.#last };
  }

  #sync({ address }: Mapping, { start, end }: Hull): Promise<void> {
    const page = start - (start % pageSize);
    return syncMapping(address + BigInt(page), end - page, { path: this.#path });
  }
}

interface Hull {
  readonly start: number;
  readonly end: number;
}

const ordinaryMemory = new Int32Array(1);

/**
 * Writes to a PCI device are posted; a read of the same device is answered only after they arrived (PCI Express Base
 * Specification §2.4.1). Before that a locked instruction empties the CPU's write-combining buffers (Intel SDM vol. 3,
 * "Buffering of Write Combining Memory Locations"). Atomics, because an optimizer may drop a plain read of no use.
 */
function readBack(ranges: readonly MappedRange[], accessWidth: BarDevice['accessWidth']): void {
  Atomics.add(ordinaryMemory, 0, 1);
  for (const { mapping, end } of ranges) {
    if (accessWidth === 8) Atomics.load(new BigInt64Array(mapping.buffer), Math.floor((end - 1) / 8));
    else Atomics.load(new Int32Array(mapping.buffer), Math.floor((end - 1) / 4));
  }
}
