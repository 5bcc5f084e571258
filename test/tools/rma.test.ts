/** One-sided access through a real daemon: what a client writes by keys is in the file, and nothing after its key is closed. */
import { randomBytes } from 'node:crypto';
import { open, readFile, stat, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { LaidOut } from '../../client/dma/engine.ts';
import { RmaEngine } from '../../client/dma/rma.ts';
import { Session } from '../../client/session.ts';
import { extentState } from '../../fs/engine/leases.ts';
import type { ProviderName } from '../../fs/fabric/providers.ts';
import { iomode } from '../../layout/types.ts';
import { attrFromWire, operations, parseAddress, type ReplyOf } from '../../mds/protocol/index.ts';
import { patternOf } from '../client/pattern.ts';
import { missing } from '../client/rma-lab.ts';
import { canMount, Sandbox } from './sandbox.ts';

type StateId = ReplyOf<typeof operations.OPEN>[0];

/** A client of its own making: it holds what the test asks for, and gives it back when the test says so. */
class Peer {
  readonly session: Session;
  readonly engine: RmaEngine;

  private constructor(session: Session, engine: RmaEngine) {
    this.session = session;
    this.engine = engine;
  }

  static async connect(address: string, provider: ProviderName, size: number): Promise<Peer> {
    const options = {
      addresses: [parseAddress(address)],
      owner: randomBytes(16),
      implementation: 'a test',
      credentials: [0, 0, []] as [number, number, number[]],
      maxIoMs: 1000,
      process: null,
      pci: null,
      callTimeoutMs: 50_000,
    };
    const session = new Session(options, {
      recall: () => 'ok',
      recallAll: () => 'ok',
      recallAny: () => {},
      putOff: () => {},
      available: () => {},
      devicesChanged: () => {},
      flagged: () => {},
      lost: () => {},
      reclaim: () => Promise.resolve(),
      leaseEnded: () => {},
      quiet: () => true,
      placed: () => {},
    });
    await session.open(undefined);
    return new Peer(session, new RmaEngine(session, { size, writable: true, providers: [provider], timeoutMs: 3_000 }));
  }

  /** Opens the file for reading and writing; it is made if it is not there. */
  async open(name: string): Promise<{ readonly ino: number; readonly stateid: StateId }> {
    const root = this.session.server.rootIno;
    const [stateid, attr] = await this.session.call(operations.OPEN, [
      [2, root, Buffer.from(name), 0o644, false],
      3,
      false,
      false,
    ]);
    return { ino: attrFromWire(attr).ino, stateid };
  }

  async layout(file: { readonly ino: number; readonly stateid: StateId }, access: 'read' | 'write', length: number) {
    const mode = access === 'write' ? iomode.rw : iomode.read;
    const [stateid, , extents] = await this.session.call(operations.LAYOUTGET, [
      file.ino,
      file.stateid,
      mode,
      0,
      length,
      length,
      64,
      false,
    ]);
    const pieces = extents
      .filter(([state]) => state !== extentState.none)
      .map(([state, offset, count, , storageOffset]): LaidOut => {
        return { ino: file.ino, offset, length: count, storageOffset, writable: state !== extentState.read };
      });
    return { stateid, pieces };
  }

  /** Stops, and gives back a part of the layout. */
  giveBack(ino: number, stateid: StateId, offset: number, count: number, pieces: readonly LaidOut[]) {
    this.engine.release(pieces);
    return this.session.call(operations.LAYOUTRETURN, [1, ino, stateid, iomode.any, offset, count, false]);
  }

  async close(): Promise<void> {
    await this.engine.close();
    await this.session.close();
  }
}

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
    await box.remove();
  });

  /** A daemon that offers the provider, and a client of it. */
  const start = async (provider: ProviderName, ...options: readonly string[]): Promise<Peer> => {
    await box.mount('--rma', provider, '--listen', 'tcp://127.0.0.1:0', ...options);
    const [, address = ''] = JSON.parse(await box.must('iopmemfs', 'status', '--json', box.mountPoint)).addresses;
    const peer = await Peer.connect(address, provider, (await stat(box.image)).size);
    peers.push(peer);
    return peer;
  };

  /** Bytes of the device, past everybody. */
  const onDevice = async ({ storageOffset }: LaidOut, count: number): Promise<Buffer> => {
    const image = await open(box.image);
    try {
      return (await image.read(Buffer.alloc(count), 0, count, storageOffset)).buffer;
    } finally {
      await image.close();
    }
  };

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
    });
  }
});
