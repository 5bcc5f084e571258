import { assert } from './assert.ts';
import { Deadlines, type Due } from './deadlines.ts';
import type { Holding, LeaseClient } from './holding.ts';
import type { Interval } from './intervals.ts';
import { limits } from './limits.ts';
import { lengthOf, type Range } from './ranges.ts';
import { iomodesOf } from './segments.ts';
import { type BulkRecallAction, type FileRecallAction, recallKind, type StateId } from './types.ts';

/** A CB_LAYOUTRECALL that has not been answered in full. */
interface Asked extends Due {
  readonly id: number;
  readonly client: LeaseClient;
  readonly changed: boolean;
  startedAt: number;
  /** What is not returned by then is revoked. Resends do not move it; progress does, within a bound. */
  deadline: number;
  resends: number;
  badStateids: number;
}

/** Layouts of one client on one file. It ends by a return that matches it, though the client may hold nothing of it before. */
export interface FileRecall extends Asked, Interval {
  readonly kind: typeof recallKind.file;
  readonly holding: Holding;
  readonly iomode: 1 | 2 | 3;
  /** As it was sent: a resend quotes the same. */
  readonly stateid: StateId;
}

/** Everything that one client holds (RFC 8881 §12.5.5.2.1.5). */
export interface BulkRecall extends Asked {
  readonly kind: typeof recallKind.fsid | typeof recallKind.all;
  /** It goes out when no other recall to the client is out. */
  sent: boolean;
}

export type Recall = FileRecall | BulkRecall;

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
  start(now: number, holding: Holding, iomode: 1 | 2 | 3, range: Range, changed: boolean): FileRecallAction {
    assert(
      iomodesOf(iomode).every((mode) => holding.asked(range, mode).length === 0),
      `L4: bytes ${range.start}-${range.end} of inode ${holding.ino} are asked back twice`,
    );
    assert(holding.client.bulk === undefined, `L6: client ${holding.client.id} is asked for everything`);
    const recall: FileRecall = {
      ...this.#asked(now, holding.client, changed),
      kind: recallKind.file,
      start: range.start,
      end: range.end,
      holding,
      iomode,
      stateid: holding.advance(),
    };
    this.#byId.set(recall.id, recall);
    holding.addRecall(recall);
    this.#due.set(recall, recall.deadline);
    return fileAction(recall);
  }

  /** To be sent by `send`. */
  prepare(client: LeaseClient, kind: BulkRecall['kind'], changed: boolean): BulkRecall {
    const recall: BulkRecall = { ...this.#asked(0, client, changed), kind, sent: false };
    this.#byId.set(recall.id, recall);
    client.bulk = recall;
    client.bulks++;
    return recall;
  }

  send(now: number, recall: BulkRecall): BulkRecallAction {
    assert(recall.client.recalls === 0, `L6: other recalls to client ${recall.client.id} are out`);
    recall.sent = true;
    recall.startedAt = now;
    recall.deadline = now + this.#deadlineMs;
    this.#due.set(recall, recall.deadline);
    return bulkAction(recall);
  }

  /** The client has it; now only the deadline is left to wait for. */
  accepted(recall: Recall): void {
    this.#due.set(recall, recall.deadline);
  }

  /**
   * Something of it was returned or committed: the client is at work, and has a whole deadline again (RFC 8881
   * §12.5.5.2), but no more than `progressDeadlinesMax` of them in all.
   */
  progressed(now: number, recall: Recall): void {
    const last = recall.startedAt + this.#deadlineMs * limits.progressDeadlinesMax;
    const deadline = Math.min(now + this.#deadlineMs, last);
    if (recall.dueAt === recall.deadline) this.#due.set(recall, deadline);
    recall.deadline = deadline;
  }

  /** It did not get through: once more, a little later each time. Busy is no reason to revoke (the deadline is). */
  resendLater(now: number, recall: Recall): void {
    const wait = Math.min(limits.resendFirstMs * 2 ** recall.resends, limits.resendLongestMs);
    this.#due.set(recall, Math.min(now + wait, recall.deadline));
  }

  resend(recall: Recall): FileRecallAction | BulkRecallAction {
    recall.resends++;
    this.#due.set(recall, recall.deadline);
    return recall.kind === recallKind.file ? fileAction(recall) : bulkAction(recall);
  }

  end(recall: Recall): void {
    this.#byId.delete(recall.id);
    this.#due.delete(recall);
    if (recall.kind === recallKind.file) recall.holding.deleteRecall(recall);
    else recall.client.bulk = undefined;
  }

  /** The earliest recall that needs attention, at its `dueAt`: a resend, or the deadline. */
  firstDue(): Recall | undefined {
    return this.#due.first();
  }

  #asked(now: number, client: LeaseClient, changed: boolean): Asked {
    const deadline = now + this.#deadlineMs;
    const id = ++this.#lastId;
    return {
      id,
      client,
      changed,
      startedAt: now,
      deadline,
      resends: 0,
      badStateids: 0,
      dueAt: 0,
      heapIndex: undefined,
    };
  }
}

function fileAction(recall: FileRecall): FileRecallAction {
  const { id, holding, stateid, iomode, start, changed } = recall;
  return {
    type: 'recall',
    recallId: id,
    client: holding.client.id,
    ino: holding.ino,
    stateid,
    iomode,
    offset: start,
    length: lengthOf(recall),
    changed,
  };
}

function bulkAction({ id, client, kind, changed }: BulkRecall): BulkRecallAction {
  return { type: 'bulk-recall', recallId: id, client: client.id, kind, changed };
}
