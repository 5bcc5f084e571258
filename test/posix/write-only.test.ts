/** Descriptors that only write (open(2), O_WRONLY) beside others that read the same file, by read(2) or in memory. */
import { describe, expect, test } from 'vitest';
import {
  MAP_SHARED,
  O_APPEND,
  O_CREAT,
  O_RDONLY,
  O_RDWR,
  O_WRONLY,
  PROT_READ,
  PROT_WRITE,
} from './support/constants.ts';
import { canMount, mounted } from './support/mounted.ts';
import { type Caller, must } from './support/process.ts';

const page = 4096;
const size = 4 * page;

describe.each(['rw', 'direct_io'])('on a mount with -o %s', (options) => {
  const fs = mounted({ options });

  /** A file of `a`, with a writer and a reader that were opened in this order. */
  async function opened(order: 'writer first' | 'reader first', other: Caller) {
    const path = `${await fs.directory()}/file`;
    const made = await must(fs.alice.open(path, O_CREAT | O_WRONLY, 0o644));
    await must(fs.alice.write(made, Buffer.alloc(size, 'a')));
    await must(fs.alice.close(made));
    const openReader = (): Promise<number> => must(other.open(path, O_RDWR));
    const early = order === 'reader first' ? await openReader() : undefined;
    const writer = await must(fs.alice.open(path, O_WRONLY));
    return { path, writer, reader: early ?? (await openReader()) };
  }
  const otherProcess = async (): Promise<Caller> => (await fs.another()).as(fs.alice.identity);

  describe.skipIf(!canMount).for(['writer first', 'reader first'] as const)('O_WRONLY, the %s', (order) => {
    test('read(2) of another process shows what was written, at once', async () => {
      const other = await otherProcess();
      const { writer, reader } = await opened(order, other);
      for (let round = 0; round < 20; round++) {
        const text = `round ${String(round).padStart(3)}`;
        const at = page - 4 + round * 100;
        await must(fs.alice.pwrite(writer, text, at));
        expect(String(await other.pread(reader, text.length, at))).toBe(text);
        expect(String(await other.pread(reader, 2, at + text.length))).toBe('aa');
      }
      await must(fs.alice.close(writer));
      await must(other.close(reader));
    });

    test('a mapping shows what was written, and what is stored to it beside that stays', async () => {
      const other = await otherProcess();
      const { path, writer, reader } = await opened(order, other);
      const address = await must(other.mmap(size, PROT_READ | PROT_WRITE, MAP_SHARED, reader));
      for (let round = 0; round < 20; round++) {
        const [stored, written] = [`stored ${round}`, `written ${round}`];
        await other.poke(address + page, stored);
        await must(fs.alice.pwrite(writer, written, page + 100));
        expect(String(await other.peek(address + page + 100, written.length))).toBe(written);
        expect(String(await other.peek(address + page, stored.length))).toBe(stored);
      }
      await must(other.munmap(address, size));
      await must(fs.alice.close(writer));
      await must(other.close(reader));
      const again = await must(fs.alice.open(path, O_RDONLY));
      expect(String(await fs.alice.pread(again, 9, page))).toBe('stored 19');
      expect(String(await fs.alice.pread(again, 10, page + 100))).toBe('written 19');
      await must(fs.alice.close(again));
    });
  });

  test.skipIf(!canMount)('what two processes append a reader follows, line by line', async () => {
    const other = await otherProcess();
    const path = `${await fs.directory()}/log`;
    const mine = await must(fs.alice.open(path, O_CREAT | O_WRONLY | O_APPEND, 0o644));
    const theirs = await must(other.open(path, O_WRONLY | O_APPEND));
    const reader = await must(fs.alice.open(path, O_RDONLY));
    let expected = '';
    for (let round = 0; round < 30; round++) {
      await must(fs.alice.write(mine, `mine ${round}\n`));
      await must(other.write(theirs, `theirs ${round}\n`));
      const both = `mine ${round}\ntheirs ${round}\n`;
      expect(String(await fs.alice.pread(reader, 1000, expected.length))).toBe(both);
      expected += both;
    }
    expect(String(await fs.alice.pread(reader, 10_000, 0))).toBe(expected);
    for (const fd of [mine, reader]) await must(fs.alice.close(fd));
    await must(other.close(theirs));
  });

  test.skipIf(!canMount)('writes of any size and place come back as they were, from memory at any place', async () => {
    const path = `${await fs.directory()}/file`;
    const writer = await must(fs.alice.open(path, O_CREAT | O_WRONLY, 0o644));
    const expected = Buffer.alloc(3_500_000);
    const pieces = [
      [1, 3_400_000],
      [page - 1, 2],
      [1_048_576, 1_048_576],
      [1_048_577, 2_097_153],
      [3_499_999, 1],
    ] as const;
    for (const [number, [offset, length]] of pieces.entries()) {
      // A view that begins anywhere but on a page.
      const data = Buffer.alloc(length + 37, number + 1).subarray(37);
      expect(await fs.alice.pwrite(writer, data, offset)).toBe(length);
      data.copy(expected, offset);
    }
    const reader = await must(fs.alice.open(path, O_RDONLY));
    expect((await must(fs.alice.pread(reader, 4_000_000, 0))).equals(expected)).toBe(true);
    for (const fd of [writer, reader]) await must(fs.alice.close(fd));
  });
});
