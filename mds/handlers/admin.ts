/** The filesystem as a whole. */

import type { ByteRange } from '../../fs/engine/leases.ts';
import { nameFromBytes } from '../../fs/name.ts';
import type { MappedExtent } from '../../fs/vfs.ts';
import { recallKind } from '../../layout/types.ts';
import { requireAdministrator } from '../administrator.ts';
import { type Context, inSession, onConnection, type Service } from '../context.ts';
import { attrToWire, busAddressToWire } from '../protocol/fields.ts';
import { wireLimits } from '../protocol/limits.ts';
import type { ReplyOf } from '../protocol/operation.ts';
import { operations } from '../protocol/ops.ts';
import { serverStatusToWire } from '../protocol/server-status.ts';
import { StatusError } from '../protocol/status.ts';

const readAccess = 4;

export const adminServices: readonly Service[] = [
  /** Where the data of a file lies is told to those who may read it. */
  inSession(operations.MAP, async ([ino, from], { context, caller }) => {
    await context.fs.vfs.access(ino, readAccess, caller);
    const extents = (await context.fs.map(ino)).filter(({ offset, length }) => offset + length > from);
    const listed = extents.slice(0, wireLimits.mapExtentsMax);
    return [listed.map(extentToWire), listed.length === extents.length];
  }),

  inSession(operations.CLONE, async ([ino, parent, name], { context, caller }) => [
    attrToWire(await context.fs.cloneFile(ino, parent, nameFromBytes(name), caller)),
  ]),

  inSession(operations.CLONE_TREE, async ([ino, parent, name], { context, caller }) => [
    attrToWire(await context.fs.cloneTree(ino, parent, nameFromBytes(name), caller)),
  ]),

  onConnection(operations.STATUS, (_, { context }) => [serverStatusToWire(context.status())]),

  inSession(operations.EVICT, async ([who], { context, client, caller }) => {
    requireAdministrator(caller);
    const evicted = typeof who === 'number' ? [who] : context.clients.ofOwner(who).slice(0, wireLimits.evictedMax);
    if (evicted.length === 0) throw new StatusError('NOENT', 'no client of that owner is known', 'ENOENT');
    if (evicted.includes(client.id))
      throw new StatusError('INVAL', `client ${client.id} is the one that asks`, 'EINVAL');
    for (const each of evicted) await context.clients.evict(each);
    return [evicted];
  }),

  inSession(operations.REVOKE, ([clientId], { context, client, caller }) => {
    requireAdministrator(caller);
    if (clientId === client.id) throw new StatusError('INVAL', `client ${client.id} is the one that asks`, 'EINVAL');
    return [context.clients.revoke(clientId)];
  }),

  inSession(operations.RECALL, async ([clientId, ino, offset, length], { context, caller }) => {
    requireAdministrator(caller);
    if (clientId !== null && ino !== null) throw new StatusError('INVAL', 'a client or an inode, not both', 'EINVAL');
    if (clientId !== null && context.clients.find(clientId) === undefined)
      throw new StatusError('NOENT', `client ${clientId} is not known`);
    if (ino === null) await recallClients(clientId, context);
    else await recallFile(ino, { offset, length }, context);
    return [];
  }),

  inSession(operations.STATFS, async ([ino], { context }) => {
    const s = await context.fs.vfs.statfs(ino ?? undefined);
    return [s.blockSize, s.blocks, s.blocksFree, s.blocksAvailable, s.files, s.filesFree, s.nameMax];
  }),

  inSession(operations.SYNCFS, async (_, { context }) => {
    await context.fs.vfs.syncfs();
    return [];
  }),
];

/** What one client holds, or everybody; settles when nothing of that is held, if need be by fences. */
async function recallClients(client: number | null, { leases }: Context): Promise<void> {
  const asked = client === null ? leases.table.holders() : [client];
  await Promise.all(asked.map((id) => leases.recallAll(id, recallKind.all, false)));
}

async function recallFile(ino: number, range: ByteRange, { leases }: Context): Promise<void> {
  const broken = leases.breakLayouts(ino, range, 'remap', undefined);
  await broken?.done;
  // It ends too when what is in the way does not go away, and this says so. Nobody was given anything meanwhile.
  const again = broken === undefined ? undefined : leases.breakLayouts(ino, range, 'remap', undefined);
  again?.release();
  broken?.release();
}

function extentToWire(extent: MappedExtent): ReplyOf<typeof operations.MAP>[0][number] {
  return [
    extent.offset,
    extent.length,
    extent.device,
    extent.storageOffset,
    busAddressToWire(extent.busAddress),
    extent.unwritten,
    extent.shares,
  ];
}
