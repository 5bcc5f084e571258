/** fallocate(2), posix_fallocate(3). */
import { describe, expect, test } from 'vitest';
import {
  FALLOC_COLLAPSE_RANGE,
  FALLOC_INSERT_RANGE,
  FALLOC_KEEP_SIZE,
  FALLOC_PUNCH_HOLE,
  FALLOC_ZERO_RANGE,
  O_CREAT,
  O_RDONLY,
  O_RDWR,
  S_IFIFO,
  S_IFMT,
} from './support/constants.ts';
import { canMount, mounted } from './support/mounted.ts';
import { makeFile } from './support/path-errors.ts';
import { must } from './support/process.ts';

const fs = mounted();
const punch = FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE;

/** A new file of alice's, open: 20 000 bytes, none of them zero. */
async function filled(): Promise<number> {
  const dir = await fs.directory();
  const fd = await must(fs.alice.open(`${dir}/file`, O_CREAT | O_RDWR, 0o644));
  await must(fs.alice.write(fd, content));
  return fd;
}
const content = Buffer.alloc(20_000, 'content ');

describe.skipIf(!canMount)('fallocate', () => {
  test('gives blocks that read as zeros, and lengthens the file', async () => {
    const fd = await filled();
    expect(await fs.alice.fallocate(fd, 0, 10_000, 100_000)).toBe(0);
    const stat = await must(fs.root.fstat(fd));
    expect(stat).toMatchObject({ size: 110_000, blocks: 27 * 8 });
    const read = await must(fs.alice.pread(fd, 110_000, 0));
    expect(read.subarray(0, 20_000).equals(content)).toBe(true);
    expect(read.subarray(20_000).every((byte) => byte === 0)).toBe(true);
    await must(fs.alice.close(fd));
  });

  test('FALLOC_FL_KEEP_SIZE gives blocks beyond the end, which a write there finds', async () => {
    const fd = await filled();
    expect(await fs.alice.fallocate(fd, FALLOC_KEEP_SIZE, 0, 100_000)).toBe(0);
    expect(await fs.root.fstat(fd)).toMatchObject({ size: 20_000, blocks: 25 * 8 });
    await must(fs.alice.pwrite(fd, 'far', 90_000));
    expect(await fs.root.fstat(fd)).toMatchObject({ size: 90_003, blocks: 25 * 8 });
    expect((await must(fs.alice.pread(fd, 70_000, 20_000))).every((byte) => byte === 0)).toBe(true);
    await must(fs.alice.close(fd));
  });

  test.for([
    ['whole blocks', 4096, 8192, 2],
    ['parts of one block', 5000, 1000, 0],
    ['over block borders', 3000, 10_000, 2],
    ['to the end', 4096, 20_000, 4],
    ['beyond the end', 30_000, 5000, 0],
    ['everything', 0, 100_000, 5],
  ] as const)('FALLOC_FL_PUNCH_HOLE zeroes %s, and frees the blocks', async ([, offset, length, freed]) => {
    const fd = await filled();
    const before = await must(fs.root.fstat(fd));
    expect(await fs.alice.fallocate(fd, punch, offset, length)).toBe(0);
    const expected = Buffer.from(content);
    expected.fill(0, Math.min(offset, content.length), Math.min(offset + length, content.length));
    expect((await must(fs.alice.pread(fd, 30_000, 0))).equals(expected)).toBe(true);
    expect(await fs.root.fstat(fd)).toMatchObject({ size: 20_000, blocks: before.blocks - freed * 8 });
    await must(fs.alice.close(fd));
  });

  test.for([
    ['inside', 3000, 10_000, 0, 20_000],
    ['past the end', 15_000, 20_000, 0, 35_000],
    ['past the end, the size kept', 15_000, 20_000, FALLOC_KEEP_SIZE, 20_000],
  ] as const)('FALLOC_FL_ZERO_RANGE zeroes %s, and keeps the blocks', async ([, offset, length, keep, size]) => {
    const fd = await filled();
    expect(await fs.alice.fallocate(fd, FALLOC_ZERO_RANGE | keep, offset, length)).toBe(0);
    const expected = Buffer.alloc(size);
    content.copy(expected);
    expected.fill(0, offset, Math.min(offset + length, size));
    expect((await must(fs.alice.pread(fd, 50_000, 0))).equals(expected)).toBe(true);
    const stat = await must(fs.root.fstat(fd));
    expect(stat.size).toBe(size);
    expect(stat.blocks).toBeGreaterThanOrEqual(Math.ceil((offset + length) / 4096) * 8);
    await must(fs.alice.close(fd));
  });

  test('what other descriptors and mappings have cached follows', async () => {
    const fd = await filled();
    const other = await must(fs.alice.open(`/proc/self/fd/${fd}`, O_RDONLY));
    const address = await must(fs.alice.mmap(20_000, 1, 1, other));
    expect((await fs.alice.peek(address, 20_000)).equals(content)).toBe(true);
    await must(fs.alice.fallocate(fd, punch, 4000, 5000));
    const expected = Buffer.from(content).fill(0, 4000, 9000);
    expect((await fs.alice.peek(address, 20_000)).equals(expected)).toBe(true);
    expect((await must(fs.alice.pread(other, 20_000, 0))).equals(expected)).toBe(true);
    await must(fs.alice.munmap(address, 20_000));
    for (const each of [fd, other]) await must(fs.alice.close(each));
  });

  test('changes ctime; mtime where data changed', async () => {
    const fd = await filled();
    const before = await must(fs.root.fstat(fd));
    await must(fs.alice.fallocate(fd, punch, 0, 4096));
    const after = await must(fs.root.fstat(fd));
    expect(after.ctime).toBeGreaterThan(before.ctime);
    expect(after.mtime).toBeGreaterThan(before.mtime);
    await must(fs.alice.close(fd));
  });

  test('takes set-user-ID', async () => {
    const fd = await filled();
    for (const mode of [0, punch, FALLOC_ZERO_RANGE]) {
      await must(fs.root.fchmod(fd, 0o6777));
      await must(fs.alice.fallocate(fd, mode, 0, 4096));
      expect((await must(fs.root.fstat(fd))).mode & ~S_IFMT).toBe(0o777);
    }
    await must(fs.alice.close(fd));
  });

  test('takes set-group-ID without group execution from who is not in the group', async () => {
    const path = `${await fs.directory()}/file`;
    await makeFile(fs.alice, path, 0o666, 'content');
    const fd = await must(fs.bob.open(path, O_RDWR));
    for (const mode of [0, punch, FALLOC_ZERO_RANGE]) {
      await must(fs.root.chmod(path, 0o2666));
      await must(fs.bob.fallocate(fd, mode, 0, 4096));
      expect((await must(fs.root.stat(path))).mode & ~S_IFMT).toBe(0o666);
    }
    await must(fs.bob.close(fd));
  });

  test('EOPNOTSUPP: a hole with a new size, and modes that FUSE does not know', async () => {
    const fd = await filled();
    for (const mode of [FALLOC_PUNCH_HOLE, FALLOC_COLLAPSE_RANGE, FALLOC_INSERT_RANGE, 0x80])
      expect(await fs.alice.fallocate(fd, mode, 0, 4096)).toBe('EOPNOTSUPP');
    await must(fs.alice.close(fd));
  });

  test('EINVAL: a negative offset, no length', async () => {
    const fd = await filled();
    for (const [offset, length] of [
      [-1, 10],
      [0, 0],
      [0, -1],
    ] as const)
      expect(await fs.alice.fallocate(fd, 0, offset, length)).toBe('EINVAL');
    await must(fs.alice.close(fd));
  });

  test('EFBIG: beyond what a file can be', async () => {
    const fd = await filled();
    expect(await fs.alice.fallocate(fd, 0, 2 ** 53, 4096)).toBe('EFBIG');
    await must(fs.alice.close(fd));
  });

  test('ENOSPC: more than there is, and nothing of it is kept', async () => {
    const fd = await filled();
    const before = await must(fs.root.fstat(fd));
    for (const mode of [0, FALLOC_KEEP_SIZE, FALLOC_ZERO_RANGE])
      expect(await fs.alice.fallocate(fd, mode, 0, 1 << 30)).toBe('ENOSPC');
    expect(await fs.root.fstat(fd)).toMatchObject({ size: before.size, blocks: before.blocks });
    expect((await must(fs.alice.pread(fd, 20_000, 0))).equals(content)).toBe(true);
    await must(fs.alice.close(fd));
  });

  test('EBADF, ESPIPE, ENODEV: a descriptor for reading, a fifo, a directory', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`);
    await must(fs.alice.mknod(`${dir}/fifo`, S_IFIFO | 0o600));
    const file = await must(fs.alice.open(`${dir}/file`, O_RDONLY));
    const fifo = await must(fs.alice.open(`${dir}/fifo`, O_RDWR));
    expect(await fs.alice.fallocate(file, 0, 0, 4096)).toBe('EBADF');
    expect(await fs.alice.fallocate(fifo, 0, 0, 4096)).toBe('ESPIPE');
    for (const each of [file, fifo]) await must(fs.alice.close(each));
  });
});

describe.skipIf(!canMount)('posix_fallocate', () => {
  test('guarantees room; lengthens only', async () => {
    const fd = await filled();
    expect(await fs.alice.posixFallocate(fd, 0, 10_000)).toBe(0);
    expect(await fs.root.fstat(fd)).toMatchObject({ size: 20_000 });
    expect(await fs.alice.posixFallocate(fd, 0, 1 << 20)).toBe(0);
    expect(await fs.root.fstat(fd)).toMatchObject({ size: 1 << 20, blocks: 2048 });
    expect(await fs.alice.posixFallocate(fd, 0, 1 << 30)).toBe('ENOSPC');
    await must(fs.alice.close(fd));
  });
});
