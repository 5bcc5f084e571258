/** Which memory is taken for the server's, and which way the bytes go. */
import { copyFile, mkdir, symlink, writeFile as writeFileHere } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { describe, expect } from 'vitest';
import { candidates } from '../../client/dma/candidates.ts';
import { prove } from '../../client/dma/proof.ts';
import type { ConnectOptions } from '../../client/index.ts';
import { frameKind, operations } from '../../mds/protocol/index.ts';
import { writeFile } from '../support/filesystem.ts';
import { MemoryEngine } from './memory-engine.ts';
import { pattern, statusOf, test, until } from './rig.ts';

const MiB = 2 ** 20;

const nonceOf = (seed: number): Uint8Array => pattern(32, seed);
const hex = (value: number): string => `0x${value.toString(16).padStart(16, '0')}`;

async function listed(root: string, device: string | undefined, size = MiB): Promise<readonly string[]> {
  const found: string[] = [];
  for await (const path of candidates({ path: '/server', size }, { device, directories: [], root })) found.push(path);
  return found.map((path) => (path.startsWith(root) ? path.slice(root.length + 1) : path));
}

async function tree(root: string): Promise<void> {
  const add = async (address: string, vendor: string, id: string, bars: readonly (readonly [number, number])[]) => {
    const folder = join(root, 'sys/bus/pci/devices', address);
    await mkdir(folder, { recursive: true });
    await writeFileHere(join(folder, 'vendor'), `${vendor}\n`);
    await writeFileHere(join(folder, 'device'), `${id}\n`);
    const lines = bars.map(([size, flags], bar) => {
      const start = 0x1000_0000 * (bar + 1);
      return size === 0 ? `${hex(0)} ${hex(0)} ${hex(0)}` : `${hex(start)} ${hex(start + size - 1)} ${hex(flags)}`;
    });
    await writeFileHere(join(folder, 'resource'), `${lines.join('\n')}\n`);
    for (const [bar, [size]] of bars.entries()) if (size > 0) await writeFileHere(join(folder, `resource${bar}`), '');
  };
  await add('0000:01:00.0', '0x8086', '0x1234', [
    [MiB, 0x200],
    [MiB, 0x2200],
  ]);
  await add('0000:02:00.0', '0x1af4', '0x1110', [
    [4096, 0x200],
    [0, 0],
    [2 * MiB, 0x200],
  ]);
  await add('0000:03:00.0', '0x8086', '0x5678', [[2 * MiB, 0x2200]]);
  await mkdir(join(root, 'dev'));
  for (const name of ['dax0.0', 'iopmem1', 'sda']) await writeFileHere(join(root, 'dev', name), '');
}

describe('the memory of the server', () => {
  test('is found where it says, and used', async ({ rig }) => {
    await writeFile(rig.lab.vfs, 'data', pattern(5000, 1));
    const client = await rig.connect();
    expect(client.ways()).toEqual([
      { way: 'mmap', state: 'untried' },
      { way: 'rma', state: 'untried' },
      { way: 'server', state: 'used' },
    ]);
    const file = await client.open('data');
    expect(await file.read(Buffer.alloc(10), 0, 10, 0)).toMatchObject({ path: 'direct' });
    expect(client.ways()[0]).toEqual({ way: 'mmap', state: 'used' });
  });

  test('is no copy of the image, though everything in it is the same at this moment', async ({ rig }) => {
    const content = pattern(5000, 1);
    await writeFile(rig.lab.vfs, 'data', content);
    const copy = join(rig.lab.dir, 'copy');
    await copyFile(rig.lab.image, copy);
    const client = await rig.connect({ device: copy });
    const file = await client.open('data');
    const buffer = Buffer.alloc(5000);
    expect(await file.read(buffer, 0, 5000, 0)).toMatchObject({
      path: 'server',
      reason: expect.stringMatching(/NO_DEVICE: mmap: .*copy: is not the memory that the server writes to/),
    });
    expect(buffer.equals(content)).toBe(true);
    expect(client.ways()[0]).toMatchObject({ way: 'mmap', state: 'refused', reason: expect.stringContaining(copy) });
    expect(rig.server.status().layouts).toEqual([]);
  });

  test('is proven anew after the server has restarted', async ({ rig }) => {
    await writeFile(rig.lab.vfs, 'data', pattern(5000, 1));
    const link = join(rig.lab.dir, 'device');
    await symlink(rig.lab.image, link);
    const client = await rig.connect({ device: link });
    const file = await client.open('data', 'r+');
    expect(await file.read(Buffer.alloc(10), 0, 10, 0)).toMatchObject({ path: 'direct' });
    let asked = 0;
    rig.wire.toServer = (frame) => {
      if (frame[0] === frameKind.request && frame[6] === operations.DEVICE_CHALLENGE.number) asked += 1;
      return 'pass';
    };
    await rig.restartServer();
    await until('the new server knows it', () =>
      rig.server.status().clients.some(({ connections }) => connections > 0),
    );
    await file.sync();
    expect(await file.read(Buffer.alloc(10), 0, 10, 0)).toMatchObject({ path: 'direct' });
    expect(asked).toBe(2);
  });

  test('is found in a folder that was named, among others', async ({ rig }) => {
    await writeFile(rig.lab.vfs, 'data', pattern(5000, 1));
    const folder = join(rig.lab.dir, 'devices');
    await mkdir(folder);
    await writeFileHere(join(folder, 'a-small'), 'no device');
    await copyFile(rig.lab.image, join(folder, 'b-copy'));
    await symlink(rig.lab.image, join(folder, 'c-device'));
    const found: string[] = [];
    const sought = { path: '/nowhere', size: 64 * MiB };
    for await (const path of candidates(sought, { device: undefined, directories: [folder], root: '/nothing' }))
      found.push(basename(path));
    expect(found).toEqual(['nowhere', 'a-small', 'b-copy', 'c-device']);
  });
});

