import type { RecallReply, StateId } from '../layout/types.ts';

/** What this client knows of its layout on the file when the recall comes. */
export interface RecallView {
  readonly held: StateId | undefined;
  /** A LAYOUTGET is on its way: its reply may bring the state that the recall speaks of. */
  readonly getting: boolean;
}

/**
 * Orders a recall among the replies (RFC 8881 §12.5.5.2). Only `ok` acts.
 * - The number after ours: nothing is missing. Ours or older: a recall sent again; giving back once more does no harm.
 * - Beyond the next one: replies are missing that may have granted more than we know of, so not yet.
 * - Another state: none of ours, unless a LAYOUTGET is about to tell us of it.
 */
export function orderRecall({ held, getting }: RecallView, recall: StateId): RecallReply {
  if (held === undefined || held.other !== recall.other) return getting ? 'delay' : 'nomatching';
  return seqidAhead(recall.seqid, held.seqid) > 1 ? 'delay' : 'ok';
}

/** How far `a` is ahead of `b`, negative when behind, over the wrap from 2^32-1 to 1 (RFC 8881 §8.2.2). */
export function seqidAhead(a: number, b: number): number {
  const period = 2 ** 32 - 1;
  const ahead = (((a - b) % period) + period) % period;
  return ahead > period / 2 ? ahead - period : ahead;
}

export function newest(a: StateId | undefined, b: StateId): StateId {
  if (a === undefined || a.other !== b.other) return b;
  return seqidAhead(b.seqid, a.seqid) > 0 ? b : a;
}
