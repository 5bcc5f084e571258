/** Every bound of one-sided access, each with its reason. Milliseconds unless the name says otherwise. */
export const rmaLimits = {
  /** Clients attached at once: each has an endpoint, with a listening socket and threads' worth of buffers (about 1 MiB). */
  clientsMax: 256,
  /** Clients of which it is known that they had attached: those with a fence under way are among them. */
  rememberedMax: 65_536,
  /** Keys of one client, one for each piece of the device that lies together: as many as one layout has extents. */
  keysPerClientMax: 4096,
  /** Of all clients; about 500 bytes each in libfabric. */
  keysMax: 65_536,
  /** What the target process takes to start, on a busy machine. */
  startMs: 20_000,
  /** And to answer. Where it does not it is killed, which closes all keys: it may be stuck on a lock that a stopped client holds. */
  answerMs: 5_000,
  /** After a crash of the target process nobody is attached for this long: a library that crashes at once is not to keep the machine busy. */
  restartMs: 1_000,
  /** The target looks for transfers without sleeping for so long after the last sign of one. */
  spinMs: 1,
  /** Where nothing wakes it (shm) it looks this often while clients are attached, less often when nothing has come for a while. */
  lookMs: 1,
  lookIdleMs: 10,
  idleAfterMs: 1_000,
} as const;
