import { Command } from 'commander';
import { FsError } from '../../fs/errors.ts';
import { type JobOptions, runJob } from '../lib/job.ts';
import { serverAt } from '../lib/registry.ts';
import { parseSize } from '../lib/sizes.ts';

export function evacuateCommand(): Command {
  return new Command('evacuate')
    .description('Move all data out of a range of the device, while everything goes on.')
    .argument('<path>', 'a path on the mount, or the device')
    .argument('<range>', 'OFFSET+LENGTH in bytes of the device: 4096, 4k, 512m, 2g, 0x1000; grows to whole blocks')
    .option('--retire', 'never use the range again: its memory cells are bad')
    .option('--json', 'print what was done as JSON, in bytes')
    .action(async (path: string, range: string, options: JobOptions & { readonly retire?: true }) => {
      const server = await serverAt(path);
      const request = { kind: 'evacuate', ...parseRange(range), retire: options.retire === true } as const;
      await runJob(server, (client) => client.admin.startJob(request), options);
    });
}

/** @throws FsError EINVAL */
function parseRange(text: string): { readonly offset: number; readonly length: number } {
  const [offset, length, ...more] = text.split('+');
  if (offset === undefined || length === undefined || more.length > 0) {
    throw new FsError('EINVAL', { detail: `${JSON.stringify(text)} is not a range: OFFSET+LENGTH, as 512m+4k` });
  }
  return { offset: parseSize(offset), length: parseSize(length) };
}
