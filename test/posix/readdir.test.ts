/** getdents64(2): what a listing shows, and what becomes of it while entries come and go (readdir(3), POSIX). */
import { describe, expect, test } from 'vitest';
import { O_DIRECTORY, O_RDONLY, S_IFCHR, S_IFIFO, S_IFSOCK, SEEK_SET } from './support/constants.ts';
import { canMount, mounted } from './support/mounted.ts';
import { makeFile } from './support/path-errors.ts';
import { must } from './support/process.ts';
import type { Dirent } from './support/structs.ts';

const fs = mounted();

const openDirectory = (path: string): Promise<number> => must(fs.alice.open(path, O_RDONLY | O_DIRECTORY));

/** From where the descriptor stands to the end, in pieces of `size` bytes. */
async function rest(fd: number, size = 32_768): Promise<Dirent[]> {
  const all: Dirent[] = [];
  for (;;) {
    const some = await must(fs.alice.getdents(fd, size));
    if (some.length === 0) return all;
    all.push(...some);
  }
}

async function namesIn(path: string, size?: number): Promise<string[]> {
  const fd = await openDirectory(path);
  const entries = await rest(fd, size);
  await must(fs.alice.close(fd));
  return entries.map((entry) => entry.name);
}

async function makeFiles(dir: string, names: readonly string[]): Promise<void> {
  for (const name of names) await must(fs.alice.mknod(`${dir}/${name}`, 0o644));
}

const numbered = (count: number): string[] => Array.from({ length: count }, (_, i) => `file-${i}`);
const sorted = (names: readonly string[]): string[] => [...names].sort();

