import { Command } from 'commander';
import type { Fragmentation } from '../../fs/engine/filesystem.ts';
import type { JobStatus } from '../../fs/engine/relocation/job.ts';
import type { FenceStatus, ServerStatus } from '../../mds/protocol/server-status.ts';
import { clientTable, others, ownerText } from '../lib/clients.ts';
import { formatColumns } from '../lib/columns.ts';
import { jobText } from '../lib/job.ts';
import { print, printJson } from '../lib/program.ts';
import { allServers, type Registration, serverAt } from '../lib/registry.ts';
import { mayAsk, withClient } from '../lib/remote.ts';
import { formatSize } from '../lib/sizes.ts';

export function statusCommand(): Command {
  return new Command('status')
    .description('Show what a running daemon serves: blocks by role, clients, layouts, recalls under way.')
    .argument('[path]', 'a path on a mount, or a device; all daemons without it')
    .option('--json', 'print it as JSON, in bytes: an object for one path, an array without')
    .action(async (path: string | undefined, options: { readonly json?: true }) => {
      if (path !== undefined) {
        const shown = await lookInto(await serverAt(path));
        if (options.json === true) printJson(jsonOf(shown));
        else print(textOf(shown));
        return;
      }
      const all = await Promise.all((await allServers()).map(lookIntoOwn));
      if (options.json === true) printJson(all.map((each) => ('status' in each ? jsonOf(each) : outline(each))));
      else for (const each of all) print('status' in each ? textOf(each) : outlineText(each));
    });
}

interface Shown {
  readonly server: Registration;
  readonly status: ServerStatus;
  readonly job: JobStatus | undefined;
  readonly fragmentation: Fragmentation;
}

async function lookInto(server: Registration): Promise<Shown> {
  return withClient(server, async (client) => {
    const status = await client.admin.status();
    const clients = others(status.clients);
    return {
      server,
      status: { ...status, clients },
      job: await client.admin.job(),
      fragmentation: await client.admin.fragmentation(),
    };
  });
}

/** Among all, one that others run is shown as it registered: it does not answer. */
async function lookIntoOwn(server: Registration): Promise<Shown | Registration> {
  return (await mayAsk(server)) ? lookInto(server) : server;
}

function outline({ pid, mountPoint, uuid, device }: Registration): object {
  return { pid, mountPoint: mountPoint ?? null, filesystem: { uuid, device } };
}

function outlineText({ pid, mountPoint, uuid, device }: Registration): string {
  const where = mountPoint === undefined ? '' : `, mounted on ${mountPoint}`;
  return `${device}: ${uuid}\n  process ${pid}${where}, answers only root and the user who runs it`;
}

function jsonOf({ server, status, job, fragmentation }: Shown): object {
  const quarantine = status.clients
    .filter((client) => client.quarantinedBytes > 0)
    .map(({ id, quarantinedBytes }) => ({ client: id, bytes: quarantinedBytes }));
  return {
    pid: server.pid,
    mountPoint: server.mountPoint ?? null,
    ...status,
    clients: status.clients.map((client) => ({ ...client, owner: ownerText(client.owner) })),
    quarantine,
    fragmentation,
    job: job ?? null,
  };
}

