/** Files over an engine that takes its time, with real servers, layouts and recalls. */
import { EventEmitter, once } from 'node:events';
import { join } from 'node:path';
import { expect } from 'vitest';
import { Client } from '../../client/client.ts';
import { Devices } from '../../client/devices.ts';
import type { SynchronousEngine } from '../../client/dma/engine.ts';
import { openMmapEngine } from '../../client/dma/mmap.ts';
import type { Way } from '../../client/dma/way.ts';
import { FsError } from '../../fs/errors.ts';
import { parseAddress } from '../../mds/protocol/index.ts';
import { readAll, writeFile } from '../support/filesystem.ts';
import { test as base, type ClientRig, pattern, until } from './rig.ts';
import { SlowEngine } from './slow-engine.ts';

const MiB = 2 ** 20;
const block = 4096;

class SlowWay implements Way {
  readonly name = 'rma';
  readonly engine: SlowEngine<SynchronousEngine>;
  /** What the test lets `forget` wait for. */
  forgotten: Promise<void> = Promise.resolve();
  forgets = 0;

  constructor(engine: SlowEngine<SynchronousEngine>) {
    this.engine = engine;
  }

  reach(): Promise<SlowEngine<SynchronousEngine>> {
    return Promise.resolve(this.engine);
  }

  forget(): Promise<void> {
    this.forgets += 1;
    return this.forgotten;
  }

  close(): Promise<void> {
    return this.engine.close();
  }
}

const sum = (pieces: readonly { length: number }[]): number => pieces.reduce((all, { length }) => all + length, 0);

interface Slow {
  readonly way: SlowWay;
  readonly client: Client;
}

async function slowClient(rig: ClientRig, image: string): Promise<Slow> {
  const way = new SlowWay(new SlowEngine(await openMmapEngine(image, 1), { transferMax: 65_536 }));
  const options = {
    addresses: [parseAddress(`unix:${rig.wire.path}`)],
    owner: Buffer.from('slow'),
    implementation: 'test',
    credentials: [process.getuid?.() ?? 0, process.getgid?.() ?? 0, []] as [number, number, number[]],
    maxIoMs: 1000,
    process: null,
    pci: null,
    callTimeoutMs: 60_000,
  };
  const client = new Client(
    options,
    (session) => new Devices(session, [way], undefined),
    () => {},
  );
  await client.start(undefined);
  return { way, client };
}

const test = base.extend<{ slow: Slow }>({
  slow: async ({ rig }, use) => {
    const slow = await slowClient(rig, join(rig.lab.dir, 'image'));
    try {
      await use(slow);
    } finally {
      for (const { go } of slow.way.engine.pending) go();
      await slow.client.close();
    }
  },
});

test('what it writes is read back, and by others after a sync', async ({ rig, slow }) => {
  const file = await slow.client.open('data', 'w+');
  const content = pattern(3 * MiB + 77, 1);
  expect(await file.write(content, 0, content.length, 11)).toMatchObject({
    bytesWritten: content.length,
    path: 'direct',
  });
  const back = Buffer.alloc(content.length);
  expect(await file.read(back, 0, back.length, 11)).toMatchObject({ bytesRead: back.length, path: 'direct' });
  expect(back.equals(content)).toBe(true);
  expect(() => file.readSync(back, 0, 10, 0)).toThrow(expect.objectContaining({ status: 'NOT_CACHED' }));
  await file.sync();
  expect((await readAll(rig.lab.vfs, file.ino)).subarray(11).equals(content)).toBe(true);
  expect(slow.client.ways()[0]).toEqual({ way: 'rma', state: 'used' });
});

test('the engine hears of each layout before its first transfer, and of all of it when it goes', async ({ slow }) => {
  const file = await slow.client.open('data', 'w+');
  await file.write(Buffer.alloc(block), 0, block, 0);
  const { prepared, released } = slow.way.engine;
  expect(prepared).toContainEqual(expect.objectContaining({ ino: file.ino, offset: 0, writable: true }));
  expect(released).toEqual([]);
  await file.close();
  expect(sum(released)).toBe(sum(prepared));
});

