/** What becomes of a client that was fenced: by keys, by hooks, by time; and what STATUS says of it meanwhile. */
import { existsSync, readFileSync } from 'node:fs';
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect } from 'vitest';
import type { KeyOwner } from '../../mds/fencing/key.ts';
import { fencingLimits, ioUnbounded } from '../../mds/fencing/limits.ts';
import { operations } from '../../mds/protocol/ops.ts';
import { serverStatusFromWire } from '../../mds/protocol/server-status.ts';
import { MetadataServer, type MetadataServerOptions } from '../../mds/server.ts';
import { root } from '../support/filesystem.ts';
import { type Identity, introduction, RawClient } from './raw-client.ts';
import { leaseMs, Rig } from './rig.ts';
import { test } from './rig-test.ts';

const block = 4096;
const rw = 2;
/** As RawClient introduces itself. */
const ioMaxMs = 1000;

/** A client with a layout over the two blocks of a new file. */
async function holder(rig: Rig, name: string, identity: Identity = {}) {
  const client = await rig.client({ owner: `holder of ${name}`, ...identity });
  const { ino, stateid } = await client.create(name, Buffer.alloc(2 * block, 7));
  const layout = await client.layout(ino, stateid, rw, 0, 2 * block);
  return { client, ino, stateid: layout.stateid, at: layout.extents[0]?.[4] ?? 0 };
}

/** Its lease ends, and it is fenced. */
function expire(rig: Rig): void {
  rig.clock.advance(leaseMs);
}

/** It does not answer a recall, and renews its lease all the time. */
async function ignoreRecall(rig: Rig, { client, ino }: Awaited<ReturnType<typeof holder>>): Promise<void> {
  const truncated = rig.lab.vfs.setattr(ino, { size: 0 }, root);
  await client.connection.recall();
  rig.clock.advance(leaseMs / 2);
  await client.call(operations.SEQUENCE, []);
  rig.clock.advance(leaseMs / 2);
  await truncated;
}

const isHeld = (rig: Rig, client: { readonly id: number }): boolean => rig.lab.fs.quarantined().has(client.id);
const released = (rig: Rig, client: { readonly id: number }) =>
  rig.until('its blocks are free', () => !isHeld(rig, client) && rig.server.status().fences.length === 0);
const counts = (rig: Rig, name: string) => rig.server.status().fenceCounts.find(({ provider }) => provider === name);

/** A server with a hook: a shell script, which finds `$DIR`. */
class HookLab {
  readonly rig: Rig;
  readonly dir: string;
  readonly path: string;
  readonly logged: string[];

  private constructor(rig: Rig, dir: string, path: string, logged: string[]) {
    this.rig = rig;
    this.dir = dir;
    this.path = path;
    this.logged = logged;
  }

  static async use(
    script: string,
    body: (lab: HookLab) => Promise<void>,
    more: MetadataServerOptions['fencing'] = {},
  ): Promise<void> {
    const rig = await Rig.start({ courtesyMs: 0 });
    const logged: string[] = [];
    const lab = new HookLab(rig, rig.lab.dir, join(rig.lab.dir, 'hook'), logged);
    try {
      await lab.write(script);
      await lab.restart(more);
      await body(lab);
    } finally {
      await rig.stop();
    }
  }

  async write(script: string): Promise<void> {
    await writeFile(this.path, `#!/bin/sh\nDIR=${this.dir}\n${script}\n`);
    await chmod(this.path, 0o755);
  }

  restart(more: MetadataServerOptions['fencing'] = {}): Promise<void> {
    const note = (fields: object, message: string) => this.logged.push(`${message} ${JSON.stringify(fields)}`);
    const log = { info: note, warn: note, error: note };
    return this.rig.restart({ courtesyMs: 0, fencing: { hook: this.path, ...more }, log });
  }

  file(name: string): string {
    return join(this.dir, name);
  }

  async lines(name: string): Promise<readonly string[]> {
    return existsSync(this.file(name)) ? (await readFile(this.file(name), 'utf8')).trimEnd().split('\n') : [];
  }

  came(name: string): Promise<void> {
    return this.rig.until(name, () => existsSync(this.file(name)));
  }

  /** The last fence that STATUS shows, over the wire. */
  async fence() {
    const connection = await this.rig.connection();
    const [status] = await connection.call(operations.STATUS, []);
    return serverStatusFromWire(status).fences.at(-1);
  }
}

