/** Bounds of the client library, each with its reason. Bytes and milliseconds unless the name says otherwise. */
export const clientLimits = {
  /** Requests in progress at once that the client asks for; the server may give fewer. */
  slotsWanted: 64,
  /** Slots kept free for what the server waits for: returns, commits and renewals (a blocked write must not starve them). */
  slotsReserved: 4,
  /** Callbacks at once that the client takes: as many as files that others want at the same moment, before they queue. */
  callbackSlots: 16,
  /** How long a callback waits for replies that it depends on: a round trip and more; then the server is asked to come again. */
  referringWaitMs: 1000,
  /** Calls that wait for a slot. Beyond it the program produces faster than the server answers. */
  queuedCallsMax: 4096,
  /** A reply that does not come; longer than the server's longest wait, a recall that ends in a fence. */
  callTimeoutMs: 180_000,
  /** A tree copy of 10⁶ files and more; a server that died is found out by its connection. */
  treeCopyTimeoutMs: 4 * 3_600_000,
  /** Pinning writes all of a file: 1 TiB at the 100 MB/s of a slow BAR. */
  pinTimeoutMs: 3 * 3_600_000,
  /** Layouts asked back from somebody who returns them bit by bit: four times the longest lease. */
  recallTimeoutMs: 4 * 3_600_000,
  /** Connecting and making a session at one address. */
  dialTimeoutMs: 10_000,
  /** What the client declares as its longest single DMA: 16 MiB at the slowest BAR seen (40 MB/s uncached) and a pause. */
  maxIoMs: 1000,
  /** Closing in good order; then the rest is left to the end of the lease. */
  closeTimeoutMs: 10_000,
  /** Reconnecting: first and longest pause. */
  reconnectFirstMs: 20,
  reconnectMaxMs: 2000,
  /** Times that an I/O follows its file into a new incarnation; servers that restart faster are out of order. */
  reopensMax: 5,
  /** A request that the server puts off (DELAY, GRACE): first and longest pause; its own deadline ends it. */
  delayFirstMs: 10,
  delayMaxMs: 1000,

  /** MAXSYMLINKS of Linux: beyond it a path is a loop (path_resolution(7)). */
  symlinksMax: 40,
  /** PATH_MAX of Linux. */
  pathMax: 4096,
  /** Names that mkdtemp tries: of 62^6 the second is hardly ever needed. */
  temporaryNamesMax: 100,
  /** Files of one directory that `rm` removes at once: enough to keep the connection busy, and few of the slots. */
  removesAtOnce: 16,
  /** Entries asked for in one READDIR. */
  readdirPage: 1024,

  /** Files up to this size are leased for reading as a whole, larger ones in windows of it: 64 MiB is 5 ms of copying for one round trip. */
  readWindow: 64 * 2 ** 20,
  /** Write layouts begin with one huge page, so that the server allocates aligned, and double while the writes go on in sequence. */
  writeWindowMin: 2 ** 21,
  writeWindowMax: 64 * 2 ** 20,
  /** Asking for a layout: tries, with the pauses of a request that is put off. About 0.3 s in all, then the server does the I/O. */
  layoutTriesMax: 6,
  /** And in all: the server may itself wait 10 s for the layouts of others before it says LAYOUTTRYLATER. */
  layoutWaitMs: 15_000,
  /** After LAYOUTUNAVAILABLE no layout is asked for this long (Linux: 120 s). */
  refusalHoldMs: 10_000,
  /** After a layout was not to be had because of others. */
  conflictHoldMs: 1000,
  /** After an engine failed: so long its file is read and written through the server. */
  engineHoldMs: 5000,
  /** After a recall only what is needed is asked for: somebody else works on the file. */
  contentionHoldMs: 5000,
  /** An I/O whose layout is recalled each time before it can start goes to the server after this many tries. */
  directTriesMax: 8,
  /** Segments cached for one file; then all of them are returned before new ones are asked for. */
  cachedSegmentsMax: 8192,
  /** Separate ranges written and not committed in one file: what one LAYOUTCOMMIT takes. Then writing waits for a commit. */
  dirtyRangesMax: 4096,
  /** Challenges asked for until two in a row are found, and bytes that none may be shorter than: nobody guesses them. */
  proofTriesMax: 4,
  proofBytesMin: 16,
  /** Devices and images that are looked at in search of the server's memory. */
  candidatesMax: 256,
  /** Copied at once before the event loop gets its turn (about 2 ms), and between two looks at the lease. */
  directSlice: 16 * 2 ** 20,
  /** Of one layout of a copy to or from elsewhere: the round trip for it is little beside the copying. */
  copyPart: 64 * 2 ** 20,
  /** Given to the kernel at once: what a recall waits for, 80 ms at 100 MB/s. */
  copySlice: 8 * 2 ** 20,
  /** What holes are written from. */
  zeroPiece: 2 ** 20,
  /** Direct I/O gives the event loop its turn after this time, so that recalls are heard (limits.sliceMs of fs). */
  turnMs: 2,
  /** Largest read of a kernel that is served at once (max_pages of FUSE). */
  kernelReadMax: 2 ** 20,
  /** Files up to this size a mount reads and writes through the server, so many times for each open: 32 KiB cost as much to send as a layout to ask for. */
  servedFileMax: 32 * 1024,
  servedMax: 4,
  /** What a mount wrote and nobody synced is committed after this time (dirty_writeback_centisecs of Linux). */
  commitAfterMs: 5000,
  /** The root of a mount and its free space are answered as last heard when the server takes so long: longer than it takes when it lives. */
  knownAnswersAfterMs: 2000,
  /** Looks at what was revoked before direct I/O goes on: one finds it, one finds what was heard of meanwhile, one finds nothing. */
  revocationRoundsMax: 4,
  /** What a stream reads or keeps at once: the largest READ of the protocol. */
  streamPiece: 2 ** 20,
  /** Requests of one read or write through the server in progress at once. */
  serverPipeline: 4,

  /** One transfer to or from the server's memory; more in flight pays more than longer ones. */
  rmaTransferMax: 2 ** 20,
  /** Of one read or write at once: the next ones are on their way while the processor polls for the first. */
  rmaTransfersMax: 4,
  /** A transfer that is not over by then never will be: 1 MiB at 1 MB/s, and more. */
  rmaTimeoutMs: 10_000,
  /** Looks at the completion queue before the event loop gets its turn: some microseconds. */
  rmaLooksPerTurn: 16,
  /** Asking a server that does not answer to let go: with the timeout of each longer than any lease. */
  rmaReleasesMax: 32,
} as const;
