import { describe, expect } from 'vitest';
import { clientLimits } from '../../client/limits.ts';
import { type Frame, frameKind, operations, status } from '../../mds/protocol/index.ts';
import { Lab, n, readAll, root, withHandle, writeFile } from '../support/filesystem.ts';
import { type ClientRig, pattern, statusOf, test, until } from './rig.ts';

const block = 4096;
const MiB = 2 ** 20;

const isRequest = (frame: Frame, operation: { readonly number: number }): boolean =>
  frame[0] === frameKind.request && frame[6] === operation.number;

describe('reading', () => {
  test('goes straight to the device under a layout', async ({ rig }) => {
    const content = pattern(3 * MiB + 123, 1);
    await writeFile(rig.lab.vfs, 'data', content);
    const client = await rig.connect();
    const file = await client.open('/data');
    const buffer = Buffer.alloc(content.length);
    expect(await file.read(buffer, 0, buffer.length, 0)).toMatchObject({ bytesRead: content.length, path: 'direct' });
    expect(buffer.equals(content)).toBe(true);
    expect(client.counters).toMatchObject({ directBytesRead: content.length, serverBytesRead: 0, layoutGets: 1 });
  });

  test('asks for a layout once, whatever is read and through whichever handle', async ({ rig }) => {
    await writeFile(rig.lab.vfs, 'data', pattern(2 * MiB, 1));
    const client = await rig.connect();
    const [one, two] = [await client.open('data'), await client.open('data')];
    const buffer = Buffer.alloc(10_000);
    for (const [file, position] of [
      [one, 0],
      [two, MiB],
      [one, 2 * MiB - 10_000],
    ] as const) {
      expect(await file.read(buffer, 0, 10_000, position)).toMatchObject({ bytesRead: 10_000, path: 'direct' });
    }
    await one.close();
    expect(two.readSync(buffer, 0, 10_000, 5)).toBe(10_000);
    expect(client.counters.layoutGets).toBe(1);
  });

  test('ends at the end of the file', async ({ rig }) => {
    await writeFile(rig.lab.vfs, 'data', pattern(5000, 1));
    const client = await rig.connect();
    const file = await client.open('data');
    const buffer = Buffer.alloc(block);
    expect((await file.read(buffer, 0, block, 4000)).bytesRead).toBe(1000);
    expect((await file.read(buffer, 0, block, 5000)).bytesRead).toBe(0);
    expect((await file.read(buffer, 0, block, 10 * MiB)).bytesRead).toBe(0);
    expect((await file.read(buffer, 0, 0, 0)).bytesRead).toBe(0);
  });

  test('sees the file grow', async ({ rig }) => {
    const ino = await writeFile(rig.lab.vfs, 'data', pattern(5000, 1));
    const client = await rig.connect();
    const file = await client.open('data');
    const buffer = Buffer.alloc(20_000);
    expect((await file.read(buffer, 0, 20_000, 0)).bytesRead).toBe(5000);
    await withHandle(rig.lab.vfs, ino, 2, (handle) => rig.lab.vfs.write(handle, 5000, pattern(9000, 2), root));
    expect((await file.read(buffer, 0, 20_000, 0)).bytesRead).toBe(14_000);
    expect(buffer.subarray(5000, 14_000).equals(pattern(9000, 2))).toBe(true);
  });

  test('holes are zeros', async ({ rig }) => {
    const ino = await writeFile(rig.lab.vfs, 'sparse', Buffer.alloc(0));
    await withHandle(rig.lab.vfs, ino, 2, (handle) => rig.lab.vfs.write(handle, 10 * block, Buffer.from('end'), root));
    const client = await rig.connect();
    const file = await client.open('sparse');
    const content = await file.readFile();
    expect(content.length).toBe(10 * block + 3);
    expect(content.subarray(0, 10 * block).every((byte) => byte === 0)).toBe(true);
    expect(content.subarray(10 * block).toString()).toBe('end');
    expect(client.counters.serverBytesRead).toBe(0);
  });

  test('into a part of the buffer, and nothing beside it', async ({ rig }) => {
    await writeFile(rig.lab.vfs, 'data', pattern(5000, 1));
    const client = await rig.connect();
    const file = await client.open('data');
    const buffer = Buffer.alloc(100, 0x77);
    await file.read(buffer, 10, 50, 3);
    expect(buffer.subarray(10, 60).equals(pattern(5000, 1).subarray(3, 53))).toBe(true);
    expect(buffer.subarray(0, 10).every((byte) => byte === 0x77)).toBe(true);
    expect(buffer.subarray(60).every((byte) => byte === 0x77)).toBe(true);
  });
});

