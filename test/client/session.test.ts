import { join } from 'node:path';
import { describe, expect } from 'vitest';
import { connect } from '../../client/index.ts';
import { type Frame, frameKind, operations } from '../../mds/protocol/index.ts';
import { MetadataServer } from '../../mds/server.ts';
import { ManualClock } from '../mds/manual-clock.ts';
import { Lab, n, readAll, root, withHandle, writeFile } from '../support/filesystem.ts';
import { pattern, statusOf, test, until } from './rig.ts';

const isRequest = (frame: Frame, operation: { readonly number: number }): boolean =>
  frame[0] === frameKind.request && frame[6] === operation.number;

describe('exactly once over a cut connection', () => {
  test('a request whose reply was lost is not carried out again', async ({ rig }) => {
    const client = await rig.connect();
    await client.mkdir('a');
    const creations = (): number => rig.wire.sent.filter((frame) => isRequest(frame, operations.CREATE)).length;
    rig.wire.toClient = () => (creations() < 2 ? 'pass' : 'drop');
    const made = client.mkdir('a/once');
    await until('the directory is there', async () => (await listed(rig, 'a')).includes('once'));
    rig.wire.cut();
    rig.wire.heal();
    // Carried out again it would say EEXIST.
    await made;
    const sent = rig.wire.sent.filter((frame) => isRequest(frame, operations.CREATE)).slice(-2);
    expect(sent).toHaveLength(2);
    expect(sent[1], 'the same request, slot and sequence number included').toEqual(sent[0]);
    expect(rig.wire.connections).toBe(2);
  });

  test('a request that was lost on its way is carried out after the reconnect', async ({ rig }) => {
    const client = await rig.connect();
    rig.wire.toServer = (frame) => (isRequest(frame, operations.CREATE) ? 'drop' : 'pass');
    const made = client.mkdir('late');
    await until('it was sent', () => rig.wire.sent.some((frame) => isRequest(frame, operations.CREATE)));
    rig.wire.cut();
    rig.wire.heal();
    await made;
    expect((await client.stat('late')).isDirectory()).toBe(true);
  });

  test('a read whose reply was not kept is read again', async ({ rig }) => {
    await writeFile(rig.lab.vfs, 'data', pattern(1000, 1));
    const client = await rig.connect();
    rig.wire.toClient = () => 'drop';
    const stats = client.stat('data');
    await until('it was sent', () => rig.wire.sent.some((frame) => isRequest(frame, operations.GETATTR)));
    rig.wire.cut();
    rig.wire.heal();
    expect((await stats).size).toBe(1000);
  });

  test('many requests in flight survive many cuts, each carried out once', async ({ rig }) => {
    const client = await rig.connect();
    await client.mkdir('many');
    const names = Array.from({ length: 300 }, (_, index) => `d${index}`);
    const made = Promise.all(names.map((name) => client.mkdir(`many/${name}`)));
    let cuts = 0;
    const cutting = setInterval(() => {
      if (cuts++ < 8) rig.wire.cut();
    }, 15);
    try {
      await made;
    } finally {
      clearInterval(cutting);
    }
    expect((await client.readdir('many')).toSorted()).toEqual(names.toSorted());
  });
});

