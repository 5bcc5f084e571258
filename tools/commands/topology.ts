import { readFile, realpath } from 'node:fs/promises';
import { basename } from 'node:path';
import { Command } from 'commander';
import { pciResourceOf } from '../../fs/bar/sysfs.ts';
import { cpuForwards, readPciPath, routeBetween } from '../../fs/bar/topology.ts';
import { FsError } from '../../fs/errors.ts';
import { formatColumns } from '../lib/columns.ts';
import { print, printJson } from '../lib/program.ts';

export function topologyCommand(): Command {
  return new Command('topology')
    .description('Show how PCI functions of this machine reach a device: the route, and how far it is.')
    .argument('<device>', 'PCI BAR (its resource file), or the PCI address of the function that has it')
    .argument('<peers...>', 'PCI addresses of those that are to read and write it: 0000:03:00.0')
    .option('--json', 'print it as JSON')
    .action(async (device: string, peers: readonly string[], options: { readonly json?: true }) => {
      const provider = await readPciPath(await functionOf(device));
      const forwards = cpuForwards(await readFile('/proc/cpuinfo', 'utf8'));
      const rows = await Promise.all(
        peers.map(async (peer) => ({ peer, ...routeBetween(provider, await readPciPath(peer), forwards) })),
      );
      if (options.json === true) printJson(rows);
      else
        print(
          formatColumns(
            [
              ['PEER', 'ROUTE', 'DISTANCE', 'WHY'],
              ...rows.map(({ peer, kind, distance, reason }) => [peer, kind, String(distance), reason]),
            ],
            ['left', 'left', 'right', 'left'],
          ),
        );
    });
}

/** @throws FsError EINVAL: the path is no BAR */
async function functionOf(device: string): Promise<string> {
  if (!device.includes('/')) return device;
  const resource = pciResourceOf(await realpath(device));
  if (resource === undefined) throw new FsError('EINVAL', { detail: `${device} is no BAR of a PCI function` });
  return basename(resource.folder);
}
