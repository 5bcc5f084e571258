import { open, unlink } from 'node:fs/promises';
import { Command } from 'commander';
import { printJson } from '../lib/program.ts';
import { requireAlive } from '../lib/registry.ts';
import { remotePath, withClient } from '../lib/remote.ts';
import { parseSize } from '../lib/sizes.ts';

interface PinCommandOptions {
  readonly size?: string;
  readonly align: string;
  readonly json?: true;
}

export function pinCommand(): Command {
  return new Command('pin')
    .description(
      'Put a file in one piece that never moves, so that devices can be told its address once. One that is not there is made.',
    )
    .argument('<file>', 'a file on a mount, or with --size a new name')
    .option('--size <bytes>', 'with k, m, g or t (default: as many as it has); zeros behind what it holds')
    .option('--align <bytes>', 'its place is a multiple of this, a power of two from 4k to 1g', '4k')
    .option('--json', 'print where it lies as JSON')
    .addHelpText(
      'after',
      '\niopmemfs map shows where it lies. Aligned is the bus address, or the offset on a device that has none.',
    )
    .action(async (file: string, options: PinCommandOptions) => {
      const pin = {
        ...(options.size !== undefined && { size: parseSize(options.size) }),
        align: parseSize(options.align),
      };
      const isNew = pin.size !== undefined && (await made(file));
      try {
        const { server, local, remote } = await remotePath(file);
        const map = await withClient(server, async (client) => {
          await client.pin(remote, pin);
          return client.map(remote);
        });
        if (options.json === true) printJson({ path: local, ...map[0] });
      } catch (error) {
        if (isNew) await unlink(file);
        throw error;
      }
    });
}

export function unpinCommand(): Command {
  return new Command('unpin')
    .description('Make a pinned file an ordinary one: it stays where it is until something moves it.')
    .argument('<file>', 'a file on a mount')
    .option('--json', 'print which one as JSON')
    .action(async (file: string, options: { readonly json?: true }) => {
      const { server, local, remote } = await remotePath(file);
      await withClient(server, (client) => client.unpin(remote));
      if (options.json === true) printJson({ path: local });
    });
}

/** Makes the file where there is none; with the mode and owner of any that this user makes. */
async function made(file: string): Promise<boolean> {
  await requireAlive(file);
  try {
    await (await open(file, 'wx')).close();
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false;
    throw error;
  }
}
