/**
 * The callbacks of a session (RFC 8881 §2.10.3.1, §2.10.6): the server asks here, and its slots are in its own hands.
 *
 * B1 A slot has one callback at a time, and goes on to the next sequence number only when that was answered: until then
 *    what may have been lost is sent again as it was, over another connection or over the next one that is bound.
 * B2 Over one connection a callback goes once. While the connection stands, the answer may still come.
 * B3 Whoever asks waits `callbackReplyMs` at most, for a slot and for the answer. Then the client counts as unreachable, and
 *    asking for the same again (`key`) takes up the same slot and sequence number.
 * B4 A slot whose sequence number the client disputes, or which it leaves unanswered over a standing connection for
 *    `callbackLostMs`, is not used again. Nobody but the client can mend that, by another session: it is told so.
 */
import type { Connection } from './connection.ts';
import { serverLimits } from './limits.ts';
import type { ReferringCall } from './protocol/frame.ts';
import { type StatusName, statusName } from './protocol/status.ts';

export interface Callback {
  /** The same for every sending of the same question. */
  readonly key: string;
  readonly operation: number;
  readonly args: unknown[];
  readonly referring: readonly ReferringCall[];
}

/** What a back channel needs of its session. */
export interface BackChannelHost {
  readonly id: Uint8Array;
  /** Those that callbacks may take, in the order in which they were bound. */
  readonly connections: Iterable<Connection>;
  now(): number;
  after(ms: number, task: () => void): () => void;
}

/** Hears the status of the answer, or undefined: the client was not reached in time. */
type Listener = (answer: StatusName | undefined) => void;

/** On its way in a slot. */
interface Sent {
  readonly callback: Callback;
  readonly sentAt: number;
  /** Connections that it went over and that stand: each may bring the answer. */
  readonly over: Set<Connection>;
  listener: Listener | undefined;
  cancelTimer: () => void;
  overdue: boolean;
}

interface Slot {
  readonly index: number;
  /** Of the callback that is or was sent last; the first one has 1 (RFC 8881 §2.10.6.1). */
  seqid: number;
  sent: Sent | undefined;
  broken: boolean;
}

interface Waiting {
  readonly callback: Callback;
  readonly listener: Listener;
  readonly cancelTimer: () => void;
}

/** Answers by which the client says that slot and sequence number are not what it knows. No operation has them. */
const disputes: ReadonlySet<StatusName> = new Set(['BADSESSION', 'BADSLOT', 'SEQ_MISORDERED', 'SEQ_FALSE_RETRY']);

export class BackChannel {
  readonly #host: BackChannelHost;
  readonly #slotCount: number;
  /** Made when they are first needed. */
  readonly #slots: Slot[] = [];
  readonly #waiting = new Set<Waiting>();
  #faulty = false;
  #overdue = 0;
  #closed = false;

  constructor(host: BackChannelHost, slotCount: number) {
    this.#host = host;
    this.#slotCount = slotCount;
  }

  /** RFC 8881 §18.46.3, SEQ4_STATUS_BACKCHANNEL_FAULT. */
  get faulty(): boolean {
    if (this.#overdue > 0) this.#giveUpLost();
    return this.#faulty;
  }

  /** Settles with the client's answer, or with undefined if it was not reached in time (B3). */
  call(callback: Callback): Promise<StatusName | undefined> {
    return new Promise((listener) => {
      const known = this.#slots.find(({ sent }) => sent?.callback.key === callback.key);
      if (this.#closed) listener(undefined);
      else if (known?.sent !== undefined) this.#again(known, known.sent, listener);
      else this.#begin(callback, listener);
    });
  }

  /** A connection was bound: what no standing connection will answer goes over it, then what waits. */
  bound(): void {
    for (const slot of this.#slots) {
      const { sent } = slot;
      if (sent !== undefined && (sent.overdue || sent.over.size === 0)) this.#transmit(slot, sent);
    }
    this.#next();
  }

  /** The session has ended. */
  close(): void {
    this.#closed = true;
    for (const { sent } of this.#slots) if (sent !== undefined) tell(sent, undefined);
    for (const waiting of this.#waiting) this.#dismiss(waiting);
  }

  #begin(callback: Callback, listener: Listener): void {
    const slot = this.#freeSlot();
    if (slot !== undefined) this.#send(slot, callback, listener);
    else if (this.#usable && this.#waiting.size < serverLimits.callbacksQueuedMax) this.#wait(callback, listener);
    else listener(undefined);
  }

  #again(slot: Slot, sent: Sent, listener: Listener): void {
    tell(sent, undefined);
    sent.listener = listener;
    if (!this.#transmit(slot, sent) && sent.over.size === 0) tell(sent, undefined);
    else this.#watch(slot, sent);
  }

  #wait(callback: Callback, listener: Listener): void {
    const cancelTimer = this.#host.after(serverLimits.callbackReplyMs, () => this.#dismiss(waiting));
    const waiting: Waiting = { callback, listener, cancelTimer };
    this.#waiting.add(waiting);
  }

  #dismiss(waiting: Waiting): void {
    this.#waiting.delete(waiting);
    waiting.cancelTimer();
    waiting.listener(undefined);
  }

  #next(): void {
    for (const waiting of this.#waiting) {
      const slot = this.#freeSlot();
      if (slot === undefined) break;
      this.#waiting.delete(waiting);
      waiting.cancelTimer();
      this.#send(slot, waiting.callback, waiting.listener);
    }
  }

  get #usable(): boolean {
    return this.#slots.length < this.#slotCount || this.#slots.some(({ broken }) => !broken);
  }

