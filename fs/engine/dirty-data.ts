/**
 * Bytes of the device that were written and may not be persistent yet. Every group makes them so before its records are
 * written (G3), and so does a sync of the data of one file.
 */
import type { BarDevice } from '../bar/device.ts';
import { limits } from '../limits.ts';

interface Range {
  offset: number;
  length: number;
}

export class DirtyData {
  readonly #device: BarDevice;
  readonly #onFailure: (error: unknown) => void;
  /** Merged where they continue each other. */
  #ranges: Range[] = [];
  /** Settles when all that was taken from the ranges is persistent; stays when it failed (G5). */
  #persisting: Promise<void> | undefined;

  /** @param onFailure something could not be made persistent, and nothing is from then on */
  constructor(device: BarDevice, onFailure: (error: unknown) => void) {
    this.#device = device;
    this.#onFailure = onFailure;
  }

  wrote(offset: number, length: number): void {
    if (this.#device.kind === 'tmpfs') return;
    const last = this.#ranges.at(-1);
    if (last !== undefined && last.offset <= offset && offset <= last.offset + last.length) {
      last.length = Math.max(last.length, offset + length - last.offset);
    } else {
      this.#ranges.push({ offset, length });
    }
  }

  /** Settles when everything written so far is persistent, also what somebody else is about; undefined: it is. */
  persist(): Promise<void> | undefined {
    if (this.#ranges.length === 0) return this.#persisting;
    const ranges = this.#ranges;
    this.#ranges = [];
    const persisting = both(this.#persisting, persistAll(this.#device, ranges));
    this.#persisting = persisting;
    persisting.then(
      () => {
        if (this.#persisting === persisting) this.#persisting = undefined;
      },
      (error: unknown) => this.#onFailure(error),
    );
    return persisting;
  }
}

async function both(before: Promise<void> | undefined, after: Promise<void>): Promise<void> {
  await Promise.all([before, after]);
}

/** Sorted and merged, so that neighbours cost one call. */
async function persistAll(device: BarDevice, ranges: Range[]): Promise<void> {
  ranges.sort((a, b) => a.offset - b.offset);
  let current: Range | undefined;
  for (const range of ranges) {
    // A gap of less than a huge page is cheaper to include than another call.
    if (current !== undefined && range.offset <= current.offset + current.length + limits.hugePage) {
      current.length = Math.max(current.length, range.offset + range.length - current.offset);
    } else {
      if (current !== undefined) await device.persist(current.offset, current.length);
      current = { ...range };
    }
  }
  if (current !== undefined) await device.persist(current.offset, current.length);
}
