/** The forms of node's FileHandle: arguments, positions, flags, streams. */
import { constants } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { describe, expect } from 'vitest';
import { n, readAll, root, withHandle, writeFile } from '../support/filesystem.ts';
import { pattern, statusOf, test } from './rig.ts';

const textOf = (result: { buffer: Uint8Array; bytesRead: number }): string =>
  Buffer.from(result.buffer).toString('latin1', 0, result.bytesRead);

describe('read and write', () => {
  test('take their arguments in all of the forms that node knows', async ({ rig }) => {
    await writeFile(rig.lab.vfs, 'data', Buffer.from('abcdefghij'));
    const client = await rig.connect();
    const file = await client.open('data', 'r+');
    expect(textOf(await file.read(Buffer.alloc(3), 0, 3, 2))).toBe('cde');
    expect(textOf(await file.read({ buffer: Buffer.alloc(2), position: 8 }))).toBe('ij');
    expect(textOf(await file.read(Buffer.alloc(4), { offset: 1, length: 2, position: 0n }))).toBe('\0a');
    expect(textOf(await file.read(Buffer.alloc(3)))).toBe('abc');
    expect(textOf(await file.read({ length: 2 }))).toBe('de');
    expect(textOf(await file.read(new Uint8Array(2), 0, null, null))).toBe('fg');
    expect((await file.read()).bytesRead).toBe(3);
    expect((await file.read()).bytesRead).toBe(0);

    expect(await file.write('XY', 0)).toMatchObject({ bytesWritten: 2, buffer: 'XY' });
    expect(await file.write(Buffer.from('..Z'), 2, 1, 2)).toMatchObject({ bytesWritten: 1 });
    expect(await file.write(Buffer.from('1234'), { offset: 1, length: 2, position: 3 })).toMatchObject({
      bytesWritten: 2,
    });
    expect(await file.write('ff', 5, 'hex')).toMatchObject({ bytesWritten: 1 });
    expect((await file.readFile('latin1')).slice(0, 8)).toBe('XYZ23\xffgh');
  });

  test('without a position go on where the last one ended, one after the other', async ({ rig }) => {
    const client = await rig.connect();
    const file = await client.open('data', 'w+');
    const pieces = Array.from({ length: 20 }, (_, index) => pattern(100 + index, index + 1));
    await Promise.all(pieces.map((piece) => file.write(piece)));
    const whole = Buffer.concat(pieces);
    expect((await file.readFile()).equals(whole)).toBe(true);

    const reader = await client.open('data');
    const read = await Promise.all(pieces.map((piece) => reader.read(Buffer.alloc(piece.length))));
    expect(Buffer.concat(read.map(({ buffer }) => buffer)).equals(whole)).toBe(true);
  });

  test('readv and writev take one buffer after the other', async ({ rig }) => {
    const client = await rig.connect();
    const file = await client.open('data', 'w+');
    expect(await file.writev([Buffer.from('ab'), new Uint16Array([0x6463]), Buffer.from('e')], 1)).toMatchObject({
      bytesWritten: 5,
    });
    const buffers = [Buffer.alloc(2), Buffer.alloc(3), Buffer.alloc(9)];
    expect(await file.readv(buffers, 0)).toMatchObject({ bytesRead: 6, buffers });
    expect(Buffer.concat(buffers).toString('latin1', 0, 6)).toBe('\0abcde');
    expect(await file.readv([Buffer.alloc(4)])).toMatchObject({ bytesRead: 4 });
    expect(await file.readv([Buffer.alloc(4)])).toMatchObject({ bytesRead: 2 });
  });

  test('say which way the bytes went, of one call and of the handle', async ({ rig }) => {
    await writeFile(rig.lab.vfs, 'data', pattern(10_000, 1));
    const near = await (await rig.connect()).open('data');
    const far = await (await rig.connect({ device: 'none' })).open('data');
    await near.readFile();
    expect(near.counters).toMatchObject({ directBytesRead: 10_000, serverBytesRead: 0, lastReason: undefined });
    await far.readFile();
    expect(far.counters).toMatchObject({
      directBytesRead: 0,
      serverBytesRead: 10_000,
      lastReason: 'no device, as asked for',
    });
  });
});

