import { assert } from '../fs/errors.ts';
import type { Call } from './call.ts';
import { clientLimits } from './limits.ts';

/** One place for a request in progress, with the sequence number of its next request (RFC 8881 §2.10.6.1). */
export interface Slot {
  readonly index: number;
  seqid: number;
  call: Call | undefined;
}

/**
 * The slots of a session. The lowest free one is used, so that the server may take the highest back (RFC 8881
 * §2.10.6.1); the last few are kept for calls that the server itself waits for.
 */
export class Slots {
  readonly #slots: Slot[];
  readonly #reserved: number;
  #limit: number;

  constructor(count: number) {
    assert(Number.isInteger(count) && count >= 1, `a session with ${count} slots`);
    this.#slots = Array.from({ length: count }, (_, index) => ({ index, seqid: 1, call: undefined }));
    this.#reserved = Math.min(clientLimits.slotsReserved, Math.floor(count / 2));
    this.#limit = count;
  }

  /** undefined: all that this call may use are busy. */
  take(call: Call): Slot | undefined {
    const usable = Math.max(1, call.urgent ? this.#limit : this.#limit - this.#reserved);
    for (let index = 0; index < usable; index++) {
      const slot = this.#slots[index];
      if (slot !== undefined && slot.call === undefined) {
        slot.call = call;
        return slot;
      }
    }
    return undefined;
  }

  /** The request was carried out: the next one has the next number, which wraps to 0. */
  done(slot: Slot): void {
    slot.seqid = (slot.seqid + 1) >>> 0;
    slot.call = undefined;
  }

  /** The server refused the request before it reached the slot, which did not move. */
  refused(slot: Slot): void {
    slot.call = undefined;
  }

  /** sr_target_highest_slotid of a reply: an index. */
  setHighest(index: number): void {
    this.#limit = Math.min(index + 1, this.#slots.length);
  }

  busy(): readonly Slot[] {
    return this.#slots.filter((slot) => slot.call !== undefined);
  }
}
