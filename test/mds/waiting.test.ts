/** Operations that wait for layouts: they keep nobody out, they end in time, and what was committed meanwhile lasts. */
import { describe, expect } from 'vitest';
import { fallocateModes, operations } from '../../mds/protocol/ops.ts';
import { Holder } from './holder.ts';
import type { RawClient } from './raw-client.ts';
import { block } from './recall-table.ts';
import { leaseMs, type Rig } from './rig.ts';
import { test } from './rig-test.ts';

const rw = 2;
/** Of a RawClient. */
const slots = 8;

type File = Awaited<ReturnType<RawClient['create']>>;

const write = (client: RawClient, stateid: File['stateid'], offset: number, slot: number): Promise<string> =>
  client.statusOf(operations.WRITE, [stateid, offset, 2, Buffer.alloc(10, 'x')], slot);

/** The client holds RW, and answers nothing by itself. */
async function holding(client: RawClient, name: string): Promise<File & { readonly holder: Holder }> {
  const file = await client.create(name, Buffer.alloc(block, '-'));
  const open = await client.layout(file.ino, file.stateid, rw, 0, block);
  expect(open.segment).toEqual([rw, 0, block]);
  return { ...file, holder: Holder.watching(client, file.ino) };
}

describe('slots', () => {
  test('what waits leaves the last one free: the next that would wait is DELAY, what need not wait is done', async ({
    rig,
  }) => {
    const [client, other] = [await rig.client({ owner: 'c' }), await rig.client({ owner: 'o' })];
    const { ino, holder } = await holding(other, 'f');
    const open = await client.open(ino);
    const mine = await client.create('mine', Buffer.alloc(block));
    const own = await client.layout(mine.ino, mine.stateid, rw, 0, block);
    const waiting = Array.from({ length: slots - 1 }, (_, slot) => write(client, open, slot * 10, slot));
    const recall = await holder.recalled();
    await rig.until('all wait', () => rig.server.status().breaks.length === slots - 1);
    expect(await write(client, open, 100, slots - 1)).toBe('DELAY');
    expect(await client.statusOf(operations.PIN, [ino, block, block], slots - 1)).toBe('DELAY');
    await client.call(operations.LAYOUTCOMMIT, [mine.ino, own.stateid, [], null, null, null], slots - 1);
    expect(await client.returnLayout(mine.ino, own.stateid, slots - 1)).toBeNull();
    await holder.giveBack(recall);
    expect(new Set(await Promise.all(waiting))).toEqual(new Set(['OK']));
    expect(await write(client, open, 100, slots - 1)).toBe('OK');
  });

  test('two clients that wait for each other in all their slots both get their returns through', async ({ rig }) => {
    const [a, b] = [await rig.client({ owner: 'a' }), await rig.client({ owner: 'b' })];
    const [ofA, ofB] = [await holding(a, 'a'), await holding(b, 'b')];
    const [openB, openA] = [await a.open(ofB.ino), await b.open(ofA.ino)];
    const waiting = Array.from({ length: slots - 1 }, (_, slot) => [
      write(a, openB, slot * 10, slot),
      write(b, openA, slot * 10, slot),
    ]).flat();
    const recalls = [await ofA.holder.recalled(), await ofB.holder.recalled()] as const;
    await rig.until('all wait', () => rig.server.status().breaks.length === 2 * (slots - 1));
    await ofA.holder.giveBack(recalls[0], slots - 1);
    await ofB.holder.giveBack(recalls[1], slots - 1);
    expect(new Set(await Promise.all(waiting))).toEqual(new Set(['OK']));
  });

  test('a client that waits for its own layout in all slots commits and returns it in the last one', async ({
    rig,
  }) => {
    const client = await rig.client();
    const { ino, stateid } = await client.create('f');
    const { extents } = await client.layout(ino, stateid, rw, 0, block);
    const holder = Holder.watching(client, ino);
    rig.lab.fs.device.write(extents[0]?.[4] ?? 0, Buffer.alloc(block, 'd'));
    // A hole: the blocks that it was given would be in the way, and it may commit them first.
    const waiting = Array.from({ length: slots - 1 }, (_, slot) => write(client, stateid, slot * 10, slot));
    const recall = await holder.recalled();
    expect(holder.asked).toEqual([[3, 0, 1, false]]);
    await holder.commit(recall, 0, block, block - 1, slots - 1);
    await holder.giveBack(recall, slots - 1);
    expect(new Set(await Promise.all(waiting))).toEqual(new Set(['OK']));
    const [data] = await client.call(operations.READ, [stateid, 0, block]);
    expect(Buffer.from(data).toString('latin1')).toBe('x'.repeat(70) + 'd'.repeat(block - 70));
  });

  test('a snapshot does not wait in the last one either', async ({ rig }) => {
    const [client, other] = [await rig.client({ owner: 'c' }), await rig.client({ owner: 'o' })];
    const { ino, holder } = await holding(other, 'f');
    const open = await client.open(ino);
    const waiting = Array.from({ length: slots - 1 }, (_, slot) => write(client, open, slot * 10, slot));
    const recall = await holder.recalled();
    await rig.until('all wait', () => rig.server.status().breaks.length === slots - 1);
    const [[snapshots]] = await client.call(operations.LOOKUP, [client.rootIno, Buffer.from('.snapshots')], slots - 1);
    const make = () => client.statusOf(operations.CREATE, [snapshots, Buffer.from('s'), [2, 0]], slots - 1);
    expect(await make()).toBe('DELAY');
    await holder.giveBack(recall);
    await Promise.all(waiting);
    expect(await make()).toBe('OK');
  });
});

