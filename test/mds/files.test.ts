import { describe, expect } from 'vitest';
import { attrFromWire, setAttrToWire } from '../../mds/protocol/fields.ts';
import { operations } from '../../mds/protocol/ops.ts';
import { serverStatusFromWire } from '../../mds/protocol/server-status.ts';
import { root as superuser } from '../support/filesystem.ts';
import { test } from './rig-test.ts';

const block = 4096;
const name = (text: string) => Buffer.from(text);

describe('names', () => {
  test('directories, links, symlinks, renames and removals', async ({ rig }) => {
    const client = await rig.client();
    const { rootIno: root } = client;
    const [dir] = await client.call(operations.CREATE, [root, name('d'), [2, 0o755]]);
    const { ino } = await client.create('f');
    const [linked] = await client.call(operations.LINK, [ino, dir[0], name('g')]);
    expect(attrFromWire(linked)).toMatchObject({ ino, nlink: 2 });
    const [symlink] = await client.call(operations.CREATE, [root, name('s'), [5, name('d/g')]]);
    expect(Buffer.from((await client.call(operations.READLINK, [symlink[0]]))[0]).toString()).toBe('d/g');
    await client.call(operations.RENAME, [root, name('f'), dir[0], name('h'), 0]);
    expect((await client.call(operations.LOOKUP, [dir[0], name('h')]))[0][0]).toBe(ino);
    expect((await client.call(operations.LOOKUPP, [dir[0]]))[0][0]).toBe(root);
    expect(await client.statusOf(operations.RENAME, [dir[0], name('h'), dir[0], name('g'), 1])).toBe('EXIST');
    expect(await client.statusOf(operations.REMOVE, [root, name('d'), true])).toBe('NOTEMPTY');
    expect(await client.statusOf(operations.REMOVE, [root, name('d'), false])).toBe('ISDIR');
    await client.call(operations.REMOVE, [dir[0], name('h'), false]);
    expect(await client.statusOf(operations.LOOKUP, [dir[0], name('h')])).toBe('NOENT');
  });

  test('names of any bytes', async ({ rig }) => {
    const client = await rig.client();
    const odd = Buffer.from([0xff, 0x20, 0x80]);
    await client.call(operations.CREATE, [client.rootIno, odd, [1, 0o100644, 0]]);
    const [entries] = await client.call(operations.READDIR, [client.rootIno, 0, 10, true]);
    expect(entries.map(([bytes]) => Buffer.from(bytes).toString('latin1'))).toEqual(['.', '..', '\u00ff \u0080']);
    expect(entries[2]?.[4]?.[1]).toBe(0o100644);
  });

  test('a listing goes on after its cookie and ends', async ({ rig }) => {
    const client = await rig.client();
    for (let file = 0; file < 25; file++)
      await client.call(operations.CREATE, [client.rootIno, name(`f${file}`), [1, 0o100600, 0]]);
    const seen: string[] = [];
    for (let cookie = 0, end = false; !end; ) {
      const [entries, last] = await client.call(operations.READDIR, [client.rootIno, cookie, 10, false]);
      seen.push(...entries.map(([bytes]) => Buffer.from(bytes).toString()));
      cookie = entries.at(-1)?.[3] ?? cookie;
      end = last;
    }
    expect(new Set(seen).size).toBe(27);
    expect(seen).toHaveLength(27);
  });

  test('attributes: what is null stays', async ({ rig }) => {
    const client = await rig.client();
    const { ino } = await client.create('a', Buffer.alloc(10));
    const changes = setAttrToWire({ mode: 0o600, mtime: { sec: -5, nsec: 7 } });
    const [attr] = await client.call(operations.SETATTR, [ino, null, changes]);
    expect(attrFromWire(attr)).toMatchObject({ size: 10, mode: 0o100600, mtime: { sec: -5, nsec: 7 } });
  });

  test('what changes a file without a verifier is durable with the reply', async ({ rig }) => {
    const client = await rig.client();
    const content = Buffer.alloc(4 * block, 1);
    const [cut, punched, copied, emptied] = [
      await client.create('cut', content),
      await client.create('punched', content),
      await client.create('copied'),
      await client.create('emptied', content),
    ];
    await rig.lab.vfs.syncfs();
    await client.call(operations.SETATTR, [cut.ino, null, setAttrToWire({ size: 10 })]);
    await client.call(operations.FALLOCATE, [punched.stateid, 2, 0, block]);
    await client.call(operations.COPY, [cut.stateid, 0, copied.stateid, 0, 10]);
    await client.call(operations.OPEN, [[0, emptied.ino], 3, true, false]);
    const crashed = await rig.lab.afterCrash();
    try {
      const sizeOf = async (ino: number): Promise<number> => (await crashed.vfs.getattr(ino, superuser)).size;
      expect([await sizeOf(cut.ino), await sizeOf(copied.ino), await sizeOf(emptied.ino)]).toEqual([10, 10, 0]);
      expect((await crashed.vfs.getattr(punched.ino, superuser)).blocks).toBe((3 * block) / 512);
    } finally {
      await crashed.remove();
    }
  });

  test('extended attributes', async ({ rig }) => {
    const client = await rig.client();
    const { ino } = await client.create('a');
    await client.call(operations.SETXATTR, [ino, name('user.x'), name('1'), 1]);
    expect(await client.statusOf(operations.SETXATTR, [ino, name('user.x'), name('2'), 1])).toBe('EXIST');
    expect(Buffer.from((await client.call(operations.GETXATTR, [ino, name('user.x')]))[0]).toString()).toBe('1');
    expect((await client.call(operations.LISTXATTRS, [ino]))[0].map(String)).toEqual(['user.x']);
    await client.call(operations.REMOVEXATTR, [ino, name('user.x')]);
    expect(await client.statusOf(operations.GETXATTR, [ino, name('user.x')])).toBe('NOXATTR');
  });

  test('requests act for whom they name, else for whom the client named', async ({ rig }) => {
    const client = await rig.client({ uid: 1000 });
    const refused = await client.statusOf(operations.CREATE, [client.rootIno, name('d'), [2, 0o755]]);
    expect(refused).toBe('ACCESS');
    const create = [client.rootIno, name('d'), [2, 0o755]];
    const asRoot = await client.connection.request([0, 900, client.session, 1, 1, false, 6, create, [0, 0, []]]);
    expect(asRoot[2]).toBe(0);
  });
});