describe('a hook that succeeds', () => {
  const script = `{ echo "$1 $2"; env | grep IOPMEMFS_ | sort; cat; } > $DIR/told.new; mv $DIR/told.new $DIR/told`;

  test('is told who it is about and what that client may reach, and its blocks are free', () =>
    HookLab.use(script, async ({ rig, ...lab }) => {
      const { client, at } = await holder(rig, 'a');
      const { uuid, device } = rig.lab.fs;
      expire(rig);
      await released(rig, client);
      const told = (await readFile(join(lab.dir, 'told'), 'utf8')).trimEnd().split('\n');
      expect(told).toEqual([
        `${client.id} ${device.path}`,
        'IOPMEMFS_ADDRESSES=unix',
        'IOPMEMFS_ATTEMPT=1',
        `IOPMEMFS_CLIENT=${client.id}`,
        `IOPMEMFS_DEVICE=${device.path}`,
        'IOPMEMFS_OWNER=holder of a',
        `IOPMEMFS_OWNER_HEX=${Buffer.from('holder of a').toString('hex')}`,
        'IOPMEMFS_PID=',
        `IOPMEMFS_UUID=${uuid}`,
        `${at} ${2 * block}`,
      ]);
      expect(counts(rig, 'hook')).toEqual({ provider: 'hook', fenced: 1, waiting: 0, failed: 0 });
      expect(rig.lab.fs.clientRecords()).toEqual([]);
    }));

  test('gets no shell to interpret what a client calls itself', () =>
    HookLab.use(script, async (lab) => {
      const { client } = await holder(lab.rig, 'a', { owner: '$(touch "$DIR/harm"); `id` \n', ioMaxMs });
      expire(lab.rig);
      await released(lab.rig, client);
      expect(existsSync(lab.file('harm'))).toBe(false);
      expect(await lab.lines('told')).toContain('IOPMEMFS_OWNER=');
    }));
});

describe('a hook that fails', () => {
  test('is tried again, later and later, and the blocks stay in quarantine until it succeeds', () =>
    HookLab.use('echo $IOPMEMFS_ATTEMPT >> $DIR/attempts; test $IOPMEMFS_ATTEMPT = 4', async (lab) => {
      const { rig } = lab;
      const { client } = await holder(rig, 'a');
      expire(rig);
      for (const [attempts, retryMs] of [
        [1, 1000],
        [2, 2000],
        [3, 4000],
      ] as const) {
        await rig.until(`attempt ${attempts}`, () => rig.server.status().fences[0]?.retryMs === retryMs);
        expect(await lab.fence()).toEqual({
          client: client.id,
          provider: 'hook',
          attempts,
          retryMs,
          error: `hook: ${lab.path} answered 1`,
          bytes: 2 * block,
        });
        rig.clock.advance(retryMs - 1);
        expect(rig.server.status().fences[0]?.retryMs).toBe(1);
        rig.clock.advance(1);
      }
      await released(rig, client);
      expect(await lab.lines('attempts')).toEqual(['1', '2', '3', '4']);
      expect(counts(rig, 'hook')).toEqual({ provider: 'hook', fenced: 1, waiting: 0, failed: 3 });
      expect(lab.logged.filter((line) => line.startsWith('fence: the client is'))).toHaveLength(4);
    }));

  test('is never tried less often than every three minutes', () =>
    HookLab.use('exit 1', async ({ rig }) => {
      const { client } = await holder(rig, 'a');
      expire(rig);
      let longest = 0;
      for (let attempts = 1; attempts <= 12; attempts++) {
        await rig.until(`attempt ${attempts}`, () => {
          const [fence] = rig.server.status().fences;
          return fence?.attempts === attempts && fence.retryMs !== undefined;
        });
        const retryMs = rig.server.status().fences[0]?.retryMs ?? 0;
        longest = Math.max(longest, retryMs);
        rig.clock.advance(retryMs);
      }
      expect(longest).toBe(fencingLimits.retryLongestMs);
      expect(isHeld(rig, client)).toBe(true);
    }));

  test('with 75 has only put it off', () =>
    HookLab.use('test $IOPMEMFS_ATTEMPT = 2 || exit 75', async (lab) => {
      const { rig } = lab;
      const { client } = await holder(rig, 'a');
      expire(rig);
      await rig.until('the first attempt', () => rig.server.status().fences[0]?.retryMs === 1000);
      expect((await lab.fence())?.error).toMatch(/asks for another try/);
      rig.clock.advance(1000);
      await released(rig, client);
      expect(counts(rig, 'hook')).toEqual({ provider: 'hook', fenced: 1, waiting: 1, failed: 0 });
    }));

  test.for([
    ['that is killed', 'kill -9 $$', /was killed by SIGKILL/],
    ['that is no program', undefined, /could not be run: .*ENOENT/],
  ] as const)('%s', ([, script, error]) =>
    HookLab.use(script ?? '', async (lab) => {
      const { rig } = lab;
      const { client } = await holder(rig, 'a');
      if (script === undefined) await writeFile(lab.path, '#!/does/not/exist');
      expire(rig);
      await rig.until('the attempt', () => rig.server.status().fences[0]?.retryMs === 1000);
      expect((await lab.fence())?.error).toMatch(error);
      expect(isHeld(rig, client)).toBe(true);
    }),
  );

  test('to end is killed in time, with all that it started', () =>
    HookLab.use('sleep 1000 & echo $! $$ > $DIR/pids.new; mv $DIR/pids.new $DIR/pids; wait', async (lab) => {
      const { rig } = lab;
      const { client } = await holder(rig, 'a');
      expire(rig);
      await lab.came('pids');
      const pids = (await lab.lines('pids'))[0]?.split(' ').map(Number) ?? [];
      rig.clock.advance(fencingLimits.attemptMs - 1);
      expect(await lab.fence()).toMatchObject({ provider: 'hook', attempts: 1, retryMs: undefined });
      rig.clock.advance(1);
      await rig.until('the end of the attempt', () => rig.server.status().fences[0]?.retryMs === 1000);
      expect((await lab.fence())?.error).toContain(`did not end within ${fencingLimits.attemptMs} ms`);
      for (const pid of pids) await rig.until(`the end of ${pid}`, () => !isRunning(pid));
      expect(pids).toHaveLength(2);
      expect(isHeld(rig, client)).toBe(true);
    }));
});

