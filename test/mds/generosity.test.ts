/** How much more than was asked for a grant takes in, and when it does not. */
import { describe, expect } from 'vitest';
import { operations } from '../../mds/protocol/ops.ts';
import { n, root } from '../support/filesystem.ts';
import type { RawClient } from './raw-client.ts';
import { Rig } from './rig.ts';
import { test as base } from './rig-test.ts';

const read = 1;
const rw = 2;
const block = 4096;
const mib = 2 ** 20;

/** A device with room for streams: an image without blocks takes none. */
const test = base.extend<{ rig: Rig }>({
  rig: async ({ options }, use) => {
    const rig = await Rig.start(options, 8 * 2 ** 30);
    try {
      await use(rig);
    } finally {
      await rig.stop();
    }
  },
});

type Open = Awaited<ReturnType<RawClient['create']>>;

/** Asks for `length` bytes of which it needs one, or `minlength`; answers where the segment begins and ends. */
async function wish(
  client: RawClient,
  { ino, stateid }: Open,
  iomode: number,
  offset: number,
  length: number,
  minlength = 1,
) {
  const args = [ino, stateid, iomode, offset, length, minlength, 4096, false] as const;
  const [layout, [, from, granted], extents] = await client.call(operations.LAYOUTGET, [...args]);
  return { from, to: from + granted, layout, extents };
}

/** A file of `length` bytes with blocks of its own, none of them written by us. */
async function allocated(client: RawClient, name: string, length: number): Promise<Open> {
  const file = await client.create(name);
  await client.call(operations.FALLOCATE, [file.stateid, 0, 0, length]);
  return file;
}

describe('more than was asked for', () => {
  test('reading: the whole file', async ({ rig }) => {
    const client = await rig.client();
    const file = await allocated(client, 'a', 2 ** 30);
    expect(await wish(client, file, read, 512 * mib, mib)).toMatchObject({ from: 0, to: 2 ** 30 });
    expect(rig.server.status().counters.layoutsGranted).toBe(1);
  });

  test('writing: what the file has there already, without taking space', async ({ rig }) => {
    const client = await rig.client();
    const file = await allocated(client, 'a', 64 * mib);
    expect(await wish(client, file, rw, 32 * mib, mib)).toMatchObject({ from: 0, to: 64 * mib });
    expect(rig.lab.fs.status().blocks.provisional).toBe(0);
  });

  test('writing: no hole, and nothing that is shared', async ({ rig }) => {
    const client = await rig.client();
    const file = await allocated(client, 'a', 2 * mib);
    await client.call(operations.FALLOCATE, [file.stateid, 0, 4 * mib, 2 * mib]);
    const granted = await wish(client, file, rw, mib, block);
    expect(granted).toMatchObject({ from: mib, to: 2 * mib });
    await client.returnLayout(file.ino, granted.layout);

    await client.call(operations.WRITE, [file.stateid, 5 * mib, 2, Buffer.alloc(block, 1)]);
    await rig.lab.fs.cloneFile(file.ino, rig.lab.vfs.rootIno, n('b'), root);
    expect(await wish(client, file, rw, 4 * mib, block)).toMatchObject({ from: 4 * mib, to: 5 * mib });
    expect(rig.lab.fs.status().blocks.provisional).toBe(0);
  });

  test('a file in many pieces: as far as some of them go', async ({ rig }) => {
    const client = await rig.client();
    const file = await client.create('a');
    for (let piece = 0; piece < 300; piece++) {
      await client.call(operations.FALLOCATE, [file.stateid, 0, 2 * piece * block, block]);
    }
    const first = await wish(client, file, read, 0, block);
    expect(first).toMatchObject({ from: 0, to: 256 * block });
    await client.returnLayout(file.ino, first.layout);
    expect(await wish(client, file, read, 0, 512 * block)).toMatchObject({ from: 0, to: 512 * block });
  });

  test('a client that needs all that it wishes for gets exactly that', async ({ rig }) => {
    const client = await rig.client();
    const { ino, stateid } = await allocated(client, 'a', 64 * mib);
    for (const iomode of [read, rw]) {
      const { segment, stateid: layout } = await client.layout(ino, stateid, iomode, 8 * mib, mib);
      expect(segment).toEqual([iomode, 8 * mib, mib]);
      await client.returnLayout(ino, layout);
    }
  });

  test('what the client holds in the other iomode stays as it is', async ({ rig }) => {
    const client = await rig.client();
    const { ino, stateid } = await allocated(client, 'a', 16 * mib);
    const { stateid: layout } = await client.layout(ino, stateid, read, 8 * mib, mib);
    const held = { ino, stateid: layout };
    expect(await wish(client, held, rw, 4 * mib, block)).toMatchObject({ from: 0, to: 8 * mib });
    expect(await wish(client, held, read, 12 * mib, block)).toMatchObject({ from: 12 * mib, to: 16 * mib });
  });
});