describe('writing', () => {
  test('goes straight to the device, and is there for others after close', async ({ rig }) => {
    const content = pattern(5 * MiB + 77, 2);
    const client = await rig.connect();
    const file = await client.open('new', 'w');
    expect(await file.write(content, 0, content.length, 0)).toMatchObject({
      bytesWritten: content.length,
      path: 'direct',
    });
    await file.close();
    const { ino, size } = await client.stat('new');
    expect(size).toBe(content.length);
    expect((await readAll(rig.lab.vfs, ino)).equals(content)).toBe(true);
    expect(client.counters.serverBytesWritten).toBe(0);
    expect(rig.server.status().counters.bytesWritten).toBe(0);
  });

  test('in sequence asks for layouts of growing size, a logarithmic number of times', async ({ rig }) => {
    const client = await rig.connect();
    const file = await client.open('new', 'w');
    const piece = pattern(64 * 1024, 3);
    for (let at = 0; at < 24 * MiB; at += piece.length) await file.write(piece, 0, piece.length, at);
    // 2 + 4 + 8 + 16 MiB
    expect(client.counters.layoutGets).toBe(4);
    await file.close();
    expect((await client.stat('new')).size).toBe(24 * MiB);
  });

  test('pieces of any size and place, read back by this client, by the server, and after close', async ({ rig }) => {
    const client = await rig.connect();
    const file = await client.open('new', 'w+');
    const model = Buffer.alloc(300_000);
    let size = 0;
    for (const [index, [position, length]] of [
      [0, 1],
      [4095, 2],
      [100_000, 30_001],
      [99_990, 20],
      [8192, 4096],
      [8191, 4098],
      [250_000, 3],
      [0, 5000],
    ].entries()) {
      if (position === undefined || length === undefined) throw new Error('a pair');
      const bytes = pattern(length + 3, index).subarray(0, length);
      expect(await file.write(bytes, 0, length, position)).toMatchObject({ bytesWritten: length, path: 'direct' });
      bytes.copy(model, position);
      size = Math.max(size, position + length);
      expect((await file.readFile()).equals(model.subarray(0, size)), `after ${position}+${length}`).toBe(true);
      if (index % 3 === 2) {
        await file.sync();
        expect((await readAll(rig.lab.vfs, file.ino)).equals(model.subarray(0, size))).toBe(true);
      }
    }
    expect((await file.stat()).size).toBe(size);
    await file.close();
    const { ino } = await client.stat('new');
    expect((await readAll(rig.lab.vfs, ino)).equals(model.subarray(0, size))).toBe(true);
    expect(client.counters.serverBytesWritten + client.counters.serverBytesRead).toBe(0);
  });

  test('over an existing file keeps what is not written, and its size', async ({ rig }) => {
    const old = pattern(100_000, 1);
    const ino = await writeFile(rig.lab.vfs, 'data', old);
    const client = await rig.connect();
    const file = await client.open('data', 'r+');
    await file.write(Buffer.from('new'), 0, 3, 50_000);
    await file.close();
    const expected = Buffer.from(old);
    expected.write('new', 50_000);
    expect((await readAll(rig.lab.vfs, ino)).equals(expected)).toBe(true);
  });

  test('on blocks shared with a clone leaves the clone alone', async ({ rig }) => {
    const old = pattern(100_000, 1);
    await writeFile(rig.lab.vfs, 'data', old);
    const client = await rig.connect();
    await client.clone('data', 'copy');
    expect((await client.map('data'))[0]?.shares).toBe(2);
    const file = await client.open('data', 'r+');
    expect(await file.write(Buffer.from('new'), 0, 3, 50_000)).toMatchObject({ path: 'direct' });
    await file.close();
    const copy = await client.open('copy');
    expect((await copy.readFile()).equals(old)).toBe(true);
    const expected = Buffer.from(old);
    expected.write('new', 50_000);
    expect((await (await client.open('data')).readFile()).equals(expected)).toBe(true);
  });

  test('what was not committed nobody else sees; after sync everybody does', async ({ rig }) => {
    const client = await rig.connect();
    const file = await client.open('new', 'w');
    await file.write(pattern(10_000, 1), 0, 10_000, 0);
    expect((await rig.lab.vfs.getattr(file.ino, root)).size).toBe(0);
    expect((await client.stat('new')).size, 'but the writer does').toBe(10_000);
    await file.sync();
    expect((await readAll(rig.lab.vfs, file.ino)).equals(pattern(10_000, 1))).toBe(true);
  });

  test('thousands of separate pieces are committed in between, all of them', async ({ rig }) => {
    const client = await rig.connect();
    const file = await client.open('new', 'w');
    const pieces = clientLimits.dirtyRangesMax + 100;
    for (let index = 0; index < pieces; index++)
      await file.write(Buffer.from([index & 0xff, 1]), 0, 2, index * 2 * block);
    expect(client.counters.layoutCommits).toBe(1);
    await file.close();
    const { ino } = await client.stat('new');
    const content = await readAll(rig.lab.vfs, ino);
    for (let index = 0; index < pieces; index++) expect(content[index * 2 * block]).toBe(index & 0xff);
  });
});

