/**
 * A session: slots, each with the last request that ran in it and its reply, so that a request sent twice runs once
 * (RFC 8881 §2.10.6).
 */
import type { Client } from './client.ts';
import type { Connection } from './connection.ts';
import type { ErrorBody } from './protocol/frame.ts';
import type { StatusName } from './protocol/status.ts';

/** What a request was answered with, without the fields that differ between the first answer and the repeated one. */
export interface Answer {
  readonly status: number;
  readonly results: unknown[] | null;
  readonly error: ErrorBody | null;
}

export type SlotVerdict =
  | { readonly kind: 'execute' }
  /** A retry of what ran already: the same answer, verbatim. */
  | { readonly kind: 'replay'; readonly answer: Answer }
  | { readonly kind: 'refused'; readonly status: StatusName; readonly detail: string };

/** The first request of a slot has sequence 1; after 2^32-1 comes 0 (unlike stateids, RFC 8881 §2.10.6.1). */
class Slot {
  #seqid = 0;
  #operation: number | undefined;
  #running = false;
  #answer: Answer | undefined;

  begin(seqid: number, operation: number): SlotVerdict {
    if (seqid === this.#seqid && this.#operation !== undefined) return this.#retry(operation);
    if (this.#running || seqid !== (this.#seqid + 1) >>> 0) {
      return refused(
        'SEQ_MISORDERED',
        `sequence ${seqid} after ${this.#seqid}${this.#running ? ', still running' : ''}`,
      );
    }
    this.#seqid = seqid;
    this.#operation = operation;
    this.#running = true;
    this.#answer = undefined;
    return { kind: 'execute' };
  }

  finish(answer: Answer | undefined): void {
    this.#running = false;
    this.#answer = answer;
  }

  #retry(operation: number): SlotVerdict {
    if (operation !== this.#operation) return refused('SEQ_FALSE_RETRY', 'another operation ran under this sequence');
    if (this.#running) return refused('DELAY', 'the request is still running');
    if (this.#answer === undefined) return refused('RETRY_UNCACHED_REP', 'its reply was not to be cached');
    return { kind: 'replay', answer: this.#answer };
  }
}

function refused(status: StatusName, detail: string): SlotVerdict {
  return { kind: 'refused', status, detail };
}

export class Session {
  /** 16 bytes, never the same twice. */
  readonly id: Uint8Array;
  readonly client: Client;
  readonly slotCount: number;
  readonly #slots: readonly Slot[];
  /** Connections that callbacks may take (RFC 8881 §2.10.3.1). */
  readonly #connections = new Set<Connection>();
  #callbackSequence = 0;

  constructor(id: Uint8Array, client: Client, slots: number) {
    this.id = id;
    this.client = client;
    this.slotCount = slots;
    this.#slots = Array.from({ length: slots }, () => new Slot());
  }

  get connections(): readonly Connection[] {
    return [...this.#connections].filter((connection) => !connection.closed);
  }

  bind(connection: Connection): void {
    this.#connections.add(connection);
  }

  unbind(connection: Connection): void {
    this.#connections.delete(connection);
  }

  nextCallbackSequence(): number {
    this.#callbackSequence = (this.#callbackSequence + 1) >>> 0;
    return this.#callbackSequence;
  }

  begin(slot: number, seqid: number, operation: number): SlotVerdict {
    const used = this.#slots[slot];
    if (used === undefined) return refused('BADSLOT', `slot ${slot} of ${this.slotCount}`);
    return used.begin(seqid, operation);
  }

  /** `answer` is undefined if it need not be kept. */
  finish(slot: number, answer: Answer | undefined): void {
    this.#slots[slot]?.finish(answer);
  }
}
