/** Every bound of the kernel driver, each with its reason. Bytes and milliseconds unless the name says otherwise. */
import { inHeaderSize, writeInSize } from './abi.ts';

/** Largest data of one READ or WRITE: 256 pages, the kernel's own bound (fs.fuse.max_pages_limit). */
const dataMax = 2 ** 20;

/** Threads of libuv's pool in this process (docs.libuv.org, threadpool). */
function poolSize(): number {
  const size = Number(process.env['UV_THREADPOOL_SIZE']);
  return size >= 1 && size <= 1024 ? Math.floor(size) : 4;
}

export const kernelLimits = {
  dataMax,
  pagesMax: dataMax / 4096,
  /** The kernel refuses reads into less than header, fuse_write_in and max_write (fuse_dev_do_read). */
  requestMax: inHeaderSize + writeInSize + dataMax,
  /** Kernel's readahead window; its default of 128 KiB makes eight requests of one that fits. */
  readaheadMax: dataMax,
  /** Background requests (readahead, asynchronous direct I/O, release) in flight before the kernel holds them back. */
  backgroundMax: 64,
  backgroundCongestion: 48,
  /** Requests served in one turn of the event loop, so that sockets and timers get theirs. */
  requestsPerTurn: 64,
  /**
   * How long at most the next request is looked for without sleeping (`-o poll_us=`): some times what waking a processor
   * takes in a virtual machine, as KVM's halt_poll_ns. Below the least it is not worth looking.
   */
  pollMs: 0.2,
  pollMinMs: 0.01,
  /** So long between two looks: another program had the processor. Then there is no looking for a while. */
  pollPreemptedMs: 0.5,
  pollRestMs: 50,
  /** A turn in which was looked ends after this time: sockets and timers wait no longer for it. */
  pollTurnMs: 0.1,
  /** Requests waiting inside the filesystem; the kernel's own bound is the number of threads. ENOMEM beyond. */
  pendingMax: 8192,
  /** Request buffers kept for reuse; more exist only while as many writes wait. */
  idleBuffersMax: 4,
  /** IOV_MAX of Linux; a read in more pieces is gathered first. */
  iovecsMax: 1024,
  /** Largest reply but for file data: a directory listing fills what the kernel offers, at most this. */
  replyMax: dataMax,
  /**
   * How long the kernel may answer names and attributes by itself where each change that it does not make is announced to
   * it. Asking again costs next to nothing after so long a time, and bounds what nobody has thought of.
   */
  believedSec: 3600,
  /** The same where changes are not announced, or a reply may be older than an announcement. */
  believedBrieflySec: 1,
  /** When an announcement is given again that a reply under way may have missed: as soon as briefly believed names run out. */
  repeatMs: 1000,
  /** Threads whose last reply is remembered (unapplied.ts): many more than run at a time, and so the one that asked longest ago has its reply. */
  threadsNoted: 1024,
  /** Replies that are remembered of threads in other PID namespaces, which cannot be told apart. */
  strangersNoted: 64,
  /** Inodes in listings that are remembered, of all threads: 200 listings of 32 KiB, what getdents64(2) asks for through glibc. */
  listedNoted: 40_000,
  /**
   * Threads that write invalidations on which the kernel may block: on pages or directories that a request holds, so as
   * long as a peer may take to return a layout. Each is of libuv's pool, of which metadata commits and everything else
   * keep three. The daemon makes the pool larger (tools/lib/thread-pool.ts); with libuv's default of four one is left.
   */
  notifyThreads: Math.max(1, poolSize() - 3),
  /** Threads for those on which it does not block. */
  notifySwiftThreads: 1,
  /** Invalidations of one mount waiting for their turn; EAGAIN beyond, and whoever has a change to announce waits. */
  notifyQueueMax: 65_536,
  /** Open files of a detached mount get this long to be closed before they answer ENOTCONN. */
  detachGraceMs: 5000,
  /** How often an interrupted request looks whether its caller is dying. */
  interruptPollMs: 200,
} as const;
