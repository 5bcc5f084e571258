import type { RecallReply, StateId } from '../layout/types.ts';
import {
  type CallbackFrame,
  callbacks,
  digestOf,
  type ReferringCall,
  type RequestOf,
  recallAnyLayouts,
  type StatusName,
  stateIdFromWire,
  type WireStateId,
} from '../mds/protocol/index.ts';
import { CallbackSlots } from './callback-slots.ts';
import { clientLimits } from './limits.ts';
import type { Requests } from './requests.ts';

/** CB_LAYOUTRECALL of one file. */
export interface FileRecall {
  readonly ino: number;
  readonly stateid: WireStateId;
  readonly iomode: 1 | 2 | 3;
  readonly offset: number;
  readonly length: number;
  readonly changed: boolean;
}

type RecallArgs = RequestOf<typeof callbacks.CB_LAYOUTRECALL>;

/** What the server asks for, or tells. */
export interface CallbackEvents {
  recall(recall: FileRecall): RecallReply;
  /** CB_LAYOUTRECALL of everything. */
  recallAll(kind: 2 | 3, changed: boolean): RecallReply;
  /** CB_BUFFERS_RECALL. */
  recallBuffers(stateid: StateId, offsets: readonly number[]): RecallReply;
  /** CB_RECALL_ANY: no more layouts than this are to be kept. */
  recallAny(keep: number): void;
  /** CB_RECALLABLE_OBJ_AVAIL: what was refused is to be had. */
  available(ino: number): void;
  /** CB_NOTIFY_DEVICEID: what is known of devices is out of date. */
  devicesChanged(): void;
  /** A callback was answered DELAY, since replies that it refers to did not come. */
  putOff(): void;
}

const recallStatus: Record<RecallReply, StatusName> = {
  ok: 'OK',
  nomatching: 'NOMATCHING_LAYOUT',
  delay: 'DELAY',
  'bad-stateid': 'BAD_STATEID',
  unreachable: 'DELAY',
};

/** The callbacks of one session (RFC 8881 §20): each is carried out once, after the replies that it refers to, and answered. */
export class Callbacks {
  readonly #sessionId: Uint8Array;
  readonly #slots: CallbackSlots;
  readonly #requests: Pick<Requests, 'isAwaiting' | 'untilAnswered'>;
  readonly #events: CallbackEvents;

  constructor(
    sessionId: Uint8Array,
    slots: number,
    requests: Pick<Requests, 'isAwaiting' | 'untilAnswered'>,
    events: CallbackEvents,
  ) {
    this.#sessionId = sessionId;
    this.#slots = new CallbackSlots(slots);
    this.#requests = requests;
    this.#events = events;
  }

  answer([, , sessionId, slot, seqid, referring, number, args]: CallbackFrame): Promise<StatusName> | StatusName {
    if (!this.#isOurs(sessionId)) return 'BADSESSION';
    const run = () => this.#obey(referring, number, args);
    return this.#slots.answer({ slot, seqid, digest: digestOf([number, args]) }, run);
  }

  /** What the callback refers to comes first (RFC 8881 §2.10.6.3): at once where it is here, so that no two are exchanged. */
  #obey(referring: readonly ReferringCall[], number: number, args: unknown[]): Promise<StatusName> | StatusName {
    const calls = referring
      .filter(([session]) => this.#isOurs(session))
      .map(([, slot, seqid]): { slot: number; seqid: number } => ({ slot, seqid }));
    if (!this.#requests.isAwaiting(calls)) return this.#perform(number, args);
    return this.#requests
      .untilAnswered(calls, clientLimits.referringWaitMs)
      .then((answered) => (answered ? this.#perform(number, args) : this.#putOff()));
  }

  #perform(number: number, args: unknown[]): StatusName {
    switch (number) {
      case callbacks.CB_LAYOUTRECALL.number:
        return callbacks.CB_LAYOUTRECALL.isRequest(args) ? this.#recall(args) : 'BADXDR';
      case callbacks.CB_BUFFERS_RECALL.number:
        if (!callbacks.CB_BUFFERS_RECALL.isRequest(args)) return 'BADXDR';
        return recallStatus[this.#events.recallBuffers(stateIdFromWire(args[0]), args[1])];
      case callbacks.CB_RECALL_ANY.number:
        return callbacks.CB_RECALL_ANY.isRequest(args) ? this.#recallAny(args) : 'BADXDR';
      case callbacks.CB_RECALLABLE_OBJ_AVAIL.number:
        if (!callbacks.CB_RECALLABLE_OBJ_AVAIL.isRequest(args)) return 'BADXDR';
        this.#events.available(args[0]);
        return 'OK';
      case callbacks.CB_NOTIFY_DEVICEID.number:
        if (!callbacks.CB_NOTIFY_DEVICEID.isRequest(args)) return 'BADXDR';
        this.#events.devicesChanged();
        return 'OK';
      default:
        return 'NOTSUPP';
    }
  }

  #recall([kind, ino, stateid, iomode, offset, length, changed]: RecallArgs): StatusName {
    if (kind !== 1) return recallStatus[this.#events.recallAll(kind, changed)];
    if (ino === null || stateid === null) return 'INVAL';
    return recallStatus[this.#events.recall({ ino, stateid, iomode, offset, length, changed })];
  }

  /** Bits that mean nothing here are INVAL (RFC 8881 §20.6.3). */
  #recallAny([keep, mask]: RequestOf<typeof callbacks.CB_RECALL_ANY>): StatusName {
    if (mask !== recallAnyLayouts) return 'INVAL';
    this.#events.recallAny(keep);
    return 'OK';
  }

  #putOff(): StatusName {
    this.#events.putOff();
    return 'DELAY';
  }

  #isOurs(sessionId: Uint8Array): boolean {
    return Buffer.compare(sessionId, this.#sessionId) === 0;
  }
}
