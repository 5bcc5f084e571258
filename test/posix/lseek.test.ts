/** lseek(2), with SEEK_DATA and SEEK_HOLE. */
import { describe, expect, test } from 'vitest';
import {
  FALLOC_KEEP_SIZE,
  FALLOC_PUNCH_HOLE,
  MS_SYNC,
  O_CREAT,
  O_RDWR,
  S_IFIFO,
  SEEK_CUR,
  SEEK_DATA,
  SEEK_END,
  SEEK_HOLE,
  SEEK_SET,
} from './support/constants.ts';
import { canMount, mounted } from './support/mounted.ts';
import { must } from './support/process.ts';

const fs = mounted();

async function newFile(): Promise<number> {
  const dir = await fs.directory();
  return must(fs.alice.open(`${dir}/file`, O_CREAT | O_RDWR, 0o644));
}

describe.skipIf(!canMount)('lseek', () => {
  test('sets, moves, and counts from the end, also past it', async () => {
    const fd = await newFile();
    await must(fs.alice.write(fd, '0123456789'));
    expect(await fs.alice.lseek(fd, 4, SEEK_SET)).toBe(4);
    expect(await fs.alice.lseek(fd, 2, SEEK_CUR)).toBe(6);
    expect(String(await fs.alice.read(fd, 2))).toBe('67');
    expect(await fs.alice.lseek(fd, -3, SEEK_END)).toBe(7);
    expect(await fs.alice.lseek(fd, 100, SEEK_END)).toBe(110);
    expect(await fs.root.fstat(fd)).toMatchObject({ size: 10 });
    expect(await fs.alice.read(fd, 10)).toEqual(Buffer.alloc(0));
    await must(fs.alice.write(fd, 'x'));
    expect(await fs.root.fstat(fd)).toMatchObject({ size: 111 });
    expect(await fs.alice.lseek(fd, 2 ** 40, SEEK_SET)).toBe(2 ** 40);
    await must(fs.alice.close(fd));
  });

  test('SEEK_END sees what another process wrote', async () => {
    const fd = await newFile();
    const path = `/proc/${fs.process.pid}/fd/${fd}`;
    const other = (await fs.another()).as(fs.root.identity);
    const theirs = await must(other.open(path, O_RDWR));
    await must(other.write(theirs, 'twelve bytes'));
    expect(await fs.alice.lseek(fd, 0, SEEK_END)).toBe(12);
    await must(other.ftruncate(theirs, 5));
    expect(await fs.alice.lseek(fd, 0, SEEK_END)).toBe(5);
    await must(fs.alice.close(fd));
  });

  test('SEEK_DATA and SEEK_HOLE find each other', async () => {
    const fd = await newFile();
    // Data in blocks 2, 3 and 8; the file ends within block 12.
    await must(fs.alice.pwrite(fd, Buffer.alloc(8192, 1), 8192));
    await must(fs.alice.pwrite(fd, Buffer.alloc(100, 1), 33_000));
    await must(fs.alice.ftruncate(fd, 50_000));
    const cases = [
      [0, SEEK_DATA, 8192],
      [0, SEEK_HOLE, 0],
      [8192, SEEK_DATA, 8192],
      [8192, SEEK_HOLE, 16_384],
      [10_000, SEEK_DATA, 10_000],
      [10_000, SEEK_HOLE, 16_384],
      [16_384, SEEK_DATA, 32_768],
      [20_000, SEEK_HOLE, 20_000],
      [33_050, SEEK_HOLE, 36_864],
      [36_864, SEEK_DATA, 'ENXIO'],
      [36_864, SEEK_HOLE, 36_864],
      [49_999, SEEK_HOLE, 49_999],
    ] as const;
    for (const [offset, whence, expected] of cases) expect(await fs.alice.lseek(fd, offset, whence)).toBe(expected);
    await must(fs.alice.close(fd));
  });

  test('the end of a full file is a hole', async () => {
    const fd = await newFile();
    await must(fs.alice.write(fd, 'content'));
    expect(await fs.alice.lseek(fd, 3, SEEK_HOLE)).toBe(7);
    expect(await fs.alice.lseek(fd, 3, SEEK_DATA)).toBe(3);
    await must(fs.alice.close(fd));
  });

  test('blocks without data are a hole, and so is what was punched', async () => {
    const fd = await newFile();
    await must(fs.alice.fallocate(fd, 0, 0, 40_960));
    expect(await fs.alice.lseek(fd, 0, SEEK_DATA)).toBe('ENXIO');
    expect(await fs.alice.lseek(fd, 5000, SEEK_HOLE)).toBe(5000);
    await must(fs.alice.pwrite(fd, Buffer.alloc(12_288, 1), 8192));
    await must(fs.alice.fallocate(fd, FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE, 12_288, 4096));
    expect(await fs.alice.lseek(fd, 0, SEEK_DATA)).toBe(8192);
    expect(await fs.alice.lseek(fd, 8192, SEEK_HOLE)).toBe(12_288);
    expect(await fs.alice.lseek(fd, 12_288, SEEK_DATA)).toBe(16_384);
    expect(await fs.alice.lseek(fd, 16_384, SEEK_HOLE)).toBe(20_480);
    await must(fs.alice.close(fd));
  });

  test('what a mapping has written, and msync brought here, is data', async () => {
    const fd = await newFile();
    await must(fs.alice.ftruncate(fd, 40_960));
    const address = await must(fs.alice.mmap(40_960, 3, 1, fd));
    await fs.alice.poke(address + 8192, 'mapped');
    await must(fs.alice.msync(address, 40_960, MS_SYNC));
    expect(await fs.alice.lseek(fd, 0, SEEK_DATA)).toBe(8192);
    await must(fs.alice.munmap(address, 40_960));
    await must(fs.alice.close(fd));
  });

  test('ENXIO: at or past the end, or before it begins', async () => {
    const fd = await newFile();
    await must(fs.alice.write(fd, 'content'));
    for (const whence of [SEEK_DATA, SEEK_HOLE]) {
      for (const offset of [7, 8, 2 ** 40, -1]) expect(await fs.alice.lseek(fd, offset, whence)).toBe('ENXIO');
    }
    await must(fs.alice.close(fd));
  });

  test('EINVAL: before the beginning, and a whence that nobody knows', async () => {
    const fd = await newFile();
    expect(await fs.alice.lseek(fd, -1, SEEK_SET)).toBe('EINVAL');
    expect(await fs.alice.lseek(fd, -1, SEEK_END)).toBe('EINVAL');
    expect(await fs.alice.lseek(fd, 0, 17)).toBe('EINVAL');
    await must(fs.alice.close(fd));
    expect(await fs.alice.lseek(fd, 0, SEEK_SET)).toBe('EBADF');
  });

  test('ESPIPE: a fifo', async () => {
    const dir = await fs.directory();
    await must(fs.alice.mknod(`${dir}/fifo`, S_IFIFO | 0o600));
    const fd = await must(fs.alice.open(`${dir}/fifo`, O_RDWR));
    expect(await fs.alice.lseek(fd, 0, SEEK_SET)).toBe('ESPIPE');
    await must(fs.alice.close(fd));
  });
});
