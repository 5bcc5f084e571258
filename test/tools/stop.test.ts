/** Unmounting while clients hold layouts: what they wrote is not lost, and what they may still write hurts nobody. */
import { open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { operations } from '../../mds/protocol/ops.ts';
import { allRecalled, asked, returnAll } from '../mds/other-callbacks.ts';
import { RawClient } from '../mds/raw-client.ts';
import { canMount, Sandbox } from './sandbox.ts';

const block = 4096;
const rw = 2;

describe.runIf(canMount)('umount', () => {
  let box: Sandbox;
  let address: string;
  const clients: RawClient[] = [];
  const connected = async (): Promise<RawClient> => {
    const client = await RawClient.connect(address);
    clients.push(client);
    return client;
  };
  const write = async (storage: number, data: Uint8Array): Promise<void> => {
    const image = await open(box.image, 'r+');
    await image.write(data, 0, data.length, storage);
    await image.close();
  };

  beforeEach(async () => {
    box = await Sandbox.create();
    await box.must('mkfs', box.image);
    address = `unix:${join(box.dir, 'mds.sock')}`;
  });
  afterEach(async () => {
    try {
      for (const client of clients.splice(0)) await client.connection.end();
    } finally {
      await box.remove();
    }
  });

  test('waits until clients have committed what they wrote and returned their layouts', async () => {
    await box.mount('--listen', address);
    const client = await connected();
    const { ino, stateid } = await client.create('f');
    const { extents, stateid: held } = await client.layout(ino, stateid, rw, 0, block);
    const { all, next } = asked(client);
    await write(extents[0]?.[4] ?? 0, Buffer.alloc(block, 'w'));
    const unmounted = box.umount();
    await next(0);
    await client.call(operations.LAYOUTCOMMIT, [ino, held, [[0, block]], block - 1, null, null], 1);
    await returnAll(client);
    await unmounted;
    expect(all).toEqual([allRecalled]);
    await box.mount();
    expect((await readFile(box.path('f'))).equals(Buffer.alloc(block, 'w'))).toBe(true);
  });

  test('goes on without a client that does not answer, and puts away what it can reach', async () => {
    await box.mount('--listen', address, '--lease-ms', '1000');
    await writeFile(box.path('f'), Buffer.alloc(block, 'a'));
    const client = await connected();
    const [[ino]] = await client.call(operations.LOOKUP, [client.rootIno, Buffer.from('f')]);
    const { extents } = await client.layout(ino, await client.open(ino), rw, 0, block);
    // It says nothing when it is asked, if it is: its lease may be over by then.
    await box.umount();
    await write(extents[0]?.[4] ?? 0, Buffer.alloc(block, 'x'));
    await box.mount('--listen', address, '--lease-ms', '1000');
    expect((await readFile(box.path('f'))).equals(Buffer.alloc(block, 'a'))).toBe(true);
    expect(await box.must('iopmemfs', 'status', '--json', box.mountPoint)).toMatch(/"quarantined": ?1\b/);
  });
});
