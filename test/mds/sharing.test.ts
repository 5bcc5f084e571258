/**
 * Many clients on one file, each returning what is asked back, in an order that a seed decides. The file is cloned
 * meanwhile, and whoever may write does.
 */
import { fc } from '@fast-check/vitest';
import { expect, test } from 'vitest';
import { extentState } from '../../fs/engine/leases.ts';
import { stateIdFromWire, stateIdToWire } from '../../mds/protocol/fields.ts';
import { operations } from '../../mds/protocol/ops.ts';
import type { StatusName } from '../../mds/protocol/status.ts';
import { CallFailed, type RawClient, type Recall } from './raw-client.ts';
import { Rig } from './rig.ts';

const rw = 2;
const block = 4096;
const blocks = 8;

/** Who may touch which block now, as the clients themselves believe: from the reply to a get until a return is sent. */
class Truth {
  readonly #holders = Array.from({ length: blocks }, () => new Map<number, number>());

  granted(
    client: number,
    iomode: number,
    offset: number,
    length: number,
    except: readonly (readonly [offset: number, length: number])[],
  ): void {
    for (let at = offset / block; at < Math.min((offset + length) / block, blocks); at++) {
      if (except.some(([from, count]) => at * block >= from && at * block < from + count)) continue;
      const holders = this.#holders[at];
      holders?.set(client, Math.max(iomode, holders.get(client) ?? 0));
      const writers = [...(holders?.values() ?? [])].filter((mode) => mode === 2).length;
      expect(writers === 0 || holders?.size === 1, `block ${at} has a writer and others`).toBe(true);
    }
  }

  returned(client: number, offset: number, length: number): void {
    for (let at = Math.floor(offset / block); at < Math.min((offset + length) / block, blocks); at++) {
      this.#holders[at]?.delete(client);
    }
  }
}

interface Step {
  readonly who: number;
  readonly act: 'read' | 'write' | 'commit' | 'return' | 'store' | 'cut' | 'clone';
  readonly from: number;
  readonly count: number;
}

const step: fc.Arbitrary<Step> = fc.record({
  who: fc.nat(2),
  act: fc.constantFrom('read', 'read', 'write', 'write', 'write', 'commit', 'return', 'store', 'cut', 'clone', 'clone'),
  from: fc.nat(blocks - 1),
  count: fc.integer({ min: 1, max: blocks }),
});

/** Clones of the file, with what each held when it was made. */
class Clones {
  readonly #content = new Map<number, Buffer>();

  async make(client: RawClient, ino: number): Promise<void> {
    const name = Buffer.from(`${ino} by ${client.id}, ${this.#content.size}`);
    const [{ 0: clone }] = await client.call(operations.CLONE, [ino, client.rootIno, name]);
    this.#content.set(clone, await contentOf(client, clone));
  }

  async requireUnchanged(client: RawClient): Promise<void> {
    for (const [clone, content] of this.#content) {
      expect((await contentOf(client, clone)).equals(content), `clone ${clone}`).toBe(true);
    }
  }
}

async function contentOf(client: RawClient, ino: number): Promise<Buffer> {
  const stateid = await client.open(ino, 1);
  const [data] = await client.call(operations.READ, [stateid, 0, blocks * block]);
  await client.call(operations.CLOSE, [stateid]);
  return Buffer.from(data);
}

class Peer {
  readonly client: RawClient;
  readonly #rig: Rig;
  readonly #clones: Clones;
  readonly #truth: Truth;
  readonly #ino: number;
  /** What it wrote and may commit, as far as it knows. */
  #written: (readonly [offset: number, length: number])[] = [];
  readonly #open: Awaited<ReturnType<RawClient['open']>>;
  #layout: string | undefined;
  #seqid = 0;
  #slot = 0;
  #getting = false;
  readonly #returning: Promise<void>[] = [];
  /** Returned while a get was under way: whichever came first at the server, it is not held. */
  #crossing: (readonly [offset: number, length: number])[] = [];

  constructor(
    rig: Rig,
    client: RawClient,
    ino: number,
    open: Awaited<ReturnType<RawClient['open']>>,
    truth: Truth,
    clones: Clones,
  ) {
    this.#rig = rig;
    this.#clones = clones;
    this.client = client;
    this.#ino = ino;
    this.#open = open;
    this.#truth = truth;
    client.connection.onRecall = (recall) => this.#recalled(recall);
  }

