import { Command, InvalidArgumentError } from 'commander';
import { FsError } from '../../fs/errors.ts';
import { print, printJson } from '../lib/program.ts';
import { allServers, type Registration, serverAt } from '../lib/registry.ts';
import { withClient } from '../lib/remote.ts';

export function evictCommand(): Command {
  return new Command('evict')
    .description(
      'Declare a client dead: its layouts are revoked, and its blocks leave quarantine. Only for a client that can reach ' +
        'the device no more: what it still wrote would damage files.',
    )
    .argument('<client>', 'its number in iopmemfs status', clientId)
    .argument('[path]', 'a path on the mount, or the device; needed where several daemons run')
    .option('--json', 'print what was done as JSON')
    .action(async (client: number, path: string | undefined, options: { readonly json?: true }) => {
      const server = path === undefined ? await onlyServer() : await serverAt(path);
      await withClient(server, (remote) => remote.evict(client));
      if (options.json === true) printJson({ device: server.device, client });
      else print(`client ${client} is evicted from ${server.device}`);
    });
}

function clientId(text: string): number {
  const id = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(id)) throw new InvalidArgumentError('a number is needed');
  return id;
}

/** @throws FsError ENOENT, EINVAL */
async function onlyServer(): Promise<Registration> {
  const [server, another] = await allServers();
  if (server === undefined) throw new FsError('ENOENT', { detail: 'no daemon runs here' });
  if (another === undefined) return server;
  throw new FsError('EINVAL', { detail: 'several daemons run here: name a path on the mount, or the device' });
}