  #freeSlot(): Slot | undefined {
    const free = this.#slots.find(({ sent, broken }) => sent === undefined && !broken);
    if (free !== undefined || this.#slots.length === this.#slotCount) return free;
    const slot: Slot = { index: this.#slots.length, seqid: 0, sent: undefined, broken: false };
    this.#slots.push(slot);
    return slot;
  }

  /** Without a connection nothing was sent, and the slot has not moved. */
  #send(slot: Slot, callback: Callback, listener: Listener): void {
    const sent: Sent = {
      callback,
      sentAt: this.#host.now(),
      over: new Set(),
      listener,
      cancelTimer: () => {},
      overdue: false,
    };
    slot.seqid = (slot.seqid + 1) >>> 0;
    slot.sent = sent;
    if (this.#transmit(slot, sent)) {
      this.#watch(slot, sent);
      return;
    }
    slot.seqid = (slot.seqid - 1) >>> 0;
    slot.sent = undefined;
    tell(sent, undefined);
  }

  /** B2. false: there is no connection that it could take and has not taken. */
  #transmit(slot: Slot, sent: Sent): boolean {
    const { operation, args, referring } = sent.callback;
    for (const connection of this.#host.connections) {
      if (sent.over.has(connection)) continue;
      const body = [this.#host.id, slot.index, slot.seqid, referring, operation, args] as const;
      const taken = connection.callback(body, (answer) => {
        sent.over.delete(connection);
        if (slot.sent === sent) this.#heard(slot, sent, answer);
      });
      if (!taken) continue;
      sent.over.add(connection);
      return true;
    }
    return false;
  }

  #heard(slot: Slot, sent: Sent, answer: number | undefined): void {
    if (answer === undefined) {
      // The connection is gone, and nobody knows whether the callback was heard (B1).
      if (sent.over.size > 0 || this.#transmit(slot, sent)) return;
      tell(sent, undefined);
      return;
    }
    const status = statusName(answer);
    if (status === undefined || disputes.has(status)) this.#break(slot, sent);
    else this.#answered(slot, sent, status);
    this.#next();
  }

  #answered(slot: Slot, sent: Sent, answer: StatusName): void {
    this.#free(slot, sent);
    tell(sent, answer);
  }

  #free(slot: Slot, sent: Sent): void {
    if (sent.overdue) this.#overdue--;
    slot.sent = undefined;
  }

  /** B4. */
  #break(slot: Slot, sent: Sent): void {
    slot.broken = true;
    this.#faulty = true;
    this.#free(slot, sent);
    tell(sent, undefined);
    if (!this.#usable) for (const waiting of this.#waiting) this.#dismiss(waiting);
  }

  /** B3. */
  #watch(slot: Slot, sent: Sent): void {
    sent.cancelTimer();
    sent.cancelTimer = this.#host.after(serverLimits.callbackReplyMs, () => {
      if (slot.sent !== sent) return;
      if (!sent.overdue) this.#overdue++;
      sent.overdue = true;
      if (this.#transmit(slot, sent)) this.#watch(slot, sent);
      else tell(sent, undefined);
    });
  }

  #giveUpLost(): void {
    const since = this.#host.now() - serverLimits.callbackLostMs;
    for (const slot of this.#slots) {
      const { sent } = slot;
      if (sent?.overdue === true && sent.over.size > 0 && sent.sentAt <= since) this.#break(slot, sent);
    }
  }
}

/** Once. */
function tell(sent: Sent, answer: StatusName | undefined): void {
  const { listener } = sent;
  sent.listener = undefined;
  sent.cancelTimer();
  listener?.(answer);
}
