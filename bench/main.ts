/** `npm run bench`: how fast the filesystem is beside others. docs/performance.md says how to read it. */
import { cpus, loadavg, release } from 'node:os';
import { Command, Option } from 'commander';
import { print, printJson, runProgram } from '../tools/lib/program.ts';
import { type ExtentsResult, type FilesResult, growthOfExtents, growthOfFiles } from './growth/growth.ts';
import { extentsTable, filesTable } from './growth/report.ts';
import {
  growthOfClients,
  growthOfSegments,
  type LeasesOptions,
  pairs,
  recallOfMany,
  recallOfOne,
} from './leases/leases.ts';
import { growthTable, layoutTable, pairsTable, recallsTable } from './leases/report.ts';
import { tableRows } from './leases/table.ts';
import { bindfs, peers } from './lib/peers.ts';
import { inPlace } from './lib/place.ts';
import { programs, selectPrograms } from './lib/programs.ts';
import { microTable, programsTable, rmaTable, smallFilesTable, syncIoTable, times } from './lib/report.ts';
import { rows, selectRows, syncRows } from './lib/rows.ts';
import { backingItself, iopmemfs } from './lib/systems.ts';
import { Workload } from './lib/workload.ts';
import { measureMicro, type RowResult } from './micro.ts';
import { measureDirect } from './peers/direct.ts';
import { measureRemoteMount } from './peers/remote-mount.ts';
import { measureRma } from './peers/rma.ts';
import { measureSmallFiles } from './peers/small-files.ts';
import { measureSyncIo } from './peers/sync-io.ts';
import { measurePrograms } from './programs.ts';

interface MeasureCommand {
  readonly rounds: string;
  readonly divide: string;
  readonly json?: true;
}

interface MicroCommand extends MeasureCommand {
  readonly rows?: string;
  readonly cores: '1' | '2' | 'both';
  readonly alone?: true;
}

const mib = 2 ** 20;
/** For the rows; for the programs, with a hundred thousand small files. */
const imageMiB = { rows: 512, programs: 1024 };

/** A try makes do with less. */
function imageBytes(whole: number, divisor: number): number {
  return Math.max(64, Math.ceil(whole / divisor)) * mib;
}

interface ProgramsCommand extends MeasureCommand {
  readonly programs?: string;
  readonly alone?: true;
}

interface LeasesCommand extends MeasureCommand {
  readonly core: string;
  readonly holders: string;
  readonly clients: string;
  readonly segments: string;
}

interface GrowthCommand {
  readonly files: string;
  readonly extents: string;
  readonly rounds: string;
  readonly cores: string;
  readonly json?: true;
}

async function micro(options: MicroCommand): Promise<void> {
  const counts: readonly (1 | 2)[] = options.cores === 'both' ? [1, 2] : [options.cores === '1' ? 1 : 2];
  const results: { readonly cores: 1 | 2; readonly rows: readonly RowResult[] }[] = [];
  for (const cores of counts) {
    const measured = await inPlace(async (place) =>
      measureMicro({
        place,
        workload: await Workload.compile(place.disk),
        systems: options.alone === true ? [iopmemfs] : [iopmemfs, ...(await peers(place.disk)), backingItself('tmpfs')],
        rows: options.rows === undefined ? rows : selectRows(options.rows),
        rounds: Number(options.rounds),
        cores,
        divisor: Number(options.divide),
        imageBytes: imageBytes(imageMiB.rows, Number(options.divide)),
        backing: 'memory',
        progress,
      }),
    );
    results.push({ cores, rows: measured });
  }
  if (options.json === true) {
    printJson({ ...machine(), rounds: Number(options.rounds), results });
    return;
  }
  for (const { cores, rows: measured } of results) {
    print(cores === 1 ? 'Server and client on one core' : 'Server and client on a core each');
    print(microTable(measured));
  }
}

async function sync(options: MeasureCommand): Promise<void> {
  const measured = await inPlace(async (place) =>
    measureMicro({
      place,
      workload: await Workload.compile(place.disk),
      systems: [iopmemfs, await bindfs(), backingItself('disk')],
      rows: syncRows,
      rounds: Number(options.rounds),
      cores: 2,
      divisor: Number(options.divide),
      imageBytes: imageBytes(imageMiB.rows, Number(options.divide)),
      backing: 'disk',
      progress,
    }),
  );
  const [one, , sixtyFour] = measured.map(({ figures: [ours] }) => ours?.operationsPerSecond);
  const grouped = one === undefined || sixtyFour === undefined ? undefined : sixtyFour / one;
  if (options.json === true) printJson({ ...machine(), rounds: Number(options.rounds), results: measured, grouped });
  else print(`${microTable(measured)}\n64 threads sync ${times(grouped)} times as often as one.`);
}

