/** Files with the attribute `cow` through the client library: layouts as RFC 5663 §2.3.5 has them for copy-on-write. */
import { fc, test as prop } from '@fast-check/vitest';
import { describe, expect } from 'vitest';
import { readAll, root, writeFile } from '../support/filesystem.ts';
import { ClientRig, pattern, test } from './rig.ts';

const block = 4096;

async function cowFile(rig: ClientRig, content: Buffer): Promise<number> {
  const ino = await writeFile(rig.lab.vfs, 'cow', content);
  await rig.lab.vfs.setxattr(ino, 'system.iopmemfs.cow', Buffer.from('on'), 'either', root);
  return ino;
}

describe('a file that is copied on write', () => {
  test('is written directly, and changes for others with the commit', async ({ rig }) => {
    const before = pattern(4 * block, 1);
    const ino = await cowFile(rig, before);
    const client = await rig.connect();
    const file = await client.open('cow', 'r+');
    const data = pattern(1000, 2);
    expect(await file.write(data, 0, data.length, block + 500)).toMatchObject({ path: 'direct' });
    const after = Buffer.from(before);
    data.copy(after, block + 500);
    expect((await file.readFile()).equals(after), 'by the writer').toBe(true);
    const [places] = [rig.lab.fs.map(ino)];
    await file.sync();
    expect(await rig.lab.fs.map(ino)).not.toEqual(await places);
    expect((await readAll(rig.lab.vfs, ino)).equals(after), 'by others').toBe(true);
    expect(client.counters.serverBytesWritten).toBe(0);

    // Again, on the stage that it still has.
    data.copy(after, 0);
    await file.write(data, 0, data.length, 0);
    data.copy(after, block + 700);
    await file.write(data, 0, data.length, block + 700);
    await file.close();
    expect((await readAll(rig.lab.vfs, ino)).equals(after), 'closed').toBe(true);
    expect(rig.lab.fs.status().blocks.provisional).toBe(0);
  });

  test('a program that moves data by itself sees READ_DATA below INVALID_DATA', async ({ rig }) => {
    await cowFile(rig, pattern(2 * block, 1));
    const client = await rig.connect();
    const file = await client.open('cow', 'r+');
    const layout = await file.layout({ iomode: 'RW', offset: 0, length: 2 * block });
    expect(layout.segments.map(({ state, offset, length }) => [state, offset, length])).toEqual([
      ['READ_DATA', 0, 2 * block],
      ['INVALID_DATA', 0, 2 * block],
    ]);
    await layout.return();
    await file.close();
  });

  test('what one client reads under a layout is recalled when another one writes', async ({ rig }) => {
    const ino = await cowFile(rig, pattern(2 * block, 1));
    const [reader, writer] = [await rig.connect(), await rig.connect()];
    const [from, to] = [await reader.open('cow'), await writer.open('cow', 'r+')];
    expect((await from.readFile()).equals(pattern(2 * block, 1))).toBe(true);
    const data = pattern(block, 2);
    await to.write(data, 0, block, 0);
    await to.sync();
    expect(reader.counters.recalls).toBeGreaterThan(0);
    const expected = pattern(2 * block, 1);
    data.copy(expected);
    expect((await from.readFile()).equals(expected)).toBe(true);
    expect((await readAll(rig.lab.vfs, ino)).equals(expected)).toBe(true);
  });
});

test('a block that was recalled for its bytes past the end is not written to as if it were still held', async ({
  rig,
}) => {
  const ino = await cowFile(rig, Buffer.alloc(0));
  const { vfs } = rig.lab;
  const client = await rig.connect();
  const file = await client.open('cow', 'r+');
  await file.write(pattern(300, 1), 0, 300, 0);
  await file.sync();
  // The file grows elsewhere: what lies past its end, in the block above, is zeroed before.
  const handle = await vfs.open(ino, 2, root);
  await vfs.write(handle, 3 * block, pattern(10, 2), root);
  await vfs.release(handle);
  await file.write(pattern(200, 3), 0, 200, 0);
  await file.close();
  const expected = Buffer.alloc(3 * block + 10);
  pattern(300, 1).copy(expected);
  pattern(10, 2).copy(expected, 3 * block);
  pattern(200, 3).copy(expected);
  expect((await readAll(vfs, ino)).equals(expected)).toBe(true);
});

const sizeMax = 8 * block;
const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      op: fc.constantFrom('peer', 'local'),
      offset: fc.nat({ max: sizeMax }),
      length: fc.integer({ min: 1, max: 2 * block }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ op: fc.constant('truncate'), offset: fc.nat({ max: sizeMax }), length: fc.constant(0) }),
  },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('sync'), offset: fc.constant(0), length: fc.constant(0) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('cow'), offset: fc.nat({ max: 1 }), length: fc.constant(0) }) },
);

prop.prop([fc.array(step, { minLength: 4, maxLength: 15 })], { numRuns: 6 })(
  'a client and the server’s own mount write one file, and both see what both wrote',
  async (steps) => {
    const rig = await ClientRig.start();
    try {
      const ino = await cowFile(rig, Buffer.alloc(0));
      const { vfs } = rig.lab;
      const client = await rig.connect();
      const file = await client.open('cow', 'r+');
      let expected: Buffer = Buffer.alloc(0);
      let seed = 1;
      const handle = await vfs.open(ino, 2, root);
      for (const { op, offset, length } of steps) {
        if (op === 'sync') await file.sync();
        else if (op === 'cow')
          await vfs.setxattr(ino, 'system.iopmemfs.cow', Buffer.from(offset === 0 ? 'off' : 'on'), 'either', root);
        else if (op === 'truncate') {
          await file.truncate(offset);
          expected = resized(expected, offset);
        } else {
          const data = pattern(length, ++seed);
          if (op === 'peer') await file.write(data, 0, length, offset);
          else await vfs.write(handle, offset, data, root);
          expected = resized(expected, Math.max(expected.length, offset + length));
          data.copy(expected, offset);
        }
        expect((await file.readFile()).equals(expected), `by the client after ${op}`).toBe(true);
      }
      await vfs.release(handle);
      await file.close();
      expect((await readAll(vfs, ino)).equals(expected), 'in the end').toBe(true);
      await client.close();
      expect(rig.lab.fs.status().blocks.provisional).toBe(0);
    } finally {
      await rig.stop();
    }
  },
  180_000,
);

function resized(now: Buffer, size: number): Buffer {
  const next = Buffer.alloc(size);
  now.copy(next);
  return next;
}
