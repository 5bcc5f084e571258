import { Deadlines, type Due } from './deadlines.ts';
import type { Holding } from './holding.ts';
import type { Interval } from './intervals.ts';
import { limits } from './limits.ts';
import { lengthOf, type Range } from './ranges.ts';
import type { Action, StateId } from './types.ts';

/** A CB_LAYOUTRECALL that has not been answered in full: the client still holds something of its range. */
export interface Recall extends Interval, Due {
  readonly holding: Holding;
  readonly iomode: 1 | 2 | 3;
  readonly changed: boolean;
  /** As it was sent: a resend quotes the same. */
  readonly stateid: StateId;
  /** What is not returned by then is revoked. Resends do not move it, nor does a client that returns bit by bit. */
  readonly deadline: number;
  resends: number;
  badStateids: number;
}

/** All outstanding recalls, by number and by time. Every one ends: by a return, by NOMATCHING_LAYOUT, or by its deadline (I9). */
export class Recalls {
  readonly #deadlineMs: number;
  readonly #byId = new Map<number, Recall>();
  readonly #due = new Deadlines<Recall>();
  #lastId = 0;

  constructor(deadlineMs: number) {
    this.#deadlineMs = deadlineMs;
  }

  find(recallId: number): Recall | undefined {
    return this.#byId.get(recallId);
  }

  /** @param range bytes that the client holds and that no other recall of the same iomode asks for */
  start(now: number, holding: Holding, iomode: 1 | 2 | 3, range: Range, changed: boolean): Action {
    const deadline = now + this.#deadlineMs;
    const recall: Recall = {
      id: ++this.#lastId,
      start: range.start,
      end: range.end,
      holding,
      iomode,
      changed,
      stateid: holding.advance(),
      deadline,
      resends: 0,
      badStateids: 0,
      dueAt: deadline,
      heapIndex: undefined,
    };
    this.#byId.set(recall.id, recall);
    holding.recalls.add(recall);
    this.#due.set(recall, deadline);
    return toAction(recall);
  }

  /** The client has it; now only the deadline is left to wait for. */
  accepted(recall: Recall): void {
    this.#due.set(recall, recall.deadline);
  }

  /** It did not get through: once more, a little later each time. Busy is no reason to revoke (the deadline is). */
  resendLater(now: number, recall: Recall): void {
    const wait = Math.min(limits.resendFirstMs * 2 ** recall.resends, limits.resendLongestMs);
    this.#due.set(recall, Math.min(now + wait, recall.deadline));
  }

  resend(recall: Recall): Action {
    recall.resends++;
    this.#due.set(recall, recall.deadline);
    return toAction(recall);
  }

  end(recall: Recall): void {
    this.#byId.delete(recall.id);
    this.#due.delete(recall);
    recall.holding.recalls.delete(recall);
  }

  /** The earliest recall that needs attention, at its `dueAt`: a resend, or the deadline. */
  firstDue(): Recall | undefined {
    return this.#due.first();
  }
}

function toAction(recall: Recall): Action {
  return {
    type: 'recall',
    recallId: recall.id,
    client: recall.holding.client.id,
    ino: recall.holding.ino,
    stateid: recall.stateid,
    iomode: recall.iomode,
    offset: recall.start,
    length: lengthOf(recall),
    changed: recall.changed,
  };
}
