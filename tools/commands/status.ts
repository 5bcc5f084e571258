import { Command } from 'commander';
import type { ServerStatus } from '../../mds/protocol/server-status.ts';
import { formatColumns } from '../lib/columns.ts';
import { print, printJson } from '../lib/program.ts';
import { allServers, type Registration, serverAt } from '../lib/registry.ts';
import { withClient } from '../lib/remote.ts';
import { formatSize } from '../lib/sizes.ts';

export function statusCommand(): Command {
  return new Command('status')
    .description('Show what a running daemon serves: blocks by role, clients, layouts, recalls under way.')
    .argument('[path]', 'a path on a mount, or a device; all daemons without it')
    .option('--json', 'print it as JSON, in bytes: an object for one path, an array without')
    .action(async (path: string | undefined, options: { readonly json?: true }) => {
      const servers = path === undefined ? await allServers() : [await serverAt(path)];
      const shown = await Promise.all(servers.map(async (server) => ({ server, status: await statusOf(server) })));
      if (options.json === true) printJson(path === undefined ? shown.map(jsonOf) : shown.map(jsonOf)[0]);
      else for (const each of shown) print(textOf(each));
    });
}

interface Shown {
  readonly server: Registration;
  readonly status: ServerStatus;
}

async function statusOf(server: Registration): Promise<ServerStatus> {
  return withClient(server, async (client) => {
    const status = await client.status();
    // The connection that asks is a client as well, of no interest to anybody.
    return {
      ...status,
      clients: status.clients.filter((each) => !each.implementation.endsWith(` pid ${process.pid}`)),
    };
  });
}

function jsonOf({ server, status }: Shown): object {
  const quarantine = status.clients
    .filter((client) => client.quarantinedBytes > 0)
    .map(({ id, quarantinedBytes }) => ({ client: id, bytes: quarantinedBytes }));
  return {
    pid: server.pid,
    mountPoint: server.mountPoint ?? null,
    ...status,
    clients: status.clients.map((client) => ({ ...client, owner: ownerText(client.owner) })),
    quarantine,
  };
}

function textOf({ server, status }: Shown): string {
  const { filesystem, clients, layouts, breaks, counters } = status;
  const { blocks, blockSize } = filesystem;
  const size = (count: number): string => formatSize(count * blockSize);
  const lines = [
    `${filesystem.device}: ${filesystem.uuid} ${JSON.stringify(filesystem.label)}, generation ${filesystem.generation}`,
    `  process ${server.pid}${server.mountPoint === undefined ? '' : `, mounted on ${server.mountPoint}`}${filesystem.readOnly ? ', read-only' : ''}`,
    `  serving at ${status.addresses.join(' ')}`,
    `  ${size(blocks.total)}: ${size(blocks.file)} in files (${size(blocks.shared)} shared), ${size(blocks.free)} free, ` +
      `${size(blocks.provisional)} granted, ${size(blocks.quarantined)} quarantined, ${size(blocks.freeing)} being freed`,
    `  ${filesystem.inodes} inodes, lease ${status.leaseMs} ms${status.graceLeftMs > 0 ? `, grace for ${status.graceLeftMs} ms` : ''}`,
    `  ${counters.requests} requests, ${counters.layoutsGranted} layouts granted, ${counters.recallsSent} recalls, ${counters.layoutsRevoked} revoked`,
  ];
  if (filesystem.copying !== undefined) lines.push(`  a tree is being copied: ${filesystem.copying} inodes so far`);
  const { trees, inodes } = filesystem.reaping;
  if (trees > 0) lines.push(`  ${trees} deleted trees are being removed: ${inodes} inodes so far`);
  if (filesystem.shutdown !== undefined) lines.push(`  SHUT DOWN: ${filesystem.shutdown}`);
  if (clients.length > 0) {
    const rows = clients.map((c) => [
      String(c.id),
      c.state,
      String(c.opens),
      formatSize(c.quarantinedBytes),
      `${c.leaseLeftMs} ms`,
      ownerText(c.owner),
    ]);
    lines.push(table([['CLIENT', 'STATE', 'OPEN', 'QUARANTINED', 'LEASE LEFT', 'OWNER'], ...rows]));
  }
  if (layouts.length > 0) {
    const rows = layouts.flatMap((l) =>
      l.segments.map((s) => [
        String(l.client),
        String(l.ino),
        s.iomode === 2 ? 'RW' : 'READ',
        `${s.offset}+${s.length === Infinity ? 'end' : s.length}`,
        l.state,
        `${l.heldMs} ms`,
      ]),
    );
    lines.push(table([['CLIENT', 'INODE', 'IOMODE', 'RANGE', 'STATE', 'HELD'], ...rows]));
  }
  for (const b of breaks)
    lines.push(`  inode ${b.ino}: ${b.reason} waits ${b.waitingMs} ms for layouts over ${b.offset}+${b.length}`);
  return lines.join('\n');
}

function table(rows: readonly (readonly string[])[]): string {
  return formatColumns(rows, ['right', 'left', 'right', 'right', 'right', 'left']).replace(/^/gm, '  ');
}

/** Owners are bytes; most are text. */
function ownerText(owner: Uint8Array): string {
  const text = Buffer.from(owner).toString('utf8');
  return /^[\x20-\x7e]*$/.test(text) ? text : Buffer.from(owner).toString('hex');
}
