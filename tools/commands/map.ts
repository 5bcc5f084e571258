import { stat } from 'node:fs/promises';
import { Command } from 'commander';
import { FsError } from '../../fs/errors.ts';
import { formatExtentMap, fragmentationOf, fragmentationText } from '../lib/extent-map.ts';
import { print, printJson } from '../lib/program.ts';
import { mayAsk, remotePath, withClient } from '../lib/remote.ts';

export function mapCommand(): Command {
  return new Command('map')
    .description('Print where the blocks of a file lie, as xfs_bmap -v does, with device offset and bus address.')
    .argument('<file>', 'a file on a mount')
    .option('--json', 'print it as JSON, in bytes')
    .addHelpText(
      'after',
      '\nFILE-OFFSET, BLOCK-RANGE (of the device) and TOTAL count 512 bytes. FLAGS: 100000 shared with other files, ' +
        '\n010000 allocated but not written yet, so that it reads as zeros.',
    )
    .action(async (file: string, options: { readonly json?: true }) => {
      const { server, local, remote } = await remotePath(file);
      const found = await stat(local);
      if (!found.isFile()) throw new FsError('EINVAL', { path: local, detail: 'only regular files have extents' });
      const extents = (await mayAsk(server))
        ? await withClient(server, (client) => client.map(remote))
        : (await import('../lib/map-attribute.ts')).mapByAttribute(local);
      const fragmentation = fragmentationOf(extents);
      if (options.json === true) {
        printJson({ path: local, size: found.size, device: server.device, fragmentation, extents });
      } else {
        print(formatExtentMap(local, found.size, extents));
        if (extents.length > 0) print(fragmentationText(fragmentation));
      }
    });
}
