/**
 * Sequence numbers of layout stateids (RFC 8881 §8.2.2, §12.5.3): 1 to 2^32-1, and after the last comes 1 again, for 0
 * is never the seqid of a layout. They are compared on that circle: up to half of it back is older, the rest is newer.
 */
import { limits } from './limits.ts';
import type { StateId } from './types.ts';

const seqidMax = 0xffff_ffff;
const halfCircle = seqidMax / 2;

export function nextSeqid(seqid: number): number {
  return seqid === seqidMax ? 1 : seqid + 1;
}

/** How many steps `given` lies behind `current`; undefined if it is newer, or no seqid of a layout. */
export function seqidAge(current: number, given: number): number | undefined {
  if (!Number.isSafeInteger(given) || given < 1 || given > seqidMax) return undefined;
  const age = (current - given + seqidMax) % seqidMax;
  return age < halfCircle ? age : undefined;
}

/**
 * RFC 8881 §12.5.3: gets that run in parallel carry the same or an older seqid, as far back as the window goes, and so do
 * returns that overtake the reply to a get. What was never given out is none.
 */
export function checkStateid(current: StateId, given: StateId): 'BAD_STATEID' | 'OLD_STATEID' | undefined {
  const age = ageOf(current, given);
  if (age === undefined) return 'BAD_STATEID';
  return age > limits.seqidWindow ? 'OLD_STATEID' : undefined;
}

function ageOf(current: StateId, given: StateId): number | undefined {
  return current.other === given.other ? seqidAge(current.seqid, given.seqid) : undefined;
}
