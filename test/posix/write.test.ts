/** write(2), pwrite(2), read(2), pread(2). */
import { describe, expect, test } from 'vitest';
import { O_CREAT, O_DIRECT, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY, S_IFMT } from './support/constants.ts';
import { canMount, mounted } from './support/mounted.ts';
import { makeFile } from './support/path-errors.ts';
import { type Caller, must } from './support/process.ts';

const fs = mounted();

async function newFile(mode = 0o644): Promise<{ path: string; fd: number }> {
  const dir = await fs.directory();
  const path = `${dir}/file`;
  return { path, fd: await must(fs.alice.open(path, O_CREAT | O_RDWR, mode)) };
}

describe.skipIf(!canMount)('write', () => {
  test('bytes come back as they were written, at any place, in any order', async () => {
    const { fd } = await newFile();
    const expected = Buffer.alloc(3_000_000);
    const pieces = [
      [2_999_000, 1000],
      [0, 1],
      [4095, 2],
      [100_000, 1_500_000],
      [4096, 4096],
      [1_599_999, 4098],
    ] as const;
    for (const [i, [offset, length]] of pieces.entries()) {
      const data = Buffer.alloc(length, i + 1);
      expect(await fs.alice.pwrite(fd, data, offset)).toBe(length);
      data.copy(expected, offset);
    }
    expect((await must(fs.alice.pread(fd, 4_000_000, 0))).equals(expected)).toBe(true);
    for (const [offset, length] of [
      [0, 5000],
      [4094, 3],
      [99_999, 4100],
      [2_998_500, 9000],
    ] as const) {
      const part = await must(fs.alice.pread(fd, length, offset));
      expect(part.equals(expected.subarray(offset, offset + length))).toBe(true);
    }
    await must(fs.alice.close(fd));
  });

  test('goes on where the last one ended, and pwrite leaves that place alone', async () => {
    const { fd } = await newFile();
    expect(await fs.alice.write(fd, 'one')).toBe(3);
    expect(await fs.alice.pwrite(fd, 'XX', 10)).toBe(2);
    expect(await fs.alice.write(fd, 'two')).toBe(3);
    expect(String(await fs.alice.pread(fd, 100, 0))).toBe('onetwo\0\0\0\0XX');
    await must(fs.alice.close(fd));
  });

  test('far behind the end leaves a hole of zeros, which takes no blocks', async () => {
    const { fd } = await newFile();
    const far = 2 ** 42 + 123;
    expect(await fs.alice.pwrite(fd, 'far', far)).toBe(3);
    expect(await fs.root.fstat(fd)).toMatchObject({ size: far + 3, blocks: 8 });
    expect(String(await fs.alice.pread(fd, 10, far - 3))).toBe('\0\0\0far');
    expect(await fs.alice.pread(fd, 4096, 2 ** 41)).toEqual(Buffer.alloc(4096));
    await must(fs.alice.close(fd));
  });

  test('changes mtime and ctime; of nothing changes nothing', async () => {
    const { fd } = await newFile();
    const before = await must(fs.root.fstat(fd));
    await must(fs.alice.write(fd, 'x'));
    const after = await must(fs.root.fstat(fd));
    expect(after.mtime).toBeGreaterThan(before.mtime);
    expect(after.ctime).toBeGreaterThan(before.ctime);
    expect(await fs.alice.write(fd, '')).toBe(0);
    expect(await fs.root.fstat(fd)).toEqual(after);
    await must(fs.alice.close(fd));
  });

  test('EBADF: a descriptor for reading; EISDIR: reading a directory', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`, 0o644, 'content');
    const reader = await must(fs.alice.open(`${dir}/file`, O_RDONLY));
    const writer = await must(fs.alice.open(`${dir}/file`, O_WRONLY));
    const directory = await must(fs.alice.open(dir, O_RDONLY));
    expect(await fs.alice.write(reader, 'x')).toBe('EBADF');
    expect(await fs.alice.read(writer, 1)).toBe('EBADF');
    expect(await fs.alice.read(directory, 1)).toBe('EISDIR');
    for (const fd of [reader, writer, directory]) await must(fs.alice.close(fd));
  });

  test('EINVAL: before the beginning; EFBIG: beyond what a file can be', async () => {
    const { fd } = await newFile();
    expect(await fs.alice.pwrite(fd, 'x', -1)).toBe('EINVAL');
    expect(await fs.alice.pread(fd, 1, -1)).toBe('EINVAL');
    expect(await fs.alice.pwrite(fd, 'x', 2 ** 53)).toBe('EFBIG');
    expect(await fs.alice.pwrite(fd, 'x', 2 ** 62)).toBe('EFBIG');
    expect(await fs.root.fstat(fd)).toMatchObject({ size: 0 });
    await must(fs.alice.close(fd));
  });

  test('what one process writes another reads at once', async () => {
    const { path, fd } = await newFile();
    const other = (await fs.another()).as(fs.bob.identity);
    const reader = await must(other.open(path, O_RDONLY));
    for (const text of ['first', 'second, longer', 'third']) {
      await must(fs.alice.pwrite(fd, text, 0));
      expect(String(await other.pread(reader, text.length, 0))).toBe(text);
    }
    await must(fs.alice.close(fd));
  });
});

describe.skipIf(!canMount)('read', () => {
  test('is short at the end of the file, and there nothing', async () => {
    const { fd } = await newFile();
    await must(fs.alice.write(fd, '0123456789'));
    expect(String(await fs.alice.pread(fd, 100, 7))).toBe('789');
    expect(await fs.alice.pread(fd, 100, 10)).toEqual(Buffer.alloc(0));
    expect(await fs.alice.pread(fd, 100, 2 ** 50)).toEqual(Buffer.alloc(0));
    await must(fs.alice.close(fd));
  });
});

describe.skipIf(!canMount)('set-user-ID and set-group-ID of a file that is written', () => {
  const ways: readonly (readonly [string, (by: Caller, path: string) => Promise<void>])[] = [
    ['write', (by, path) => writeWith(by, path, O_WRONLY)],
    ['direct write', (by, path) => writeWith(by, path, O_WRONLY | O_DIRECT)],
    ['O_TRUNC', async (by, path) => void (await must(by.close(await must(by.open(path, O_WRONLY | O_TRUNC)))))],
  ];

  test.for(ways)('%s: go where the writer is not root, at once for whoever looks', async ([, change]) => {
    const { path, fd } = await newFile();
    await must(fs.alice.write(fd, 'content'));
    await must(fs.alice.close(fd));
    for (const { mode, left } of [
      { mode: 0o6777, left: 0o777 },
      { mode: 0o6766, left: 0o2766 },
      { mode: 0o4755, left: 0o755 },
    ]) {
      await must(fs.root.chmod(path, mode));
      expect((await must(fs.root.mode(path))) & ~S_IFMT).toBe(mode);
      await change(fs.alice, path);
      expect((await must(fs.root.mode(path))) & ~S_IFMT).toBe(left);
      await must(fs.root.chmod(path, mode));
      await change(fs.root, path);
      expect((await must(fs.root.mode(path))) & ~S_IFMT).toBe(mode);
    }
  });

  test.for(ways)('%s: set-group-ID alone goes with a writer outside the group', async ([, change]) => {
    const { path, fd } = await newFile();
    await must(fs.alice.close(fd));
    for (const [mode, left] of [
      [0o6766, 0o766],
      [0o2666, 0o666],
    ] as const) {
      await must(fs.root.chmod(path, mode));
      await change(fs.alice, path);
      expect((await must(fs.root.mode(path))) & 0o2000).toBe(0o2000);
      await change(fs.bob, path);
      expect((await must(fs.root.mode(path))) & ~S_IFMT).toBe(left);
    }
  });

  test('capabilities of the file go', async () => {
    const { path, fd } = await newFile(0o755);
    const capability = Buffer.alloc(20);
    capability.writeUInt32LE(0x0200_0000, 0);
    capability.writeUInt32LE(1 << 13, 4);
    await must(fs.root.setxattr(path, 'security.capability', capability));
    await must(fs.alice.write(fd, 'x'));
    expect(await fs.root.getxattr(path, 'security.capability')).toBe('ENODATA');
    await must(fs.alice.close(fd));
  });
});

async function writeWith(by: Caller, path: string, flags: number): Promise<void> {
  const fd = await must(by.open(path, flags));
  await must(by.write(fd, Buffer.alloc(4096, 1)));
  await must(by.close(fd));
}
