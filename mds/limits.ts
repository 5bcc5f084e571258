/** Every bound of the metadata server, each with its reason. What is bounded on the wire stands in protocol/limits.ts. */
export const serverLimits = {
  /** Lease of a client: 90 s, as Linux' nfsd. A client renews it with every request. */
  leaseMs: 90_000,
  /** A shorter lease could end between two turns of a busy event loop. */
  leaseMinMs: 50,
  leaseMaxMs: 3_600_000,
  /** How long LAYOUTGET waits for layouts in its way before it says LAYOUTTRYLATER; far below any client's timeout. */
  layoutWaitMs: 10_000,
  /** A client answers a callback at once (the return comes later): later than this it counts as not reached. */
  callbackReplyMs: 5_000,
  /** A callback left unanswered so long over a connection that stands will never be answered: ten times what is slow. */
  callbackLostMs: 60_000,
  /** Callbacks of a session that wait for a slot; of more the client counts as unreachable, and they are sent again later. */
  callbacksQueuedMax: 256,
  /** Callbacks on their way over one connection: all slots of all sessions of one client, and of some that share it. */
  callbacksPerConnectionMax: 1024,
  /** Connections of all clients: one each, and a quarter more while they are replaced. Each costs a descriptor (see RLIMIT_NOFILE). */
  connectionsMax: 20_480,
  /** Clients known at once, confirmed or not: each connected one needs one of `connectionsMax`. */
  clientsMax: 16_384,
  /** Of them not confirmed: a client does that within a round trip, and the oldest makes room for the next. */
  unconfirmedClientsMax: 1024,
  /**
   * How long CREATE_SESSION waits for the end of the former incarnation before it says DELAY: far below what clients wait
   * for an answer, and longer than fences that succeed at once.
   */
  confirmWaitMs: 3_000,
  /** How long a client whose lease has ended keeps what nobody else needs: a day, as Linux' nfsd. */
  courtesyMs: 24 * 3_600_000,
  /** Such clients; the oldest ends when there would be more. */
  courteousClientsMax: 1024,
  /** A client needs one session, and a second one while it replaces the first. */
  sessionsPerClientMax: 4,
  /**
   * Requests of one connection in progress; more stay in the socket. No fewer than all slots of a client's sessions,
   * so that requests that wait for a recall can never keep a LAYOUTRETURN from being read.
   */
  requestsPerConnectionMax: 128,
  /** Open files of one client, as RLIMIT_NOFILE of a large server. */
  opensPerClientMax: 65_536,
  /** Of all clients, with their handles about 1 KiB each. From half of it on each client has its share, and no more. */
  opensMax: 2 ** 20,
  /** Bytes of requests that are not complete, of all connections: 240 of the largest size at once. */
  halfFramesMax: 256 * 2 ** 20,
  /** One reply kept for a retry: the largest reply of an operation that must not run twice is LAYOUTGET's. */
  cachedReplyMax: 256 * 1024,
  /** All replies kept for retries, in bytes on the wire; in memory about four times as much. Beyond it the largest users wait. */
  cachedRepliesMax: 256 * 2 ** 20,
  /** Bytes of one layout for writing: what a fenced client can make unusable in one go, and the work of one mapping. */
  layoutWriteMax: 2 ** 30,
  /** Extents that a grant takes in beyond what was asked for: about 10 KiB of reply for what may never be used. */
  moreExtentsMax: 256,
  /** What a grant for writing takes in beyond what was asked for begins at one huge page: less saves no request worth having. */
  moreMin: 2 ** 21,
  /** Read-ahead of grants for who writes in sequence: 128 MiB are 10 ms of copying, a hundred times a LAYOUTGET. */
  aheadMax: 2 ** 27,
  /** Nobody is given more than was asked for when more than this part of what would be free is granted and not committed. */
  aheadShare: 1 / 4,
  /** With less than this part of the device free, nobody is given more than was asked for. */
  scarceShare: 1 / 8,
  /** What one grant takes beyond what was asked for, of what its quota, or the filesystem, leaves. */
  aheadQuotaShare: 1 / 16,
  /** How long what a file was granted and gave back for want of space is not asked for again: time to write hundreds of MiB. */
  spaceRestMs: 10_000,
  /** Clients remembered to use a file in sequence; about 100 bytes each. Who is forgotten begins small again. */
  sequencesMax: 16_384,
  /** Of the device, what all session buffers together may take where the server was not told. */
  buffersShare: 1 / 8,
  /** Segments of layouts that one client may hold. */
  segmentsPerClientMax: 65_536,
  /** Segments of all clients, 300 bytes each, from which on those that hold most are asked to keep fewer. */
  segmentsHighMark: 2 ** 20,
  /** And beyond which nobody gets more: twice that, about 600 MiB. */
  segmentsMax: 2 ** 21,
  /** Rounds of an OPEN that finds a name to be there and then gone. */
  createRoundsMax: 16,
  /** Rounds of LAYOUTGET: conflict, wait, look again. */
  layoutRoundsMax: 16,
  /** What an orderly stop gives the fences of clients that did not return in time: a few tries, each with a copy of what they reach. */
  drainFenceMs: 10_000,
  /** How long the store says of a file given back that a client may have it: longer than between two uses of a busy file. */
  grantKeptMs: 5_000,
  /** How often all such files are looked at for those whose time is over. */
  grantsLookMs: 1_000,
  /** Such files of all clients; about 200 bytes each. */
  grantsKeptMax: 65_536,
  /** How long QUOTA_SET waits for a quota to come into force before it says how far it is. */
  quotaWaitMs: 500,
  /** One lookup of whether somebody answers on a socket that is in the way. */
  staleSocketProbeMs: 1_000,
} as const;
