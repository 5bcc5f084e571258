import { fc, test } from '@fast-check/vitest';
import { expect } from 'vitest';
import type { FileHandle } from '../../client/index.ts';
import { readAll } from '../support/filesystem.ts';
import { ClientRig, pattern } from './rig.ts';

/** Not a multiple of a block, so that neighbours meet in one. */
const part = 10_007;
const workers = 8;

const task = fc.record({
  at: fc.nat(part - 1),
  length: fc.integer({ min: 1, max: part }),
  seed: fc.nat(1000),
  sync: fc.boolean(),
});

test.prop([fc.array(fc.array(task, { minLength: 5, maxLength: 12 }), { minLength: workers, maxLength: workers })], {
  numRuns: 5,
})(
  'many at once, directly and through the server, each on its own part: nobody loses a byte to another',
  async (plans) => {
    const rig = await ClientRig.start();
    try {
      const direct = await rig.connect();
      const server = await rig.connect({ device: 'none' });
      const clone = await rig.connect();
      const files = [await direct.open('file', 'w+'), await direct.open('file', 'r+'), await server.open('file', 'r+')];
      const model = Buffer.alloc(part * workers);
      await files[0]?.write(model, 0, model.length, 0);
      await files[0]?.sync();

      const run = async (index: number, file: FileHandle): Promise<void> => {
        for (const { at, length, seed, sync } of plans[index] ?? []) {
          const bytes = pattern(length + 3, seed).subarray(0, Math.min(length, part - at));
          const position = index * part + at;
          bytes.copy(model, position);
          await file.write(bytes, 0, bytes.length, position);
          if (sync) await file.sync();
          const mine = Buffer.alloc(part);
          await file.read(mine, 0, part, index * part);
          expect(mine.equals(model.subarray(index * part, (index + 1) * part)), `part ${index}`).toBe(true);
        }
      };
      const running = Array.from({ length: workers }, (_, index) => {
        const file = files[index % files.length];
        return file === undefined ? Promise.resolve() : run(index, file);
      });
      const cloning = (async () => {
        for (let count = 0; count < 5; count++) await clone.clone('file', `clone-${count}`);
      })();
      await Promise.all([...running, cloning]);
      for (const file of files) await file.close();
      const { ino } = await direct.stat('file');
      expect((await readAll(rig.lab.vfs, ino)).equals(model)).toBe(true);
    } finally {
      await rig.stop();
    }
  },
  120_000,
);
