/** One-sided access by libfabric: what every engine must do, and what keys, timeouts and the end of a client are good for. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TransferTimeout } from '../../client/dma/engine.ts';
import { dmaConformance } from './dma-conformance.ts';
import { pattern } from './rig.ts';
import { missing, RmaTarget, wholeImage } from './rma-lab.ts';

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

for (const provider of ['tcp', 'shm'] as const) {
  const reason = missing(provider);

  describe.skipIf(reason !== undefined)(`keys by ${provider}${reason === undefined ? '' : `: ${reason}`}`, () => {
    test('a wrong key moves nothing, ends what is under way, and the next transfer attaches anew', async () => {
      const lab = target.lab(provider, true, 5_000);
      try {
        await lab.poke(0, pattern(8192, 1));
        lab.spoilKeys = true;
        await lab.grant('write');
        const bytes = pattern(8192, 2);
        const failed = await lab.engine.write(0, bytes).catch((error: unknown) => error);
        expect(failed).toMatchObject({ code: provider === 'shm' ? 'ETIMEDOUT' : 'EIO' });
        if (failed instanceof TransferTimeout) await failed.over;
        expect(Buffer.compare(await lab.peek(0, 8192), pattern(8192, 1))).toBe(0);

        lab.spoilKeys = false;
        await lab.engine.write(0, bytes);
        expect(Buffer.compare(await lab.peek(0, 8192), bytes)).toBe(0);
      } finally {
        await lab.end();
      }
    });

    test('a key for reading does not write', async () => {
      const lab = target.lab(provider, true, 500);
      try {
        await lab.poke(0, pattern(4096, 3));
        lab.claimWritable = true;
        await lab.engine.prepare(wholeImage(true));
        await expect(lab.engine.write(0, pattern(4096, 4))).rejects.toThrow();
        expect(Buffer.compare(await lab.peek(0, 4096), pattern(4096, 3))).toBe(0);
      } finally {
        await lab.end();
      }
    });

    test('a key of another client does not help', async () => {
      const [one, other] = [target.lab(provider), target.lab(provider, true, 500)];
      try {
        await one.poke(0, pattern(4096, 5));
        await one.grant('write');
        await one.engine.write(0, pattern(4096, 6));
        other.borrowed = one.lastKey;
        await other.grant('write');
        await expect(other.engine.write(0, pattern(4096, 7))).rejects.toThrow();
        expect(Buffer.compare(await one.peek(0, 4096), pattern(4096, 6))).toBe(0);
      } finally {
        await one.end();
        await other.end();
      }
    });

    test('when the keys of a client are revoked its transfers fail, those of others do not', async () => {
      const [fenced, other] = [target.lab(provider, true, 5_000), target.lab(provider)];
      try {
        await fenced.grant('write');
        await other.grant('write');
        await fenced.engine.write(0, pattern(4096, 8));
        expect(await target.keys.revoke(fenced.client)).toBe(true);
        await expect(fenced.engine.write(0, pattern(4096, 9))).rejects.toThrow();
        expect(Buffer.compare(await fenced.peek(0, 4096), pattern(4096, 8))).toBe(0);
        await other.engine.write(0, pattern(4096, 10));
        expect(Buffer.compare(await fenced.peek(0, 4096), pattern(4096, 10))).toBe(0);
      } finally {
        await fenced.end();
        await other.end();
      }
    });
  });
}
