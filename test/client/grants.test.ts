/** What the library asks for: few layouts for a stream, no more than is needed beside others, and none of the program's own. */
import { describe, expect } from 'vitest';
import { readAll, root, writeFile } from '../support/filesystem.ts';
import { pattern, statusOf, test } from './rig.ts';

const block = 4096;
const mib = 2 ** 20;

test('a stream of 1 MiB writes asks seldom, and once to be read again', async ({ rig }) => {
  const client = await rig.connect();
  const file = await client.open('stream', 'w+');
  const piece = pattern(mib, 1);
  for (let at = 0; at < 32 * mib; at += mib) await file.write(piece, 0, mib, at);
  expect(client.counters.layoutGets).toBeLessThanOrEqual(6);
  await file.close();
  expect(rig.lab.fs.status().blocks.provisional).toBe(0);

  const again = await client.open('stream');
  const before = client.counters.layoutGets;
  const buffer = Buffer.alloc(mib);
  for (let at = 0; at < 32 * mib; at += mib) {
    expect(await again.read(buffer, 0, mib, at)).toMatchObject({ bytesRead: mib, path: 'direct' });
  }
  expect(client.counters.layoutGets - before).toBe(1);
});

test('two clients that write by turns take nothing from each other once each has asked', async ({ rig }) => {
  await writeFile(rig.lab.vfs, 'shared', Buffer.alloc(16 * mib));
  const [even, odd] = [await rig.connect(), await rig.connect()];
  const files = [await even.open('shared', 'r+'), await odd.open('shared', 'r+')];
  const piece = pattern(mib, 1);
  for (let round = 0; round < 3; round++) {
    const before = rig.server.status().counters.recallsSent;
    for (let step = 0; step < 16; step++) await files[step % 2]?.write(piece, 0, mib, step * mib);
    if (round > 0) expect(rig.server.status().counters.recallsSent - before).toBe(0);
  }
  for (const file of files) await file.sync();
  expect((await readAll(rig.lab.vfs, files[0]?.ino ?? 0)).equals(Buffer.concat(Array(16).fill(piece)))).toBe(true);
});

describe('a layout of the program for reading', () => {
  test('is not taken away by a write of the library: that goes through the server', async ({ rig }) => {
    await writeFile(rig.lab.vfs, 'data', pattern(4 * block, 1));
    const client = await rig.connect();
    const file = await client.open('data', 'r+');
    const layout = await file.layout({ offset: block, length: block, iomode: 'READ' });
    const written = await file.write(pattern(block, 2), 0, block, block);
    expect(written).toMatchObject({ bytesWritten: block, path: 'server', reason: /^LAYOUT_HELD/ });
    expect(layout.ranges).toEqual([{ offset: block, length: block }]);
    expect(layout.live).toBe(true);

    // Beside it the library writes directly, and reads all of it so.
    expect(await file.write(pattern(block, 3), 0, block, 2 * block)).toMatchObject({ path: 'direct' });
    expect(await file.write(pattern(block, 4), 0, block, 0)).toMatchObject({ path: 'direct' });
    const buffer = Buffer.alloc(4 * block);
    expect(await file.read(buffer, 0, 4 * block, 0)).toMatchObject({ path: 'direct' });
    const tail = pattern(4 * block, 1).subarray(3 * block);
    expect(buffer.equals(Buffer.concat([pattern(block, 4), pattern(block, 2), pattern(block, 3), tail]))).toBe(true);
    expect(layout.ranges).toEqual([{ offset: block, length: block }]);

    const [held] = rig.server.status().layouts;
    expect(held?.segments.filter(({ iomode }) => iomode === 2).map(({ offset }) => offset)).not.toContain(block);
    await layout.return();
    expect(await file.write(pattern(block, 5), 0, block, block)).toMatchObject({ path: 'direct' });
  });

  test('keeps one for writing from the program itself until it is returned', async ({ rig }) => {
    await writeFile(rig.lab.vfs, 'data', pattern(4 * block, 1));
    const file = await (await rig.connect()).open('data', 'r+');
    const layout = await file.layout({ offset: 0, length: block, iomode: 'READ' });
    expect(await statusOf(file.layout({ offset: 0, length: 2 * block, iomode: 'RW' }))).toBe('LAYOUT_HELD');
    await layout.return();
    const writing = await file.layout({ offset: 0, length: 2 * block, iomode: 'RW' });
    expect(writing.ranges).toEqual([{ offset: 0, length: 2 * block }]);
  });
});

test('a layout of the program is of what it asked for, and the library uses the rest', async ({ rig }) => {
  await writeFile(rig.lab.vfs, 'data', pattern(8 * block, 1));
  const file = await (await rig.connect()).open('data', 'r+');
  const layout = await file.layout({ offset: 2 * block, length: 2 * block, iomode: 'RW' });
  expect(layout.ranges).toEqual([{ offset: 2 * block, length: 2 * block }]);
  expect(await file.write(pattern(block, 2), 0, block, 0)).toMatchObject({ path: 'direct' });
  expect(await file.write(pattern(block, 2), 0, block, 5 * block)).toMatchObject({ path: 'direct' });
  expect(await statusOf(file.write(pattern(block, 2), 0, block, 3 * block))).toBe('LAYOUT_HELD');
  await rig.lab.vfs.setattr(file.ino, { size: 8 * block }, root);
  await layout.return();
  expect(layout.ranges).toEqual([]);
});
