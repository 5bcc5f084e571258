/** fsync(2), fdatasync, O_SYNC and O_DSYNC: what was acknowledged outlives the daemon. And syncfs, sync_file_range. */
import { constants } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { O_CREAT, O_DIRECTORY, O_DSYNC, O_RDONLY, O_RDWR, O_WRONLY, S_IFIFO } from './support/constants.ts';
import { canMount, mounted } from './support/mounted.ts';
import { makeFile } from './support/path-errors.ts';
import { type Caller, must } from './support/process.ts';

const fs = mounted();
const { O_SYNC } = constants;

async function contentOf(by: Caller, path: string): Promise<string> {
  const fd = await must(by.open(path, O_RDONLY));
  const content = await must(by.read(fd, 1000));
  await must(by.close(fd));
  return String(content);
}

/** syncfs(2) is not among them: the kernel does not tell it to us (fuse_sync_fs, fs/fuse/inode.c). */
const ways: readonly (readonly [string, number, (fd: number) => Promise<unknown>])[] = [
  ['fsync', 0, (fd) => fs.alice.fsync(fd)],
  ['fdatasync', 0, (fd) => fs.alice.fdatasync(fd)],
  ['O_SYNC', O_SYNC, () => Promise.resolve(0)],
  ['O_DSYNC', O_DSYNC, () => Promise.resolve(0)],
  // The kernel writes past its pages here, and leaves the syncing to us.
  ['O_WRONLY and O_SYNC', O_WRONLY | O_SYNC, () => Promise.resolve(0)],
  ['O_WRONLY and O_DSYNC', O_WRONLY | O_DSYNC, () => Promise.resolve(0)],
];

describe.skipIf(!canMount)('a crash of the daemon', () => {
  // Each by itself: one sync makes durable whatever was done before it.
  test.each(ways)('loses nothing that %s has acknowledged', async (name, flags, sync) => {
    const path = `${await fs.directory()}/${name}`;
    const fd = await must(fs.alice.open(path, O_CREAT | ((flags & O_WRONLY) === 0 ? O_RDWR : 0) | flags, 0o644));
    await must(fs.alice.write(fd, `by ${name}`));
    expect(await sync(fd)).toBe(0);
    await must(fs.alice.close(fd));
    await fs.crash();
    expect(await contentOf(fs.alice, path)).toBe(`by ${name}`);
  });

  test('loses no rename that fsync of the directory has acknowledged', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/old`, 0o644, 'content');
    const fd = await must(fs.alice.open(dir, O_RDONLY | O_DIRECTORY));
    expect(await fs.alice.fsync(fd)).toBe(0);
    await must(fs.alice.rename(`${dir}/old`, `${dir}/new`));
    expect(await fs.alice.fsync(fd)).toBe(0);
    await must(fs.alice.close(fd));
    await fs.crash();
    expect(await contentOf(fs.alice, `${dir}/new`)).toBe('content');
    expect(await fs.alice.stat(`${dir}/old`)).toBe('ENOENT');
  });
});

describe.skipIf(!canMount)('sync calls', () => {
  test('work on descriptors of either kind, and of files without a name', async () => {
    const dir = await fs.directory();
    const fd = await must(fs.alice.open(`${dir}/file`, O_CREAT | O_RDWR, 0o644));
    await must(fs.alice.unlink(`${dir}/file`));
    expect(await fs.alice.fsync(fd)).toBe(0);
    await must(fs.alice.write(fd, 'content'));
    expect(await fs.alice.syncFileRange(fd, 0, 0, 7)).toBe(0);
    expect(await fs.alice.syncFileRange(fd, -1, 10, 7)).toBe('EINVAL');
    expect(await fs.alice.syncFileRange(fd, 0, 10, 8)).toBe('EINVAL');
    await must(fs.alice.close(fd));
    expect(await fs.alice.fsync(fd)).toBe('EBADF');
    const reader = await must(fs.alice.open(dir, O_RDONLY));
    for (const sync of [fs.alice.fsync, fs.alice.fdatasync, fs.alice.syncfs]) expect(await sync(reader)).toBe(0);
    await must(fs.alice.close(reader));
  });

  test('EINVAL: a fifo', async () => {
    const dir = await fs.directory();
    await must(fs.alice.mknod(`${dir}/fifo`, S_IFIFO | 0o600));
    const fd = await must(fs.alice.open(`${dir}/fifo`, O_RDWR));
    expect(await fs.alice.fsync(fd)).toBe('EINVAL');
    await must(fs.alice.close(fd));
  });
});
