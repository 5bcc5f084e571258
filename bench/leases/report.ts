import Table from 'cli-table3';
import { times } from '../lib/report.ts';
import type { GrowthResult, PairsResult, RecallResult } from './leases.ts';
import type { TableRow } from './table.ts';

export function pairsTable(results: readonly PairsResult[]): string {
  const table = tableOf([
    'LAYOUTGET + LAYOUTRETURN',
    'iopmemfs',
    'bare echo',
    'ratio',
    'CPU of the server',
    'of the echo',
  ]);
  for (const { title, ours, echo } of results) {
    const ratio = times(ours.pairsPerSecond / echo.pairsPerSecond);
    const rates = [ours, echo].map(({ pairsPerSecond }) => `${(pairsPerSecond / 1000).toFixed(1)} k pairs/s`);
    table.push([title, ...rates, ratio, microseconds(ours.serverCpu), microseconds(echo.serverCpu)]);
  }
  return table.toString();
}

/** The layout table alone, in this process. */
export function layoutTable(rows: readonly TableRow[]): string {
  const table = tableOf(['segments held', 'clients', 'files', 'get, confirm, return', 'bytes of each']);
  for (const { segments, clients, files, pairMicroseconds, bytesPerSegment } of rows) {
    const weight = bytesPerSegment.toFixed(0);
    table.push([String(segments), String(clients), files, `${pairMicroseconds.toFixed(2)} µs`, weight]);
  }
  return table.toString();
}

/** The cost beside that of the least. */
export function growthTable(what: string, results: readonly GrowthResult[]): string {
  const table = tableOf([what, 'pairs/s', 'CPU of a pair', 'beside the least', 'memory of each']);
  const least = Math.min(...results.map(({ rate }) => rate.serverCpu));
  for (const { count, rate, bytesEach } of results) {
    table.push([
      String(count),
      `${(rate.pairsPerSecond / 1000).toFixed(1)} k`,
      microseconds(rate.serverCpu),
      times(rate.serverCpu / least),
      bytesEach === undefined ? '' : `${bytesEach.toFixed(0)} B`,
    ]);
  }
  return table.toString();
}

export function recallsTable(results: readonly RecallResult[]): string {
  const table = tableOf(['recall', 'median', 'most', 'times']);
  for (const { title, median, most, times: count } of results) {
    table.push([title, `${median.toFixed(3)} ms`, `${most.toFixed(3)} ms`, String(count)]);
  }
  return table.toString();
}

function tableOf(head: string[]) {
  const colAligns = head.map((_, column) => (column === 0 ? ('left' as const) : ('right' as const)));
  return new Table({ head, colAligns, style: { head: [], border: [] } });
}

function microseconds(seconds: number): string {
  return `${(seconds * 1e6).toFixed(1)} µs`;
}
