/** Where a client's own devices hang: whether they may reach the memory, and by which addresses (docs/topology.md). */
import { inSession, type Service } from '../context.ts';
import { busAddressToWire } from '../protocol/fields.ts';
import { operations, routeKinds } from '../protocol/ops.ts';
import { StatusError } from '../protocol/status.ts';

export const topologyServices: readonly Service[] = [
  inSession(operations.CLIENT_DEVICE, async ([pci], { context, client }) => {
    const { topology, leases, fs } = context;
    const verdict = pci === null ? undefined : await topology.judge(pci);
    // What it holds was granted for the route that it had.
    if (leases.table.holdsAny(client.id)) throw new StatusError('FILE_OPEN', `client ${client.id} holds layouts`);
    client.peer = pci === null || verdict === undefined ? undefined : { pci, verdict };
    const address = topology.translated(fs.device.busAddress, client.introduction.owner, client.peer?.pci);
    const { allowed, route, reason } = verdict ?? { allowed: true, route: undefined, reason: 'a processor' };
    const kind = route === undefined ? null : routeKinds.indexOf(route.kind);
    return [allowed, kind, route?.distance ?? null, reason, busAddressToWire(address)];
  }),
];
