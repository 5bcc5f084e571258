/**
 * What one LAYOUTGET and LAYOUTRETURN cost in the table alone (no wire, no filesystem), and what a segment weighs, with more and
 * more of both outstanding.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Layouts } from '../../layout/layouts.ts';
import type { StateId } from '../../layout/types.ts';
import { otherSource } from '../../mds/stateids.ts';

export interface TableRow {
  readonly segments: number;
  readonly clients: number;
  /** One segment in each file, or all in one. */
  readonly files: 'each' | 'one';
  /** Of a get, its confirmation and the return, on a file of its own. */
  readonly pairMicroseconds: number;
  readonly bytesPerSegment: number;
}

/** V8's collector, whatever this program was started with. */
const collect = collector();
const bytes = 4096;
const pairs = 100_000;
const probed = Number.MAX_SAFE_INTEGER;

export function tableRows(most = 1_000_000): TableRow[] {
  const rows: TableRow[] = [];
  for (let segments = 100; segments <= most; segments *= 100) {
    rows.push(row(segments, 1, 'each'), row(segments, Math.min(segments, 10_000), 'each'), row(segments, 1, 'one'));
  }
  return rows;
}

function row(segments: number, clients: number, files: TableRow['files']): TableRow {
  const before = heapBytes();
  const table = new Layouts({
    recallDeadlineMs: 90_000,
    newOther: otherSource(),
    segmentsPerClientMax: Infinity,
    segmentsHighMark: Infinity,
    segmentsMax: Infinity,
  });
  for (let n = 0; n < segments; n++) {
    const isOne = files === 'one';
    grant(table, 1 + (n % clients), isOne ? 1 : n + 1, isOne ? 2 * n * bytes : 0);
  }
  const after = heapBytes();
  for (let n = 0; n < pairs / 5; n++) pair(table);
  const begun = performance.now();
  for (let n = 0; n < pairs; n++) pair(table);
  const pairMicroseconds = ((performance.now() - begun) / pairs) * 1000;
  return { segments, clients, files, pairMicroseconds, bytesPerSegment: (after - before) / segments };
}

function pair(table: Layouts): void {
  const stateid = grant(table, 1, probed, 0);
  table.return(0, { client: 1, ino: probed, iomode: 3, offset: 0, length: bytes, stateid });
}

let last: StateId | undefined;

/** Neighbours would become one segment, so there is a gap between any two of a file. */
function grant(table: Layouts, client: number, ino: number, offset: number) {
  const stateid = offset === 0 ? undefined : last;
  const got = table.get(0, { client, ino, iomode: 2, offset, length: bytes, minlength: bytes, stateid });
  if (got.kind !== 'reserved') throw new Error(`a get ended as ${got.kind}`);
  const confirmed = table.confirm(0, got.grant);
  if (confirmed.kind !== 'granted') throw new Error('a grant was recalled');
  last = confirmed.stateid;
  return last;
}

function heapBytes(): number {
  collect();
  return process.memoryUsage().heapUsed;
}

function collector(): () => void {
  setFlagsFromString('--expose-gc');
  const gc: unknown = runInNewContext('gc');
  if (typeof gc !== 'function') throw new Error('no collector');
  return () => void Reflect.apply(gc, undefined, []);
}