describe('data', () => {
  test('OPEN creates, exclusively or not, and truncates', async ({ rig }) => {
    const client = await rig.client();
    const { ino } = await client.create('a', Buffer.alloc(10));
    const create = (exclusive: boolean, truncate: boolean) =>
      client.call(operations.OPEN, [[2, client.rootIno, name('a'), 0o644, exclusive], 3, truncate, false]);
    await expect(create(true, false)).rejects.toThrow('EXIST');
    const [, kept] = await create(false, false);
    expect([kept[0], kept[6]]).toEqual([ino, 10]);
    const [, cut] = await create(false, true);
    expect([cut[0], cut[6]]).toEqual([ino, 0]);
  });

  test('a file without a name lives as long as it is open', async ({ rig }) => {
    const client = await rig.client();
    const [stateid, attr] = await client.call(operations.OPEN, [[3, client.rootIno, 0o600], 3, false, false]);
    await client.call(operations.WRITE, [stateid, 0, 0, name('x')]);
    expect((await client.call(operations.GETATTR, [attr[0]]))[0][2]).toBe(0);
    await client.call(operations.CLOSE, [stateid]);
    expect(await client.statusOf(operations.GETATTR, [attr[0]])).toMatch(/NOENT|STALE/);
  });

  test('an open is good for what it was opened for, and for its own client', async ({ rig }) => {
    const client = await rig.client({ owner: 'a' });
    const stranger = await rig.client({ owner: 'b' });
    const { ino, stateid } = await client.create('a', name('data'));
    const readOnly = await client.open(ino, 1);
    expect(await client.statusOf(operations.WRITE, [readOnly, 0, 0, name('x')])).toBe('OPENMODE');
    expect(await client.statusOf(operations.READ, [await client.open(ino, 2), 0, 4])).toBe('OPENMODE');
    expect(await stranger.statusOf(operations.READ, [stateid, 0, 4])).toBe('BAD_STATEID');
    await client.call(operations.CLOSE, [stateid]);
    expect(await client.statusOf(operations.READ, [stateid, 0, 4])).toBe('BAD_STATEID');
  });

  test('append, holes, allocation and copies', async ({ rig }) => {
    const client = await rig.client();
    const { ino } = await client.create('a', Buffer.alloc(block, 1));
    const [append] = await client.call(operations.OPEN, [[0, ino], 3, false, true]);
    await client.call(operations.WRITE, [append, 0, 2, Buffer.alloc(block, 2)]);
    const whole = await client.open(ino);
    await client.call(operations.FALLOCATE, [whole, 2, 0, block]);
    expect(await client.call(operations.SEEK, [whole, 0, 0])).toEqual([block]);
    expect(await client.statusOf(operations.SEEK, [whole, 9 * block, 0])).toBe('NXIO');
    const copy = await client.create('b');
    expect(await client.call(operations.COPY, [whole, 0, copy.stateid, 0, 2 * block])).toEqual([2 * block]);
    const [data, end] = await client.call(operations.READ, [copy.stateid, 0, 3 * block]);
    expect(end).toBe(true);
    expect(Buffer.from(data)).toEqual(Buffer.concat([Buffer.alloc(block), Buffer.alloc(block, 2)]));
    await client.call(operations.COMMIT, [ino, false]);
    await client.call(operations.SYNCFS, []);
  });

  test('a clone lies on the same blocks', async ({ rig }) => {
    const client = await rig.client();
    const { ino } = await client.create('a', Buffer.alloc(2 * block, 1));
    const [clone] = await client.call(operations.CLONE, [ino, client.rootIno, name('b')]);
    const [source, all] = await client.call(operations.MAP, [ino, 0]);
    const [target] = await client.call(operations.MAP, [clone[0], 0]);
    expect(all).toBe(true);
    expect(target).toEqual(source);
    expect(source[0]?.[6]).toBe(2);
  });

  test('errors carry their errno and name the file', async ({ rig }) => {
    const client = await rig.client();
    const { stateid } = await client.create('a');
    const write = [stateid, Number.MAX_SAFE_INTEGER - 10, 0, name('far')];
    const reply = await client.connection.request([0, 901, client.session, 1, 1, false, 38, write, null]);
    expect([reply[2], reply[4]?.[1]]).toEqual([27, 'EFBIG']);
    expect(reply[4]?.[0]).toMatch(/inode \d+/);
  });

  test('opens of a client that ends are closed', async ({ rig }) => {
    const client = await rig.client({ owner: 'o', verifier: '1' });
    const [, attr] = await client.call(operations.OPEN, [[3, client.rootIno, 0o600], 3, false, false]);
    await rig.client({ owner: 'o', verifier: '2' });
    await rig.until('the file to go', () => rig.server.status().filesystem.inodes === 1);
    expect(attr[2]).toBe(0);
  });
});

describe('the server about itself', () => {
  test('STATUS says over the wire what the server knows', async ({ rig }) => {
    const client = await rig.client();
    const { ino, stateid } = await client.create('a', Buffer.alloc(block));
    await client.layout(ino, stateid, 2, 0, block);
    await client.call(operations.READ, [stateid, 0, 100]);
    const [wire] = await client.connection.call(operations.STATUS, []);
    const seen = serverStatusFromWire(wire);
    expect(seen).toMatchObject({
      addresses: [rig.address],
      clients: [{ id: client.id, implementation: 'raw test client', state: 'active', opens: 1, connections: 1 }],
      layouts: [{ client: client.id, ino, state: 'held', segments: [{ iomode: 2, offset: 0, length: block }] }],
      counters: { bytesRead: 100, bytesWritten: block, layoutsGranted: 1, layoutsRevoked: 0 },
    });
    expect(seen.filesystem).toEqual(rig.lab.fs.status());
  });

  test('STATFS', async ({ rig }) => {
    const client = await rig.client();
    const stat = await rig.lab.vfs.statfs();
    expect((await client.call(operations.STATFS, [null])).slice(0, 2)).toEqual([stat.blockSize, stat.blocks]);
  });
});
