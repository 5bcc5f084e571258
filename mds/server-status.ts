import { buffersIno } from '../fs/format/session-buffers.ts';
import type { Client } from './client.ts';
import type { Context } from './context.ts';
import { wireLimits } from './protocol/limits.ts';
import type { ClientStatus, ServerStatus } from './protocol/server-status.ts';

export interface ServerFacts {
  readonly now: number;
  readonly startedAt: number;
  readonly graceEndsAt: number;
  readonly addresses: readonly string[];
}

/** What STATUS answers, of this moment. */
export function serverStatus(context: Context, facts: ServerFacts): ServerStatus {
  const { fs, leases, clients, fences } = context;
  const quarantined = fs.quarantined();
  return {
    filesystem: fs.status(),
    uptimeMs: Math.round(facts.now - facts.startedAt),
    leaseMs: context.leaseMs,
    graceLeftMs: Math.max(0, Math.round(facts.graceEndsAt - facts.now)),
    addresses: facts.addresses,
    clients: [
      ...[...clients.living()].map((client) => living(client, context, facts.now, quarantined)),
      ...[...clients.past.all].map(
        ([id, { owner, successor }]): ClientStatus => ({
          id,
          owner: Buffer.from(owner, 'hex'),
          implementation: '',
          state: !clients.past.returning.has(id) ? 'expired' : successor === undefined ? 'returning' : 'reclaiming',
          leaseLeftMs: 0,
          sessions: 0,
          connections: 0,
          opens: 0,
          quarantinedBytes: quarantined.get(id) ?? 0,
        }),
      ),
    ],
    layouts: leases.table
      .held(wireLimits.statusRowsMax + 1)
      .filter(({ ino }) => ino !== buffersIno)
      .map(({ client, ino, stateid, state, since, segments }) => ({
        client,
        ino,
        stateid,
        state,
        heldMs: Math.max(0, Math.round(facts.now - since)),
        segments,
      })),
    breaks: leases.waiting(),
    fences: fences.status(),
    counters: { ...context.counters },
    fenceCounts: fences.counts(),
    buffers: context.buffers.status(),
    truncated: false,
  };
}

function living(client: Client, context: Context, now: number, quarantined: ReadonlyMap<number, number>): ClientStatus {
  const sessions = [...client.sessions.values()];
  return {
    id: client.id,
    owner: client.introduction.owner,
    implementation: client.introduction.implementation,
    state: client.fenced ? 'fenced' : context.clients.isCourteous(client.id) ? 'courtesy' : 'active',
    leaseLeftMs: Math.max(0, Math.round(client.leaseEndsAt - now)),
    sessions: sessions.length,
    connections: new Set(sessions.flatMap((session) => [...session.connections])).size,
    opens: context.opens.countOf(client.id),
    quarantinedBytes: quarantined.get(client.id) ?? 0,
  };
}
