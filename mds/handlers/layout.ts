/** Layouts: RFC 8881 §18.40 (GETDEVICEINFO), §18.42 to §18.44; where their device is. */
import type { CommitRequest, LayoutExtent } from '../../fs/engine/leases.ts';
import { buffersIno } from '../../fs/format/session-buffers.ts';
import { after } from '../../fs/reply.ts';
import type { BulkKind, StateId } from '../../layout/types.ts';
import { isOfWholeBlocks } from '../blocks.ts';
import { inSession, type Service, type SessionCall } from '../context.ts';
import { deviceIdOf } from '../device-id.ts';
import { theDevice } from '../devices.ts';
import { grantLayout } from '../grants.ts';
import { busAddressToWire, stateIdFromWire, stateIdToWire, type WireTime } from '../protocol/fields.ts';
import type { ReplyOf } from '../protocol/operation.ts';
import { operations, returnKind } from '../protocol/ops.ts';
import { StatusError } from '../protocol/status.ts';
import { reclaimCommit, requireReclaimed, returnFormer } from '../reclaim.ts';
import { isReturnedOnClose } from '../return-on-close.ts';
import { withAllKeysReturned, withKeysForgotten, withKeysReplaced, withKeysReturned } from '../rma/closing.ts';

export const layoutServices: readonly Service[] = [
  inSession(operations.LAYOUTGET, (args, call) => {
    const [ino, wireStateid, mode, offset, length, minlength, extentsMax, signal] = args;
    const stateid = stateIdFromWire(wireStateid);
    requireReclaimed(call.client);
    const request = { ino, stateid, iomode: mode, offset, length, minlength, extentsMax, signal };
    const answered = withKeysForgotten(ino, stateid, call, () => grantLayout(request, call));
    return after(answered, (granted): ReplyOf<typeof operations.LAYOUTGET> => {
      const { iomode: given, offset: from, length: covered } = granted.segment;
      const extents = granted.extents.map((extent) => extentToWire(extent, call));
      return [
        stateIdToWire(granted.stateid),
        [given, from, covered],
        extents,
        isReturnedOnClose(given, call.context.fs.isPinned(ino)),
      ];
    });
  }),

  inSession(operations.LAYOUTCOMMIT, async ([ino, wireStateid, wireRanges, lastWriteOffset, mtime, reclaim], call) => {
    const { context, client } = call;
    const mtimeNs = mtime === null ? undefined : nanoseconds(mtime);
    if (reclaim !== null) {
      if (wireStateid !== null || wireRanges.length > 0)
        throw new StatusError('INVAL', 'what is reclaimed has neither a state nor other ranges');
      const size = await reclaimCommit(ino, reclaim, { lastWriteOffset: lastWriteOffset ?? undefined, mtimeNs }, call);
      return [size ?? null];
    }
    if (wireStateid === null) throw new StatusError('INVAL', 'a commit names the state of the layout');
    const ranges = wireRanges.map(([offset, length]) => ({ offset, length }));
    const stateid = stateIdFromWire(wireStateid);
    const requireHeld = (): void => {
      const refused = context.leases.table.checkCommit({ client: client.id, ino, stateid }, ranges);
      if (refused !== undefined) throw new StatusError(refused.status, refused.detail);
    };
    requireHeld();
    const request: CommitRequest = {
      ranges,
      lastWriteOffset: lastWriteOffset ?? undefined,
      mtimeNs,
      // The commit may have to wait, and a fence may come meanwhile.
      requireHeld,
    };
    const commit = () => context.fs.layouts.commitLayout(ino, request, client.id);
    const { size } = await withKeysReplaced(ino, ranges, call, commit);
    context.leases.table.committed(context.leases.now, client.id, ino, ranges);
    context.counters.layoutsCommitted++;
    return [size ?? null];
  }),

  inSession(operations.LAYOUTRETURN, ([kind, ino, wireStateid, mode, offset, length, reclaim], call) => {
    if (kind !== returnKind.file) {
      if (reclaim) throw new StatusError('INVAL', 'only layouts of one file are returned from before a restart');
      return withAllKeysReturned(call, () => [returnAll(kind, call)]);
    }
    if (ino === null || (wireStateid === null && !reclaim))
      throw new StatusError('INVAL', 'a return of a file names it and its state');
    if (!isOfWholeBlocks({ offset, length })) throw new StatusError('INVAL', 'layouts are of whole blocks');
    if (ino === buffersIno) throw new StatusError('INVAL', 'session buffers are given back by BUFFERS_FREE');
    if (reclaim || wireStateid === null) {
      returnFormer({ ino, iomode: mode, offset, length }, call);
      return [null];
    }
    const request = { ino, stateid: stateIdFromWire(wireStateid), iomode: mode, offset, length };
    return withKeysReturned(request, call, () => {
      const left = returnLayout(request, call);
      return [left === undefined ? null : stateIdToWire(left)];
    });
  }),

  inSession(operations.GETDEVICEINFO, ([deviceId, notify], { context, client }) => {
    const { fs } = context;
    requireDevice(deviceId, { context, client });
    const { device } = fs;
    client.deviceChanges = notify;
    return [
      Buffer.from(fs.uuid.replaceAll('-', ''), 'hex'),
      device.path,
      device.kind,
      device.size,
      fs.status().blockSize,
      device.accessWidth,
      busAddressToWire(context.topology.translated(device.busAddress, client.introduction.owner, client.peer?.pci)),
      fs.generation,
      client.deviceKey,
    ];
  }),

  inSession(operations.DEVICE_CHALLENGE, async ([deviceId], { context, client }) => {
    requireDevice(deviceId, { context, client });
    const { storageOffset, nonce } = await context.challenges.issue();
    return [storageOffset, nonce];
  }),
];

