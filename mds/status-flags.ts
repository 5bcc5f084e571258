/** What every reply in a session says of the state of its client (sr_status_flags, RFC 8881 §18.46.3). */
import { sequenceFlag } from './protocol/status.ts';
import type { Session } from './session.ts';

export function statusFlags(session: Session): number {
  const { client } = session;
  let flags = client.fenced ? sequenceFlag.RECALLABLE_STATE_REVOKED : 0;
  if (client.formers.size > 0) flags |= sequenceFlag.RESTART_RECLAIM_NEEDED;
  if (session.faulty) flags |= sequenceFlag.BACKCHANNEL_FAULT;
  if (session.connections.size === 0) {
    flags |= sequenceFlag.CB_PATH_DOWN_SESSION;
    const reachable = [...client.sessions.values()].some(({ connections }) => connections.size > 0);
    if (!reachable) flags |= sequenceFlag.CB_PATH_DOWN;
  }
  return flags;
}
