import { frameKind, type ReplyFrame, type StatusName, status } from '../mds/protocol/index.ts';
import type { Call } from './call.ts';
import { leaseNow } from './clock.ts';
import { type Connection, errorOfReply } from './connection.ts';
import { ClientError, type ClientStatus } from './errors.ts';
import { clientLimits } from './limits.ts';
import { type Slot, Slots } from './slots.ts';

export interface RequestEvents {
  /** A reply to a request sent first at `sentAt`: the lease was renewed. */
  renewed(sentAt: number, flags: number): void;
  /** The server does not know the session. */
  gone(why: ClientError): void;
}

/** Only a new incarnation of the client helps. */
const sessionGone: ReadonlySet<StatusName> = new Set([
  'BADSESSION',
  'DEADSESSION',
  'STALE_CLIENTID',
  'EXPIRED',
  'ADMIN_REVOKED',
  'SEQ_MISORDERED',
  'BADSLOT',
]);

export function isSessionGone(name: ClientStatus): boolean {
  return (sessionGone as ReadonlySet<string>).has(name);
}

/**
 * The requests of a session, waiting for a slot or sent. A request has its slot until its reply is in, whatever becomes
 * of the connection or of the caller; over a new connection it is sent again as it was.
 */
export class Requests {
  readonly #events: RequestEvents;
  readonly #queue: Call[] = [];
  /** Of `sendFirst`, while there was no connection. */
  readonly #first: Call[] = [];
  readonly #sent = new Map<number, { readonly call: Call; readonly slot: Slot }>();
  #slots = new Slots(1);
  #sessionId: Uint8Array | undefined;
  #connection: Connection | undefined;
  /** Requests from the queue may leave; before that only those that make the session ready. */
  #ready = false;
  #xid = 0;
  /** Those who wait for replies look again after each. */
  readonly #onReply = new Set<() => void>();

  constructor(events: RequestEvents) {
    this.#events = events;
  }

