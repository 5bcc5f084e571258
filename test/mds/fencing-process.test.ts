/** Clients that are processes of this host: their end is a fence. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { describe, expect } from 'vitest';
import { lookUp, processRecord } from '../../mds/fencing/process-record.ts';
import { Reach } from '../../mds/fencing/reach.ts';
import { operations } from '../../mds/protocol/ops.ts';
import { processName } from '../../mds/protocol/process-name.ts';
import { n, root } from '../support/filesystem.ts';
import { introduction, RawClient } from './raw-client.ts';
import { leaseMs, type Rig } from './rig.ts';
import { test as base } from './rig-test.ts';

const typescript = fileURLToPath(new URL('../support/typescript.mjs', import.meta.url));
const program = fileURLToPath(new URL('../client/peer.ts', import.meta.url));
const written = 8 * 4096;

/** A process with the client library, which has written to the device and committed half of it. */
class Peer {
  readonly child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(address: string) {
    this.child = spawn(process.execPath, ['--import', typescript, program, address, 'peer'], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    if (this.child.stdout === null) throw new Error('no output');
    this.#lines = createInterface({ input: this.child.stdout })[Symbol.asyncIterator]();
  }

  async ask(command?: Readonly<Record<string, unknown>>): Promise<unknown> {
    if (command !== undefined) this.child.stdin?.write(`${JSON.stringify(command)}\n`);
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error('the peer is gone');
    return JSON.parse(value);
  }

  async write(): Promise<void> {
    await this.ask(); // that it is ready
    await this.ask({ open: 'data', flags: 'w' });
    await this.ask({ write: 0, length: written, seed: 1 });
    await this.ask({ sync: true });
    expect(await this.ask({ write: written, length: written, seed: 2 })).toMatchObject({ path: 'direct' });
  }

  async kill(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const exited = once(this.child, 'exit');
    this.child.kill('SIGKILL');
    await exited;
  }
}

const test = base.extend<{ peer: (address?: string) => Promise<Peer> }>({
  peer: async ({ rig }, use) => {
    const peers: Peer[] = [];
    try {
      await use(async (address = rig.address) => {
        const peer = new Peer(address);
        peers.push(peer);
        await peer.write();
        return peer;
      });
    } finally {
      for (const peer of peers) await peer.kill();
    }
  },
});

/** Another process, which ends with the test. */
async function other(use: (child: ChildProcess) => Promise<void>): Promise<void> {
  const child = spawn('sleep', ['1000']);
  await once(child, 'spawn');
  try {
    await use(child);
  } finally {
    const exited = once(child, 'exit');
    if (child.signalCode === null) {
      child.kill('SIGKILL');
      await exited;
    }
  }
}

const inode = async ({ lab }: Rig): Promise<number> => (await lab.vfs.lookup(lab.vfs.rootIno, n('data'), root)).ino;

test.override({ options: { courtesyMs: 0 } });

describe('a client that is killed', () => {
  test('is over at once: nobody waits for its lease, and its blocks are free', async ({ rig, peer }) => {
    const { blocks } = rig.lab.fs.status();
    const holder = await peer();
    expect(rig.server.status().layouts).toHaveLength(1);
    await holder.kill();
    await rig.until('its end', () => {
      const { clients, fences } = rig.server.status();
      return clients.length + fences.length + rig.lab.fs.quarantined().size === 0;
    });
    expect(rig.lab.fs.clientRecords()).toEqual([]);
    expect(rig.server.status().layouts).toEqual([]);
    expect(rig.server.status().fenceCounts).toContainEqual({ provider: 'process', fenced: 1, waiting: 0, failed: 0 });
    const ino = await inode(rig);
    expect((await rig.lab.vfs.getattr(ino, root)).size, 'what it committed is there').toBe(written);
    await rig.lab.vfs.unlink(rig.lab.vfs.rootIno, n('data'), root);
    await rig.lab.vfs.syncfs();
    await rig.until('all to be free', () => rig.lab.fs.status().blocks.free === blocks.free);
  });

  test('lets go on who waits for its layout', async ({ rig, peer }) => {
    const holder = await peer();
    holder.child.kill('SIGSTOP');
    const truncated = Promise.resolve(rig.lab.vfs.setattr(await inode(rig), { size: 0 }, root));
    expect(rig.server.status().breaks).toHaveLength(1);
    await holder.kill();
    expect((await truncated).size).toBe(0);
    await rig.until('its blocks to be free', () => rig.lab.fs.quarantined().size === 0);
  });

  test('in the middle of its quarantine gives its blocks free', async ({ rig, peer }) => {
    const holder = await peer();
    holder.child.kill('SIGSTOP');
    rig.clock.advance(leaseMs);
    await rig.until('the attempt', () => rig.server.status().fences[0]?.provider === 'process');
    expect(rig.lab.fs.quarantined().size).toBe(1);
    await holder.kill();
    await rig.until('its blocks to be free', () => rig.lab.fs.quarantined().size === 0);
    await rig.until('the end of the fence', () => rig.server.status().fences.length === 0);
    expect(rig.lab.fs.clientRecords()).toEqual([]);
  });
});

/** Nobody is known, nobody is waited for, nothing is out of use. */
function isOver({ server, lab }: Rig): boolean {
  const { clients, fences, graceLeftMs } = server.status();
  return clients.length + fences.length + graceLeftMs + lab.fs.quarantined().size === 0;
}

describe('after a restart of the server', () => {
  test('nobody waits for a client that was killed before it', async ({ rig, peer }) => {
    const holder = await peer();
    holder.child.kill('SIGSTOP');
    await rig.server.close();
    await holder.kill();
    await rig.restart();
    await rig.until('the end of grace', () => isOver(rig));
    expect(rig.lab.fs.clientRecords()).toEqual([]);
    expect((await rig.lab.vfs.setattr(await inode(rig), { size: 0 }, root)).size).toBe(0);
  });

  test('a client that is killed then gives its blocks free, one that lives does not', async ({ rig, peer }) => {
    const holder = await peer();
    holder.child.kill('SIGSTOP');
    await rig.restart();
    rig.clock.advance(leaseMs);
    await rig.until('the attempt', () => rig.server.status().fences[0]?.provider === 'process');
    expect(rig.lab.fs.quarantined().size).toBe(1);
    await holder.kill();
    await rig.until('the end of its fence', () => isOver(rig));
    expect(rig.lab.fs.clientRecords()).toEqual([]);
  });
});

describe('what stands on record for a process', () => {
  const own = processRecord(process.pid);
  const changed = (index: number, value: string): string =>
    own
      .split(' ')
      .map((part, at) => (at === index ? value : part))
      .join(' ');

  test('means this one', () => {
    expect(own.split(' ')).toHaveLength(5);
    expect(lookUp(own)).toBe(process.pid);
    expect(lookUp(changed(4, '1')), 'another one had the number').toBe('gone');
  });

  test('of one that is gone says so', async () => {
    let record = '';
    await other(async (child) => {
      record = processRecord(child.pid ?? 0);
      expect(lookUp(record)).toBe(child.pid);
    });
    expect(lookUp(record)).toBe('gone');
  });

  test.for([
    ['a former run of the kernel here: it is gone', changed(1, 'earlier'), 'gone'],
    ['another machine', changed(0, 'f'.repeat(32)).replace(own.split(' ')[1] ?? '', 'other'), undefined],
    ['another namespace', changed(2, 'pid:[1]'), undefined],
    ['nothing', '', undefined],
  ] as const)('of %s', ([, record, answer]) => {
    const isContainer = own.split(' ')[2] !== 'pid:[4026531836]';
    expect(lookUp(record)).toBe(isContainer ? undefined : answer);
  });
});

describe('a client that is stopped', () => {
  test.override({ options: { courtesyMs: 0, fencing: { timed: true } } });

  test('is alive: its blocks stay out of use, whatever the time', async ({ rig, peer }) => {
    const holder = await peer();
    holder.child.kill('SIGSTOP');
    rig.clock.advance(leaseMs);
    await rig.until('the attempt', () => rig.server.status().fences[0]?.provider === 'process');
    for (let rounds = 1; rounds < 12; rounds++) {
      rig.clock.advance(200_000);
      await rig.until('the next attempt', () => (rig.server.status().fences[0]?.attempts ?? 0) > rounds);
    }
    expect(rig.lab.fs.quarantined().size).toBe(1);
    expect(rig.server.status().fences[0]?.error).toBe(`process: process ${holder.child.pid} is alive`);
    holder.child.kill('SIGCONT');
    expect(await holder.ask({ sync: true })).toEqual({ status: expect.stringMatching(/_LOST$/) });
    await holder.ask({ write: 0, length: 4096, seed: 1 });
    await rig.until('it to have come back', () => rig.lab.fs.quarantined().size === 0);
  });
});

test('a client is not the process that it says if another one connected', async ({ rig }) => {
  await other(async (child) => {
    const process = child.pid === undefined ? null : (processName(child.pid) ?? null);
    const client = await RawClient.connect(rig.address, { owner: 'forwarded', process });
    const { ino, stateid } = await client.create('a', Buffer.alloc(4096));
    await client.layout(ino, stateid, 2, 0, 4096);
    child.kill('SIGKILL');
    await once(child, 'exit');
    await client.connection.end();
    await rig.until('the end of its connection', () => rig.server.status().clients[0]?.connections === 0);
    expect(rig.server.status()).toMatchObject({ layouts: [{ client: client.id }], fences: [] });
    rig.clock.advance(leaseMs);
    await rig.until('the quarantine', () => rig.server.status().fences[0]?.provider === 'quarantine');
    expect(rig.lab.fs.quarantined().has(client.id)).toBe(true);
  });
});

test('the end of a client that came through another process is not known', async ({ rig, peer }) => {
  const path = join(rig.lab.dir, 'through.sock');
  const forwarder = createServer((socket) => {
    const onward = connect(rig.address.slice('unix:'.length));
    for (const [from, to] of [
      [socket, onward],
      [onward, socket],
    ] as const) {
      from.on('error', () => {}).on('close', () => to.destroy());
      from.pipe(to);
    }
  });
  await new Promise<void>((resolve) => {
    forwarder.listen(path, resolve);
  });
  try {
    const holder = await peer(`unix:${path}`);
    await holder.kill();
    await rig.until('the end of its connection', () => rig.server.status().clients.at(-1)?.connections === 0);
    expect(rig.server.status().layouts).toHaveLength(1);
  } finally {
    forwarder.close();
  }
});

test('a program with engines of its own is not over with its process', async ({ rig }) => {
  const connection = await rig.connection();
  const [id, sequence] = await connection.call(operations.EXCHANGE_ID, introduction({ process: null }));
  await connection.call(operations.CREATE_SESSION, [id, sequence, 4, 1]);
  await connection.end();
  await rig.until('the end of its connection', () => rig.server.status().clients[0]?.connections === 0);
  expect(rig.server.status().clients).toMatchObject([{ id, state: 'active' }]);
});

const nothing = (): void => {};
const nameOf = ({ pid = 0 }: ChildProcess): string => processName(pid) ?? '';
const from = ({ pid }: { readonly pid?: number | undefined }) => ({ closed: false, address: 'unix', pid });

describe('from where a client comes', () => {
  test('is known while all connections are from the process that it says', async () =>
    other(async (child) => {
      const reach = new Reach(nameOf(child), nothing);
      reach.over(from(child));
      expect(reach.process?.pid).toBe(child.pid);
      reach.over(from(child));
      expect(reach.process?.pid).toBe(child.pid);
      reach.over(from(process));
      expect(reach.process).toBeUndefined();
      reach.over(from(child));
      expect(reach.process, 'for good').toBeUndefined();
      reach.close();
    }));

  test.for([
    ['it says so of none', null, true],
    ['it comes over TCP', undefined, false],
  ] as const)('is not known if %s', async ([, declared, isUnix]) =>
    other(async (child) => {
      const reach = new Reach(declared === undefined ? nameOf(child) : declared, nothing);
      reach.over(isUnix ? from(child) : { closed: false, address: 'tcp://127.0.0.1:1', pid: undefined });
      expect(reach.process).toBeUndefined();
      reach.close();
    }),
  );

  test('is not over while a connection lives that its process left to somebody', async () =>
    other(async (child) => {
      let gone = nothing;
      const isGone = new Promise<void>((resolve) => {
        gone = resolve;
      });
      const reach = new Reach(nameOf(child), () => gone());
      const connection = { closed: false, address: 'unix', pid: child.pid };
      reach.over(connection);
      expect(reach.gone).toBe(false);
      child.kill('SIGKILL');
      await isGone;
      expect(reach.gone).toBe(false);
      connection.closed = true;
      expect(reach.gone).toBe(true);
      reach.close();
    }));
});
