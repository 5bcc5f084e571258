/** Keys and layouts: no key outlives the layout that it is under, whatever is asked for at the same time. */
import { describe, expect, vi } from 'vitest';
import { operations } from '../../mds/protocol/ops.ts';
import { RmaKeys } from '../../mds/rma/keys.ts';
import { missing } from '../client/rma-lab.ts';
import type { RawClient } from './raw-client.ts';
import type { Rig } from './rig.ts';
import { test as base } from './rig-test.ts';

const test = base.extend({ options: { rma: ['tcp'] as const } });
const block = 4096;
const rw = 2;
/** A socket address of IPv4 (ip(7)): nobody is there, and nothing is sent. */
const peer = Buffer.from([2, 0, 0, 9, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);

type Piece = [offset: number, length: number, storage: number, writable: boolean];

/** A client with a layout for writing, and a key to it. */
async function holder(rig: Rig) {
  const client = await rig.client();
  await client.call(operations.RMA_ATTACH, ['tcp', peer]);
  const { ino, stateid: open } = await client.create('file', Buffer.alloc(block));
  const got = await client.call(operations.LAYOUTGET, [ino, open, rw, 0, block, block, 16, false]);
  const [[, offset, length, , storage] = [0, 0, 0, Buffer.alloc(0), 0]] = got[2];
  const pieces: Piece[] = [[offset, length, storage, true]];
  await client.call(operations.RMA_REGISTER, [ino, pieces]);
  return { client, ino, open, stateid: got[0], pieces };
}

const register = ({ client, ino, pieces }: Awaited<ReturnType<typeof holder>>, slot: number): Promise<string> =>
  client.statusOf(operations.RMA_REGISTER, [ino, pieces], slot);

const leave = async (client: RawClient): Promise<void> => {
  await client.connection.call(operations.DESTROY_SESSION, [client.session]);
  await client.connection.call(operations.DESTROY_CLIENTID, [client.id]);
};

describe.skipIf(missing('tcp') !== undefined)('one-sided access', () => {
  test('while a layout is given back there is no new key to it', async ({ rig }) => {
    const held = await holder(rig);
    const returned = held.client.statusOf(
      operations.LAYOUTRETURN,
      [1, held.ino, held.stateid, 3, 0, Infinity, false],
      1,
    );
    expect([await register(held, 2), await returned]).toEqual(['DELAY', 'OK']);
    expect(await register(held, 2)).toBe('BADLAYOUT');
  });

  test('nor while all are, nor while a get by an open says that none is held', async ({ rig }) => {
    const held = await holder(rig);
    const got = held.client.call(operations.LAYOUTGET, [held.ino, held.open, rw, 0, block, block, 16, false], 1);
    expect(await register(held, 2)).toBe('DELAY');
    await got;
    expect(await register(held, 2)).toBe('OK');
    const returned = held.client.statusOf(operations.LAYOUTRETURN, [3, null, null, 3, 0, Infinity, false], 1);
    expect([await register(held, 2), await returned]).toEqual(['DELAY', 'OK']);
  });

  test('who leaves gives its endpoint back', async ({ rig }) => {
    const release = vi.spyOn(RmaKeys.prototype, 'release');
    const client = await rig.client();
    await client.call(operations.RMA_ATTACH, ['tcp', peer]);
    release.mockClear();
    await leave(client);
    expect(release).toHaveBeenCalledWith(client.id);
    release.mockRestore();
  });
});