  /** One request at a time, but for the returns, which have slots of their own. */
  async act({ act, from, count }: Step): Promise<void> {
    const offset = from * block;
    const length = Math.min(count, blocks - from) * block;
    if (act === 'read') return this.#get(1, offset, length);
    if (act === 'write') return this.#get(2, offset, length);
    if (act === 'commit') return this.#commit();
    if (act === 'return') return this.giveBack(offset, length);
    if (act === 'clone') return this.#clones.make(this.client, this.#ino);
    if (act === 'store') {
      await this.client.call(operations.WRITE, [this.#open, offset, 0, Buffer.alloc(length, this.client.id)]);
      return undefined;
    }
    await this.client.call(operations.SETATTR, [this.#ino, null, [null, null, null, offset + length, null, null]]);
    return undefined;
  }

  /** docs/protocol.md §8: what the client cannot have seen yet waits for a reply under way. */
  #recalled([stateid, , , offset, length]: Recall): StatusName {
    const { seqid, other } = stateIdFromWire(stateid);
    if (other !== this.#layout) return this.#getting ? 'DELAY' : 'NOMATCHING_LAYOUT';
    if (seqid > this.#seqid + 1) return 'DELAY';
    this.#seqid = Math.max(this.#seqid, seqid);
    this.#returning.push(this.giveBack(offset, length));
    return 'OK';
  }

  async #get(iomode: number, offset: number, length: number): Promise<void> {
    const stateid =
      this.#layout === undefined ? this.#open : stateIdToWire({ seqid: this.#seqid, other: this.#layout });
    this.#getting = true;
    this.#crossing = [];
    try {
      const [wire, segment, extents] = await this.client.call(operations.LAYOUTGET, [
        this.#ino,
        stateid,
        iomode,
        offset,
        length,
        1,
        4096,
        false,
      ]);
      const got = stateIdFromWire(wire);
      this.#seqid = got.other === this.#layout ? Math.max(this.#seqid, got.seqid) : got.seqid;
      this.#layout = got.other;
      this.#truth.granted(this.client.id, ...segment, this.#crossing);
      for (const [state, at, bytes, , storage] of extents) {
        const isGone = this.#crossing.some(([from, count]) => from < at + bytes && at < from + count);
        if (iomode !== rw || state === extentState.read || isGone) continue;
        this.#rig.lab.fs.device.write(storage, Buffer.alloc(bytes, this.client.id));
        this.#written.push([at, bytes]);
      }
    } catch (error) {
      const legal = ['LAYOUTTRYLATER', 'RECALLCONFLICT', 'BADLAYOUT', 'BAD_STATEID', 'DELAY'];
      if (!(error instanceof CallFailed) || !legal.includes(error.status)) throw error;
      if (error.status === 'BAD_STATEID') this.#layout = undefined;
    } finally {
      this.#getting = false;
    }
  }

  /** Whatever of it has not been given back meanwhile. */
  async #commit(): Promise<void> {
    const ranges = this.#written.map(([offset, length]): [number, number] => [offset, length]);
    if (this.#layout === undefined || ranges.length === 0) return;
    const stateid = stateIdToWire({ seqid: this.#seqid, other: this.#layout });
    const status = await this.client.statusOf(operations.LAYOUTCOMMIT, [this.#ino, stateid, ranges, null, null, null]);
    expect(['OK', 'BADLAYOUT', 'BADIOMODE', 'BAD_STATEID', 'OLD_STATEID']).toContain(status);
  }

  async settled(): Promise<void> {
    await Promise.all(this.#returning);
  }

  async giveBack(offset: number, length: number): Promise<void> {
    if (this.#layout === undefined) return;
    const state = this.#layout;
    this.#truth.returned(this.client.id, offset, length);
    this.#crossing.push([offset, length]);
    this.#written = this.#written.filter(([at, bytes]) => at + bytes <= offset || offset + length <= at);
    this.#slot = 1 + (this.#slot % 7);
    const stateid = stateIdToWire({ seqid: this.#seqid, other: state });
    try {
      const [left] = await this.client.call(
        operations.LAYOUTRETURN,
        [1, this.#ino, stateid, 3, offset, length, false],
        this.#slot,
      );
      if (left === null && this.#layout === state) this.#layout = undefined;
      else if (left !== null) this.#seqid = Math.max(this.#seqid, left[0]);
    } catch (error) {
      if (!(error instanceof CallFailed) || error.status !== 'BAD_STATEID') throw error;
    }
  }
}

async function play(rig: Rig, round: number, steps: readonly Step[]): Promise<void> {
  const [truth, clones] = [new Truth(), new Clones()];
  const clients = await Promise.all([0, 1, 2].map((peer) => rig.client({ owner: `${round}-${peer}` })));
  const [first] = clients;
  if (first === undefined) return;
  const { ino } = await first.create(`file ${round}`, Buffer.alloc(blocks * block));
  const peers = await Promise.all(
    clients.map(async (client) => new Peer(rig, client, ino, await client.open(ino), truth, clones)),
  );
  await Promise.all(
    peers.map(async (peer, index) => {
      for (const each of steps.filter(({ who }) => who === index)) await peer.act(each);
      await peer.giveBack(0, Infinity);
    }),
  );
  await rig.until('all layouts to be back', () => rig.server.status().layouts.every((layout) => layout.ino !== ino));
  for (const peer of peers) await peer.settled();
  await clones.requireUnchanged(first);
  for (const client of clients) await client.connection.end();
}

test('no block has a writer and anybody else, and nothing is left over', async () => {
  const seed = Number(process.env.SEED ?? Date.now() % 2 ** 31);
  console.log(`SEED=${seed}`);
  const rig = await Rig.start({ leaseMs: 3_600_000 });
  const ticking = setInterval(() => rig.clock.advance(100), 2);
  try {
    let round = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), (steps) => play(rig, ++round, steps)),
      { numRuns: 40, endOnFailure: true, seed },
    );
    expect(rig.lab.fs.status().blocks).toMatchObject({ provisional: 0, quarantined: 0 });
    expect(rig.server.status().counters.layoutsRevoked).toBe(0);
  } finally {
    clearInterval(ticking);
    await rig.stop();
  }
});