  /** @throws ClientError OVERLOAD */
  submit(call: Call): void {
    if (this.#queue.length >= clientLimits.queuedCallsMax) this.#dropAbandoned();
    if (this.#queue.length >= clientLimits.queuedCallsMax) {
      call.fail(new ClientError('OVERLOAD', `${this.#queue.length} calls wait already`));
      return;
    }
    if (call.urgent) this.#queue.unshift(call);
    else this.#queue.push(call);
    this.#pump();
  }

  /** A new session, over a connection on which nothing but `sendFirst` goes until `resume`. */
  begin(sessionId: Uint8Array, slots: number, connection: Connection): void {
    this.#sessionId = sessionId;
    this.#slots = new Slots(slots);
    this.#connection = connection;
  }

  /** As the first thing in a new session; without a connection it leaves with the next one. */
  sendFirst(call: Call): void {
    if (!this.#send(call)) this.#first.push(call);
  }

  /** The session has a connection again, on which nothing but `sendFirst` goes until `resume`. */
  rejoin(connection: Connection): void {
    this.#connection = connection;
    for (const { call } of this.#sent.values()) if (call.frame !== undefined) connection.send(call.frame);
    for (const call of this.#first.splice(0)) this.sendFirst(call);
  }

  /** The session has a connection again: what was sent goes out once more, then what waits. */
  resume(connection: Connection): void {
    this.#ready = true;
    this.rejoin(connection);
    this.#pump();
  }

  /** The connection is gone; what was sent waits for the next one. */
  suspend(): void {
    this.#connection = undefined;
    this.#ready = false;
  }

  /** The session is gone. What only reads is asked again in the next one; of the rest nobody knows. */
  abandonSession(why: ClientError): void {
    const interrupted = [...this.#sent.values()].map(({ call }) => call).concat(this.#first.splice(0));
    this.suspend();
    this.#sessionId = undefined;
    this.#sent.clear();
    for (const call of this.#queue) {
      if (call.stateful) call.fail(new ClientError('STATE_LOST', why.detail, { cause: why }));
    }
    for (const call of interrupted.toReversed()) {
      const { name, idempotent } = call.operation;
      if (idempotent && !call.stateful) this.#queue.unshift(call);
      else call.fail(new ClientError('STATE_LOST', `${name} may or may not have happened`, { cause: why }));
    }
  }

  /** Nobody waits any longer; what was sent keeps its slot, and is carried out if the server lives. */
  failWaiting(why: ClientError): void {
    const calls = [...this.#queue, ...[...this.#sent.values()].map(({ call }) => call)];
    for (const call of calls) if (!call.probes) call.fail(why);
  }

  failAll(why: ClientError): void {
    const calls = [
      ...this.#queue.splice(0),
      ...this.#first.splice(0),
      ...[...this.#sent.values()].map(({ call }) => call),
    ];
    this.#sent.clear();
    for (const call of calls) call.fail(why);
  }

  /** Some of these requests, named by slot and sequence number, was sent and has no reply yet. */
  isAwaiting(calls: readonly { readonly slot: number; readonly seqid: number }[]): boolean {
    return [...this.#sent.values()].some(({ slot }) =>
      calls.some((call) => call.slot === slot.index && call.seqid === slot.seqid),
    );
  }

  /** Settles when nothing of `calls` is awaited any more and whoever made them has been told, or after `timeoutMs`: false. */
  untilAnswered(
    calls: readonly { readonly slot: number; readonly seqid: number }[],
    timeoutMs: number,
  ): Promise<boolean> {
    return new Promise((resolve) => {
      const settle = (answered: boolean): void => {
        clearTimeout(timer);
        this.#onReply.delete(look);
        setImmediate(() => resolve(answered));
      };
      const look = (): void => {
        if (!this.isAwaiting(calls)) settle(true);
      };
      const timer = setTimeout(() => settle(false), timeoutMs);
      this.#onReply.add(look);
      look();
    });
  }

  reply(frame: ReplyFrame): void {
    this.#take(frame);
    for (const look of this.#onReply) look();
  }

  #take(frame: ReplyFrame): void {
    const [, xid, number, results, , sequence] = frame;
    const sent = this.#sent.get(xid);
    if (sent === undefined) return;
    const { call, slot } = sent;
    if (sequence === null) {
      this.#refused(errorOfReply(frame, call.operation.name), xid, call, slot);
      return;
    }
    this.#sent.delete(xid);
    this.#slots.done(slot);
    const [flags, highest] = sequence;
    this.#slots.setHighest(highest);
    this.#events.renewed(call.sentAt, flags);

    if (number === status.OK) call.succeed(results);
    else if ((number === status.DELAY || number === status.GRACE) && call.patient) this.#later(call);
    else call.fail(errorOfReply(frame, call.operation.name));
    this.#pump();
  }

  /** SEQUENCE itself failed: the slot has not moved (RFC 8881 §18.46.3). */
  #refused(error: ClientError, xid: number, call: Call, slot: Slot): void {
    if (isSessionGone(error.status)) {
      this.#events.gone(error);
      return;
    }
    if (error.status === 'DELAY') {
      // Sent again while it is still being carried out: ask for its reply as the same request, later.
      const { frame } = call;
      setTimeout(() => {
        if (frame !== undefined && this.#sent.get(xid)?.call === call) this.#connection?.send(frame);
      }, delayOf(call)).unref();
      return;
    }
    this.#sent.delete(xid);
    if (error.status === 'RETRY_UNCACHED_REP') {
      // It was carried out and its reply was not kept: again only what may run twice.
      this.#slots.done(slot);
      if (call.operation.idempotent) this.#queue.unshift(call);
      else call.fail(error);
    } else {
      this.#slots.refused(slot);
      call.fail(error);
    }
    this.#pump();
  }

  /** The server is busy, or in grace: the same as a new request. */
  #later(call: Call): void {
    setTimeout(() => {
      if (!call.settled) this.submit(call);
    }, delayOf(call)).unref();
  }

  /** Calls that nobody waits for any more. */
  #dropAbandoned(): void {
    const waiting = this.#queue.filter((call) => !call.settled);
    this.#queue.splice(0, this.#queue.length, ...waiting);
  }

  #pump(): void {
    for (let index = 0; this.#ready && index < this.#queue.length; ) {
      const call = this.#queue[index];
      if (call === undefined || call.settled || this.#send(call)) this.#queue.splice(index, 1);
      else if (call.urgent) index += 1;
      else break;
    }
  }

  /** false: there is no slot for it now. */
  #send(call: Call): boolean {
    if (this.#connection === undefined || this.#sessionId === undefined) return false;
    const slot = this.#slots.take(call);
    if (slot === undefined) return false;
    this.#xid = (this.#xid + 1) & 0x7fff_ffff;
    const { operation, args } = call;
    call.frame = [
      frameKind.request,
      this.#xid,
      this.#sessionId,
      slot.index,
      slot.seqid,
      !operation.idempotent,
      operation.number,
      args,
      call.credentials,
    ];
    call.sentAt = leaseNow();
    this.#sent.set(this.#xid, { call, slot });
    this.#connection.send(call.frame);
    return true;
  }
}

function delayOf(call: Call): number {
  const waitMs = Math.min(clientLimits.delayFirstMs * 2 ** call.delays, clientLimits.delayMaxMs);
  call.delays += 1;
  return waitMs;
}
