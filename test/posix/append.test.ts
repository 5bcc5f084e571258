/** open(2) with O_APPEND. */
import { describe, expect, test } from 'vitest';
import { O_APPEND, O_CREAT, O_DIRECT, O_RDWR, O_WRONLY, SEEK_CUR, SEEK_SET } from './support/constants.ts';
import { canMount, mounted } from './support/mounted.ts';
import { must } from './support/process.ts';

describe.each(['rw', 'direct_io'])('on a mount with -o %s', (options) => {
  const fs = mounted({ options });

  describe.skipIf(!canMount)('O_APPEND', () => {
    test('every write goes to the end, wherever the descriptor stands', async () => {
      const dir = await fs.directory();
      const fd = await must(fs.alice.open(`${dir}/file`, O_CREAT | O_APPEND | O_RDWR, 0o644));
      await must(fs.alice.write(fd, 'one '));
      await must(fs.alice.lseek(fd, 0, SEEK_SET));
      expect(String(await fs.alice.read(fd, 2))).toBe('on');
      await must(fs.alice.write(fd, 'two '));
      expect(await fs.alice.lseek(fd, 0, SEEK_CUR)).toBe(8);
      // Linux appends even with pwrite (pwrite(2), BUGS).
      await must(fs.alice.pwrite(fd, 'three', 0));
      expect(String(await fs.alice.pread(fd, 100, 0))).toBe('one two three');
      await must(fs.alice.close(fd));
    });

    test('goes on after a truncation, at the new end', async () => {
      const dir = await fs.directory();
      const fd = await must(fs.alice.open(`${dir}/file`, O_CREAT | O_APPEND | O_RDWR, 0o644));
      await must(fs.alice.write(fd, 'long text'));
      await must(fs.alice.truncate(`${dir}/file`, 4));
      await must(fs.alice.write(fd, '!'));
      expect(String(await fs.alice.pread(fd, 100, 0))).toBe('long!');
      await must(fs.alice.close(fd));
    });

    test.for([
      ['through the cache', 0],
      ['directly', O_DIRECT],
    ] as const)('lines of several processes, written %s, are all there and none is torn', async ([, flags]) => {
      const dir = await fs.directory();
      const writers = await Promise.all(
        ['a', 'b', 'c'].map(async (letter, i) => ({ letter, by: (await fs.another(i + 1)).as(fs.alice.identity) })),
      );
      await Promise.all(
        writers.map(async ({ letter, by }) => {
          const fd = await must(by.open(`${dir}/log`, O_CREAT | O_APPEND | O_WRONLY | flags, 0o644));
          for (let i = 0; i < 100; i++) await must(by.write(fd, `${letter.repeat(97)}-${i % 10}\n`));
          await must(by.close(fd));
        }),
      );
      const fd = await must(fs.alice.open(`${dir}/log`, O_RDWR));
      const lines = String(await fs.alice.pread(fd, 1 << 20, 0))
        .split('\n')
        .slice(0, -1);
      await must(fs.alice.close(fd));
      expect(lines).toHaveLength(300);
      for (const { letter } of writers) {
        const own = lines.filter((line) => line.startsWith(letter));
        expect(own).toEqual(Array.from({ length: 100 }, (_, i) => `${letter.repeat(97)}-${i % 10}`));
      }
    });
  });
});