/** Not a zombie that nobody has looked after yet either. */
function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  return !/^State:\s+Z/m.test(existsSync(`/proc/${pid}/status`) ? statusFile(pid) : 'State: Z');
}

function statusFile(pid: number): string {
  return readFileSync(`/proc/${pid}/status`, 'utf8');
}

test('a hook that prints much is read to its end, and the log gets the beginning', () =>
  HookLab.use('echo first; head -c 5000000 /dev/zero | tr "\\0" x; echo done >&2', async (lab) => {
    const { client } = await holder(lab.rig, 'a');
    expire(lab.rig);
    await released(lab.rig, client);
    const said = lab.logged.filter((line) => line.startsWith('the fence hook said'));
    expect(said).toHaveLength(1);
    expect(said[0]).toContain('first');
    expect(said[0]?.length).toBeLessThan(fencingLimits.hookOutputMax + 500);
  }));

test('hooks run side by side, but not more than a bound at once', () =>
  HookLab.use('echo x >> $DIR/begun; until test -e $DIR/go; do sleep 0.02; done', async (lab) => {
    const { rig } = lab;
    const clients: Awaited<ReturnType<typeof holder>>[] = [];
    for (let index = 0; index < fencingLimits.hooksMax + 3; index++) clients.push(await holder(rig, `f${index}`));
    expire(rig);
    const begun = async (count: number): Promise<void> => {
      for (let now = 0; now < count; now = (await lab.lines('begun')).length) {
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
    };
    await begun(fencingLimits.hooksMax);
    await rig.until('all to be fenced', () => rig.server.status().fences.length === clients.length);
    expect(await lab.lines('begun')).toHaveLength(fencingLimits.hooksMax);
    await writeFile(lab.file('go'), '');
    await rig.until('all to be free', () => rig.lab.fs.quarantined().size === 0);
    expect(await lab.lines('begun')).toHaveLength(clients.length);
  }));

describe('a client that comes back', () => {
  const waits = 'touch $DIR/begun; until test -e $DIR/go; do sleep 0.02; done; touch $DIR/ended';

  test('while its hook runs gets no layouts before that has ended', () =>
    HookLab.use(waits, async (lab) => {
      const { rig } = lab;
      const held = await holder(rig, 'a');
      const { client, stateid } = held;
      await ignoreRecall(rig, held);
      await lab.came('begun');
      expect(await client.statusOf(operations.FREE_STATEID, [stateid])).toBe('DELAY');
      await writeFile(lab.file('go'), '');
      await released(rig, client);
      expect(existsSync(lab.file('ended'))).toBe(true);
      expect(await client.statusOf(operations.FREE_STATEID, [stateid])).toBe('OK');
      await client.create('b', Buffer.alloc(block));
    }));

  test('as a new incarnation waits for the hook of the former one', () =>
    HookLab.use(waits, async (lab) => {
      const { rig } = lab;
      const { client } = await holder(rig, 'a');
      expire(rig);
      await lab.came('begun');
      const connection = await rig.connection();
      const again = introduction({ owner: 'holder of a', verifier: '2' });
      const [id, sequence] = await connection.call(operations.EXCHANGE_ID, again);
      let endedBefore: boolean | undefined;
      const created = connection.call(operations.CREATE_SESSION, [id, sequence, 4, 1]).then(() => {
        endedBefore = existsSync(lab.file('ended'));
      });
      await connection.call(operations.STATUS, []);
      expect(endedBefore).toBeUndefined();
      await writeFile(lab.file('go'), '');
      await created;
      expect(endedBefore).toBe(true);
      expect(rig.server.status().fences).toEqual([]);
      expect(isHeld(rig, client)).toBe(false);
    }));

  test('as a new incarnation ends what it was before, without a hook that would cut off both', () =>
    HookLab.use('touch $DIR/begun', async (lab) => {
      const { rig } = lab;
      const { client } = await holder(rig, 'a');
      const again = await rig.client({ owner: 'holder of a', verifier: '2' });
      expect(isHeld(rig, client), 'the former one still has a connection').toBe(true);
      expect(rig.server.status().fences).toEqual([]);
      await client.connection.end();
      await released(rig, client);
      expect(await again.statusOf(operations.SEQUENCE, [])).toBe('OK');
      expect(existsSync(lab.file('begun'))).toBe(false);
    }));

  test('between two attempts is fenced no more', () =>
    HookLab.use('echo x >> $DIR/attempts; exit 1', async (lab) => {
      const { rig } = lab;
      const held = await holder(rig, 'a');
      await ignoreRecall(rig, held);
      await rig.until('the attempt', () => rig.server.status().fences[0]?.retryMs === 1000);
      expect(await held.client.statusOf(operations.FREE_STATEID, [held.stateid])).toBe('OK');
      expect(rig.server.status().fences).toEqual([]);
      expect(isHeld(rig, held.client)).toBe(false);
      const { ino, stateid } = await held.client.create('b', Buffer.alloc(block));
      await held.client.layout(ino, stateid, rw, 0, block);
      rig.clock.advance(5000);
      expect(await held.client.statusOf(operations.SEQUENCE, [])).toBe('OK');
      expect(await lab.lines('attempts')).toHaveLength(1);
    }));
});

describe('a client that is declared dead', () => {
  test('is over at once: a hook that runs for it is killed', () =>
    HookLab.use('echo $$ > $DIR/pid.new; mv $DIR/pid.new $DIR/pid; exec sleep 1000', async (lab) => {
      const { rig } = lab;
      const { client } = await holder(rig, 'a');
      expire(rig);
      await lab.came('pid');
      const pid = Number((await lab.lines('pid'))[0]);
      const admin = await rig.client({ owner: 'admin' });
      expect(await admin.call(operations.EVICT, [Buffer.from('holder of a')])).toEqual([[client.id]]);
      expect(isHeld(rig, client)).toBe(false);
      expect(rig.server.status().fences).toEqual([]);
      await rig.until('the end of the hook', () => !isRunning(pid));
    }));

  test('is over at once, though it lives: nothing is copied, and no hook runs', () =>
    HookLab.use('touch $DIR/begun', async (lab) => {
      const { rig } = lab;
      const { client, ino, at } = await holder(rig, 'a');
      const admin = await rig.client({ owner: 'admin' });
      expect(await admin.call(operations.EVICT, [client.id])).toEqual([[client.id]]);
      expect((await rig.lab.fs.map(ino)).map(({ storageOffset }) => storageOffset)).toEqual([at]);
      expect(rig.server.status()).toMatchObject({ fences: [], layouts: [], breaks: [] });
      expect(existsSync(lab.file('begun'))).toBe(false);
    }));
});

describe('a restart in the middle of a fence', () => {
  test('ends the hook, and begins the fence anew', () =>
    HookLab.use('echo $$ > $DIR/pid.new; mv $DIR/pid.new $DIR/pid; exec sleep 1000', async (lab) => {
      const { rig } = lab;
      const { client } = await holder(rig, 'a');
      expire(rig);
      await lab.came('pid');
      const pid = Number((await lab.lines('pid'))[0]);
      await lab.write('cat > $DIR/ranges.new; mv $DIR/ranges.new $DIR/ranges');
      await lab.restart();
      await rig.until('the end of the hook', () => !isRunning(pid));
      await released(rig, client);
      const told = (await lab.lines('ranges')).map((line) => Number(line.split(' ')[1]));
      expect(told.reduce((sum, length) => sum + length, 0)).toBe(2 * block);
      expect(rig.lab.fs.clientRecords()).toEqual([]);
    }));

  test('that cut the client off before it was fenced: it is fenced when grace ends', () =>
    HookLab.use('exit 0', async (lab) => {
      const { rig } = lab;
      const { client } = await holder(rig, 'a');
      await lab.restart();
      expect(rig.server.status().fences).toEqual([]);
      rig.clock.advance(leaseMs);
      await rig.until('the end of grace', () => rig.server.status().graceLeftMs === 0);
      await released(rig, client);
      expect(counts(rig, 'hook')).toMatchObject({ fenced: 1 });
    }));
});

describe('the timed fence (RFC 5663 §2.3.8)', () => {
  test.override({ options: { courtesyMs: 0 } });

  describe('when it is asked for', () => {
    test.override({ options: { courtesyMs: 0, fencing: { timed: true } } });

    test('holds when lease and longest access are over, not before', async ({ rig }) => {
      const { client } = await holder(rig, 'a');
      expire(rig);
      await rig.until('the attempt', () => rig.server.status().fences[0]?.retryMs === ioMaxMs);
      rig.clock.advance(ioMaxMs - 1);
      expect(isHeld(rig, client)).toBe(true);
      rig.clock.advance(1);
      await released(rig, client);
      expect(counts(rig, 'timed')).toMatchObject({ fenced: 1 });
    });

    test('counts from the last renewal of a client that lives on', async ({ rig }) => {
      const held = await holder(rig, 'a');
      await ignoreRecall(rig, held);
      await rig.until('the attempt', () => rig.server.status().fences[0]?.attempts === 1);
      for (let rounds = 0; rounds < 4; rounds++) {
        await held.client.call(operations.SEQUENCE, []);
        rig.clock.advance(leaseMs / 2);
      }
      await held.client.call(operations.SEQUENCE, []);
      rig.clock.advance(leaseMs + ioMaxMs - 1);
      await rig.until('the end of the client', () => rig.server.status().clients[0]?.state === 'expired');
      expect(isHeld(rig, held.client)).toBe(true);
      rig.clock.advance(1);
      await released(rig, held.client);
    });

    test('counts from the start of the server for a client of a former run', async ({ rig }) => {
      const { client } = await holder(rig, 'a');
      await rig.restart({ courtesyMs: 0, fencing: { timed: true } });
      rig.clock.advance(leaseMs);
      await rig.until('the end of grace', () => rig.server.status().graceLeftMs === 0);
      await rig.until('the attempt', () => rig.server.status().fences[0]?.retryMs === ioMaxMs);
      rig.clock.advance(ioMaxMs - 1);
      expect(isHeld(rig, client)).toBe(true);
      rig.clock.advance(1);
      await released(rig, client);
    });

    test('a client whose accesses may take any time gets no layouts', async ({ rig }) => {
      const client = await rig.client({ ioMaxMs: ioUnbounded });
      const { ino, stateid } = await client.create('a', Buffer.alloc(block));
      expect(await client.statusOf(operations.LAYOUTGET, [ino, stateid, rw, 0, block, 1, 64, false])).toBe(
        'LAYOUTUNAVAILABLE',
      );
    });
  });

  test('but gets them where a hook can cut it off', () =>
    HookLab.use('exit 0', async ({ rig }) => {
      const { client } = await holder(rig, 'a', { ioMaxMs: ioUnbounded });
      expire(rig);
      await released(rig, client);
    }));

  test('is not trusted unless it is asked for', async ({ rig }) => {
    const { client } = await holder(rig, 'a');
    expire(rig);
    await rig.until('the quarantine', () => rig.server.status().fences[0]?.attempts === 1);
    rig.clock.advance(1000 * leaseMs);
    expect(rig.server.status().fences).toEqual([
      {
        client: client.id,
        provider: 'quarantine',
        attempts: 1,
        retryMs: undefined,
        error: undefined,
        bytes: 2 * block,
      },
    ]);
  });
});

describe('keys', () => {
  class Keys implements KeyOwner {
    readonly name = 'test';
    readonly revoked: number[] = [];
    knows = (): boolean => true;
    revoke: (client: number) => Promise<boolean> = (client) => {
      this.revoked.push(client);
      return Promise.resolve(true);
    };
  }

  async function withKeys(use: (rig: Rig, keys: Keys) => Promise<void>): Promise<void> {
    const keys = new Keys();
    const rig = await Rig.start({ courtesyMs: 0, fencing: { keyOwners: [keys] } });
    try {
      await use(rig, keys);
    } finally {
      await rig.stop();
    }
  }

  test('are revoked once', () =>
    withKeys(async (rig, keys) => {
      const { client } = await holder(rig, 'a');
      expire(rig);
      await released(rig, client);
      expect(keys.revoked).toEqual([client.id]);
      expect(counts(rig, 'key')).toMatchObject({ fenced: 1 });
    }));

  test('whose owner does not answer in time are asked for again, but not twice at once', () =>
    withKeys(async (rig, keys) => {
      const { client } = await holder(rig, 'a');
      const calls: ((had: boolean) => void)[] = [];
      keys.revoke = () => new Promise((resolve) => calls.push(resolve));
      expire(rig);
      await rig.until('the call', () => calls.length === 1);
      rig.clock.advance(fencingLimits.attemptMs);
      await rig.until('the next attempt', () => rig.server.status().fences[0]?.retryMs === 1000);
      expect(rig.server.status().fences[0]?.error).toMatch(/not revoked in time by test/);
      rig.clock.advance(1000);
      await rig.until('the second attempt', () => rig.server.status().fences[0]?.attempts === 2);
      expect(calls).toHaveLength(1);
      calls[0]?.(true);
      await released(rig, client);
    }));

  test('of a client that is declared dead are revoked, but nobody waits for that', () =>
    withKeys(async (rig, keys) => {
      const revoked: number[] = [];
      keys.revoke = (client) => new Promise(() => revoked.push(client));
      const [{ client: living }, { client: fenced }] = [await holder(rig, 'a'), await holder(rig, 'b')];
      const admin = await rig.client({ owner: 'admin' });
      await admin.call(operations.EVICT, [living.id]);
      expect(revoked).toEqual([living.id]);
      expire(rig);
      await rig.until('the attempt', () => revoked.includes(fenced.id));
      const again = await rig.client({ owner: 'admin', verifier: '2' });
      await again.call(operations.EVICT, [fenced.id]);
      expect(isHeld(rig, fenced)).toBe(false);
      expect(revoked).toEqual([living.id, fenced.id]);
    }));

  test('that a client does not have prove nothing', () =>
    withKeys(async (rig, keys) => {
      const { client } = await holder(rig, 'a');
      keys.revoke = () => Promise.resolve(false);
      expire(rig);
      await rig.until('the attempt', () => rig.server.status().fences[0]?.provider === 'quarantine');
      expect(isHeld(rig, client)).toBe(true);
    }));

  test('a write that was on its way when the fence held lands before its block is another file’s', () =>
    withKeys(async (rig, keys) => {
      await rig.server.close();
      await rig.lab.unmount();
      const posted: (() => void)[] = [];
      const fs = await rig.lab.mount(undefined, {
        // Writes of others arrive when they like, but before a read that was sent after them.
        device: (device) =>
          new Proxy(device, {
            get: (target, name) => {
              if (name === 'read') for (const land of posted.splice(0)) land();
              const value: unknown = Reflect.get(target, name, target);
              return typeof value === 'function' ? value.bind(target) : value;
            },
          }),
      });
      const server = new MetadataServer(fs, {
        leaseMs,
        courtesyMs: 0,
        clock: rig.clock,
        fencing: { keyOwners: [keys] },
      });
      try {
        const address = await server.listen(`unix:${join(rig.lab.dir, 'posted.sock')}`);
        const client = await RawClient.connect(address);
        const { ino, stateid } = await client.create('a', Buffer.alloc(block, 7));
        const { extents } = await client.layout(ino, stateid, rw, 0, block);
        const at = extents[0]?.[4] ?? 0;
        keys.revoke = async () => {
          posted.push(() => fs.device.write(at, Buffer.alloc(block, 0xee)));
          return true;
        };
        rig.clock.advance(leaseMs);
        await rig.until(
          'the end of the fence',
          () => fs.quarantined().size === 0 && server.status().fences.length === 0,
        );
        expect(posted, 'drained').toEqual([]);
        await client.connection.end();
      } finally {
        await server.close();
      }
    }));
});