describe('the synchronous path', () => {
  test('works under a cached layout and says EAGAIN without one', async ({ rig }) => {
    const content = pattern(MiB, 1);
    await writeFile(rig.lab.vfs, 'data', content);
    const client = await rig.connect();
    const file = await client.open('data', 'r+');
    const buffer = Buffer.alloc(block);
    expect(() => file.readSync(buffer, 0, block, 0)).toThrow(
      expect.objectContaining({ code: 'EAGAIN', status: 'NOT_CACHED', syscall: 'read', path: 'data' }),
    );
    await file.read(buffer, 0, block, 0);
    expect(file.readSync(buffer, 0, block, 500_000)).toBe(block);
    expect(buffer.equals(content.subarray(500_000, 500_000 + block))).toBe(true);

    expect(() => file.writeSync(buffer, 0, block, 0)).toThrow(expect.objectContaining({ code: 'EAGAIN' }));
    await file.write(buffer, 0, block, 0);
    expect(file.writeSync(Buffer.from('sync'), 0, 4, 600_000)).toBe(4);
    expect(file.readSync(buffer, 0, 4, 600_000)).toBe(4);
    expect(buffer.subarray(0, 4).toString()).toBe('sync');
    await file.close();
    expect((await readAll(rig.lab.vfs, file.ino)).subarray(600_000, 600_004).toString()).toBe('sync');
  });

  test('is short at the end of the file and says EAGAIN there, since the file may have grown', async ({ rig }) => {
    await writeFile(rig.lab.vfs, 'data', pattern(5000, 1));
    const client = await rig.connect();
    const file = await client.open('data');
    const buffer = Buffer.alloc(block);
    await file.read(buffer, 0, 1, 0);
    expect(file.readSync(buffer, 0, block, 4900)).toBe(100);
    expect(() => file.readSync(buffer, 0, block, 5000)).toThrow(expect.objectContaining({ code: 'EAGAIN' }));
    expect(file.readSync(buffer, 0, 0, 0)).toBe(0);
  });
});

/** From here on LAYOUTGET asks for an iomode that no server grants; the result ends that. */
function refuseLayouts(rig: ClientRig): () => void {
  rig.wire.toServer = (frame) => {
    if (isRequest(frame, operations.LAYOUTGET) && frame[0] === frameKind.request) frame[7][2] = 99;
    return 'pass';
  };
  return () => rig.wire.heal();
}

