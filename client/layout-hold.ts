import { iomode, type RecallReply, type StateId } from '../layout/types.ts';
import {
  operations,
  type ReplyOf,
  returnKind,
  stateIdFromWire,
  stateIdToWire,
  status,
  wireLimits,
} from '../mds/protocol/index.ts';
import { commitsOf } from './commits.ts';
import { ClientError, type ClientStatus } from './errors.ts';
import type { Counters } from './file-data.ts';
import type { OpenState } from './open-state.ts';
import type { ByteRange } from './ranges.ts';
import { newest, orderRecall } from './recalls.ts';
import type { Session } from './session.ts';

type GetReply = ReplyOf<typeof operations.LAYOUTGET>;

export interface Grant {
  readonly segment: ByteRange;
  readonly extents: GetReply[2];
  /** false: something was given back, recalled or revoked since the request, so some of it may be gone already. */
  intact(): boolean;
}

/**
 * Gone at the server already, with the session or with a return that crossed this one; or about to go with all others, since
 * everything is asked back (RECALLCONFLICT).
 */
const isReturnedAnyway: ReadonlySet<ClientStatus> = new Set(['BAD_STATEID', 'STATE_LOST', 'RECALLCONFLICT']);

/**
 * The layout stateid of one file (RFC 8881 §12.5.2): one for all of its segments. It comes with the first LAYOUTGET, its
 * seqid moves with gets, returns and recalls, and it goes with the last return.
 */
export class LayoutHold {
  readonly #ino: number;
  readonly #session: Session;
  readonly #counters: Counters;
  #state: StateId | undefined;
  #getting = 0;
  #epoch = 0;
  #returning = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(ino: number, session: Session, counters: Counters) {
    this.#ino = ino;
    this.#session = session;
    this.#counters = counters;
  }

  /** A get or a return is on its way. */
  get busy(): boolean {
    return this.#getting > 0 || this.#returning > 0;
  }

  get stateid(): StateId | undefined {
    return this.#state;
  }

  /**
   * LAYOUTGET. Without a layout stateid the open's is used; two of those must never be on their way at once (erratum
   * 3208), so the caller runs gets one after the other. It waits for what is being given back.
   * @throws ClientError with the status of the reply
   */
  async get(open: OpenState, mode: number, range: ByteRange, minlength: number): Promise<Grant> {
    while (this.#returning > 0) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    const openState = await open.stateid();
    const { incarnation } = this.#session;
    const used = this.#state;
    this.#counters.layoutGets += 1;
    this.#getting += 1;
    const epoch = this.#epoch;
    try {
      const [stateid, [, offset, length], extents] = await this.#session.call(
        operations.LAYOUTGET,
        [
          this.#ino,
          used === undefined ? openState : stateIdToWire(used),
          mode,
          range.offset,
          range.length,
          minlength,
          wireLimits.extentsMax,
          false,
        ],
        { patient: false, stateful: true },
      );
      const current = (): boolean => incarnation === this.#session.incarnation;
      if (current()) this.#state = newest(this.#state, stateIdFromWire(stateid));
      return {
        segment: { offset, length },
        extents,
        intact: () => current() && epoch === this.#epoch && this.#returning === 0,
      };
    } finally {
      this.#getting -= 1;
    }
  }

  /** Nothing is held any more, as far as the server goes. */
  forget(): void {
    this.#state = undefined;
    this.#epoch += 1;
  }

  /** LAYOUTCOMMIT, in several if need be. Answers the new size if it changed. @throws ClientError with the status of the reply */
  async commit(ranges: readonly ByteRange[], lastWriteOffset: number | undefined): Promise<number | null> {
    if (ranges.length <= wireLimits.commitRangesMax) return await this.#commit(ranges, lastWriteOffset ?? null);
    let size: number | null = null;
    const ascending = ranges.toSorted((a, b) => a.offset - b.offset);
    for (const part of commitsOf(ascending, lastWriteOffset))
      size = (await this.#commit(part.ranges, part.last)) ?? size;
    return size;
  }

  async #commit(ranges: readonly ByteRange[], lastWriteOffset: number | null): Promise<number | null> {
    if (this.#state === undefined) throw new ClientError('STATE_LOST', 'no layout is held on the file');
    const [size] = await this.#session.call(
      operations.LAYOUTCOMMIT,
      [
        this.#ino,
        stateIdToWire(this.#state),
        ranges.map(({ offset, length }): [number, number] => [offset, length]),
        lastWriteOffset,
        null,
        null,
      ],
      { urgent: true, stateful: true },
    );
    this.#counters.layoutCommits += 1;
    return size;
  }

  /**
   * From here until the result is called no LAYOUTGET leaves, and none that was on its way is used: whether the server
   * saw it before or after what is given back cannot be told.
   */
  beginReturn(): () => void {
    this.#epoch += 1;
    this.#returning += 1;
    return () => {
      this.#returning -= 1;
      if (this.#returning > 0) return;
      for (const resolve of this.#waiting.splice(0)) resolve();
    };
  }

  /** LAYOUTRETURN. Nothing of the range may be in use. @throws ClientError with the status of the reply */
  async return(range: ByteRange, mode: number = iomode.any): Promise<void> {
    const used = this.#state;
    if (used === undefined) return;
    this.#counters.layoutReturns += 1;
    try {
      const [left] = await this.#session.call(
        operations.LAYOUTRETURN,
        [returnKind.file, this.#ino, stateIdToWire(used), mode, range.offset, range.length, false],
        { urgent: true, stateful: true },
      );
      if (this.#state?.other !== used.other) return;
      this.#state = left === null ? undefined : newest(this.#state, stateIdFromWire(left));
    } catch (error) {
      if (error instanceof ClientError && isReturnedAnyway.has(error.status)) return;
      throw error;
    }
  }

  /** A LAYOUTGET is on its way. */
  get isGetting(): boolean {
    return this.#getting > 0;
  }

  /** Orders a recall; `ok`: the caller gives the range back. */
  recalled(stateid: StateId): RecallReply {
    const order = orderRecall({ held: this.#state, getting: this.#getting > 0 }, stateid);
    if (order === 'ok') this.#state = newest(this.#state, stateid);
    return order;
  }

  /** Whether the server still honours the state (RFC 8881 §18.48); without one there is nothing to doubt. */
  async isHonoured(): Promise<boolean> {
    const tested = this.#state;
    if (tested === undefined) return true;
    const [[answer]] = await this.#session.call(operations.TEST_STATEID, [[stateIdToWire(tested)]], {
      urgent: true,
      stateful: true,
    });
    // A reply or a return may have crossed the test: then it is of a state that we do not hold any more.
    if (this.#state?.other !== tested.other) return true;
    return answer === status.OK || answer === status.OLD_STATEID;
  }

  /** Tells the server that the revocation has been noticed (RFC 8881 §18.38). */
  async free(stateid: StateId): Promise<void> {
    try {
      await this.#session.call(operations.FREE_STATEID, [stateIdToWire(stateid)], { urgent: true, stateful: true });
    } catch (error) {
      if (!(error instanceof ClientError)) throw error;
    }
  }
}
