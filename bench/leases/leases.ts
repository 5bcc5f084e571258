/** What leasing costs the server: pairs of LAYOUTGET and LAYOUTRETURN, more segments, more clients, recalls. */
import { operations } from '../../mds/protocol/ops.ts';
import type { Place } from '../lib/place.ts';
import { median } from '../lib/statistics.ts';
import { isState, type Opened, Peer, Wire, type WireState } from './peer.ts';
import { type Program, withEcho, withServer } from './place.ts';
import { getAndReturn, type Rate, type Target } from './rounds.ts';

export interface LeasesOptions {
  readonly place: Place;
  readonly rounds: number;
  /** Of the server; the clients, all in this process, run where it was started. */
  readonly serverCore: string;
  readonly divisor: number;
  readonly progress: (text: string) => void;
}

export interface PairsResult {
  readonly title: string;
  readonly ours: Rate;
  readonly echo: Rate;
}

export interface GrowthResult {
  readonly count: number;
  readonly rate: Rate;
  /** Bytes of the server's heap for each segment; undefined where too few to tell. */
  readonly bytesEach: number | undefined;
}

export interface RecallResult {
  readonly title: string;
  /** Milliseconds. */
  readonly median: number;
  readonly most: number;
  readonly times: number;
}

const bs = 4096;
/** As many requests under way as a session has slots. */
const depth = 32;
const fileBytes = 2 ** 20;

export function pairs(options: LeasesOptions): Promise<readonly PairsResult[]> {
  const { place, serverCore } = options;
  return withServer(place, serverCore, depth, fileBytes, (server) =>
    withEcho(place, serverCore, (echo) => measurePairs(options, server, echo)),
  );
}

async function measurePairs(options: LeasesOptions, server: Program, echo: Program): Promise<readonly PairsResult[]> {
  const peer = await Peer.join(await Wire.open(server.socket), 'pairs');
  const echoed = Peer.pretend(await Wire.open(echo.socket));
  const files: Opened[] = [];
  for (let i = 0; i < depth; i++) files.push(await peer.open(`f${i}`));
  const results: PairsResult[] = [];
  for (const [title, iomode, slots] of [
    ['READ, 32 under way', 1, depth],
    ['RW, 32 under way', 2, depth],
    ['READ, one after the other', 1, 1],
  ] as const) {
    const targets = (by: Peer): Target[] =>
      files
        .slice(0, slots)
        .map((file, slot) => ({ peer: by, slot, file, held: undefined, iomode, offset: 0, length: fileBytes }));
    const count = Math.ceil((slots === 1 ? 20_000 : 100_000) / options.divisor);
    const [ours, bare]: [Rate[], Rate[]] = [[], []];
    for (let round = 0; round <= options.rounds; round++) {
      options.progress(`${title}: ${round}`);
      const rates = [
        await getAndReturn(targets(peer), count, server.pid),
        await getAndReturn(targets(echoed), count, echo.pid),
      ] as const;
      // In the first one both compile.
      if (round === 0) continue;
      ours.push(rates[0]);
      bare.push(rates[1]);
    }
    results.push({ title, ours: middle(ours), echo: middle(bare) });
  }
  peer.wire.close();
  echoed.wire.close();
  return results;
}

