import { expect } from 'vitest';
import { n, readAll, root, withHandle, writeFile } from '../support/filesystem.ts';
import { pattern, statusOf, test } from './rig.ts';

const block = 4096;

test('the bytes for reading are those on the device, holes zeros, up to the end of the file', async ({ rig }) => {
  const ino = await writeFile(rig.lab.vfs, 'data', pattern(10_000, 1));
  await withHandle(rig.lab.vfs, ino, 2, (handle) => rig.lab.vfs.write(handle, 300_000, Buffer.from('end'), root));
  const client = await rig.connect();
  const file = await client.open('data');
  const whole = await file.view({ offset: 0, length: 1_000_000 }, (views) => Buffer.concat(views));
  expect(whole.equals(await readAll(rig.lab.vfs, ino))).toBe(true);
  const part = await file.view({ offset: 5, length: 3 }, (views) => Buffer.concat(views));
  expect(part.equals(pattern(10_000, 1).subarray(5, 8))).toBe(true);
  expect(await file.view({ offset: 300_003, length: 1 }, (views) => views.length)).toBe(0);
  const { counters } = client;
  expect(counters.serverBytesRead).toBe(0);

  const place = (await client.map('data'))[0]?.storageOffset ?? 0;
  const seen = await file.view({ offset: 0, length: block }, ([first]) => {
    rig.lab.fs.device.write(place, Buffer.from('straight'));
    return Buffer.from(first ?? []).toString('latin1', 0, 8);
  });
  expect(seen).toBe('straight');
});

test('what is written to them is part of the file after the sync, and the rest of a block is what it was', async ({
  rig,
}) => {
  const client = await rig.connect();
  const file = await client.open('data', 'w+');
  await file.view({ offset: 100, length: 10_000 }, (views) => views.forEach((view) => view.fill(0x61)), {
    write: true,
  });
  expect((await file.stat()).size).toBe(10_100);
  await file.sync();
  const { ino } = await rig.lab.vfs.lookup(rig.lab.vfs.rootIno, n('data'), root);
  const expected = Buffer.concat([Buffer.alloc(100), Buffer.alloc(10_000, 0x61)]);
  expect((await readAll(rig.lab.vfs, ino)).equals(expected)).toBe(true);

  await client.clone('data', 'copy');
  await file.view({ offset: 5000, length: 1 }, ([view]) => view?.fill(0x62), { write: true });
  await file.sync();
  expected[5000] = 0x62;
  expect((await readAll(rig.lab.vfs, ino)).equals(expected)).toBe(true);
  expect((await client.readFile('copy'))[5000]).toBe(0x61);
});

test('what cannot be had is said by name', async ({ rig }) => {
  const far = await rig.connect({ device: 'none' });
  await far.writeFile('data', 'content');
  const file = await far.open('data');
  await expect(file.view({ offset: 0, length: 1 }, () => {})).rejects.toMatchObject({
    status: 'NOT_DIRECT',
    code: 'EOPNOTSUPP',
    syscall: 'view',
  });
  expect(await statusOf(file.view({ offset: 0, length: 1 }, () => {}, { write: true }))).toBe('NOT_OPEN_FOR');
  expect(await statusOf(file.view({ offset: -1, length: 1 }, () => {}))).toBe('ARGUMENT');
});

test('as the flags of open have it: not for writing through a handle that appends, durable with `s`', async ({
  rig,
}) => {
  const client = await rig.connect();
  const appends = await client.open('data', 'a+');
  const whole = { offset: 0, length: 4096 };
  expect(await statusOf(appends.view(whole, () => {}, { write: true }))).toBe('NOT_DIRECT');
  const durable = await client.open('data', 'rs+');
  await durable.view(whole, ([bytes]) => bytes?.fill(7), { write: true });
  expect((await readAll(rig.lab.vfs, durable.ino)).equals(Buffer.alloc(4096, 7))).toBe(true);
});
