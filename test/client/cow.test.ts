/**
 * Files with the attribute `cow`, and files that share blocks with clones, through the client library: layouts as RFC 5663
 * §2.3.5 has them for copy-on-write.
 */
import { fc, test as prop } from '@fast-check/vitest';
import { describe, expect } from 'vitest';
import { n, readAll, root, writeFile } from '../support/filesystem.ts';
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

/** A file and a clone of it. */
async function shared(rig: ClientRig, content: Buffer): Promise<{ readonly ino: number; readonly clone: number }> {
  const ino = await writeFile(rig.lab.vfs, 'shared', content);
  const { ino: clone } = await rig.lab.fs.cloneFile(ino, rig.lab.vfs.rootIno, n('clone'), root);
  return { ino, clone };
}

describe('a file that shares its blocks', () => {
  test('is written directly: parts of blocks are merged with the old data, and the commit gives it blocks of its own', async ({
    rig,
  }) => {
    const before = pattern(4 * block + 100, 1);
    const { ino, clone } = await shared(rig, before);
    const client = await rig.connect();
    const file = await client.open('shared', 'r+');
    const expected = Buffer.from(before);
    const write = async (at: number, length: number, seed: number): Promise<void> => {
      const data = pattern(length, seed);
      expect(await file.write(data, 0, length, at)).toMatchObject({ path: 'direct' });
      data.copy(expected, at);
      expect((await file.readFile()).equals(expected), `by the writer, from ${at}`).toBe(true);
      expect((await readAll(rig.lab.vfs, clone)).equals(before), 'the clone').toBe(true);
    };
    expect((await file.readFile()).equals(before), 'under a layout for reading').toBe(true);
    await write(block - 300, 700, 2); // over the border of two blocks
    await write(block + 1000, 10, 3); // again into one that is filled
    await write(4 * block + 50, 20, 4); // in the last block
    expect((await readAll(rig.lab.vfs, ino)).equals(before), 'uncommitted').toBe(true);
    await file.sync();
    expect((await readAll(rig.lab.vfs, ino)).equals(expected), 'by others').toBe(true);
    const places = (await rig.lab.fs.map(ino)).map(({ storageOffset, shares }) => [storageOffset, shares]);

    await write(block + 5, 5, 5); // in place now
    await write(2 * block + 5, 5, 6); // and in one that is shared still
    await file.close();
    expect((await readAll(rig.lab.vfs, ino)).equals(expected), 'closed').toBe(true);
    expect((await readAll(rig.lab.vfs, clone)).equals(before), 'the clone').toBe(true);
    expect(places.map(([, shares]) => shares)).toContain(2);
    expect(client.counters.serverBytesWritten).toBe(0);
    expect(rig.lab.fs.status().blocks.provisional).toBe(0);
  });

  test('a program that moves data by itself goes on where it has committed', async ({ rig }) => {
    const { ino, clone } = await shared(rig, pattern(4 * block, 1));
    const client = await rig.connect();
    const file = await client.open('shared', 'r+');
    const layout = await file.layout({ iomode: 'RW', offset: 0, length: 4 * block });
    const shape = () => layout.segments.map(({ state, offset, length }) => [state, offset / block, length / block]);
    expect(shape()).toEqual([
      ['READ_DATA', 0, 4],
      ['INVALID_DATA', 0, 4],
    ]);
    const [, target] = layout.segments;
    if (target?.state !== 'INVALID_DATA') throw new Error('no place to write to');
    rig.lab.fs.device.write(target.storageOffset + block, pattern(2 * block, 2));
    await layout.commit([{ offset: block, length: 2 * block }]);
    expect(shape()).toEqual([
      ['READ_DATA', 0, 1],
      ['READ_DATA', 3, 1],
      ['INVALID_DATA', 0, 1],
      ['READ_WRITE_DATA', 1, 2],
      ['INVALID_DATA', 3, 1],
    ]);
    const [owned] = layout.segments.filter(({ state }) => state === 'READ_WRITE_DATA');
    if (owned?.state !== 'READ_WRITE_DATA') throw new Error('nothing was committed');
    expect(owned.storageOffset).toBe(target.storageOffset + block);
    rig.lab.fs.device.write(owned.storageOffset, pattern(block, 3));
    await layout.return();
    await file.close();
    const expected = pattern(4 * block, 1);
    pattern(2 * block, 2).copy(expected, block);
    pattern(block, 3).copy(expected, block);
    expect((await readAll(rig.lab.vfs, ino)).equals(expected)).toBe(true);
    expect((await readAll(rig.lab.vfs, clone)).equals(pattern(4 * block, 1))).toBe(true);
  });

  test('is written directly also where there is room for one new block only', async ({ rig }) => {
    const { ino, clone } = await shared(rig, pattern(4 * block, 1));
    await rig.lab.vfs.syncfs();
    const { free } = rig.lab.fs.status().blocks;
    await writeFile(rig.lab.vfs, 'filler', Buffer.alloc((free - 1) * block));
    const client = await rig.connect();
    const file = await client.open('shared', 'r+');
    expect(await file.write(pattern(10, 2), 0, 10, 5)).toMatchObject({ path: 'direct' });
    await file.close();
    const expected = pattern(4 * block, 1);
    pattern(10, 2).copy(expected, 5);
    expect((await readAll(rig.lab.vfs, ino)).equals(expected)).toBe(true);
    expect((await readAll(rig.lab.vfs, clone)).equals(pattern(4 * block, 1))).toBe(true);
  });

  test('is written through the server where the quota has no room for both, the old blocks and the new', async ({
    rig,
  }) => {
    const { vfs, fs } = rig.lab;
    const { ino: source } = await shared(rig, pattern(4 * block, 1));
    const { ino: dir } = await vfs.mkdir(vfs.rootIno, n('d'), 0o755, root);
    await fs.setQuota(dir, 4 * block, Infinity);
    const { ino } = await fs.cloneFile(source, dir, n('f'), root);
    const client = await rig.connect();
    const file = await client.open('d/f', 'r+');
    expect(await file.write(pattern(10, 2), 0, 10, 5)).toMatchObject({ path: 'server' });
    await file.close();
    const expected = pattern(4 * block, 1);
    pattern(10, 2).copy(expected, 5);
    expect((await readAll(vfs, ino)).equals(expected)).toBe(true);
    expect(await fs.quotas(dir)).toMatchObject([{ bytes: 4 * block }]);
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
  { weight: 2, arbitrary: fc.record({ op: fc.constant('clone'), offset: fc.constant(0), length: fc.constant(0) }) },
  {
    weight: 1,
    arbitrary: fc.record({ op: fc.constant('forget'), offset: fc.nat({ max: 3 }), length: fc.constant(0) }),
  },
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
      const clones: { readonly name: string; readonly ino: number; readonly content: Buffer }[] = [];
      const handle = await vfs.open(ino, 2, root);
      for (const { op, offset, length } of steps) {
        if (op === 'sync') await file.sync();
        else if (op === 'cow')
          await vfs.setxattr(ino, 'system.iopmemfs.cow', Buffer.from(offset === 0 ? 'off' : 'on'), 'either', root);
        else if (op === 'clone') {
          const name = `clone ${++seed}`;
          await client.clone('cow', name);
          clones.push({ name, ino: (await vfs.lookup(vfs.rootIno, n(name), root)).ino, content: expected });
        } else if (op === 'forget') {
          for (const { name } of clones.splice(offset, 1)) await vfs.unlink(vfs.rootIno, n(name), root);
        } else if (op === 'truncate') {
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
        for (const { name, ino: clone, content } of clones)
          expect((await readAll(vfs, clone)).equals(content), `${name} after ${op}`).toBe(true);
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
