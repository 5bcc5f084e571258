import { stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { Command } from 'commander';
import { FsError } from '../../fs/errors.ts';
import { printJson } from '../lib/program.ts';
import { withProgress } from '../lib/progress.ts';
import { remotePath, remotePlace, withClient } from '../lib/remote.ts';

export function cloneCommand(): Command {
  return new Command('clone')
    .description('Make a file that shares the blocks of another; each is copied when one of them is written.')
    .argument('<source>', 'a file on a mount')
    .argument('<target>', 'a new name on the same mount, or a directory there')
    .option('-r, --recursive', 'a directory with all that is below it, as it is at one moment: all of it or nothing')
    .option('--json', 'print what was made as JSON')
    .action(async (source: string, target: string, options: CloneOptions) => {
      const from = await remotePath(source);
      const to = await remotePlace((await isDirectory(target)) ? join(target, basename(source)) : target);
      if (from.server.uuid !== to.server.uuid) {
        throw new FsError('EXDEV', { path: target, detail: `not on the same filesystem as ${source}` });
      }
      try {
        await withClient(from.server, (client) =>
          options.recursive === true
            ? withProgress(client, 'cloning', () => client.cloneTree(from.remote, to.remote))
            : client.clone(from.remote, to.remote),
        );
      } catch (error) {
        throw explained(error, from.local, to.local);
      }
      if (options.json === true) printJson({ source: from.local, path: to.local });
    });
}

interface CloneOptions {
  readonly recursive?: true;
  readonly json?: true;
}

/** Where these are said the new name is to blame. */
const aboutTarget: ReadonlySet<string> = new Set(['EEXIST', 'EROFS', 'ENOSPC', 'EDQUOT', 'ENAMETOOLONG', 'EBUSY']);

function explained(error: unknown, source: string, target: string): unknown {
  if (!(error instanceof FsError)) return error;
  const { code, context } = error;
  if (code === 'EISDIR') return new FsError(code, { path: source, detail: 'a directory: use -r' });
  if (code === 'ENOTDIR') return new FsError(code, { path: source, detail: 'not a directory: leave out -r' });
  return aboutTarget.has(code) ? new FsError(code, { ...context, path: target }) : error;
}

async function isDirectory(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch {
    return false; // the usual case: the name is new
  }
}
