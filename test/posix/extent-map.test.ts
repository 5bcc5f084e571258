/** Where the blocks of a file lie, as extended attribute and by ioctl (docs/files.md); and that cp(1) shares blocks. */
import { describe, expect, test } from 'vitest';
import { O_CREAT, O_RDONLY, O_RDWR } from './support/constants.ts';
import { canMount, mounted } from './support/mounted.ts';
import { must } from './support/process.ts';

const fs = mounted();
const bs = 4096;
const IOPMEMFS_IOC_MAP = 0xd000_f501;
const keepSize = 1;

interface Extent {
  readonly offset: number;
  readonly length: number;
  readonly device: number;
  readonly storageOffset: number;
  readonly busAddress: string;
  readonly unwritten: boolean;
  readonly shares: number;
}

/** By the attribute, following its continuations. */
async function mapOf(path: string, by = fs.alice, from?: number): Promise<{ extents: Extent[]; values: number }> {
  const extents: Extent[] = [];
  let name = from === undefined ? 'system.iopmemfs.map' : `system.iopmemfs.map.${from}`;
  for (let values = 1; ; values++) {
    const value = await must(by.getxattr(path, name));
    let next: number | undefined;
    for (const line of value.toString().split('\n').slice(0, -1)) {
      const entry: Extent | { readonly next: number } = JSON.parse(line);
      if ('next' in entry) next = entry.next;
      else extents.push(entry);
    }
    if (next === undefined) return { extents, values };
    name = `system.iopmemfs.map.${next}`;
  }
}

/** By the ioctl. */
async function ioctlMapOf(path: string): Promise<Extent[]> {
  const fd = await must(fs.alice.open(path, O_RDONLY));
  const extents: Extent[] = [];
  for (let start = 0n, ends = false; !ends; ) {
    const argument = Buffer.alloc(4096);
    argument.writeBigUInt64LE(start);
    const answer = await must(fs.alice.ioctl(fd, IOPMEMFS_IOC_MAP, argument));
    const count = answer.readUInt32LE(8);
    for (let at = 16; at < 16 + count * 48; at += 48) {
      extents.push({
        offset: Number(answer.readBigUInt64LE(at)),
        length: Number(answer.readBigUInt64LE(at + 8)),
        device: answer.readUInt32LE(at + 32),
        storageOffset: Number(answer.readBigUInt64LE(at + 16)),
        busAddress: `0x${answer.readBigUInt64LE(at + 24).toString(16)}`,
        unwritten: answer.readUInt32LE(at + 36) === 1,
        shares: answer.readUInt32LE(at + 40),
      });
    }
    ends = answer.readUInt32LE(12) === 1;
    start = answer.readBigUInt64LE(0);
  }
  await must(fs.alice.close(fd));
  return extents;
}

async function newFile(write: (fd: number) => Promise<unknown>): Promise<{ dir: string; path: string }> {
  const dir = await fs.directory();
  const path = `${dir}/file`;
  const fd = await must(fs.alice.open(path, O_CREAT | O_RDWR, 0o644));
  await write(fd);
  await must(fs.alice.fsync(fd));
  await must(fs.alice.close(fd));
  return { dir, path };
}

