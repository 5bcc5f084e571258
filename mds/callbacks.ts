/** The way from the server to a client: any session of it, over any connection of that (RFC 8881 §2.10.3.1). */
import type { Action, RecallReply } from '../layout/types.ts';
import type { Client } from './client.ts';
import { stateIdToWire } from './protocol/fields.ts';
import type { Operation } from './protocol/operation.ts';
import { callbacks } from './protocol/ops.ts';
import type { StatusName } from './protocol/status.ts';

/** What a callback is about. */
export interface Subject {
  /** The same for every sending of the same question: what may have been lost goes again as it was. */
  readonly key: string;
  /** The client must have heard the replies to its requests about this file first; undefined: about any file. */
  readonly ino: number | undefined;
}

/** Settles with the client's answer, or with undefined if it was not reached in time; then ask again later. */
export async function callClient<A extends unknown[]>(
  client: Client | undefined,
  { key, ino }: Subject,
  { number: operation }: Pick<Operation<A, unknown>, 'number'>,
  args: A,
): Promise<StatusName | undefined> {
  const sessions = [...(client?.sessions.values() ?? [])];
  const referring = sessions.flatMap((session) => session.referring(ino));
  for (const session of sessions) {
    const answer = await session.callback({ key, operation, args, referring });
    if (answer !== undefined) return answer;
  }
  return undefined;
}

/** `unreachable`: nobody took it; the table sends it again, and the deadline of the recall stays. */
export async function sendRecall(
  client: Client | undefined,
  { recallId, stateid, ino, iomode, offset, length, changed }: Extract<Action, { type: 'recall' }>,
): Promise<RecallReply> {
  const answer = await callClient(client, { key: `recall ${recallId}`, ino }, callbacks.CB_LAYOUTRECALL, [
    stateIdToWire(stateid),
    ino,
    iomode,
    offset,
    length,
    changed,
  ]);
  // Anything that is not an answer to a recall counts as a state that the client does not know.
  return answer === undefined ? 'unreachable' : (recallReplies[answer] ?? 'bad-stateid');
}

const recallReplies: Partial<Record<StatusName, RecallReply>> = {
  OK: 'ok',
  NOMATCHING_LAYOUT: 'nomatching',
  DELAY: 'delay',
};
