/** Session buffers of the library: what a program is given, and what it hears when it has to let go. */
import { expect } from 'vitest';
import { ClientError, type SessionBuffer } from '../../client/index.ts';
import { pattern, test, until } from './rig.ts';

const block = 4096;
const mib = 2 ** 20;

test('alloc gives all of them, mapped here, with their place; free takes them back', async ({ rig }) => {
  const client = await rig.connect();
  const buffers = await client.buffers.alloc(4, { size: mib / 4, align: mib / 4 });
  expect(buffers.length).toBe(4);
  for (const [i, buffer] of buffers.entries()) {
    expect(buffer).toMatchObject({ length: mib / 4, live: true, busAddress: undefined });
    expect(buffer.storageOffset % (mib / 4)).toBe(0);
    buffer.view?.[0]?.set(pattern(mib / 4, i));
    const found = Buffer.alloc(mib / 4);
    rig.lab.fs.device.read(buffer.storageOffset, found);
    expect(found.equals(pattern(mib / 4, i))).toBe(true);
  }
  expect((await client.admin.status()).buffers.clients).toMatchObject([{ count: 4, bytes: mib }]);
  await client.buffers.free(buffers);
  await client.buffers.free(buffers);
  expect(buffers.map(({ live, view }) => [live, view])).toEqual(buffers.map(() => [false, undefined]));
  expect((await client.admin.status()).buffers.clients).toEqual([]);
});

test('where there is no room none is given, and the error says so by name', async ({ rig }) => {
  const client = await rig.connect();
  const error = await client.buffers.alloc(8, { size: mib }).catch((each: unknown) => each);
  expect(error).toBeInstanceOf(ClientError);
  expect(error).toMatchObject({ status: 'NOSPC', code: 'ENOSPC' });
  expect((await client.admin.status()).buffers.clients).toEqual([]);
});

test('closing the client gives them back', async ({ rig }) => {
  const client = await rig.connect();
  await client.buffers.alloc(2, { size: block });
  await client.close();
  await rig.lab.vfs.syncfs();
  const { free, total, reserved } = rig.lab.fs.status().blocks;
  expect(free).toBe(total - reserved);
});

test('asked back they are freed when the listeners have run; one that is not is waited for', async ({ rig }) => {
  const client = await rig.connect();
  const [own] = await client.buffers.alloc(1, { size: block });
  const [slow] = await client.buffers.alloc(1, { size: block, onRecall: 'ignore' });
  const asked: SessionBuffer[] = [];
  for (const buffer of [own, slow]) buffer?.on('recall', () => asked.push(buffer));
  const start = Math.min(own?.storageOffset ?? 0, slow?.storageOffset ?? 0);
  rig.lab.fs.startJob({ kind: 'evacuate', offset: start, length: 2 * block, retire: false });
  await until('both are asked for', () => asked.length === 2);
  await until('the one is freed', () => own?.live === false);
  expect(slow?.live).toBe(true);
  expect(rig.lab.fs.job()?.state).toBe('running');
  await client.buffers.free(slow === undefined ? [] : [slow]);
  await until('the job is done', () => rig.lab.fs.job()?.state === 'done');
});

test('everything asked back takes them too', async ({ rig }) => {
  const client = await rig.connect();
  const buffers = await client.buffers.alloc(2, { size: block });
  const file = await client.open('/a', 'w+');
  await file.write(pattern(block, 1), 0, block, 0);
  await (await rig.connect({ device: 'none' })).admin.recall('everything');
  expect(buffers.map(({ live }) => live)).toEqual([false, false]);
  expect((await client.admin.status()).buffers.clients).toEqual([]);
  expect((await client.buffers.alloc(1, { size: block })).length).toBe(1);
  await file.close();
});

test('a restart of the server takes them; the program hears of it, and the session waits for what it still uses', async ({
  rig,
}) => {
  const client = await rig.connect();
  const [own] = await client.buffers.alloc(1, { size: block });
  const [slow] = await client.buffers.alloc(1, { size: block, onRecall: 'ignore' });
  const revoked: SessionBuffer[] = [];
  for (const buffer of [own, slow]) buffer?.on('revoked', () => revoked.push(buffer));
  await rig.restartServer();
  await until('both are revoked', () => revoked.length === 2);
  expect(own?.live || slow?.live).toBe(false);
  await expect(client.stat('/')).rejects.toMatchObject({ status: 'ENGINES_UNKNOWN' });
  await client.buffers.free(slow === undefined ? [] : [slow]);
  await client.stat('/');
  await until('they are let go', () => {
    const { provisional, quarantined } = rig.lab.fs.status().blocks;
    return provisional + quarantined === 0;
  });
});
