import Table from 'cli-table3';
import type { ExtentsResult, FilesResult } from './growth.ts';

/** The first result is of an empty filesystem; the memory of the others counts beyond it. */
export function filesTable(results: readonly FilesResult[]): string {
  const memory = ['mounted', 'a file', 'filled', 'a file', 'walked', 'a file'];
  const table = tableOf(['files', 'mount', 'CPU', 'fill, CPU', ...memory, 'lookup']);
  const empty = results[0];
  for (const result of results) {
    const beyond = (now: number, then = 0): string =>
      result.files === 0 ? '' : ((now - then) / result.files).toFixed(0);
    table.push([
      String(result.files),
      `${result.mountSeconds.toFixed(2)} s`,
      `${result.mountCpuSeconds.toFixed(2)} s`,
      `${result.fillCpuSeconds.toFixed(2)} s`,
      mebibytes(result.mounted),
      beyond(result.mounted, empty?.mounted),
      mebibytes(result.filled),
      beyond(result.filled, empty?.filled),
      mebibytes(result.walked),
      beyond(result.walked, empty?.walked),
      microseconds(result.lookup),
    ]);
  }
  return table.toString();
}

export function extentsTable(results: readonly ExtentsResult[]): string {
  const table = tableOf(['extents', 'random read', 'random overwrite']);
  for (const { extents, read, overwrite } of results) {
    table.push([String(extents), microseconds(read), microseconds(overwrite)]);
  }
  return table.toString();
}

function tableOf(head: string[]) {
  return new Table({ head, colAligns: head.map(() => 'right' as const), style: { head: [], border: [] } });
}

function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(0)} MiB`;
}

/** Processor time. */
function microseconds(seconds: number): string {
  return Number.isNaN(seconds) ? '' : `${(seconds * 1e6).toFixed(1)} µs`;
}
