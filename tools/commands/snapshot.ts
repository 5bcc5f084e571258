import { mkdir, readdir, rmdir, stat } from 'node:fs/promises';
import { Command } from 'commander';
import { FsError } from '../../fs/errors.ts';
import { formatColumns } from '../lib/columns.ts';
import { print, printJson } from '../lib/program.ts';
import { withProgress } from '../lib/progress.ts';
import { mayAsk, type RemotePath, remotePath, withClient } from '../lib/remote.ts';

interface Options {
  readonly json?: true;
}

interface Listed {
  readonly name: string;
  readonly path: string;
  readonly createdAt: string;
}

export function snapshotCommand(): Command {
  const command = new Command('snapshot').description(
    'Snapshots of a directory: everything below it as it was at one moment, to be read in DIRECTORY/.snapshots/NAME. ' +
      'mkdir and rmdir there do the same.',
  );
  command
    .command('create')
    .description('Make one.')
    .argument('<directory>', 'a directory on a mount')
    .argument('<name>', 'what the snapshot is to be called')
    .option('--json', 'print what was made as JSON')
    .action(async (directory: string, name: string, options: Options) => {
      requireName(name);
      const { server, local, remote } = await remotePath(directory);
      try {
        if (await mayAsk(server)) {
          await withClient(server, (client) => withProgress(client, 'snapshot', () => client.snapshot(remote, name)));
        } else await mkdir(pathOf(local, name));
      } catch (error) {
        const isThere = error instanceof Error && 'code' in error && error.code === 'EEXIST';
        throw isThere ? new FsError('EEXIST', { path: pathOf(local, name) }) : error;
      }
      if (options.json === true) printJson({ name, path: pathOf(local, name) });
    });
  command
    .command('delete')
    .description('Delete one. The name is gone at once; its blocks come back in the background (iopmemfs status).')
    .argument('<directory>', 'the directory that it was made of')
    .argument('<name>', 'what the snapshot is called')
    .option('--json', 'print what was deleted as JSON')
    .action(async (directory: string, name: string, options: Options) => {
      requireName(name);
      const { local } = await remotePath(directory);
      await rmdir(pathOf(local, name));
      if (options.json === true) printJson({ name, path: pathOf(local, name) });
    });
  command
    .command('list')
    .description('List those there are, the oldest first.')
    .argument('<directory>', 'a directory on a mount')
    .option('--json', 'print an array as JSON')
    .action(async (directory: string, options: Options) => {
      const listed = await snapshotsOf(await remotePath(directory));
      if (options.json === true) printJson(listed);
      else if (listed.length > 0) print(table(listed));
    });
  return command;
}

async function snapshotsOf(directory: RemotePath): Promise<readonly Listed[]> {
  const { server, local, remote } = directory;
  const of = (name: string, time: Date): Listed => ({ name, path: pathOf(local, name), createdAt: time.toISOString() });
  if (!(await mayAsk(server))) {
    const names = await readdir(pathOf(local, ''));
    const found = await Promise.all(names.map(async (name) => of(name, (await stat(pathOf(local, name))).birthtime)));
    return found.sort((a, b) => (a.createdAt < b.createdAt ? -1 : 1));
  }
  return withClient(server, async (client) => {
    const found: Listed[] = [];
    for (const name of await client.readdir(`${remote}/.snapshots`)) {
      const { birthtime } = await client.stat(`${remote}/.snapshots/${name}`);
      found.push(of(name, birthtime));
    }
    return found;
  });
}

/** @throws FsError EINVAL */
function requireName(name: string): void {
  if (name !== '' && name !== '.' && name !== '..' && !name.includes('/')) return;
  throw new FsError('EINVAL', { detail: `${JSON.stringify(name)} cannot be the name of a snapshot` });
}

function pathOf(directory: string, name: string): string {
  return `${directory === '/' ? '' : directory}/.snapshots/${name}`;
}

function table(listed: readonly Listed[]): string {
  const rows = listed.map(({ createdAt, name }) => [createdAt, name]);
  return formatColumns([['CREATED', 'NAME'], ...rows], ['left', 'left']);
}
