import { lstat, opendir } from 'node:fs/promises';
import { join } from 'node:path';
import { Command } from 'commander';
import { errnoOf, FsError } from '../../fs/errors.ts';
import { formatColumns } from '../lib/columns.ts';
import { print, printJson } from '../lib/program.ts';
import { ProgressLine } from '../lib/progress-line.ts';

const attribute = 'system.iopmemfs.cow';

export function cowCommand(): Command {
  return new Command('cow')
    .description(
      'Make every overwrite of a file atomic against crashes; what is made in a directory gets it from there.',
    )
    .addCommand(
      switchCommand('on', 'From now on overwrites go to new blocks, which take the place of the old ones at once.'),
    )
    .addCommand(switchCommand('off', 'From now on overwrites happen in place.'))
    .addCommand(
      new Command('show')
        .description('Show whether it is on.')
        .argument('<path...>', 'files and directories on a mount')
        .option('--json', 'print an array as JSON')
        .action(show),
    );
}

function switchCommand(value: 'on' | 'off', description: string): Command {
  return new Command(value)
    .description(description)
    .argument('<path...>', 'files and directories on a mount, your own')
    .option('-R, --recursive', 'and all files and directories below')
    .option('--json', 'print paths and how many files and directories have it now, as JSON')
    .action(async (paths: readonly string[], options: { readonly recursive?: true; readonly json?: true }) => {
      const count = await setAll(paths, value, options.recursive === true);
      if (options.json === true) printJson({ cow: value === 'on', paths, count });
    });
}

async function setAll(paths: readonly string[], value: string, recursive: boolean): Promise<number> {
  const { setXattr } = await import('../lib/xattr.ts'); // not for those who ask for help or mistype
  const progress = new ProgressLine();
  let count = 0;
  try {
    for (const path of paths) {
      for await (const each of recursive ? below(path) : [path]) {
        described(each, () => setXattr(each, attribute, value));
        progress.show(`${++count} files and directories`);
      }
    }
    return count;
  } finally {
    progress.end();
  }
}

async function show(paths: readonly string[], options: { readonly json?: true }): Promise<void> {
  const { getXattr } = await import('../lib/xattr.ts');
  const shown = paths.map((path) => ({ path, cow: described(path, () => getXattr(path, attribute)) === 'on' }));
  if (options.json === true) printJson(shown);
  else
    print(
      formatColumns(
        shown.map(({ path, cow }) => [cow ? 'on' : 'off', path]),
        ['left', 'left'],
      ),
    );
}

/** What can have the attribute, without other filesystems mounted below: a directory comes before what is in it. */
async function* below(path: string): AsyncGenerator<string> {
  const { dev } = await lstat(path);
  const due = [path];
  for (let next = due.pop(); next !== undefined; next = due.pop()) {
    const found = await lstat(next);
    if (found.dev !== dev) continue;
    if (found.isFile()) yield next;
    if (!found.isDirectory()) continue;
    yield next;
    for await (const { name } of await opendir(next)) due.push(join(next, name));
  }
}

/** Elsewhere the attribute is unknown, which says too little. @throws FsError */
function described<T>(path: string, call: () => T): T {
  try {
    return call();
  } catch (error) {
    if (!(error instanceof FsError) || error.errno !== errnoOf('EOPNOTSUPP')) throw error;
    throw new FsError('EOPNOTSUPP', { path, detail: 'neither a file nor a directory on an iopmemfs mount' }, error);
  }
}
