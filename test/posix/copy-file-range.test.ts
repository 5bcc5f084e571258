/** copy_file_range(2), and sendfile(2) into a file. */
import { describe, expect, test } from 'vitest';
import { O_APPEND, O_CREAT, O_RDONLY, O_RDWR, O_WRONLY, S_IFIFO, S_IFMT, SEEK_CUR } from './support/constants.ts';
import { canMount, mounted } from './support/mounted.ts';
import { must } from './support/process.ts';

const fs = mounted();
const content = Buffer.from(Array.from({ length: 40_000 }, (_, i) => (i * 7 + (i >> 8)) & 0xff));

interface Pair {
  readonly dir: string;
  readonly from: number;
  readonly to: number;
}

/** Two files of alice's, open: one full, one empty. */
async function pair(): Promise<Pair> {
  const dir = await fs.directory();
  const [from, to] = [
    await must(fs.alice.open(`${dir}/from`, O_CREAT | O_RDWR, 0o644)),
    await must(fs.alice.open(`${dir}/to`, O_CREAT | O_RDWR, 0o644)),
  ];
  await must(fs.alice.pwrite(from, content, 0));
  return { dir, from, to };
}

async function close({ from, to }: Pair): Promise<void> {
  for (const fd of [from, to]) await must(fs.alice.close(fd));
}

/** Goes on until all is copied, as callers have to. */
async function copyAll(p: Pair, fromOffset: number, toOffset: number, length: number): Promise<number> {
  let done = 0;
  while (done < length) {
    const copied = await must(fs.alice.copyFileRange(p.from, fromOffset + done, p.to, toOffset + done, length - done));
    if (copied === 0) break;
    done += copied;
  }
  return done;
}

