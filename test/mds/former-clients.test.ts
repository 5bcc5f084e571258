/** What former clients may still reach: over restarts, over a second program of one owner, and until somebody says they are dead. */
import { describe, expect } from 'vitest';
import { operations } from '../../mds/protocol/ops.ts';
import { sequenceFlag } from '../../mds/protocol/status.ts';
import { n, root, writeFile } from '../support/filesystem.ts';
import { introduction } from './raw-client.ts';
import { endMs, leaseMs, type Rig } from './rig.ts';
import { test } from './rig-test.ts';

const block = 4096;
/** As RawClient introduces itself. */
const ioMaxMs = 1000;
const [read, rw] = [1, 2];

/** A client with a layout over the two blocks of a new file; answers where they are. */
async function holder(rig: Rig, iomode: number, name = 'a') {
  const client = await rig.client({ owner: `holder of ${name}`, verifier: '1' });
  const { ino, stateid } = await client.create(name, Buffer.alloc(2 * block, 7));
  const layout = await client.layout(ino, stateid, iomode, 0, 2 * block);
  return { client, ino, layout, at: layout.extents[0]?.[4] ?? 0 };
}

/** Fills what is free, and answers whether the block at byte `at` of the device was taken for it. */
async function isReused({ lab }: Rig, at: number): Promise<boolean> {
  await lab.vfs.syncfs();
  const filler = await writeFile(lab.vfs, 'filler', Buffer.alloc(lab.fs.status().blocks.free * block, 1));
  const map = await lab.fs.map(filler);
  return map.some(({ storageOffset, length }) => storageOffset <= at && at < storageOffset + length);
}

async function endGrace(rig: Rig): Promise<void> {
  rig.clock.advance(leaseMs);
  await rig.until('the end of grace', () => rig.server.status().clients.every(({ state }) => state !== 'returning'));
}

describe('after a restart', () => {
  test.for([read, rw])('blocks granted before it (iomode %i) are not reused after grace', async (iomode, { rig }) => {
    const { client, at } = await holder(rig, iomode);
    await client.connection.end();
    await rig.restart();
    await endGrace(rig);
    await rig.lab.vfs.unlink(rig.lab.vfs.rootIno, n('a'), root);
    expect(await isReused(rig, at)).toBe(false);
    expect(rig.lab.fs.quarantined().get(client.id)).toBe(2 * block);
  });

  test('the content of the file is what it was', async ({ rig }) => {
    const { client, ino, at } = await holder(rig, rw);
    await rig.restart();
    await endGrace(rig);
    // The former client is alive and writes on.
    rig.lab.fs.device.write(at, Buffer.alloc(2 * block, 0xee));
    const other = await rig.client({ owner: 'other' });
    const [data] = await other.call(operations.READ, [await other.open(ino), 0, 2 * block]);
    expect(Buffer.from(data).equals(Buffer.alloc(2 * block, 7))).toBe(true);
    await client.connection.end();
  });

  test('what one of two former clients of a file gives free the other may still write to', async ({ rig }) => {
    const { client: first, ino } = await holder(rig, rw);
    await first.connection.end();
    await rig.restart();
    await endGrace(rig);
    await rig.client({ owner: 'holder of a', verifier: '2' });
    const one = await rig.client({ owner: 'one' });
    const two = await rig.client({ owner: 'two' });
    await one.layout(ino, await one.open(ino), rw, 0, block);
    const { extents } = await two.layout(ino, await two.open(ino), rw, block, block);
    await one.connection.end();
    await two.connection.end();
    await rig.restart();
    await endGrace(rig);
    await rig.client({ owner: 'one', verifier: 'another' });
    expect(await isReused(rig, extents[0]?.[4] ?? 0)).toBe(false);
    await rig.client({ owner: 'two', verifier: 'another' });
    expect(rig.lab.fs.status().blocks.quarantined).toBe(0);
  });

  test('only files that a former client may reach have to wait, and status says for what', async ({ rig }) => {
    const { ino } = await holder(rig, rw);
    const other = await writeFile(rig.lab.vfs, 'other', Buffer.alloc(block, 1));
    await rig.restart();
    const { vfs } = rig.lab;
    await vfs.setattr(other, { size: 0 }, root);
    await writeFile(vfs, 'new', Buffer.alloc(block, 1));
    let cut = false;
    const waiting = Promise.resolve(vfs.setattr(ino, { size: 0 }, root)).then(() => {
      cut = true;
    });
    rig.clock.advance(10);
    expect(rig.server.status().breaks).toMatchObject([{ ino, reason: 'unmap (grace)', waitingMs: 10 }]);
    expect(cut).toBe(false);
    rig.clock.advance(leaseMs);
    await waiting;
    expect(rig.server.status().breaks).toEqual([]);
  });

  test('a client that was put away once is not waited for again, and its blocks stay away', async ({ rig }) => {
    const { client } = await holder(rig, rw);
    await rig.restart();
    await endGrace(rig);
    for (let mounts = 0; mounts < 2; mounts++) {
      await rig.restart();
      expect(rig.server.status()).toMatchObject({ graceLeftMs: 0, clients: [{ id: client.id, state: 'expired' }] });
      expect(rig.lab.fs.quarantined().get(client.id)).toBe(2 * block);
    }
  });

  test('nobody is waited for, nor remembered, who had given everything back', async ({ rig }) => {
    const { client, ino, layout } = await holder(rig, rw);
    await client.returnLayout(ino, layout.stateid);
    await rig.restart();
    expect(rig.server.status()).toMatchObject({ graceLeftMs: 0, clients: [] });
    expect(rig.lab.fs.clientRecords()).toEqual([]);
  });

  test('a client that holds nothing when its lease ends leaves no record', async ({ rig }) => {
    const { client, ino, layout } = await holder(rig, read);
    await client.returnLayout(ino, layout.stateid);
    rig.clock.advance(endMs);
    await rig.until('the end of the record', () => rig.lab.fs.clientRecords().length === 0);
    expect(rig.lab.fs.layouts.granted(client.id).size).toBe(0);
  });
});