async function runPrograms(options: ProgramsCommand): Promise<void> {
  const results = await inPlace(async (place) =>
    measurePrograms({
      place,
      programs: options.programs === undefined ? programs : selectPrograms(options.programs),
      systems: options.alone === true ? [iopmemfs] : [iopmemfs, await bindfs()],
      rounds: Number(options.rounds),
      divisor: Number(options.divide),
      imageBytes: imageBytes(imageMiB.programs, Number(options.divide)),
      progress,
    }),
  );
  if (options.json === true) printJson({ ...machine(), rounds: Number(options.rounds), results });
  else print(programsTable(results));
}

function machine(): object {
  return {
    processor: cpus()[0]?.model,
    cores: cpus().length,
    kernel: release(),
    node: process.version,
    load: loadavg(),
  };
}

async function remote(options: MeasureCommand & { readonly rows?: string }): Promise<void> {
  const results = await inPlace(async (place) =>
    measureRemoteMount({
      place,
      workload: await Workload.compile(place.disk),
      rows: options.rows === undefined ? rows : selectRows(options.rows),
      rounds: Number(options.rounds),
      cores: 2,
      divisor: Number(options.divide),
      imageBytes: imageBytes(imageMiB.rows, Number(options.divide)),
      backing: 'memory',
      progress,
    }),
  );
  if (options.json === true) printJson({ ...machine(), rounds: Number(options.rounds), results });
  else print(microTable(results));
}

async function smallFiles(options: MeasureCommand): Promise<void> {
  const divisor = Number(options.divide);
  const results = await inPlace((place) =>
    measureSmallFiles({
      place,
      files: Math.ceil(10_000 / divisor),
      size: 4096,
      rounds: Number(options.rounds),
      progress,
    }),
  );
  if (options.json === true) printJson({ ...machine(), rounds: Number(options.rounds), results });
  else print(smallFilesTable(results));
}

async function direct(options: MeasureCommand): Promise<void> {
  const rounds = Number(options.rounds);
  const results = await inPlace((place) => measureDirect({ place, rounds, divisor: Number(options.divide), progress }));
  if (options.json === true) return printJson({ ...machine(), rounds, results });
  for (const { bytes, one, two, ratio } of results)
    print(`writes of ${bytes} bytes: ${one.toFixed(0)} MiB/s by one client, ${two.toFixed(0)} by two, ${times(ratio)}`);
}

async function syncIo(options: MeasureCommand): Promise<void> {
  const rounds = Number(options.rounds);
  const results = await inPlace((place) => measureSyncIo({ place, rounds, divisor: Number(options.divide), progress }));
  if (options.json === true) printJson({ ...machine(), rounds, results });
  else print(syncIoTable(results));
}

async function rma(options: MeasureCommand): Promise<void> {
  const divisor = Number(options.divide);
  const results = await inPlace((place) =>
    measureRma({ place, transfers: Math.ceil(1000 / divisor), rounds: Number(options.rounds), progress }),
  );
  if (options.json === true) printJson({ ...machine(), rounds: Number(options.rounds), results });
  else print(rmaTable(results));
}

async function growth(options: GrowthCommand): Promise<void> {
  const files: FilesResult[] = [];
  const extents: ExtentsResult[] = [];
  await inPlace(async (place) => {
    const workload = await Workload.compile(place.disk);
    const common = { place, workload, rounds: Number(options.rounds), cores: options.cores, progress };
    for (const count of [0, ...numbers(options.files)]) files.push(await growthOfFiles(common, count));
    for (const count of numbers(options.extents)) extents.push(await growthOfExtents(common, count));
  });
  if (options.json === true) printJson({ ...machine(), rounds: Number(options.rounds), files, extents });
  else {
    print('More files: time to mount, memory of the daemon, its processor time for the lookup of one of them');
    print(filesTable(files));
    print('More extents in a file of 400 MB: processor time of the daemon for 4 KiB');
    print(extentsTable(extents));
  }
}

async function leases(options: LeasesCommand): Promise<void> {
  await inPlace(async (place) => {
    const common: LeasesOptions = {
      place,
      rounds: Number(options.rounds),
      serverCore: options.core,
      divisor: Number(options.divide),
      progress,
    };
    const measured = {
      pairs: await pairs(common),
      recalls: [...(await recallOfOne(common)), ...(await each(options.holders, (n) => recallOfMany(common, n)))],
      clients: await each(options.clients, (n) => growthOfClients(common, n)),
      segments: await each(options.segments, (n) => growthOfSegments(common, n)),
      table: tableRows(Math.max(...numbers(options.segments))),
    };
    if (options.json === true) {
      printJson({ ...machine(), rounds: common.rounds, ...measured });
      return;
    }
    print(pairsTable(measured.pairs));
    print(recallsTable(measured.recalls));
    print(growthTable('clients, a segment each', measured.clients));
    print(growthTable('segments', measured.segments));
    print(layoutTable(measured.table));
  });
}

