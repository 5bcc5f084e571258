/** Every bound of the leasing state machine, each with its reason. Times in milliseconds. */
export const limits = {
  /** Offsets are doubles: above this they are no longer exact, and only Infinity (to the end and beyond) has a meaning. */
  offsetMax: Number.MAX_SAFE_INTEGER,
  /**
   * How far behind the newest a LAYOUTGET's seqid may be. RFC 8881 §12.5.3 asks for the sum of (ca_maxoperations - 1)
   * over the client's sessions at least; this is far above what sessions here can have in flight.
   */
  seqidWindow: 65_536,
  /** Gets that wait on one file; more are told to come back later, so that one hot file cannot fill the memory. */
  waitingGetsPerFileMax: 1024,
  /**
   * A return from the middle leaves two segments where one was. A client at its limit must still be able to answer
   * recalls, so returns may go this many times over it.
   */
  splitFactor: 2,
  /** A recall that did not get through goes out again after this time, doubling up to the longest. */
  resendFirstMs: 100,
  resendLongestMs: 1000,
  /** Answers of BAD_STATEID to one recall that may still be a crossing on the wire. */
  badStateidsMax: 1,
} as const;
