/** A place for one request at a time, with the last one that ran in it, so that a request sent twice runs once (RFC 8881 §2.10.6). */
import type { ErrorBody } from './protocol/frame.ts';
import type { StatusName } from './protocol/status.ts';

/** What a request was answered with, without the fields that differ between the first answer and the repeated one. */
export interface Answer {
  readonly status: number;
  readonly results: unknown[] | null;
  readonly error: ErrorBody | null;
}

/** An answer as it is kept for a retry. */
export interface KeptAnswer {
  readonly answer: Answer;
  /** As it would stand on the wire. */
  readonly bytes: number;
}

export type SlotVerdict =
  | { readonly kind: 'execute' }
  /** A retry of what ran already: the same answer, verbatim. */
  | { readonly kind: 'replay'; readonly answer: Answer }
  | SlotRefusal;

export interface SlotRefusal {
  readonly kind: 'refused';
  readonly status: StatusName;
  readonly detail: string;
}

/** The first request of a slot has sequence 1; after 2^32-1 comes 0 (unlike stateids, RFC 8881 §2.10.6.1). */
export class Slot {
  #seqid = 0;
  /** Of the last request; undefined: there was none. */
  #digest: number | undefined;
  #running = false;
  #kept: KeptAnswer | undefined;
  #concerns: number | undefined;

  get seqid(): number {
    return this.#seqid;
  }

  get running(): boolean {
    return this.#running;
  }

  /** Of the answer that is kept for a retry. */
  get keptBytes(): number {
    return this.#kept?.bytes ?? 0;
  }

  /** The inode whose layout or open the last request changed, when its reply may still be on its way. */
  get concerns(): number | undefined {
    return this.#running ? undefined : this.#concerns;
  }

  /** `digest` tells the request from another one under the same sequence number. */
  begin(seqid: number, digest: number): SlotVerdict {
    if (seqid === this.#seqid && this.#digest !== undefined) return this.#retry(digest);
    if (this.#running || seqid !== (this.#seqid + 1) >>> 0) {
      return refused(
        'SEQ_MISORDERED',
        `sequence ${seqid} after ${this.#seqid}${this.#running ? ', still running' : ''}`,
      );
    }
    this.#seqid = seqid;
    this.#digest = digest;
    this.#running = true;
    this.#kept = undefined;
    this.#concerns = undefined;
    return { kind: 'execute' };
  }

  /** `kept` is undefined if the answer need not be kept. */
  finish(kept: KeptAnswer | undefined, concerns: number | undefined): void {
    this.#running = false;
    this.#kept = kept;
    this.#concerns = concerns;
  }

  #retry(digest: number): SlotVerdict {
    if (digest !== this.#digest) return refused('SEQ_FALSE_RETRY', 'another request ran under this sequence');
    if (this.#running) return refused('DELAY', 'the request is still running');
    if (this.#kept === undefined) return refused('RETRY_UNCACHED_REP', 'its reply was not to be cached');
    return { kind: 'replay', answer: this.#kept.answer };
  }
}

export function refused(status: StatusName, detail: string): SlotRefusal {
  return { kind: 'refused', status, detail };
}
