/** An operation may be aborted at every request that it makes, and at every reply; what it leaves behind is in order. */
import { describe, expect } from 'vitest';
import type { Client, FileHandle } from '../../client/index.ts';
import { type Frame, frameKind } from '../../mds/protocol/index.ts';
import { type ClientRig, pattern, statusOf, test } from './rig.ts';

const content = pattern(1_200_000, 1);
const block = 4096;

interface Case {
  readonly device?: 'none';
  readonly run: (client: Client, file: FileHandle, signal: AbortSignal) => Promise<unknown>;
}

const buffer = Buffer.alloc(content.length);

const cases: Record<string, Case> = {
  open: { run: async (client, _file, signal) => (await client.open('data', 'r+', { signal })).close({ signal }) },
  'read directly': { run: (_client, file, signal) => file.read(buffer, 0, content.length, 0, { signal }) },
  'read through the server': {
    device: 'none',
    run: (_client, file, signal) => file.read(buffer, 0, content.length, 0, { signal }),
  },
  'write directly': { run: (_client, file, signal) => file.write(content, 0, content.length, 0, { signal }) },
  'write through the server': {
    device: 'none',
    run: (_client, file, signal) => file.write(content, 0, content.length, 0, { signal }),
  },
  sync: {
    run: async (_client, file, signal) => {
      await file.write(content, 0, block, 0, { signal });
      await file.sync({ signal });
    },
  },
  layout: {
    // Beyond what is read and written afterwards; the close of the file gives it back.
    run: (_client, file, signal) => file.layout({ offset: 100 * block, length: block, iomode: 'RW' }, { signal }),
  },
  'a view': { run: (_client, file, signal) => file.view({ offset: 0, length: block }, () => {}, { signal }) },
  'readFile by path': { run: (client, _file, signal) => client.readFile('data', { signal }) },
  'copyFile, over another': { run: (client, _file, signal) => client.copyFile('data', 'other', 0, { signal }) },
};

async function prepared(rig: ClientRig, device: 'none' | undefined): Promise<readonly [Client, FileHandle]> {
  const client = await rig.connect(device === undefined ? {} : { device });
  await client.writeFile('data', content);
  await client.writeFile('other', 'x');
  return [client, await client.open('data', 'r+')];
}

describe.for(Object.entries(cases))('%s', ([, { device, run }]) => {
  test.for(['toServer', 'toClient'] as const)('aborted at every message %s', async (way, { rig }) => {
    const [client, first] = await prepared(rig, device);
    await first.close();
    let aborted = 0;
    for (let stage = 1, isOver = false; !isOver; stage++) {
      const file = await client.open('data', 'r+');
      const ending = new AbortController();
      let messages = 0;
      isOver = true;
      rig.wire[way] = (frame: Frame) => {
        const counts = frame[0] === frameKind.request || frame[0] === frameKind.reply;
        if (!isOver || !counts || ++messages < stage) return 'pass';
        isOver = false;
        ending.abort(new Error(`at message ${stage}`));
        return 'hold';
      };
      const outcome = await run(client, file, ending.signal).then(
        () => 'done',
        (error: unknown) => (error instanceof Error ? error.message : String(error)),
      );
      rig.wire.heal();
      // What is aborted after its last reply was heard may be done.
      expect(isOver ? ['done'] : ['done', `at message ${stage}`]).toContain(outcome);
      if (outcome !== 'done') aborted += 1;

      expect(await file.read(buffer, 0, block, 0)).toMatchObject({ bytesRead: block });
      await file.write(content, block, block, block);
      await file.close();
    }
    expect(aborted).toBeGreaterThan(0);
    expect((await client.readFile('data')).equals(content)).toBe(true);
    await client.close();
    expect(rig.server.status()).toMatchObject({ layouts: [], clients: [] });
  });
});

test('the slots of what was aborted come back: more such than there are slots', async ({ rig }) => {
  const client = await rig.connect();
  for (let round = 0; round < 3; round++) {
    rig.wire.toServer = () => 'hold';
    const ending = new AbortController();
    const calls = Array.from({ length: 60 }, () => client.stat('/', { signal: ending.signal }));
    ending.abort();
    for (const outcome of await Promise.allSettled(calls)) expect(outcome.status).toBe('rejected');
    rig.wire.heal();
    expect((await client.stat('/')).isDirectory()).toBe(true);
  }
});

test('no reply reaches the buffer of a read that was aborted', async ({ rig }) => {
  const [client, file] = await prepared(rig, 'none');
  const target = Buffer.alloc(content.length, 0x77);
  const ending = new AbortController();
  rig.wire.toClient = (frame) => {
    if (frame[0] === frameKind.reply) ending.abort();
    return 'hold';
  };
  await expect(file.read(target, 0, target.length, 0, { signal: ending.signal })).rejects.toMatchObject({
    name: 'AbortError',
  });
  rig.wire.heal();
  await client.stat('data');
  expect(target.every((byte) => byte === 0x77)).toBe(true);
});

test('what was sent keeps its bytes though the buffer is the caller’s again', async ({ rig }) => {
  const [client, file] = await prepared(rig, 'none');
  const source = Buffer.alloc(block, 0x11);
  const ending = new AbortController();
  rig.wire.toServer = (frame) => {
    if (frame[0] === frameKind.request) ending.abort();
    return 'drop';
  };
  await expect(file.write(source, 0, block, 0, { signal: ending.signal })).rejects.toMatchObject({
    name: 'AbortError',
  });
  source.fill(0x22);
  // Over the next connection it is sent again.
  rig.wire.cut();
  rig.wire.heal();
  await file.sync();
  const found = await client.readFile('data');
  expect(found.subarray(0, block).every((byte) => byte === 0x11)).toBe(true);
});

test('a deadline is of the whole operation, not of each request', async ({ rig }) => {
  const [client, file] = await prepared(rig, undefined);
  const deadline = { timeoutMs: 30 };
  rig.wire.toServer = () => 'hold';
  expect(await statusOf(client.stat('data', deadline))).toBe('TIMEOUT');
  expect(await statusOf(client.rm('data', deadline))).toBe('TIMEOUT');
  expect(await statusOf(file.read(buffer, { position: 0, ...deadline }))).toBe('TIMEOUT');
  expect(await statusOf(file.createReadStream({ ...deadline, autoClose: false }).toArray())).toBe('TIMEOUT');
  expect(await statusOf(client.admin.recall('everything', deadline))).toBe('TIMEOUT');
  expect(await statusOf(file.close(deadline))).toBe('TIMEOUT');
  rig.wire.heal();
  await file.close();
  for (const timeoutMs of [0, -1, Number.NaN, 2 ** 31]) {
    expect(await statusOf(client.stat('data', { timeoutMs }))).toBe('ARGUMENT');
  }
});

test('a sync that nobody waited for is heard of by the next one', async ({ rig }) => {
  const admin = await rig.connect({ uid: 0, gid: 0, address: rig.directAddress });
  const client = await rig.connect({ owner: 'evicted' });
  const file = await client.open('new', 'w');
  await file.write(content, 0, block, 0);
  const ending = new AbortController();
  rig.wire.toServer = () => {
    ending.abort();
    return 'hold';
  };
  await expect(file.sync({ signal: ending.signal })).rejects.toMatchObject({ name: 'AbortError' });
  await admin.admin.evict(Buffer.from('evicted'));
  rig.wire.heal();
  expect(await statusOf(client.stat('/'))).toBeUndefined();
  expect(await statusOf(file.sync())).toBe('WRITE_LOST');
});
