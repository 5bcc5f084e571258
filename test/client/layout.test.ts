import { open, readFile } from 'node:fs/promises';
import { describe, expect } from 'vitest';
import type { Layout, RecallNotice } from '../../client/index.ts';
import { callbacks, type Frame, frameKind, operations, status, wireLimits } from '../../mds/protocol/index.ts';
import { ManualClock } from '../mds/manual-clock.ts';
import { readAll, root, withHandle, writeFile } from '../support/filesystem.ts';
import { type ClientRig, pattern, statusOf, test, until } from './rig.ts';

const block = 4096;

const isRequest = (frame: Frame, operation: { readonly number: number }): boolean =>
  frame[0] === frameKind.request && frame[6] === operation.number;

/** What an engine of the program would do: bytes straight into the image. */
async function dma(rig: ClientRig, layout: Layout, at: number, bytes: Buffer): Promise<void> {
  const image = await open(rig.lab.image, 'r+');
  try {
    for (const segment of layout.segments) {
      if (segment.state === 'NONE_DATA' || segment.state === 'READ_DATA') continue;
      const from = Math.max(at, segment.offset);
      const to = Math.min(at + bytes.length, segment.offset + segment.length);
      if (from < to) {
        await image.write(bytes, from - at, to - from, segment.storageOffset + from - segment.offset);
      }
    }
  } finally {
    await image.close();
  }
}