/** Segments of one block each, every second one of a file, for reading; those of a file belong to one client. */
export function growthOfSegments(options: LeasesOptions, count: number): Promise<GrowthResult> {
  const perFile = 32_768;
  const files = Math.ceil(count / perFile);
  return withServer(options.place, options.serverCore, files, 0, async (server) => {
    const wire = await Wire.open(server.socket);
    const holders: Holder[] = [];
    for (let i = 0; i < files; i++) {
      const peer = await Peer.join(wire, `holder-${i}`);
      const file = await peer.open(`f${i}`);
      const size = 2 * perFile * bs;
      await peer.call(operations.SETATTR, [file.ino, file.stateid, [null, null, null, size, null, null]]);
      holders.push({ peer, file });
    }
    const before = await server.memory();
    for (const [i, holder] of holders.entries()) {
      options.progress(`${count} segments: held on ${i} of ${files} files`);
      await holdEverySecond(holder, Math.min(perFile, count - i * perFile));
    }
    const bytesEach = count < enoughToTell ? undefined : ((await server.memory()) - before) / count;
    const workers = await workersOn(wire, files, (slot) => ({
      offset: 2 * Math.floor((slot * Math.min(perFile, count)) / depth) * bs,
      length: bs,
    }));
    const rate = await medianOf(options, `${count} segments`, workers, server);
    wire.close();
    return { count, rate, bytesEach };
  });
}

/** Clients with a session each, of which each holds a file for reading, together with others. */
export function growthOfClients(options: LeasesOptions, count: number): Promise<GrowthResult> {
  const files = 64;
  return withServer(options.place, options.serverCore, files, fileBytes, async (server) => {
    const wire = await Wire.open(server.socket);
    const before = await server.memory();
    for (let i = 0; i < count; i++) {
      if (i % 100 === 0) options.progress(`${count} clients: ${i}`);
      const peer = await Peer.join(wire, `client-${i}`);
      await hold(peer, await peer.open(`f${i % files}`), 1);
    }
    const bytesEach = count < enoughToTell ? undefined : ((await server.memory()) - before) / count;
    const workers = await workersOn(wire, files, () => ({ offset: 0, length: fileBytes }));
    const rate = await medianOf(options, `${count} clients`, workers, server);
    wire.close();
    return { count, rate, bytesEach };
  });
}

/**
 * Two clients that take one file from each other: how long a LAYOUTGET takes for which another client has to return first, and
 * a bare round trip beside it.
 */
export function recallOfOne(options: LeasesOptions): Promise<readonly RecallResult[]> {
  const { place, serverCore } = options;
  const count = Math.ceil(2000 / options.divisor);
  return withServer(place, serverCore, 1, fileBytes, (server) =>
    withEcho(place, serverCore, async (echo) => {
      const pair: [Returning, Returning] = [await Returning.join(server, 'a'), await Returning.join(server, 'b')];
      const echoed = Peer.pretend(await Wire.open(echo.socket));
      const file: Opened = { ino: 1, stateid: [1, Buffer.alloc(12)] };
      const [taken, bare]: [number[], number[]] = [[], []];
      for (let i = 0; i < count * 2; i++) {
        options.progress(`recalls: ${i}`);
        const [by] = i % 2 === 0 ? pair : [pair[1]];
        const [ms, echoMs] = [await timed(() => by.get(2)), await timed(() => hold(echoed, file, 1))];
        // In the first half all compile.
        if (i < count) continue;
        taken.push(ms);
        bare.push(echoMs);
      }
      for (const each of pair) each.peer.wire.close();
      echoed.wire.close();
      return [
        recallResult('LAYOUTGET that takes the file from another client', taken),
        recallResult('bare echo', bare),
      ];
    }),
  );
}

/** A truncate that has to wait for many readers of the file, each with a connection of its own. */
export function recallOfMany(options: LeasesOptions, holders: number): Promise<RecallResult> {
  return withServer(options.place, options.serverCore, 1, fileBytes, async (server) => {
    const all: Returning[] = [];
    for (let i = 0; i < holders; i++) {
      if (i % 100 === 0) options.progress(`${holders} holders: ${i}`);
      all.push(await Returning.join(server, `holder-${i}`));
    }
    const administrator = await Peer.join(await Wire.open(server.socket), 'truncates');
    const file = await administrator.open('f0');
    const times: number[] = [];
    for (let round = 0; round <= options.rounds; round++) {
      options.progress(`${holders} holders: recalled, ${round}`);
      await administrator.call(operations.SETATTR, [file.ino, null, [null, null, null, fileBytes, null, null]]);
      for (const holder of all) await holder.get(1);
      const ms = await timed(() =>
        administrator.call(operations.SETATTR, [file.ino, null, [null, null, null, 0, null, null]]),
      );
      if (round > 0) times.push(ms);
    }
    for (const { peer } of [...all, { peer: administrator }]) peer.wire.close();
    return recallResult(`a truncate that recalls ${holders} readers`, times);
  });
}

