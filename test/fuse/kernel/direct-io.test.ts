/** Which opens go past the kernel's page cache, and that they do. */
import { open, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { accessTimes } from '../../../fs/fuse/kernel/access-times.ts';
import { MemoryVfs } from '../../support/memory-vfs.ts';
import { Mounted } from './mounted.ts';
import { FakeKernel, u32 } from './wire.ts';

const directIo = 1;
const keepCache = 2;
const parallelDirectWrites = 64;

test.each([
  [false, keepCache],
  [true, directIo | parallelDirectWrites],
])('with direct_io %s an open and a create are answered with the flags %i', async (isDirect, flags) => {
  const serving = { accessTimes: accessTimes(['noatime']), directIo: isDirect, announced: false };
  const kernel = new FakeKernel(new MemoryVfs(), serving);
  const created = await kernel.ask('create', {}, u32(0o102), u32(0o644), u32(0), u32(0), 'f');
  expect(created.payload.readUInt32LE(128 + 8)).toBe(flags);
  const nodeId = Number(created.payload.readBigUInt64LE(0));
  const opened = await kernel.ask('open', { nodeId }, u32(2), u32(0));
  expect(opened.payload.readUInt32LE(8)).toBe(flags);
});

describe.skipIf(process.getuid?.() !== 0)('on a mount with direct_io', () => {
  let mounted: Mounted;
  beforeEach(async () => {
    mounted = await Mounted.create('memory', 'direct_io');
  });
  afterEach(() => mounted?.remove());

  test('an open file shows what changed below the mount although nobody told the kernel', async () => {
    await writeFile(mounted.path('f'), 'old');
    const file = await open(mounted.path('f'), 'r');
    try {
      const read = async (): Promise<string> => (await file.read(Buffer.alloc(3), 0, 3, 0)).buffer.toString();
      expect(await read()).toBe('old');
      await mounted.ask({ ask: 'overwrite', name: 'f', text: 'new' });
      expect(await read()).toBe('new');
    } finally {
      await file.close();
    }
  });
});