describe('the lease', () => {
  // What the client does in its lease takes it real time; for the server time passes when a test says so, however busy the
  // machine is.
  const clock = new ManualClock();
  const leaseMs = 600;
  test.override({ options: { leaseMs, clock } });

  test('is renewed without any use', async ({ rig }) => {
    const client = await rig.connect();
    await client.mkdir('before');
    const before = rig.server.status().clients[0]?.id;
    for (let renewals = 0; renewals < 4; renewals++) {
      clock.advance(leaseMs - 1);
      await until('the renewal', () => rig.server.status().clients[0]?.leaseLeftMs === leaseMs);
    }
    expect(rig.server.status().clients).toMatchObject([{ id: before, state: 'active' }]);
    expect(rig.wire.sent.filter((frame) => isRequest(frame, operations.SEQUENCE)).length).toBeGreaterThan(3);
  });

  test('when it could have ended no direct I/O starts, and a live one is proven first', async ({ rig }) => {
    await writeFile(rig.lab.vfs, 'data', pattern(8192, 1));
    const client = await rig.connect();
    const file = await client.open('data');
    const buffer = Buffer.alloc(4096);
    await until('it to be cached, within the lease', async () => {
      await file.read(buffer, 0, 4096, 0);
      return (await statusOf(() => expect(file.readSync(buffer, 0, 4096, 0)).toBe(4096))) === undefined;
    });

    rig.wire.down = true;
    rig.wire.cut();
    await until(
      'the lease cannot be proven',
      async () => (await statusOf(() => file.readSync(buffer, 0, 1, 0))) === 'NOT_CACHED',
    );
    const read = file.read(buffer, 0, 4096, 4096);
    rig.wire.heal();
    expect(await read).toMatchObject({ bytesRead: 4096 });
    expect(buffer.equals(pattern(8192, 1).subarray(4096))).toBe(true);
  });

  test('lost: uncommitted writes are reported by name, once, and the file works on in a new incarnation', async ({
    rig,
  }) => {
    const client = await rig.connect({ owner: 'the same' });
    const file = await client.open('data', 'w+');
    const content = pattern(8192, 1);
    await file.write(content, 0, 8192, 0);
    const before = rig.server.status().clients[0]?.id;

    rig.wire.down = true;
    rig.wire.cut();
    const administrator = await rig.connect({ address: rig.directAddress });
    await administrator.admin.evict(before ?? 0);
    await administrator.close();
    rig.wire.heal();

    const failed: unknown = await file.sync().catch((error: unknown) => error);
    expect(failed).toMatchObject({ status: 'WRITE_LOST', code: 'EIO', syscall: 'fsync' });
    expect(await statusOf(file.sync())).toBeUndefined();
    await file.write(content, 0, 8192, 0);
    await file.close();
    const { ino } = await client.stat('data');
    expect((await readAll(rig.lab.vfs, ino)).equals(content)).toBe(true);
    const active = rig.server.status().clients.filter(({ state }) => state === 'active');
    expect(active).toHaveLength(1);
    expect(active[0]?.id).not.toBe(before);
  });

  test('ended without anybody else in need: everything is as it was', async ({ rig }) => {
    const client = await rig.connect();
    const file = await client.open('data', 'w+');
    const content = pattern(8192, 1);
    await file.write(content, 0, 8192, 0);
    rig.wire.down = true;
    rig.wire.cut();
    await until('the server to know', () => rig.server.status().clients[0]?.connections === 0);
    clock.advance(leaseMs);
    expect(rig.server.status().clients).toMatchObject([{ state: 'courtesy' }]);
    const written = () => statusOf(() => file.writeSync(content, 0, 1, 0));
    await until('the client to know', async () => (await written()) === 'NOT_CACHED');
    rig.wire.heal();

    await file.sync();
    expect(rig.server.status().clients).toMatchObject([{ state: 'active' }]);
    expect((await readAll(rig.lab.vfs, file.ino)).equals(content)).toBe(true);
  });

  test.for(['sync', 'utimes'])(
    'ended, and somebody needed the file: uncommitted writes are reported by name, the client goes on as it was (%s)',
    async (finder, { rig }) => {
      const client = await rig.connect();
      const file = await client.open('data', 'w+');
      const content = pattern(8192, 1);
      await file.write(content, 0, 8192, 0);
      const before = rig.server.status().clients[0]?.id;
      rig.wire.down = true;
      rig.wire.cut();
      await until('the server to know', () => rig.server.status().clients[0]?.connections === 0);
      clock.advance(leaseMs);
      expect(rig.server.status().clients).toMatchObject([{ state: 'courtesy' }]);
      const { vfs } = rig.lab;
      await withHandle(vfs, file.ino, 2, (handle) => vfs.write(handle, 0, pattern(4096, 2), root));
      expect(rig.server.status().clients).toMatchObject([{ id: before, state: 'fenced' }]);
      rig.wire.heal();

      // Said by the commit, or by the look at what was revoked, whichever comes first; and a commit that another call made
      // leaves it to be said.
      if (finder === 'utimes') await statusOf(file.utimes(1, 1));
      expect(await statusOf(file.sync())).toBe('WRITE_LOST');
      await file.sync();
      await file.write(content, 0, 8192, 0);
      await file.sync();
      expect((await readAll(rig.lab.vfs, file.ino)).equals(content)).toBe(true);
      await until('the end of the fence', () => rig.server.status().clients[0]?.state === 'active');
      expect(rig.server.status().clients).toMatchObject([{ id: before }]);
    },
  );

  test('lost: a layout of the program that answers for itself bars the client until it is returned', async ({
    rig,
  }) => {
    const client = await rig.connect();
    const file = await client.open('data', 'w+');
    const layout = await file.layout({ offset: 0, length: 8192, iomode: 'RW', onRecall: 'ignore' });
    const revoked = new Promise((resolve) => layout.once('revoked', resolve));
    rig.wire.down = true;
    rig.wire.cut();
    await revoked;
    expect(layout.live).toBe(false);
    const administrator = await rig.connect({ address: rig.directAddress });
    await administrator.admin.evict(rig.server.status().clients[0]?.id ?? 0);
    await administrator.close();
    rig.wire.heal();

    await until('the client knows', () => client.state === 'barred');
    expect(await statusOf(client.stat('data'))).toBe('ENGINES_UNKNOWN');
    await layout.return();
    expect((await client.stat('data')).isFile()).toBe(true);
  });
});

