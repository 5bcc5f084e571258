#!/usr/bin/env node
/**
 * mount.iopmemfs: the helper that mount(8) calls for itself and for fstab(5), as
 * `mount.iopmemfs DEVICE DIR [-sfnv] [-N namespace] [-o options] [-t type]`. It returns when the mount answers.
 */
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { checkBinding, readBinding } from '../fs/meta/binding.ts';
import { mountExit, parsedOptions } from './commands/mount.ts';
import { collect } from './commands/serve.ts';
import { printSummary, startInBackground } from './lib/background.ts';
import { mountOptionsHelp } from './lib/mount-options.ts';
import { requireMountPoint } from './lib/mount-point.ts';
import { ExitError, packageVersion, runProgram } from './lib/program.ts';
import { remoteSource } from './lib/remote-source.ts';
import { remount } from './lib/remount.ts';
import { openVolume } from './lib/volume.ts';

interface Options {
  readonly options: readonly string[];
  readonly sloppy?: true;
  readonly fake?: true;
  readonly verbose?: true;
  readonly namespace?: string;
}

const command = new Command('mount.iopmemfs')
  .description('Mount an iopmemfs filesystem; called by mount -t iopmemfs DEVICE DIR.')
  .argument('<device>', 'PCI BAR, memory device or image file')
  .argument('<directory>', 'an empty directory')
  .option('-o, --options <list>', 'as for iopmemfs mount, see below', collect, [])
  .option('-s, --sloppy', 'leave out options that nobody knows')
  .option('-f, --fake', 'do everything but mount: device, metadata and mount point are checked')
  .option('-n, --no-mtab', 'accepted: there is no /etc/mtab to write')
  .option('-N, --namespace <ns>', 'not supported: call it within the namespace')
  .option('-t, --type <type>', 'accepted')
  .option('-v, --verbose', 'say what was mounted')
  .version(packageVersion(), '-V, --version')
  .addHelpText('after', `${mountOptionsHelp}\n\nExit code: 0 mounted, 1 wrong call, 32 not mounted.`)
  .action(async (device: string, directory: string, options: Options) => {
    const parsed = parsedOptions(options.options, options.sloppy === true); // a wrong call is told before anything is opened
    if (options.namespace !== undefined) {
      throw new ExitError(mountExit.usage, '-N is not supported: call it within the namespace');
    }
    if (parsed.remount) return remount(device, directory, parsed, options.fake === true);
    if (options.fake === true) return rehearse(device, directory, options);
    const program = fileURLToPath(new URL('iopmemfs.js', import.meta.url));
    const sloppy = options.sloppy === true ? ['--sloppy'] : [];
    const args = ['mount', device, directory, '-o', options.options.join(','), ...sloppy, '--foreground'];
    const summary = await startInBackground(program, args);
    if (options.verbose === true) printSummary(summary, false);
  });

/** @throws FsError whatever would be in the way of the mount */
async function rehearse(device: string, directory: string, options: Options): Promise<void> {
  await requireMountPoint(directory);
  if (remoteSource(device) !== undefined) return; // who asks a server is its client already
  const { meta } = parsedOptions(options.options, options.sloppy === true);
  const volume = await openVolume(device, { writable: false, meta });
  try {
    checkBinding(volume.superblock, readBinding(volume.store));
  } finally {
    await volume.store.close();
    await volume.device.close();
  }
}

process.exitCode = await runProgram(command, mountExit, process.argv.slice(2));
