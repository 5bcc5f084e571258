/** What an administrator sees of clients and their fences, and does about them. */
import { chmod, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { operations } from '../../mds/protocol/ops.ts';
import { sequenceFlag } from '../../mds/protocol/status.ts';
import { RawClient } from '../mds/raw-client.ts';
import { printed, Sandbox } from './sandbox.ts';

const leaseMs = 2000;

let box: Sandbox;
let address: string;

beforeEach(async () => {
  box = await Sandbox.create();
  await box.must('mkfs', box.image);
  address = `unix:${join(box.dir, 'peers.sock')}`;
});
afterEach(() => box.remove());

async function serve(...options: readonly string[]): Promise<void> {
  const args = ['serve', box.image, '--foreground', '--listen', address, '--lease-ms', String(leaseMs), ...options];
  await printed(box.start('iopmemfs', ...args), /serving at/);
}

async function writeHook(script: string): Promise<void> {
  const hook = join(box.dir, 'hook');
  await writeFile(hook, `#!/bin/sh\n${script}\n`);
  await chmod(hook, 0o755);
}

/** A client that goes while it has a layout for writing over two blocks, which is asked back then. */
async function abandon(owner: string): Promise<number> {
  const client = await RawClient.connect(address, { owner });
  const { ino, stateid } = await client.create(`of ${owner}`, Buffer.alloc(8192, 1));
  await client.layout(ino, stateid, 2, 0, 8192);
  await client.connection.end();
  await box.run('iopmemfs', 'recall', box.image, '--client', String(client.id));
  return client.id;
}

interface Shown {
  readonly clients: readonly { readonly id: number; readonly owner: string; readonly state: string }[];
  readonly fences: readonly { readonly client: number; readonly provider: string; readonly error?: string }[];
  readonly quarantine: readonly { readonly client: number; readonly bytes: number }[];
  readonly fenceCounts: readonly { readonly provider: string; readonly failed: number }[];
}

const status = async (): Promise<Shown> => JSON.parse(await box.must('iopmemfs', 'status', '--json', box.image));

async function statusWhen(is: (shown: Shown) => boolean): Promise<Shown> {
  for (;;) {
    const shown = await status();
    if (is(shown)) return shown;
  }
}

test('a fence whose hook fails is shown, until the hook succeeds', async () => {
  await writeHook(`test -e ${join(box.dir, 'good')} || { echo no such machine >&2; exit 3; }`);
  await serve('--fence-hook', 'hook');
  const client = await abandon('lost');
  const { fences, fenceCounts } = await statusWhen((shown) => shown.fences[0]?.error !== undefined);
  expect(fences).toMatchObject([{ client, provider: 'hook', bytes: 8192 }]);
  expect(fences[0]?.error).toMatch(/hook answered 3$/);
  expect(fenceCounts.find(({ provider }) => provider === 'hook')?.failed).toBeGreaterThan(0);
  const text = await box.must('iopmemfs', 'status', box.image);
  expect(text).toMatch(/^ +CLIENT +FENCE +ATTEMPTS +NEXT +QUARANTINED +ERROR$/m);
  expect(text).toMatch(new RegExp(`^ +${client} +hook +\\d+ +(-|\\d+ ms) +8\\.0 KiB +hook: .*answered 3$`, 'm'));
  expect(text).toMatch(/^ {2}fencing, hook: 0 held, 0 waited, \d+ failed$/m);
  await writeFile(join(box.dir, 'good'), '');
  const after = await statusWhen((shown) => shown.fences.length === 0);
  expect(after).toMatchObject({ clients: [{ id: client, quarantinedBytes: 0 }], quarantine: [] });
});

test('without anything that could cut it off a client is in quarantine until it is evicted, by its owner', async () => {
  await serve();
  const [first, second] = [await abandon('lost'), await abandon('17')];
  const { clients } = await statusWhen(({ quarantine }) => quarantine.length === 2);
  expect(clients.map(({ id, owner, state }) => [id, owner, state])).toEqual([
    [first, 'lost', 'fenced'],
    [second, '0x3137', 'fenced'],
  ]);
  const listed: Shown['clients'] = JSON.parse(await box.must('iopmemfs', 'client', 'list', '--json'));
  expect(listed.map(({ id }) => id)).toEqual([first, second]);
  const table = await box.must('iopmemfs', 'client', 'list', box.image);
  expect(table).toMatch(/^ *CLIENT +STATE +OPEN +QUARANTINED +LEASE LEFT +OWNER$/m);
  expect(table).toMatch(new RegExp(`^ *${first} +fenced +1 +8\\.0 KiB +\\S.* +lost$`, 'm'));
  expect(await box.must('iopmemfs', 'client', 'evict', 'lost')).toBe(`client ${first} is evicted from ${box.image}\n`);
  expect(JSON.parse(await box.must('iopmemfs', 'client', 'evict', '0x3137', '--json'))).toEqual({
    device: box.image,
    clients: [second],
  });
  expect(await status()).toMatchObject({ clients: [], quarantine: [], fences: [] });
  expect(await box.run('iopmemfs', 'client', 'evict', 'lost')).toMatchObject({ code: 1, stderr: /\(ENOENT\)/ });
});

test('a client that lives loses its layouts, and nothing else', async () => {
  await serve();
  const client = await RawClient.connect(address, { owner: 'living' });
  try {
    const { ino, stateid } = await client.create('a', Buffer.alloc(8192, 1));
    await client.layout(ino, stateid, 2, 0, 8192);
    const number = String(client.id);
    const said = `1 layout of client ${number} revoked on ${box.image}\n`;
    expect(await box.must('iopmemfs', 'client', 'revoke', number)).toBe(said);
    await statusWhen(({ clients }) => clients[0]?.state === 'fenced');
    expect(await client.statusOf(operations.READ, [stateid, 0, 1])).toBe('OK');
    expect(client.flags & sequenceFlag.ADMIN_STATE_REVOKED).not.toBe(0);
    expect(JSON.parse(await box.must('iopmemfs', 'client', 'revoke', number, '--json'))).toEqual({
      device: box.image,
      client: client.id,
      layouts: 0,
    });
    expect(await box.run('iopmemfs', 'client', 'revoke', '4711')).toMatchObject({ code: 1, stderr: /\(ENOENT\)/ });
    expect(await box.run('iopmemfs', 'client', 'revoke', 'living')).toMatchObject({ code: 1 });
  } finally {
    await client.connection.end();
  }
});

test('a hook that is not there, and a deadline below the lease, are found out before anybody is served', async () => {
  await rm(join(box.dir, 'hook'), { force: true });
  const refused = (...options: readonly string[]) => box.run('iopmemfs', 'serve', box.image, ...options);
  expect(await refused('--fence-hook', 'hook')).toMatchObject({ code: 1, stderr: /hook.*\(ENOENT\)/ });
  await writeFile(join(box.dir, 'hook'), '');
  expect(await refused('--fence-hook', 'hook')).toMatchObject({ code: 1, stderr: /hook.*\(EACCES\)/ });
  expect(await refused('--lease-ms', '1000', '--recall-ms', '999')).toMatchObject({ code: 1, stderr: /\(EINVAL\)/ });
});