test('somebody else wants the blocks: what is under way ends, is committed and given back', async ({ rig, slow }) => {
  await writeFile(rig.lab.vfs, 'data', pattern(MiB, 1));
  const { engine } = slow.way;
  const mine = await slow.client.open('data', 'r+');
  await mine.write(Buffer.alloc(block, 1), 0, block, 0);
  engine.hold = true;
  const writing = mine.write(Buffer.alloc(256 * 1024, 0x22), 0, 256 * 1024, 0);
  await until('it is under way', () => engine.pending.length === 4);
  const other = await rig.connect();
  const others = await other.open('data', 'r+');
  let done = false;
  const theirs = others.write(Buffer.alloc(block, 0x33), 0, block, 0).then(() => {
    done = true;
  });
  await until('it is asked back', () => slow.client.counters.recalls > 0);
  expect(done, 'not while a transfer is under way').toBe(false);
  engine.hold = false;
  for (const { go } of engine.pending) go();
  await Promise.all([writing, theirs]);
  await Promise.all([mine.sync(), others.sync()]);
  const content = await readAll(rig.lab.vfs, mine.ino);
  // Either order of the two is right for the block that both wrote; around it there is one writer.
  expect([0x22, 0x33]).toContain(content[0]);
  expect(content.subarray(0, block).every((byte) => byte === content[0])).toBe(true);
  expect(content.subarray(block, 256 * 1024).every((byte) => byte === 0x22)).toBe(true);
  expect(content.subarray(256 * 1024).equals(pattern(MiB, 1).subarray(256 * 1024))).toBe(true);
});

test('an engine that fails: the server does it, the reason is told, and the layout goes back', async ({
  rig,
  slow,
}) => {
  await writeFile(rig.lab.vfs, 'data', pattern(MiB, 1));
  const { engine } = slow.way;
  const file = await slow.client.open('data', 'r+');
  engine.hold = true;
  const reading = file.read(Buffer.alloc(block), 0, block, 0);
  await until('it is under way', () => engine.pending.length === 1);
  engine.pending[0]?.fail(new FsError('EIO', { detail: 'the link is down' }));
  expect(await reading).toMatchObject({
    bytesRead: block,
    path: 'server',
    reason: expect.stringContaining('the link is down'),
  });
  await until('the layout is back', () => rig.server.status().layouts.length === 0);
  const again = await file.write(Buffer.alloc(block, 5), 0, block, 0);
  expect(again).toMatchObject({ path: 'server', reason: expect.stringContaining('the link is down') });
});

test('a layout that it cannot get keys for is given back, and the reason told', async ({ rig, slow }) => {
  await writeFile(rig.lab.vfs, 'data', pattern(MiB, 1));
  slow.way.engine.refusal = new FsError('EACCES', { detail: 'no key for you' });
  const file = await slow.client.open('data');
  const result = await file.read(Buffer.alloc(10), 0, 10, 0);
  expect(result).toMatchObject({ path: 'server', reason: expect.stringContaining('no key for you') });
  expect(rig.server.status().layouts).toEqual([]);
});

test('a write that timed out: the server writes it only when the transfer is over', async ({ rig, slow }) => {
  await writeFile(rig.lab.vfs, 'data', pattern(MiB, 1));
  const { engine } = slow.way;
  const file = await slow.client.open('data', 'r+');
  engine.hold = true;
  let written = false;
  const writing = file.write(Buffer.alloc(block, 7), 0, block, 0).then((result) => {
    written = true;
    return result;
  });
  await until('it is under way', () => engine.pending.length === 1);
  const end = engine.pending[0]?.timeOut();
  await slow.client.stat('data');
  expect(written).toBe(false);
  expect(rig.server.status().layouts.length, 'the layout is kept').toBe(1);
  end?.();
  expect(await writing).toMatchObject({ path: 'server', reason: expect.stringContaining('ETIMEDOUT') });
  await file.sync();
  expect((await readAll(rig.lab.vfs, file.ino))[0]).toBe(7);
});

test('after a restart of the server no new incarnation begins before all is over', async ({ rig, slow }) => {
  const file = await slow.client.open('data', 'w+');
  await file.write(Buffer.alloc(block, 1), 0, block, 0);
  await file.sync();
  const over = new EventEmitter();
  slow.way.forgotten = once(over, 'over').then(() => {});
  await rig.restartServer();
  await until('the loss is known', () => slow.way.forgets > 0);
  let answered = false;
  const asking = slow.client.stat('data').then(() => {
    answered = true;
  });
  await until('it is connected', () => slow.client.state === 'binding');
  expect(answered).toBe(false);
  expect(rig.server.status().clients.filter(({ state }) => state === 'active')).toEqual([]);
  over.emit('over');
  await asking;
  expect(await file.read(Buffer.alloc(10), 0, 10, 0)).toMatchObject({ bytesRead: 10, path: 'direct' });
});
