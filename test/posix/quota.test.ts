/** EDQUOT and EXDEV of directory trees with a quota, ENOSPC before what is kept for root, and what df and others make of it. */
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  FALLOC_KEEP_SIZE,
  FALLOC_PUNCH_HOLE,
  FALLOC_ZERO_RANGE,
  MAP_SHARED,
  MS_SYNC,
  O_CREAT,
  O_DIRECT,
  O_RDONLY,
  O_RDWR,
  O_TMPFILE,
  O_WRONLY,
  PROT_READ,
  PROT_WRITE,
  RENAME_EXCHANGE,
  S_IFIFO,
} from './support/constants.ts';
import { canMount, mounted } from './support/mounted.ts';
import { makeFile } from './support/path-errors.ts';
import { type Caller, must } from './support/process.ts';

const fs = mounted({ size: 64 << 20 });
const bs = 4096;

interface Shown {
  readonly bytes: number;
  readonly bytesMax: number;
  readonly inodes: number;
  readonly inodesMax: number;
  readonly path: string;
}

async function quotaOf(path: string): Promise<Shown> {
  const shown: readonly Shown[] = JSON.parse(await fs.box.must('iopmemfs', 'quota', 'show', '--json', path));
  const [quota] = shown;
  if (quota === undefined) throw new Error(`no quota at ${path}`);
  return quota;
}

/** A new directory for everybody with these limits. */
async function limited(blocks: number, inodes = 0): Promise<string> {
  const dir = await fs.directory();
  await fs.box.must('iopmemfs', 'quota', 'set', dir, '--bytes', String(blocks * bs), '--inodes', String(inodes));
  return dir;
}

async function withFile<T>(by: Caller, path: string, use: (fd: number) => Promise<T>): Promise<T> {
  const fd = await must(by.open(path, O_CREAT | O_RDWR, 0o666));
  try {
    return await use(fd);
  } finally {
    await must(by.close(fd));
  }
}

describe.skipIf(!canMount).each([
  ['root', () => fs.root],
  ['an ordinary user', () => fs.alice],
] as const)('%s, at the limit of blocks', (_, caller) => {
  test('writes as much as fits, and then nothing new; what is there can be overwritten', async () => {
    const by = caller();
    const dir = await limited(4);
    await withFile(by, `${dir}/file`, async (fd) => {
      expect(await by.write(fd, Buffer.alloc(6 * bs, 1))).toBe(4 * bs);
      expect(await by.write(fd, 'x')).toBe('EDQUOT');
      expect(await by.pwrite(fd, 'x', 100 * bs)).toBe('EDQUOT');
      expect(await by.pwrite(fd, Buffer.alloc(4 * bs, 2), 0)).toBe(4 * bs);
      expect(await by.fstat(fd)).toMatchObject({ size: 4 * bs });
      expect((await must(by.pread(fd, 1, 3 * bs)))[0]).toBe(2);
    });
    await withFile(by, `${dir}/another`, async (fd) => expect(await by.write(fd, 'x')).toBe('EDQUOT'));
  });

  test('writes all or nothing past the cache, where the kernel makes EIO of less', async () => {
    const by = caller();
    const dir = await limited(4);
    for (const access of [O_RDWR, O_WRONLY]) {
      const fd = await must(by.open(`${dir}/file`, O_CREAT | O_DIRECT | access, 0o666));
      expect(await by.write(fd, Buffer.alloc(6 * bs, 1))).toBe('EDQUOT');
      expect(await by.fstat(fd)).toMatchObject({ size: 0, blocks: 0 });
      expect(await by.write(fd, Buffer.alloc(4 * bs, 1))).toBe(4 * bs);
      await must(by.ftruncate(fd, 0));
      await must(by.close(fd));
    }
  });

  test('reserves all or nothing by fallocate', async () => {
    const by = caller();
    const dir = await limited(4);
    await withFile(by, `${dir}/file`, async (fd) => {
      for (const mode of [0, FALLOC_KEEP_SIZE, FALLOC_ZERO_RANGE])
        expect(await by.fallocate(fd, mode, 0, 5 * bs), String(mode)).toBe('EDQUOT');
      expect(await by.fstat(fd)).toMatchObject({ size: 0, blocks: 0 });
      expect(await by.fallocate(fd, 0, 0, 4 * bs)).toBe(0);
      expect(await by.pwrite(fd, Buffer.alloc(4 * bs, 1), 0)).toBe(4 * bs);
    });
  });

  test('still makes names, attributes and longer files without blocks', async () => {
    const by = caller();
    const dir = await limited(1);
    await makeFile(by, `${dir}/file`, 0o644, 'x'.repeat(bs));
    expect(await by.mkdir(`${dir}/sub`, 0o755)).toBe(0);
    expect(await by.symlink('target', `${dir}/symlink`)).toBe(0);
    expect(await by.link(`${dir}/file`, `${dir}/link`)).toBe(0);
    expect(await by.rename(`${dir}/link`, `${dir}/sub/renamed`)).toBe(0);
    expect(await by.setxattr(`${dir}/file`, 'user.a', 'x'.repeat(10_000))).toBe(0);
    expect(await by.truncate(`${dir}/file`, 100 * bs)).toBe(0);
  });

  test('frees, also above the limit, and has room again', async () => {
    const by = caller();
    const dir = await limited(8);
    await makeFile(by, `${dir}/file`, 0o666, 'x'.repeat(8 * bs));
    await fs.box.must('iopmemfs', 'quota', 'set', dir, '--bytes', String(4 * bs));
    expect(await by.unlink(`${dir}/nothing`)).toBe('ENOENT');
    await withFile(by, `${dir}/file`, async (fd) => {
      expect(await by.pwrite(fd, 'x', 8 * bs)).toBe('EDQUOT');
      expect(await by.fallocate(fd, FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE, 10, 2 * bs)).toBe(0);
      expect(await by.ftruncate(fd, 4 * bs)).toBe(0);
      expect(await by.pwrite(fd, 'x', 4 * bs)).toBe(1);
    });
    expect(await by.unlink(`${dir}/file`)).toBe(0);
    expect((await quotaOf(dir)).bytes).toBe(0);
    await makeFile(by, `${dir}/new`, 0o644, 'x'.repeat(4 * bs));
  });
});