/** null is the one that there is. @throws StatusError NOENT */
function requireDevice(id: Uint8Array | null, { context, client }: Pick<SessionCall, 'context' | 'client'>): void {
  const current = deviceIdOf(context.fs.generation, client, theDevice);
  const named = id ?? current;
  if (Buffer.compare(named, current) !== 0) throw new StatusError('NOENT', 'no such device, or its id is void');
}

function extentToWire(
  { state, offset, length, device, storageOffset }: LayoutExtent,
  { context, client }: SessionCall,
): ReplyOf<typeof operations.LAYOUTGET>[2][number] {
  return [state, offset, length, deviceIdOf(context.fs.generation, client, device), storageOffset];
}

interface Return {
  readonly ino: number;
  readonly stateid: StateId;
  readonly iomode: number;
  readonly offset: number;
  readonly length: number;
}

/** Provisional blocks go first: whoever waits for the range is woken only then. @throws StatusError */
function returnLayout(request: Return, { context, client }: SessionCall): StateId | undefined {
  const { leases } = context;
  const result = leases.table.return(leases.now, { client: client.id, ...request });
  if (result.kind === 'refused') throw new StatusError(result.status, result.detail);
  context.counters.layoutsReturned += result.released.length;
  leases.releaseProvisional(client.id, request.ino, result.released);
  leases.settle(client.id, request.ino);
  leases.perform(result.actions);
  return result.stateid;
}

/** LAYOUTRETURN4_FSID and _ALL mean the same here: a server has one filesystem. */
function returnAll(kind: BulkKind, { context, client }: SessionCall): null {
  const { leases, counters } = context;
  const result = leases.table.returnAll(leases.now, client.id, kind);
  if (result.kind === 'refused') throw new StatusError(result.status, result.detail);
  for (const { ino, segments } of result.released) {
    counters.layoutsReturned += segments.length;
    leases.releaseProvisional(client.id, ino, segments);
    leases.settle(client.id, ino);
  }
  leases.perform(result.actions);
  return null;
}

function nanoseconds([sec, nsec]: WireTime): bigint {
  return BigInt(sec) * 1_000_000_000n + BigInt(nsec);
}
