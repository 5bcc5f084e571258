/** A mounted filesystem: what the daemon, the MDS and the tools hold in their hands. */
import type { BarDevice } from '../bar/device.ts';
import type { ClientRecord } from '../format/records.ts';
import type { MetaStore } from '../meta/store.ts';
import type { Name } from '../name.ts';
import type { Attr, Caller, MappedExtent, Reply, Vfs } from '../vfs.ts';
import type { LayoutBackend, Leases } from './leases.ts';
import type { NameListener } from './reaping.ts';
import type { JobStatus } from './relocation/job.ts';

/** A directory with a limit on all that it holds. */
export interface QuotaStatus {
  /** Of the tree; grows with every quota that is set. */
  readonly id: number;
  readonly ino: number;
  /** From the root of the filesystem. */
  readonly path: string;
  /** Infinity: any number. */
  readonly bytesMax: number;
  /** Blocks of its files, in bytes: those reserved, and those granted for writing, too. */
  readonly bytes: number;
  readonly inodesMax: number;
  /** The directory itself is one. */
  readonly inodes: number;
  /** false while all below the directory is being counted: the limits are not kept yet. */
  readonly inForce: boolean;
}

export interface FilesystemStatus {
  /** Hundredths of a percent of the blocks that are kept for root. */
  readonly reserve: number;
  readonly uuid: string;
  readonly label: string;
  readonly device: string;
  readonly generation: number;
  readonly blockSize: number;
  /** Blocks by role; they add up to `total`. */
  readonly blocks: {
    readonly total: number;
    readonly reserved: number;
    readonly free: number;
    readonly file: number;
    readonly shared: number;
    readonly provisional: number;
    readonly quarantined: number;
    readonly freeing: number;
    /** Closed to allocation, while a job moves data away or to. */
    readonly withheld: number;
    readonly bad: number;
  };
  readonly inodes: number;
  /** Inodes that the tree copy under way has taken so far. */
  readonly copying: number | undefined;
  /** Trees and large files without a name that are being removed, and the inodes gone so far. */
  readonly reaping: { readonly trees: number; readonly inodes: number };
  readonly readOnly: boolean;
  /** Set when a failure made the filesystem stop: nothing is written any more. */
  readonly shutdown: string | undefined;
}

export interface Fragmentation {
  /** Regular files that have blocks. */
  readonly files: number;
  /** Of those, files with more pieces than they need. */
  readonly fragmentedFiles: number;
  /** Pieces that each lie together on the device, of all files. */
  readonly extents: number;
  /** As few as there could be: one for each stretch without a hole. */
  readonly idealExtents: number;
  /** Bytes of files, what is shared counted each time. */
  readonly mappedBytes: number;
  /** Of these, bytes in whole huge pages of files. */
  readonly hugePageBytes: number;
  /** Of these, bytes that a peer can map by huge pages. */
  readonly hugeMappableBytes: number;
  readonly freeExtents: number;
  readonly largestFreeBytes: number;
}

export type JobRequest =
  /** Brings the blocks of a file, or of all, together. */
  | { readonly kind: 'defragment'; readonly ino: number | undefined }
  /** Empties a range of the device, in bytes; `retire`: for ever, as its memory is not to be trusted. */
  | { readonly kind: 'evacuate'; readonly offset: number; readonly length: number; readonly retire: boolean }
  /** Makes the filesystem this many bytes large, or as large as the device has become. */
  | { readonly kind: 'resize'; readonly size: number | undefined };

