/** Every hard limit of the filesystem, each with its reason. Bytes and milliseconds unless the name says otherwise. */
export const limits = {
  /** Allocation unit; the page size of x86-64, so that a block can be mapped by itself. */
  blockSize: 4096,
  /** Largest file: 8 PiB keeps byte offsets exact in a double (2^53 - 1). */
  fileSizeMax: 2 ** 53 - 4096,
  /** NAME_MAX of Linux. */
  nameMax: 255,
  /** A symlink target fits one page with its end (PATH_MAX - 1). */
  symlinkMax: 4095,
  /** Names of a file: what ext4 allows. */
  linkMax: 65_000,
  /** Links of a directory, each subdirectory being one: XFS_MAXLINK. ext4 (dir_nlink) and btrfs have no bound there. */
  directoryLinkMax: 2 ** 31 - 1,
  /** XATTR_SIZE_MAX and XATTR_NAME_MAX of Linux (include/uapi/linux/limits.h). */
  xattrValueMax: 65_536,
  xattrNameMax: 255,
  /** XATTR_LIST_MAX of Linux. */
  xattrListMax: 65_536,
  /** Two superblocks and enough blocks to be of any use. */
  deviceSizeMin: 64 * 1024,
  /** One mapping window: typed arrays of Node 20 end at 4 GiB, and a window must be divisible by 2 MiB pages. */
  windowSize: 2 ** 30,
  /** An operation that waited this often without getting through is broken: EAGAIN instead of a livelock. */
  operationRestartsMax: 1000,
  /** Ranges of a file that one operation asks back one by one; more are asked back as the one range that holds them all. */
  layoutBreaksMax: 64,
  /**
   * Records in one group before it is sealed early: encoding a group and taking it into the record cache run in one go
   * each, and whoever syncs waits for all of it. Within a group files come and go without a record.
   */
  groupRecordsMax: 16_384,
  /** Changed records held in memory while a group is being written; operations wait beyond it. */
  unwrittenRecordsMax: 65_536,
  /** Inode numbers and listing positions reserved at a time: about two seconds of creating files as fast as it goes. */
  numbersAhead: 65_536,
  /** Longest time an acknowledged but unsynced change stays only in memory, as ext4's commit=5. */
  groupIntervalMs: 1000,
  /** The kernel forgets a file that lost its last name within this time, unless a program uses it. */
  lingerMs: 100,
  /** How often whoever waits for that looks again. */
  lingerPollMs: 5,
  /** Most that is kept for root, in hundredths of a percent: half, as mkfs.ext4 has it. */
  reserveMax: 5000,
  /** Directory trees with a quota: all resident, all listed in one reply. */
  quotaTreesMax: 1024,
  /** A slice of long work gives the loop back after this time. */
  sliceMs: 2,
  /** And after so many steps, since a step may cost more when its turn comes again: bounds it where no clock is fine enough. */
  sliceStepsMax: 256,
  /** Inodes of one tree copy, which remembers their numbers until it is complete: about 50 bytes each. */
  treeCopyInodesMax: 4_000_000,
  /** A long work waits for its records to be durable after so many, so that others find room in the groups. */
  longWorkRecordsMax: 16_384,
  /** Extents shared in one step of a tree copy: about half a slice. */
  sharedExtentsMax: 64,
  /**
   * Extents given back in one step, about half a slice. A file that has more when it goes is left to the background, in
   * which a group takes at most so many: with its end their records are encoded, and their blocks become free, in one go.
   */
  releasedExtentsMax: 128,
  reapedExtentsMax: 512,
  /** Of a fenced client's data so much is copied away in one step: 1 MiB, half a slice on a device of 1 GB/s. */
  fencedBlocksMax: 256,
  /** Whoever waits for the blocks of trees being removed looks again each time so many inodes are gone. */
  reapedInodesMax: 8192,
  /** A directory that was asked for so many names which are not there is loaded: each of them costs a look into the store. */
  directoryMissesMax: 64,
  /**
   * Inodes kept in memory as objects, beyond those in use, and as many names: about 400 bytes for an inode, 250 for a name.
   * Others are made of their records, which are in memory too (recordCacheBytes) and take a quarter of that.
   */
  inodeCacheMax: 65_536,
  /** Extent maps kept ready beyond those with several extents; the others are packed. About 150 bytes each. */
  extentMapsMax: 65_536,
  /** Large files start on a huge page, so that a peer can map them by 2 MiB. */
  hugePage: 2 ** 21,
  /** Free extents looked at for an aligned start before one is taken that is large enough for any alignment. */
  alignedFitTriesMax: 32,
  /** Free space kept behind a file that is being written: at least so much, as XFS, and at most so much. */
  keptMin: 2 ** 16,
  keptMax: 2 ** 23,
  /** Pinned files and session buffers are aligned to this at most: the largest page of x86-64. */
  pinAlignMax: 2 ** 30,
  /** Of a file that is being pinned so many blocks are zeroed or copied in one step: 1 MiB, half a slice at 1 GB/s. */
  pinnedBlocksMax: 256,
  /** Copied at most in one synchronous operation, however fast the device is. */
  moveMax: 2 ** 23,
  /** Set aside at most as the place that data moves to: others cannot have it meanwhile. */
  relocationMax: 2 ** 25,
  /** Passes over a range that is being evacuated; what still lies there after the second came with a crash of a client. */
  evacuationRoundsMax: 16,
  /** How often a job makes its index of owners anew, since files were cloned; each costs a look at all extents. */
  ownerIndexesMax: 64,
  /** Free bytes on the disk of the metadata store below which only deletions go on: several of LevelDB's compactions. */
  storeReserve: 64 * 2 ** 20,
  /**
   * Bytes that LevelDB gathers before it makes a table of them. Twice its default: files that go soon after they were made
   * cost less merging. A mount reads as much again from the log, in a tenth of a second, and four such tables and more
   * are merged in one compaction, which has to fit into the reserve.
   */
  storeWriteBuffer: 8 * 2 ** 20,
  /** What a small file takes on that disk: inode, name and extent, and what LevelDB keeps of them until it compacts. */
  storeBytesPerFile: 512,
  /** How often that is looked at, while there are writes. */
  storeReserveLookMs: 250,
  /** Batches that wait in the metadata store; group commit has one under way, mount and mkfs one before that. */
  storeBatchesMax: 64,
  /** Entries and bytes of one page of a listing of the metadata store: some milliseconds of decoding. */
  storePageEntries: 4096,
  storePageBytes: 2 ** 19,
  /** Memory for records of inodes and names as the store has them, about 130 bytes a file: those of two million files. */
  recordCacheBytes: 2 ** 28,
  /** And no more than this part of the machine's memory. */
  recordCacheShare: 1 / 32,
  /** Entries of a page when it is filled after the mount: half a slice. */
  fillPageEntries: 512,
  /** It is filled in bursts of this length, with pauses between them in which is measured how busy the process is. */
  fillBurstMs: 8,
  fillPauseMs: 8,
  /** Above this part of the time it counts as busy: then a page a long pause, less than a hundredth of a processor. */
  fillBusyShare: 0.25,
  fillBusyPauseMs: 100,
  /** Deletions remembered while a listing to fill it from goes on; then it begins anew where it is. */
  fillDeletionsMax: 65_536,
} as const;
