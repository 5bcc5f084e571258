/**
 * What a client may still say of its former incarnation after a restart of the server (RFC 8881 §8.4.2.1, §12.7.4): in the
 * grace period and before its RECLAIM_COMPLETE, and only of what stands on record (`PastClients`, rule 3).
 */
import type { ReclaimRequest } from '../fs/engine/leases.ts';
import { limits } from '../fs/limits.ts';
import { type Iomode, iomode } from '../layout/types.ts';
import { isOfWholeBlocks } from './blocks.ts';
import type { Client } from './client.ts';
import type { SessionCall } from './context.ts';
import { StatusError } from './protocol/status.ts';

/** RFC 8881 §18.51.3: reclaims come first, also where there are none. @throws StatusError GRACE */
export function requireReclaimed(client: Client): void {
  if (client.reclaimComplete) return;
  throw new StatusError('GRACE', `client ${client.id} has not said RECLAIM_COMPLETE`);
}

/** LAYOUTCOMMIT with loca_reclaim (RFC 8881 §18.42.3): it grants nothing. Answers the new size. @throws StatusError, FsError */
export async function reclaimCommit(
  ino: number,
  claimed: readonly (readonly [offset: number, length: number, storage: number])[],
  when: Pick<ReclaimRequest, 'lastWriteOffset' | 'mtimeNs'>,
  call: SessionCall,
): Promise<number | undefined> {
  const { context, client } = call;
  requireGrace(call);
  const extents = claimed.map(([offset, length, storageOffset]) => ({ offset, length, storageOffset }));
  const isOdd = extents.find(
    (extent) => extent.length === 0 || !isOfWholeBlocks(extent) || extent.storageOffset % limits.blockSize !== 0,
  );
  if (isOdd !== undefined)
    throw new StatusError('INVAL', `${isOdd.offset}+${isOdd.length} at ${isOdd.storageOffset} is not of whole blocks`);
  const formers = [...client.formers];
  const requireHeld = (): void => {
    requireGrace(call);
    if (formers.every((former) => client.formers.has(former))) return;
    throw new StatusError('NO_GRACE', `what client ${client.id} had before the restart was given free`);
  };
  const answer = await context.fs.layouts.reclaimLayout(ino, { ...when, extents, requireHeld }, formers);
  if (answer === undefined) {
    const what = `inode ${ino}, ${extents.length} ranges`;
    throw new StatusError('RECLAIM_BAD', `${what}: not on record as granted to client ${client.id} before the restart`);
  }
  context.counters.layoutsCommitted++;
  return answer.size;
}

/** LAYOUTRETURN with lora_reclaim (RFC 8881 §18.44.3): what the former incarnation had of the file it needs no more. @throws StatusError */
export function returnFormer(
  { ino, iomode: mode, offset, length }: { ino: number; iomode: number; offset: number; length: number },
  call: SessionCall,
): void {
  const { context, client } = call;
  const { leases, fs } = context;
  requireGrace(call);
  if (!isIomode(mode)) throw new StatusError('BADIOMODE', `iomode ${mode}`);
  for (const former of client.formers) {
    if (mode !== iomode.read) leases.releaseProvisional(former, ino, [{ iomode: iomode.rw, offset, length }]);
    const isAll = mode === iomode.any && offset === 0 && length === Infinity;
    if (isAll) fs.layouts.forgetGrant(ino, former);
  }
  leases.grace.wake();
}

function isIomode(mode: number): mode is Iomode | typeof iomode.any {
  return mode === iomode.read || mode === iomode.rw || mode === iomode.any;
}

/** @throws StatusError NO_GRACE */
function requireGrace({ context, client }: SessionCall): void {
  if (!context.clients.past.mayReclaim) throw new StatusError('NO_GRACE', 'there is no grace period');
  if (client.reclaimComplete) throw new StatusError('NO_GRACE', `client ${client.id} has said RECLAIM_COMPLETE`);
}
