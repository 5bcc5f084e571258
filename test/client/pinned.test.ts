/** Pinned files over the wire: many may hold them for writing, and little asks for that back. */
import { describe, expect } from 'vitest';
import { ClientError } from '../../client/index.ts';
import { n, readAll, root, withHandle } from '../support/filesystem.ts';
import { pattern, test } from './rig.ts';

const mib = 2 ** 20;
const block = 4096;

async function refused(call: Promise<unknown>): Promise<string> {
  return call.then(
    () => 'no error',
    (error: unknown) => (error instanceof ClientError ? `${error.status} ${error.code}` : String(error)),
  );
}

test('open makes it, with a size and a place; with r+ it keeps that, with w+ it begins anew', async ({ rig }) => {
  const client = await rig.connect();
  const file = await client.open('/a', 'w+', { pinned: true, size: 2 * mib, align: mib });
  const [extent, ...others] = await client.map('/a');
  expect(others).toEqual([]);
  expect((extent?.storageOffset ?? 1) % mib).toBe(0);
  expect(extent).toMatchObject({ offset: 0, length: 2 * mib, unwritten: false, shares: 1 });
  const data = pattern(2 * mib, 5);
  expect(await file.write(data, 0, data.length, 0)).toMatchObject({ path: 'direct', bytesWritten: 2 * mib });
  await file.close();
  const again = await client.open('/a', 'r+', { pinned: true, size: 2 * mib });
  expect((await client.map('/a'))[0]?.storageOffset).toBe(extent?.storageOffset);
  expect((await again.readFile()).equals(data)).toBe(true);
  await again.close();
  const anew = await client.open('/a', 'w+', { pinned: true, size: mib });
  expect((await anew.readFile()).equals(Buffer.alloc(mib))).toBe(true);
  await anew.close();
});

test('what is refused is said by name, and the file is closed again', async ({ rig }) => {
  const client = await rig.connect();
  expect(await refused(client.open('/a', 'w+', { pinned: true, size: 2 ** 40 }))).toBe('NOSPC ENOSPC');
  expect(await refused(client.open('/a', 'w+', { pinned: true, size: mib, align: 3 * block }))).toBe('INVAL EINVAL');
  expect(await refused(client.open('/a', 'w+', { pinned: true, size: -1 }))).toBe('ARGUMENT EINVAL');
  await client.pin('/a', { size: mib });
  expect(await refused(client.pin('/a', { size: 2 * mib }))).toBe('FILE_OPEN EBUSY');
  expect(await refused(client.clone('/a', '/b'))).toBe('NOTSUPP EOPNOTSUPP');
  expect(await refused(client.truncate('/a', 2 * mib))).toBe('FBIG EFBIG');
  expect((await client.admin.status()).clients.every((each) => each.opens === 0)).toBe(true);
});

describe('layouts', () => {
  test('two hold it for writing, the mount reads and writes, and nobody is asked for anything', async ({ rig }) => {
    const [a, b] = [await rig.connect(), await rig.connect()];
    const fileA = await a.open('/p', 'w+', { pinned: true, size: mib });
    const fileB = await b.open('/p', 'r+');
    const held = [
      await fileA.layout({ offset: 0, length: mib, iomode: 'RW' }),
      await fileB.layout({ offset: 0, length: mib, iomode: 'RW' }),
    ];
    const asked: string[] = [];
    for (const layout of held)
      layout.on('recall', () => asked.push('recall')).on('revoked', () => asked.push('revoked'));
    for (const layout of held) expect(layout.segments).toMatchObject([{ state: 'READ_WRITE_DATA', length: mib }]);

    const { vfs, fs } = rig.lab;
    const { ino } = await vfs.lookup(vfs.rootIno, n('p'), root);
    const storageOffset = (await fs.map(ino))[0]?.storageOffset ?? 0;
    fs.device.write(storageOffset + block, pattern(block, 1));
    await withHandle(vfs, ino, 2, (handle) => vfs.write(handle, 0, pattern(block, 2), root));
    const now = await readAll(vfs, ino);
    expect(now.subarray(0, 2 * block).equals(Buffer.concat([pattern(block, 2), pattern(block, 1)]))).toBe(true);
    const third = await rig.connect({ device: 'none' });
    const fileC = await third.open('/p', 'r+');
    expect(await fileC.write(pattern(block, 3), 0, block, 2 * block)).toMatchObject({ path: 'server' });
    await fileC.close();
    expect(asked).toEqual([]);
    expect(held.every(({ live }) => live)).toBe(true);

    await vfs.setattr(ino, { size: block }, root);
    expect(asked).toEqual(['recall', 'recall']);
    await fileA.close();
    await fileB.close();
  });

  test('the administrator takes them back', async ({ rig }) => {
    const client = await rig.connect();
    const file = await client.open('/p', 'w+', { pinned: true, size: mib });
    const layout = await file.layout({ offset: 0, length: mib, iomode: 'RW' });
    let recalls = 0;
    layout.on('recall', () => recalls++);
    await (await rig.connect({ device: 'none' })).admin.recall({ path: '/p' });
    expect(recalls).toBe(1);
    expect(layout.live).toBe(false);
    await file.close();
  });
});
