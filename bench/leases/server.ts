/**
 * The metadata server as the daemon composes it, in a process of its own that says what memory it takes:
 * `node --expose-gc server.js IMAGE META SOCKET`. The parent asks over the channel of fork(), and ends it.
 */
import { openDevice } from '../../fs/bar/open.ts';
import { openFilesystem } from '../../fs/engine/engine.ts';
import { openLevelStore } from '../../fs/meta/level-store.ts';
import { MetadataServer } from '../../mds/server.ts';
import { withCoherence } from '../../tools/lib/coherence.ts';
import { KernelCaches } from '../../tools/lib/kernel-caches.ts';

const [image = '', meta = '', socket = ''] = process.argv.slice(2);
const device = await openDevice(image, { writable: true, lock: true });
const fs = await openFilesystem({ device, store: await openLevelStore(meta, { create: false }) });
const server = new MetadataServer(withCoherence(fs, new KernelCaches()));
await server.listen(`unix:${socket}`);

/** Bytes in use of the heap, and of what hangs on it outside. */
function inUse(): number {
  // Twice: what only finalizers held goes with the second.
  globalThis.gc?.();
  globalThis.gc?.();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

process.on('message', (message) => {
  if (message === 'memory') process.send?.(inUse());
});
process.once('disconnect', () => {
  void server
    .close()
    .then(() => fs.close())
    .then(() => process.exit());
});
process.send?.('listening');
