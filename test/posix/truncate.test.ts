/** truncate(2), ftruncate. */
import { describe, expect, test } from 'vitest';
import { O_CREAT, O_RDONLY, O_RDWR, O_WRONLY, S_IFIFO, S_IFMT } from './support/constants.ts';
import { canMount, mounted } from './support/mounted.ts';
import { failsOnBadPaths, failsOnMissing, makeFile } from './support/path-errors.ts';
import { type Caller, must } from './support/process.ts';

const fs = mounted();

async function contentOf(path: string): Promise<Buffer> {
  const fd = await must(fs.root.open(path, O_RDONLY));
  const { size } = await must(fs.root.fstat(fd));
  const content = await must(fs.root.pread(fd, size + 1, 0));
  await must(fs.root.close(fd));
  return content;
}

const ways: readonly (readonly [string, (by: Caller, path: string, length: number) => Promise<unknown>])[] = [
  ['truncate', (by, path, length) => by.truncate(path, length)],
  [
    'ftruncate',
    async (by, path, length) => {
      const fd = await must(by.open(path, O_RDWR));
      const answer = await by.ftruncate(fd, length);
      await must(by.close(fd));
      return answer;
    },
  ],
];

describe.skipIf(!canMount).for(ways)('%s', ([, truncate]) => {
  test('keeps the beginning, and what is added reads as zeros', async () => {
    const dir = await fs.directory();
    const path = `${dir}/file`;
    const content = Buffer.alloc(20_000, 'content ');
    await makeFile(fs.alice, path, 0o644, content.toString());
    for (const length of [20_000, 12_288, 12_287, 4097, 4096, 4095, 1, 0, 5000, 4096, 100_000]) {
      const before = await contentOf(path);
      expect(await truncate(fs.alice, path, length)).toBe(0);
      const expected = Buffer.alloc(length);
      before.copy(expected);
      expect((await contentOf(path)).equals(expected)).toBe(true);
    }
  });

  test('what was cut off never comes back', async () => {
    const dir = await fs.directory();
    const path = `${dir}/file`;
    await makeFile(fs.alice, path, 0o644, 'x'.repeat(8192));
    for (const length of [5000, 4096, 1234]) {
      expect(await truncate(fs.alice, path, length)).toBe(0);
      expect(await truncate(fs.alice, path, 8192)).toBe(0);
      expect((await contentOf(path)).subarray(length).every((byte) => byte === 0)).toBe(true);
    }
  });

  test('growing takes no blocks, shrinking gives them back', async () => {
    const dir = await fs.directory();
    const path = `${dir}/file`;
    await makeFile(fs.alice, path, 0o644, 'x'.repeat(40_960));
    expect(await truncate(fs.alice, path, 100 * 2 ** 30)).toBe(0);
    expect(await fs.root.stat(path)).toMatchObject({ size: 100 * 2 ** 30, blocks: 80 });
    expect(await truncate(fs.alice, path, 8192)).toBe(0);
    expect(await fs.root.stat(path)).toMatchObject({ size: 8192, blocks: 16 });
  });

  test('changes mtime and ctime', async () => {
    const dir = await fs.directory();
    const path = `${dir}/file`;
    await makeFile(fs.alice, path, 0o644, 'content');
    for (const length of [3, 10]) {
      const before = await must(fs.root.stat(path));
      expect(await truncate(fs.alice, path, length)).toBe(0);
      const after = await must(fs.root.stat(path));
      expect(after.mtime).toBeGreaterThan(before.mtime);
      expect(after.ctime).toBeGreaterThanOrEqual(after.mtime);
      expect(after.atime).toBe(before.atime);
    }
  });

  test('takes set-user-ID and set-group-ID, from root not', async () => {
    const dir = await fs.directory();
    const path = `${dir}/file`;
    await makeFile(fs.alice, path, 0o777, 'content');
    const modeAfter = async (by: Caller): Promise<number> => {
      await must(fs.root.chmod(path, 0o6777));
      expect(await truncate(by, path, 3)).toBe(0);
      return (await must(fs.root.stat(path))).mode & ~S_IFMT;
    };
    expect(await modeAfter(fs.bob)).toBe(0o777);
    expect(await modeAfter(fs.alice)).toBe(0o777);
    expect(await modeAfter(fs.root)).toBe(0o6777);
  });

  test('takes set-group-ID without group execution from who is not in the group', async () => {
    const path = `${await fs.directory()}/file`;
    await makeFile(fs.alice, path, 0o666, 'content');
    await must(fs.root.chmod(path, 0o2666));
    expect(await truncate(fs.alice, path, 3)).toBe(0);
    expect((await must(fs.root.stat(path))).mode & ~S_IFMT).toBe(0o2666);
    expect(await truncate(fs.bob, path, 3)).toBe(0);
    expect((await must(fs.root.stat(path))).mode & ~S_IFMT).toBe(0o666);
  });

  test('EINVAL: a negative length', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`);
    expect(await truncate(fs.alice, `${dir}/file`, -1)).toBe('EINVAL');
  });

  test('EFBIG: longer than a file can be', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`, 0o644, 'content');
    expect(await truncate(fs.alice, `${dir}/file`, 2 ** 53)).toBe('EFBIG');
    expect(await truncate(fs.alice, `${dir}/file`, 2 ** 62)).toBe('EFBIG');
    expect(await fs.root.stat(`${dir}/file`)).toMatchObject({ size: 7 });
  });
});

describe.skipIf(!canMount)('truncate', () => {
  failsOnBadPaths(fs, (by, path) => by.truncate(path, 0));
  failsOnMissing(fs, (by, path) => by.truncate(path, 0));

  test('EISDIR, EINVAL: a directory, a fifo', async () => {
    const dir = await fs.directory();
    await must(fs.root.mknod(`${dir}/fifo`, S_IFIFO | 0o644));
    expect(await fs.root.truncate(dir, 0)).toBe('EISDIR');
    expect(await fs.root.truncate(`${dir}/fifo`, 0)).toBe('EINVAL');
  });

  test('EACCES: a file that may not be written', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`, 0o644, 'content');
    expect(await fs.bob.truncate(`${dir}/file`, 0)).toBe('EACCES');
    await must(fs.alice.chmod(`${dir}/file`, 0o444));
    expect(await fs.alice.truncate(`${dir}/file`, 0)).toBe('EACCES');
    expect(await fs.root.truncate(`${dir}/file`, 3)).toBe(0);
  });
});

describe.skipIf(!canMount)('ftruncate', () => {
  test('EINVAL: a descriptor for reading; EBADF: none', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`);
    const fd = await must(fs.alice.open(`${dir}/file`, O_RDONLY));
    expect(await fs.alice.ftruncate(fd, 0)).toBe('EINVAL');
    await must(fs.alice.close(fd));
    expect(await fs.alice.ftruncate(fd, 0)).toBe('EBADF');
  });

  test('works on a descriptor whose file may no longer be written by name', async () => {
    const dir = await fs.directory();
    const fd = await must(fs.alice.open(`${dir}/file`, O_CREAT | O_WRONLY, 0o400));
    expect(await fs.alice.ftruncate(fd, 4321)).toBe(0);
    expect(await fs.root.fstat(fd)).toMatchObject({ size: 4321 });
    await must(fs.alice.close(fd));
  });
});