describe('a layout for a program with an engine of its own', () => {
  test('names the place of every byte', async ({ rig }) => {
    const content = pattern(5 * block, 1);
    await writeFile(rig.lab.vfs, 'data', content);
    const client = await rig.connect({ device: 'none' });
    const file = await client.open('data');
    const layout = await file.layout({ offset: block + 10, length: 2 * block, iomode: 'READ' });
    expect(layout.ranges).toEqual([{ offset: block, length: 3 * block }]);
    const image = await readFile(rig.lab.image);
    for (const segment of layout.segments) {
      if (segment.state !== 'READ_DATA') throw new Error(segment.state);
      const { offset, length, storageOffset } = segment;
      expect(
        image.subarray(storageOffset, storageOffset + length).equals(content.subarray(offset, offset + length)),
      ).toBe(true);
      expect(segment.deviceId).toMatch(/^[0-9a-f]{32}$/);
      expect(segment.busAddress, 'an image has no bus address').toBeUndefined();
    }
    expect(layout.live).toBe(true);
    await layout.return();
    expect([layout.live, layout.segments, layout.ranges]).toEqual([false, [], []]);
    expect(rig.server.status().layouts).toEqual([]);
  });

  test('is for READ or RW, and nothing else that a program may say', async ({ rig }) => {
    const client = await rig.connect();
    const file = await client.open('data', 'w+');
    expect(await statusOf(file.layout(JSON.parse('{"offset":0,"length":4096,"iomode":"WR"}')))).toBe('ARGUMENT');
    expect((await client.admin.status()).layouts).toEqual([]);
  });

  test('more ranges than one request takes are committed in several', async ({ rig }) => {
    const client = await rig.connect();
    const file = await client.open('data', 'w+');
    const count = wireLimits.commitRangesMax + 10;
    const layout = await file.layout({ offset: 0, length: 2 * count * block, iomode: 'RW' });
    const ranges = Array.from({ length: count }, (_, i) => ({ offset: 2 * i * block, length: block }));
    for (const { offset } of ranges) await dma(rig, layout, offset, pattern(block, offset / block));
    await layout.commit(ranges, { lastWriteOffset: (2 * count - 1) * block - 1 });
    await layout.return();
    const content = await readAll(rig.lab.vfs, file.ino);
    expect(content).toHaveLength((2 * count - 1) * block);
    expect(
      ranges.filter(({ offset }) => !content.subarray(offset, offset + block).equals(pattern(block, offset / block))),
    ).toEqual([]);
  });

  test('what its engine wrote is part of the file after commit', async ({ rig }) => {
    const client = await rig.connect();
    const file = await client.open('data', 'w+');
    const layout = await file.layout({ offset: 0, length: 4 * block, iomode: 'RW' });
    expect(layout.segments.every(({ state }) => state === 'INVALID_DATA')).toBe(true);
    const content = pattern(3 * block, 1);
    await dma(rig, layout, 0, content);
    expect((await rig.lab.vfs.getattr(file.ino, root)).size).toBe(0);
    await layout.commit([{ offset: 0, length: 3 * block }], { lastWriteOffset: 3 * block - 101 });
    expect((await readAll(rig.lab.vfs, file.ino)).equals(content.subarray(0, 3 * block - 100))).toBe(true);
    await layout.return();
    expect((await file.readFile()).equals(content.subarray(0, 3 * block - 100))).toBe(true);
  });

  test('while it is held the library itself goes through the server there, and elsewhere directly', async ({ rig }) => {
    const client = await rig.connect();
    const file = await client.open('data', 'w+');
    await file.write(pattern(16 * block, 1), 0, 16 * block, 0);
    const layout = await file.layout({ offset: 0, length: 4 * block, iomode: 'RW' });
    const buffer = Buffer.alloc(block);
    expect(await file.read(buffer, 0, block, block)).toMatchObject({
      path: 'server',
      reason: expect.stringContaining('LAYOUT_HELD'),
    });
    expect(buffer.equals(pattern(16 * block, 1).subarray(block, 2 * block)), 'committed before the grant').toBe(true);
    expect(await statusOf(file.write(buffer, 0, block, block))).toBe('LAYOUT_HELD');
    expect(await file.read(buffer, 0, block, 8 * block)).toMatchObject({ path: 'direct' });
    expect(await statusOf(file.layout({ offset: 3 * block, length: block, iomode: 'READ' }))).toBe('LAYOUT_HELD');

    await dma(rig, layout, block, Buffer.alloc(block, 0x5a));
    await layout.commit([{ offset: block, length: block }]);
    await file.read(buffer, 0, block, block);
    expect(buffer.every((byte) => byte === 0x5a)).toBe(true);
    await layout.return();
    expect(await file.write(buffer, 0, block, 0)).toMatchObject({ path: 'direct' });
  });

  test('a part of it can be given back', async ({ rig }) => {
    const client = await rig.connect();
    const file = await client.open('data', 'w+');
    const layout = await file.layout({ offset: 0, length: 8 * block, iomode: 'RW' });
    const [first] = layout.segments;
    await layout.return({ offset: 2 * block, length: 2 * block });
    expect(layout.ranges).toEqual([
      { offset: 0, length: 2 * block },
      { offset: 4 * block, length: 4 * block },
    ]);
    const after = layout.segments.find(({ offset }) => offset === 4 * block);
    if (after === undefined || after.state === 'NONE_DATA' || first === undefined || first.state === 'NONE_DATA') {
      throw new Error('segments on the device');
    }
    expect(after.storageOffset).toBe(first.storageOffset + 4 * block);
    expect(await statusOf(layout.commit([{ offset: 2 * block, length: block }]))).toBe('BADLAYOUT');
    await layout.commit([{ offset: 4 * block, length: block }]);
  });

  test('closing the file gives it back', async ({ rig }) => {
    const client = await rig.connect();
    const file = await client.open('data', 'w+');
    await file.layout({ offset: 0, length: block, iomode: 'RW', onRecall: 'ignore' });
    await file.close();
    expect(rig.server.status().layouts).toEqual([]);
  });
});

