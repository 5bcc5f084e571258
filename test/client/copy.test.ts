/** Copies that the kernel makes between the memory of the device and files, block devices and sockets. */
import { spawnSync } from 'node:child_process';
import { open, readFile, stat, writeFile as writeOutside } from 'node:fs/promises';
import { connect as connectSocket, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { buffer as collect } from 'node:stream/consumers';
import { expect } from 'vitest';
import { n, readAll, root, withHandle, writeFile } from '../support/filesystem.ts';
import { pattern, statusOf, test, until } from './rig.ts';

const block = 4096;
const size = 9 * 2 ** 20 + 1234;

/** Both ends of a connection over a Unix socket. */
async function socketPair(path: string): Promise<{ readonly here: Socket; readonly there: Socket }> {
  const server = createServer({ pauseOnConnect: true });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const there = new Promise<Socket>((resolve) => server.once('connection', resolve));
  const here = connectSocket(path);
  const pair = { here, there: await there };
  server.close();
  return pair;
}

test('a file with a hole goes to another file, past the page cache as well, and through no buffer', async ({ rig }) => {
  const { lab } = rig;
  const ino = await writeFile(lab.vfs, 'data', pattern(size, 1));
  await withHandle(lab.vfs, ino, 2, (handle) => lab.vfs.write(handle, 12 * 2 ** 20, pattern(5000, 2), root));
  const expected = await readAll(lab.vfs, ino);
  const client = await rig.connect();
  const file = await client.open('data');
  for (const direct of [false, true]) {
    const target = join(lab.dir, `copy-${direct}`);
    const result = await file.copyTo(target, { direct });
    expect(result).toMatchObject({ bytesCopied: expected.length, bytesStaged: 0 });
    expect((await readFile(target)).equals(expected)).toBe(true);
  }
  const handle = await open(join(lab.dir, 'copy-false'), 'r+');
  const part = await file.copyTo(handle, { start: block, length: 10_000, position: 77 });
  await handle.close();
  expect(part).toMatchObject({ bytesCopied: 10_000, bytesStaged: 0, direct: false });
  expected.copy(expected, 77, block, block + 10_000);
  expect((await readFile(join(lab.dir, 'copy-false'))).equals(expected)).toBe(true);
  expect(client.counters.serverBytesRead).toBe(0);
});

test('a file comes from another one: new, over a clone, and from within a block', async ({ rig }) => {
  const { lab } = rig;
  const client = await rig.connect();
  const source = join(lab.dir, 'source');
  const content = pattern(size, 3);
  await writeOutside(source, content);
  await client.writeFile('old', pattern(size + 3 * block, 4));
  await client.clone('old', 'clone');
  const clone = await client.open('clone', 'r+');
  expect(await clone.copyFrom(source)).toMatchObject({ bytesCopied: size, bytesStaged: 0 });
  const merged = Buffer.concat([content, pattern(size + 3 * block, 4).subarray(size)]);
  expect((await client.readFile('clone')).equals(merged)).toBe(true);
  expect((await client.readFile('old')).equals(pattern(size + 3 * block, 4))).toBe(true);

  const fresh = await client.open('fresh', 'w+');
  const from = { start: 100, position: 3 * block, length: 2 * block };
  expect(await fresh.copyFrom(source, from)).toMatchObject({
    bytesCopied: 2 * block,
    bytesStaged: block - 100,
    reason: 'does not begin with a block',
  });
  expect(await fresh.copyFrom(source, { start: 4 * block, direct: true })).toMatchObject({
    bytesCopied: size,
    bytesStaged: 0,
  });
  const { ino } = await lab.vfs.lookup(lab.vfs.rootIno, n('fresh'), root);
  const expected = Buffer.concat([Buffer.alloc(4 * block), content]);
  content.copy(expected, 100, 3 * block, 5 * block);
  expect((await readAll(lab.vfs, ino)).equals(expected)).toBe(true);
});

test('over a socket, while somebody wants the file back: both get what they want', async ({ rig }) => {
  const { lab } = rig;
  await writeFile(lab.vfs, 'data', pattern(size, 5));
  const client = await rig.connect();
  const other = await rig.connect();
  const { here, there } = await socketPair(join(lab.dir, 'pair.sock'));
  const file = await client.open('data');
  const sent = file.copyTo(here);
  await until('the copy holds a layout', () => rig.server.status().layouts.some(({ ino }) => ino === file.ino));
  const wanted = await other.open('data', 'r+');
  const written = wanted.write(Buffer.alloc(block, 9), 0, block, 0);
  await until('it is asked for', () => client.counters.recalls > 0);
  const received = collect(there);
  const { bytesCopied } = await sent;
  here.end();
  expect(bytesCopied).toBe(size);
  expect((await written).bytesWritten).toBe(block);
  expect((await received).equals(pattern(size, 5))).toBe(true);
});

test('without the device it goes through a buffer, and says so', async ({ rig }) => {
  const client = await rig.connect({ device: 'none' });
  const source = join(rig.lab.dir, 'source');
  await writeOutside(source, pattern(size, 6));
  const file = await client.open('data', 'w+');
  const came = await file.copyFrom(source);
  expect(came).toMatchObject({ bytesCopied: size, bytesStaged: size, reason: /no device|not mapped/ });
  await file.sync();
  const target = join(rig.lab.dir, 'target');
  expect(await file.copyTo(target)).toMatchObject({ bytesCopied: size, bytesStaged: size });
  expect((await readFile(target)).equals(pattern(size, 6))).toBe(true);
});

test('what is wrong is said, and nothing stays held', async ({ rig }) => {
  const client = await rig.connect();
  const file = await client.open('data', 'w+');
  await expect(file.copyFrom(join(rig.lab.dir, 'missing'))).rejects.toMatchObject({ code: 'ENOENT' });
  expect(await statusOf(file.copyTo('/dev/null', { start: -1 }))).toBe('ARGUMENT');
  await file.writeFile(pattern(size, 7));
  await expect(file.copyTo('/dev/full')).rejects.toMatchObject({ code: 'ENOSPC' });
  await expect(file.copyTo('/dev/null', { signal: AbortSignal.abort(new Error('no more')) })).rejects.toThrow(
    'no more',
  );
  const { here, there } = await socketPair(join(rig.lab.dir, 'pair.sock'));
  there.destroy();
  await expect(file.copyTo(here)).rejects.toThrow();
  await file.close();
  expect(rig.server.status().layouts).toEqual([]);
});

function loopDevice(path: string): string | undefined {
  const { status, stdout } = spawnSync('losetup', ['--find', '--show', path], { encoding: 'utf8' });
  return status === 0 ? stdout.trim() : undefined;
}

test('to and from a block device, past its page cache (skipped where there are no loop devices)', async ({
  rig,
  skip,
}) => {
  const disk = join(rig.lab.dir, 'disk');
  await writeOutside(disk, Buffer.alloc(16 * 2 ** 20));
  const device = loopDevice(disk);
  skip(device === undefined, 'losetup gives no device');
  try {
    await writeFile(rig.lab.vfs, 'data', pattern(size, 8));
    const client = await rig.connect();
    const file = await client.open('data');
    expect((await stat(device ?? '')).isBlockDevice()).toBe(true);
    expect(await file.copyTo(device ?? '', { position: block })).toEqual({
      bytesCopied: size,
      bytesStaged: 0,
      direct: true,
    });
    const back = await client.open('back', 'w+');
    const came = await back.copyFrom(device ?? '', { position: block, length: size });
    expect(came).toEqual({ bytesCopied: size, bytesStaged: 0, direct: true });
    expect((await back.readFile()).equals(pattern(size, 8))).toBe(true);
  } finally {
    spawnSync('losetup', ['--detach', device ?? '']);
  }
});
