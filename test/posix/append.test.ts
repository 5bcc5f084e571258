/** open(2) with O_APPEND. */
import { describe, expect, test } from 'vitest';
import {
  MAP_SHARED,
  MS_SYNC,
  O_APPEND,
  O_CREAT,
  O_DIRECT,
  O_RDWR,
  O_WRONLY,
  PROT_READ,
  PROT_WRITE,
  SEEK_CUR,
  SEEK_SET,
} from './support/constants.ts';
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

    test('a mapping is written back to where it maps, not to the end', async () => {
      const dir = await fs.directory();
      const fd = await must(fs.alice.open(`${dir}/file`, O_CREAT | O_APPEND | O_RDWR, 0o644));
      await must(fs.alice.write(fd, Buffer.alloc(3 * 4096, 'a')));
      const address = await must(fs.alice.mmap(8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
      await fs.alice.poke(address + 4000, 'mapped');
      await must(fs.alice.msync(address, 8192, MS_SYNC));
      await must(fs.alice.munmap(address, 8192));
      await must(fs.alice.close(fd));
      await fs.remount(...(options === 'rw' ? [] : ['-o', options]));
      const again = await must(fs.alice.open(`${dir}/file`, O_RDWR));
      const content = await must(fs.alice.pread(again, 100_000, 0));
      await must(fs.alice.close(again));
      expect(content.length).toBe(3 * 4096);
      expect(String(content.subarray(3999, 4007))).toBe('amappeda');
    });

    test('fcntl(2) F_SETFL takes it from an open file, and gives it', async () => {
      const dir = await fs.directory();
      const fd = await must(fs.alice.open(`${dir}/file`, O_CREAT | O_APPEND | O_RDWR, 0o644));
      await must(fs.alice.write(fd, 'content'));
      expect(await fs.alice.setFlags(fd, 0)).toBe(0);
      await must(fs.alice.pwrite(fd, 'C', 0));
      expect(await fs.alice.setFlags(fd, O_APPEND)).toBe(0);
      await must(fs.alice.pwrite(fd, '!', 0));
      expect(String(await fs.alice.pread(fd, 100, 0))).toBe('Content!');
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