describe('the record of a grant', () => {
  test('stays for a while after the return, and goes if the client does not come back', async ({ rig }) => {
    const { client, ino, layout } = await holder(rig, read);
    const granted = () => [...rig.lab.fs.layouts.granted(client.id)];
    await client.returnLayout(ino, layout.stateid);
    rig.clock.advance(4000);
    expect(granted()).toEqual([[ino, 'read']]);
    const again = await client.layout(ino, await client.open(ino), read, 0, block);
    rig.clock.advance(5000);
    expect(granted()).toEqual([[ino, 'read']]);
    await client.returnLayout(ino, again.stateid);
    rig.clock.advance(5000);
    expect(granted()).toEqual([]);
  });
});

describe('a second program of the same owner (RFC 8881 §18.35)', () => {
  test('does not free what the first may still write', async ({ rig }) => {
    const { client, at } = await holder(rig, rw);
    await rig.client({ owner: 'holder of a', verifier: '2' });
    expect(await client.statusOf(operations.SEQUENCE, [])).toBe('BADSESSION');
    expect(rig.lab.fs.quarantined().get(client.id)).toBe(2 * block);
    expect(await isReused(rig, at)).toBe(false);
    rig.clock.advance(leaseMs + ioMaxMs - 1);
    expect(rig.lab.fs.quarantined().has(client.id)).toBe(true);
    rig.clock.advance(1);
    await rig.until('the release', () => !rig.lab.fs.quarantined().has(client.id));
  });

  test('frees it at once when the first has no connection any more', async ({ rig }) => {
    const { client } = await holder(rig, rw);
    await client.connection.end();
    await rig.until('the end of its connection', () => rig.server.status().clients[0]?.connections === 0);
    await rig.client({ owner: 'holder of a', verifier: '2' });
    expect(rig.lab.fs.quarantined().size).toBe(0);
  });

  test('is the first one itself if it comes over the same connection', async ({ rig }) => {
    const { client } = await holder(rig, rw);
    const again = introduction({ owner: 'holder of a', verifier: '2' });
    const [id, sequence] = await client.connection.call(operations.EXCHANGE_ID, again);
    await client.connection.call(operations.CREATE_SESSION, [id, sequence, 4, 1]);
    expect(rig.lab.fs.quarantined().size).toBe(0);
  });
});

