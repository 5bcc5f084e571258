/** Session buffers: all or none, for as long as the session, and never anybody else's while they may still be reached. */
import { describe, expect } from 'vitest';
import { operations } from '../../mds/protocol/ops.ts';
import type { RawClient } from './raw-client.ts';
import { endMs, leaseMs, type Rig } from './rig.ts';
import { test } from './rig-test.ts';

const block = 4096;
const mib = 2 ** 20;

const alloc = async (client: RawClient, count: number, length: number, align = block) => {
  const [stateid, , offsets] = await client.call(operations.BUFFERS_ALLOC, [count, length, align]);
  return { stateid, offsets };
};

const blocks = (rig: Rig) => rig.lab.fs.status().blocks;
const given = (rig: Rig) => rig.server.status().buffers.clients.map(({ count, bytes }) => [count, bytes]);

const evacuate = (rig: Rig, offset: number): number =>
  rig.lab.fs.startJob({ kind: 'evacuate', offset, length: block, retire: false });

async function refusal(call: Promise<unknown>): Promise<string> {
  return call.then(
    () => 'OK',
    (error: unknown) => (error instanceof Error ? error.message : String(error)),
  );
}

/** Every block is free but the superblocks, once what goes is durable. */
async function expectAllFree(rig: Rig): Promise<void> {
  await rig.lab.vfs.syncfs();
  const { free, total, reserved } = blocks(rig);
  expect(free).toBe(total - reserved);
}

describe('while the session lasts', () => {
  test('each is aligned, they do not overlap, and count as granted; freed they are free', async ({ rig }) => {
    const client = await rig.client();
    const { offsets } = await alloc(client, 3, 10_000, 64 * 1024);
    expect(new Set(offsets).size).toBe(3);
    for (const offset of offsets) expect(offset % (64 * 1024)).toBe(0);
    expect(blocks(rig).provisional).toBe(9);
    expect(given(rig)).toEqual([[3, 9 * block]]);
    expect(rig.server.status().layouts).toEqual([]);
    await client.call(operations.BUFFERS_FREE, [offsets.slice(1)]);
    expect(given(rig)).toEqual([[1, 3 * block]]);
    const unknown = client.call(operations.BUFFERS_FREE, [[offsets[0] ?? 0, offsets[1] ?? 0]]);
    expect(await refusal(unknown)).toContain('INVAL');
    expect(given(rig), 'none of them is freed').toEqual([[1, 3 * block]]);
    const twice = client.call(operations.BUFFERS_FREE, [[offsets[0] ?? 0, offsets[0] ?? 0]]);
    expect(await refusal(twice)).toContain('INVAL');
    expect(given(rig), 'not the one, and not twice').toEqual([[1, 3 * block]]);
    await client.call(operations.BUFFERS_FREE, [offsets.slice(0, 1)]);
    expect(given(rig)).toEqual([]);
    await expectAllFree(rig);
  });

  test('all or none: what does not fit is refused with what there is, and takes nothing', async ({ rig }) => {
    const client = await rig.client();
    const before = blocks(rig).free;
    expect(await refusal(alloc(client, 2, 512 * 1024, 8 * mib))).toContain('NOSPC');
    expect(blocks(rig).free).toBe(before);
    expect(given(rig)).toEqual([]);
    expect(await refusal(alloc(client, 1, block, 3 * block))).toContain('INVAL');
    expect(await refusal(alloc(client, 1, 0))).toContain('INVAL');
    await alloc(client, 4, block);
  });

  test('a client has no more than half, and all no more than there are', async ({ rig }) => {
    const { bytesMax } = rig.server.status().buffers;
    expect(bytesMax).toBe((16 * mib) / 8);
    const clients = [await rig.client(), await rig.client({ owner: 'b' }), await rig.client({ owner: 'c' })] as const;
    expect(await refusal(alloc(clients[0], 1, bytesMax / 2 + block))).toContain('NOSPC');
    await alloc(clients[0], 1, bytesMax / 2);
    expect(await refusal(alloc(clients[0], 1, block))).toContain('NOSPC');
    await alloc(clients[1], 1, bytesMax / 2);
    expect(await refusal(alloc(clients[2], 1, block))).toContain('NOSPC');
  });

  test('they are nothing that a file could be given or a layout be', async ({ rig }) => {
    const client = await rig.client();
    const { stateid } = await alloc(client, 1, block);
    const calls = [
      () => client.call(operations.LAYOUTGET, [3, stateid, 2, 0, block, block, 1, false]),
      () => client.call(operations.LAYOUTRETURN, [1, 3, stateid, 3, 0, Infinity, false]),
      () => client.call(operations.LAYOUTCOMMIT, [3, stateid, [[0, block]], null, null, null]),
      () => client.call(operations.GETATTR, [3]),
      () => client.call(operations.PIN, [3, block, block]),
      () => client.call(operations.UNPIN, [3]),
    ];
    for (const call of calls) expect(await refusal(call())).not.toBe('OK');
    expect(given(rig)).toEqual([[1, block]]);
  });
});

