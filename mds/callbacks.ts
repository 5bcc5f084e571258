/** The way from the server to a client: any connection of any of its sessions (RFC 8881 §2.10.3.1). */
import type { Action, RecallReply } from '../layout/types.ts';
import type { Client } from './client.ts';
import type { Clock } from './clock.ts';
import { serverLimits } from './limits.ts';
import { stateIdToWire } from './protocol/fields.ts';
import type { RequestOf } from './protocol/operation.ts';
import { callbacks } from './protocol/ops.ts';
import { status } from './protocol/status.ts';

/** `unreachable`: no connection of the client took it; the table sends it again, and the deadline of the recall stays. */
export async function sendRecall(
  client: Client | undefined,
  { stateid, ino, iomode, offset, length, changed }: Extract<Action, { type: 'recall' }>,
  clock: Clock,
): Promise<RecallReply> {
  const args: RequestOf<typeof callbacks.CB_LAYOUTRECALL> = [
    stateIdToWire(stateid),
    ino,
    iomode,
    offset,
    length,
    changed,
  ];
  const after = (task: () => void) => clock.after(serverLimits.callbackReplyMs, task);
  for (const session of client?.sessions.values() ?? []) {
    for (const connection of session.connections) {
      const sequence = session.nextCallbackSequence();
      const answer = await connection.callback(session.id, sequence, callbacks.CB_LAYOUTRECALL, args, after);
      if (answer !== undefined) return replyOf(answer);
    }
  }
  return 'unreachable';
}

/** Anything that is not an answer to a recall counts as a state that the client does not know. */
function replyOf(answer: number): RecallReply {
  switch (answer) {
    case status.OK:
      return 'ok';
    case status.NOMATCHING_LAYOUT:
      return 'nomatching';
    case status.DELAY:
      return 'delay';
    default:
      return 'bad-stateid';
  }
}
