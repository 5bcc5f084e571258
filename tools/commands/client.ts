import { Command } from 'commander';
import { FsError } from '../../fs/errors.ts';
import { clientNumber, clientOf, clientTable, others, ownerText } from '../lib/clients.ts';
import { print, printJson } from '../lib/program.ts';
import { allServers, type Registration, serverAt } from '../lib/registry.ts';
import { withClient } from '../lib/remote.ts';

interface Options {
  readonly json?: true;
}

const pathHelp = 'a path on the mount, or the device; needed where several daemons run';

export function clientCommand(): Command {
  const command = new Command('client').description('The peers that a daemon serves, and what becomes of dead ones.');
  command
    .command('list')
    .description('List the clients: their state, open files, and the bytes in quarantine for them.')
    .argument('[path]', pathHelp)
    .option('--json', 'print an array as JSON')
    .action(async (path: string | undefined, options: Options) => {
      const server = await theServer(path);
      const { clients, truncated } = await withClient(server, (remote) => remote.admin.status());
      const listed = others(clients);
      if (options.json === true) printJson(listed.map((each) => ({ ...each, owner: ownerText(each.owner) })));
      else if (listed.length > 0) print(clientTable(listed));
      if (truncated && options.json !== true) print('(more than can be shown)');
    });
  command
    .command('evict')
    .description(
      'Declare a client dead: its layouts are revoked, and its blocks leave quarantine. Only for a client that can reach ' +
        'the device no more: what it still wrote would damage files.',
    )
    .argument('<client>', 'its number or its owner, as iopmemfs client list shows them')
    .argument('[path]', pathHelp)
    .option('--json', 'print what was done as JSON')
    .action(async (who: string, path: string | undefined, options: Options) => {
      const server = await theServer(path);
      const evicted = await withClient(server, (remote) => remote.admin.evict(clientOf(who)));
      if (options.json === true) printJson({ device: server.device, clients: evicted });
      else for (const client of evicted) print(`client ${client} is evicted from ${server.device}`);
    });
  command
    .command('revoke')
    .description(
      'Take all layouts of a client at once, without asking it. It is fenced, and goes on with what it has open; what it ' +
        'wrote and has not committed is lost.',
    )
    .argument('<client>', 'its number, as iopmemfs client list shows it', clientNumber)
    .argument('[path]', pathHelp)
    .option('--json', 'print what was done as JSON')
    .action(async (client: number, path: string | undefined, options: Options) => {
      const server = await theServer(path);
      const layouts = await withClient(server, (remote) => remote.admin.revoke(client));
      if (options.json === true) printJson({ device: server.device, client, layouts });
      else print(`${layouts} ${layouts === 1 ? 'layout' : 'layouts'} of client ${client} revoked on ${server.device}`);
    });
  return command;
}

/** @throws FsError ENOENT, EINVAL */
async function theServer(path: string | undefined): Promise<Registration> {
  if (path !== undefined) return serverAt(path);
  const [server, another] = await allServers();
  if (server === undefined) throw new FsError('ENOENT', { detail: 'no daemon runs here' });
  if (another === undefined) return server;
  throw new FsError('EINVAL', { detail: 'several daemons run here: name a path on the mount, or the device' });
}
