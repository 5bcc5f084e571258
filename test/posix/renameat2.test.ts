/** renameat2(2): RENAME_NOREPLACE, RENAME_EXCHANGE and RENAME_WHITEOUT. */
import { describe, expect, test } from 'vitest';
import {
  O_RDONLY,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  RENAME_WHITEOUT,
  S_IFCHR,
  S_IFDIR,
  S_IFMT,
  S_IFREG,
} from './support/constants.ts';
import { canMount, mounted } from './support/mounted.ts';
import { failsOnBadPaths, failsOnMissing, makeFile } from './support/path-errors.ts';
import { must } from './support/process.ts';

const fs = mounted();
const inoOf = async (path: string): Promise<number> => (await must(fs.root.lstat(path))).ino;

describe.skipIf(!canMount)('renameat2 with RENAME_NOREPLACE', () => {
  failsOnBadPaths(fs, (by, path) => by.renameat2(path, fs.box.path('new'), RENAME_NOREPLACE));
  failsOnMissing(fs, (by, path) => by.renameat2(path, fs.box.path('new'), RENAME_NOREPLACE));

  test('renames where the new name is free', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/old`);
    const ino = await inoOf(`${dir}/old`);
    expect(await fs.alice.renameat2(`${dir}/old`, `${dir}/new`, RENAME_NOREPLACE)).toBe(0);
    expect(await inoOf(`${dir}/new`)).toBe(ino);
  });

  test('EEXIST: the new name is taken, also by the same file', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/old`);
    await must(fs.alice.link(`${dir}/old`, `${dir}/link`));
    await must(fs.alice.symlink('nowhere', `${dir}/dangling`));
    await must(fs.alice.mkdir(`${dir}/empty`, 0o755));
    for (const name of ['link', 'dangling', 'empty', 'old'])
      expect(await fs.alice.renameat2(`${dir}/old`, `${dir}/${name}`, RENAME_NOREPLACE)).toBe('EEXIST');
  });
});

describe.skipIf(!canMount)('renameat2 with RENAME_EXCHANGE', () => {
  failsOnBadPaths(fs, async (by, path) => {
    const dir = await fs.directory();
    await makeFile(by, `${dir}/other`);
    return by.renameat2(path, `${dir}/other`, RENAME_EXCHANGE);
  });

  test('swaps two files', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/a`, 0o644, 'a');
    await makeFile(fs.alice, `${dir}/b`, 0o600, 'bb');
    const [a, b] = [await inoOf(`${dir}/a`), await inoOf(`${dir}/b`)];
    const before = await must(fs.root.stat(dir));
    expect(await fs.alice.renameat2(`${dir}/a`, `${dir}/b`, RENAME_EXCHANGE)).toBe(0);
    expect(await fs.root.stat(`${dir}/a`)).toMatchObject({ ino: b, size: 2, mode: S_IFREG | 0o600 });
    expect(await fs.root.stat(`${dir}/b`)).toMatchObject({ ino: a, size: 1, mode: S_IFREG | 0o644 });
    expect((await must(fs.root.stat(dir))).mtime).toBeGreaterThan(before.mtime);
  });

  test('swaps a full directory with a file of another directory: links and ".." follow', async () => {
    const dir = await fs.directory();
    for (const name of ['x', 'y', 'x/full', 'x/full/below']) await must(fs.alice.mkdir(`${dir}/${name}`, 0o755));
    await makeFile(fs.alice, `${dir}/y/file`);
    expect(await fs.alice.renameat2(`${dir}/x/full`, `${dir}/y/file`, RENAME_EXCHANGE)).toBe(0);
    expect((await must(fs.root.stat(`${dir}/y/file`))).mode & S_IFMT).toBe(S_IFDIR);
    expect(await fs.root.stat(`${dir}/x`)).toMatchObject({ nlink: 2 });
    expect(await fs.root.stat(`${dir}/y`)).toMatchObject({ nlink: 3 });
    expect(await inoOf(`${dir}/y/file/..`)).toBe(await inoOf(`${dir}/y`));
    expect(await inoOf(`${dir}/y/file/below/..`)).toBe(await inoOf(`${dir}/y/file`));
  });

  test('ENOENT: one of the names is missing', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`);
    expect(await fs.alice.renameat2(`${dir}/file`, `${dir}/missing`, RENAME_EXCHANGE)).toBe('ENOENT');
    expect(await fs.alice.renameat2(`${dir}/missing`, `${dir}/file`, RENAME_EXCHANGE)).toBe('ENOENT');
  });

  test('EINVAL: a directory with what is below it', async () => {
    const dir = await fs.directory();
    for (const name of ['a', 'a/b', 'a/b/c']) await must(fs.alice.mkdir(`${dir}/${name}`, 0o755));
    expect(await fs.alice.renameat2(`${dir}/a`, `${dir}/a/b/c`, RENAME_EXCHANGE)).toBe('EINVAL');
    expect(await fs.alice.renameat2(`${dir}/a/b/c`, `${dir}/a`, RENAME_EXCHANGE)).toBe('EINVAL');
  });

  test('EPERM: a sticky directory guards both files', async () => {
    const dir = await fs.directory();
    await must(fs.root.chmod(dir, 0o1777));
    await makeFile(fs.alice, `${dir}/alice`);
    await makeFile(fs.bob, `${dir}/bob`);
    expect(await fs.bob.renameat2(`${dir}/bob`, `${dir}/alice`, RENAME_EXCHANGE)).toBe('EPERM');
    expect(await fs.bob.renameat2(`${dir}/alice`, `${dir}/bob`, RENAME_EXCHANGE)).toBe('EPERM');
  });
});