/** What fewer than this would show is noise. */
const enoughToTell = 10_000;

interface Holder {
  readonly peer: Peer;
  readonly file: Opened;
}

/** A client with a connection of its own, which returns what it is asked for at once. */
class Returning {
  readonly peer: Peer;
  readonly #file: Opened;

  private constructor(peer: Peer, file: Opened) {
    this.peer = peer;
    this.#file = file;
    peer.wire.onRecall = ({ ino, stateid }) => {
      // Beside whatever waits on slot 0.
      peer.send(operations.LAYOUTRETURN, [1, ino, stateid, 3, 0, fileBytes, false], 1, () => {});
    };
  }

  static async join(server: Program, owner: string): Promise<Returning> {
    const peer = await Peer.join(await Wire.open(server.socket), owner);
    return new Returning(peer, await peer.open('f0'));
  }

  /** Asks for the whole file, with an open: what it held before it has returned. */
  get(iomode: 1 | 2): Promise<WireState> {
    return hold(this.peer, this.#file, iomode);
  }
}

async function hold(peer: Peer, { ino, stateid }: Opened, iomode: 1 | 2): Promise<WireState> {
  const [state] = await peer.call(operations.LAYOUTGET, [ino, stateid, iomode, 0, fileBytes, 1, 64, false]);
  if (!isState(state)) throw new TypeError('no layout');
  return state;
}

async function holdEverySecond({ peer, file }: Holder, count: number): Promise<void> {
  const first = await peer.call(operations.LAYOUTGET, [file.ino, file.stateid, 1, 0, bs, bs, 64, false]);
  const state = first[0];
  if (!isState(state)) throw new TypeError('no layout');
  let next = 1;
  await Promise.all(
    Array.from({ length: depth }, (_, slot) => async () => {
      while (next < count) {
        const offset = 2 * next++ * bs;
        await peer.call(operations.LAYOUTGET, [file.ino, state, 1, offset, bs, bs, 64, false], slot);
      }
    }).map((work) => work()),
  );
}

/** Clients that will get and return beside what is held, each on a file of `files`. */
async function workersOn(
  wire: Wire,
  files: number,
  rangeOf: (index: number) => { readonly offset: number; readonly length: number },
): Promise<readonly Target[]> {
  const targets: Target[] = [];
  for (let index = 0; index < depth; index++) {
    const peer = await Peer.join(wire, `worker-${index}`);
    const file = await peer.open(`f${index % files}`);
    targets.push({ peer, slot: 0, file, held: undefined, iomode: 1, ...rangeOf(index) });
  }
  return targets;
}

async function medianOf(
  options: LeasesOptions,
  title: string,
  targets: readonly Target[],
  server: Program,
): Promise<Rate> {
  const rates: Rate[] = [];
  for (let round = 0; round <= options.rounds; round++) {
    options.progress(`${title}: ${round}`);
    const rate = await getAndReturn(targets, Math.ceil(50_000 / options.divisor), server.pid);
    if (round > 0) rates.push(rate);
  }
  return middle(rates);
}

function middle(rates: readonly Rate[]): Rate {
  return {
    pairsPerSecond: median(rates.map((rate) => rate.pairsPerSecond)),
    serverCpu: median(rates.map((rate) => rate.serverCpu)),
  };
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}

function recallResult(title: string, times: readonly number[]): RecallResult {
  return { title, median: median(times), most: Math.max(...times), times: times.length };
}