function textOf({ server, status, job, fragmentation }: Shown): string {
  const { filesystem, clients, layouts, breaks, fences, fenceCounts, counters } = status;
  const { blocks, blockSize } = filesystem;
  const size = (count: number): string => formatSize(count * blockSize);
  const lines = [
    `${filesystem.device}: ${filesystem.uuid} ${JSON.stringify(filesystem.label)}, generation ${filesystem.generation}`,
    `  process ${server.pid}${server.mountPoint === undefined ? '' : `, mounted on ${server.mountPoint}`}${filesystem.readOnly ? ', read-only' : ''}`,
    `  serving at ${status.addresses.join(' ')}`,
    `  ${size(blocks.total)}: ${size(blocks.file)} in files (${size(blocks.shared)} shared), ${size(blocks.free)} free, ` +
      `${size(blocks.provisional)} granted, ${size(blocks.quarantined)} quarantined, ${size(blocks.freeing)} being freed${blocks.withheld === 0 ? '' : `, ${size(blocks.withheld)} withheld`}${blocks.bad === 0 ? '' : `, ${size(blocks.bad)} bad`}`,
    ...fragmentationText(fragmentation),
    `  ${filesystem.inodes} inodes, lease ${status.leaseMs} ms${status.graceLeftMs > 0 ? `, grace for ${status.graceLeftMs} ms` : ''}`,
    `  ${counters.requests} requests, ${counters.layoutsGranted} layouts granted, ${counters.recallsSent} recalls, ${counters.layoutsRevoked} revoked`,
    ...bufferLines(status.buffers),
    ...fenceCounts.map((c) => `  fencing, ${c.provider}: ${c.fenced} held, ${c.waiting} waited, ${c.failed} failed`),
  ];
  if (filesystem.copying !== undefined) lines.push(`  a tree is being copied: ${filesystem.copying} inodes so far`);
  if (filesystem.reserve > 0) lines.push(`  ${filesystem.reserve / 100}% of the blocks are kept for root`);
  const { trees, inodes } = filesystem.reaping;
  if (trees > 0) lines.push(`  ${trees} deleted trees or large files are being removed: ${inodes} inodes so far`);
  if (filesystem.shutdown !== undefined) lines.push(`  SHUT DOWN: ${filesystem.shutdown}`);
  if (job !== undefined) lines.push(`  job ${job.id}, ${job.state}: ${jobText(job)}`);
  if (job?.error !== undefined && job.state === 'failed') lines.push(`    ${job.error.detail} (${job.error.code})`);
  if (clients.length > 0) lines.push(indented(clientTable(clients)));
  if (fences.length > 0) lines.push(fenceTable(fences));
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

function bufferLines({ bytesMax, clients }: ServerStatus['buffers']): readonly string[] {
  const bytes = clients.reduce((sum, each) => sum + each.bytes, 0);
  return [
    `  session buffers: ${formatSize(bytes)} of ${formatSize(bytesMax)} in use`,
    ...clients.map((each) => `    client ${each.client}: ${each.count} buffers, ${formatSize(each.bytes)}`),
  ];
}

function fragmentationText(f: Fragmentation): string[] {
  const average = f.files === 0 ? 0 : f.extents / f.files;
  return [
    `  ${f.files} files in ${f.extents} extents (${average.toFixed(2)} each, ${f.idealExtents} would be ideal), ` +
      `${percent(f.fragmentedFiles, f.files)} fragmented, ${percent(f.hugeMappableBytes, f.hugePageBytes)} of their huge pages aligned`,
    `  ${f.freeExtents} free extents, the largest ${formatSize(f.largestFreeBytes)}`,
  ];
}

function percent(part: number, whole: number): string {
  return `${whole === 0 ? 0 : Math.round((100 * part) / whole)} %`;
}

function fenceTable(fences: readonly FenceStatus[]): string {
  const rows = fences.map((f) => [
    String(f.client),
    f.provider,
    String(f.attempts),
    f.retryMs === undefined ? '-' : `${f.retryMs} ms`,
    formatSize(f.bytes),
    f.error ?? '-',
  ]);
  const header = ['CLIENT', 'FENCE', 'ATTEMPTS', 'NEXT', 'QUARANTINED', 'ERROR'];
  return indented(formatColumns([header, ...rows], ['right', 'left', 'right', 'right', 'right', 'left']));
}

function table(rows: readonly (readonly string[])[]): string {
  return indented(formatColumns(rows, ['right', 'left', 'right', 'right', 'right', 'left']));
}

function indented(text: string): string {
  return text.replace(/^/gm, '  ');
}
