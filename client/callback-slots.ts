import type { StatusName } from '../mds/protocol/index.ts';

/** A callback as far as its slot goes. */
export interface SlottedCallback {
  readonly slot: number;
  readonly seqid: number;
  /** Of what it asks for. */
  readonly digest: number;
}

type Answer = Promise<StatusName> | StatusName;

interface Last {
  readonly seqid: number;
  readonly digest: number;
  readonly answer: Answer;
}

/**
 * The slots that the server's callbacks come in (RFC 8881 §2.10.6): each runs once, and is answered the same when it
 * comes again. One that comes again while it runs is answered when the first one is.
 */
export class CallbackSlots {
  readonly #count: number;
  readonly #last = new Map<number, Last>();

  constructor(count: number) {
    this.#count = count;
  }

  answer({ slot, seqid, digest }: SlottedCallback, run: () => Answer): Answer {
    if (slot >= this.#count) return 'BADSLOT';
    const last = this.#last.get(slot);
    if (last !== undefined && seqid === last.seqid) return digest === last.digest ? last.answer : 'SEQ_FALSE_RETRY';
    // The first one has 1, and after 2^32-1 comes 0.
    if (seqid !== ((last?.seqid ?? 0) + 1) >>> 0) return 'SEQ_MISORDERED';
    const answer = run();
    this.#last.set(slot, { seqid, digest, answer });
    return answer;
  }
}
