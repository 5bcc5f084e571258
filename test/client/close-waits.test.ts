/** close() while other calls on the same file are under way: it waits for them, as that of node's FileHandle. */
import { connect as connectSocket, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { buffer as collect } from 'node:stream/consumers';
import { expect } from 'vitest';
import { readAll, writeFile } from '../support/filesystem.ts';
import { pattern, test, until } from './rig.ts';

const block = 4096;
const MiB = 2 ** 20;

test('a write whose layout is on its way when close is called is in the file', async ({ rig }) => {
  const client = await rig.connect();
  const file = await client.open('data', 'w+');
  const content = pattern(2 * block, 1);
  const writing = file.write(content, 0, content.length, 0);
  await file.close();
  expect((await writing).bytesWritten).toBe(content.length);
  expect((await readAll(rig.lab.vfs, file.ino)).equals(content)).toBe(true);
  expect(rig.server.status().layouts).toEqual([]);
});

test('the layout of a copy stays until the kernel is done, though nobody waits for the copy', async ({ rig }) => {
  await writeFile(rig.lab.vfs, 'data', pattern(9 * MiB, 2));
  const client = await rig.connect();
  const server = createServer({ pauseOnConnect: true });
  await new Promise<void>((resolve) => server.listen(join(rig.lab.dir, 'sink.sock'), resolve));
  const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve));
  const sink = connectSocket(join(rig.lab.dir, 'sink.sock'));
  const peer = await accepted;
  server.close();
  // More than the kernel takes: what comes after it waits.
  sink.write(Buffer.alloc(8 * MiB));
  const file = await client.open('data');
  const leaving = new AbortController();
  const copying = file.copyTo(sink, { signal: leaving.signal });
  const holds = (): boolean => rig.server.status().layouts.some(({ ino }) => ino === file.ino);
  await until('bytes of the device wait in the socket', () => sink.writableLength > 8 * MiB);
  leaving.abort(new Error('left'));
  await expect(copying).rejects.toThrow('left');
  const closing = file.close();
  for (let asked = 0; asked < 3; asked++) await client.stat('data');
  expect(holds()).toBe(true);
  const received = collect(peer);
  await closing;
  expect(holds()).toBe(false);
  sink.end();
  const bytes = (await received).subarray(8 * MiB);
  expect(bytes.equals(pattern(9 * MiB, 2).subarray(0, bytes.length))).toBe(true);
});
