/** Every bound of the leasing state machine, each with its reason. Times in milliseconds. */
export const limits = {
  /** Offsets are doubles: above this they are no longer exact, and only Infinity (to the end and beyond) has a meaning. */
  offsetMax: Number.MAX_SAFE_INTEGER,
  /**
   * How far behind the newest a seqid may be. RFC 8881 §12.5.3 asks for the sum of (ca_maxoperations - 1)
   * over the client's sessions at least; this is far above what sessions here can have in flight.
   */
  seqidWindow: 65_536,
  /** Segments of a file, or of one client on it, that are walked rather than looked up: a walk over these costs no more than a tree. */
  listedSegmentsMax: 16,
  /** Gets that wait on one file; more are told to come back later, so that one hot file cannot fill the memory. */
  waitingGetsPerFileMax: 1024,
  /**
   * A return from the middle leaves two segments where one was. A client at its limit must still be able to answer
   * recalls, so returns may go this many times over it.
   */
  splitFactor: 2,
  /** Segments passed over in a look for what is in the way; beyond them a grant ends that could have been larger. */
  looksMax: 256,
  /** A recall that did not get through goes out again after this time, doubling up to the longest. */
  resendFirstMs: 100,
  resendLongestMs: 1000,
  /** Answers to one recall that make no sense but may still be a crossing on the wire. */
  badStateidsMax: 1,
  /** A client that gives back bit by bit has this many deadlines in all (RFC 8881 §12.5.5.2 lets a server wait for progress). */
  progressDeadlinesMax: 4,
  /** Gets that were sent away and keep their turn: of one file, and of one client on all files. More lose it. */
  claimsPerFileMax: 64,
  claimsPerClientMax: 256,
  /** How long a range is kept free for a get that was sent away: longer than clients wait before they ask again. */
  claimHoldMs: 3000,
  /** Oldest layouts asked back in one go when memory is short: a burst that connections take without choking. */
  pressureRecallsMax: 256,
} as const;