describe.skipIf(!canMount)('system.iopmemfs.map', () => {
  test('says what iopmemfs map says, and so does the ioctl', async () => {
    const { path } = await newFile(async (fd) => {
      await must(fs.alice.pwrite(fd, Buffer.alloc(2 * bs, 'a'), 0));
      await must(fs.alice.pwrite(fd, Buffer.alloc(bs, 'b'), 5 * bs));
      await must(fs.alice.fallocate(fd, keepSize, 8 * bs, 2 * bs));
    });
    const told: { extents: Extent[] } = JSON.parse(await fs.box.must('iopmemfs', 'map', '--json', path));
    const { extents } = await mapOf(path);
    expect(extents).toEqual(told.extents);
    expect(extents.map(({ offset, length, unwritten }) => [offset, length, unwritten])).toEqual([
      [0, 2 * bs, false],
      [5 * bs, bs, false],
      [8 * bs, 2 * bs, true],
    ]);
    expect(await ioctlMapOf(path)).toEqual(extents);
  });

  test('is empty for an empty file, and goes on where one value is too small', async () => {
    const empty = await newFile(async () => undefined);
    expect(await mapOf(empty.path)).toEqual({ extents: [], values: 1 });
    expect(await ioctlMapOf(empty.path)).toEqual([]);
    const count = 700;
    const { path } = await newFile(async (fd) => {
      for (let i = 0; i < count; i++) await must(fs.alice.pwrite(fd, 'x', 2 * i * bs));
    });
    const { extents, values } = await mapOf(path);
    expect(extents.map(({ offset }) => offset)).toEqual(Array.from({ length: count }, (_, i) => 2 * i * bs));
    expect(values).toBeGreaterThan(1);
    expect(await ioctlMapOf(path)).toHaveLength(count);
  });

  test('starts where it is asked to, with the extent that reaches there', async () => {
    const { path } = await newFile(async (fd) => {
      await must(fs.alice.pwrite(fd, Buffer.alloc(4 * bs, 'a'), 0));
      await must(fs.alice.pwrite(fd, 'b', 8 * bs));
    });
    const from = async (offset: number) => (await mapOf(path, fs.alice, offset)).extents.map((extent) => extent.offset);
    expect(await from(0)).toEqual([0, 8 * bs]);
    expect(await from(3 * bs + 1)).toEqual([0, 8 * bs]);
    expect(await from(4 * bs)).toEqual([8 * bs]);
    expect(await from(9 * bs)).toEqual([]);
    for (const name of ['map.', 'map.-1', 'map.01', 'map.x', 'maps', 'other']) {
      expect(await fs.alice.getxattr(path, `system.iopmemfs.${name}`)).toBe('EOPNOTSUPP');
    }
  });

  test('is in no list, is not set and not removed, and is for those who may read the file', async () => {
    const { dir, path } = await newFile((fd) => must(fs.alice.pwrite(fd, 'x', 0)));
    expect(await fs.alice.listxattr(path)).toEqual([]);
    expect(await fs.root.setxattr(path, 'system.iopmemfs.map', 'x')).toBe('EOPNOTSUPP');
    expect(await fs.root.removexattr(path, 'system.iopmemfs.cow')).toBe('EOPNOTSUPP');
    expect((await mapOf(path, fs.bob)).extents).toHaveLength(1);
    await must(fs.alice.chmod(path, 0o600));
    expect(await fs.bob.getxattr(path, 'system.iopmemfs.map')).toBe('EACCES');
    expect(await fs.alice.getxattr(dir, 'system.iopmemfs.map')).toBe('EISDIR');
  });
});

describe.skipIf(!canMount)('cp', () => {
  test('shares the blocks of a file, and they part when one of the two is written', async () => {
    const size = 64 * bs + 100;
    const content = Buffer.from(Array.from({ length: size }, (_, i) => (i * 7 + (i >> 8)) & 0xff));
    const { dir, path } = await newFile((fd) => must(fs.alice.pwrite(fd, content, 0)));
    const { code, stderr } = await fs.box.command('cp', path, `${dir}/copy`);
    expect([code, stderr]).toEqual([0, '']);
    const [source, copy] = [await mapOf(path), await mapOf(`${dir}/copy`)];
    expect(copy).toEqual(source);
    expect(copy.extents.every(({ shares }) => shares === 2)).toBe(true);

    const fd = await must(fs.root.open(`${dir}/copy`, O_RDWR));
    await must(fs.root.pwrite(fd, 'changed', bs));
    const changed = Buffer.from(content);
    changed.write('changed', bs);
    expect((await must(fs.root.pread(fd, size, 0))).equals(changed)).toBe(true);
    await must(fs.root.close(fd));
    const original = await must(fs.root.open(path, O_RDONLY));
    expect((await must(fs.root.pread(original, size, 0))).equals(content)).toBe(true);
    await must(fs.root.close(original));
  });
});
