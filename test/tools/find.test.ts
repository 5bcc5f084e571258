import { mkdir, open, readFile, symlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { RawClient } from '../mds/raw-client.ts';
import { canMount, Sandbox } from './sandbox.ts';

/** Programs that find the server of a path by themselves. */
describe.runIf(canMount)('map, clone, status', () => {
  let box: Sandbox;
  beforeAll(async () => {
    box = await Sandbox.create();
    await box.must('mkfs', '-L', 'named', box.image);
    await box.mount();
    await mkdir(box.path('dir'));
    const file = await open(box.path('dir', 'file'), 'w');
    await file.write(Buffer.alloc(16_384, 'a'), 0, 16_384, 0);
    await file.write(Buffer.alloc(4096, 'b'), 0, 4096, 65_536);
    await file.close();
    await truncate(box.path('dir', 'file'), 1 << 20);
    await symlink('dir/file', box.path('link'));
  });
  afterAll(() => box.remove());

  interface Map {
    readonly size: number;
    readonly extents: readonly {
      readonly offset: number;
      readonly length: number;
      readonly storageOffset: number;
      readonly shares: number;
    }[];
  }
  const mapOf = async (path: string): Promise<Map> => JSON.parse(await box.must('iopmemfs', 'map', '--json', path));

  test('map shows extents and holes as xfs_bmap -v does, in sectors', async () => {
    const text = await box.must('iopmemfs', 'map', box.path('dir', 'file'));
    const [name, header, ...rows] = text.trimEnd().split('\n');
    expect(name).toBe(`${box.path('dir', 'file')}:`);
    expect(header).toMatch(/^EXT: +FILE-OFFSET +BLOCK-RANGE +TOTAL +FLAGS +DEVICE-OFFSET +BUS-ADDRESS$/);
    expect(rows.map((row) => row.trim().split(/ +/).slice(0, 5).join(' '))).toEqual([
      expect.stringMatching(/^0: \[0\.\.31\]: \d+\.\.\d+ 32 000000$/),
      '1: [32..127]: hole 96',
      expect.stringMatching(/^2: \[128\.\.135\]: \d+\.\.\d+ 8 000000$/),
      '3: [136..2047]: hole 1912',
      '2 extents, 2 would be',
    ]);
  });

  test('map --json gives the place of the bytes: they stand in the image there', async () => {
    const { size, extents } = await mapOf(box.path('dir', 'file'));
    expect(size).toBe(1 << 20);
    const image = await readFile(box.image);
    expect(extents.map(({ offset, length }) => [offset, length])).toEqual([
      [0, 16_384],
      [65_536, 4096],
    ]);
    const [first, second] = extents.map(({ storageOffset }) => storageOffset);
    expect(image.subarray(first, (first ?? 0) + 16_384).equals(Buffer.alloc(16_384, 'a'))).toBe(true);
    expect(image.subarray(second, (second ?? 0) + 4096).equals(Buffer.alloc(4096, 'b'))).toBe(true);
  });

  test('map follows symbolic links, as other programs do', async () => {
    expect((await mapOf(box.path('link'))).extents).toEqual((await mapOf(box.path('dir', 'file'))).extents);
  });

  test('clone shares the blocks until one of the two is written', async () => {
    await box.must('iopmemfs', 'clone', box.path('dir', 'file'), box.path('copy'));
    const source = await readFile(box.path('dir', 'file'));
    expect((await readFile(box.path('copy'))).equals(source)).toBe(true);
    expect((await mapOf(box.path('copy'))).extents.every(({ shares }) => shares === 2)).toBe(true);
    const copy = await open(box.path('copy'), 'r+');
    await copy.write('changed', 0);
    await copy.close();
    expect((await readFile(box.path('dir', 'file'))).equals(source)).toBe(true);
    const [a, b] = [await mapOf(box.path('copy')), await mapOf(box.path('dir', 'file'))];
    expect(a.extents[0]?.storageOffset).not.toBe(b.extents[0]?.storageOffset);
    expect(a.extents.at(-1)?.storageOffset).toBe(b.extents.at(-1)?.storageOffset);
  });

  test('clone into a directory keeps the name; an existing name is EEXIST', async () => {
    await writeFile(box.path('plain'), 'plain');
    await box.must('iopmemfs', 'clone', box.path('plain'), box.path('dir'));
    expect(await readFile(box.path('dir', 'plain'), 'utf8')).toBe('plain');
    const refused = await box.run('iopmemfs', 'clone', box.path('plain'), box.path('dir', 'file'));
    const there = `iopmemfs: ${box.path('dir', 'file')}: file already exists (EEXIST)\n`;
    expect(refused).toMatchObject({ code: 1, stderr: there });
  });

  test.each([
    ['clone', ['clone', 'dir', 'new'], 'dir', 'a directory: use -r (EISDIR)'],
    ['clone -r', ['clone', '-r', 'dir/file', 'new'], 'dir/file', 'not a directory: leave out -r (ENOTDIR)'],
    ['clone -r, name taken', ['clone', '-r', 'dir', 'dir/ä "b"'], 'dir/ä "b"/dir', 'file already exists (EEXIST)'],
    ['snapshot, name taken', ['snapshot', 'create', 'dir', 'ü'], 'dir/.snapshots/ü', 'file already exists (EEXIST)'],
    ['snapshot delete', ['snapshot', 'delete', 'dir', 'no'], 'dir/.snapshots/no', 'no such file or directory (ENOENT)'],
    ['quota of a file', ['quota', 'set', 'dir/file', '--bytes', '1m'], 'dir/file', 'not a directory (ENOTDIR)'],
    ['a snapshot', ['defragment', 'dir/.snapshots/ü/file'], 'dir/.snapshots/ü/file', 'read-only file system (EROFS)'],
    ['cow', ['cow', 'on', 'missing'], 'missing', 'no such file or directory (ENOENT)'],
  ])('a refusal names the file as the user knows it, and says what is wrong: %s', async (_, args, path, words) => {
    await mkdir(box.path('dir', '.snapshots', 'ü'), { recursive: true });
    await mkdir(box.path('dir', 'ä "b"', 'dir'), { recursive: true });
    const [command = '', ...rest] = args;
    const named = rest.map((word) => (/^(dir|new|missing)/.test(word) ? box.path(word) : word));
    const refused = await box.run('iopmemfs', command, ...named);
    expect(refused).toMatchObject({ code: 1, stderr: `iopmemfs: ${box.path(path)}: ${words}\n` });
  });

  test('a quota within a quota is refused, and the outer one is named', async () => {
    await mkdir(box.path('outer', 'inner'), { recursive: true });
    await box.must('iopmemfs', 'quota', 'set', box.path('outer'), '--bytes', '1m');
    const detail = `lies within ${box.path('outer')}, which has a quota, and they do not nest (EINVAL)`;
    expect(await box.run('iopmemfs', 'quota', 'set', box.path('outer', 'inner'), '--bytes', '1m')).toMatchObject({
      code: 1,
      stderr: `iopmemfs: ${box.path('outer', 'inner')}: ${detail}\n`,
    });
    expect(await box.run('iopmemfs', 'quota', 'set', box.path('outer'), '--inodes', '9')).toMatchObject({ code: 0 });
  });

  test('a snapshot has the name and the time that it was made with', async () => {
    const before = Date.now();
    await box.must('iopmemfs', 'snapshot', 'create', box.path('dir'), 'now');
    const after = Date.now();
    const listed: readonly { readonly name: string; readonly createdAt: string }[] = JSON.parse(
      await box.must('iopmemfs', 'snapshot', 'list', '--json', box.path('dir')),
    );
    const createdAt = Date.parse(listed.find(({ name }) => name === 'now')?.createdAt ?? '');
    expect(createdAt).toBeGreaterThanOrEqual(before);
    expect(createdAt).toBeLessThanOrEqual(after);
    const refused = await box.run('iopmemfs', 'snapshot', 'create', box.path('dir'), '..');
    expect(refused).toMatchObject({ code: 1, stderr: /"\.\." cannot be the name of a snapshot \(EINVAL\)/ });
  });

  test('a path that is not on a mount of ours is EXDEV, with what to do', async () => {
    for (const args of [
      ['map', '/etc/hostname'],
      ['clone', box.path('plain'), join(box.dir, 'outside')],
    ]) {
      const { code, stderr } = await box.run('iopmemfs', ...args);
      expect(code).toBe(1);
      expect(stderr).toMatch(/not on an iopmemfs mount whose daemon runs here; iopmemfs status lists them \(EXDEV\)/);
    }
    expect(await box.run('iopmemfs', 'map', box.path('missing'))).toMatchObject({
      code: 1,
      stderr: /missing: no such file or directory \(ENOENT\)$/m,
    });
    expect(await box.run('iopmemfs', 'map', box.mountPoint)).toMatchObject({
      code: 1,
      stderr: /only regular files have extents \(EINVAL\)/,
    });
  });

  test('status shows the blocks by role, by mount, by device, and all that runs', async () => {
    const text = await box.must('iopmemfs', 'status');
    expect(text).toContain(`mounted on ${box.mountPoint}`);
    expect(text).toMatch(/64\.0 MiB: .* in files \(.* shared\), .* free, .* granted, .* quarantined/);
    const byPath: { filesystem: { label: string; blocks: Record<string, number> } } = JSON.parse(
      await box.must('iopmemfs', 'status', '--json', box.path('dir')),
    );
    expect(byPath.filesystem.label).toBe('named');
    const { total, shared: _, ...roles } = byPath.filesystem.blocks;
    expect(Object.values(roles).reduce((sum, blocks) => sum + blocks, 0)).toBe(total);
    const all: readonly object[] = JSON.parse(await box.must('iopmemfs', 'status', '--json'));
    expect(all).toHaveLength(1);
    expect(await box.run('iopmemfs', 'status', '/')).toMatchObject({ code: 1, stderr: /\(ENOENT\)/ });
  });

  test('recall asks layouts back: of a file, of a client, all', async () => {
    const [server]: readonly { readonly addresses: readonly string[] }[] = JSON.parse(
      await box.must('iopmemfs', 'status', '--json'),
    );
    const peer = await RawClient.connect(server?.addresses[0] ?? '', { owner: 'holder' });
    try {
      const { ino, stateid } = await peer.create('held', Buffer.alloc(8192, 1));
      peer.connection.onOther = () => 'NOMATCHING_LAYOUT';
      peer.connection.answers = ['NOMATCHING_LAYOUT'];
      const recall = async (...args: readonly string[]): Promise<string> => {
        await peer.layout(ino, stateid, 1, 0, 8192);
        const said = await box.must('iopmemfs', 'recall', ...args);
        expect(JSON.parse(await box.must('iopmemfs', 'status', '--json', box.mountPoint))).toMatchObject({
          layouts: [],
        });
        return said;
      };
      expect(await recall(box.path('held'))).toBe(`the layouts of /held are given back to ${box.image}\n`);
      expect(await recall(box.path('held'), '--offset', '0', '--length', '8k', '--json')).toContain('"length": 8192');
      expect(await recall(box.mountPoint, '--client', String(peer.id))).toMatch(/^all layouts of client \d+ are/);
      expect(await recall(box.image)).toBe(`all layouts are given back to ${box.image}\n`);
      const of = await box.run('iopmemfs', 'recall', box.path('held'), '--client', String(peer.id));
      expect(of).toMatchObject({ code: 1, stderr: /\(EINVAL\)/ });
      const nobody = await box.run('iopmemfs', 'recall', box.mountPoint, '--client', '4711');
      expect(nobody).toMatchObject({ code: 1, stderr: /\(ENOENT\)/ });
      await box.must('iopmemfs', 'client', 'evict', String(peer.id));
    } finally {
      await peer.connection.end();
    }
  });

  test('client evict declares a client dead; what it had is revoked', async () => {
    const [server]: readonly { readonly addresses: readonly string[] }[] = JSON.parse(
      await box.must('iopmemfs', 'status', '--json'),
    );
    const peer = await RawClient.connect(server?.addresses[0] ?? '', { owner: 'dead' });
    try {
      const { ino, stateid } = await peer.create('leased', Buffer.alloc(8192, 1));
      await peer.layout(ino, stateid, 2, 0, 8192);
      const told = await box.run('iopmemfs', 'cancel', box.mountPoint, '--json');
      expect(told, 'no job runs').toMatchObject({ code: 1, stdout: '', stderr: /\(ESRCH\)/ });
      const evicted = await box.must('iopmemfs', 'client', 'evict', String(peer.id));
      expect(evicted).toBe(`client ${peer.id} is evicted from ${box.image}\n`);
      const text = await box.must('iopmemfs', 'status', '--json', box.mountPoint);
      expect(JSON.parse(text)).toMatchObject({ clients: [], layouts: [], quarantine: [] });
      const again = await box.run('iopmemfs', 'client', 'evict', String(peer.id), box.mountPoint);
      expect(again).toMatchObject({ code: 1, stderr: /\(ENOENT\)/ });
    } finally {
      await peer.connection.end();
    }
  });
});

describe('help', () => {
  test('every program says what it does, its options and its exit codes', async () => {
    const box = await Sandbox.create(4096);
    try {
      for (const program of ['mkfs', 'fsck', 'mount', 'iopmemfs'] as const) {
        const text = await box.must(program, '--help');
        expect(text).toMatch(/^Usage: /);
        expect(text).toContain('Exit code: 0');
      }
      const commands = await box.must('iopmemfs', '--help');
      for (const name of ['mount', 'umount', 'serve', 'map', 'clone', 'status', 'client'])
        expect(commands).toContain(`  ${name} `);
      expect(await box.run('iopmemfs', 'wat')).toMatchObject({ code: 1, stderr: /unknown command 'wat'/ });
      expect(await box.run('fsck')).toMatchObject({ code: 16, stderr: /missing required argument/ });
      expect(await box.run('fsck', '--wat', 'image')).toMatchObject({ code: 16 });
      expect(await box.run('fsck', box.image)).toMatchObject({ code: 8, stderr: /\(EINVAL\)/ });
    } finally {
      await box.remove();
    }
  });
});
