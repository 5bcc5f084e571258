/** mmap(2), msync(2): files in memory. */
import { describe, expect, test } from 'vitest';
import {
  FALLOC_KEEP_SIZE,
  FALLOC_PUNCH_HOLE,
  MAP_PRIVATE,
  MAP_SHARED,
  MS_ASYNC,
  MS_SYNC,
  O_CREAT,
  O_DIRECT,
  O_RDONLY,
  O_RDWR,
  PROT_READ,
  PROT_WRITE,
} from './support/constants.ts';
import { canMount, mounted } from './support/mounted.ts';
import { must } from './support/process.ts';

describe.each(['rw', 'direct_io'])('on a mount with -o %s', (options) => {
  const fs = mounted({ options });
  const both = PROT_READ | PROT_WRITE;
  const size = 40_000;
  const content = Buffer.alloc(size, 'content ');

  async function filled(flags = 0): Promise<{ path: string; fd: number }> {
    const dir = await fs.directory();
    const path = `${dir}/file`;
    const fd = await must(fs.alice.open(path, O_CREAT | O_RDWR | flags, 0o644));
    await must(fs.alice.pwrite(fd, content, 0));
    return { path, fd };
  }

  describe.skipIf(!canMount)('a shared mapping', () => {
    test.for([
      ['of a file', 0],
      ['of a file open for direct I/O', O_DIRECT],
    ] as const)('%s: writes and reads by either way see each other', async ([, flags]) => {
      const { fd } = await filled(flags);
      const address = await must(fs.alice.mmap(size, both, MAP_SHARED, fd));
      expect((await fs.alice.peek(address, size)).equals(content)).toBe(true);
      await must(fs.alice.pwrite(fd, Buffer.alloc(4096, 'w'), 8192));
      expect((await fs.alice.peek(address + 8192, 4096)).equals(Buffer.alloc(4096, 'w'))).toBe(true);
      await fs.alice.poke(address + 16_384, 'by the mapping');
      expect(String(await fs.alice.pread(fd, 14, 16_384))).toBe('by the mapping');
      await must(fs.alice.munmap(address, size));
      await must(fs.alice.close(fd));
    });

    test('two processes share it', async () => {
      const { path, fd } = await filled();
      const other = (await fs.another()).as(fs.alice.identity);
      const theirs = await must(other.open(path, O_RDWR));
      const [mine, their] = [
        await must(fs.alice.mmap(size, both, MAP_SHARED, fd)),
        await must(other.mmap(size, both, MAP_SHARED, theirs)),
      ];
      await fs.alice.poke(mine + 5000, 'hello');
      expect(String(await other.peek(their + 5000, 5))).toBe('hello');
      await other.poke(their + 5000, 'world');
      expect(String(await fs.alice.peek(mine + 5000, 5))).toBe('world');
      await must(fs.alice.munmap(mine, size));
      await must(fs.alice.close(fd));
    });

    test('written back by msync, it outlives a remount', async () => {
      const { path, fd } = await filled();
      const address = await must(fs.alice.mmap(size, both, MAP_SHARED, fd));
      await fs.alice.poke(address + 12_000, 'durable');
      expect(await fs.alice.msync(address, size, MS_ASYNC)).toBe(0);
      expect(await fs.alice.msync(address, size, MS_SYNC)).toBe(0);
      await must(fs.alice.munmap(address, size));
      await must(fs.alice.close(fd));
      await fs.remount();
      const again = await must(fs.alice.open(path, O_RDONLY));
      expect(String(await fs.alice.pread(again, 7, 12_000))).toBe('durable');
      await must(fs.alice.close(again));
    });

    test('changes mtime and ctime', async () => {
      const { fd } = await filled();
      const address = await must(fs.alice.mmap(size, both, MAP_SHARED, fd));
      const before = await must(fs.root.fstat(fd));
      await fs.alice.poke(address, 'changed');
      await must(fs.alice.msync(address, size, MS_SYNC));
      const after = await must(fs.root.fstat(fd));
      expect(after.mtime).toBeGreaterThan(before.mtime);
      expect(after.ctime).toBeGreaterThan(before.ctime);
      await must(fs.alice.munmap(address, size));
      await must(fs.alice.close(fd));
    });

    test('lives on when the file is closed and its name removed', async () => {
      const { path, fd } = await filled();
      const address = await must(fs.alice.mmap(size, both, MAP_SHARED, fd));
      await must(fs.alice.close(fd));
      await must(fs.alice.unlink(path));
      await fs.alice.poke(address + 20_000, 'still here');
      await must(fs.alice.msync(address, size, MS_SYNC));
      const expected = Buffer.from(content);
      expected.write('still here', 20_000);
      expect((await fs.alice.peek(address, size)).equals(expected)).toBe(true);
      await must(fs.alice.munmap(address, size));
    });

    test('behind the end of the file, in its last page, is zeros, and stays out of the file', async () => {
      const { fd } = await filled();
      const address = await must(fs.alice.mmap(40_960, both, MAP_SHARED, fd));
      expect((await fs.alice.peek(address + size, 960)).every((byte) => byte === 0)).toBe(true);
      await fs.alice.poke(address + size, 'beyond');
      await must(fs.alice.msync(address, 40_960, MS_SYNC));
      await must(fs.alice.munmap(address, 40_960));
      expect(await fs.root.fstat(fd)).toMatchObject({ size });
      await must(fs.alice.ftruncate(fd, 40_960));
      expect((await must(fs.alice.pread(fd, 960, size))).every((byte) => byte === 0)).toBe(true);
      await must(fs.alice.close(fd));
    });

    test('follows truncation and holes', async () => {
      const { fd } = await filled();
      const address = await must(fs.alice.mmap(size, both, MAP_SHARED, fd));
      await fs.alice.peek(address, size);
      await must(fs.alice.fallocate(fd, FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE, 4096, 4096));
      expect((await fs.alice.peek(address + 4096, 4096)).every((byte) => byte === 0)).toBe(true);
      await must(fs.alice.ftruncate(fd, 10_000));
      await must(fs.alice.ftruncate(fd, size));
      const expected = Buffer.from(content).fill(0, 4096, 8192).fill(0, 10_000);
      expect((await fs.alice.peek(address, size)).equals(expected)).toBe(true);
      await must(fs.alice.munmap(address, size));
      await must(fs.alice.close(fd));
    });

    test('past the end of the file is SIGBUS', async () => {
      const { path, fd } = await filled();
      const doomed = (await fs.another()).as(fs.alice.identity);
      const theirs = await must(doomed.open(path, O_RDWR));
      const address = await must(doomed.mmap(size, both, MAP_SHARED, theirs));
      await must(fs.alice.ftruncate(fd, 4096));
      await expect(doomed.peek(address + 8192, 1)).rejects.toThrow('SIGBUS');
      await must(fs.alice.close(fd));
    });
  });

  describe.skipIf(!canMount)('a private mapping', () => {
    test('keeps its writes to itself', async () => {
      const { fd } = await filled();
      const address = await must(fs.alice.mmap(size, both, MAP_PRIVATE, fd));
      await fs.alice.poke(address, 'private');
      expect((await must(fs.alice.pread(fd, size, 0))).equals(content)).toBe(true);
      await must(fs.alice.munmap(address, size));
      await must(fs.alice.close(fd));
    });
  });

  describe.skipIf(!canMount)('mmap', () => {
    test('EACCES: writable and shared, of a file open for reading; ENODEV: of a directory', async () => {
      const { path, fd } = await filled();
      const reader = await must(fs.alice.open(path, O_RDONLY));
      const directory = await must(fs.alice.open(path.replace('/file', ''), O_RDONLY));
      expect(await fs.alice.mmap(size, both, MAP_SHARED, reader)).toBe('EACCES');
      expect(await fs.alice.mmap(4096, PROT_READ, MAP_SHARED, directory)).toBe('ENODEV');
      for (const each of [fd, reader, directory]) await must(fs.alice.close(each));
    });
  });
});