describe.skipIf(!canMount).each([
  ['root', () => fs.root],
  ['an ordinary user', () => fs.alice],
] as const)('%s, at the limit of inodes', (_, caller) => {
  test('makes nothing more, but gives one name for another', async () => {
    const by = caller();
    const dir = await limited(0, 2);
    await makeFile(by, `${dir}/file`, 0o644, 'x');
    expect(await by.open(`${dir}/new`, O_CREAT | O_WRONLY, 0o644)).toBe('EDQUOT');
    expect(await by.open(dir, O_TMPFILE | O_RDWR, 0o600)).toBe('EDQUOT');
    expect(await by.mkdir(`${dir}/new`, 0o755)).toBe('EDQUOT');
    expect(await by.mknod(`${dir}/new`, S_IFIFO | 0o644)).toBe('EDQUOT');
    expect(await by.symlink('target', `${dir}/new`)).toBe('EDQUOT');
    expect(await by.mkdir(`${dir}/file`, 0o755)).toBe('EEXIST');
    expect(await by.link(`${dir}/file`, `${dir}/link`)).toBe(0);
    expect(await by.unlink(`${dir}/link`)).toBe(0);
    expect(await by.unlink(`${dir}/file`)).toBe(0);
    expect(await by.mkdir(`${dir}/new`, 0o755)).toBe(0);
    expect(await by.rmdir(`${dir}/new`)).toBe(0);
    await makeFile(by, `${dir}/again`, 0o644, 'x');
  });
});

describe.skipIf(!canMount)('names between trees', () => {
  test('rename, exchange and link are EXDEV, so mv copies', async () => {
    const [from, to, outside] = [await limited(100), await limited(100), await fs.directory()];
    await makeFile(fs.alice, `${from}/file`, 0o644, 'content');
    await makeFile(fs.alice, `${outside}/file`, 0o644, 'outside');
    for (const target of [to, outside]) {
      expect(await fs.alice.rename(`${from}/file`, `${target}/new`)).toBe('EXDEV');
      expect(await fs.alice.link(`${from}/file`, `${target}/new`)).toBe('EXDEV');
      expect(await fs.alice.rename(from, `${target}/new`)).not.toBe(0);
    }
    expect(await fs.alice.rename(`${outside}/file`, `${to}/new`)).toBe('EXDEV');
    expect(await fs.alice.renameat2(`${outside}/file`, `${from}/file`, RENAME_EXCHANGE)).toBe('EXDEV');
    expect(await fs.box.command('mv', `${from}/file`, `${to}/moved`)).toMatchObject({ code: 0, stderr: '' });
    expect(await fs.alice.stat(`${from}/file`)).toBe('ENOENT');
    expect([(await quotaOf(from)).bytes, (await quotaOf(to)).bytes]).toEqual([0, bs]);
  });

  test('clones and copies within the kernel count where they are made', async () => {
    const [outside, dir] = [await fs.directory(), await limited(10)];
    await makeFile(fs.alice, `${outside}/big`, 0o644, 'x'.repeat(12 * bs));
    await makeFile(fs.alice, `${outside}/small`, 0o644, 'x'.repeat(6 * bs));
    const from = await must(fs.alice.open(`${outside}/big`, O_RDONLY));
    await withFile(fs.alice, `${dir}/copy`, async (to) => {
      expect(await fs.alice.copyFileRange(from, 0, to, 0, 12 * bs)).toBe('EDQUOT');
      expect(await fs.alice.fstat(to)).toMatchObject({ size: 0, blocks: 0 });
    });
    await must(fs.alice.close(from));
    expect((await fs.box.run('iopmemfs', 'clone', `${outside}/small`, `${dir}/clone`)).code).toBe(0);
    expect((await quotaOf(dir)).bytes).toBe(6 * bs);
    const refused = await fs.box.run('iopmemfs', 'clone', `${outside}/small`, `${dir}/another`);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain('EDQUOT');
  });
});

