import { stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { Command } from 'commander';
import { FsError } from '../../fs/errors.ts';
import { remotePath, remotePlace, withClient } from '../lib/remote.ts';

export function cloneCommand(): Command {
  return new Command('clone')
    .description('Make a file that shares the blocks of another; each is copied when one of them is written.')
    .argument('<source>', 'a file on a mount')
    .argument('<target>', 'a new name on the same mount, or a directory there')
    .action(async (source: string, target: string) => {
      const from = await remotePath(source);
      const to = await remotePlace((await isDirectory(target)) ? join(target, basename(source)) : target);
      if (from.server.uuid !== to.server.uuid) {
        throw new FsError('EXDEV', { path: target, detail: `not on the same filesystem as ${source}` });
      }
      await withClient(from.server, (client) => client.clone(from.remote, to.remote));
    });
}

async function isDirectory(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch {
    return false; // the usual case: the name is new
  }
}