describe('a server that restarts', () => {
  test('is found again, and what was written and not synced is there after the sync', async ({ rig }) => {
    const client = await rig.connect({ owner: 'the same' });
    const kept = await client.open('kept', 'w+');
    const content = pattern(20_000, 2);
    await kept.write(content, 0, content.length, 0);
    await kept.sync();
    await kept.write(content.subarray(0, 5000), 0, 5000, 18_000);
    const fresh = await client.open('fresh', 'w+');
    expect(await fresh.write(content, 0, content.length, 0)).toMatchObject({ path: 'direct' });

    await rig.restartServer();
    await fresh.sync();
    await kept.sync();
    expect((await readAll(rig.lab.vfs, fresh.ino)).equals(content)).toBe(true);
    const grown = Buffer.concat([content.subarray(0, 18_000), content.subarray(0, 5000)]);
    expect((await readAll(rig.lab.vfs, kept.ino)).equals(grown)).toBe(true);
    expect((await client.stat('fresh')).size).toBe(content.length);
    const buffer = Buffer.alloc(content.length);
    expect(await fresh.read(buffer, 0, buffer.length, 0)).toMatchObject({ bytesRead: content.length });
    expect(buffer.equals(content)).toBe(true);
    expect(rig.server.status()).toMatchObject({ graceLeftMs: 0 });
    expect(rig.lab.fs.status().blocks).toMatchObject({ quarantined: 0 });
  });

  test('takes what was written to a file that shares its blocks, and leaves the clone alone', async ({ rig }) => {
    const client = await rig.connect({ owner: 'the same' });
    const file = await client.open('data', 'w+');
    const content = pattern(20_000, 6);
    await file.write(content, 0, content.length, 0);
    await file.sync();
    await client.clone('data', 'copy');
    const over = pattern(5000, 7);
    expect(await file.write(over, 0, over.length, 3000)).toMatchObject({ path: 'direct' });
    await rig.restartServer();
    await file.sync();
    const expected = Buffer.from(content);
    over.copy(expected, 3000);
    expect((await readAll(rig.lab.vfs, file.ino)).equals(expected)).toBe(true);
    expect((await readAll(rig.lab.vfs, (await client.stat('copy')).ino)).equals(content)).toBe(true);
  });

  test('keeps a sync waiting that was on its way, also where its connection breaks while it reclaims', async ({
    rig,
  }) => {
    const client = await rig.connect({ owner: 'the same' });
    const file = await client.open('data', 'w+');
    const content = pattern(20_000, 3);
    await file.write(content, 0, content.length, 0);
    rig.wire.toServer = (frame) => (isRequest(frame, operations.LAYOUTCOMMIT) ? 'hold' : 'pass');
    const synced = file.sync();
    await until('the commit to be on its way', () =>
      rig.wire.sent.some((frame) => isRequest(frame, operations.LAYOUTCOMMIT)),
    );
    await rig.restartServer();
    const reclaims = () =>
      rig.wire.sent.filter(
        (frame) => frame[0] === frameKind.request && isRequest(frame, operations.LAYOUTCOMMIT) && frame[7][5] !== null,
      ).length;
    await until('the reclaim to be on its way', () => reclaims() === 1);
    rig.wire.toServer = () => 'pass';
    rig.wire.cut();
    await synced;
    expect(reclaims()).toBe(2);
    expect((await readAll(rig.lab.vfs, file.ino)).equals(content)).toBe(true);
    expect((await client.stat('data')).size).toBe(content.length);
  });

  test('reclaims too what was about to be committed as everything was asked back', async ({ rig }) => {
    const client = await rig.connect({ owner: 'the same' });
    const file = await client.open('data', 'w+');
    const content = pattern(20_000, 8);
    await file.write(content, 0, content.length, 0);
    rig.wire.toServer = (frame) => (isRequest(frame, operations.LAYOUTCOMMIT) ? 'hold' : 'pass');
    const admin = await rig.connect({ address: rig.directAddress });
    const recalled = admin.admin.recall('everything').catch(() => undefined);
    await until('the commit to be on its way', () =>
      rig.wire.sent.some((frame) => isRequest(frame, operations.LAYOUTCOMMIT)),
    );
    rig.wire.toServer = () => 'pass';
    await rig.restartServer();
    await file.sync();
    expect((await readAll(rig.lab.vfs, file.ino)).equals(content)).toBe(true);
    await recalled;
  });

  test('keeps what was written through a second restart', async ({ rig }) => {
    const client = await rig.connect({ owner: 'the same' });
    const file = await client.open('data', 'w+');
    const content = pattern(20_000, 4);
    await file.write(content, 0, content.length, 0);
    rig.wire.toServer = (frame) => (isRequest(frame, operations.LAYOUTCOMMIT) ? 'hold' : 'pass');
    await rig.restartServer();
    await until('the reclaim to be on its way', () =>
      rig.wire.sent.some((frame) => isRequest(frame, operations.LAYOUTCOMMIT)),
    );
    rig.wire.toServer = () => 'pass';
    await rig.restartServer();
    await file.close();
    expect((await readAll(rig.lab.vfs, file.ino)).equals(content)).toBe(true);
  });

  test('reports what could not be reclaimed, once, and goes on', async ({ rig }) => {
    const client = await rig.connect({ owner: 'the same' });
    const file = await client.open('data', 'w+');
    const content = pattern(20_000, 5);
    await file.write(content, 0, content.length, 0);
    const former = rig.server.status().clients[0]?.id ?? 0;
    rig.wire.down = true;
    rig.wire.cut();
    await rig.restartServer();
    const admin = await rig.connect({ address: rig.directAddress });
    await admin.admin.evict(former);
    rig.wire.heal();
    const failed: unknown = await file.sync().catch((error: unknown) => error);
    expect(failed).toMatchObject({ status: 'WRITE_LOST', code: 'EIO', syscall: 'fsync' });
    expect(failed).toHaveProperty('message', expect.stringContaining('uncommitted writes to inode'));
    await file.write(content, 0, content.length, 0);
    await file.close();
    expect((await readAll(rig.lab.vfs, file.ino)).equals(content)).toBe(true);
  });

  test('another filesystem at the address is refused by name', async ({ rig }) => {
    const other = await Lab.create();
    const server = new MetadataServer(other.fs);
    try {
      const client = await rig.connect();
      await rig.server.close();
      await server.listen(rig.directAddress);
      expect(await statusOf(client.mkdir('x'))).toMatch(/OTHER_FILESYSTEM|STATE_LOST/);
      expect(await statusOf(client.stat('/'))).toBe('OTHER_FILESYSTEM');
    } finally {
      await server.close();
      await other.remove();
    }
  });
});