describe('a recall', () => {
  test('is told to the program, answered, and what it asks for is given back', async ({ rig }) => {
    const client = await rig.connect();
    const file = await client.open('data', 'w+');
    const content = pattern(8 * block, 1);
    await file.write(content, 0, content.length, 0);
    const layout = await file.layout({ offset: 0, length: 8 * block, iomode: 'RW' });
    const notices: RecallNotice[] = [];
    layout.on('recall', (notice) => notices.push(notice));

    await rig.lab.vfs.setattr(file.ino, { size: 2 * block }, root);
    expect(notices.length).toBeGreaterThan(0);
    expect(notices.every(({ offset }) => offset >= 2 * block)).toBe(true);
    expect(layout.ranges.every(({ offset, length }) => offset + length <= 2 * block)).toBe(true);
    expect((await file.stat()).size).toBe(2 * block);
  });

  test('what the program commits while it is told reaches the server before the range is given back', async ({
    rig,
  }) => {
    const client = await rig.connect();
    const file = await client.open('data', 'w+');
    const layout = await file.layout({ offset: 0, length: 4 * block, iomode: 'RW' });
    const content = pattern(4 * block, 1);
    await dma(rig, layout, 0, content);
    let committed: Promise<void> = Promise.reject(new Error('never recalled'));
    committed.catch(() => {});
    layout.once('recall', () => {
      committed = layout.commit([{ offset: 0, length: 4 * block }], { lastWriteOffset: 4 * block - 1 });
    });
    rig.wire.toServer = (frame) => (isRequest(frame, operations.LAYOUTCOMMIT) ? 'hold' : 'pass');
    const cloned = client.clone('data', 'copy');
    await until('the commit is on its way', () => rig.wire.held.toServer > 0);
    // A round trip later there would have been time for more.
    await client.stat('/');
    expect(rig.wire.sent.some((frame) => isRequest(frame, operations.LAYOUTRETURN))).toBe(false);
    rig.wire.heal();
    await committed;
    await cloned;
    expect((await readAll(rig.lab.vfs, file.ino)).equals(content)).toBe(true);
  });

  test('of the cache commits what was written, and the copy holds it', async ({ rig }) => {
    const client = await rig.connect();
    const file = await client.open('data', 'w+');
    const content = pattern(100_000, 1);
    await file.write(content, 0, content.length, 0);
    const other = await rig.connect({ address: rig.directAddress });
    await other.clone('data', 'copy');
    expect(client.counters.recalls).toBeGreaterThan(0);
    const copy = await other.open('copy');
    expect((await copy.readFile()).equals(content)).toBe(true);
    await file.write(Buffer.from('later'), 0, 5, 0);
    await file.sync();
    expect((await copy.readFile()).equals(content)).toBe(true);
    expect((await file.readFile()).subarray(0, 5).toString()).toBe('later');
  });

  test('in the middle of much writing loses nothing, whoever asks for whatever', async ({ rig }) => {
    const client = await rig.connect();
    const file = await client.open('data', 'w+');
    const other = await rig.connect({ address: rig.directAddress });
    const size = 4 << 20;
    const model = Buffer.alloc(size);
    const clones: Promise<unknown>[] = [];
    let routes = { direct: 0, server: 0 };
    for (let round = 0; round < 300; round++) {
      const position = (round * 7919 * 13) % (size - 70_000);
      const bytes = pattern(1000 + ((round * 997) % 60_000), round);
      bytes.copy(model, position);
      // Nobody waits for it: its recall meets the writes.
      if (round % 15 === 7) clones.push(other.clone('data', `copy${round}`));
      const { path } = await file.write(bytes, 0, bytes.length, position);
      routes = { ...routes, [path]: routes[path] + 1 };
      if (round % 10 === 0) {
        const check = Buffer.alloc(bytes.length);
        await file.read(check, 0, check.length, position);
        expect(check.equals(bytes), `round ${round}`).toBe(true);
      }
    }
    await Promise.all(clones);
    await file.close();
    const { ino, size: written } = await client.stat('data');
    expect((await readAll(rig.lab.vfs, ino)).equals(model.subarray(0, written))).toBe(true);
    expect(client.counters.recalls).toBeGreaterThan(3);
    expect(routes.direct).toBeGreaterThan(0);
  });

  test('between two clients that write one file in turn nothing is lost', async ({ rig }) => {
    const [a, b] = [await rig.connect(), await rig.connect()];
    const first = await a.open('data', 'w+');
    const second = await b.open('data', 'r+');
    const model = Buffer.alloc(200_000);
    for (let round = 0; round < 40; round++) {
      const file = round % 2 === 0 ? first : second;
      const bytes = pattern(5000, round);
      const position = (round * 4999) % 190_000;
      bytes.copy(model, position);
      await file.write(bytes, 0, bytes.length, position);
      await file.sync();
      const seen = await (file === first ? second : first).readFile();
      expect(seen.equals(model.subarray(0, seen.length)), `round ${round}`).toBe(true);
    }
    expect(a.counters.recalls + b.counters.recalls).toBeGreaterThan(10);
  });

  test('that overtakes the reply which granted what it asks for is put off until that is here', async ({ rig }) => {
    await writeFile(rig.lab.vfs, 'data', pattern(8 * block, 1));
    const client = await rig.connect();
    const file = await client.open('data');
    let answers: number[] = [];
    rig.wire.toServer = (frame) => {
      if (frame[0] === frameKind.callbackReply) answers.push(frame[2]);
      return 'pass';
    };
    rig.wire.toClient = (frame) => (frame[0] === frameKind.reply ? 'hold' : 'pass');
    const buffer = Buffer.alloc(block);
    const heldGet = async (): Promise<void> => {
      await until('LAYOUTGET was answered', () => rig.server.status().layouts.length === 1);
    };
    const read = file.read(buffer, 0, block, 0);
    await heldGet();
    const cut = Promise.resolve(rig.lab.vfs.setattr(file.ino, { size: block }, root));
    await until('the recall was put off', () => answers.includes(status.DELAY));
    expect(answers).not.toContain(status.OK);
    answers = [];
    rig.wire.toClient = () => 'pass';
    rig.wire.heal();
    expect(await read).toMatchObject({ bytesRead: block });
    await cut;
    expect(client.counters.recallsDelayed).toBeGreaterThan(0);
    expect((await file.readFile()).equals(pattern(8 * block, 1).subarray(0, block))).toBe(true);
  });

  test('is over, return included, before the next layout is asked for', async ({ rig }) => {
    await writeFile(rig.lab.vfs, 'data', pattern(8 * block, 1));
    const client = await rig.connect();
    const file = await client.open('data', 'r+');
    const buffer = Buffer.alloc(block);
    await file.read(buffer, 0, block, 0);
    rig.wire.toServer = (frame) => (isRequest(frame, operations.LAYOUTRETURN) ? 'hold' : 'pass');
    const cut = Promise.resolve(rig.lab.vfs.setattr(file.ino, { size: 4 * block }, root));
    await until('the return is on its way', () => rig.wire.held.toServer > 0);
    const read = file.read(buffer, 0, block, 5 * block);
    await client.stat('/');
    expect(client.counters.layoutGets).toBe(1);
    rig.wire.heal();
    await cut;
    expect(await read).toMatchObject({ bytesRead: 0 });
  });

  test('that comes while the device of a fresh grant is looked up leaves nothing of the grant in use', async ({
    rig,
  }) => {
    const ino = await writeFile(rig.lab.vfs, 'data', pattern(8 * block, 1));
    const client = await rig.connect();
    const file = await client.open('data');
    rig.wire.toServer = (frame) => (isRequest(frame, operations.GETDEVICEINFO) ? 'hold' : 'pass');
    const buffer = Buffer.alloc(8 * block);
    const read = file.read(buffer, 0, 8 * block, 0);
    await until('the device is looked up', () => rig.wire.held.toServer === 1);
    // Its blocks are free, and somebody else's, before the look-up is over; it has got others.
    await rig.lab.vfs.setattr(ino, { size: 0 }, root);
    await rig.lab.vfs.syncfs();
    await writeFile(rig.lab.vfs, 'other', pattern(8 * block, 2));
    await withHandle(rig.lab.vfs, ino, 2, (handle) => rig.lab.vfs.write(handle, 0, pattern(8 * block, 3), root));
    rig.wire.heal();
    expect(await read).toMatchObject({ bytesRead: 8 * block });
    expect(buffer.equals(pattern(8 * block, 3))).toBe(true);
  });

  test('of a layout that is not held matches nothing', async ({ rig }) => {
    const ino = await writeFile(rig.lab.vfs, 'data', pattern(8 * block, 1));
    const client = await rig.connect();
    const file = await client.open('data');
    await file.read(Buffer.alloc(block), 0, block, 0);
    const answers: number[] = [];
    // The return is lost in the client's view only: the recall comes again when everything is given back.
    rig.wire.toServer = (frame) => {
      if (frame[0] === frameKind.callbackReply) answers.push(frame[2]);
      return 'pass';
    };
    rig.wire.toClient = (frame) => {
      if (frame[0] === frameKind.callback && frame[6] === callbacks.CB_LAYOUTRECALL.number) {
        const [, , stateid] = frame[7];
        if (Array.isArray(stateid)) stateid[1] = Buffer.alloc(12, 7);
      }
      return 'pass';
    };
    await rig.lab.vfs.setattr(ino, { size: 0 }, root);
    expect(answers[0]).toBe(status.NOMATCHING_LAYOUT);
  });
});

