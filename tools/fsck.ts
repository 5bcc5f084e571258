#!/usr/bin/env node
/** fsck.iopmemfs: checks a filesystem that is not in use. Exit codes are the bits of fsck(8). */
import { Command } from 'commander';
import { type CheckSummary, checkFilesystem } from '../fs/fsck/check.ts';
import { passTitles, problemText } from '../fs/fsck/problem.ts';
import { stateDirHelp } from './lib/places.ts';
import { complain, ExitError, packageVersion, print, printJson, runProgram } from './lib/program.ts';
import { type OpenVolume, openVolume } from './lib/volume.ts';

const exit = { errorsLeft: 4, operational: 8, usage: 16 } as const;

interface Options {
  readonly verbose?: true;
  readonly json?: true;
  readonly meta?: string;
}

const command = new Command('fsck.iopmemfs')
  .description('Check an iopmemfs filesystem that is not mounted. It only reads: nothing is repaired yet.')
  .argument('<device>', 'device or image file')
  .option('-n', 'change nothing; always so for now')
  .option('-f, --force', 'check even if it is marked clean; always so')
  .option('-a', 'repair what is safe: nothing is repaired yet, problems stay and exit with 4')
  .option('-p', 'the same')
  .option('-y', 'repair everything: nothing is repaired yet, problems stay and exit with 4')
  .option('-v, --verbose', 'print counts')
  .option('-C <fd>', 'accepted for fsck(8); a check takes seconds and shows its passes')
  .option('--meta <dir>', `metadata directory (default: ${stateDirHelp})`)
  .option('--json', 'print the result as JSON')
  .version(packageVersion(), '-V, --version')
  .addHelpText(
    'after',
    '\nExit code: 0 clean, 4 errors left, 8 cannot be checked (in use, not a filesystem), 16 usage.',
  )
  .action(async (device: string, options: Options) => {
    const volume = await openVolume(device, { writable: false, meta: options.meta });
    try {
      const summary = await check(volume, options.json === true);
      if (options.json === true) printJson(jsonOf(volume, summary));
      else printSummary(volume, summary, options.verbose === true);
      if (summary.problems.length > 0) throw new ExitError(exit.errorsLeft, '');
    } finally {
      await volume.store.close();
      await volume.device.close();
    }
  });

/** Passes and problems as they come, unless they are wanted as one JSON document at the end. */
function check(volume: OpenVolume, quiet: boolean): Promise<CheckSummary> {
  return checkFilesystem({
    device: volume.device,
    store: volume.store,
    onPass: (pass) => {
      if (!quiet) print(`Pass ${pass}: ${passTitles[pass]}`);
    },
    onProblem: (problem) => {
      if (!quiet) print(`  ${problemText(problem)}`);
    },
  });
}

function printSummary({ device }: OpenVolume, summary: CheckSummary, verbose: boolean): void {
  const { inodes, blocks, usage, problems, dirty } = summary;
  if (verbose) {
    print(
      `  ${usage.extents} extents, ${usage.provisionalBlocks} blocks granted for writing, ${usage.heldBlocks} quarantined, ${usage.badBlocks} bad`,
    );
  }
  const state = problems.length > 0 ? `${problems.length} PROBLEMS` : dirty ? 'clean, not unmounted in order' : 'clean';
  print(`${device.path}: ${state}, ${inodes} files, ${usage.fileBlocks}/${blocks} blocks`);
  if (problems.length > 0)
    complain(command.name(), `${device.path}: problems left; this version cannot repair them (EUCLEAN)`);
}

function jsonOf({ device, uuid, metadata }: OpenVolume, { problems, ...summary }: CheckSummary): object {
  return { device: device.path, uuid, metadata, clean: problems.length === 0, ...summary, problems };
}

process.exitCode = await runProgram(command, { usage: exit.usage, failure: exit.operational }, process.argv.slice(2));