describe.skipIf(!canMount)('what programs see', () => {
  test('df of a directory with a quota shows the quota, of others the filesystem', async () => {
    const [dir, outside] = [await limited(256, 50), await fs.directory()];
    await makeFile(fs.alice, `${dir}/file`, 0o644, Buffer.alloc(64 * bs, 1).toString());
    const row = async (...options: string[]) =>
      (await fs.box.command('df', ...options)).stdout
        .trimEnd()
        .split('\n')
        .at(-1)
        ?.trim()
        .split(/ +/)
        .slice(0, -1)
        .map(Number);
    expect(await row('--output=size,used,avail,itotal,iused,target', '-k', dir)).toEqual([1024, 256, 768, 50, 2]);
    const statfs = await must(fs.alice.statfs(outside));
    expect(statfs.blocks).toBe((64 << 20) / bs - 2);
    expect((await must(fs.alice.statfs(`${dir}/file`))).blocks).toBe(256);
  });

  test('cp and tar stop with the error, and leave what fits', async () => {
    const [source, dir] = [await fs.directory(), await limited(20, 100)];
    for (let i = 0; i < 30; i++) await makeFile(fs.root, `${source}/${i}`, 0o644, 'x'.repeat(bs));
    const copied = await fs.box.command('cp', '-r', source, `${dir}/copy`);
    expect(copied).toMatchObject({ code: 1, stderr: expect.stringContaining('Disk quota exceeded') });
    expect((await quotaOf(dir)).bytes).toBe(20 * bs);
    await must(fs.root.rename(`${dir}/copy`, `${dir}/gone`));
    expect((await fs.box.command('rm', '-r', `${dir}/gone`)).code).toBe(0);
    expect(await quotaOf(dir)).toMatchObject({ bytes: 0, inodes: 1 });
    const archive = join(fs.box.dir, 'archive.tar');
    expect((await fs.box.command('tar', 'cf', archive, '-C', source, '.')).code).toBe(0);
    const extracted = await fs.box.command('tar', 'xf', archive, '-C', dir);
    expect(extracted).toMatchObject({ code: 2, stderr: expect.stringContaining('Disk quota exceeded') });
    expect(await readdir(dir)).toHaveLength(30);
  });

  test('a shared mapping of a hole fails at msync, where the quota has no room for it', async () => {
    const dir = await limited(1);
    await withFile(fs.alice, `${dir}/file`, async (fd) => {
      await must(fs.alice.ftruncate(fd, 4 * bs));
      await must(fs.alice.pwrite(fd, 'first', 0));
      const address = await must(fs.alice.mmap(4 * bs, PROT_READ | PROT_WRITE, MAP_SHARED, fd));
      await fs.alice.poke(address + 2 * bs, 'second');
      expect(['EIO', 'EDQUOT', 'ENOSPC']).toContain(await fs.alice.msync(address, 4 * bs, MS_SYNC));
      await must(fs.alice.munmap(address, 4 * bs));
    });
    expect((await quotaOf(dir)).bytes).toBe(bs);
  });

  test('a quota set on a tree in use counts all of it, and is shown with its path', async () => {
    const dir = await fs.directory();
    for (let d = 0; d < 5; d++) {
      await must(fs.alice.mkdir(`${dir}/${d}`, 0o755));
      for (let f = 0; f < 20; f++) await makeFile(fs.alice, `${dir}/${d}/${f}`, 0o644, 'x');
    }
    await fs.box.must('iopmemfs', 'quota', 'set', dir, '--bytes', '1m');
    expect(await quotaOf(`${dir}/3/7`)).toMatchObject({ bytes: 100 * bs, bytesMax: 1 << 20, inodes: 106, path: dir });
    expect(await fs.box.must('iopmemfs', 'quota', 'show', dir)).toMatch(/400\.0 KiB +1\.0 MiB +40% +106 +- +- /);
    await fs.box.must('iopmemfs', 'quota', 'set', dir, '--inodes', '200');
    await fs.box.must('iopmemfs', 'quota', 'set', dir, '--bytes', '2m');
    expect(await quotaOf(dir), 'what is not given stays').toMatchObject({ bytesMax: 2 << 20, inodesMax: 200 });
    await fs.box.must('iopmemfs', 'quota', 'set', dir, '--bytes', '0');
    expect(await quotaOf(dir)).toMatchObject({ bytesMax: 0, inodesMax: 200 });
    expect(await fs.box.run('iopmemfs', 'quota', 'set', dir, '--inodes', '0')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('no limit would be left'),
    });
    await fs.box.must('iopmemfs', 'quota', 'remove', dir);
    expect(await fs.box.must('iopmemfs', 'quota', 'show', dir)).toBe('');
    expect(await fs.box.run('iopmemfs', 'quota', 'remove', dir)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('ENODATA'),
    });
  });
});

