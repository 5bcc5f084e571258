/** The kernel believes names and attributes for long: whatever a peer or the daemon changes it is told of. */
import { link, mkdir, open, rename, rmdir, stat, symlink, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Client, connect } from '../../client/index.ts';
import { canMount, Sandbox } from './sandbox.ts';

const soon = { timeout: 30_000, interval: 20 };

describe.runIf(canMount)('what the kernel believes', () => {
  let box: Sandbox;
  let peer: Client;
  beforeEach(async () => {
    box = await Sandbox.create();
    await box.must('mkfs', box.image);
    const address = `unix:${join(box.dir, 'mds.sock')}`;
    await box.mount('--listen', address);
    peer = await connect(address, { device: 'none' });
  });
  afterEach(async () => {
    try {
      await peer?.close();
    } finally {
      await box.remove();
    }
  });
  const isThere = (...names: readonly string[]): Promise<boolean> =>
    stat(box.path(...names)).then(
      () => true,
      () => false,
    );

  test.each<readonly [string, (peer: Client) => Promise<unknown>]>([
    ['a file', async (p) => (await p.open('/dir/new', 'w')).close()],
    ['a directory', (p) => p.mkdir('/dir/new')],
    ['a symbolic link', (p) => p.symlink('.', '/dir/new')],
    ['a link', (p) => p.link('/file', '/dir/new')],
    ['a file from elsewhere', (p) => p.rename('/file', '/dir/new')],
    ['a clone of a file', (p) => p.clone('/file', '/dir/new')],
    ['a clone of a tree', (p) => p.cloneTree('/tree', '/dir/new')],
  ])('a name that was not there is there when a peer made it: %s', async (_what, make) => {
    for (const name of ['dir', 'tree']) await mkdir(box.path(name));
    await writeFile(box.path('file'), 'text');
    expect(await isThere('dir', 'new')).toBe(false);
    expect(await isThere('dir', 'new')).toBe(false);
    await make(peer);
    expect(await isThere('dir', 'new')).toBe(true);
  });

  test('a snapshot that was not there is there when a peer made it, and gone when it deleted it', async () => {
    await mkdir(box.path('dir'));
    await writeFile(box.path('dir', 'file'), 'then');
    const inside = ['dir', '.snapshots', 'one', 'file'];
    expect(await isThere(...inside)).toBe(false);
    await peer.snapshot('/dir', 'one');
    expect(await isThere(...inside)).toBe(true);
    await peer.rmdir('/dir/.snapshots/one');
    expect(await isThere(...inside)).toBe(false);
  });

  test('names that programs here make, move and remove are as they left them', async () => {
    for (let round = 0; round < 3; round++) {
      for (const name of ['one', 'two', 'three', 'dir', 'link', 'symlink']) expect(await isThere(name)).toBe(false);
      await writeFile(box.path('one'), 'text');
      await rename(box.path('one'), box.path('two'));
      await link(box.path('two'), box.path('link'));
      await symlink('two', box.path('symlink'));
      await mkdir(box.path('dir'));
      expect(await isThere('one')).toBe(false);
      for (const name of ['two', 'dir', 'link', 'symlink']) expect(await isThere(name)).toBe(true);
      for (const name of ['two', 'link', 'symlink']) await unlink(box.path(name));
      await rmdir(box.path('dir'));
    }
  });

  test('the time of access that a peer moves by reading through the server', async () => {
    await writeFile(box.path('file'), 'text');
    await mkdir(box.path('dir'));
    const atime = async (name: string) => (await stat(box.path(name), { bigint: true })).atimeNs;
    const before = [await atime('file'), await atime('dir')];
    const file = await peer.open('/file', 'r');
    await file.read(Buffer.alloc(4), 0, 4, 0);
    await file.close();
    await peer.readdir('/dir');
    await expect.poll(() => atime('file'), soon).toBeGreaterThan(before[0] ?? 0n);
    await expect.poll(() => atime('dir'), soon).toBeGreaterThan(before[1] ?? 0n);
  });

  test('.snapshots looks like its directory a second later', async () => {
    await mkdir(box.path('dir'));
    const mtime = async (...names: readonly string[]) => (await stat(box.path(...names), { bigint: true })).mtimeNs;
    expect(await mtime('dir', '.snapshots')).toBe(await mtime('dir'));
    await writeFile(box.path('dir', 'file'), '');
    await expect.poll(() => mtime('dir', '.snapshots'), soon).toBe(await mtime('dir'));
  });

  test('a file of a deleted snapshot that is still open has no links left', async () => {
    await mkdir(box.path('dir'));
    await writeFile(box.path('dir', 'file'), 'text');
    await mkdir(box.path('dir', '.snapshots', 'one'));
    const file = await open(box.path('dir', '.snapshots', 'one', 'file'), 'r');
    try {
      expect((await file.stat()).nlink).toBe(1);
      await rmdir(box.path('dir', '.snapshots', 'one'));
      await expect.poll(async () => (await file.stat()).nlink, soon).toBe(0);
    } finally {
      await file.close();
    }
  });
});