describe('through the server, and why', () => {
  test('without a device', async ({ rig }) => {
    const content = pattern(3 * MiB + 5, 1);
    await writeFile(rig.lab.vfs, 'data', content);
    const client = await rig.connect({ device: 'none' });
    const file = await client.open('data', 'r+');
    const buffer = Buffer.alloc(content.length + 10);
    const result = await file.read(buffer, 0, buffer.length, 0);
    expect(result).toMatchObject({
      bytesRead: content.length,
      path: 'server',
      reason: expect.stringMatching(/no device/),
    });
    expect(buffer.subarray(0, content.length).equals(content)).toBe(true);
    const longer = pattern(2 * MiB + 9, 2);
    expect(await file.write(longer, 0, longer.length, 5)).toMatchObject({
      bytesWritten: longer.length,
      path: 'server',
    });
    await file.sync();
    expect((await readAll(rig.lab.vfs, file.ino)).subarray(5, 5 + longer.length).equals(longer)).toBe(true);
    expect(client.counters).toMatchObject({ layoutGets: 0, directBytesRead: 0, serverBytesWritten: longer.length });
  });

  test('a device that holds another filesystem is not taken for this one', async ({ rig }) => {
    const other = await Lab.create(64 << 20);
    try {
      await writeFile(rig.lab.vfs, 'data', pattern(5000, 1));
      const client = await rig.connect({ device: other.image });
      const file = await client.open('data');
      const buffer = Buffer.alloc(5000);
      expect(await file.read(buffer, 0, 5000, 0)).toMatchObject({
        path: 'server',
        reason: expect.stringMatching(/NO_DEVICE.*is filesystem/),
      });
      expect(buffer.equals(pattern(5000, 1))).toBe(true);
      expect(rig.server.status().layouts, 'and nothing is held for it').toEqual([]);
      await file.read(buffer, 0, 5000, 0);
      expect(client.counters.layoutGets, 'nor asked for again').toBe(1);
    } finally {
      await other.remove();
    }
  });

  test('a copy of the device, of an earlier mount, is not taken for it', async ({ rig }) => {
    await writeFile(rig.lab.vfs, 'data', pattern(5000, 1));
    const before = await rig.lab.afterCrash();
    try {
      await before.remount();
      const client = await rig.connect({ device: before.image });
      const file = await client.open('data');
      expect(await file.read(Buffer.alloc(10), 0, 10, 0)).toMatchObject({
        path: 'server',
        reason: expect.stringMatching(/generation/),
      });
    } finally {
      await before.remove();
    }
  });

  for (const name of ['LAYOUTUNAVAILABLE', 'LAYOUTTRYLATER', 'GRACE', 'BADLAYOUT'] as const) {
    test(`when the server answers ${name}, after a bounded number of tries`, async ({ rig }) => {
      const content = pattern(5000, 1);
      await writeFile(rig.lab.vfs, 'data', content);
      const client = await rig.connect();
      const file = await client.open('data', 'r+');
      const gets = new Set<number>();
      rig.wire.toServer = (frame) => {
        if (frame[0] === frameKind.request && isRequest(frame, operations.LAYOUTGET)) gets.add(frame[1]);
        return 'pass';
      };
      rig.wire.toClient = (frame) => {
        if (frame[0] === frameKind.reply && gets.has(frame[1])) {
          frame[2] = status[name];
          frame[3] = null;
          frame[4] = ['as the test wants it', null];
        }
        return 'pass';
      };
      const buffer = Buffer.alloc(5000);
      const result = await file.read(buffer, 0, 5000, 0);
      expect(result).toMatchObject({ bytesRead: 5000, path: 'server', reason: expect.stringContaining(name) });
      expect(buffer.equals(content)).toBe(true);
      expect(gets.size).toBeLessThanOrEqual(clientLimits.layoutTriesMax);
      if (name === 'GRACE') return;
      const asked = gets.size;
      await file.read(buffer, 0, 5000, 0);
      expect(gets.size, 'and it is not asked again at once').toBe(asked);
    });
  }

  test('a read through the server sees what was written directly before', async ({ rig }) => {
    const client = await rig.connect();
    const file = await client.open('data', 'w+');
    await file.truncate(4 * MiB);
    expect(await file.write(Buffer.from('direct'), 0, 6, 100)).toMatchObject({ path: 'direct' });
    refuseLayouts(rig);
    const buffer = Buffer.alloc(4 * MiB);
    expect(await file.read(buffer, 0, 4 * MiB, 0)).toMatchObject({ bytesRead: 4 * MiB, path: 'server' });
    expect(buffer.subarray(100, 106).toString()).toBe('direct');
  });

  test('a write through the server is seen by direct reads after it', async ({ rig }) => {
    const client = await rig.connect();
    const file = await client.open('data', 'w+');
    await file.write(Buffer.from('x'), 0, 1, 2 * MiB);
    const restore = refuseLayouts(rig);
    // The second 2 MiB are held for writing; the write begins before them.
    const content = pattern(2 * MiB, 1);
    expect(await file.write(content, 0, content.length, MiB)).toMatchObject({ path: 'server' });
    const requests = rig.wire.sent.map((frame) => (frame[0] === frameKind.request ? frame[6] : undefined));
    expect(requests.indexOf(operations.LAYOUTRETURN.number), 'no own layout is out below the write').toBeGreaterThan(0);
    expect(requests.indexOf(operations.LAYOUTRETURN.number)).toBeLessThan(requests.indexOf(operations.WRITE.number));
    restore();
    const buffer = Buffer.alloc(block);
    await file.read(buffer, 0, block, MiB);
    expect(buffer.equals(content.subarray(0, block))).toBe(true);
  });

  test('own writes under a layout are seen by own reads through the server, and the other way round', async ({
    rig,
  }) => {
    const client = await rig.connect();
    const file = await client.open('data', 'w+');
    await file.write(pattern(20_000, 1), 0, 20_000, 0);
    const restore = refuseLayouts(rig);
    expect(await file.write(pattern(8000, 2), 0, 8000, 15_000), 'across the end of the layout').toMatchObject({
      bytesWritten: 8000,
    });
    // Far beyond the layout: refused, so through the server, over the blocks of before.
    const result = await file.write(pattern(3 * MiB, 3), 0, 3 * MiB, 4096);
    expect(result.path).toBe('server');
    const expected = Buffer.alloc(4096 + 3 * MiB);
    pattern(20_000, 1).copy(expected);
    pattern(3 * MiB, 3).copy(expected, 4096);
    expect((await file.readFile()).equals(expected)).toBe(true);
    restore();
    await file.sync();
    expect((await readAll(rig.lab.vfs, file.ino)).equals(expected)).toBe(true);
  });

  test('unstable writes that a restart of the server may have lost fail the next sync by name', async ({ rig }) => {
    const client = await rig.connect({ device: 'none', owner: 'the same' });
    const file = await client.open('data', 'w');
    await file.write(pattern(10_000, 1), 0, 10_000, 0);
    await rig.restartServer();
    expect(await statusOf(file.sync())).toBe('WRITE_LOST');
    await file.write(pattern(10_000, 1), 0, 10_000, 0);
    await file.sync();
    expect((await readAll(rig.lab.vfs, file.ino)).equals(pattern(10_000, 1))).toBe(true);
  });
});

