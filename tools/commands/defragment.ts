import { lstat } from 'node:fs/promises';
import { Command } from 'commander';
import { FsError } from '../../fs/errors.ts';
import { type JobOptions, runJob } from '../lib/job.ts';
import { devicePath } from '../lib/places.ts';
import { serverAt } from '../lib/registry.ts';
import { remotePath } from '../lib/remote.ts';

export function defragmentCommand(): Command {
  return new Command('defragment')
    .description(
      'Bring the blocks of a file together, so that a peer can map them by huge pages, while everything goes on. Blocks ' +
        'that it shares with other files move for all of them.',
    )
    .argument('<path>', 'a file on a mount; for all files the mount point, or the device')
    .option('--json', 'print what was done as JSON, in bytes')
    .action(async (path: string, options: JobOptions) => {
      const server = await serverAt(path);
      const all = [server.device, server.mountPoint].includes(await devicePath(path));
      if (all)
        return runJob(server, (client) => client.admin.startJob({ kind: 'defragment', ino: undefined }), options);
      const { local, remote } = await remotePath(path);
      if (!(await lstat(local)).isFile()) {
        throw new FsError('EINVAL', { path, detail: 'neither a regular file nor a mount point nor the device' });
      }
      return runJob(server, (client) => client.admin.defragment(remote), options);
    });
}