export interface Filesystem {
  readonly vfs: Vfs;
  readonly layouts: LayoutBackend;
  readonly device: BarDevice;
  readonly uuid: string;
  /** Grows with every mount for writing (I10). */
  readonly generation: number;
  /** The MDS puts itself between the operations and the blocks. */
  setLeases(leases: Leases): void;
  map(ino: number): Reply<readonly MappedExtent[]>;
  /** A new file with the same content on the same blocks. @throws FsError EEXIST, ENOENT, EISDIR, EINVAL, EACCES */
  cloneFile(ino: number, parent: number, name: Name, by: Caller): Reply<Attr>;
  /**
   * A new directory with everything that is below another, on the same blocks: it is there as a whole, as the tree was at
   * one moment, or not at all. Durable when it settles. Snapshots are made with mkdir and rmdir in `.snapshots`.
   * @throws FsError EEXIST, ENOENT, ENOTDIR, EACCES, EPERM (it is not all the caller's), E2BIG, ENOSPC, EROFS
   */
  cloneTree(ino: number, parent: number, name: Name, by: Caller): Promise<Attr>;
  /**
   * The file has `size` bytes (undefined: as many as it has) in one piece from now on, at a multiple of `align` bytes, and
   * keeps this place (fs/engine/pinning.ts). Durable when it settles.
   * @throws FsError EINVAL, ENOSPC, EDQUOT, EBUSY (pinned otherwise, or changed meanwhile), EOPNOTSUPP (`cow`), EPERM, EROFS, ESTALE
   */
  pin(ino: number, size: number | undefined, align: number, by: Caller): Promise<void>;
  /** @throws FsError EPERM (neither owner nor root), EROFS, ESTALE */
  unpin(ino: number, by: Caller): Promise<void>;
  isPinned(ino: number): boolean;
  /** Durable when it settles. @throws FsError EINVAL (above limits.reserveMax), EROFS, EIO */
  setReserve(reserve: number): Promise<void>;
  /**
   * Limits what the directory and all below it hold, or changes the limits; Infinity for none, a part block is rounded
   * down. Settles when they are in force, durably; meanwhile everybody goes on.
   * @throws FsError ENOTDIR, ENOENT, EINVAL (within another one, or around one), EBUSY (another one is being set),
   *   ENOSPC (too many), ECANCELED (the directory was removed, or the filesystem unmounted), EROFS
   */
  setQuota(ino: number, bytesMax: number, inodesMax: number): Promise<void>;
  /** @throws FsError ENODATA (none is set on this directory), ENOTDIR, EROFS */
  removeQuota(ino: number): Promise<void>;
  /** All, or the one that an inode counts in. @throws FsError ESTALE */
  quotas(ino?: number): Promise<readonly QuotaStatus[]>;
  /**
   * Called with names that go without anybody asking, those of a tree that is being removed, where the kernel knows the
   * inode: it has to let go of it before its blocks can come back.
   */
  onNameRemoved(listener: NameListener): void;
  /** Called when the time of access of an inode has moved because somebody else than the kernel of the mount read it. */
  onAccessed(listener: (ino: number) => void): void;
  status(): FilesystemStatus;
  /** How scattered files and free space are now; looks at every file, in slices. */
  fragmentation(): Promise<Fragmentation>;

  /** Starts long work and answers its number. @throws FsError EBUSY (another runs), EROFS, EINVAL, ESTALE */
  startJob(request: JobRequest): number;
  /** The job that runs, or ran last. */
  job(): JobStatus | undefined;
  /** What is done stays done. @throws FsError ESRCH */
  cancelJob(id: number): void;

  /** Client records that survive a restart, durable when the promise settles. */
  clientRecords(): readonly ClientRecord[];
  /** A client id never used before; durable with putClient. */
  newClientId(): number;
  putClient(record: ClientRecord): Promise<void>;
  /** With the record goes what was granted to the client; what is in quarantine for it stays there. */
  removeClient(clientId: number): Promise<void>;
  /** Blocks that fenced or vanished clients may still reach, in bytes, by client. */
  quarantined(): ReadonlyMap<number, number>;

  /** Everything durable, the superblock marked clean, the device and the store closed. */
  close(): Promise<void>;
}

export interface OpenOptions {
  readonly device: BarDevice;
  readonly store: MetaStore;
  readonly readOnly?: boolean;
  readonly leases?: Leases;
  /** Read names and inodes into memory while there is nothing else to do, for a process that will serve long. */
  readonly warmUp?: boolean;
}