describe('sizes', () => {
  test('truncate cuts, with what was written and not committed, and grows with zeros', async ({ rig }) => {
    const client = await rig.connect();
    const file = await client.open('data', 'w+');
    const content = pattern(20_000, 1);
    await file.write(content, 0, 20_000, 0);
    await file.truncate(10_000);
    expect((await file.stat()).size).toBe(10_000);
    expect((await file.readFile()).equals(content.subarray(0, 10_000))).toBe(true);
    await file.truncate(15_000);
    const grown = Buffer.concat([content.subarray(0, 10_000), Buffer.alloc(5000)]);
    expect((await file.readFile()).equals(grown)).toBe(true);
    await client.truncate('data', 100);
    expect((await file.readFile()).equals(content.subarray(0, 100))).toBe(true);
    await file.write(Buffer.from('z'), 0, 1, 5000);
    expect((await file.readFile()).subarray(100, 5000).every((byte) => byte === 0)).toBe(true);
  });

  test('a truncate by somebody else is seen, and an earlier end of file does not come back', async ({ rig }) => {
    const client = await rig.connect();
    const file = await client.open('data', 'w+');
    await file.write(pattern(20_000, 1), 0, 20_000, 0);
    await file.sync();
    await rig.lab.vfs.setattr(file.ino, { size: 100 }, root);
    expect((await file.stat()).size).toBe(100);
    await file.write(Buffer.from('abc'), 0, 3, 0);
    await file.sync();
    expect((await rig.lab.vfs.getattr(file.ino, root)).size).toBe(100);
    expect((await file.readFile()).length).toBe(100);
  });

  test('a truncate that crosses the grant of a layout is seen', async ({ rig }) => {
    const ino = await writeFile(rig.lab.vfs, 'data', pattern(20_000, 1));
    const client = await rig.connect();
    const file = await client.open('data');
    expect((await file.stat()).size).toBe(20_000);
    rig.wire.toServer = (frame) => (isRequest(frame, operations.LAYOUTGET) ? 'hold' : 'pass');
    const read = file.read(Buffer.alloc(20_000), 0, 20_000, 0);
    await until('LAYOUTGET is on its way', () => rig.wire.held.toServer > 0);
    // Within the last block, which is granted all the same.
    await rig.lab.vfs.setattr(ino, { size: 18_000 }, root);
    rig.wire.heal();
    expect(await read).toMatchObject({ bytesRead: 18_000 });
  });

  test('opening with w empties the file under the eyes of its readers', async ({ rig }) => {
    await writeFile(rig.lab.vfs, 'data', pattern(20_000, 1));
    const client = await rig.connect();
    const reader = await client.open('data');
    const buffer = Buffer.alloc(20_000);
    await reader.read(buffer, 0, 20_000, 0);
    const writer = await client.open('data', 'w');
    expect((await reader.read(buffer, 0, 20_000, 0)).bytesRead).toBe(0);
    await writer.write(Buffer.from('new'), 0, 3, 0);
    expect((await reader.read(buffer, 0, 20_000, 0)).bytesRead).toBe(3);
  });
});

