import { Command } from 'commander';
import { print, printJson } from '../lib/program.ts';
import { serverAt } from '../lib/registry.ts';
import { withClient } from '../lib/remote.ts';
import { formatSize, parsePercent } from '../lib/sizes.ts';

interface Options {
  readonly reserved?: string;
  readonly json?: true;
}

export function tuneCommand(): Command {
  return new Command('tune')
    .description('Show or change the parameters of a filesystem in use, as tune2fs does.')
    .argument('<path>', 'a path on a mount, or a device')
    .option('-m, --reserved <percent>', 'share of the blocks that is kept for root, 0 to 50')
    .option('--json', 'print them as JSON, in bytes')
    .action(async (path: string, options: Options) => {
      const server = await serverAt(path);
      const { filesystem } = await withClient(server, async (client) => {
        if (options.reserved !== undefined) await client.admin.tune({ reserve: parsePercent(options.reserved) });
        return client.admin.status();
      });
      const { reserve, blocks, blockSize } = filesystem;
      const bytes = Math.floor((blocks.total * reserve) / 10_000) * blockSize;
      if (options.json === true)
        printJson({ device: server.device, reservedPercent: reserve / 100, reservedBytes: bytes });
      else print(`${server.device}: ${reserve / 100}% (${formatSize(bytes)}) reserved for root`);
    });
}
