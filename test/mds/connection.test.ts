import { spawn } from 'node:child_process';
import { existsSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fc } from '@fast-check/vitest';
import { describe, expect } from 'vitest';
import { formatAddress, parseAddress } from '../../mds/protocol/address.ts';
import { encodeFrame } from '../../mds/protocol/frame.ts';
import { wireLimits } from '../../mds/protocol/limits.ts';
import { operations } from '../../mds/protocol/ops.ts';
import { MetadataServer } from '../../mds/server.ts';
import { RawClient } from './raw-client.ts';
import { test } from './rig-test.ts';

describe('bytes that are not the protocol', () => {
  test('garbage closes the connection it came on, and no other', async ({ rig }) => {
    const witness = await rig.client();
    const seed = Date.now() % 2 ** 31;
    console.log(`seed ${seed}`);
    for (const garbage of fc.sample(fc.uint8Array({ minLength: 4, maxLength: 2000 }), { seed, numRuns: 60 })) {
      const connection = await rig.connection();
      connection.socket.end(garbage);
      await connection.closed;
      expect(await witness.statusOf(operations.SEQUENCE, [])).toBe('OK');
    }
    expect(rig.server.status().counters.protocolErrors).toBeGreaterThan(0);
  });

  test('a damaged request is answered or closes its connection; the server goes on', async ({ rig }) => {
    const witness = await rig.client();
    // A damaged slot or sequence number is a valid request of the session it names: not the witness's.
    const sender = await rig.client({ owner: 'sender' });
    const seed = Date.now() % 2 ** 31;
    console.log(`seed ${seed}`);
    const damage = fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 }));
    for (const [where, byte] of fc.sample(damage, { seed, numRuns: 100 })) {
      const connection = await rig.connection();
      const bytes = encodeFrame([
        0,
        1,
        sender.session,
        3,
        1,
        true,
        50,
        [1, [1, Buffer.alloc(12)], 2, 0, Infinity, 1, 9],
        null,
      ]);
      bytes[where % bytes.length] = byte;
      connection.socket.end(bytes);
      await connection.closed;
    }
    expect(await witness.statusOf(operations.SEQUENCE, [])).toBe('OK');
  });

  test('a length beyond the bound closes the connection before any of the body is read', async ({ rig }) => {
    const connection = await rig.connection();
    const head = Buffer.alloc(4);
    head.writeUInt32BE(wireLimits.frameMax + 1);
    connection.socket.write(head);
    await connection.closed;
  });

  test('half a frame harms nobody, and its end closes', async ({ rig }) => {
    const witness = await rig.client();
    const connection = await rig.connection();
    const whole = encodeFrame([0, 1, null, 0, 0, false, operations.STATUS.number, [], null]);
    connection.socket.write(whole.subarray(0, whole.length - 3));
    expect(await witness.statusOf(operations.SEQUENCE, [])).toBe('OK');
    connection.socket.end();
    await connection.closed;
    expect(rig.server.status().counters.protocolErrors).toBe(1);
  });

  test('frames that only a server sends close the connection', async ({ rig }) => {
    const connection = await rig.connection();
    connection.socket.write(encodeFrame([1, 1, 0, [], null, null]));
    await connection.closed;
  });
});

describe('many requests', () => {
  test('more than may run at once are all answered, each once', async ({ rig }) => {
    const connection = await rig.connection();
    const replies = await Promise.all(Array.from({ length: 1000 }, () => connection.call(operations.STATUS, [])));
    expect(replies).toHaveLength(1000);
  });

  test('a client that does not read its replies stops being served, and is served when it reads', async ({ rig }) => {
    const client = await rig.client();
    const { stateid } = await client.create('a', Buffer.alloc(2 ** 20, 3));
    client.connection.socket.pause();
    const reads = Array.from({ length: 60 }, (_, slot) =>
      client.call(operations.READ, [stateid, 0, 2 ** 20], slot % 8).then(
        ([data]) => data.length,
        () => 'misordered',
      ),
    );
    const other = await rig.client({ owner: 'other' });
    for (let asked = 0; asked < 50; asked++) await other.call(operations.SEQUENCE, []);
    expect(rig.server.status().counters.bytesRead).toBeLessThan(60 * 2 ** 20);
    client.connection.socket.resume();
    const lengths = await Promise.all(reads);
    expect(lengths.filter((length) => length === 2 ** 20).length).toBeGreaterThan(0);
  });
});

describe('sockets', () => {
  test("a Unix socket is its owner's alone, and is gone after the close", async ({ rig }) => {
    const path = join(rig.lab.dir, 'private.sock');
    const server = new MetadataServer(rig.lab.fs);
    try {
      expect(await server.listen(`unix:${path}`)).toBe(`unix:${path}`);
      expect(statSync(path).mode & 0o777).toBe(0o600);
    } finally {
      await server.close();
    }
    expect(existsSync(path)).toBe(false);
  });

  test('a socket file that nobody answers on is replaced, one that answers is not', async ({ rig }) => {
    const path = join(rig.lab.dir, 'stale.sock');
    await leaveStaleSocket(path);
    const first = new MetadataServer(rig.lab.fs);
    const second = new MetadataServer(rig.lab.fs);
    try {
      await first.listen(`unix:${path}`);
      await expect(second.listen(`unix:${path}`)).rejects.toMatchObject({ code: 'EADDRINUSE' });
    } finally {
      await first.close();
      await second.close();
    }
  });

  test('a file that is no socket is never replaced', async ({ rig }) => {
    const path = join(rig.lab.dir, 'file');
    writeFileSync(path, 'precious');
    await expect(rig.server.listen(`unix:${path}`)).rejects.toMatchObject({ code: 'EADDRINUSE' });
    expect(existsSync(path)).toBe(true);
  });

  test('TCP of both families', async ({ rig }) => {
    for (const host of ['127.0.0.1', '[::1]']) {
      const address = await rig.server.listen(`tcp://${host}:0`);
      expect(address).toMatch(/:\d+$/);
      const client = await RawClient.connect(address, { owner: host });
      try {
        expect((await client.call(operations.GETATTR, [client.rootIno]))[0][0]).toBe(client.rootIno);
      } finally {
        await client.connection.end();
      }
    }
  });

  test('addresses', () => {
    for (const text of ['unix:/run/x.sock', 'tcp://host:2049', 'tcp://[fe80::1%eth0]:1', 'tcp://127.0.0.1:0']) {
      expect(formatAddress(parseAddress(text))).toBe(text);
    }
    for (const text of [
      '',
      'unix:',
      'tcp://h',
      'tcp://h:70000',
      'tcp://::1:5',
      'http://h:1',
      `unix:/${'x'.repeat(200)}`,
    ]) {
      expect(() => parseAddress(text)).toThrow('EINVAL');
    }
  });
});

/** What a server leaves that was killed: a file that it listened on. */
async function leaveStaleSocket(path: string): Promise<void> {
  const script = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
  const child = spawn(process.execPath, ['-e', script]);
  await new Promise((resolve) => child.once('exit', resolve));
  expect(existsSync(path)).toBe(true);
}