describe('misuse', () => {
  test('is refused by name before anything is sent', async ({ rig }) => {
    const client = await rig.connect();
    const writer = await client.open('data', 'w');
    const reader = await client.open('data', 'r');
    const buffer = Buffer.alloc(10);
    expect(await statusOf(reader.write(buffer, 0, 10, 0))).toBe('NOT_OPEN_FOR');
    expect(await statusOf(writer.read(buffer, 0, 10, 0))).toBe('NOT_OPEN_FOR');
    expect(await statusOf(reader.truncate(0))).toBe('NOT_OPEN_FOR');
    expect(await statusOf(reader.layout({ offset: 0, length: 10, iomode: 'RW' }))).toBe('NOT_OPEN_FOR');
    for (const [offset, length, position] of [
      [0, 11, 0],
      [-1, 5, 0],
      [6, 5, 0],
      [0, 5, -1],
      [0, 5, 0.5],
      [0, Number.NaN, 0],
    ] as const) {
      expect(await statusOf(reader.read(buffer, offset, length, position))).toBe('ARGUMENT');
    }
    await reader.close();
    expect(await statusOf(reader.read(buffer, 0, 1, 0))).toBe('CLOSED');
    expect(await statusOf(() => reader.readSync(buffer, 0, 1, 0))).toBe('CLOSED');
    await reader.close();
  });

  test('an aborted read rejects with its reason and the file works on', async ({ rig }) => {
    await writeFile(rig.lab.vfs, 'data', pattern(5000, 1));
    const client = await rig.connect();
    const file = await client.open('data');
    rig.wire.toServer = () => 'hold';
    const aborting = new AbortController();
    const reason = new Error('enough');
    const read = file.read(Buffer.alloc(10), 0, 10, 0, { signal: aborting.signal });
    await until('it is on its way', () => rig.wire.held.toServer > 0);
    aborting.abort(reason);
    await expect(read).rejects.toBe(reason);
    rig.wire.heal();
    expect(await file.read(Buffer.alloc(10), 0, 10, 0)).toMatchObject({ bytesRead: 10 });
  });
});

test('a file that lost its name lives on while it is open', async ({ rig }) => {
  const client = await rig.connect();
  const file = await client.open('data', 'w+');
  await file.write(pattern(5000, 1), 0, 5000, 0);
  await client.unlink('data');
  expect((await file.readFile()).equals(pattern(5000, 1))).toBe(true);
  await file.sync();
  expect((await file.stat()).nlink).toBe(0);
  await file.close();
  expect(() => rig.lab.vfs.lookup(rig.lab.vfs.rootIno, n('data'), root)).toThrow(
    expect.objectContaining({ code: 'ENOENT' }),
  );
});

test('closing gives every layout back', async ({ rig }) => {
  const client = await rig.connect();
  const file = await client.open('data', 'w+');
  await file.write(pattern(5000, 1), 0, 5000, 0);
  expect(rig.server.status().layouts).toHaveLength(1);
  await file.close();
  expect(rig.server.status().layouts).toEqual([]);
  expect(rig.server.status().clients).toMatchObject([{ opens: 0 }]);
});
