import { type Credentials, openTarget, operations, shareAccess, type WireStateId } from '../mds/protocol/index.ts';
import { ClientError } from './errors.ts';
import { clientLimits } from './limits.ts';
import type { Session } from './session.ts';

export type Access = (typeof shareAccess)[keyof typeof shareAccess];

export interface How {
  readonly access: Access;
  /** Every write is at the end of the file. */
  readonly append: boolean;
  /** Whom reads and writes through the server act for; otherwise for whom the client was made. */
  readonly credentials?: Credentials | undefined;
}

/** One OPEN at the server. After a loss of state it is opened again, by inode, when it is next used. */
export class OpenState {
  readonly ino: number;
  readonly access: Access;
  readonly append: boolean;
  readonly credentials: Credentials | undefined;
  readonly #session: Session;
  #stateid: WireStateId;
  #incarnation: number;
  #reopening: Promise<WireStateId> | undefined;

  constructor(
    session: Session,
    ino: number,
    { access, append, credentials }: How,
    stateid: WireStateId,
    incarnation: number,
  ) {
    this.#session = session;
    this.ino = ino;
    this.access = access;
    this.append = append;
    this.credentials = credentials;
    this.#stateid = stateid;
    this.#incarnation = incarnation;
  }

  get readable(): boolean {
    return (this.access & shareAccess.read) !== 0;
  }

  get writable(): boolean {
    return (this.access & shareAccess.write) !== 0;
  }

  /** @throws ClientError of OPEN: STALE or NOENT when the file is gone */
  stateid(): Promise<WireStateId> {
    if (this.#incarnation === this.#session.incarnation) return Promise.resolve(this.#stateid);
    this.#reopening ??= this.#reopen().finally(() => {
      this.#reopening = undefined;
    });
    return this.#reopening;
  }

  /**
   * Runs `work` with the stateid, and again where state was lost on the way: reads and writes at given offsets may run
   * twice. @throws ClientError of OPEN, or of the work
   */
  async with<R>(work: (stateid: WireStateId) => Promise<R>): Promise<R> {
    for (let tries = 1; ; tries++) {
      try {
        return await work(await this.stateid());
      } catch (error) {
        const again = error instanceof ClientError && error.status === 'STATE_LOST' && tries < clientLimits.reopensMax;
        if (!again) throw error;
      }
    }
  }

  /** Nothing is left to close when the server has forgotten it. */
  async close(): Promise<void> {
    if (this.#incarnation !== this.#session.incarnation) return;
    try {
      await this.#session.call(operations.CLOSE, [this.#stateid], { stateful: true });
    } catch (error) {
      if (!(error instanceof ClientError && error.status === 'STATE_LOST')) throw error;
    }
  }

  async #reopen(): Promise<WireStateId> {
    const [stateid] = await this.#session.call(operations.OPEN, [
      [openTarget.inode, this.ino],
      this.access,
      false,
      this.append,
    ]);
    // Read after the reply: the call may have gone over to a yet newer incarnation.
    this.#incarnation = this.#session.incarnation;
    this.#stateid = stateid;
    return stateid;
  }
}