describe('a stream', () => {
  test('of 1 GiB in steps of 1 MiB into a new file takes few gets', async ({ rig }) => {
    const client = await rig.client();
    const { ino, stateid } = await client.create('a');
    let state = stateid;
    let [gets, end] = [0, 0];
    for (let offset = 0; offset < 1024 * mib; offset += mib) {
      if (offset + mib <= end) continue;
      const granted = await wish(client, { ino, stateid: state }, rw, end, offset + mib - end);
      [state, end] = [granted.layout, granted.to];
      gets += 1;
      // Never more than as much again as was written, but for one huge page.
      expect(end - offset).toBeLessThanOrEqual(Math.max(2 * offset, 2 * mib));
    }
    expect(gets).toBeLessThanOrEqual(20);
    expect(await client.returnLayout(ino, state)).toBeNull();
    expect(rig.lab.fs.status().blocks.provisional).toBe(0);
  });

  test('through an existing file of 1 GiB takes one get to read, and one to write', async ({ rig }) => {
    const client = await rig.client();
    const file = await allocated(client, 'a', 2 ** 30);
    const reading = await wish(client, file, read, 0, mib);
    expect(reading.to).toBe(2 ** 30);
    await client.returnLayout(file.ino, reading.layout);
    expect((await wish(client, file, rw, 0, mib)).to).toBe(2 ** 30);
  });

  test('that stops leaves no trace: another place in the file is granted as asked', async ({ rig }) => {
    const client = await rig.client();
    const { ino, stateid } = await client.create('a');
    const first = await wish(client, { ino, stateid }, rw, 0, mib);
    const second = await wish(client, { ino, stateid: first.layout }, rw, mib, mib);
    const third = await wish(client, { ino, stateid: second.layout }, rw, 2 * mib, mib);
    expect([first.to, second.to, third.to]).toEqual([mib, 2 * mib, 4 * mib]);
    const elsewhere = await wish(client, { ino, stateid: third.layout }, rw, 512 * mib, mib);
    expect(elsewhere).toMatchObject({ from: 512 * mib, to: 513 * mib });
  });
});