describe('a client that does not answer its recall', () => {
  // The server waits for it until the test says that the time is over.
  const clock = new ManualClock();
  const recallDeadlineMs = 800;
  test.override({ options: { recallDeadlineMs, clock } });

  test('is fenced: it is told, refused by name until it has returned, and the others go on', async ({ rig }) => {
    const client = await rig.connect();
    const file = await client.open('data', 'w+');
    const layout = await file.layout({ offset: 0, length: 8 * block, iomode: 'RW', onRecall: 'ignore' });
    const recalled = new Promise<RecallNotice>((resolve) => layout.once('recall', resolve));
    const revoked = new Promise<Error>((resolve) => layout.once('revoked', resolve));

    await layout.commit([{ offset: 0, length: block }], { lastWriteOffset: block - 1 });
    let waited = false;
    const truncated = Promise.resolve(rig.lab.vfs.setattr(file.ino, { size: 0 }, root)).then(() => {
      waited = true;
    });
    expect(await recalled).toMatchObject({ offset: 0 });
    expect(waited, 'the truncation waits for the layout').toBe(false);
    clock.advance(recallDeadlineMs);
    await truncated;
    await client.stat('data'); // the next reply says so
    expect(await revoked).toMatchObject({ status: 'ADMIN_REVOKED' });
    expect(layout.live).toBe(false);
    expect(await statusOf(layout.commit([{ offset: 0, length: block }]))).toBe('ADMIN_REVOKED');
    expect(await statusOf(file.layout({ offset: 0, length: block, iomode: 'READ' }))).toMatch(
      /ADMIN_REVOKED|LAYOUT_HELD/,
    );
    const other = await client.open('other', 'w');
    expect(await statusOf(other.layout({ offset: 0, length: block, iomode: 'RW' }))).toBe('ADMIN_REVOKED');
    expect(await other.write(Buffer.from('x'), 0, 1, 0), 'through the server it works on').toMatchObject({
      path: 'server',
      reason: expect.stringContaining('ADMIN_REVOKED'),
    });
    expect(rig.lab.fs.quarantined().size).toBe(1);

    await layout.return();
    await until('the server believes it', () => rig.server.status().clients.every(({ state }) => state === 'active'));
    expect(rig.lab.fs.quarantined().size).toBe(0);
    const again = await file.layout({ offset: 0, length: block, iomode: 'RW' });
    expect(again.live).toBe(true);
  });

  test('is fenced: until it knows what was revoked it touches nothing, not even other files', async ({ rig }) => {
    const content = pattern(4 * block, 1);
    await writeFile(rig.lab.vfs, 'other', content);
    const client = await rig.connect();
    const file = await client.open('data', 'w+');
    const layout = await file.layout({ offset: 0, length: 8 * block, iomode: 'RW', onRecall: 'ignore' });
    const recalled = new Promise((resolve) => layout.once('recall', resolve));
    await layout.commit([{ offset: 0, length: block }], { lastWriteOffset: block - 1 });
    const other = await client.open('other');
    const buffer = Buffer.alloc(block);
    await other.read(buffer, 0, block, 0);
    expect(other.readSync(buffer, 0, block, 0)).toBe(block);

    rig.wire.toServer = (frame) => (isRequest(frame, operations.TEST_STATEID) ? 'hold' : 'pass');
    const truncated = rig.lab.vfs.setattr(file.ino, { size: 0 }, root);
    await recalled;
    clock.advance(recallDeadlineMs);
    await truncated;
    await client.stat('data'); // the next reply says so
    await until('it has doubts', () => rig.wire.held.toServer > 0);
    expect(await statusOf(() => other.readSync(buffer, 0, block, 0))).toBe('NOT_CACHED');
    rig.wire.heal();
    expect(await other.read(buffer, 0, block, block)).toMatchObject({ bytesRead: block, path: 'server' });
    expect(buffer.equals(content.subarray(block, 2 * block))).toBe(true);
    await layout.return();
    await until('all is well again', async () => (await other.read(buffer, 0, block, 0)).path === 'direct');
  });

  test('by the library itself answers for the program in time', async ({ rig }) => {
    const client = await rig.connect();
    const file = await client.open('data', 'w+');
    const layout = await file.layout({ offset: 0, length: 8 * block, iomode: 'RW' });
    await layout.commit([{ offset: 0, length: block }], { lastWriteOffset: block - 1 });
    await rig.lab.vfs.setattr(file.ino, { size: 0 }, root);
    expect(rig.server.status().clients).toMatchObject([{ state: 'active' }]);
    expect(layout.ranges, 'what lies behind the end is no block of the file').toEqual([
      { offset: block, length: 7 * block },
    ]);
    expect(rig.wire.sent.some((frame) => isRequest(frame, operations.LAYOUTRETURN))).toBe(true);
  });
});
