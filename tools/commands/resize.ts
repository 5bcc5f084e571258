import { Command } from 'commander';
import { type JobOptions, runJob } from '../lib/job.ts';
import { serverAt } from '../lib/registry.ts';
import { parseSize } from '../lib/sizes.ts';

export function resizeCommand(): Command {
  return new Command('resize')
    .description(
      'Make a mounted filesystem larger or smaller, while everything goes on. What lies past a new end is moved; cut an ' +
        'image only after that.',
    )
    .argument('<path>', 'a path on the mount, or the device')
    .argument('[size]', 'in bytes, with k, m, g or t; without it as large as the device has become')
    .option('--json', 'print what was done as JSON, in bytes')
    .action(async (path: string, size: string | undefined, options: JobOptions) => {
      const bytes = size === undefined ? undefined : parseSize(size);
      const server = await serverAt(path);
      await runJob(server, (client) => client.admin.startJob({ kind: 'resize', size: bytes }), options);
    });
}
