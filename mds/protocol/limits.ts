/** Bounds of the wire protocol, each with its reason. Both sides enforce them; docs/protocol.md states them for others. */
const dataMax = 2 ** 20;

export const wireLimits = {
  /** Bytes of file data in one READ or WRITE: above it a copy costs more than the round trip that it saves. */
  dataMax,
  /** Body of a frame: the data, and room for every other field of the largest message. Checked before anything is buffered. */
  frameMax: dataMax + 65_536,
  /** Frames that leave in one system call: with fewer the calls cost more than the peer gains by having them earlier. */
  framesTogether: 16,
  /** Nesting of arrays: the deepest message (STATUS) has 5 levels; more would only cost stack. */
  depthMax: 8,
  /** co_ownerid, NFS4_OPAQUE_LIMIT of RFC 8881 §3.2. */
  ownerMax: 1024,
  /** What a client calls its program: one line of a table. */
  implementationMax: 256,
  /** A boot id, a namespace and a number: about 70 characters. */
  processMax: 128,
  /** Incarnations of one owner that EVICT ends at a time. */
  evictedMax: 1024,
  /** The path hint of a device, the detail of an error and other words for people, in characters. */
  textMax: 4096,
  /** NGROUPS_MAX of Linux is 65536; AUTH_SYS carries 16. Enough for real users, small enough for every request. */
  groupsMax: 256,
  /** NAME_MAX, symlink target and extended attributes of Linux. */
  nameMax: 255,
  symlinkMax: 4095,
  xattrValueMax: 65_536,
  xattrsMax: 4096,
  /** Extents in one LAYOUTGET reply; about 60 bytes each, so that a reply stays below a quarter of a frame. */
  extentsMax: 4096,
  /** Ranges in one LAYOUTCOMMIT. */
  commitRangesMax: 4096,
  /** Entries in one READDIR reply: with names of 255 bytes and attributes they fit a frame. */
  direntsMax: 1024,
  /** Stateids in one TEST_STATEID. */
  testStateidsMax: 1024,
  /** Extents in one MAP reply. */
  mapExtentsMax: 8192,
  /** Quotas in one QUOTA_LIST reply: with the longest paths they fit a frame. */
  quotasMax: 128,
  /** PATH_MAX of Linux; a longer one is cut. */
  pathMax: 4096,
  /** Slots of a session: requests of it in progress at once. With one frame each they bound what a session can pile up. */
  slotsMax: 32,
  /** Slots of a session for callbacks: with each a recall can wait for a slow client, and 64 frames are all it must take. */
  callbackSlotsMax: 64,
  /** Requests that one callback names: the last one of each slot of all sessions of a client. */
  referringMax: 128,
  /** Clients, layouts and breaks that one STATUS reply lists, and segments of a layout: with the longest owners they fit a frame. */
  statusRowsMax: 512,
  statusSegmentsMax: 16,
  /** Fences that one STATUS reply lists, and characters of the error of each. */
  statusFencesMax: 64,
  statusErrorMax: 256,
  /** Fencing providers. */
  statusProvidersMax: 16,
  /** Name of a provider of one-sided access, and an address of it: FI_NAME_MAX and a name of shared memory (fi_cm(3)). */
  rmaProviderMax: 64,
  rmaAddressMax: 256,
  /** Changes of devices in one callback; a filesystem has one device, whose id changes with a fence. */
  deviceChangesMax: 16,
  /** Session buffers that one client has: what one callback can ask back. */
  buffersMax: 4096,
} as const;