describe('given none', () => {
  const off = test.extend<{ options: { buffersMax: number } }>({ options: { buffersMax: 0 } });
  off('a server that was told so refuses by name', async ({ rig }) => {
    expect(await refusal(alloc(await rig.client(), 1, block))).toContain('NOTSUPP');
  });
});

describe('the end', () => {
  test('the last session destroyed: they are free', async ({ rig }) => {
    const client = await rig.client();
    await alloc(client, 2, mib / 4);
    await client.connection.call(operations.DESTROY_SESSION, [client.session]);
    expect(given(rig)).toEqual([]);
    await expectAllFree(rig);
  });

  test('the lease over: no courtesy, they are in quarantine until the owner is back', async ({ rig }) => {
    const client = await rig.client();
    await alloc(client, 2, block);
    rig.clock.advance(leaseMs + 1);
    await rig.until('they are in quarantine', () => blocks(rig).quarantined === 2 && given(rig).length === 0);
    rig.clock.advance(endMs);
    expect(blocks(rig).quarantined).toBe(2);
    await client.connection.end();
    await rig.client({ verifier: 'v2' });
    await rig.until('they are let go', () => blocks(rig).quarantined === 0);
    await expectAllFree(rig);
  });

  test('evicted: they are free at once', async ({ rig }) => {
    const client = await rig.client();
    await alloc(client, 2, block);
    const admin = await rig.client({ owner: 'admin' });
    await admin.call(operations.EVICT, [client.id]);
    await rig.until('they are let go', () => blocks(rig).provisional + blocks(rig).quarantined === 0);
    await expectAllFree(rig);
  });

  test('a new incarnation: those of the former one are void', async ({ rig }) => {
    const client = await rig.client();
    const { offsets } = await alloc(client, 1, block);
    await client.connection.end();
    const again = await rig.client({ verifier: 'v2' });
    expect(await refusal(again.call(operations.BUFFERS_FREE, [offsets]))).toContain('INVAL');
    await rig.until('they are let go', () => blocks(rig).provisional + blocks(rig).quarantined === 0);
  });

  test.for(['restart', 'crash'] as const)(
    'a %s of the server: nobody gets them before the client is back',
    async (how, { rig }) => {
      const client = await rig.client();
      const { offsets } = await alloc(client, 1, block);
      if (how === 'restart') await rig.restart();
      else await rig.crash();
      const at = (offsets[0] ?? 0) / block;
      const used = (): boolean => blocks(rig).provisional + blocks(rig).quarantined === 1;
      expect(used()).toBe(true);
      const other = await rig.client({ owner: 'other' });
      expect(await refusal(alloc(other, 1, block))).toContain('GRACE');
      rig.clock.advance(leaseMs + 1);
      await rig.until('grace is over', () => rig.server.status().graceLeftMs === 0);
      expect(used()).toBe(true);
      const late = await rig.client({ owner: 'late' });
      for (const offset of (await alloc(late, 100, block)).offsets) expect(offset / block).not.toBe(at);
      await rig.client({ verifier: 'v2' });
      await rig.until('they are let go', () => blocks(rig).quarantined === 0);
    },
  );
});

describe('when the range is emptied', () => {
  test('the owner is asked to free them, and the job goes on when it has', async ({ rig }) => {
    const client = await rig.client();
    const { stateid, offsets } = await alloc(client, 2, block);
    const asked: unknown[] = [];
    client.connection.onOther = (number, args) => {
      asked.push([number, args]);
      return 'OK';
    };
    evacuate(rig, offsets[0] ?? 0);
    await rig.until('it is asked', () => asked.length > 0);
    expect(asked).toMatchObject([[20100, [[expect.any(Number), stateid[1]], expect.arrayContaining([offsets[0]])]]]);
    await client.call(operations.BUFFERS_FREE, [offsets]);
    await rig.until('it is done', () => rig.lab.fs.job()?.state === 'done');
  });

  test('who does not is fenced, and the job says who may still reach them', async ({ rig }) => {
    const client = await rig.client();
    const { offsets } = await alloc(client, 1, block);
    let asked = 0;
    client.connection.onOther = () => {
      asked++;
      return 'OK';
    };
    evacuate(rig, offsets[0] ?? 0);
    await rig.until('it is asked', () => asked > 0);
    rig.clock.advance(leaseMs / 2);
    await client.call(operations.SEQUENCE, []);
    rig.clock.advance(leaseMs / 2 + 1);
    await rig.until('it has failed', () => rig.lab.fs.job()?.state === 'failed');
    expect(rig.lab.fs.job()?.error).toMatchObject({
      code: 'EBUSY',
      detail: expect.stringContaining(`client ${client.id}`),
    });
    expect(blocks(rig).quarantined).toBe(1);
  });
});
