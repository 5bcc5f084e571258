/** What the library does when everything is asked back, or part of it. */
import { describe, expect } from 'vitest';
import { frameKind, operations } from '../../mds/protocol/index.ts';
import { readAll, writeFile } from '../support/filesystem.ts';
import { test as base, pattern, until } from './rig.ts';

const block = 4096;

base('everything is asked back: what was written is committed, then one return gives back all', async ({ rig }) => {
  const content = pattern(4 * block, 1);
  await writeFile(rig.lab.vfs, 'read', content);
  const client = await rig.connect();
  const [written, read] = [await client.open('written', 'w+'), await client.open('read')];
  await written.write(content, 0, content.length, 0);
  expect((await read.readFile()).equals(content)).toBe(true);
  expect(rig.server.status().layouts).toHaveLength(2);

  const admin = await rig.connect({ address: rig.directAddress });
  await admin.admin.recall('everything');
  expect(rig.server.status().layouts).toEqual([]);
  expect((await readAll(rig.lab.vfs, written.ino)).equals(content)).toBe(true);
  expect(client.counters.recalls).toBe(1);
  expect((await read.readFile()).equals(content)).toBe(true);
  expect((await written.readFile()).equals(content)).toBe(true);
  expect(rig.server.status().clients.map(({ state }) => state)).toEqual(['active', 'active']);
});

base('what is granted before the reply to that return is here stays', async ({ rig }) => {
  const content = pattern(4 * block, 1);
  const client = await rig.connect();
  const [first, next] = [await client.open('first', 'w+'), await client.open('next', 'w+')];
  await first.write(content, 0, content.length, 0);
  const returns = (): readonly number[] =>
    rig.wire.sent.flatMap((frame) =>
      frame[0] === frameKind.request && frame[6] === operations.LAYOUTRETURN.number ? [frame[1]] : [],
    );
  rig.wire.toClient = (frame) => (frame[0] === frameKind.reply && returns().includes(frame[1]) ? 'hold' : 'pass');
  const admin = await rig.connect({ address: rig.directAddress });
  await admin.admin.recall('everything');
  expect(await next.write(content, 0, content.length, 0)).toMatchObject({ path: 'direct' });
  expect(rig.wire.held.toClient).toBe(1);
  rig.wire.heal();
  await until('the reply', () => client.counters.recalls === 1 && rig.wire.held.toClient === 0);
  await client.stat('first');
  await next.sync();
  expect((await readAll(rig.lab.vfs, next.ino)).equals(content)).toBe(true);
});

base('a layout of the program that answers by itself is waited for', async ({ rig }) => {
  await writeFile(rig.lab.vfs, 'data', pattern(4 * block, 1));
  const client = await rig.connect();
  const file = await client.open('data', 'r+');
  const layout = await file.layout({ offset: 0, length: block, iomode: 'RW', onRecall: 'ignore' });
  const noticed = new Promise((resolve) => layout.once('recall', resolve));
  const admin = await rig.connect({ address: rig.directAddress });
  let recalled = false;
  const recall = admin.admin.recall('everything').then(() => {
    recalled = true;
  });
  expect(await noticed).toMatchObject({ offset: 0, length: block, changed: false });
  await client.stat('data');
  expect([recalled, layout.live]).toEqual([false, true]);
  await layout.return();
  await recall;
  expect(rig.server.status().layouts).toEqual([]);
});

base(
  'a recall of a file ends with a return of all of it, though the program gave the last of it back',
  async ({ rig }) => {
    await writeFile(rig.lab.vfs, 'data', pattern(4 * block, 1));
    const client = await rig.connect();
    const file = await client.open('data', 'r+');
    const layout = await file.layout({ offset: block, length: block, iomode: 'RW', onRecall: 'ignore' });
    await file.read(Buffer.alloc(block), 0, block, 3 * block);
    const noticed = new Promise((resolve) => layout.once('recall', resolve));
    const admin = await rig.connect({ address: rig.directAddress });
    const recall = admin.admin.recall({ path: '/data' });
    await noticed;
    await layout.return();
    await recall;
    await until('all is returned', () => rig.server.status().layouts.length === 0);
  },
);

describe('memory of the server is short', () => {
  const test = base.override({ options: { segmentsHighMark: 8 } });

  test('the least recently used layouts go, the others stay', async ({ rig }) => {
    const content = pattern(block, 1);
    for (let n = 0; n < 9; n++) await writeFile(rig.lab.vfs, `f${n}`, content);
    const client = await rig.connect();
    const files = [];
    for (let n = 0; n < 8; n++) {
      const file = await client.open(`f${n}`);
      files.push(file);
      await file.readFile();
    }
    expect(rig.server.status().layouts).toHaveLength(8);
    await files[0]?.read(Buffer.alloc(block), 0, block, 0);
    await (await client.open('f8')).readFile();
    await until('layouts go', () => rig.server.status().layouts.length <= 6);
    const held = new Set(rig.server.status().layouts.map(({ ino }) => ino));
    expect([files[0]?.ino, files[1]?.ino, files[2]?.ino].map((ino) => held.has(ino ?? 0))).toEqual([
      true,
      false,
      false,
    ]);
  });
});
