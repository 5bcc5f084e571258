import { Command } from 'commander';
import { FsError } from '../../fs/errors.ts';
import { print, printJson } from '../lib/program.ts';
import { serverAt } from '../lib/registry.ts';
import { withClient } from '../lib/remote.ts';

export function cancelCommand(): Command {
  return new Command('cancel')
    .description('Stop the job (defragment, evacuate, resize) that a daemon runs; what it moved so far stays moved.')
    .argument('<path>', 'a path on the mount, or the device')
    .option('--json', 'print which one as JSON')
    .action(async (path: string, options: { readonly json?: true }) => {
      const server = await serverAt(path);
      const { id, kind } = await withClient(server, async (client) => {
        const job = await client.admin.job();
        if (job?.state !== 'running') throw new FsError('ESRCH', { path, detail: 'no job is running' });
        await client.admin.cancelJob(job.id);
        return job;
      });
      if (options.json === true) printJson({ device: server.device, id, kind });
      else print(`${server.device}: ${kind} is being cancelled`);
    });
}