describe.skipIf(!canMount)('copy_file_range', () => {
  test.for([
    ['everything', 0, 0, 40_000],
    ['whole blocks', 4096, 8192, 16_384],
    ['bytes at odd places', 1234, 777, 20_001],
    ['behind a hole', 0, 100_000, 12_345],
    ['one byte', 39_999, 4095, 1],
  ] as const)('copies %s', async ([, fromOffset, toOffset, length]) => {
    const p = await pair();
    expect(await copyAll(p, fromOffset, toOffset, length)).toBe(length);
    const expected = Buffer.alloc(toOffset + length);
    content.copy(expected, toOffset, fromOffset, fromOffset + length);
    expect((await must(fs.alice.pread(p.to, 200_000, 0))).equals(expected)).toBe(true);
    await close(p);
  });

  test('overwrites, and leaves what is beside it', async () => {
    const p = await pair();
    await must(fs.alice.pwrite(p.to, Buffer.alloc(30_000, 'x'), 0));
    expect(await copyAll(p, 5000, 10_000, 10_000)).toBe(10_000);
    const expected = Buffer.alloc(30_000, 'x');
    content.copy(expected, 10_000, 5000, 15_000);
    expect((await must(fs.alice.pread(p.to, 40_000, 0))).equals(expected)).toBe(true);
    await close(p);
  });

  test('copy and original part where either is written', async () => {
    const p = await pair();
    expect(await copyAll(p, 0, 0, 40_000)).toBe(40_000);
    await must(fs.alice.pwrite(p.from, 'original', 5000));
    await must(fs.alice.pwrite(p.to, 'the copy', 9000));
    const [from, to] = [await must(fs.alice.pread(p.from, 50_000, 0)), await must(fs.alice.pread(p.to, 50_000, 0))];
    const [expectedFrom, expectedTo] = [Buffer.from(content), Buffer.from(content)];
    expectedFrom.write('original', 5000);
    expectedTo.write('the copy', 9000);
    expect([from.equals(expectedFrom), to.equals(expectedTo)]).toEqual([true, true]);
    await close(p);
  });

  test('takes what the page cache and a mapping hold', async () => {
    const p = await pair();
    const address = await must(fs.alice.mmap(40_000, 3, 1, p.from));
    await fs.alice.poke(address + 8192, 'mapped');
    const seen = await must(fs.alice.mmap(40_000, 1, 1, p.to));
    expect(await copyAll(p, 0, 0, 40_000)).toBe(40_000);
    expect((await fs.alice.peek(seen + 8192, 6)).toString()).toBe('mapped');
    expect(String(await fs.alice.pread(p.to, 6, 8192))).toBe('mapped');
    for (const at of [address, seen]) await must(fs.alice.munmap(at, 40_000));
    await close(p);
  });

  test('moves the offsets of the descriptors only where none are given', async () => {
    const p = await pair();
    expect(await fs.alice.copyFileRange(p.from, undefined, p.to, 0, 1000)).toBe(1000);
    expect(await fs.alice.lseek(p.from, 0, SEEK_CUR)).toBe(1000);
    expect(await fs.alice.lseek(p.to, 0, SEEK_CUR)).toBe(0);
    expect(await fs.alice.copyFileRange(p.from, undefined, p.to, undefined, 1000)).toBe(1000);
    expect((await must(fs.alice.pread(p.to, 1000, 0))).equals(content.subarray(1000, 2000))).toBe(true);
    await close(p);
  });

  test('stops at the end of the source', async () => {
    const p = await pair();
    expect(await copyAll(p, 39_000, 0, 10_000)).toBe(1000);
    expect(await fs.alice.copyFileRange(p.from, 40_000, p.to, 0, 10)).toBe(0);
    expect(await fs.alice.copyFileRange(p.from, 2 ** 40, p.to, 0, 10)).toBe(0);
    expect(await fs.root.fstat(p.to)).toMatchObject({ size: 1000 });
    await close(p);
  });

  test('within one file, where the ranges do not meet', async () => {
    const p = await pair();
    expect(await fs.alice.copyFileRange(p.from, 0, p.from, 20_000, 20_000)).toBeGreaterThan(0);
    expect(await fs.alice.copyFileRange(p.from, 0, p.from, 4096, 8192)).toBe('EINVAL');
    expect(await fs.alice.copyFileRange(p.from, 4096, p.from, 0, 8192)).toBe('EINVAL');
    await close(p);
  });

  test('changes mtime and ctime of the target, and takes its set-user-ID', async () => {
    const p = await pair();
    await must(fs.root.fchmod(p.to, 0o6777));
    const before = await must(fs.root.fstat(p.to));
    expect(await copyAll(p, 0, 0, 40_000)).toBe(40_000);
    const after = await must(fs.root.fstat(p.to));
    expect(after.mode & ~S_IFMT).toBe(0o777);
    expect(after.mtime).toBeGreaterThan(before.mtime);
    expect(after.ctime).toBeGreaterThan(before.ctime);
    await close(p);
  });

  test('EBADF: not open for reading, for writing, or open for appending', async () => {
    const p = await pair();
    const reader = await must(fs.alice.open(`${p.dir}/to`, O_RDONLY));
    const writer = await must(fs.alice.open(`${p.dir}/to`, O_WRONLY));
    const appender = await must(fs.alice.open(`${p.dir}/to`, O_WRONLY | O_APPEND));
    expect(await fs.alice.copyFileRange(p.from, 0, reader, 0, 10)).toBe('EBADF');
    expect(await fs.alice.copyFileRange(writer, 0, p.from, 0, 10)).toBe('EBADF');
    expect(await fs.alice.copyFileRange(p.from, 0, appender, 0, 10)).toBe('EBADF');
    for (const fd of [reader, writer, appender]) await must(fs.alice.close(fd));
    await close(p);
  });

  test('EISDIR, EINVAL: a directory, a fifo, flags', async () => {
    const p = await pair();
    await must(fs.alice.mknod(`${p.dir}/fifo`, S_IFIFO | 0o600));
    const directory = await must(fs.alice.open(p.dir, O_RDONLY));
    const fifo = await must(fs.alice.open(`${p.dir}/fifo`, O_RDWR));
    expect(await fs.alice.copyFileRange(directory, 0, p.to, 0, 10)).toBe('EISDIR');
    expect(await fs.alice.copyFileRange(fifo, undefined, p.to, 0, 10)).toBe('EINVAL');
    expect(await fs.alice.copyFileRange(p.from, 0, p.to, 0, 10, 1)).toBe('EINVAL');
    for (const fd of [directory, fifo]) await must(fs.alice.close(fd));
    await close(p);
  });

  test('EFBIG: beyond what a file can be', async () => {
    const p = await pair();
    expect(await fs.alice.copyFileRange(p.from, 0, p.to, 2 ** 53, 10)).toBe('EFBIG');
    await close(p);
  });
});

describe.skipIf(!canMount)('sendfile', () => {
  test('copies to another file from where both stand', async () => {
    const p = await pair();
    expect(await fs.alice.sendfile(p.to, p.from, 40_000)).toBe(40_000);
    expect((await must(fs.alice.pread(p.to, 50_000, 0))).equals(content)).toBe(true);
    await close(p);
  });
});
