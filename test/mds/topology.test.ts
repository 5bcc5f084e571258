/** Layouts only for peers that reach the device on a good route, and the bus addresses that they have to use. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test as base, expect } from 'vitest';
import { connect } from '../../client/index.ts';
import { operations } from '../../mds/protocol/index.ts';
import { Topology, type TopologyRule } from '../../mds/topology.ts';
import { recordSysfs } from '../support/sysfs.ts';
import { Rig } from './rig.ts';

const bar = '0000:02:00.0';
const near = '0000:03:00.0';
const far = '0000:04:00.0';
const block = 4096;
const [read] = [1];
const port = 0x0604_00;

interface Machine {
  readonly sysfs: string;
  readonly procfs: string;
}

const test = base.extend<{ machine: Machine }>({
  // oxlint-disable-next-line eslint/no-empty-pattern -- vitest reads from the pattern which fixtures are needed
  machine: async ({}, use) => {
    const dir = await mkdtemp(join(tmpdir(), 'iopmemfs-topology-'));
    try {
      await recordSysfs(join(dir, 'sys'), [
        { path: 'pci0000:00/0000:00:01.0', ids: [0x8086, 0x2f02], class: port },
        { path: 'pci0000:00/0000:00:01.0/0000:01:00.0', ids: [0x11f8, 0x8536], class: port },
        { path: `pci0000:00/0000:00:01.0/0000:01:00.0/${bar}`, ids: [0x11f8, 0xf115], class: 0x0108_02 },
        { path: `pci0000:00/0000:00:01.0/0000:01:00.0/${near}`, ids: [0x15b3, 0x1017], class: 0x0200_00 },
        { path: 'pci0000:00/0000:00:02.0', ids: [0x8086, 0x2f04], class: port },
        { path: `pci0000:00/0000:00:02.0/${far}`, ids: [0x15b3, 0x1017], class: 0x0200_00 },
      ]);
      await writeFile(join(dir, 'cpuinfo'), 'vendor_id\t: GenuineIntel\ncpu family\t: 6\n');
      await use({ sysfs: join(dir, 'sys'), procfs: dir });
    } finally {
      await rm(dir, { recursive: true });
    }
  },
});

async function withRig(machine: Machine, rule: TopologyRule, use: (rig: Rig) => Promise<void>): Promise<void> {
  const rig = await Rig.start({ topology: { ...machine, rule, pci: bar } });
  try {
    await use(rig);
  } finally {
    await rig.stop();
  }
}

test('a peer below the same switch gets layouts, one elsewhere is told why not', async ({ machine }) => {
  await withRig(machine, 'supported', async (rig) => {
    const peer = await rig.client();
    expect((await peer.call(operations.CLIENT_DEVICE, [near])).slice(0, 3)).toEqual([true, 0, 2]);
    const { ino, stateid } = await peer.create('a', Buffer.alloc(block, 1));
    const { stateid: layout } = await peer.layout(ino, stateid, read, 0, block);
    expect(await peer.statusOf(operations.CLIENT_DEVICE, [far]), 'it holds a layout').toBe('FILE_OPEN');
    await peer.returnLayout(ino, layout);

    const [allowed, kind, distance, reason] = await peer.call(operations.CLIENT_DEVICE, [far]);
    expect([allowed, kind, distance]).toEqual([false, 2, 5]);
    expect(reason).toMatch(/not known to forward; only routes known to work/);
    const asked = [ino, stateid, read, 0, block, block, 16, false] as const;
    expect(await peer.statusOf(operations.LAYOUTGET, [...asked])).toBe('LAYOUTUNAVAILABLE');
    expect((await peer.call(operations.READ, [stateid, 0, block]))[0]).toHaveLength(block);

    expect((await peer.call(operations.CLIENT_DEVICE, [null])).slice(0, 3)).toEqual([true, null, null]);
    expect(await peer.statusOf(operations.LAYOUTGET, [...asked])).toBe('OK');
  });
});

test('the library says why it goes through the server', async ({ machine }) => {
  await withRig(machine, 'supported', async (rig) => {
    const client = await connect(rig.address, { pci: far });
    try {
      expect(client.place).toMatchObject({ allowed: false, route: 'unsupported', distance: 5, busAddress: undefined });
      const file = await client.open('a', 'w+');
      const { path, reason } = await file.write(Buffer.from('x'), 0, 1, 0);
      expect(path).toBe('server');
      expect(reason).toMatch(new RegExp(`no layouts for ${far}.*not known to forward`));
    } finally {
      await client.close();
    }
  });
});

test('the administrator decides what is good enough', async ({ machine }) => {
  await withRig(machine, 'any', async (rig) => {
    const peer = await rig.client();
    const [allowed, , , reason] = await peer.call(operations.CLIENT_DEVICE, [far]);
    expect(allowed).toBe(true);
    expect(reason).toMatch(/any route is allowed/);
  });
  const strict = new Topology('/dev/null', { ...machine, rule: 'switch', pci: bar });
  expect((await strict.judge(near)).allowed).toBe(true);
  await writeFile(join(machine.procfs, 'cpuinfo'), 'vendor_id\t: AuthenticAMD\ncpu family\t: 25\n');
  expect((await strict.judge(far)).allowed).toBe(false);
  expect((await new Topology('/dev/null', { ...machine, pci: bar }).judge(far)).allowed).toBe(true);
});

test('of a function or a device that is not on this machine nothing good is believed', async ({ machine }) => {
  const known = new Topology('/dev/null', { ...machine, pci: bar });
  expect(await known.judge('0000:7f:00.0')).toMatchObject({ allowed: false, route: undefined });
  const noBar = new Topology('/dev/null', machine);
  expect((await noBar.judge(near)).reason).toMatch(/\/dev\/null is not known to lie behind a PCI function/);
});

test('bus addresses are those that the client has to use', () => {
  const topology = new Topology('/dev/null', {
    translations: [
      { who: near, add: 0x1000n },
      { who: 'the owner', add: -0x2000n },
    ],
  });
  const owner = Buffer.from('the owner');
  expect(topology.translated(0x8000n, Buffer.from('other'), near)).toBe(0x9000n);
  expect(topology.translated(0x8000n, owner, undefined)).toBe(0x6000n);
  expect(topology.translated(0x8000n, owner, far)).toBe(0x6000n);
  expect(topology.translated(0x8000n, Buffer.from('other'), far)).toBe(0x8000n);
  expect(topology.translated(0x1000n, owner, undefined), 'wraps').toBe((1n << 64n) - 0x1000n);
  expect(topology.translated(0n, owner, undefined), 'memory without a bus address').toBe(0n);
});
