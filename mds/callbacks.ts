/** The way from the server to a client: any session of it, over any connection of that (RFC 8881 §2.10.3.1). */
import {
  type Action,
  type BulkRecallAction,
  type FileRecallAction,
  iomode,
  type RecallReply,
} from '../layout/types.ts';
import type { Client } from './client.ts';
import { stateIdToWire } from './protocol/fields.ts';
import type { Operation, RequestOf } from './protocol/operation.ts';
import { callbacks, recallAnyLayouts, returnKind } from './protocol/ops.ts';
import type { StatusName } from './protocol/status.ts';

export type RecallAction = FileRecallAction | BulkRecallAction;
/** CB_RECALLABLE_OBJ_AVAIL and CB_RECALL_ANY. */
export type HintAction = Extract<Action, { type: 'available' | 'recall-any' }>;

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
export async function sendRecall(client: Client | undefined, action: RecallAction): Promise<RecallReply> {
  const key = `recall ${action.recallId}`;
  const answer =
    action.type === 'recall'
      ? await callClient(client, { key, ino: action.ino }, callbacks.CB_LAYOUTRECALL, fileRecall(action))
      : await callClient(client, { key, ino: undefined }, callbacks.CB_LAYOUTRECALL, bulkRecall(action));
  // Anything that is not an answer to a recall counts as a state that the client does not know.
  return answer === undefined ? 'unreachable' : (recallReplies[answer] ?? 'bad-stateid');
}

/** Of session buffers: `offsets` say where those begin that are to be freed. */
export async function sendBuffersRecall(
  client: Client | undefined,
  { recallId, ino, stateid }: FileRecallAction,
  offsets: readonly number[],
): Promise<RecallReply> {
  const subject = { key: `recall ${recallId}`, ino };
  const answer = await callClient(client, subject, callbacks.CB_BUFFERS_RECALL, [stateIdToWire(stateid), [...offsets]]);
  return answer === undefined ? 'unreachable' : (recallReplies[answer] ?? 'bad-stateid');
}

function fileRecall(action: FileRecallAction): RequestOf<typeof callbacks.CB_LAYOUTRECALL> {
  const { ino, stateid, iomode: mode, offset, length, changed } = action;
  return [returnKind.file, ino, stateIdToWire(stateid), mode, offset, length, changed];
}

function bulkRecall({ kind, changed }: BulkRecallAction): RequestOf<typeof callbacks.CB_LAYOUTRECALL> {
  return [kind, null, null, iomode.any, 0, Infinity, changed];
}

/** A hint that nothing depends on: it is sent once, whatever the client answers. */
export function sendHint(client: Client | undefined, hint: HintAction): void {
  if (hint.type === 'available') {
    const subject = { key: `available ${hint.ino}`, ino: hint.ino };
    void callClient(client, subject, callbacks.CB_RECALLABLE_OBJ_AVAIL, [hint.ino]);
  } else {
    const subject = { key: `keep ${hint.keep}`, ino: undefined };
    void callClient(client, subject, callbacks.CB_RECALL_ANY, [hint.keep, recallAnyLayouts]);
  }
}

const recallReplies: Partial<Record<StatusName, RecallReply>> = {
  OK: 'ok',
  NOMATCHING_LAYOUT: 'nomatching',
  DELAY: 'delay',
};
