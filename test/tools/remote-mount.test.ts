/** Mounts over a server (docs/remote-mount.md): each with its own daemon, kernel and caches, as on different machines. */
import { copyFile, mkdir, open, readdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { RemoteBox } from './remote-box.ts';
import { canMount } from './sandbox.ts';

describe.runIf(canMount)('remote mounts', () => {
  let remote: RemoteBox;
  /** Two of them, on one server that mounts nothing itself. */
  let a = '';
  let b = '';
  beforeAll(async () => {
    remote = await RemoteBox.create('--listen', 'tcp://127.0.0.1:0');
    a = await remote.mount('a');
    b = await remote.mount('b');
  });
  afterAll(() => remote.remove());

  test('is a filesystem: programs run from it, trees are made and removed, the mount table names its server', async () => {
    expect(await readFile('/proc/self/mounts', 'utf8')).toContain(`${remote.address} ${a} fuse.iopmemfs rw,`);
    await mkdir(`${a}/d`);
    await copyFile('/bin/true', `${a}/d/true`);
    expect(await remote.box.command(`${a}/d/true`)).toMatchObject({ code: 0 });
    expect((await readFile(`${a}/d/true`)).equals(await readFile('/bin/true'))).toBe(true);
    await symlink('true', `${a}/d/link`);
    await rename(`${a}/d/true`, `${a}/d/other`);
    expect((await readdir(`${a}/d`)).sort()).toEqual(['link', 'other']);
    await rm(`${a}/d`, { recursive: true });
    expect(await readdir(a)).toEqual([]);
  });

  test('a subtree, over TCP', async () => {
    await mkdir(`${a}/below/it`, { recursive: true });
    await writeFile(`${a}/below/it/file`, 'content');
    const address = remote.addresses.find((each) => each.startsWith('tcp:'));
    const sub = await remote.mountFrom(`${address}/below/it`, 'sub');
    expect(await readdir(sub)).toEqual(['file']);
    await writeFile(`${sub}/file`, 'written below');
    expect(await readFile(`${a}/below/it/file`, 'utf8')).toBe('written below');
    expect((await stat(`${sub}/..`)).ino).toBe((await stat(remote.box.dir)).ino);
    await remote.umount(sub);
  });

  test.for([
    ['a server that is not there', 'unix:/nowhere', /ENOENT|ECONNREFUSED/],
    ['a subtree that is not there', '', /ENOENT/],
  ] as const)('%s: exit code 32', async ([, address, message]) => {
    const tcp = remote.addresses.find((each) => each.startsWith('tcp:'));
    const directory = await remote.directory();
    const refused = await remote.box.run('iopmemfs', 'mount', address === '' ? `${tcp}/nowhere` : address, directory);
    expect(refused).toMatchObject({ code: 32, stderr: message });
  });

  test('what was closed on one mount is what an open on the other sees, both ways, also where it had read before', async () => {
    await writeFile(`${a}/file`, 'one');
    expect(await readFile(`${b}/file`, 'utf8')).toBe('one');
    await writeFile(`${b}/file`, 'two, and longer');
    expect(await readFile(`${a}/file`, 'utf8')).toBe('two, and longer');
    // The same size: nothing but the change tells.
    await writeFile(`${a}/file`, 'TWO, AND LONGER');
    expect(await readFile(`${b}/file`, 'utf8')).toBe('TWO, AND LONGER');
  });

  test('after fsync it is seen without a close, by a reader that opened before', async () => {
    await writeFile(`${a}/file`, 'a'.repeat(8192));
    const reader = await open(`${b}/file`);
    const bytes = Buffer.alloc(8192);
    await reader.read(bytes, 0, 8192, 0);
    const writer = await open(`${a}/file`, 'r+');
    await writer.write('b'.repeat(8192), 0);
    await writer.sync();
    await expect
      .poll(async () => (await reader.read(bytes, 0, 8192, 0), bytes.toString()), { timeout: 30_000 })
      .toBe('b'.repeat(8192));
    await Promise.all([reader.close(), writer.close()]);
  });

  test('what is appended on two mounts is all there', async () => {
    const mounts = [a, b];
    const writers = await Promise.all(mounts.map((m) => open(`${m}/log`, 'a')));
    for (let n = 0; n < 50; n++) {
      await Promise.all(writers.map((writer, who) => writer.write(`${who} ${String(n).padStart(5)}\n`)));
    }
    await Promise.all(writers.map((writer) => writer.close()));
    const lines = (await readFile(`${mounts[0]}/log`, 'utf8')).split('\n').slice(0, -1);
    expect(lines.toSorted()).toEqual(
      [0, 1].flatMap((who) => Array.from({ length: 50 }, (_, n) => `${who} ${String(n).padStart(5)}`)),
    );
  });

  test('an open file that is unlinked on another mount is read on', async () => {
    await writeFile(`${a}/file`, 'kept');
    const reader = await open(`${a}/file`);
    await rm(`${b}/file`);
    expect(await reader.readFile('utf8')).toBe('kept');
    expect((await reader.stat()).nlink).toBe(0);
    await reader.close();
    expect((await stat(a)).nlink).toBeGreaterThan(0);
  });
});
