/** statx(2), statfs(2), access(2). */
import { describe, expect, test } from 'vitest';
import { AT_EMPTY_PATH, NAME_MAX, O_PATH, S_IFDIR, S_IFMT } from './support/constants.ts';
import { canMount, mounted } from './support/mounted.ts';
import { failsOnBadPaths, failsOnMissing, makeFile } from './support/path-errors.ts';
import { must } from './support/process.ts';

const fs = mounted();

describe.skipIf(!canMount)('stat', () => {
  failsOnBadPaths(fs, (by, path) => by.stat(path));
  failsOnMissing(fs, (by, path) => by.stat(path));

  test('size in bytes, blocks of 512, and all that statx can say', async () => {
    const dir = await fs.directory();
    for (const size of [0, 1, 4096, 4097, 100_000]) {
      await makeFile(fs.alice, `${dir}/${size}`, 0o644, 'x'.repeat(size));
      const stat = await must(fs.root.stat(`${dir}/${size}`));
      expect(stat).toMatchObject({ size, blocks: Math.ceil(size / 4096) * 8, blockSize: 4096, nlink: 1 });
      expect(stat.mask & 0xfff).toBe(0xfff);
    }
  });

  test('all files of the mount are on one device, and each has a number of its own', async () => {
    const dir = await fs.directory();
    const numbers = new Set<number>();
    const { device } = await must(fs.root.stat(fs.box.mountPoint));
    for (let i = 0; i < 100; i++) {
      await makeFile(fs.alice, `${dir}/${i}`);
      const stat = await must(fs.root.stat(`${dir}/${i}`));
      numbers.add(stat.ino);
      expect(stat.device).toBe(device);
    }
    expect(numbers.size).toBe(100);
    expect(await fs.root.stat(`${fs.box.mountPoint}/..`)).not.toMatchObject({ device });
  });

  test('times of birth, of change and all else outlive a remount', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`, 0o4711, 'content');
    await must(fs.alice.link(`${dir}/file`, `${dir}/link`));
    await must(fs.alice.utimens(`${dir}/file`, 1n, 2n));
    await must(fs.alice.symlink('file', `${dir}/symlink`));
    const names = ['file', 'symlink', '.'];
    const before = await Promise.all(names.map((name) => must(fs.root.lstat(`${dir}/${name}`))));
    await fs.remount();
    const after = await Promise.all(names.map((name) => must(fs.root.lstat(`${dir}/${name}`))));
    expect(after.map((stat) => ({ ...stat, device: '' }))).toEqual(before.map((stat) => ({ ...stat, device: '' })));
  });

  test('asks no permission of the file itself', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`, 0, 'content');
    expect(await fs.bob.stat(`${dir}/file`)).toMatchObject({ size: 7 });
  });

  test('of a descriptor that is only a place (O_PATH)', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/file`, 0, 'content');
    const fd = await must(fs.bob.open(`${dir}/file`, O_PATH));
    expect(await fs.bob.fstat(fd)).toMatchObject({ size: 7 });
    expect(await fs.bob.linkat(fd, '', `${dir}/link`, AT_EMPTY_PATH)).toBe('ENOENT');
    await must(fs.bob.close(fd));
  });

  test('a directory has two links and one for each directory in it', async () => {
    const dir = await fs.directory();
    expect(await fs.root.stat(dir)).toMatchObject({ nlink: 2, mode: S_IFDIR | 0o777 });
    for (let i = 0; i < 5; i++) await must(fs.alice.mkdir(`${dir}/${i}`, 0o755));
    await makeFile(fs.alice, `${dir}/file`);
    expect(await fs.root.stat(dir)).toMatchObject({ nlink: 7 });
  });
});

describe.skipIf(!canMount)('statfs', () => {
  failsOnBadPaths(fs, (by, path) => by.statfs(path));
  failsOnMissing(fs, (by, path) => by.statfs(path));

  test('counts what is there, what is free, and what a name may be', async () => {
    const stat = await must(fs.root.statfs(fs.box.mountPoint));
    expect(stat).toMatchObject({ type: 0x65735546, blockSize: 4096, nameMax: NAME_MAX });
    expect(stat.blocks).toBeLessThanOrEqual((64 << 20) / 4096);
    expect(stat.blocks).toBeGreaterThan(((64 << 20) / 4096) * 0.95);
    expect(stat.free).toBeLessThanOrEqual(stat.blocks);
    expect(stat.available).toBeLessThanOrEqual(stat.free);
  });

  test('blocks go with what is written, and come back with what is removed; so do files', async () => {
    const dir = await fs.directory();
    const before = await must(fs.root.statfs(dir));
    await makeFile(fs.alice, `${dir}/file`, 0o644, 'x'.repeat(1 << 20));
    const between = await must(fs.root.statfs(dir));
    expect(between.free).toBe(before.free - 256);
    expect(between.files - between.filesFree).toBe(before.files - before.filesFree + 1);
    await must(fs.alice.unlink(`${dir}/file`));
    await expect.poll(async () => (await must(fs.root.statfs(dir))).free).toBe(before.free);
  });
});

describe.skipIf(!canMount)('access', () => {
  failsOnBadPaths(fs, (by, path) => by.access(path, 0));
  failsOnMissing(fs, (by, path) => by.access(path, 0));

  test('answers for owner, group and others as the bits say', async () => {
    const dir = await fs.directory();
    await makeFile(fs.root, `${dir}/file`);
    await must(fs.root.chown(`${dir}/file`, 4001, 4002));
    const stranger = fs.alice.with({ uid: 4003, gid: 4003, groups: [] });
    await must(fs.root.chmod(`${dir}/file`, 0o421));
    for (const { by, bits } of [
      { by: fs.alice, bits: 4 },
      { by: fs.bob, bits: 2 },
      { by: stranger, bits: 1 },
    ]) {
      for (let mask = 0; mask < 8; mask++)
        expect(await by.access(`${dir}/file`, mask)).toBe((bits & mask) === mask ? 0 : 'EACCES');
    }
    expect(await fs.root.access(`${dir}/file`, 7)).toBe(0);
    await must(fs.root.chmod(`${dir}/file`, 0o644));
    expect(await fs.root.access(`${dir}/file`, 1)).toBe('EACCES');
    expect((await must(fs.root.stat(`${dir}/file`))).mode & ~S_IFMT).toBe(0o644);
  });
});
