/**
 * Ours beside its peers, an operation at a time. In each round every row is run on every system, one after the other
 * before the next row begins: A B A B, so that a machine that drifts drifts for all of them. The first round does not
 * count: memory is touched and code compiled in it that was not before.
 */
import { writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { FsError } from '../fs/errors.ts';
import type { Place } from './lib/place.ts';
import { dropCaches, type Row } from './lib/rows.ts';
import { median } from './lib/statistics.ts';
import type { Running, System } from './lib/systems.ts';
import type { Sample, Workload } from './lib/workload.ts';

export interface MicroOptions {
  readonly place: Place;
  readonly workload: Workload;
  /** Ours is the first. */
  readonly systems: readonly System[];
  readonly rows: readonly Row[];
  readonly rounds: number;
  /** One: server and client share it. Two: each has one of its own. */
  readonly cores: 1 | 2;
  /** Divides the operations of every row: a try instead of a measurement. */
  readonly divisor: number;
  readonly imageBytes: number;
  /** What the peers sit on. */
  readonly backing: keyof Place;
  readonly progress: (text: string) => void;
}

/** Medians of one system in one row. Seconds of the processor for each operation. */
export interface Figure {
  readonly system: string;
  readonly operationsPerSecond: number;
  readonly serverCpuPerOperation: number;
  readonly clientCpuPerOperation: number;
}

export interface RowResult {
  readonly row: Row;
  readonly figures: readonly Figure[];
  /** Ours to the best peer: in operations a second, and in processor time of server and client. undefined: no peer ran. */
  readonly ratio: number | undefined;
  readonly cpuRatio: number | undefined;
}

/** @throws FsError */
export async function measureMicro(options: MicroOptions): Promise<readonly RowResult[]> {
  const { systems, place, imageBytes } = options;
  const cores = { server: '0', client: options.cores === 1 ? '0' : '1' };
  const running: Running[] = [];
  const samples = new Map<string, Sample[]>();
  try {
    for (const system of systems) {
      running.push(await system.start({ place, cores: cores.server, backing: place[options.backing], imageBytes }));
    }
    for (let round = 0; round <= options.rounds; round++) {
      for (const row of options.rows) {
        options.progress(`${options.cores} core(s), round ${round} of ${options.rounds}: ${row.title}`);
        if (row.dropsNames === true) await writeFile(dropCaches, '2'); // names and inodes that nobody uses
        if (row.pauseMs !== undefined) await sleep(row.pauseMs);
        for (const { name, directory, serverPid } of running) {
          const count = Math.max(1, Math.floor(row.count / options.divisor));
          const run = { row: row.name, directory, count, serverPid, cores: cores.client };
          const sample = await options.workload.run(run);
          if (sample.operations % count !== 0) throw new FsError('EPROTO', { op: row.name, detail: 'another count' });
          if (round === 0 || row.isSilent === true) continue;
          const key = keyOf(row, name);
          samples.set(key, [...(samples.get(key) ?? []), sample]);
        }
      }
    }
  } finally {
    for (const each of running.toReversed()) await each.stop();
  }
  return options.rows
    .filter(({ isSilent }) => isSilent !== true)
    .map((row) =>
      resultOf(
        row,
        systems.map(({ name }) => figureOf(name, samples.get(keyOf(row, name)) ?? [])),
      ),
    );
}

const keyOf = (row: Row, system: string): string => `${row.name} ${system}`;

function figureOf(system: string, samples: readonly Sample[]): Figure {
  return {
    system,
    operationsPerSecond: median(samples.map(({ operations, elapsed }) => operations / elapsed)),
    serverCpuPerOperation: median(samples.map(({ operations, serverCpu }) => serverCpu / operations)),
    clientCpuPerOperation: median(samples.map(({ operations, clientCpu }) => clientCpu / operations)),
  };
}

/** What has no server is the limit, not a peer. */
function resultOf(row: Row, figures: readonly Figure[]): RowResult {
  const [ours, ...others] = figures;
  const peers = others.filter(({ serverCpuPerOperation }) => serverCpuPerOperation > 0);
  if (ours === undefined || peers.length === 0) return { row, figures, ratio: undefined, cpuRatio: undefined };
  const cpu = (figure: Figure): number => figure.serverCpuPerOperation + figure.clientCpuPerOperation;
  return {
    row,
    figures,
    ratio: ours.operationsPerSecond / Math.max(...peers.map((peer) => peer.operationsPerSecond)),
    cpuRatio: Math.min(...peers.map(cpu)) / cpu(ours),
  };
}