describe.skipIf(!canMount)('what is kept for root', () => {
  test('df shows it, others get ENOSPC before it, root does not', async () => {
    const dir = await fs.directory();
    const before = await must(fs.alice.statfs(dir));
    expect(await fs.box.must('iopmemfs', 'tune', '-m', '10', dir)).toContain('10% (6.4 MiB)');
    const kept = Math.floor((64 << 20) / bs / 10);
    expect(await fs.alice.statfs(dir)).toMatchObject({ free: before.free, available: before.free - kept });
    await withFile(fs.alice, `${dir}/file`, async (fd) => {
      expect(await fs.alice.fallocate(fd, 0, 0, (before.free - kept + 1) * bs)).toBe('ENOSPC');
      expect(await fs.alice.fallocate(fd, 0, 0, (before.free - kept) * bs)).toBe(0);
      expect(await fs.alice.pwrite(fd, 'x', before.free * bs)).toBe('ENOSPC');
      expect(await fs.alice.mkdir(`${dir}/sub`, 0o755)).toBe(0);
    });
    await withFile(fs.root, `${dir}/file`, async (fd) =>
      expect(await fs.root.pwrite(fd, 'x', before.free * bs)).toBe(1),
    );
    expect(await fs.alice.unlink(`${dir}/file`)).toBe(0);
    expect(await fs.box.must('iopmemfs', 'tune', '-m', '0', '--json', dir)).toContain('"reservedBytes": 0');
    expect((await fs.box.run('iopmemfs', 'tune', '-m', '51', dir)).code).toBe(1);
  });
});

describe.skipIf(!canMount)('a crash of the daemon in the midst of writes', () => {
  test('leaves counts that fsck counts as well, twice', async () => {
    const dir = await limited(3000, 400);
    for (let round = 0; round < 2; round++) {
      let written = 0;
      const over = new AbortController();
      const writers = [0, 1, 2].map(async (writer) => {
        // Until the daemon is gone; every call may fail then, with whatever the kernel says.
        for (let i = 0; !over.signal.aborted; i++) {
          const path = `${dir}/${round}-${writer}-${i % 50}`;
          const fd = await fs.alice.open(path, O_CREAT | O_RDWR, 0o644);
          if (typeof fd === 'string') return;
          await fs.alice.pwrite(fd, Buffer.alloc(((i % 7) + 1) * bs, i), (i % 5) * bs);
          if (i % 3 === 0) await fs.alice.ftruncate(fd, (i % 4) * bs);
          if (i % 10 === 0) await fs.alice.fsync(fd);
          await fs.alice.close(fd);
          if (i % 4 === 0) await fs.alice.unlink(path);
          written++;
        }
      });
      await expect.poll(() => written, { timeout: 120_000 }).toBeGreaterThan(100);
      await fs.crash();
      over.abort();
      await Promise.all(writers);
      const { bytes, inodes } = await quotaOf(dir);
      const names = await readdir(dir);
      let blocks = 0;
      for (const name of names) blocks += (await stat(join(dir, name))).blocks;
      expect([bytes, inodes]).toEqual([blocks * 512, names.length + 1]);
      await fs.box.umount();
      expect(await fs.box.run('fsck', '-n', fs.box.image)).toMatchObject({ code: 0 });
      await fs.box.mount();
    }
  }, 300_000);
});