describe.skipIf(!canMount)('renameat2 with RENAME_WHITEOUT', () => {
  failsOnBadPaths(fs, (by, path) => by.renameat2(path, fs.box.path('new'), RENAME_WHITEOUT));
  failsOnMissing(fs, (by, path) => by.renameat2(path, fs.box.path('new'), RENAME_WHITEOUT));

  test("leaves a character device 0:0 that is the caller's and cannot be opened, for ordinary users too", async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/old`);
    await makeFile(fs.alice, `${dir}/new`);
    const ino = await inoOf(`${dir}/old`);
    expect(await fs.alice.renameat2(`${dir}/old`, `${dir}/new`, RENAME_WHITEOUT)).toBe(0);
    expect(await inoOf(`${dir}/new`)).toBe(ino);
    expect(await fs.root.lstat(`${dir}/old`)).toMatchObject({
      mode: S_IFCHR,
      rdev: { major: 0, minor: 0 },
      uid: 4001,
      gid: 4001,
    });
    expect(await fs.root.open(`${dir}/old`, O_RDONLY)).toBe('ENXIO');
    expect(await fs.alice.unlink(`${dir}/old`)).toBe(0);
  });

  test('EEXIST: with RENAME_NOREPLACE the new name is taken', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/old`);
    await makeFile(fs.alice, `${dir}/new`);
    const flags = RENAME_WHITEOUT | RENAME_NOREPLACE;
    expect(await fs.alice.renameat2(`${dir}/old`, `${dir}/new`, flags)).toBe('EEXIST');
    expect(await fs.alice.renameat2(`${dir}/old`, `${dir}/free`, flags)).toBe(0);
    expect((await must(fs.root.lstat(`${dir}/old`))).mode).toBe(S_IFCHR);
  });
});

describe.skipIf(!canMount)('renameat2', () => {
  test('EINVAL: flags that exclude each other, and that nobody knows', async () => {
    const dir = await fs.directory();
    await makeFile(fs.root, `${dir}/a`);
    await makeFile(fs.root, `${dir}/b`);
    for (const flags of [RENAME_NOREPLACE | RENAME_EXCHANGE, RENAME_EXCHANGE | RENAME_WHITEOUT, 8])
      expect(await fs.root.renameat2(`${dir}/a`, `${dir}/b`, flags)).toBe('EINVAL');
  });
});
