/**
 * From a request frame to its reply: session, slot, lease, operation (RFC 8881 §2.10.6, §18.46). A request that fails
 * before its slot was found right moves neither the slot nor the lease.
 */
import { AssertionFailure, FsError } from '../fs/errors.ts';
import { after } from '../fs/reply.ts';
import type { Caller, Reply } from '../fs/vfs.ts';
import type { Connection } from './connection.ts';
import type { ConnectionCall, Context, SessionCall } from './context.ts';
import { serverLimits } from './limits.ts';
import type { Log } from './log.ts';
import { digestOf } from './protocol/digest.ts';
import type { Credentials } from './protocol/fields.ts';
import { frameKind, type ReplyFrame, type RequestFrame, type SequenceResult } from './protocol/frame.ts';
import { wireLimits } from './protocol/limits.ts';
import { sizeAtMost } from './protocol/msgpack.ts';
import { operations } from './protocol/ops.ts';
import { StatusError, status, statusOfFsError } from './protocol/status.ts';
import { concernOf } from './referring.ts';
import { services } from './services.ts';
import type { Session } from './session.ts';
import type { Answer, KeptAnswer } from './slot.ts';
import { statusFlags } from './status-flags.ts';

/** At once where nothing has to be waited for. Never rejects. */
export function answerRequest(
  frame: RequestFrame,
  connection: Connection,
  context: Context,
  log: Log,
): Reply<ReplyFrame> {
  context.counters.requests++;
  const [, xid, sessionId] = frame;
  if (sessionId === null) {
    const answer = execute(frame, { context, connection, credentials: frame[8] }, log);
    return after(answer, (given) => reply(xid, given, null));
  }
  let session: Session;
  try {
    session = context.clients.session(sessionId);
  } catch (error) {
    return reply(xid, failure(error, log), null);
  }
  return answerInSession(frame, session, connection, context, log);
}

function answerInSession(
  frame: RequestFrame,
  session: Session,
  connection: Connection,
  context: Context,
  log: Log,
): Reply<ReplyFrame> {
  const [, xid, , slot, seqid, cacheThis, operation, args, credentials] = frame;
  const { client } = session;
  const verdict = session.begin(slot, seqid, digestOf([operation, args, credentials]));
  if (verdict.kind === 'refused')
    return reply(xid, failure(new StatusError(verdict.status, verdict.detail), log), null);
  client.reach.over(connection);
  context.clients.renew(client);
  if (verdict.kind === 'replay') return reply(xid, verdict.answer, sequenceResult(session));

  return after(answerOnce(frame, session, connection, context, log), (given) => {
    const kept = cacheThis ? toKeep(given, log) : undefined;
    const answer = kept?.answer ?? given;
    session.finish(slot, kept, concernOf(operation, args, answer));
    return reply(xid, answer, sequenceResult(session));
  });
}

/** An answer that was to be kept and cannot be is refused, before the request runs where that is known (RFC 8881 §2.10.6.4). */
function answerOnce(
  frame: RequestFrame,
  session: Session,
  connection: Connection,
  context: Context,
  log: Log,
): Reply<Answer> {
  const [, , , , , cacheThis, operation, args, credentials] = frame;
  const { client } = session;
  if (cacheThis && !session.mayKeep) return failure(new StatusError('DELAY', 'too many replies are kept'), log);
  if (cacheThis && dataAskedFor(operation, args) > serverLimits.cachedReplyMax) return tooBigToCache(log);
  const caller = callerOf(credentials ?? client.introduction.credentials, session);
  const call: SessionCall = { context, connection, credentials, session, client, caller };
  return execute(frame, call, log);
}

/** Bytes in the reply of a READ. No other reply's size can be told before. */
function dataAskedFor(operation: number, args: unknown): number {
  const { READ } = operations;
  return operation === READ.number && READ.isRequest(args) ? args[2] : 0;
}

/** After it has run only operations that may run twice come here: what must not run twice answers little. */
function tooBigToCache(log: Log): Answer {
  return failure(new StatusError('REP_TOO_BIG_TO_CACHE', 'ask again without cacheThis, or for less'), log);
}

function toKeep(given: Answer, log: Log): KeptAnswer {
  const bytes = sizeAtMost(given.results);
  if (bytes > serverLimits.cachedReplyMax) return toKeep(tooBigToCache(log), log);
  return { answer: given, bytes: bytes + sizeAtMost(given.error) };
}

function execute(frame: RequestFrame, call: ConnectionCall | SessionCall, log: Log): Reply<Answer> {
  const [, , , , , , operation, args] = frame;
  try {
    const service = services.get(operation);
    if (service === undefined) throw new StatusError('OP_ILLEGAL', `there is no operation ${operation}`);
    const results = service.run(args, call);
    if (!(results instanceof Promise)) return success(results);
    return results.then(success, (error: unknown) => failure(error, log));
  } catch (error) {
    return failure(error, log);
  }
}

function success(results: unknown[]): Answer {
  return { status: status.OK, results, error: null };
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

function sequenceResult(session: Session): SequenceResult {
  return [statusFlags(session), session.slotCount - 1];
}

/** What waits for layouts never takes the last slot of a session, so that LAYOUTRETURN and LAYOUTCOMMIT get through (I4). */
function callerOf([uid, gid, groups]: Credentials, session: Session): Caller {
  return { uid, gid, groups: [gid, ...groups], pid: 0, access: 'engine', client: session.client.id, places: session };
}