/** Each asks for something of `f`, one block that a client holds RW. */
const asking: Record<string, (by: RawClient, file: File) => Promise<string>> = {
  WRITE: (by, { stateid }) => write(by, stateid, 0, 0),
  SETATTR: (by, { ino, stateid }) => by.statusOf(operations.SETATTR, [ino, stateid, [null, null, null, 1, null, null]]),
  OPEN: (by, { ino }) => by.statusOf(operations.OPEN, [[0, ino], 3, true, false]),
  FALLOCATE: (by, { stateid }) =>
    by.statusOf(operations.FALLOCATE, [stateid, fallocateModes.indexOf('punch'), 0, block]),
  CLONE: (by, { ino }) => by.statusOf(operations.CLONE, [ino, by.rootIno, Buffer.from('clone')]),
  SETXATTR: (by, { ino }) =>
    by.statusOf(operations.SETXATTR, [ino, Buffer.from('system.iopmemfs.cow'), Buffer.from('on'), 0]),
  CREATE: async (by) => {
    const [[snapshots]] = await by.call(operations.LOOKUP, [by.rootIno, Buffer.from('.snapshots')]);
    return by.statusOf(operations.CREATE, [snapshots, Buffer.from('s'), [2, 0]]);
  },
};

async function passes(rig: Rig, ms: number, ...alive: readonly RawClient[]): Promise<void> {
  rig.clock.advance(ms);
  for (const client of alive) await client.call(operations.SEQUENCE, [], 2);
}

describe.each(['silence', 'DELAY', 'OK'] as const)('a client that answers its recalls with %s for ever', (answer) => {
  test.for(Object.entries(asking))('delays %s by its deadline and no longer', async ([, ask], { rig }) => {
    const [by, other] = [await rig.client({ owner: 'by' }), await rig.client({ owner: 'holder' })];
    const { ino } = await other.create('f', Buffer.alloc(block, '-'));
    await other.layout(ino, await other.open(ino), rw, 0, block);
    other.connection.answers = [answer];
    let over = false;
    const asked = ask(by, { ino, stateid: await by.open(ino) });
    const done = asked.then((status) => {
      over = true;
      return status;
    });
    await other.connection.recall();
    for (let second = 0; second < leaseMs / 1000 - 1; second++) await passes(rig, 1000, by, other);
    await passes(rig, 999, by, other);
    expect(over).toBe(false);
    await passes(rig, 1);
    expect(await done).toBe('OK');
    expect(rig.server.status().clients.find(({ id }) => id === other.id)).toMatchObject({ state: 'fenced' });
    expect(rig.lab.fs.quarantined().get(other.id)).toBe(block);
  });
});
