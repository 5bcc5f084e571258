import { randomBytes } from 'node:crypto';
import type { Reach } from './fencing/reach.ts';
import type { Introduction } from './introduction.ts';
import type { ReplyShare } from './reply-budget.ts';
import type { Session } from './session.ts';
import type { Verdict } from './topology.ts';

/** Why all of its layouts were revoked: one was not returned in time, the administrator said so, or its lease was over and somebody needed one. */
export type Revocation = 'recalled' | 'administrator' | 'expired' | 'all-expired';

/** One incarnation of a client: an owner with one verifier. Its id is never given to another. */
export class Client implements ReplyShare {
  readonly id: number;
  readonly reach: Reach;
  readonly sessions = new Set<Session>();
  /** Milliseconds of the server's clock; only a request that passed its slot moves it (RFC 8881 §8.3). */
  leaseEndsAt: number;
  /** It has said RECLAIM_COMPLETE (RFC 8881 §18.51): before that it gets no new state. */
  reclaimComplete = false;
  /** Bytes of its replies that are kept for retries. */
  keptBytes = 0;
  /** Incarnations of the same owner from before the restart of the server, of which it may reclaim until then. */
  readonly formers = new Set<number>();
  /** csa_sequence of the next CREATE_SESSION. */
  nextCreation: number;
  /** What the last CREATE_SESSION made, for its retry. */
  creating: Session | 'never' | 'running' = 'never';
  /** Its record is in the store, or on its way there. */
  recorded: Promise<void> | undefined;
  /** In the store, durably. */
  isRecorded = false;
  /** `Reach.record`, as it stands there. */
  recordedProcess = '';
  /** Layout stateids that were revoked, as hex of `other`; not empty: the client is fenced. FREE_STATEID takes them out. */
  readonly revoked = new Set<string>();
  /** What it wants to hear of devices: bits 1 << deviceChange, as the last GETDEVICEINFO said. */
  deviceChanges = 0;
  /** Its device id from before, as long as it has not been told that it is void. */
  voidDevice: Uint8Array | undefined;
  /** The PCI function that reads and writes for it; undefined: it named none. */
  peer: { readonly pci: string; readonly verdict: Verdict } | undefined;
  /** Of `revoked`; `all-expired`: it has no open files either. */
  revocation: Revocation = 'recalled';
  #introduction: Introduction;
  #deviceEpoch = 0;
  #deviceKey: Buffer = randomBytes(16);

  constructor(id: number, introduction: Introduction, reach: Reach, nextCreation: number, leaseEndsAt: number) {
    this.id = id;
    this.#introduction = introduction;
    this.reach = reach;
    this.nextCreation = nextCreation;
    this.leaseEndsAt = leaseEndsAt;
  }

  get introduction(): Introduction {
    return this.#introduction;
  }

  /** Who it is and what it may do stays (RFC 8881 §18.35.4). */
  update({ implementation, ioMaxMs }: Introduction): void {
    this.#introduction = { ...this.#introduction, implementation, ioMaxMs };
  }

  get fenced(): boolean {
    return this.revoked.size > 0;
  }

  /** Grows with every fence, as it begins: device ids and keys from before are void (RFC 8154 §2.4.10: a new key). */
  get deviceEpoch(): number {
    return this.#deviceEpoch;
  }

  get deviceKey(): Uint8Array {
    return this.#deviceKey;
  }

  renewDevices(): void {
    this.#deviceEpoch++;
    this.#deviceKey = randomBytes(16);
  }
}