describe('one engine only', () => {
  test('the server: no layout is asked for', async ({ rig }) => {
    await writeFile(rig.lab.vfs, 'data', pattern(5000, 1));
    const client = await rig.connect({ engine: 'server' });
    const file = await client.open('data');
    expect(await file.read(Buffer.alloc(10), 0, 10, 0)).toMatchObject({ path: 'server' });
    expect(client.counters.layoutGets).toBe(0);
    expect(client.ways()).toEqual([{ way: 'server', state: 'used' }]);
  });

  test('mmap, where it gets there', async ({ rig }) => {
    const client = await rig.connect({ engine: 'mmap' });
    expect(client.ways()[0]).toEqual({ way: 'mmap', state: 'used' });
  });

  test('mmap, where it does not: connecting fails and says why', async ({ rig }) => {
    const copy = join(rig.lab.dir, 'copy');
    await copyFile(rig.lab.image, copy);
    await expect(rig.connect({ engine: 'mmap', device: copy })).rejects.toMatchObject({
      status: 'NO_DEVICE',
      code: 'ENODEV',
      message: expect.stringContaining('is not the memory that the server writes to'),
    });
    expect(rig.server.status().clients).toEqual([]);
  });

  test('one that there is not, or that contradicts the device, is refused at once', async ({ rig }) => {
    // As a program in plain JavaScript may call it.
    const wrong: ConnectOptions[] = JSON.parse('[{"engine":"nvme"},{"engine":"mmap","device":"none"}]');
    for (const options of wrong) expect(await statusOf(rig.connect(options))).toBe('ARGUMENT');
  });
});

describe('the proof', () => {
  test('takes two challenges in a row, and one that others overwrote again', async () => {
    const engine = new MemoryEngine(MiB, 0);
    let asked = 0;
    await prove(engine, async () => {
      asked += 1;
      if (asked !== 2) engine.write(2048 + asked * 32, nonceOf(asked));
      return { storageOffset: 2048 + asked * 32, nonce: nonceOf(asked) };
    });
    expect(asked).toBe(4);
  });

  test('is none for a copy that has the first challenge', async () => {
    const engine = new MemoryEngine(MiB, 0);
    let asked = 0;
    const proving = prove(engine, async () => {
      asked += 1;
      if (asked === 1) engine.write(2048, nonceOf(asked));
      return { storageOffset: 2048 + (asked - 1) * 32, nonce: nonceOf(asked) };
    });
    await expect(proving).rejects.toMatchObject({ code: 'ENODEV' });
  });

  test.for([
    ['in the superblock', 0, 32],
    ['past the area', 4096 - 16, 32],
    ['that can be guessed', 2048, 1],
  ] as const)('a challenge %s breaks the protocol', async ([, storageOffset, length]) => {
    const proving = prove(new MemoryEngine(MiB, 0), async () => ({ storageOffset, nonce: new Uint8Array(length) }));
    await expect(proving).rejects.toMatchObject({ status: 'BAD_REPLY' });
  });
});

describe('where it may be', () => {
  test('the usual devices first, then memory of the very size; nothing whose reading may change it', async ({
    rig,
  }) => {
    const root = join(rig.lab.dir, 'root');
    await tree(root);
    expect(await listed(root, undefined)).toEqual([
      '/server',
      'sys/bus/pci/devices/0000:02:00.0/resource2',
      'sys/bus/pci/devices/0000:01:00.0/resource1',
      'dev/dax0.0',
      'dev/iopmem1',
    ]);
  });

  test('by name', async ({ rig }) => {
    const root = join(rig.lab.dir, 'root');
    await tree(root);
    expect(await listed(root, 'dax0.0')).toEqual(['dev/dax0.0']);
    expect(await listed(root, 'iopmem1')).toEqual(['dev/iopmem1']);
    expect(await listed(root, '02:00.0')).toEqual(['sys/bus/pci/devices/0000:02:00.0/resource2']);
    await expect(listed(root, 'dax1.0')).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(listed(root, '0000:09:00.0')).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(listed(root, 'sda')).rejects.toMatchObject({ code: 'EINVAL' });
  });
});
