/** readv(2), writev(2), and preadv2(2), pwritev2(2) with their flags. */
import { describe, expect, test } from 'vitest';
import {
  MAP_ANONYMOUS,
  MAP_PRIVATE,
  O_APPEND,
  O_CREAT,
  O_RDONLY,
  O_RDWR,
  O_WRONLY,
  PROT_READ,
  PROT_WRITE,
  RWF_APPEND,
  RWF_DSYNC,
  RWF_NOWAIT,
  SEEK_CUR,
  SEEK_SET,
} from './support/constants.ts';
import { canMount, filesystems, mounted } from './support/mounted.ts';
import { must } from './support/process.ts';
import { encodeVectors } from './support/structs.ts';

const fs = mounted();
const memory = 1 << 20;

/** Where buffers lie: apart from each other, with a page between that stays as it is. */
async function buffers(): Promise<number> {
  return must(fs.alice.mmap(memory, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1));
}

describe.skipIf(!canMount).each(filesystems)('vectors on %s', (filesystem) => {
  test('are gathered into the file and scattered from it, in order', async () => {
    const dir = await fs.directoryOn(filesystem);
    const at = await buffers();
    const fd = await must(fs.alice.open(`${dir}/file`, O_CREAT | O_RDWR, 0o644));
    const parts = [1, 0, 4095, 4096, 4097, 10_000].map((length, i) => ({ address: at + i * 65_536, length }));
    for (const [i, { address, length }] of parts.entries()) await fs.alice.poke(address, Buffer.alloc(length, 97 + i));
    const total = parts.reduce((sum, { length }) => sum + length, 0);
    expect(await fs.alice.pwritev2(fd, encodeVectors(parts), -1, 0)).toBe(total);
    expect(await fs.alice.lseek(fd, 0, SEEK_CUR)).toBe(total);
    const expected = Buffer.concat(parts.map(({ length }, i) => Buffer.alloc(length, 97 + i)));
    expect((await must(fs.alice.pread(fd, total + 1, 0))).equals(expected)).toBe(true);

    const into = parts.map(({ address, length }) => ({ address: address + 20_000, length }));
    expect(await fs.alice.preadv2(fd, encodeVectors(into), 0, 0)).toBe(total);
    for (const [i, { address, length }] of into.entries())
      expect((await fs.alice.peek(address, length)).equals(Buffer.alloc(length, 97 + i))).toBe(true);
    // Short at the end of the file.
    expect(await fs.alice.preadv2(fd, encodeVectors(into), total - 10, 0)).toBe(10);
    expect(await fs.alice.preadv2(fd, encodeVectors(into), total, 0)).toBe(0);
    await must(fs.alice.munmap(at, memory));
    await must(fs.alice.close(fd));
  });

  test('RWF_APPEND writes at the end, and leaves the position where it is', async () => {
    const dir = await fs.directoryOn(filesystem);
    const at = await buffers();
    await fs.alice.poke(at, 'end');
    const fd = await must(fs.alice.open(`${dir}/file`, O_CREAT | O_RDWR, 0o644));
    await must(fs.alice.write(fd, 'beginning '));
    await must(fs.alice.lseek(fd, 2, SEEK_SET));
    expect(await fs.alice.pwritev2(fd, encodeVectors([{ address: at, length: 3 }]), 0, RWF_APPEND)).toBe(3);
    expect(await fs.alice.lseek(fd, 0, SEEK_CUR)).toBe(2);
    expect(String(await fs.alice.pread(fd, 100, 0))).toBe('beginning end');
    await must(fs.alice.munmap(at, memory));
    await must(fs.alice.close(fd));
  });

  test('RWF_DSYNC writes as ever; RWF_NOWAIT does all, or says that it would have to wait, or that there is no such thing', async () => {
    const dir = await fs.directoryOn(filesystem);
    const at = await buffers();
    await fs.alice.poke(at, 'data');
    const fd = await must(fs.alice.open(`${dir}/file`, O_CREAT | O_RDWR, 0o644));
    const vectors = encodeVectors([{ address: at, length: 4 }]);
    expect(await fs.alice.pwritev2(fd, vectors, 0, RWF_DSYNC)).toBe(4);
    expect([4, 'EAGAIN', 'EOPNOTSUPP']).toContain(await fs.alice.preadv2(fd, vectors, 0, RWF_NOWAIT));
    expect([4, 'EAGAIN', 'EOPNOTSUPP']).toContain(await fs.alice.pwritev2(fd, vectors, 0, RWF_NOWAIT));
    expect(String(await fs.alice.pread(fd, 100, 0))).toBe('data');
    await must(fs.alice.munmap(at, memory));
    await must(fs.alice.close(fd));
  });

  test('EBADF, EINVAL, EFAULT, EOPNOTSUPP', async () => {
    const dir = await fs.directoryOn(filesystem);
    const at = await buffers();
    const writer = await must(fs.alice.open(`${dir}/file`, O_CREAT | O_WRONLY, 0o644));
    const reader = await must(fs.alice.open(`${dir}/file`, O_RDONLY));
    const one = encodeVectors([{ address: at, length: 8 }]);
    expect(await fs.alice.preadv2(writer, one, 0, 0)).toBe('EBADF');
    expect(await fs.alice.pwritev2(reader, one, 0, 0)).toBe('EBADF');
    expect(await fs.alice.pwritev2(writer, encodeVectors([{ address: at, length: -1 }]), 0, 0)).toBe('EINVAL');
    const many = encodeVectors(Array.from({ length: 1025 }, () => ({ address: at, length: 1 })));
    expect(await fs.alice.pwritev2(writer, many, 0, 0)).toBe('EINVAL');
    expect(await fs.alice.pwritev2(writer, one, -2, 0)).toBe('EINVAL');
    expect(await fs.alice.pwritev2(writer, one, 0, 1 << 30)).toBe('EOPNOTSUPP');
    expect(await fs.alice.pwritev2(writer, encodeVectors([{ address: 4096, length: 8 }]), 0, 0)).toBe('EFAULT');
    expect(await fs.root.fstat(writer)).toMatchObject({ size: 0 });
    expect(await fs.alice.pwritev2(writer, one.subarray(0, 0), 0, 0)).toBe(0);
    await must(fs.alice.write(writer, 'content!'));
    expect(await fs.alice.preadv2(reader, encodeVectors([{ address: 4096, length: 8 }]), 0, 0)).toBe('EFAULT');
    const appender = await must(fs.alice.open(`${dir}/file`, O_WRONLY | O_APPEND));
    expect(await fs.alice.pwritev2(appender, one, 0, 0)).toBe(8);
    expect(await fs.root.fstat(writer)).toMatchObject({ size: 16 });
    await must(fs.alice.munmap(at, memory));
    for (const fd of [writer, reader, appender]) await must(fs.alice.close(fd));
  });
});
