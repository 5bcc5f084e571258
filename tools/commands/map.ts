import { stat } from 'node:fs/promises';
import { Command } from 'commander';
import { FsError } from '../../fs/errors.ts';
import { formatExtentMap, fragmentationOf, fragmentationText } from '../lib/extent-map.ts';
import { print, printJson } from '../lib/program.ts';
import { remotePath, withClient } from '../lib/remote.ts';

export function mapCommand(): Command {
  return new Command('map')
    .description('Print where the blocks of a file lie, as xfs_bmap -v does, with device offset and bus address.')
    .argument('<file>', 'a file on a mount')
    .option('--json', 'print it as JSON, in bytes')
    .action(async (file: string, options: { readonly json?: true }) => {
      const { server, local, remote } = await remotePath(file);
      const found = await stat(local);
      if (!found.isFile()) throw new FsError('EINVAL', { path: local, detail: 'only regular files have extents' });
      const extents = await withClient(server, (client) => client.map(remote));
      const fragmentation = fragmentationOf(extents);
      if (options.json === true) {
        printJson({ path: local, size: found.size, device: server.device, fragmentation, extents });
      } else {
        print(formatExtentMap(local, found.size, extents));
        if (extents.length > 0) print(fragmentationText(fragmentation));
      }
    });
}