async function each<T>(list: string, measure: (count: number) => Promise<T>): Promise<readonly T[]> {
  const results: T[] = [];
  for (const count of numbers(list)) results.push(await measure(count));
  return results;
}

function numbers(list: string): readonly number[] {
  return list.split(',').filter(Boolean).map(Number);
}

/** On one line of a terminal, nowhere else. */
function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
}

const command = new Command('bench')
  .description('Measure iopmemfs beside filesystems in C on FUSE; nothing else should run meanwhile.')
  .addHelpText('after', '\nExit code: 0 measured, 1 not measured, 2 a wrong call.');
command
  .command('micro', { isDefault: true })
  .description('one operation at a time, over tmpfs')
  .option('--rows <names>', `only these (${rows.map((row) => row.name).join(',')})`)
  .option('--rounds <count>', 'runs of each row, of which the median counts', '9')
  .addOption(new Option('--cores <count>', 'processor cores').choices(['1', '2', 'both']).default('both'))
  .option('--divide <by>', 'so many times fewer operations: a try', '1')
  .option('--alone', 'without the peers')
  .option('--json', 'print JSON')
  .action(micro);
command
  .command('sync')
  .description('writes that are synced, from 1, 8 and 64 threads, beside bindfs over the disk')
  .option('--rounds <count>', 'runs of each row, of which the median counts', '5')
  .option('--divide <by>', 'so many times fewer operations: a try', '1')
  .option('--json', 'print JSON')
  .action(sync);
command
  .command('programs')
  .description('git clone, tar, npm ci and sqlite3, beside bindfs over the disk')
  .option('--programs <names>', `only these (${programs.map((program) => program.name).join(',')})`)
  .option('--rounds <count>', 'runs of each program after the first, of which the median counts', '3')
  .option('--divide <by>', 'so many times less work: a try', '1')
  .option('--alone', 'without the peer')
  .option('--json', 'print JSON')
  .action(runPrograms);
command
  .command('remote')
  .description(
    'the rows of micro on a mount over a server beside a mount of the serving daemon; the target is 0.8 for each',
  )
  .option('--rows <names>', 'only these, as for micro')
  .option('--rounds <count>', 'runs of each row, of which the median counts', '9')
  .option('--divide <by>', 'so many times fewer operations: a try', '1')
  .option('--json', 'print JSON')
  .action(remote);
command
  .command('small-files')
  .description(
    '10,000 files of 4 KiB opened, read and closed by the client library, beside a mount over the same server',
  )
  .option('--rounds <count>', 'runs, of which the median counts', '5')
  .option('--divide <by>', 'so many times fewer files: a try', '1')
  .option('--json', 'print JSON')
  .action(smallFiles);
command
  .command('direct')
  .description('two clients that write different files directly, each on a core of its own, beside one')
  .option('--rounds <count>', 'runs, of which the median counts', '5')
  .option('--divide <by>', 'so many times fewer writes: a try', '1')
  .option('--json', 'print JSON')
  .action(direct);
command
  .command('sync-io')
  .description('the synchronous path of the client library, beside pread and pwrite in C and memcpy')
  .option('--rounds <count>', 'runs, of which the median counts', '5')
  .option('--divide <by>', 'so many times fewer operations: a try', '1')
  .option('--json', 'print JSON')
  .action(syncIo);
command
  .command('rma')
  .description('one-sided reads and writes of 1 MiB by tcp and shm, beside a plain C program over the same library')
  .option('--rounds <count>', 'runs of each, of which the median counts', '5')
  .option('--divide <by>', 'so many times fewer transfers: a try', '1')
  .option('--json', 'print JSON')
  .action(rma);
command
  .command('growth')
  .description('more files, more extents: mount, memory, lookups, random access')
  .option('--files <counts>', 'numbers of files, a comma between them', '1000,10000,100000,1000000')
  .option('--extents <counts>', 'numbers of extents', '1,1000,100000')
  .option('--rounds <count>', 'runs of each row, of which the median counts', '5')
  .option('--cores <list>', 'processor cores of the daemon and the client, as taskset(1) takes them', '0')
  .option('--json', 'print JSON')
  .action(growth);
command
  .command('leases')
  .description('layouts of the metadata server beside a bare echo, recalls, more clients, more segments')
  .option('--holders <counts>', 'readers that a truncate recalls', '1000')
  .option('--clients <counts>', 'numbers of clients, a comma between them', '1,100,10000')
  .option('--segments <counts>', 'numbers of segments', '100,10000,1000000')
  .option('--rounds <count>', 'runs of each, of which the median counts', '5')
  .option('--core <number>', 'processor core of the server; start this with taskset(1) on another one', '0')
  .option('--divide <by>', 'so many times fewer operations: a try', '1')
  .option('--json', 'print JSON')
  .action(leases);

process.exitCode = await runProgram(command, { usage: 2, failure: 1 }, process.argv.slice(2));