describe('others', () => {
  test('of two writers by turns neither takes what the other holds', async ({ rig }) => {
    const clients = [await rig.client({ owner: 'even' }), await rig.client({ owner: 'odd' })];
    const [even, odd] = clients;
    if (even === undefined || odd === undefined) throw new Error('two clients');
    const file = await allocated(even, 'a', 64 * mib);
    const states = [file.stateid, await odd.open(file.ino)];
    for (let step = 0; step < 64; step++) {
      const [who, stateid] = [clients[step % 2], states[step % 2]];
      if (who === undefined || stateid === undefined) throw new Error('two clients');
      const granted = await wish(who, { ino: file.ino, stateid }, rw, step * mib, mib);
      expect([granted.from, granted.to]).toEqual([step * mib, (step + 1) * mib]);
      states[step % 2] = granted.layout;
    }
    expect(rig.server.status().counters.recallsSent).toBe(0);
  });

  test('a wish ends where the layout of another begins: only what is needed is recalled', async ({ rig }) => {
    const [one, two] = [await rig.client({ owner: 'one' }), await rig.client({ owner: 'two' })];
    const { ino, stateid } = await allocated(one, 'a', 64 * mib);
    await one.layout(ino, stateid, rw, 8 * mib, 2 * mib);
    const open = await two.open(ino);
    const before = await wish(two, { ino, stateid: open }, rw, 4 * mib, 32 * mib);
    expect(before).toMatchObject({ from: 4 * mib, to: 8 * mib });
    expect(rig.server.status().counters.recallsSent).toBe(0);

    const within = wish(two, { ino, stateid: before.layout }, rw, 8 * mib, 32 * mib, mib);
    const [recalled, , , offset, length] = await one.connection.recall();
    expect([offset, length]).toEqual([8 * mib, mib]);
    await one.call(operations.LAYOUTRETURN, [1, ino, recalled, rw, offset, length, false]);
    expect(await within).toMatchObject({ from: 8 * mib, to: 9 * mib });
    const layouts = rig.server.status().layouts.toSorted((a, b) => a.client - b.client);
    expect(layouts).toMatchObject([
      { client: one.id, segments: [{ offset: 9 * mib, length: mib }] },
      { client: two.id, segments: [{ offset: 4 * mib, length: 5 * mib }] },
    ]);
  });

  test('who waits keeps nobody from what it only wishes for', async ({ rig }) => {
    const [one, two, three] = [
      await rig.client({ owner: 'one' }),
      await rig.client({ owner: 'two' }),
      await rig.client({ owner: 'three' }),
    ];
    const { ino, stateid } = await allocated(one, 'a', 64 * mib);
    await one.layout(ino, stateid, rw, 8 * mib, mib);
    const open = await two.open(ino);
    const waiting = wish(two, { ino, stateid: open }, rw, 8 * mib, 32 * mib, mib);
    const [recalled] = await one.connection.recall();
    const { segment } = await three.layout(ino, await three.open(ino), rw, 16 * mib, mib);
    expect(segment).toEqual([rw, 16 * mib, mib]);
    await one.returnLayout(ino, recalled);
    expect(await waiting).toMatchObject({ from: 8 * mib, to: 9 * mib });
  });

  test('readers do not keep each other from the whole file', async ({ rig }) => {
    const [one, two] = [await rig.client({ owner: 'one' }), await rig.client({ owner: 'two' })];
    const file = await allocated(one, 'a', 64 * mib);
    await wish(one, file, read, 0, block);
    const open = await two.open(file.ino);
    expect(await wish(two, { ino: file.ino, stateid: open }, read, 0, block)).toMatchObject({ from: 0, to: 64 * mib });
  });

  test('nothing is needed: nobody is asked to return, and what is free is given', async ({ rig }) => {
    const [one, two] = [await rig.client({ owner: 'one' }), await rig.client({ owner: 'two' })];
    const { ino, stateid } = await one.create('a', Buffer.alloc(8 * block, 1));
    await one.layout(ino, stateid, rw, 4 * block, block);
    const open = await two.open(ino);
    const get = (iomode: number, offset: number) => {
      const args = [ino, open, iomode, offset, 8 * block, 0, 64, false] as const;
      return two.call(operations.LAYOUTGET, [...args]);
    };
    await expect(get(read, 4 * block)).rejects.toMatchObject({ status: 'LAYOUTTRYLATER' });
    await expect(get(rw, 4 * block)).rejects.toMatchObject({ status: 'LAYOUTTRYLATER' });
    const [layout, segment] = await get(rw, block);
    expect(segment).toEqual([rw, block, 3 * block]);
    await two.returnLayout(ino, layout);
    expect((await get(read, 5 * block))[1]).toEqual([read, 5 * block, 3 * block]);
    expect(rig.server.status()).toMatchObject({ breaks: [], counters: { recallsSent: 0 } });
  });
});