describe('flags', () => {
  test('appending is at the end whoever lengthened the file, over what this client wrote and did not sync', async ({
    rig,
  }) => {
    const client = await rig.connect();
    const direct = await client.open('log', 'w+');
    await direct.write('one ', 0);
    const log = await client.open('log', 'a');
    expect(await log.write('two ', 0)).toMatchObject({ path: 'server', bytesWritten: 4 });
    const { ino } = await client.stat('log');
    await withHandle(rig.lab.vfs, ino, 2, (handle) => rig.lab.vfs.write(handle, 8, Buffer.from('three '), root));
    await log.appendFile('four');
    expect(await direct.readFile('utf8')).toBe('one two three four');
    await direct.write('ONE', 0);
    await log.close();
    await client.appendFile('log', ' five');
    await direct.close();
    expect((await readAll(rig.lab.vfs, ino)).toString()).toBe('ONE two three four five');
    expect(() => log.writeSync(Buffer.from('x'), 0, 1, 0)).toThrow(/CLOSED/);
  });

  test('several clients that append leave every piece whole', async ({ rig }) => {
    const logs = await Promise.all([1, 2, 3].map(async () => (await rig.connect()).open('log', 'a')));
    const lines = logs.flatMap((log, who) =>
      Array.from({ length: 20 }, (_, index) => ({ log, text: `${who}:${index}\n` })),
    );
    await Promise.all(lines.map(({ log, text }) => log.write(text)));
    await Promise.all(logs.map((log) => log.close()));
    const { ino } = await rig.lab.vfs.lookup(rig.lab.vfs.rootIno, n('log'), root);
    const found = (await readAll(rig.lab.vfs, ino)).toString().split('\n').filter(Boolean);
    expect(found.toSorted()).toEqual(lines.map(({ text }) => text.trim()).toSorted());
  });

  test('an append after a restart of the server still appends', async ({ rig }) => {
    const client = await rig.connect();
    const log = await client.open('log', 'a');
    await log.write('before ');
    await log.sync();
    await rig.restartServer();
    // An append that was on its way may have happened or not, and is not sent again: nothing is on its way now.
    await client.stat('/');
    await log.write('after');
    await log.close();
    expect(await client.readFile('log', 'utf8')).toBe('before after');
  });

  test('synchronous writes are durable and seen when they settle', async ({ rig }) => {
    const client = await rig.connect();
    const file = await client.open('data', 'w+');
    const durable = await client.open('data', 'rs+');
    await durable.write('now', 0);
    expect((await readAll(rig.lab.vfs, file.ino)).toString()).toBe('now');
    expect(() => durable.writeSync(Buffer.alloc(1), 0, 1, 0)).toThrow(/EAGAIN/);
  });

  test('may be the numbers of open(2)', async ({ rig }) => {
    const { O_CREAT, O_EXCL, O_RDWR, O_WRONLY, O_APPEND, O_NOFOLLOW, O_DIRECTORY, O_TRUNC } = constants;
    const client = await rig.connect();
    await (await client.open('data', O_CREAT | O_EXCL | O_RDWR, '600')).writeFile('content');
    expect((await client.stat('data')).mode & 0o7777).toBe(0o600);
    expect(await statusOf(client.open('data', O_CREAT | O_EXCL | O_RDWR))).toBe('EXIST');
    await (await client.open('data', O_WRONLY | O_APPEND)).write('!');
    expect(await client.readFile('data', 'utf8')).toBe('content!');
    await (await client.open('data', O_WRONLY | O_TRUNC)).close();
    expect((await client.stat('data')).size).toBe(0);
    await client.symlink('data', 'link');
    expect(await statusOf(client.open('link', O_NOFOLLOW))).toBe('LOOP');
    expect(await statusOf(client.open('data', O_DIRECTORY))).toBe('ARGUMENT');
    expect(await statusOf(client.open('data', 3))).toBe('ARGUMENT');
  });
});