describe('bounds', () => {
  test('a call ends at its timeout, connected or not', async ({ rig }) => {
    const client = await rig.connect({ timeoutMs: 1000 });
    rig.wire.toServer = () => 'hold';
    expect(await statusOf(client.stat('/'))).toBe('TIMEOUT');
    rig.wire.down = true;
    rig.wire.cut();
    expect(await statusOf(client.stat('/'))).toBe('TIMEOUT');
    rig.wire.heal();
    await until('an answer', async () => (await statusOf(client.stat('/'))) === undefined);
  });

  test('an abandoned call frees its caller at once, and its slot when the reply comes', async ({ rig }) => {
    const client = await rig.connect();
    rig.wire.toServer = () => 'hold';
    const aborting = new AbortController();
    const stats = Array.from({ length: 200 }, () => client.stat('/', { signal: aborting.signal }));
    const reason = new Error('enough');
    aborting.abort(reason);
    for (const result of await Promise.allSettled(stats)) expect(result).toMatchObject({ status: 'rejected', reason });
    rig.wire.heal();
    expect((await client.stat('/')).isDirectory()).toBe(true);
  });

  test('a file opened for nobody is closed again', async ({ rig }) => {
    const client = await rig.connect();
    rig.wire.toClient = (frame) => (frame[0] === frameKind.reply ? 'hold' : 'pass');
    const aborting = new AbortController();
    await writeFile(rig.lab.vfs, 'data', Buffer.alloc(1));
    rig.wire.heal();
    rig.wire.toServer = (frame) => (isRequest(frame, operations.OPEN) ? 'hold' : 'pass');
    const opened = client.open('data', 'r', 0, { signal: aborting.signal });
    await until('OPEN is on its way', () => rig.wire.held.toServer > 0);
    aborting.abort();
    await expect(opened).rejects.toThrow(expect.objectContaining({ name: 'AbortError' }));
    rig.wire.heal();
    await until('it was closed', () => rig.wire.sent.some((frame) => isRequest(frame, operations.CLOSE)));
    await until('nothing is open', () => rig.server.status().clients[0]?.opens === 0);
  });

  test('calls beyond what the client keeps waiting fail at once', async ({ rig }) => {
    const client = await rig.connect();
    rig.wire.toServer = () => 'hold';
    const aborting = new AbortController();
    const calls = Promise.allSettled(
      Array.from({ length: 4300 }, () => client.statfs(undefined, { signal: aborting.signal })),
    );
    expect(await statusOf(client.statfs())).toBe('OVERLOAD');
    aborting.abort();
    await calls;
    rig.wire.heal();
    expect(await client.statfs()).toMatchObject({ bsize: 4096 });
  });

  test('a reply of another form is an error of the protocol, not of the program', async ({ rig }) => {
    const client = await rig.connect();
    rig.wire.toClient = (frame) => {
      if (frame[0] === frameKind.reply && Array.isArray(frame[3])) frame[3].splice(0, 1, 'nonsense');
      return 'pass';
    };
    expect(await statusOf(client.statfs())).toBe('BAD_REPLY');
  });
});

