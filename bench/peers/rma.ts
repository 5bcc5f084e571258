/**
 * One-sided reads and writes of 1 MiB: our engine and target process, and a C program that does nothing else
 * (bench/peers/rma.c), by turns on the same machine.
 */
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { RmaEngine, type RmaSession } from '../../client/dma/rma.ts';
import { FsError } from '../../fs/errors.ts';
import { type ProviderName, providers } from '../../fs/fabric/providers.ts';
import { iomode } from '../../layout/types.ts';
import { systemClock } from '../../mds/clock.ts';
import { silent } from '../../mds/log.ts';
import { operations } from '../../mds/protocol/index.ts';
import { RmaKeys } from '../../mds/rma/keys.ts';
import { TargetProcess } from '../../mds/rma/target-process.ts';
import { command } from '../lib/command.ts';
import type { Place } from '../lib/place.ts';
import { median } from '../lib/statistics.ts';

export interface RmaOptions {
  readonly place: Place;
  readonly transfers: number;
  readonly rounds: number;
  readonly progress: (text: string) => void;
}

/** Bytes a second, medians. */
export interface RmaResult {
  readonly provider: ProviderName;
  readonly kind: Kind;
  /** Transfers under way at once. */
  readonly atOnce: number;
  readonly ours: number;
  readonly c: number;
  readonly ratio: number;
}

type Kind = 'write' | 'read';
type Rates = Readonly<Record<Kind, number>>;

const host = '127.0.0.1';
const transferBytes = 2 ** 20;
const memoryBytes = 64 * 2 ** 20;
/** From dist/bench/peers to bench/peers/. */
const source = fileURLToPath(new URL('../../../bench/peers/rma.c', import.meta.url));

/** @throws FsError EIO: no compiler, no libfabric-dev, or no such provider */
export async function measureRma(options: RmaOptions): Promise<readonly RmaResult[]> {
  const { place, transfers, rounds, progress } = options;
  const program = join(place.memory, 'rma');
  await command('gcc', ['-O2', '-Wall', '-o', program, source, '-lfabric']);
  const results: RmaResult[] = [];
  for (const provider of ['tcp', 'shm'] as const) {
    for (const atOnce of [1, 4]) {
      const [ours, theirs]: [Rates[], Rates[]] = [[], []];
      for (let round = 0; round < rounds; round++) {
        progress(`${provider}, ${atOnce} at once, round ${round + 1} of ${rounds}`);
        theirs.push(await byProgram(program, provider, transfers, atOnce));
        ours.push(await byEngine(place, provider, transfers, atOnce));
      }
      for (const kind of ['write', 'read'] as const) {
        const [fast, c] = [ours, theirs].map((rates) => median(rates.map((rate) => rate[kind])));
        if (fast !== undefined && c !== undefined)
          results.push({ provider, kind, atOnce, ours: fast, c, ratio: fast / c });
      }
    }
  }
  return results;
}

async function byProgram(program: string, provider: ProviderName, transfers: number, atOnce: number): Promise<Rates> {
  const args = [providers[provider], host, String(transfers), String(transferBytes), String(atOnce)];
  const output = await command(program, args);
  const rate = (kind: Kind): number => {
    const seconds = Number(new RegExp(`^${kind} ([\\d.]+)$`, 'm').exec(output)?.[1]);
    return (transfers * transferBytes) / seconds;
  };
  return { write: rate('write'), read: rate('read') };
}

async function byEngine(place: Place, provider: ProviderName, transfers: number, atOnce: number): Promise<Rates> {
  const image = join(place.memory, 'rma-image');
  const file = await open(image, 'w');
  await file.writeFile(Buffer.alloc(memoryBytes));
  await file.close();
  const device = { path: image, accessWidth: 1, writable: true } as const;
  const keys = new RmaKeys({
    providers: [provider],
    start: () => TargetProcess.start(device, systemClock, silent),
    now: () => systemClock.now(),
  });
  const engine = new RmaEngine(sessionOver(keys), { size: memoryBytes, writable: true, providers: [provider] });
  try {
    await engine.prepare([{ ino: 1, offset: 0, length: memoryBytes, storageOffset: 0, writable: true }]);
    const rates = { write: 0, read: 0 };
    for (const kind of ['write', 'read'] as const) {
      await moved(engine, kind, atOnce, atOnce); // connected, memory touched
      const seconds = await moved(engine, kind, transfers, atOnce);
      rates[kind] = (transfers * transferBytes) / seconds;
    }
    return rates;
  } finally {
    await engine.close();
    await keys.shutDown();
  }
}

/** Seconds that it took. */
async function moved(engine: RmaEngine, kind: Kind, transfers: number, atOnce: number): Promise<number> {
  let next = 0;
  const begin = performance.now();
  const one = async (): Promise<void> => {
    const buffer = Buffer.alloc(transferBytes, 7);
    while (next < transfers) {
      const at = (next++ % (memoryBytes / transferBytes)) * transferBytes;
      await engine[kind](at, buffer);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, one));
  return (performance.now() - begin) / 1000;
}

/** The keys of the server without its layouts, which have no part in what is measured. */
function sessionOver(keys: RmaKeys): RmaSession {
  const { RMA_ATTACH, RMA_REGISTER, RMA_RELEASE } = operations;
  const client = 1;
  const results = async (args: unknown): Promise<unknown> => {
    if (RMA_ATTACH.isRequest(args)) return [await keys.attach(client, args[0], host, args[1])];
    if (RMA_REGISTER.isRequest(args)) {
      const pieces = args[1].map(([offset, length, storageOffset, writable]) => {
        return { ino: args[0], offset, length, storageOffset, writable, iomode: iomode.rw };
      });
      const opened = await keys.register(
        client,
        async () => pieces,
        () => true,
      );
      return [opened.map((each) => [each.offset, each.length, each.storageOffset, each.writable, each.key, each.base])];
    }
    if (RMA_RELEASE.isRequest(args)) await keys.release(client);
    return [];
  };
  return {
    call: async (operation, args) => {
      const answer = await results(args);
      if (operation.isReply(answer)) return answer;
      throw new FsError('EIO', { op: operation.name, detail: 'not an answer of the protocol' });
    },
  };
}
