/** A sample of `npm run exercise`: another seed each time, printed with the shortest script where something differs. */
import { expect, test } from 'vitest';
import { canMount } from '../tools/sandbox.ts';
import { Exerciser, report } from './exerciser.ts';

const seed = Math.floor(Math.random() * 2 ** 31);

test.skipIf(!canMount)(
  `random operations answer as the model and tmpfs do, seed ${seed}`,
  { timeout: 600_000 },
  async () => {
    const exerciser = await Exerciser.start({
      seed,
      count: 750,
      processes: 2,
      driver: 'kernel',
      options: '',
      isRoot: true,
      ends: undefined,
      fsck: true,
      jobs: true,
      shortenMs: 30_000,
      say: () => undefined,
    });
    try {
      const mismatch = await exerciser.round(seed);
      expect(mismatch === undefined ? '' : report(mismatch)).toBe('');
    } finally {
      await exerciser.end();
    }
  },
);
