/** The rows of the table, in the order in which they are run: later ones find the files that earlier ones left. */
import { accessSync, constants } from 'node:fs';
import { FsError } from '../../fs/errors.ts';

export interface Row {
  /** Run for what it does, not measured: others need it. */
  readonly isSilent?: true;
  /** As workload.c knows it. */
  readonly name: string;
  readonly title: string;
  /** Operations of one run (of each thread): a few tenths of a second. */
  readonly count: number;
  /** Bytes of one operation, where throughput is what one wants to know. */
  readonly bytes?: number;
  /** Ours is to be at least so many times as fast as the best peer. */
  readonly target: number;
  /** Pause before it, in ms. */
  readonly pauseMs?: number;
  /** The kernel's names and inodes are dropped before it. */
  readonly dropsNames?: boolean;
}

const files = 5000;
/** 4 KiB pieces of a file of 64 MiB, 1 MiB pieces of one of 192 MiB. */
const blocks = 16_384;
const pieces = 192;
const mib = 2 ** 20;

/** stat is that of somebody who comes back: when the names of those who have them believed for a second have run out. */
const awayMs = 1100;

/** Servers are told which inodes were dropped, and get this long for it, in ms. */
const droppedMs = 300;

const allRows: readonly Row[] = [
  { name: 'create', title: 'create', count: files, target: 1 },
  { name: 'write-file', title: 'write a 4 KiB file', count: files, target: 1 },
  { name: 'stat', title: 'stat', count: files, target: 1, pauseMs: awayMs },
  { name: 'stat-again', title: 'stat again', count: files, target: 1, pauseMs: awayMs },
  {
    name: 'stat-dropped',
    title: 'stat of names not cached',
    count: files,
    target: 1,
    pauseMs: droppedMs,
    dropsNames: true,
  },
  { name: 'rename', title: 'rename', count: files, target: 1 },
  { name: 'unlink', title: 'unlink', count: files, target: 1 },
  { name: 'readdir', title: 'readdir of 3000', count: 120, target: 1 },
  { name: 'random-write', title: '4 KiB random write', count: blocks, target: 1 },
  { name: 'random-read', title: '4 KiB random read', count: blocks, target: 1 },
  { name: 'random-read-direct', title: '4 KiB random read, O_DIRECT', count: blocks, target: 1 },
  { name: 'write', title: '1 MiB write', count: pieces, bytes: mib, target: 1.5 },
  { name: 'rewrite', title: '1 MiB rewrite', count: pieces, bytes: mib, target: 1.5 },
  { name: 'rewrite-open-rw', title: '1 MiB rewrite, O_RDWR', count: pieces, bytes: mib, target: 1.5 },
  { name: 'read', title: '1 MiB read', count: pieces, bytes: mib, target: 1.5 },
  { name: 'rewrite-direct', title: '1 MiB rewrite, O_DIRECT', count: pieces, bytes: mib, target: 1.5 },
  { name: 'read-direct', title: '1 MiB read, O_DIRECT', count: pieces, bytes: mib, target: 1.5 },
];

/** proc_sys_vm(5) */
export const dropCaches = '/proc/sys/vm/drop_caches';

/** Those that can be measured here: only root may drop names, and not in every container. */
export const rows: readonly Row[] = allRows.filter(({ dropsNames }) => dropsNames !== true || isWritable(dropCaches));

function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** Each thread writes 4 KiB to a file of its own and syncs it: those that wait together share a commit. */
export const syncRows: readonly Row[] = [
  { name: 'fsync-1', title: 'synced 4 KiB writes, 1 thread', count: 200, target: 1 },
  { name: 'fsync-8', title: 'synced 4 KiB writes, 8 threads', count: 100, target: 1 },
  { name: 'fsync-64', title: 'synced 4 KiB writes, 64 threads', count: 40, target: 1 },
];

/** Rows that only work on the files of others. */
const needs: Readonly<Record<string, readonly string[]>> = {
  'write-file': ['create'],
  stat: ['create'],
  'stat-again': ['create', 'stat'],
  'stat-dropped': ['create'],
  rename: ['create'],
  unlink: ['create', 'rename'],
};

/** The rows of these names (a comma between them), and silently those that they need. @throws FsError EINVAL */
export function selectRows(names: string): readonly Row[] {
  const asked = new Set(names.split(','));
  const wanted = new Set<string>();
  for (const name of asked) {
    if (!rows.some((row) => row.name === name)) {
      const known = rows.map((row) => row.name).join(', ');
      throw new FsError('EINVAL', { detail: `no row ${JSON.stringify(name)}; there are ${known}` });
    }
    for (const each of [name, ...(needs[name] ?? [])]) wanted.add(each);
  }
  // Every round begins with no files.
  if (wanted.has('create')) for (const name of ['rename', 'unlink']) wanted.add(name);
  return rows
    .filter((row) => wanted.has(row.name))
    .map((row) => (asked.has(row.name) ? row : { ...row, isSilent: true }));
}
