import { join } from 'node:path';
import { Command } from 'commander';
import type { Quota } from '../../client/index.ts';
import { FsError } from '../../fs/errors.ts';
import { formatColumns } from '../lib/columns.ts';
import { print, printJson } from '../lib/program.ts';
import { ProgressLine } from '../lib/progress-line.ts';
import { allServers, type Registration } from '../lib/registry.ts';
import { mayAsk, remotePath, withClient } from '../lib/remote.ts';
import { formatSize, parseCount, parseSize } from '../lib/sizes.ts';

interface SetOptions {
  readonly bytes?: string;
  readonly inodes?: string;
  readonly json?: true;
}

interface ShowOptions {
  readonly json?: true;
}

export function quotaCommand(): Command {
  return new Command('quota')
    .description('Limit what a directory and all below it hold; df on it shows what is left.')
    .addCommand(
      new Command('set')
        .description(
          'Set limits on a directory, or change them; one that is not given stays as it is. What is there already is counted first; meanwhile they are not in force.',
        )
        .argument('<directory>', 'a directory on a mount')
        .option('--bytes <size>', 'most bytes in blocks of files: a number with k, m, g or t; 0 for no limit')
        .option('--inodes <count>', 'most files and directories, itself included; 0 for no limit')
        .option('--json', 'print the limits as JSON, in bytes; 0 is none')
        .action(setQuota),
    )
    .addCommand(
      new Command('show')
        .description('Show limits and use of the quota that a path counts in, or of all quotas.')
        .argument('[path]', 'a path on a mount; all quotas of all daemons without it')
        .option('--json', 'print an array as JSON, in bytes; a limit of 0 is none')
        .action(showQuotas),
    )
    .addCommand(
      new Command('remove')
        .description('Remove the limit of a directory.')
        .argument('<directory>', 'a directory on a mount that a quota was set on')
        .option('--json', 'print what it was removed from as JSON')
        .action(async (directory: string, options: ShowOptions) => {
          const { server, local, remote } = await remotePath(directory);
          await withClient(server, (client) => client.admin.removeQuota(remote));
          if (options.json === true) printJson({ path: local });
        }),
    );
}

async function setQuota(directory: string, options: SetOptions): Promise<void> {
  const bytes = options.bytes === undefined ? undefined : parseSize(options.bytes);
  const inodes = options.inodes === undefined ? undefined : parseCount(options.inodes);
  if (bytes === undefined && inodes === undefined) {
    throw new FsError('EINVAL', { path: directory, detail: 'a limit is needed: --bytes SIZE, --inodes COUNT or both' });
  }
  const { server, local, remote } = await remotePath(directory);
  const progress = new ProgressLine();
  try {
    const limit = await withClient(server, async (client) => {
      const [set] = await client.admin.quotas(remote);
      if (set !== undefined && set.path !== remote) {
        const detail = `lies within ${withLocalPath(server, set).path}, which has a quota, and they do not nest`;
        throw new FsError('EINVAL', { path: local, detail });
      }
      const wanted = { bytes: bytes ?? set?.bytesMax ?? 0, inodes: inodes ?? set?.inodesMax ?? 0 };
      if (wanted.bytes === 0 && wanted.inodes === 0) {
        const detail = 'no limit would be left: iopmemfs quota remove';
        throw new FsError('EINVAL', { path: directory, detail });
      }
      await client.admin.setQuota(remote, wanted, { progress: (counted) => progress.show(`${counted} files counted`) });
      return wanted;
    });
    progress.end();
    if (options.json === true) printJson({ path: local, bytesMax: limit.bytes, inodesMax: limit.inodes });
  } finally {
    progress.end();
  }
}

async function showQuotas(path: string | undefined, options: ShowOptions): Promise<void> {
  const shown = path === undefined ? (await Promise.all((await allServers()).map(allOf))).flat() : await quotaOf(path);
  if (options.json === true) printJson(shown.map((quota) => ({ ...quota, ...percentages(quota) })));
  else if (shown.length > 0) print(table(shown));
}

async function quotaOf(path: string): Promise<readonly Quota[]> {
  const { server, remote } = await remotePath(path);
  return withClient(server, async (client) =>
    (await client.admin.quotas(remote)).map((quota) => withLocalPath(server, quota)),
  );
}

/** None where others run the daemon: it does not answer. */
async function allOf(server: Registration): Promise<readonly Quota[]> {
  if (!(await mayAsk(server))) return [];
  return withClient(server, async (client) =>
    (await client.admin.quotas()).map((quota) => withLocalPath(server, quota)),
  );
}

/** With the path that it has here, where there is a mount. */
function withLocalPath(server: Registration, quota: Quota): Quota {
  return server.mountPoint === undefined ? quota : { ...quota, path: join(server.mountPoint, quota.path) };
}

function percentages(quota: Quota): { readonly bytesPercent: number | null; readonly inodesPercent: number | null } {
  return {
    bytesPercent: percentage(quota.bytes, quota.bytesMax),
    inodesPercent: percentage(quota.inodes, quota.inodesMax),
  };
}

/** Rounded up, as df(1) does: 100 is full. */
function percentage(used: number, limit: number): number | null {
  return limit === 0 ? null : Math.ceil((used / limit) * 100);
}

function table(quotas: readonly Quota[]): string {
  const rows = quotas.map((quota) => {
    const { bytesPercent, inodesPercent } = percentages(quota);
    return [
      formatSize(quota.bytes),
      limitText(quota.bytesMax, formatSize),
      percentText(bytesPercent),
      String(quota.inodes),
      limitText(quota.inodesMax, String),
      percentText(inodesPercent),
      quota.inForce ? quota.path : `${quota.path} (being counted)`,
    ];
  });
  return formatColumns(
    [['USED', 'LIMIT', 'USE%', 'INODES', 'LIMIT', 'USE%', 'DIRECTORY'], ...rows],
    ['right', 'right', 'right', 'right', 'right', 'right', 'left'],
  );
}

const limitText = (limit: number, format: (limit: number) => string): string => (limit === 0 ? '-' : format(limit));
const percentText = (percent: number | null): string => (percent === null ? '-' : `${percent}%`);
