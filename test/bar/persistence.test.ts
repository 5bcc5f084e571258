import { readFile } from 'node:fs/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { BarDevice } from '../../fs/bar/device.ts';
import { openDevice } from '../../fs/bar/open.ts';
import { createImage, disk } from './image.ts';

const windowSize = 65_536;
let image: Awaited<ReturnType<typeof createImage>>;
let device: BarDevice;

beforeEach(async () => {
  image = await createImage(disk, 4 * windowSize);
  device = await openDevice(image.path, { writable: true, windowSize });
});

afterEach(async () => {
  await device.close();
  await image.remove();
});

/** KiB of the image that this process changed and the kernel has not written yet (proc(5), smaps). */
async function dirtyKib(): Promise<number> {
  let ours = false;
  let sum = 0;
  for (const line of (await readFile('/proc/self/smaps', 'utf8')).split('\n')) {
    if (/^[0-9a-f]+-[0-9a-f]+ /.test(line)) ours = line.endsWith(image.path);
    else if (ours) sum += Number(/^(?:Shared|Private)_Dirty: +(\d+) kB$/.exec(line)?.[1] ?? 0);
  }
  return sum;
}

test('what was persisted is dirty no more, whichever call asked for it', async () => {
  device.write(0, new Uint8Array(device.size).fill(1));
  const half = device.size / 2;
  await Promise.all([
    device.persist(100, half - 100),
    device.persist(0, 10),
    device.persist(half, 4096),
    device.persist(half + 4096, half - 4096),
  ]);
  expect(await dirtyKib()).toBe(0);
});

test('each call covers what was written since the one before', async () => {
  for (let round = 1; round <= 3; round++) {
    device.write(0, Uint8Array.of(round));
    await device.persist(0, 1);
    expect(await dirtyKib()).toBe(0);
  }
});

test('a call made while another is under way covers what was written before it', async () => {
  device.write(0, Uint8Array.of(1));
  const first = device.persist(0, 1);
  await new Promise((resolve) => setImmediate(resolve));
  device.write(3 * windowSize + 5, Uint8Array.of(2));
  const second = device.persist(3 * windowSize + 5, 1);
  device.write(windowSize, Uint8Array.of(3));
  await Promise.all([first, second, device.persist(windowSize, 1)]);
  expect(await dirtyKib()).toBe(0);
});
