import koffi from 'koffi';

const clockGettime: (clock: number, time: Uint8Array) => number = koffi
  .load(null)
  .func('int clock_gettime(int clock, void *time)');

const boottime = 7; // CLOCK_BOOTTIME
const bytes = new Uint8Array(16);
const view = new DataView(bytes.buffer);

/**
 * Milliseconds by which a lease is measured: of CLOCK_BOOTTIME, which goes on while the machine is suspended, as the
 * server's clock on another machine does. That of `performance.now` stands still meanwhile (clock_gettime(2),
 * CLOCK_MONOTONIC), and a client that wakes up would write under a lease that ended hours ago.
 */
export function leaseNow(): number {
  clockGettime(boottime, bytes);
  return view.getUint32(0, true) * 1000 + view.getUint32(8, true) / 1e6;
}
