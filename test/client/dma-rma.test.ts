/** One-sided access by libfabric: what every engine must do, and what keys, timeouts and the end of a client are good for. */
import { afterAll, beforeAll, test } from 'vitest';
import { dmaConformance } from './dma-conformance.ts';
import { missing, RmaTarget } from './rma-lab.ts';

let target: RmaTarget;
beforeAll(async () => {
  target = await RmaTarget.start();
});
afterAll(() => target.stop());

for (const provider of ['tcp', 'shm'] as const) {
  const reason = missing(provider);
  if (reason === undefined) dmaConformance(`rma by ${provider}`, async (writable) => target.lab(provider, writable));
  else test.skip(`rma by ${provider}: ${reason}`);
}
