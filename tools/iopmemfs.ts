#!/usr/bin/env node
/** iopmemfs: serve, mount and look into filesystems on PCIe memory. */
import { Command } from 'commander';
import { cancelCommand } from './commands/cancel.ts';
import { clientCommand } from './commands/client.ts';
import { cloneCommand } from './commands/clone.ts';
import { cowCommand } from './commands/cow.ts';
import { defragmentCommand } from './commands/defragment.ts';
import { evacuateCommand } from './commands/evacuate.ts';
import { mapCommand } from './commands/map.ts';
import { mountCommand, mountExit } from './commands/mount.ts';
import { pinCommand, unpinCommand } from './commands/pin.ts';
import { quotaCommand } from './commands/quota.ts';
import { recallCommand } from './commands/recall.ts';
import { resizeCommand } from './commands/resize.ts';
import { serveCommand } from './commands/serve.ts';
import { snapshotCommand } from './commands/snapshot.ts';
import { statusCommand } from './commands/status.ts';
import { topologyCommand } from './commands/topology.ts';
import { tuneCommand } from './commands/tune.ts';
import { umountCommand } from './commands/umount.ts';
import { packageVersion, print, runProgram } from './lib/program.ts';

const command = new Command('iopmemfs')
  .description(
    'A DAX filesystem on PCIe memory, whose blocks are leased to peers (see also mkfs.iopmemfs, fsck.iopmemfs).',
  )
  .version(packageVersion(), '-V, --version')
  .addCommand(mountCommand())
  .addCommand(umountCommand())
  .addCommand(serveCommand())
  .addCommand(mapCommand())
  .addCommand(topologyCommand())
  .addCommand(cloneCommand())
  .addCommand(snapshotCommand())
  .addCommand(cowCommand())
  .addCommand(pinCommand())
  .addCommand(unpinCommand())
  .addCommand(statusCommand())
  .addCommand(quotaCommand())
  .addCommand(tuneCommand())
  .addCommand(clientCommand())
  .addCommand(recallCommand())
  .addCommand(defragmentCommand())
  .addCommand(evacuateCommand())
  .addCommand(resizeCommand())
  .addCommand(cancelCommand());
command
  .command('version')
  .description('Print the version.')
  .action(() => print(packageVersion()));
command.addHelpText(
  'after',
  `
Environment:
  IOPMEMFS_STATE  where metadata lives, a folder for each UUID (default: /var/lib/iopmemfs
                  for root, $XDG_STATE_HOME/iopmemfs or ~/.local/state/iopmemfs for others)
  IOPMEMFS_RUN    where running servers are found (default: /run/iopmemfs for root,
                  $XDG_RUNTIME_DIR/iopmemfs for others)

Exit code: 0 done, 1 not done or a wrong call; mount and umount: 32 when the mount or the unmount failed.`,
);

// Explicitly: fuse-native keeps the event loop alive after its mount is gone. Output to files and pipes is written by now.
process.exit(await runProgram(command, { usage: mountExit.usage, failure: 1 }, process.argv.slice(2)));
