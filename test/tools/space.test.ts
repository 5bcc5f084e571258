/** Programs on a mount where clients have most of the space below layouts. */
import { readFile, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { operations } from '../../mds/protocol/ops.ts';
import { RawClient } from '../mds/raw-client.ts';
import { canMount, Sandbox } from './sandbox.ts';

const block = 4096;
const rw = 2;

describe.runIf(canMount)('a program that writes more than is left', () => {
  let box: Sandbox;
  let client: RawClient;

  beforeEach(async () => {
    box = await Sandbox.create();
    await box.must('mkfs', box.image);
    const address = `unix:${join(box.dir, 'mds.sock')}`;
    await box.mount('--listen', address);
    client = await RawClient.connect(address);
  });
  afterEach(async () => {
    try {
      await client.connection.end();
    } finally {
      await box.remove();
    }
  });

  test('waits until a client has committed what it wrote and given back the rest', async () => {
    const { ino, stateid } = await client.create('holder');
    const before = (await statfs(box.mountPoint)).bfree;
    const held = Math.floor(0.8 * before) * block;
    await client.layout(ino, stateid, rw, 0, held);
    const content = Buffer.alloc(Math.floor(0.6 * before) * block, 'x');
    const written = writeFile(box.path('file'), content);

    const [layout] = await client.connection.recall();
    await client.call(operations.LAYOUTCOMMIT, [ino, layout, [[0, block]], block - 1, null, null], 1);
    await client.call(operations.LAYOUTRETURN, [1, ino, layout, rw, 0, Infinity, false], 1);
    await written;
    expect((await readFile(box.path('file'))).equals(content)).toBe(true);
    expect((await readFile(box.path('holder'))).length).toBe(block);
  });
});
