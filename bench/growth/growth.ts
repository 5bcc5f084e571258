/** What more files, and more extents in a file, cost: each size on a filesystem of its own. */
import { writeFile } from 'node:fs/promises';
import type { Place } from '../lib/place.ts';
import { dropCaches } from '../lib/rows.ts';
import { median } from '../lib/statistics.ts';
import type { Workload } from '../lib/workload.ts';
import { mountMade } from './daemon.ts';
import { makeFilesystem, manyExtents, manyFiles } from './populate.ts';

export interface GrowthOptions {
  readonly place: Place;
  readonly workload: Workload;
  readonly rounds: number;
  /** Of the daemon and of the client, for taskset(1). */
  readonly cores: string;
  readonly progress: (text: string) => void;
}

export interface FilesResult {
  readonly files: number;
  readonly mountSeconds: number;
  readonly mountCpuSeconds: number;
  /** Processor seconds until the daemon, which reads names and inodes into memory after the mount, rests. */
  readonly fillCpuSeconds: number;
  /** Resident bytes of the daemon: when mounted, when it rests, and after a walk over all files. */
  readonly mounted: number;
  readonly filled: number;
  readonly walked: number;
  /** Processor seconds of the daemon for the lookup of a name, when it rests. */
  readonly lookup: number;
}

export interface ExtentsResult {
  readonly extents: number;
  /** Processor seconds of the daemon for 4 KiB at a random place. */
  readonly read: number;
  readonly overwrite: number;
}

const mib = 2 ** 20;
const bs = 4096;
/** Files that are looked up, at random among all. */
const lookups = 10_000;
/** 4 KiB each: as many as the most extents. */
const blocks = 100_000;

export async function growthOfFiles(options: GrowthOptions, files: number): Promise<FilesResult> {
  const { place, progress } = options;
  progress(`${files} files: made`);
  const made = await makeFilesystem(place, 64 * mib + 2 * files * bs, (fs) => manyFiles(fs, files));
  progress(`${files} files: mounted`);
  const daemon = await mountMade(place, made, options.cores);
  try {
    const mounted = await daemon.resident();
    progress(`${files} files: names and inodes come into memory`);
    const fillCpuSeconds = await daemon.rest();
    const filled = await daemon.resident();
    const count = Math.min(files, lookups);
    const run = (row: string) => measure(options, row, daemon.mountPoint, count, daemon.pid);
    const lookup: number[] = [];
    // As many rounds as it takes to look up as many names; the first does not count, it compiles.
    const rounds = files === 0 ? -1 : options.rounds * Math.ceil(lookups / count);
    for (let round = 0; round <= rounds; round++) {
      progress(`${files} files: lookups, ${round}`);
      // What the kernel knows it does not ask for.
      await writeFile(dropCaches, '2');
      const cost = await run(`tree-stat-${files}-${round}`);
      if (round > 0) lookup.push(cost);
    }
    progress(`${files} files: walk`);
    if (files > 0) await run(`tree-walk-${files}`);
    const { mountSeconds, mountCpuSeconds } = daemon;
    const walked = await daemon.resident();
    return {
      files,
      mountSeconds,
      mountCpuSeconds,
      fillCpuSeconds,
      mounted,
      filled,
      walked,
      lookup: median(lookup),
    };
  } finally {
    await daemon.stop();
    await made.remove();
  }
}

export async function growthOfExtents(options: GrowthOptions, extents: number): Promise<ExtentsResult> {
  const { place, progress } = options;
  progress(`${extents} extents: made`);
  const bytes = 64 * mib + (blocks + extents) * bs;
  const made = await makeFilesystem(place, bytes, (fs) => manyExtents(fs, blocks, extents));
  const daemon = await mountMade(place, made, options.cores);
  try {
    const [read, overwrite]: [number[], number[]] = [[], []];
    for (let round = 0; round < options.rounds; round++) {
      progress(`${extents} extents: ${round}`);
      read.push(await measure(options, 'random-read', daemon.mountPoint, blocks, daemon.pid));
      overwrite.push(await measure(options, 'random-write', daemon.mountPoint, blocks, daemon.pid));
    }
    return { extents, read: median(read), overwrite: median(overwrite) };
  } finally {
    await daemon.stop();
    await made.remove();
  }
}

/** Processor seconds of the daemon for each operation. */
async function measure(options: GrowthOptions, row: string, directory: string, count: number, serverPid: number) {
  const sample = await options.workload.run({ row, directory, count, serverPid, cores: options.cores });
  return sample.serverCpu / sample.operations;
}
