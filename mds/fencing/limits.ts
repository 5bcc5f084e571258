/** Every bound of fencing, each with its reason. */
export const fencingLimits = {
  /** A fence that fails is tried again after 1 s, doubling up to 3 min, without end (Linux 7.1 does so). */
  retryFirstMs: 1_000,
  retryLongestMs: 180_000,
  /** One attempt of a provider: switching off a port or a virtual machine takes seconds; who comes back waits for it. */
  attemptMs: 30_000,
  /** Hooks that run at once, each a process; other clients wait for their turn. */
  hooksMax: 8,
  /** Output of a hook that goes to the log, bytes; the rest is read and thrown away. */
  hookOutputMax: 4096,
  /** Ranges that a hook is told of; adjacent ones are one. Where there are more, the last one told covers the rest. */
  hookRangesMax: 4096,
  /** Addresses of one client that a hook is told: a client has some connections, and new ones in place of broken ones. */
  addressesMax: 16,
} as const;

/** `ioMaxMs` of a client whose accesses to the device may take any time (RFC 5663 §2.3.8: all ones). */
export const ioUnbounded = 0xffff_ffff;
