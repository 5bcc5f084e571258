/** Results as tables. */
import Table from 'cli-table3';
import type { Figure, RowResult } from '../micro.ts';
import type { RmaResult } from '../peers/rma.ts';
import type { SmallFilesResult } from '../peers/small-files.ts';
import type { SyncIoResult } from '../peers/sync-io.ts';
import type { ProgramResult } from '../programs.ts';

/** Operations a second (or GB/s), and below them the processor time of an operation: server + client, in µs. */
export function microTable(results: readonly RowResult[]): string {
  const systems = results[0]?.figures.map(({ system }) => system) ?? [];
  const table = new Table({
    head: ['row', ...systems, 'ratio', 'CPU ratio', 'target'],
    colAligns: ['left', ...systems.map(() => 'right' as const), 'right', 'right', 'right'],
    style: { head: [], border: [] },
  });
  for (const { row, figures, ratio, cpuRatio } of results) {
    const cells = figures.map((figure) => `${speed(figure, row.bytes)}\n${cpu(figure)}`);
    table.push([row.title, ...cells, times(ratio), times(cpuRatio), times(row.target)]);
  }
  return table.toString();
}

function speed({ operationsPerSecond }: Figure, bytes: number | undefined): string {
  if (bytes !== undefined) return `${((operationsPerSecond * bytes) / 1e9).toFixed(2)} GB/s`;
  return operationsPerSecond < 10_000 ? operationsPerSecond.toFixed(0) : `${(operationsPerSecond / 1000).toFixed(1)} k`;
}

function cpu({ serverCpuPerOperation, clientCpuPerOperation }: Figure): string {
  const [server, client] = [serverCpuPerOperation, clientCpuPerOperation].map((s) => (s * 1e6).toFixed(1));
  return `${server} + ${client} µs`;
}

export function times(ratio: number | undefined): string {
  return ratio === undefined ? '' : ratio.toFixed(2);
}

/** Seconds of each program, and in parentheses those of the server on a processor; below them those of the first run. */
export function programsTable(results: readonly ProgramResult[]): string {
  const systems = [...new Set(results.flatMap(({ figures }) => figures.map(({ system }) => system)))];
  const table = new Table({
    head: ['program', ...systems, 'ratio'],
    colAligns: ['left', ...systems.map(() => 'right' as const), 'right'],
    style: { head: [], border: [] },
  });
  for (const { title, figures, ratio, firstRatio } of results) {
    const cells = systems.map((system) => {
      const figure = figures.find((each) => each.system === system);
      return figure === undefined ? 'not run' : `${seconds(figure.later)}\n${seconds(figure.first)}`;
    });
    table.push([`${title}\n  the first time, servers just started`, ...cells, `${times(ratio)}\n${times(firstRatio)}`]);
  }
  return table.toString();
}

function seconds(run: ProgramResult['figures'][number]['first']): string {
  return `${run.seconds.toFixed(2)} s (${run.serverCpuSeconds.toFixed(2)})`;
}

/** Files a second. */
export function rmaTable(results: readonly RmaResult[]): string {
  const table = new Table({
    head: ['provider', 'transfer', 'at once', 'GB/s', 'C, GB/s', 'ratio', 'target'],
    colAligns: ['left', 'left', 'right', 'right', 'right', 'right', 'right'],
    style: { head: [], border: [] },
  });
  for (const { provider, kind, atOnce, ours, c, ratio } of results) {
    table.push([provider, kind, atOnce, (ours / 1e9).toFixed(2), (c / 1e9).toFixed(2), times(ratio), times(0.8)]);
  }
  return table.toString();
}

export function syncIoTable(results: readonly SyncIoResult[]): string {
  const table = new Table({
    head: ['', 'bytes', 'a second', 'peer', 'a second', 'ratio', 'target'],
    colAligns: ['left', 'right', 'right', 'left', 'right', 'right', 'right'],
    style: { head: [], border: [] },
  });
  for (const { kind, bytes, ours, peer, theirs, ratio, target } of results) {
    table.push([kind, bytes, ours.toFixed(0), peer, theirs.toFixed(0), times(ratio), times(target)]);
  }
  return table.toString();
}

export function smallFilesTable(results: readonly SmallFilesResult[]): string {
  const table = new Table({
    head: ['at once', 'library', 'mount', 'ratio', 'target'],
    colAligns: ['right', 'right', 'right', 'right', 'right'],
    style: { head: [], border: [] },
  });
  for (const { atOnce, library, mount, ratio } of results) {
    table.push([atOnce, library.toFixed(0), mount.toFixed(0), times(ratio), times(3)]);
  }
  return table.toString();
}
