/** What every reply in a session says of the state of its client (sr_status_flags, RFC 8881 §18.46.3). */
import type { Revocation } from './client.ts';
import { sequenceFlag } from './protocol/status.ts';
import type { Session } from './session.ts';

export function statusFlags(session: Session): number {
  const { client } = session;
  let flags = client.fenced ? revocationFlags[client.revocation] : 0;
  if (client.formers.size > 0) flags |= sequenceFlag.RESTART_RECLAIM_NEEDED;
  if (session.faulty) flags |= sequenceFlag.BACKCHANNEL_FAULT;
  if (session.connections.size === 0) {
    flags |= sequenceFlag.CB_PATH_DOWN_SESSION;
    const reachable = [...client.sessions.values()].some(({ connections }) => connections.size > 0);
    if (!reachable) flags |= sequenceFlag.CB_PATH_DOWN;
  }
  return flags;
}

/** They stay until FREE_STATEID has taken the last one out. */
const revocationFlags: Record<Revocation, number> = {
  recalled: sequenceFlag.RECALLABLE_STATE_REVOKED,
  administrator: sequenceFlag.ADMIN_STATE_REVOKED,
  expired: sequenceFlag.EXPIRED_SOME_STATE_REVOKED,
  'all-expired': sequenceFlag.EXPIRED_ALL_STATE_REVOKED,
};
