/** `client/dma/mmap.ts`: the device, as the process that runs can reach it. */
import type { SynchronousEngine } from '../../../client/dma/engine.ts';
import { engineOf } from '../memory.ts';

export { MmapEngine } from '../../../client/dma/mmap.ts';

export function openMmapEngine(): Promise<SynchronousEngine> {
  return Promise.resolve(engineOf());
}
