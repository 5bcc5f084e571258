/** utimensat(2), futimens(3). */
import { describe, expect, test } from 'vitest';
import { AT_SYMLINK_NOFOLLOW, O_RDONLY, UTIME_NOW, UTIME_OMIT } from './support/constants.ts';
import { canMount, mounted } from './support/mounted.ts';
import { failsOnBadPaths, failsOnMissing, makeFile } from './support/path-errors.ts';
import { must } from './support/process.ts';

const fs = mounted();
const now = { nsec: UTIME_NOW };
const omit = { nsec: UTIME_OMIT };
const second = 1_000_000_000n;

describe.skipIf(!canMount)('utimensat', () => {
  failsOnBadPaths(fs, (by, path) => by.utimens(path, 1n, 2n));
  failsOnMissing(fs, (by, path) => by.utimens(path, 1n, 2n));

  test('sets both times to the nanosecond, before 1970 and after 2106 too', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`);
    const times = [0n, 1n, 999_999_999n, 1_234_567_890n * second + 123_456_789n, -1n, -(2n ** 31n) * second + 5n];
    for (const time of [...times, 2n ** 31n * second, 2n ** 32n * second + 999_999_999n, 2n ** 40n * second]) {
      expect(await fs.alice.utimens(`${dir}/file`, time, -time)).toBe(0);
      expect(await fs.root.stat(`${dir}/file`)).toMatchObject({ atime: time, mtime: -time });
    }
  });

  test('ctime becomes now, whatever the others become', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`);
    const before = await must(fs.root.stat(`${dir}/file`));
    await must(fs.alice.utimens(`${dir}/file`, 1n, 2n));
    const after = await must(fs.root.stat(`${dir}/file`));
    expect(after.ctime).toBeGreaterThan(before.ctime);
    expect(after.btime).toBe(before.btime);
  });

  test('UTIME_NOW and UTIME_OMIT, each for itself', async () => {
    const dir = await fs.directory();
    const path = `${dir}/file`;
    await makeFile(fs.alice, path);
    const { btime } = await must(fs.root.stat(path));
    await must(fs.alice.utimens(path, 1n, 2n));
    await must(fs.alice.utimens(path, omit, 3n));
    expect(await fs.root.stat(path)).toMatchObject({ atime: 1n, mtime: 3n });
    await must(fs.alice.utimens(path, 4n, omit));
    expect(await fs.root.stat(path)).toMatchObject({ atime: 4n, mtime: 3n });
    await must(fs.alice.utimens(path, now, omit));
    const half = await must(fs.root.stat(path));
    expect(half).toMatchObject({ atime: half.ctime, mtime: 3n });
    expect(half.atime).toBeGreaterThan(btime);
    await must(fs.alice.utimens(path, omit, now));
    const other = await must(fs.root.stat(path));
    expect(other).toMatchObject({ atime: half.atime, mtime: other.ctime });
  });

  test('both omitted: nothing changes, and no permission is asked for', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`, 0o600);
    const before = await must(fs.root.stat(`${dir}/file`));
    expect(await fs.bob.utimens(`${dir}/file`, omit, omit)).toBe(0);
    expect(await fs.root.stat(`${dir}/file`)).toEqual(before);
  });

  test('the present time is for everybody who may write, or owns the file', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`, 0o606);
    expect(await fs.bob.touch(`${dir}/file`)).toBe(0);
    expect(await fs.bob.utimens(`${dir}/file`, now, now)).toBe(0);
    await must(fs.alice.chmod(`${dir}/file`, 0o604));
    expect(await fs.bob.touch(`${dir}/file`)).toBe('EACCES');
    expect(await fs.bob.utimens(`${dir}/file`, now, now)).toBe('EACCES');
    await must(fs.alice.chmod(`${dir}/file`, 0o400));
    expect(await fs.alice.touch(`${dir}/file`)).toBe(0);
  });

  test('EPERM: any other time is the choice of the owner and of root', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`, 0o666);
    for (const [atime, mtime] of [
      [1n, 2n],
      [now, 2n],
      [1n, now],
      [now, omit],
      [omit, 2n],
    ] as const)
      expect(await fs.bob.utimens(`${dir}/file`, atime, mtime)).toBe('EPERM');
    expect(await fs.root.utimens(`${dir}/file`, 1n, 2n)).toBe(0);
  });

  test('EINVAL: nanoseconds beyond a second', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`);
    expect(await fs.alice.utimens(`${dir}/file`, { nsec: 1_000_000_000 }, now)).toBe('EINVAL');
    expect(await fs.alice.utimens(`${dir}/file`, now, { nsec: -1 })).toBe('EINVAL');
  });

  test('a symbolic link is followed, or not', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`);
    await must(fs.alice.symlink('file', `${dir}/link`));
    expect(await fs.alice.utimens(`${dir}/link`, 1n, 2n, AT_SYMLINK_NOFOLLOW)).toBe(0);
    expect(await fs.alice.utimens(`${dir}/link`, 3n, 4n)).toBe(0);
    expect(await fs.root.lstat(`${dir}/link`)).toMatchObject({ mtime: 2n });
    expect(await fs.root.stat(`${dir}/link`)).toMatchObject({ atime: 3n, mtime: 4n });
  });

  test('directories have times too, and a descriptor is as good as a name', async () => {
    const dir = await fs.directory();
    expect(await fs.root.utimens(dir, 5n, 6n)).toBe(0);
    const fd = await must(fs.root.open(dir, O_RDONLY));
    expect(await fs.root.fstat(fd)).toMatchObject({ atime: 5n, mtime: 6n });
    expect(await fs.root.futimens(fd, 7n, 8n)).toBe(0);
    expect(await fs.root.stat(dir)).toMatchObject({ atime: 7n, mtime: 8n });
    await must(fs.root.close(fd));
  });
});