describe('connecting', () => {
  test('to nothing fails with the errno of connect(2)', async ({ rig }) => {
    await expect(connect(`unix:${join(rig.lab.dir, 'nobody')}`)).rejects.toMatchObject({
      status: 'UNREACHABLE',
      code: 'ENOENT',
      syscall: 'connect',
    });
    await expect(connect('tcp://127.0.0.1:1')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    await expect(connect(['tcp://127.0.0.1:1', `unix:${join(rig.lab.dir, 'nobody')}`])).rejects.toMatchObject({
      status: 'UNREACHABLE',
      code: 'ENOENT',
      message: expect.stringMatching(/ECONNREFUSED 127\.0\.0\.1:1; .*ENOENT .*nobody/),
    });
  });

  test('to what is no address fails by name', async () => {
    for (const address of ['', 'unix:', 'tcp://host', 'tcp://host:99999', 'http://host:80']) {
      expect(await statusOf(connect(address)), address).toBe('ARGUMENT');
    }
    expect(await statusOf(connect([]))).toBe('ARGUMENT');
  });

  test('goes to the first address that answers', async ({ rig }) => {
    const client = await connect([`unix:${join(rig.lab.dir, 'nobody')}`, rig.directAddress]);
    expect((await client.stat('/')).isDirectory()).toBe(true);
    await client.close();
  });

  test('over TCP as well', async ({ rig }) => {
    const client = await connect(await rig.server.listen('tcp://127.0.0.1:0'));
    expect((await client.stat('/')).isDirectory()).toBe(true);
    await client.close();
  });

  test('ends when its signal says so', async ({ rig }) => {
    const reason = new Error('enough');
    await expect(connect(rig.directAddress, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    rig.wire.toServer = () => 'hold';
    const aborting = new AbortController();
    const connecting = connect(`unix:${rig.wire.path}`, { signal: aborting.signal });
    await until('it is on its way', () => rig.wire.held.toServer > 0);
    aborting.abort(reason);
    await expect(connecting).rejects.toBe(reason);
  });

  test('with options that cannot be meant is refused before anything is asked', async ({ rig }) => {
    for (const wrong of [
      { pci: '03:00' },
      { uid: -1 },
      { gid: 0.5 },
      { maxIoMs: -1 },
      { timeoutMs: 0 },
      { timeoutMs: NaN },
    ]) {
      expect(await statusOf(rig.connect(wrong)), JSON.stringify(wrong)).toBe('ARGUMENT');
    }
    expect(rig.wire.sent).toEqual([]);
  });

  test('as an owner that is connected already is refused: they would be one client to the server', async ({ rig }) => {
    const first = await rig.connect({ owner: 'me' });
    expect(await statusOf(rig.connect({ owner: 'me' }))).toBe('EXIST');
    await first.close();
    await rig.connect({ owner: 'me' });
  });

  test('with a device that is not here fails by name', async ({ rig }) => {
    await expect(rig.connect({ device: join(rig.lab.dir, 'nothing') })).rejects.toMatchObject({
      status: 'NO_DEVICE',
      code: 'ENOENT',
    });
  });

  test('after close every call says so, and the server has forgotten the client', async ({ rig }) => {
    const client = await rig.connect();
    const file = await client.open('data', 'w');
    await client.close();
    expect(await statusOf(client.stat('/'))).toBe('CLOSED');
    expect(await statusOf(file.write(Buffer.alloc(1), 0, 1, 0))).toBe('CLOSED');
    expect(rig.server.status().clients).toEqual([]);
  });
});

async function listed(rig: { readonly lab: Lab }, path: string): Promise<string[]> {
  const { vfs } = rig.lab;
  const { ino } = await vfs.lookup(vfs.rootIno, n(path), root);
  const handle = await vfs.opendir(ino, root);
  const entries = await vfs.readdir(handle, 0, 1000, root);
  await vfs.release(handle);
  return entries.map(({ name }) => name);
}
