/** Clients and sessions: RFC 8881 §18.34 to §18.38, §18.46, §18.50, §18.51. */
import { seqidAge } from '../../layout/stateid.ts';
import type { StateId } from '../../layout/types.ts';
import { inSession, onConnection, type Service, type SessionCall } from '../context.ts';
import { tellOfVoidDevices } from '../devices.ts';
import { stateIdFromWire, type WireStateId } from '../protocol/fields.ts';
import { wireLimits } from '../protocol/limits.ts';
import { exchangeFlag, operations } from '../protocol/ops.ts';
import { StatusError, type StatusName, status } from '../protocol/status.ts';

/** eia_flags that mean something here (RFC 8881 §18.35); CONFIRMED_R is for answers. */
const askedFlags =
  exchangeFlag.USE_NON_PNFS | exchangeFlag.USE_PNFS_MDS | exchangeFlag.USE_PNFS_DS | exchangeFlag.UPD_CONFIRMED_REC_A;

export const sessionServices: readonly Service[] = [
  onConnection(operations.EXCHANGE_ID, (args, { context }) => {
    const [owner, verifier, asked, implementation, ioMaxMs, credentials, process] = args;
    if ((asked & ~askedFlags) !== 0) throw new StatusError('INVAL', `flags 0x${asked.toString(16)}`);
    const pnfs = (asked & exchangeFlag.USE_PNFS_MDS) !== 0;
    const introduction = { owner, verifier, implementation, pnfs, ioMaxMs, credentials, process };
    const update = (asked & exchangeFlag.UPD_CONFIRMED_REC_A) !== 0;
    const { client, confirmed } = context.clients.exchangeId(introduction, update);
    const role = client.introduction.pnfs ? exchangeFlag.USE_PNFS_MDS : exchangeFlag.USE_NON_PNFS;
    const flags = role | (confirmed ? exchangeFlag.CONFIRMED_R : 0);
    const { fs, leaseMs } = context;
    const uuid = Buffer.from(fs.uuid.replaceAll('-', ''), 'hex');
    return [client.id, client.nextCreation, flags >>> 0, uuid, fs.generation, leaseMs, fs.vfs.rootIno];
  }),

  onConnection(operations.CREATE_SESSION, async (args, { context, connection, credentials }) => {
    const [clientId, sequence, slots, callbackSlots] = args;
    const { clients } = context;
    const wanted = { slots, callbackSlots };
    const session = await clients.createSession(clientId, sequence, wanted, connection, credentials?.[0]);
    // A retry is answered as it was, also when the session has been destroyed since.
    if (session.alive) clients.bind(session, connection);
    const { id, slotCount, callbackSlotCount } = session;
    return [id, slotCount, callbackSlotCount, wireLimits.frameMax, wireLimits.dataMax];
  }),

  onConnection(operations.BIND_CONN_TO_SESSION, ([id], { context, connection }) => {
    context.clients.bind(context.clients.session(id), connection);
    return [];
  }),

  onConnection(operations.DESTROY_SESSION, async ([id], call) => {
    const { clients } = call.context;
    const session = clients.session(id);
    // It would wait for itself.
    if ('session' in call && call.session === session) throw new StatusError('INVAL', 'sent within the session itself');
    await clients.destroySession(session);
    if (session.client.sessions.size === 0) call.context.buffers.freeAll(session.client.id);
    return [];
  }),

  onConnection(operations.DESTROY_CLIENTID, async ([clientId], { context }) => {
    await context.clients.destroyClient(clientId);
    return [];
  }),

  inSession(operations.SEQUENCE, () => []),

  inSession(operations.RECLAIM_COMPLETE, async (_, { context, client }) => {
    await context.clients.reclaimComplete(client);
    return [];
  }),

  inSession(operations.TEST_STATEID, ([stateids], call) => {
    const layouts = layoutsOnce(call);
    return [stateids.map((wire) => status[stateOf(wire, call, layouts)])];
  }),

  inSession(operations.FREE_STATEID, async ([wire], call) => {
    const state = stateOf(wire, call, layoutsOnce(call));
    if (state === 'BAD_STATEID') throw new StatusError(state, `client ${call.client.id} has no such state`);
    if (state !== 'ADMIN_REVOKED' && state !== 'EXPIRED')
      throw new StatusError('LOCKS_HELD', 'the state is in use: close or return it');
    await freeRevoked(stateIdFromWire(wire).other, call);
    return [];
  }),
];

type LayoutStates = ReadonlyMap<string, StateId>;

/** One look for all stateids of a request, and none where they are of opens. */
function layoutsOnce({ context, client }: SessionCall): () => LayoutStates {
  let states: LayoutStates | undefined;
  return () => {
    states ??= new Map(context.leases.table.heldBy(client.id).map(({ stateid }) => [stateid.other, stateid]));
    return states;
  };
}

/** `layouts`: those of the client by the `other` of their states. */
function stateOf(wire: WireStateId, { context, client }: SessionCall, layouts: () => LayoutStates): StatusName {
  const stateid = stateIdFromWire(wire);
  if (client.revoked.has(stateid.other))
    return client.revocation === 'recalled' || client.revocation === 'administrator' ? 'ADMIN_REVOKED' : 'EXPIRED';
  if (context.opens.peek(stateid, client.id) !== undefined) return 'OK';
  const held = layouts().get(stateid.other);
  const age = held === undefined ? undefined : seqidAge(held.seqid, stateid.seqid);
  if (age === undefined) return 'BAD_STATEID';
  return age > 0 ? 'OLD_STATEID' : 'OK';
}

/**
 * By freeing a revoked layout the client says that no I/O below it is under way, as LAYOUTRETURN would have said. With
 * the last one it may have layouts again, and what was in quarantine for it is free.
 * @throws StatusError DELAY: the fence is still being put up
 */
async function freeRevoked(other: string, { context, client }: SessionCall): Promise<void> {
  const { leases, fences } = context;
  if (leases.isFencing(client.id) || fences.isRunning(client.id)) {
    throw new StatusError('DELAY', `client ${client.id} is being fenced`);
  }
  if (client.revoked.size === 1) {
    await fences.end(client.id);
    await context.fs.layouts.releaseQuarantine(client.id);
    context.leases.table.forgetClient(client.id);
    tellOfVoidDevices(client, context.leases.table.heldBy(client.id));
  }
  client.revoked.delete(other);
  context.leases.table.freeState(client.id, other);
}