describe('EVICT', () => {
  test('revokes what a living client has, and frees its blocks', async ({ rig }) => {
    const { client, ino } = await holder(rig, rw);
    const admin = await rig.client({ owner: 'admin' });
    await admin.call(operations.EVICT, [client.id]);
    expect(await client.statusOf(operations.SEQUENCE, [])).toBe('BADSESSION');
    expect(rig.server.status().layouts).toEqual([]);
    expect(rig.lab.fs.quarantined().size).toBe(0);
    expect(rig.lab.fs.clientRecords()).toEqual([]);
    await admin.layout(ino, await admin.open(ino), rw, 0, block);
  });

  test('frees what an expired client had', async ({ rig }) => {
    const { client } = await holder(rig, rw);
    rig.clock.advance(endMs);
    await rig.until('the quarantine', () => rig.lab.fs.quarantined().has(client.id));
    const admin = await rig.client({ owner: 'admin' });
    await admin.call(operations.EVICT, [client.id]);
    expect(rig.lab.fs.quarantined().size).toBe(0);
    expect(await admin.statusOf(operations.EVICT, [client.id])).toBe('NOENT');
  });

  test('ends grace with the last client that was waited for', async ({ rig }) => {
    const { client, ino } = await holder(rig, rw);
    await rig.restart();
    const truncated = rig.lab.vfs.setattr(ino, { size: 0 }, root);
    const admin = await rig.client({ owner: 'admin' });
    await admin.call(operations.EVICT, [client.id]);
    expect((await truncated).size).toBe(0);
    expect(rig.server.status()).toMatchObject({ graceLeftMs: 0 });
  });

  test('is for the administrator, and for others than itself', async ({ rig }) => {
    const { client } = await holder(rig, rw);
    const user = await rig.client({ owner: 'user', uid: 1000 });
    expect(await user.statusOf(operations.EVICT, [client.id])).toBe('PERM');
    expect(await client.statusOf(operations.EVICT, [client.id])).toBe('INVAL');
    expect(await client.statusOf(operations.EVICT, [4711])).toBe('NOENT');
    expect(await client.statusOf(operations.SEQUENCE, [])).toBe('OK');
  });
});

describe('REVOKE', () => {
  test('takes the layouts of a client that goes on, which hears of it until it has freed the last', async ({ rig }) => {
    const { client, ino, layout } = await holder(rig, rw);
    const second = await client.create('b', Buffer.alloc(block, 8));
    const other = await client.layout(second.ino, second.stateid, rw, 0, block);
    const admin = await rig.client({ owner: 'admin' });
    expect(await admin.call(operations.REVOKE, [client.id])).toEqual([2]);

    await client.call(operations.SEQUENCE, []);
    expect(client.flags).toBe(sequenceFlag.ADMIN_STATE_REVOKED);
    expect(await client.statusOf(operations.LAYOUTRETURN, [1, ino, layout.stateid, 3, 0, Infinity, false])).toBe(
      'ADMIN_REVOKED',
    );
    expect(await client.call(operations.TEST_STATEID, [[layout.stateid, second.stateid]])).toEqual([[10047, 0]]);
    // Somebody needs the file: it has the old content, whatever the client still writes.
    await rig.until('the fence', () => rig.server.status().layouts.length === 0);
    expect(rig.lab.fs.quarantined().has(client.id)).toBe(true);
    rig.lab.fs.device.write(layout.extents[0]?.[4] ?? 0, Buffer.alloc(2 * block, 0xee));
    const [data] = await admin.call(operations.READ, [await admin.open(ino), 0, 2 * block]);
    expect(Buffer.from(data).equals(Buffer.alloc(2 * block, 7))).toBe(true);

    for (const { stateid } of [layout, other]) {
      expect(client.flags).toBe(sequenceFlag.ADMIN_STATE_REVOKED);
      while ((await client.statusOf(operations.FREE_STATEID, [stateid])) === 'DELAY');
    }
    await client.call(operations.SEQUENCE, []);
    expect(client.flags).toBe(0);
    expect(rig.lab.fs.quarantined().size).toBe(0);
    await client.layout(second.ino, second.stateid, rw, 0, block);
  });

  test('of a client that is fenced already changes nothing, and of one without layouts neither', async ({ rig }) => {
    const { client, ino } = await holder(rig, rw);
    const admin = await rig.client({ owner: 'admin' });
    const truncated = rig.lab.vfs.setattr(ino, { size: 0 }, root);
    await client.connection.recall();
    for (let half = 0; half < 2; half++) {
      await client.call(operations.SEQUENCE, []);
      await admin.call(operations.SEQUENCE, []);
      rig.clock.advance(leaseMs / 2);
    }
    await truncated;
    expect(await admin.call(operations.REVOKE, [client.id])).toEqual([0]);
    await client.call(operations.SEQUENCE, []);
    expect(client.flags).toBe(sequenceFlag.RECALLABLE_STATE_REVOKED);
    const empty = await rig.client({ owner: 'empty' });
    expect(await admin.call(operations.REVOKE, [empty.id])).toEqual([0]);
    await empty.call(operations.SEQUENCE, []);
    expect(empty.flags).toBe(0);
  });

  test('is for the administrator, and for others than itself', async ({ rig }) => {
    const { client } = await holder(rig, rw);
    const user = await rig.client({ owner: 'user', uid: 1000 });
    expect(await user.statusOf(operations.REVOKE, [client.id])).toBe('PERM');
    expect(await client.statusOf(operations.REVOKE, [client.id])).toBe('INVAL');
    expect(await client.statusOf(operations.REVOKE, [4711])).toBe('NOENT');
    expect(rig.server.status().layouts).toHaveLength(1);
  });
});