describe('space that nobody asked for', () => {
  base('is not given out while little is free, and never so that others run out', async ({ rig }) => {
    const client = await rig.client();
    const { ino, stateid } = await client.create('a');
    let state = stateid;
    let [end, extra] = [0, 0];
    for (let gets = 0; gets < 12; gets++) {
      const { free, provisional } = rig.lab.fs.status().blocks;
      const isScarce = (free + provisional) / 4 - provisional < (2 * mib) / block;
      const granted = await wish(client, { ino, stateid: state }, rw, end, 64 * block);
      [state, end] = [granted.layout, granted.to];
      const more = granted.to - granted.from - 64 * block;
      if (isScarce) expect(more).toBe(0);
      extra += more;
    }
    expect(extra).toBeGreaterThan(0);
    const { free } = rig.lab.fs.status().blocks;
    // All that is free can be had by somebody else.
    const other = await client.create('b');
    const wanted = free * block;
    expect((await client.layout(other.ino, other.stateid, rw, 0, wanted)).segment).toEqual([rw, 0, wanted]);
  });

  test('is at most a share of what is free, however many streams there are', async ({ rig }) => {
    const client = await rig.client();
    for (let stream = 0; stream < 12; stream++) {
      let file = await client.create(`s${stream}`);
      let end = 0;
      for (let gets = 0; gets < 10; gets++) {
        const granted = await wish(client, file, rw, end, mib);
        file = { ...file, stateid: granted.layout };
        end = granted.to;
      }
    }
    const { free, provisional, total } = rig.lab.fs.status().blocks;
    expect(provisional).toBeGreaterThan(total / 8);
    expect(provisional).toBeLessThanOrEqual((free + provisional) / 4 + (12 * 10 * mib) / block);
    const { blocksFree } = await rig.lab.vfs.statfs();
    expect(blocksFree).toBe(free);
  });

  test('of a quota is a small part of what it leaves', async ({ rig }) => {
    const { ino: directory } = await rig.lab.vfs.mkdir(rig.lab.vfs.rootIno, n('dir'), 0o777, root);
    await rig.lab.fs.setQuota(directory, 64 * mib, Infinity);
    const client = await rig.client();
    const target = [2, directory, Buffer.from('a'), 0o644, true] as const;
    const [stateid, attr] = await client.call(operations.OPEN, [[...target], 3, false, false]);
    let [state, end] = [stateid, 0];
    for (let gets = 0; gets < 6; gets++) {
      const granted = await wish(client, { ino: attr[0], stateid: state }, rw, end, mib);
      expect(granted.to - end).toBeLessThanOrEqual(mib + (64 * mib - end) / 16);
      [state, end] = [granted.layout, granted.to];
    }
    expect(end).toBeGreaterThan(6 * mib);
  });

  test('is asked back before anybody else goes without', async ({ rig }) => {
    const client = await rig.client();
    let file = await client.create('stream');
    let end = 0;
    for (let gets = 0; gets < 9; gets++) {
      const granted = await wish(client, file, rw, end, mib);
      file = { ...file, stateid: granted.layout };
      end = granted.to;
    }
    const { free, provisional } = rig.lab.fs.status().blocks;
    expect(provisional).toBeGreaterThan((64 * mib) / block);
    const other = await client.create('other');
    const needed = (free + provisional / 2) * block;
    const growing = client.call(operations.FALLOCATE, [other.stateid, 0, 0, needed], 1);
    const [recalled, ino, iomode, offset, length, changed] = await client.connection.recall();
    expect([ino, iomode, offset + length, changed]).toEqual([file.ino, rw, end, false]);
    expect(rig.server.status().breaks).toMatchObject([{ ino: file.ino, reason: 'space' }]);
    await client.call(operations.LAYOUTRETURN, [1, ino, recalled, rw, offset, length, false]);
    await growing;
    expect(rig.lab.fs.status().blocks.provisional).toBe(offset / block);
  });
});
