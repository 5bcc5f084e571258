import { lstat } from 'node:fs/promises';
import { Command } from 'commander';
import type { RecallTarget } from '../../client/index.ts';
import { FsError } from '../../fs/errors.ts';
import { clientNumber } from '../lib/clients.ts';
import { print, printJson } from '../lib/program.ts';
import { serverAt } from '../lib/registry.ts';
import { type RemotePath, remotePath, withClient } from '../lib/remote.ts';
import { parseSize } from '../lib/sizes.ts';

interface Options {
  readonly client?: number;
  readonly offset?: number;
  readonly length?: number;
  readonly json?: true;
}

export function recallCommand(): Command {
  return new Command('recall')
    .description(
      'Ask clients to give layouts back: those of a file, of a client, or all. Waits until they have, or are fenced. ' +
        'They may get new ones afterwards.',
    )
    .argument('<path>', 'a file on the mount: its layouts; the mount or the device: all of them')
    .option('--client <number>', 'of this client only, as iopmemfs client list shows it', clientNumber)
    .option('--offset <bytes>', 'of a file: where to begin', size)
    .option('--length <bytes>', 'of a file: how much', size)
    .option('--json', 'print what was done as JSON')
    .action(async (path: string, options: Options) => {
      const file = await regularFile(path);
      const server = file?.server ?? (await serverAt(path));
      const what = whatIsMeant(path, file, options);
      await withClient(server, (client) => client.admin.recall(what));
      if (options.json === true) printJson({ device: server.device, recalled: what });
      else print(`${said(what)} given back to ${server.device}`);
    });
}

/** @throws FsError EINVAL */
function whatIsMeant(path: string, file: RemotePath | undefined, { client, offset, length }: Options): RecallTarget {
  const isRange = offset !== undefined || length !== undefined;
  if (client !== undefined && (file !== undefined || isRange))
    throw new FsError('EINVAL', { path, detail: 'layouts of a client are given back on all files: name the mount' });
  if (client !== undefined) return { client };
  if (file !== undefined)
    return { path: file.remote, ...(offset !== undefined && { offset }), ...(length !== undefined && { length }) };
  if (isRange) throw new FsError('EINVAL', { path, detail: 'only of a file can a range be given back' });
  return 'everything';
}

function said(what: RecallTarget): string {
  if (what === 'everything') return 'all layouts are';
  return 'client' in what ? `all layouts of client ${what.client} are` : `the layouts of ${what.path} are`;
}

/** undefined: not a file on a mount, so a mount or a device. */
async function regularFile(path: string): Promise<RemotePath | undefined> {
  try {
    const found = await remotePath(path);
    return (await lstat(found.local)).isFile() ? found : undefined;
  } catch (error) {
    if (error instanceof FsError && error.code === 'EXDEV') return undefined;
    throw error;
  }
}

function size(text: string): number {
  return parseSize(text);
}