describe('streams', () => {
  test('read what is between start and end, and close the handle', async ({ rig }) => {
    const content = pattern(3_000_000, 1);
    await writeFile(rig.lab.vfs, 'data', content);
    const client = await rig.connect();
    const file = await client.open('data');
    const stream = file.createReadStream({ start: 10, end: 2_500_009 });
    const pieces: Buffer[] = [];
    for await (const piece of stream) pieces.push(piece);
    expect(Buffer.concat(pieces).equals(content.subarray(10, 2_500_010))).toBe(true);
    expect(stream).toMatchObject({ bytesRead: 2_500_000, directBytes: 2_500_000, reason: undefined });
    expect(await statusOf(file.read())).toBe('CLOSED');
  });

  test('one ends as another begins: a copy is durable when the pipeline settles', async ({ rig }) => {
    const content = pattern(3_000_000, 2);
    await writeFile(rig.lab.vfs, 'from', content);
    const client = await rig.connect();
    const writer = (await client.open('to', 'w')).createWriteStream();
    await pipeline((await client.open('from')).createReadStream(), writer);
    expect(writer).toMatchObject({ bytesWritten: 3_000_000, directBytes: 3_000_000 });
    expect((await readAll(rig.lab.vfs, (await client.stat('to')).ino)).equals(content)).toBe(true);
  });

  test('lines, and the web form, leave what was asked to be left', async ({ rig }) => {
    await writeFile(rig.lab.vfs, 'text', Buffer.from('one\r\ntwo\nthree'));
    const client = await rig.connect();
    const lines: string[] = [];
    for await (const line of (await client.open('text')).readLines()) lines.push(line);
    expect(lines).toEqual(['one', 'two', 'three']);
    const file = await client.open('text');
    const pieces: Uint8Array[] = [];
    for await (const piece of file.readableWebStream()) pieces.push(piece);
    expect(Buffer.concat(pieces).toString()).toBe('one\r\ntwo\nthree');
    expect((await file.stat()).size).toBe(14);
  });

  test('a destroyed stream stops, and says what the file said', async ({ rig }) => {
    const client = await rig.connect();
    const file = await client.open('data', 'w+');
    await file.writeFile(pattern(100_000, 1));
    const stopped = file.createReadStream({ highWaterMark: 1000, autoClose: false });
    for await (const piece of stopped) if (piece.length > 0) break;
    expect(stopped.destroyed).toBe(true);
    expect((await file.stat()).size).toBe(100_000);
    const aborting = new AbortController();
    const aborted = file.createReadStream({ signal: aborting.signal });
    aborting.abort();
    await expect(aborted.toArray()).rejects.toMatchObject({ name: 'AbortError' });
    const refused = (await client.open('data')).createWriteStream();
    await expect(pipeline(['x'], refused)).rejects.toMatchObject({ status: 'NOT_OPEN_FOR' });
  });
});

test('close waits for the reads and writes that nobody waited for', async ({ rig }) => {
  const client = await rig.connect();
  const content = pattern(10_000, 3);
  for (const position of [0, null]) {
    const file = await client.open('data', 'w+');
    const written = [
      file.write(content, 0, 5000, position),
      file.write(content, 5000, 5000, position === null ? null : 5000),
    ];
    await file.close();
    expect(await Promise.all(written)).toMatchObject([{ bytesWritten: 5000 }, { bytesWritten: 5000 }]);
    expect((await client.readFile('data')).equals(content)).toBe(true);
  }
  const file = await client.open('data');
  const read = [file.read(Buffer.alloc(100), 0, 100, 0), file.readv([Buffer.alloc(50)], 100)];
  await file.close();
  expect(await Promise.all(read)).toMatchObject([{ bytesRead: 100 }, { bytesRead: 50 }]);
});

test('attributes of the handle are those of the file', async ({ rig }) => {
  const client = await rig.connect({ uid: 0, gid: 0 });
  const file = await client.open('data', 'w');
  await file.write('content');
  await file.chown(5, 6);
  await file.chmod('4755');
  await file.utimes(1.5, new Date(2500));
  const stat = await client.stat('data');
  expect(stat).toMatchObject({ mode: 0o104755, uid: 5, gid: 6, size: 7, atimeMs: 1500, mtimeMs: 2500 });
  expect(stat.mtime).toEqual(new Date(2500));
  await file.close();
  expect((await client.stat('data')).mtimeMs).toBe(2500);
  expect([stat.isFile(), stat.isDirectory(), stat.isFIFO(), stat.isSocket(), stat.isBlockDevice()]).toEqual([
    true,
    false,
    false,
    false,
    false,
  ]);
});
