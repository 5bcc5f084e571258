/** `npm run bench`: how fast the filesystem is beside others. docs/performance.md says how to read it. */
import { cpus } from 'node:os';
import { Command, Option } from 'commander';
import { print, printJson, runProgram } from '../tools/lib/program.ts';
import { peers } from './lib/peers.ts';
import { inPlace } from './lib/place.ts';
import { microTable } from './lib/report.ts';
import { rows, selectRows } from './lib/rows.ts';
import { backingItself, iopmemfs } from './lib/systems.ts';
import { Workload } from './lib/workload.ts';
import { measureMicro, type RowResult } from './micro.ts';

interface MicroCommand {
  readonly rows?: string;
  readonly rounds: string;
  readonly cores: '1' | '2' | 'both';
  readonly divide: string;
  readonly alone?: true;
  readonly json?: true;
}

const imageBytes = 512 * 2 ** 20;

async function micro(options: MicroCommand): Promise<void> {
  const counts: readonly (1 | 2)[] = options.cores === 'both' ? [1, 2] : [options.cores === '1' ? 1 : 2];
  const results: { readonly cores: 1 | 2; readonly rows: readonly RowResult[] }[] = [];
  for (const cores of counts) {
    const measured = await inPlace(async (place) =>
      measureMicro({
        place,
        workload: await Workload.compile(place.disk),
        systems: options.alone === true ? [iopmemfs] : [iopmemfs, ...(await peers(place.disk)), backingItself],
        rows: options.rows === undefined ? rows : selectRows(options.rows),
        rounds: Number(options.rounds),
        cores,
        divisor: Number(options.divide),
        imageBytes,
        progress,
      }),
    );
    results.push({ cores, rows: measured });
  }
  if (options.json === true) {
    printJson({ processor: cpus()[0]?.model, rounds: Number(options.rounds), results });
    return;
  }
  for (const { cores, rows: measured } of results) {
    print(cores === 1 ? 'Server and client on one core' : 'Server and client on a core each');
    print(microTable(measured));
  }
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
  .option('--rounds <count>', 'runs of each row, of which the median counts', '7')
  .addOption(new Option('--cores <count>', 'processor cores').choices(['1', '2', 'both']).default('both'))
  .option('--divide <by>', 'so many times fewer operations: a try', '1')
  .option('--alone', 'without the peers')
  .option('--json', 'print JSON')
  .action(micro);

process.exitCode = await runProgram(command, { usage: 2, failure: 1 }, process.argv.slice(2));
