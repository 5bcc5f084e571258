/** Quotas over the wire: who may set them, and what a client gets that would exceed one. */
import { describe, expect } from 'vitest';
import { operations } from '../../mds/protocol/ops.ts';
import { n, root } from '../support/filesystem.ts';
import type { RawClient } from './raw-client.ts';
import type { Rig } from './rig.ts';
import { test } from './rig-test.ts';

const rw = 2;
const block = 4096;

async function limited(rig: Rig, blocks: number, inodes = Infinity): Promise<number> {
  const { ino } = await rig.lab.vfs.mkdir(rig.lab.vfs.rootIno, n('dir'), 0o777, root);
  await rig.lab.fs.setQuota(ino, blocks * block, inodes);
  return ino;
}

async function open(client: RawClient, parent: number, name: string) {
  const [stateid, [ino]] = await client.call(operations.OPEN, [
    [2, parent, Buffer.from(name), 0o644, false],
    3,
    false,
    false,
  ]);
  return { stateid, ino };
}

describe('beyond the quota', () => {
  test('LAYOUTGET is DQUOT where what is needed does not fit, and grants that where more was wished', async ({
    rig,
  }) => {
    const dir = await limited(rig, 4);
    const client = await rig.client();
    const { ino, stateid } = await open(client, dir, 'file');
    const get = (length: number, minlength: number) =>
      client.statusOf(operations.LAYOUTGET, [ino, stateid, rw, 0, length * block, minlength * block, 64, false]);
    expect(await get(5, 5)).toBe('DQUOT');
    expect(rig.lab.fs.status().blocks.provisional).toBe(0);
    const [layout, segment] = await client.call(operations.LAYOUTGET, [
      ino,
      stateid,
      rw,
      0,
      16 * block,
      4 * block,
      64,
      false,
    ]);
    expect(segment).toEqual([rw, 0, 4 * block]);
    expect((await rig.lab.fs.quotas(dir))[0]?.bytes).toBe(4 * block);
    const other = await open(client, dir, 'other');
    expect(await client.statusOf(operations.WRITE, [other.stateid, 0, 2, Buffer.alloc(1)])).toBe('DQUOT');
    await client.returnLayout(ino, layout);
    expect((await rig.lab.fs.quotas(dir))[0]?.bytes).toBe(0);
    const [written] = await client.call(operations.WRITE, [other.stateid, 0, 2, Buffer.alloc(6 * block)]);
    expect(written).toBe(4 * block);
  });

  test('CREATE, OPEN and CLONE are DQUOT, RENAME and LINK over its border XDEV', async ({ rig }) => {
    const dir = await limited(rig, 4, 1);
    const client = await rig.client();
    const { ino } = await client.create('outside', Buffer.alloc(block));
    const name = Buffer.from('name');
    expect(await client.statusOf(operations.CREATE, [dir, name, [2, 0o755]])).toBe('DQUOT');
    expect(await client.statusOf(operations.OPEN, [[2, dir, name, 0o644, false], 3, false, false])).toBe('DQUOT');
    expect(await client.statusOf(operations.CLONE, [ino, dir, name])).toBe('DQUOT');
    const outside = Buffer.from('outside');
    expect(await client.statusOf(operations.RENAME, [client.rootIno, outside, dir, name, 0])).toBe('XDEV');
    expect(await client.statusOf(operations.LINK, [ino, dir, name])).toBe('XDEV');
  });

  test('STATFS of an inode is that of its quota', async ({ rig }) => {
    const dir = await limited(rig, 4);
    const client = await rig.client();
    expect((await client.call(operations.STATFS, [dir])).slice(1, 4)).toEqual([4, 4, 4]);
    expect((await client.call(operations.STATFS, [null]))[1]).toBe((16 << 20) / block - 2);
    expect(await client.statusOf(operations.STATFS, [999_999])).toBe('STALE');
  });
});

describe('QUOTA_SET, QUOTA_REMOVE, QUOTA_LIST, TUNE', () => {
  test('are for root and for who runs the server; what one counts in is for everybody', async ({ rig }) => {
    const dir = await limited(rig, 4);
    const somebody = await rig.client({ owner: 'somebody', uid: 12_345 });
    expect(await somebody.statusOf(operations.QUOTA_SET, [dir, 0, 5])).toBe('PERM');
    expect(await somebody.statusOf(operations.QUOTA_REMOVE, [dir])).toBe('PERM');
    expect(await somebody.statusOf(operations.QUOTA_LIST, [null, 0])).toBe('PERM');
    expect(await somebody.statusOf(operations.TUNE, [5])).toBe('PERM');
    const [[quota], isComplete] = await somebody.call(operations.QUOTA_LIST, [dir, 0]);
    expect(quota?.slice(1)).toEqual([dir, Buffer.from('/dir'), 4 * block, 0, 0, 1, true]);
    expect(isComplete).toBe(true);
    const owner = await rig.client({ owner: 'owner', uid: process.geteuid?.() ?? 0 });
    expect(await owner.call(operations.QUOTA_SET, [dir, 0, 5])).toEqual([true, 0]);
    await owner.call(operations.QUOTA_REMOVE, [dir]);
    expect(await owner.call(operations.QUOTA_LIST, [null, 0])).toEqual([[], true]);
  });

  test('the refusals', async ({ rig }) => {
    const dir = await limited(rig, 4);
    const client = await rig.client();
    const { ino } = await client.create('file');
    const { ino: inner } = await rig.lab.vfs.mkdir(dir, n('inner'), 0o755, root);
    expect(await client.statusOf(operations.QUOTA_SET, [ino, block, 0])).toBe('NOTDIR');
    expect(await client.statusOf(operations.QUOTA_SET, [inner, block, 0])).toBe('INVAL');
    expect(await client.statusOf(operations.QUOTA_SET, [client.rootIno, block, 0])).toBe('INVAL');
    expect(await client.statusOf(operations.QUOTA_SET, [dir, block - 1, 0])).toBe('INVAL');
    expect(await client.statusOf(operations.QUOTA_REMOVE, [inner])).toBe('NOXATTR');
    expect(await client.statusOf(operations.TUNE, [5001])).toBe('INVAL');
    await client.call(operations.TUNE, [250]);
    await client.call(operations.TUNE, [null]);
    expect(rig.lab.fs.status().reserve).toBe(250);
  });

  test('a list of more than fits one reply is given in pages', async ({ rig }) => {
    const client = await rig.client();
    const made: number[] = [];
    for (let i = 0; i < 130; i++) {
      const { ino } = await rig.lab.vfs.mkdir(client.rootIno, n(`d${i}`), 0o755, root);
      await rig.lab.fs.setQuota(ino, block, Infinity);
      made.push(ino);
    }
    const [first, isAll] = await client.call(operations.QUOTA_LIST, [null, 0]);
    expect([first.length, isAll]).toEqual([128, false]);
    const [rest, isRest] = await client.call(operations.QUOTA_LIST, [null, first.at(-1)?.[0] ?? 0]);
    expect(isRest).toBe(true);
    expect([...first, ...rest].map(([, ino]) => ino)).toEqual(made);
  });
});
