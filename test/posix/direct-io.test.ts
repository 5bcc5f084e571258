/** open(2) with O_DIRECT: around the page cache, and in agreement with it. */
import { describe, expect, test } from 'vitest';
import { O_CREAT, O_DIRECT, O_RDWR } from './support/constants.ts';
import { canMount, mounted } from './support/mounted.ts';
import { must } from './support/process.ts';

describe.each(['rw', 'direct_io'])('on a mount with -o %s', (options) => {
  const fs = mounted({ options });

  async function pair(): Promise<{ direct: number; cached: number; close: () => Promise<void> }> {
    const dir = await fs.directory();
    const [direct, cached] = [
      await must(fs.alice.open(`${dir}/file`, O_CREAT | O_RDWR | O_DIRECT, 0o644)),
      await must(fs.alice.open(`${dir}/file`, O_RDWR)),
    ];
    const close = async (): Promise<void> => {
      for (const fd of [direct, cached]) await must(fs.alice.close(fd));
    };
    return { direct, cached, close };
  }

  describe.skipIf(!canMount)('direct I/O', () => {
    test('and cached I/O see each other, block by block', async () => {
      const { direct, cached, close } = await pair();
      await must(fs.alice.pwrite(cached, Buffer.alloc(65_536, 'c'), 0));
      expect((await must(fs.alice.pread(direct, 65_536, 0))).equals(Buffer.alloc(65_536, 'c'))).toBe(true);
      await must(fs.alice.pwrite(direct, Buffer.alloc(8192, 'd'), 16_384));
      const expected = Buffer.alloc(65_536, 'c').fill('d', 16_384, 24_576);
      expect((await must(fs.alice.pread(cached, 65_536, 0))).equals(expected)).toBe(true);
      await close();
    });

    test('of any offset, length and buffer', async () => {
      const { direct, cached, close } = await pair();
      const expected = Buffer.alloc(100_000);
      for (const [i, [offset, length]] of (
        [
          [0, 100_000],
          [1, 511],
          [4095, 4098],
          [99_000, 1000],
        ] as const
      ).entries()) {
        expect(await fs.alice.pwrite(direct, Buffer.alloc(length, i + 1), offset)).toBe(length);
        expected.fill(i + 1, offset, offset + length);
      }
      expect((await must(fs.alice.pread(cached, 200_000, 0))).equals(expected)).toBe(true);
      expect((await must(fs.alice.pread(direct, 5001, 3333))).equals(expected.subarray(3333, 8334))).toBe(true);
      await close();
    });

    test('of megabytes in one call', async () => {
      const { direct, close } = await pair();
      const data = Buffer.from(Array.from({ length: 6 << 20 }, (_, i) => (i >> 12) & 0xff));
      expect(await fs.alice.pwrite(direct, data, 12_345)).toBe(data.length);
      expect((await must(fs.alice.pread(direct, data.length, 12_345))).equals(data)).toBe(true);
      await close();
    });

    test('ends at the end of the file, and reads holes as zeros', async () => {
      const { direct, close } = await pair();
      await must(fs.alice.pwrite(direct, 'end', 20_000));
      expect((await must(fs.alice.pread(direct, 65_536, 0))).length).toBe(20_003);
      expect(await fs.alice.pread(direct, 4096, 8192)).toEqual(Buffer.alloc(4096));
      expect(await fs.alice.pread(direct, 4096, 24_576)).toEqual(Buffer.alloc(0));
      await close();
    });
  });
});