describe.skipIf(!canMount)('a listing', () => {
  test('has ".", ".." and every name once, each with its inode and type', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`);
    await must(fs.alice.mkdir(`${dir}/directory`, 0o755));
    await must(fs.alice.symlink('file', `${dir}/symlink`));
    await must(fs.alice.mknod(`${dir}/fifo`, S_IFIFO | 0o644));
    await must(fs.alice.mknod(`${dir}/socket`, S_IFSOCK | 0o644));
    await must(fs.root.mknod(`${dir}/device`, S_IFCHR | 0o644, 0x0103));
    const fd = await openDirectory(dir);
    const entries = await rest(fd);
    await must(fs.alice.close(fd));
    const names = ['.', '..', 'device', 'directory', 'fifo', 'file', 'socket', 'symlink'];
    expect(sorted(entries.map((entry) => entry.name))).toEqual(names);
    for (const { name, ino, type } of entries) {
      const { ino: expected, mode } = await must(fs.root.lstat(`${dir}/${name}`));
      expect({ name, ino, type }).toEqual({ name, ino: expected, type: mode >>> 12 });
    }
  });

  test('of many entries is whole, in pieces of any size', async () => {
    const dir = await fs.directory();
    const names = numbered(1500);
    await makeFiles(dir, names);
    const expected = sorted([...names, '.', '..']);
    for (const size of [64, 1000, 32_768, 1 << 20]) expect(sorted(await namesIn(dir, size))).toEqual(expected);
  });

  test('goes on where an offset says that it left off', async () => {
    const dir = await fs.directory();
    await makeFiles(dir, numbered(50));
    const fd = await openDirectory(dir);
    const all = await rest(fd);
    for (const index of [0, 1, 2, 25, 48]) {
      await must(fs.alice.lseek(fd, all[index]?.offset ?? 0, SEEK_SET));
      expect((await rest(fd)).map((entry) => entry.name)).toEqual(all.slice(index + 1).map((entry) => entry.name));
    }
    await must(fs.alice.lseek(fd, 0, SEEK_SET));
    expect(await rest(fd)).toEqual(all);
    await must(fs.alice.close(fd));
  });

  test('shows names of any bytes', async () => {
    const dir = await fs.directory();
    const bytes = Buffer.from(Array.from({ length: 254 }, (_, i) => (i + 1 === 0x2f ? 0xff : i + 1)));
    await must(fs.alice.mknod(Buffer.concat([Buffer.from(`${dir}/`), bytes, Buffer.of(0)]), 0o644));
    const fd = await openDirectory(dir);
    const found = (await rest(fd)).map((entry) => entry.name).filter((name) => !name.startsWith('.'));
    await must(fs.alice.close(fd));
    expect(found).toEqual([bytes.toString('utf8')]);
    expect(await fs.alice.unlink(Buffer.concat([Buffer.from(`${dir}/`), bytes, Buffer.of(0)]))).toBe(0);
  });
});

describe.skipIf(!canMount)('a listing under way', () => {
  test('misses nothing and repeats nothing while the entries it has shown are removed', async () => {
    const dir = await fs.directory();
    const names = numbered(600);
    await makeFiles(dir, names);
    const fd = await openDirectory(dir);
    const seen: string[] = [];
    for (;;) {
      const some = (await must(fs.alice.getdents(fd, 1024))).map((entry) => entry.name);
      if (some.length === 0) break;
      seen.push(...some);
      for (const name of some) if (name.startsWith('file')) await must(fs.alice.unlink(`${dir}/${name}`));
    }
    await must(fs.alice.close(fd));
    expect(sorted(seen)).toEqual(sorted([...names, '.', '..']));
    expect(await fs.alice.rmdir(dir)).not.toBe('ENOTEMPTY');
  });

  test('does not show what was removed ahead of it, and shows the others', async () => {
    const dir = await fs.directory();
    const names = numbered(600);
    await makeFiles(dir, names);
    const fd = await openDirectory(dir);
    const first = (await must(fs.alice.getdents(fd, 1024))).map((entry) => entry.name);
    const ahead = names.filter((name) => !first.includes(name));
    const removed = new Set(ahead.filter((_, i) => i % 2 === 0));
    for (const name of removed) await must(fs.alice.unlink(`${dir}/${name}`));
    // The kernel may have fetched a page of entries beyond those that fitted into the first answer.
    const others = (await rest(fd)).map((entry) => entry.name);
    await must(fs.alice.close(fd));
    for (const name of ahead) if (!removed.has(name)) expect(others).toContain(name);
    expect(others.filter((name) => first.includes(name))).toEqual([]);
    expect(sorted(await namesIn(dir))).toEqual(sorted([...names.filter((name) => !removed.has(name)), '.', '..']));
  });

  test('repeats nothing and misses nothing that stayed, while others are added and renamed', async () => {
    const dir = await fs.directory();
    const names = numbered(400);
    await makeFiles(dir, names);
    const fd = await openDirectory(dir);
    const seen: string[] = [];
    for (let step = 0; ; step++) {
      const some = (await must(fs.alice.getdents(fd, 2048))).map((entry) => entry.name);
      if (some.length === 0) break;
      seen.push(...some);
      await must(fs.alice.mknod(`${dir}/added-${step}`, 0o644));
      await must(fs.alice.rename(`${dir}/added-${step}`, `${dir}/renamed-${step}`));
    }
    await must(fs.alice.close(fd));
    expect(new Set(seen).size).toBe(seen.length);
    expect(seen).toEqual(expect.arrayContaining(names));
  });

  test('begun again shows what is there now', async () => {
    const dir = await fs.directory();
    await makeFiles(dir, ['old', 'kept']);
    const fd = await openDirectory(dir);
    await rest(fd);
    await must(fs.alice.unlink(`${dir}/old`));
    await makeFiles(dir, ['new']);
    await must(fs.alice.lseek(fd, 0, SEEK_SET));
    expect(sorted((await rest(fd)).map((entry) => entry.name))).toEqual(['.', '..', 'kept', 'new']);
    await must(fs.alice.close(fd));
  });
});

describe.skipIf(!canMount)('getdents', () => {
  test('ENOTDIR, EBADF, EACCES', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`);
    const fd = await must(fs.alice.open(`${dir}/file`, O_RDONLY));
    expect(await fs.alice.getdents(fd)).toBe('ENOTDIR');
    await must(fs.alice.close(fd));
    expect(await fs.alice.getdents(fd)).toBe('EBADF');
    await must(fs.alice.mkdir(`${dir}/closed`, 0o300));
    expect(await fs.alice.open(`${dir}/closed`, O_RDONLY | O_DIRECTORY)).toBe('EACCES');
  });

  test('EINVAL: a buffer that takes not even one entry', async () => {
    const dir = await fs.directory();
    const fd = await openDirectory(dir);
    expect(await fs.alice.getdents(fd, 10)).toBe('EINVAL');
    await must(fs.alice.close(fd));
  });
});
