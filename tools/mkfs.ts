#!/usr/bin/env node
/** mkfs.iopmemfs: an empty filesystem on a device, with the options, the table and the exit codes of mkfs.xfs(8). */
import { Command } from 'commander';
import { format, formatTable } from './lib/format.ts';
import { stateDirHelp } from './lib/places.ts';
import { complain, packageVersion, print, printJson, runProgram } from './lib/program.ts';
import { parsePercent, parseSize } from './lib/sizes.ts';

interface Options {
  readonly force?: true;
  readonly label: string;
  readonly uuid?: string;
  readonly blockSize: string;
  readonly dryRun?: true;
  readonly compat?: true;
  readonly quiet?: true;
  readonly meta?: string;
  readonly volatile?: true;
  readonly reserved: string;
  readonly json?: true;
}

const command = new Command('mkfs.iopmemfs')
  .description('Make an iopmemfs filesystem on a PCI BAR, a memory device or an image file.')
  .argument('<device>', 'the whole of it becomes the filesystem; an image is made with truncate -s SIZE FILE')
  .option('-f, --force', 'overwrite what stands there')
  .option('-L, --label <label>', 'label, up to 64 bytes', '')
  .option('-U, --uuid <uuid>', 'UUID instead of a random one')
  .option('-b, --block-size <size>', 'block size; only 4096 for now', '4096')
  .option('-n, --dry-run', 'check everything and print the table, but write nothing')
  .option('-N, --compat', 'the same, as mkfs.xfs spells it')
  .option('-q, --quiet', 'print nothing')
  .option('--meta <dir>', `metadata directory (default: ${stateDirHelp})`)
  .option('-m, --reserved <percent>', 'share of the blocks that is kept for root, 0 to 50', '0')
  .option('--volatile', 'the device forgets its content with its power')
  .option('--json', 'print the table as JSON')
  .version(packageVersion(), '-V, --version')
  .addHelpText('after', '\nExit code: 0 made (or could be, with -n), 1 not made; the device is as it was then.')
  .action(async (device: string, options: Options) => {
    const made = await format({
      device,
      force: options.force === true,
      dryRun: options.dryRun === true || options.compat === true,
      label: options.label,
      uuid: options.uuid,
      blockSize: parseSize(options.blockSize),
      meta: options.meta,
      volatile: options.volatile === true,
      reserve: parsePercent(options.reserved),
    });
    if (options.json === true) printJson(made);
    else if (options.quiet !== true) print(formatTable(made));
    if (made.leftBehind !== undefined) {
      complain(
        'mkfs.iopmemfs',
        `the metadata of the filesystem before is still in ${made.leftBehind}: remove it if no copy of the device needs it`,
      );
    }
  });

process.exitCode = await runProgram(command, { usage: 1, failure: 1 }, process.argv.slice(2));
