/** Recorded trees of sysfs, as far as the route between two functions is read from them. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test as base, describe, expect } from 'vitest';
import { cpuForwards, readPciPath, routeBetween } from '../../fs/bar/topology.ts';
import { type RecordedFunction, recordSysfs } from '../support/sysfs.ts';

const port = 0x0604_00;
const nvme = 0x0108_02;

/** A server with a switch below one root port, another root port, and a second root complex. */
const functions: readonly RecordedFunction[] = [
  { path: 'pci0000:00/0000:00:00.0', ids: [0x8086, 0x2020], class: 0x0600_00 },
  { path: 'pci0000:00/0000:00:01.0', ids: [0x8086, 0x2030], class: port },
  { path: 'pci0000:00/0000:00:01.0/0000:01:00.0', ids: [0x11f8, 0x8536], class: port },
  { path: 'pci0000:00/0000:00:01.0/0000:01:00.0/0000:02:00.0', ids: [0x11f8, 0x8536], class: port },
  { path: 'pci0000:00/0000:00:01.0/0000:01:00.0/0000:02:00.0/0000:03:00.0', ids: [0x11f8, 0xf115], class: nvme },
  { path: 'pci0000:00/0000:00:01.0/0000:01:00.0/0000:02:01.0', ids: [0x11f8, 0x8536], class: port },
  { path: 'pci0000:00/0000:00:01.0/0000:01:00.0/0000:02:01.0/0000:04:00.0', ids: [0x15b3, 0x1017], class: 0x0200_00 },
  { path: 'pci0000:00/0000:00:01.0/0000:01:00.0/0000:02:02.0', ids: [0x11f8, 0x8536], class: port, acs: 0x1d },
  { path: 'pci0000:00/0000:00:01.0/0000:01:00.0/0000:02:02.0/0000:05:00.0', ids: [0x10de, 0x2330], class: 0x0302_00 },
  { path: 'pci0000:00/0000:00:02.0', ids: [0x8086, 0x2031], class: port },
  { path: 'pci0000:00/0000:00:02.0/0000:06:00.0', ids: [0x15b3, 0x1017], class: 0x0200_00 },
  { path: 'pci0000:80/0000:80:00.0', ids: [0x8086, 0x2f00], class: 0x0600_00 },
  { path: 'pci0000:80/0000:80:01.0', ids: [0x8086, 0x2f02], class: port },
  { path: 'pci0000:80/0000:80:01.0/0000:81:00.0', ids: [0x15b3, 0x1017], class: 0x0200_00 },
  { path: 'pci0000:80/0000:80:02.0', ids: [0x8086, 0x2f04], class: port },
  { path: 'pci0000:80/0000:80:02.0/0000:82:00.0', ids: [0x144d, 0xa80a], class: nvme },
];

const bar = '0000:03:00.0';
const test = base.extend<{ sysfs: string }>({
  // oxlint-disable-next-line eslint/no-empty-pattern -- vitest reads from the pattern which fixtures are needed
  sysfs: async ({}, use) => {
    const dir = await mkdtemp(join(tmpdir(), 'iopmemfs-sysfs-'));
    try {
      await recordSysfs(dir, functions);
      await use(dir);
    } finally {
      await rm(dir, { recursive: true });
    }
  },
});

async function route(sysfs: string, from: string, to: string, forwards = false) {
  return routeBetween(await readPciPath(from, sysfs), await readPciPath(to, sysfs), forwards);
}

describe('the distance is what Linux counts', () => {
  test.for([
    { to: bar, kind: 'switch', distance: 0, why: 'itself' },
    { to: '0000:04:00.0', kind: 'switch', distance: 4, why: 'below the same switch' },
    { to: '0000:05:00.0', kind: 'host-bridge', distance: 4, why: 'below it, but its port redirects' },
    { to: '0000:06:00.0', kind: 'host-bridge', distance: 6, why: 'below another root port' },
    {
      to: '0000:81:00.0',
      kind: 'unsupported',
      distance: 6,
      why: 'below another root complex that forwards only within itself',
    },
  ])('$to: $why', async ({ to, kind, distance }, { sysfs }) => {
    expect(await route(sysfs, bar, to)).toMatchObject({ kind, distance });
    expect(await route(sysfs, to, bar)).toMatchObject({ kind, distance });
  });
});

test('a root complex that forwards within itself does so', async ({ sysfs }) => {
  expect(await route(sysfs, '0000:81:00.0', '0000:82:00.0')).toMatchObject({ kind: 'host-bridge', distance: 4 });
});

test('a processor that forwards makes every route possible, and none shorter', async ({ sysfs }) => {
  expect(await route(sysfs, bar, '0000:81:00.0', true)).toMatchObject({ kind: 'host-bridge', distance: 6 });
  expect(await route(sysfs, bar, '0000:04:00.0', true)).toMatchObject({ kind: 'switch', distance: 4 });
});

test('a reason names the bridge that redirects', async ({ sysfs }) => {
  expect((await route(sysfs, bar, '0000:05:00.0')).reason).toMatch(/0000:02:02\.0 redirects/);
});

test('registers that cannot be read are not taken for harmless', async ({ sysfs }) => {
  await writeFile(join(sysfs, 'devices', 'pci0000:00/0000:00:01.0/0000:01:00.0/0000:02:01.0/config'), Buffer.alloc(64));
  const { kind, reason } = await route(sysfs, bar, '0000:04:00.0');
  expect(kind).toBe('host-bridge');
  expect(reason).toMatch(/cannot be read/);
});

test('capabilities that lead in a circle end', async ({ sysfs }) => {
  const config = Buffer.alloc(4096);
  config.writeUInt32LE((0x100 << 20) | 0x0001_0001, 0x100);
  await writeFile(join(sysfs, 'devices', 'pci0000:00/0000:00:01.0/0000:01:00.0/0000:02:01.0/config'), config);
  expect((await route(sysfs, bar, '0000:04:00.0')).kind).toBe('switch');
});

test('what is not there is named', async ({ sysfs }) => {
  await expect(readPciPath('0000:07:00.0', sysfs)).rejects.toMatchObject({ code: 'ENODEV' });
  await expect(readPciPath('../../etc', sysfs)).rejects.toMatchObject({ code: 'EINVAL' });
});

test.for([
  ['AuthenticAMD', 23, true],
  ['AuthenticAMD', 22, false],
  ['GenuineIntel', 26, false],
] as const)('%s family %d forwards: %s', ([vendor, family, forwards]) => {
  expect(cpuForwards(`processor\t: 0\nvendor_id\t: ${vendor}\ncpu family\t: ${family}\nmodel\t\t: 1\n`)).toBe(forwards);
});
