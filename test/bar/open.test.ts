import { chmod, readFile, stat, symlink, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import type { BarDevice } from '../../fs/bar/device.ts';
import { openDevice } from '../../fs/bar/open.ts';
import { limits } from '../../fs/limits.ts';
import { createImage, disk, tmpfs } from './image.ts';

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

async function image(parent: string, size: number): Promise<string> {
  const { path, remove } = await createImage(parent, size);
  cleanups.push(remove);
  return path;
}

async function opened(...args: Parameters<typeof openDevice>): Promise<BarDevice> {
  const device = await openDevice(...args);
  cleanups.push(() => device.close());
  return device;
}

const refused = (code: string, path: string) =>
  expect.objectContaining({ code, message: expect.stringContaining(path) });

describe('what is opened is known by what it is', () => {
  test('an image on tmpfs', async () => {
    const device = await opened(await image(tmpfs, 8192), { writable: true });
    expect(device).toMatchObject({ kind: 'tmpfs', size: 8192, cacheMode: 'wb', accessWidth: 1, busAddress: 0n });
  });

  test('an image on a disk, also through a link', async () => {
    const path = await image(disk, 8192);
    await symlink(path, join(dirname(path), 'link'));
    const device = await opened(join(dirname(path), 'link'), { writable: false });
    expect(device).toMatchObject({ kind: 'file', size: 8192, writable: false });
  });

  test('by what the operator knows better', async () => {
    const options = { writable: true, busAddress: 0x38_0000_0000n, accessWidth: 4, cacheMode: 'uc' } as const;
    expect(await opened(await image(tmpfs, 8192), options)).toMatchObject(options);
  });
});

describe('what cannot be a device is refused by name', () => {
  test('a path that is not there', async () => {
    const path = join(tmpdir(), 'iopmemfs-bar-nothing-here');
    await expect(openDevice(path, { writable: true })).rejects.toEqual(refused('ENOENT', path));
  });

  test('a directory', async () => {
    await expect(openDevice(tmpdir(), { writable: true })).rejects.toEqual(refused('EISDIR', tmpdir()));
    await expect(openDevice(tmpdir(), { writable: false })).rejects.toEqual(refused('EISDIR', tmpdir()));
  });

  test('a character device that is no memory', async () => {
    await expect(openDevice('/dev/null', { writable: true })).rejects.toEqual(refused('EINVAL', '/dev/null'));
  });

  test('an empty image', async () => {
    const path = await image(tmpfs, 0);
    await expect(openDevice(path, { writable: true })).rejects.toEqual(refused('EINVAL', path));
  });

  test('an image of broken words', async () => {
    const path = await image(tmpfs, 8196);
    await expect(openDevice(path, { writable: true, accessWidth: 8 })).rejects.toEqual(refused('EINVAL', path));
    await opened(path, { writable: true, accessWidth: 4 });
  });

  test.skipIf(process.geteuid?.() !== 0)('a file that the caller may not open', async () => {
    const path = await image(tmpfs, 8192);
    await chmod(dirname(path), 0o755);
    await chmod(path, 0o644);
    process.seteuid?.(65_534);
    try {
      await expect(openDevice(path, { writable: true })).rejects.toEqual(refused('EACCES', path));
      const reader = await openDevice(path, { writable: false });
      await reader.close();
    } finally {
      process.seteuid?.(0);
    }
  });

  test('and leaves no lock behind', async () => {
    const path = await image(tmpfs, 8196);
    await expect(openDevice(path, { writable: true, lock: true, accessWidth: 8 })).rejects.toThrow('EINVAL');
    await opened(path, { writable: true, lock: true });
  });
});

test('an image larger than a mapping window is one device, and stays sparse', async () => {
  const size = limits.windowSize + 3 * 4096;
  const path = await image(disk, size);
  const device = await opened(path, { writable: true });
  const bytes = Uint8Array.from({ length: 8192 }, (_, i) => (i * 13) & 0xff);
  device.write(limits.windowSize - 4096, bytes);
  device.copy(limits.windowSize - 4096, 4096, bytes.length);
  await device.persist(limits.windowSize - 4096, bytes.length);

  const back = new Uint8Array(bytes.length);
  device.read(4096, back);
  expect(back).toEqual(bytes);
  expect(device.views(limits.windowSize - 4096, 8192).map((view) => view.length)).toEqual([4096, 4096]);
  expect(device.directAccess(limits.windowSize / 512)).toMatchObject({ contiguous: 3 * 4096 });
  expect((await stat(path)).blocks * 512).toBeLessThan(2 ** 20);
});

test('a device may be opened and closed any number of times', async () => {
  const path = await image(tmpfs, 2 ** 20);
  for (let i = 0; i < 200; i++) {
    const device = await openDevice(path, { writable: true, lock: true });
    device.write(i * 8, Uint8Array.of(i));
    await device.close();
  }
  const device = await opened(path, { writable: false });
  const target = new Uint8Array(1);
  device.read(199 * 8, target);
  expect(target[0]).toBe(199);
});

test('mapping windows are whole pages', async () => {
  const path = await image(tmpfs, 2 ** 20);
  await expect(openDevice(path, { writable: true, windowSize: 1000 })).rejects.toThrow('mapping windows of 1000 bytes');
});

test('a device that grew is mapped further, and views of it stay valid', async () => {
  const page = limits.blockSize;
  const path = await image(tmpfs, 3 * page);
  const device = await opened(path, { writable: true, windowSize: 2 * page });
  const [before] = device.views(2 * page, page);
  await truncate(path, 7 * page);
  expect(device.size).toBe(3 * page);
  await device.refresh();
  expect(device.size).toBe(7 * page);
  device.write(3 * page - 2, Buffer.from('abcd'));
  expect(Buffer.from(before?.subarray(-2) ?? []).toString()).toBe('ab');
  device.write(6 * page, Buffer.alloc(page, 7));
  await device.persist(0, 7 * page);
  expect((await readFile(path)).subarray(3 * page, 3 * page + 2).toString()).toBe('cd');

  await truncate(path, page);
  await device.refresh();
  expect(() => device.read(page, Buffer.alloc(1))).toThrow(expect.objectContaining({ code: 'EINVAL' }));
});
