/**
 * From a request frame to its reply: session, slot, lease, operation (RFC 8881 §2.10.6, §18.46). A request that fails
 * before its slot was found right moves neither the slot nor the lease.
 */
import { AssertionFailure, FsError } from '../fs/errors.ts';
import type { Caller } from '../fs/vfs.ts';
import type { Connection } from './connection.ts';
import type { ConnectionCall, Context, SessionCall } from './context.ts';
import { serverLimits } from './limits.ts';
import type { Log } from './log.ts';
import type { Credentials } from './protocol/fields.ts';
import { encodeFrame, frameKind, type ReplyFrame, type RequestFrame, type SequenceResult } from './protocol/frame.ts';
import { wireLimits } from './protocol/limits.ts';
import { StatusError, sequenceFlag, status, statusOfFsError } from './protocol/status.ts';
import { services } from './services.ts';
import type { Answer, Session } from './session.ts';

/** Never rejects. */
export async function answerRequest(
  frame: RequestFrame,
  connection: Connection,
  context: Context,
  log: Log,
): Promise<ReplyFrame> {
  context.counters.requests++;
  const [, xid, sessionId] = frame;
  if (sessionId === null) return reply(xid, await execute(frame, { context, connection }, log), null);
  let session: Session;
  try {
    session = context.clients.session(sessionId);
  } catch (error) {
    return reply(xid, failure(error, log), null);
  }
  return answerInSession(frame, session, connection, context, log);
}

async function answerInSession(
  frame: RequestFrame,
  session: Session,
  connection: Connection,
  context: Context,
  log: Log,
): Promise<ReplyFrame> {
  const [, xid, , slot, seqid, cacheThis, operation, , credentials] = frame;
  const { client } = session;
  const verdict = session.begin(slot, seqid, operation);
  if (verdict.kind === 'refused')
    return reply(xid, failure(new StatusError(verdict.status, verdict.detail), log), null);
  context.clients.renew(client);
  if (verdict.kind === 'replay') return reply(xid, verdict.answer, sequenceResult(session));

  const caller = callerOf(credentials ?? client.introduction.credentials, client.id);
  const call: SessionCall = { context, connection, session, client, caller };
  let answer = await execute(frame, call, log);
  if (cacheThis && isTooLarge(answer)) {
    answer = failure(new StatusError('REP_TOO_BIG_TO_CACHE', 'ask again without cacheThis, or for less'), log);
  }
  session.finish(slot, cacheThis ? answer : undefined);
  return reply(xid, answer, sequenceResult(session));
}

async function execute(frame: RequestFrame, call: ConnectionCall | SessionCall, log: Log): Promise<Answer> {
  const [, , , , , , operation, args] = frame;
  try {
    const service = services.get(operation);
    if (service === undefined) throw new StatusError('OP_ILLEGAL', `there is no operation ${operation}`);
    return { status: status.OK, results: await service.run(args, call), error: null };
  } catch (error) {
    return failure(error, log);
  }
}

function failure(error: unknown, log: Log): Answer {
  const named = error instanceof FsError ? statusOfFsError(error) : error;
  if (named instanceof StatusError) {
    const detail = named.detail.slice(0, wireLimits.textMax);
    const results = named.results === undefined ? null : [...named.results];
    return { status: status[named.status], results, error: [detail, named.errno ?? null] };
  }
  log.error({ error }, 'an operation failed in a way that it must not');
  const detail = error instanceof AssertionFailure ? error.message : 'internal error, see the log of the server';
  return { status: status.SERVERFAULT, results: null, error: [detail.slice(0, wireLimits.textMax), null] };
}

function reply(xid: number, answer: Answer, sequence: SequenceResult | null): ReplyFrame {
  return [frameKind.reply, xid, answer.status, answer.results, answer.error, sequence];
}

/** Only operations that may run twice have such replies: what must not run twice answers little. */
function isTooLarge(answer: Answer): boolean {
  return encodeFrame(reply(0, answer, null)).length > serverLimits.cachedReplyMax;
}

function sequenceResult({ client, slotCount }: Session): SequenceResult {
  const reachable = [...client.sessions.values()].some((session) => session.connections.length > 0);
  const flags =
    (reachable ? 0 : sequenceFlag.CB_PATH_DOWN) | (client.fenced ? sequenceFlag.RECALLABLE_STATE_REVOKED : 0);
  return [flags, slotCount - 1];
}

function callerOf([uid, gid, groups]: Credentials, client: number): Caller {
  return { uid, gid, groups: [gid, ...groups], pid: 0, access: 'engine', client };
}
