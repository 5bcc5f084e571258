/** Server and mount in network namespaces of their own, as two containers on one host: TCP between them, one image under both. */
import { execFile, spawnSync } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { canMount, Sandbox } from './sandbox.ts';

const run = promisify(execFile);
const id = process.pid.toString(36);
const [here, there] = [`ios${id}`, `iom${id}`];

/** ip-netns(8) takes root, and a kernel that lets it make namespaces. */
const canIsolate = canMount && spawnSync('ip', ['netns', 'add', here]).status === 0;
if (canIsolate) spawnSync('ip', ['netns', 'del', here]);

let box: Sandbox;
beforeEach(async () => {
  if (!canIsolate) return;
  box = await Sandbox.create();
  for (const name of [here, there]) await run('ip', ['netns', 'add', name]);
  await run('ip', ['link', 'add', here, 'netns', here, 'type', 'veth', 'peer', 'name', there, 'netns', there]);
  for (const [name, address] of [
    [here, '192.0.2.1/24'],
    [there, '192.0.2.2/24'],
  ] as const) {
    await run('ip', ['-n', name, 'address', 'add', address, 'dev', name]);
    await run('ip', ['-n', name, 'link', 'set', name, 'up']);
  }
});
afterEach(async () => {
  if (!canIsolate) return;
  spawnSync('umount', ['-l', box.mountPoint]);
  await box.remove();
  for (const name of [here, there]) spawnSync('ip', ['netns', 'del', name]);
});

const program = 'dist/tools/iopmemfs.js';

describe.skipIf(!canIsolate)('a mount in another network namespace than its server', () => {
  test('reads and writes the image that both map, and names over TCP', async () => {
    await box.must('mkfs', box.image);
    const inside = async (name: string, ...args: readonly string[]): Promise<string> => {
      // Of the namespace only the network: nsenter(1) leaves /sys and the mounts as they are.
      const line = [`--net=/run/netns/${name}`, process.execPath, program, ...args];
      return (await run('nsenter', line, { env: box.env })).stdout;
    };
    const served = await inside(here, 'serve', box.image, '--listen', 'tcp://192.0.2.1:0', '--json');
    const { addresses }: { readonly addresses: readonly string[] } = JSON.parse(served);
    const address = addresses.find((each) => each.startsWith('tcp:')) ?? '';
    await inside(there, 'mount', address, box.mountPoint);
    expect(await readFile('/proc/self/mounts', 'utf8')).toContain(`${address} ${box.mountPoint} fuse.iopmemfs`);

    const content = Buffer.alloc(4 << 20, 'over the wall ');
    await writeFile(box.path('file'), content);
    expect((await readFile(box.path('file'))).equals(content)).toBe(true);
    const { stdout } = await run('ip', ['-n', there, '-s', '-j', 'link', 'show', 'dev', there]);
    const [link]: readonly {
      readonly stats64: { readonly rx: { readonly bytes: number }; readonly tx: { readonly bytes: number } };
    }[] = JSON.parse(stdout);
    // Names and layouts; the bytes went past the network, both ways.
    expect(link?.stats64.tx.bytes).toBeLessThan(content.length / 4);
    expect(link?.stats64.rx.bytes).toBeLessThan(content.length / 4);
    await inside(there, 'umount', box.mountPoint);
  });
});
