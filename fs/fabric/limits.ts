/** Every bound of the bindings to libfabric, each with its reason. */
export const fabricLimits = {
  /** Longest endpoint name: a socket address has 28 bytes, an address of shared memory is a word with a process id. */
  nameMax: 256,
  /** Completions taken by one look at a queue. */
  completionsPerPoll: 64,
  /** Operations in flight of one endpoint: what a completion queue holds. */
  operationsMax: 256,
} as const;
