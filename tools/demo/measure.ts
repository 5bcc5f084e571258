/** The closing table: what the direct path does beside a memcpy of the same process, and what leases cost. */
import Table from 'cli-table3';
import type { Checks } from './checks.ts';
import type { Stage } from './stage.ts';

const fileBytes = 64 << 20;
const rounds = 200;

export async function measure(stage: Stage, checks: Checks): Promise<string> {
  checks.begin('measure');
  const peer = await stage.peer();
  const throughput = await peer.ask({ do: 'measure-throughput', path: '/bench', bytes: fileBytes });
  const layoutget = await peer.ask({ do: 'measure-layoutget', path: '/bench', rounds });
  checks.hold(throughput.serverBytes === 0, 'no byte of the direct path was staged through the server');

  // Two peers take the same bytes from each other: each LAYOUTGET makes the server recall the other's layout first.
  const other = await stage.peer();
  const takes: number[] = [];
  for (let i = 0; i < rounds; i++) {
    const taken = await (i % 2 === 0 ? other : peer).ask({ do: 'take', path: '/bench' });
    if (i > 0) takes.push(...(taken.microseconds ?? []));
  }
  await peer.ask({ do: 'close' });
  await other.ask({ do: 'close' });
  checks.done(`${fileBytes >> 20} MiB in 1 MiB pieces, ${rounds} LAYOUTGETs, ${rounds} recalls`);

  const table = new Table({ head: ['measured', 'median', 'maximum'], style: { head: [], border: [] } });
  table.push(
    ['memcpy, same process, 1 MiB pieces', gbps(throughput.memcpyGBps), ''],
    ['direct read from the BAR', gbps(throughput.readGBps), ''],
    ['direct write to the BAR', gbps(throughput.writeGBps), ''],
    ['LAYOUTGET round trip', ...medianAndMaximum(layoutget.microseconds ?? [])],
    ['LAYOUTGET with recall of another client', ...medianAndMaximum(takes)],
    ['bytes staged through the server', String(throughput.serverBytes), ''],
  );
  return table.toString();
}

function gbps(value: number | undefined): string {
  return value === undefined ? '?' : `${value.toFixed(2)} GB/s`;
}

function medianAndMaximum(microseconds: readonly number[]): [string, string] {
  const sorted = microseconds.toSorted((a, b) => a - b);
  return [micros(sorted[Math.floor(sorted.length / 2)]), micros(sorted.at(-1))];
}

function micros(value: number | undefined): string {
  return value === undefined ? '?' : `${value.toFixed(0)} µs`;
}
