/** One-sided access through a real daemon: what a client writes by keys is in the file, and nothing after its key is closed. */
import { open, readFile, stat, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { LaidOut } from '../../client/dma/engine.ts';
import { connect } from '../../client/index.ts';
import { removeLeftovers } from '../../fs/fabric/leftovers.ts';
import type { ProviderName } from '../../fs/fabric/providers.ts';
import { iomode } from '../../layout/types.ts';
import { operations } from '../../mds/protocol/index.ts';
import { patternOf } from '../client/pattern.ts';
import { missing } from '../client/rma-lab.ts';
import { Peer } from './rma-client.ts';
import { canMount, printed, Sandbox } from './sandbox.ts';

const typescript = fileURLToPath(new URL('../support/typescript.mjs', import.meta.url));
const program = fileURLToPath(new URL('./rma-peer.ts', import.meta.url));
const length = 2 ** 20;

describe.runIf(canMount)('one-sided access', () => {
  let box: Sandbox;
  const peers: Peer[] = [];
  beforeEach(async () => {
    box = await Sandbox.create();
    await box.must('mkfs', box.image);
  });
  afterEach(async () => {
    for (const peer of peers.splice(0)) await peer.close();
    await box.umount();
    await box.remove();
    removeLeftovers(); // of clients that were killed
  });

  /** A daemon that offers the provider, and a client of it. */
  const start = async (provider: ProviderName, ...options: readonly string[]): Promise<Peer> => {
    await box.mount('--rma', provider, '--listen', 'tcp://127.0.0.1:0', ...options);
    const peer = await Peer.connect(await addressOf(), provider, (await stat(box.image)).size);
    peers.push(peer);
    return peer;
  };

  const status = async () => JSON.parse(await box.must('iopmemfs', 'status', '--json', box.mountPoint));

  /** Where clients of other hosts would come. */
  const addressOf = async (): Promise<string> => (await status()).addresses[1];

  /** Bytes of the device, past everybody. */
  const onDevice = async ({ storageOffset }: LaidOut, count: number): Promise<Buffer> => {
    const image = await open(box.image);
    try {
      return (await image.read(Buffer.alloc(count), 0, count, storageOffset)).buffer;
    } finally {
      await image.close();
    }
  };

  test.skipIf(missing('tcp') !== undefined)('the client library reads and writes files by it', async () => {
    await box.mount('--rma', 'tcp', '--listen', 'tcp://127.0.0.1:0');
    const client = await connect(await addressOf(), { engine: 'rma' });
    try {
      const file = await client.open('file', 'w+');
      const bytes = patternOf(length + 100, 9); // its end is within a block
      expect(await file.write(bytes, 0, bytes.length, 0)).toMatchObject({ bytesWritten: bytes.length, path: 'direct' });
      await file.sync();
      expect((await readFile(box.path('file'))).equals(bytes)).toBe(true);
      const target = Buffer.alloc(bytes.length);
      expect(await file.read(target, 0, target.length, 0)).toMatchObject({ bytesRead: bytes.length });
      expect(target.equals(bytes)).toBe(true);
      await file.close();
    } finally {
      await client.close();
    }
  });

  for (const provider of ['tcp', 'shm'] as const) {
    const reason = missing(provider);

    describe.skipIf(reason !== undefined)(`by ${provider}${reason === undefined ? '' : `: ${reason}`}`, () => {
      test('what is written with a key is in the file after the commit, and read with one', async () => {
        const peer = await start(provider);
        const file = await peer.open('file');
        const { stateid, pieces } = await peer.layout(file, 'write', length);
        await peer.engine.prepare(pieces);
        const bytes = patternOf(length, 1);
        for (const { offset, length: count, storageOffset } of pieces)
          await peer.engine.write(storageOffset, bytes.subarray(offset, offset + count));
        await peer.session.call(operations.LAYOUTCOMMIT, [file.ino, stateid, [[0, length]], length - 1, null, null]);
        await peer.giveBack(file.ino, stateid, 0, length, pieces);
        expect((await readFile(box.path('file'))).equals(bytes)).toBe(true);

        const reading = await peer.layout(file, 'read', length);
        await peer.engine.prepare(reading.pieces);
        const target = Buffer.alloc(length);
        for (const { offset, length: count, storageOffset } of reading.pieces)
          await peer.engine.read(storageOffset, target.subarray(offset, offset + count));
        expect(target.equals(bytes)).toBe(true);
        await peer.giveBack(file.ino, reading.stateid, 0, length, reading.pieces);
      });

      test('a key for reading does not write', async () => {
        const peer = await start(provider);
        await writeFile(box.path('file'), patternOf(length, 2));
        const file = await peer.open('file');
        const { pieces } = await peer.layout(file, 'read', length);
        const [first] = pieces;
        if (first === undefined) throw new Error('nothing was laid out');
        // The server does not say that it may be written.
        await expect(peer.engine.prepare([{ ...first, writable: true }])).rejects.toMatchObject({
          status: 'BADLAYOUT',
        });
        await expect(peer.engine.prepare([{ ...first, storageOffset: 0 }])).rejects.toMatchObject({
          status: 'BADLAYOUT',
        });
        expect((await onDevice(first, length)).equals(patternOf(length, 2).subarray(0, length))).toBe(true);
      });

      test('when the layout was given back its key is closed, and that of the rest is had anew', async () => {
        const peer = await start(provider, '--lease-ms', '60000');
        const file = await peer.open('file');
        const { stateid, pieces } = await peer.layout(file, 'write', length);
        const [first] = pieces;
        if (first === undefined || pieces.length > 1) throw new Error('the file does not lie in one piece');
        await peer.engine.prepare(pieces);
        await peer.engine.write(first.storageOffset, patternOf(length, 3));
        const half = length / 2;
        const [left] = await peer.giveBack(file.ino, stateid, 0, half, [{ ...first, length: half }]);
        if (left === null) throw new Error('nothing is left');
        // The second half goes on.
        await peer.engine.write(first.storageOffset + half, patternOf(half, 4));
        expect(
          (await onDevice({ ...first, storageOffset: first.storageOffset + half }, half)).equals(patternOf(half, 4)),
        ).toBe(true);
        // Of the first half nothing is known here.
        await expect(peer.engine.write(first.storageOffset, patternOf(4096, 5))).rejects.toMatchObject({
          code: 'EACCES',
        });

        // One that does not stop: it keeps its key, and the server has closed it.
        await peer.session.call(operations.LAYOUTRETURN, [1, file.ino, left, iomode.any, half, half, false]);
        const before = await onDevice(first, length);
        await expect(peer.engine.write(first.storageOffset + half, patternOf(half, 6))).rejects.toThrow();
        expect((await onDevice(first, length)).equals(before)).toBe(true);
      });

      test('a client that is stopped in the middle of its writes is cut off, and hurts nobody when it goes on', async () => {
        await box.mount('--rma', provider, '--listen', 'tcp://127.0.0.1:0', '--lease-ms', '2000');
        const address = await addressOf();
        const size = String((await stat(box.image)).size);
        const line = ['--import', typescript, program, address, provider, size, 'file', String(length)];
        const peer = box.interactive(process.execPath, ...line);
        await printed(peer, /^writing/m);
        peer.kill('SIGSTOP');
        // Its layout is in the way of this write, and its lease runs out.
        await writeFile(box.path('file'), patternOf(length, 7));
        await expect.poll(async () => (await status()).fences).toEqual([]);
        expect((await status()).fenceCounts).toContainEqual(expect.objectContaining({ provider: 'key', fenced: 1 }));

        // Whatever is free, its blocks among it, belongs to another file now.
        const { free } = (await status()).filesystem.blocks;
        await writeFile(box.path('other'), Buffer.alloc(free * 4096 * 0.9, 0x11));
        const over = printed(peer, /^over/m);
        peer.kill('SIGCONT');
        await over;
        expect((await readFile(box.path('other'))).every((byte) => byte === 0x11)).toBe(true);
        expect((await readFile(box.path('file'))).equals(patternOf(length, 7))).toBe(true);
      });
    });
  }
});
