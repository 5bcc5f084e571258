/** open(2) with O_TMPFILE, and linkat(2) of what it made. */
import { describe, expect, test } from 'vitest';
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_SYMLINK_FOLLOW,
  O_EXCL,
  O_RDONLY,
  O_RDWR,
  O_TMPFILE,
  O_WRONLY,
  S_IFREG,
} from './support/constants.ts';
import { canMount, mounted } from './support/mounted.ts';
import { failsOnBadPaths, failsOnMissing, makeFile } from './support/path-errors.ts';
import { must } from './support/process.ts';

const fs = mounted();

describe.skipIf(!canMount)('O_TMPFILE', () => {
  failsOnBadPaths(fs, (by, path) => by.open(path, O_TMPFILE | O_RDWR, 0o600));
  failsOnMissing(fs, (by, path) => by.open(path, O_TMPFILE | O_RDWR, 0o600));

  test('makes a file that no name leads to', async () => {
    const dir = await fs.directory();
    const before = await must(fs.root.stat(dir));
    const fd = await must(fs.alice.open(dir, O_TMPFILE | O_RDWR, 0o666));
    expect(await fs.root.fstat(fd)).toMatchObject({ nlink: 0, size: 0, uid: 4001, gid: 4001, mode: S_IFREG | 0o644 });
    expect(await fs.root.stat(dir)).toEqual(before);
    await must(fs.alice.write(fd, 'content'));
    expect(String(await fs.alice.pread(fd, 100, 0))).toBe('content');
    const names = await must(fs.alice.open(dir, O_RDONLY));
    expect((await must(fs.alice.getdents(names))).map((entry) => entry.name)).toEqual(['.', '..']);
    for (const each of [fd, names]) await must(fs.alice.close(each));
  });

  test('linkat gives it a name, and a file like any other', async () => {
    const dir = await fs.directory();
    const fd = await must(fs.alice.open(dir, O_TMPFILE | O_RDWR, 0o600));
    await must(fs.alice.write(fd, 'content'));
    expect(await fs.alice.linkat(AT_FDCWD, `/proc/self/fd/${fd}`, `${dir}/named`, AT_SYMLINK_FOLLOW)).toBe(0);
    expect(await fs.root.linkat(fd, '', `${dir}/second`, AT_EMPTY_PATH)).toBe(0);
    expect(await fs.root.stat(`${dir}/named`)).toMatchObject({ nlink: 2, size: 7 });
    await must(fs.alice.close(fd));
    await fs.remount();
    const again = await must(fs.alice.open(`${dir}/second`, O_RDONLY));
    expect(String(await fs.alice.read(again, 100))).toBe('content');
    await must(fs.alice.close(again));
  });

  test('linkat over a name is refused, and the file can still get another', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/taken`);
    const fd = await must(fs.alice.open(dir, O_TMPFILE | O_RDWR, 0o600));
    const path = `/proc/self/fd/${fd}`;
    expect(await fs.alice.linkat(AT_FDCWD, path, `${dir}/taken`, AT_SYMLINK_FOLLOW)).toBe('EEXIST');
    expect(await fs.alice.linkat(AT_FDCWD, path, `${dir}/free`, AT_SYMLINK_FOLLOW)).toBe(0);
    await must(fs.alice.close(fd));
  });

  test('ENOENT: O_EXCL keeps it from ever getting a name', async () => {
    const dir = await fs.directory();
    const fd = await must(fs.alice.open(dir, O_TMPFILE | O_EXCL | O_RDWR, 0o600));
    expect(await fs.alice.linkat(AT_FDCWD, `/proc/self/fd/${fd}`, `${dir}/named`, AT_SYMLINK_FOLLOW)).toBe('ENOENT');
    await must(fs.alice.close(fd));
  });

  test('its blocks come back when it is closed', async () => {
    const dir = await fs.directory();
    const free = async (): Promise<number> => (await must(fs.root.statfs(dir))).free;
    const before = await free();
    const fd = await must(fs.alice.open(dir, O_TMPFILE | O_WRONLY, 0o600));
    await must(fs.alice.write(fd, Buffer.alloc(1 << 20, 1)));
    expect(await free()).toBe(before - 256);
    await must(fs.alice.close(fd));
    await expect.poll(free).toBe(before);
  });

  test('EINVAL: for reading alone; ENOTDIR: in a file; EACCES: where one may not write', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`);
    await must(fs.root.mkdir(`${dir}/root`, 0o755));
    expect(await fs.alice.open(dir, O_TMPFILE | O_RDONLY, 0o600)).toBe('EINVAL');
    expect(await fs.alice.open(`${dir}/file`, O_TMPFILE | O_RDWR, 0o600)).toBe('ENOTDIR');
    expect(await fs.alice.open(`${dir}/root`, O_TMPFILE | O_RDWR, 0o600)).toBe('EACCES');
  });
});
