/**
 * What every front end that serves a `Vfs` to the kernel has in common: it takes a mount point, answers once the mount
 * does, and says when the mount is gone, whoever ended it.
 */
import type { Name } from '../name.ts';
import type { Vfs } from '../vfs.ts';

/** Whole seconds. */
export interface Believed {
  readonly namesSec: number;
  readonly attributesSec: number;
}

export interface MountOptions {
  /** Absolute path of an existing directory. */
  readonly mountPoint: string;
  /** First column of /proc/mounts: the device. */
  readonly source: string;
  readonly readOnly: boolean;
  /** Users other than the one who mounted may enter (fuse(8), allow_other). */
  readonly allowOther: boolean;
  /**
   * Reads and writes of programs go to the filesystem each time, past the kernel's page cache (mount.fuse3(8), direct_io).
   * Mappings still have pages.
   */
  readonly directIo: boolean;
  /** How long the next request may be looked for without sleeping, ms (0: not at all); without it the driver decides. */
  readonly pollMs?: number | undefined;
  /**
   * Every change below the mount that no request of the mount itself makes is announced by the `invalidate` operations
   * and `removeEntry`. So the kernel may believe for long what it knows. Absent: for a second.
   */
  readonly announced?: boolean;
  /** Where they are not: for how many whole seconds the kernel believes what it knows. Absent: as the driver does. */
  readonly believed?: Believed | undefined;
  /** Further mount options for the kernel, as mount(8) has them: noexec, nosuid, nodev, noatime. */
  readonly options: readonly string[];
  /** Called once when the mount has ended: umount(8), fusermount -u, `unmount`, or a failure (then with its error). */
  onUnmounted(error?: unknown): void;
}

export interface Mounted {
  readonly mountPoint: string;
  /** Ends the mount; a busy one is detached and its open files answer ENOTCONN once the daemon is gone. */
  unmount(): Promise<void>;
  /**
   * The kernel's pages of these bytes go, dirty ones after they were written, and its attributes of the file. `length`
   * may be Infinity. Waits for requests under way that hold such pages, so nothing that those wait for may wait for it.
   * @throws FsError EAGAIN when too many wait
   */
  invalidate(ino: number, offset: number, length: number): Promise<void>;
  /** Size, times, mode or links of the file changed below the mount. Waits for no request that concerns its data. */
  invalidateAttributes(ino: number): Promise<void>;
  /** A name in a directory appeared, went or leads elsewhere below the mount: the kernel looks it up again. */
  invalidateEntry(parent: number, name: Name): Promise<void>;
  /** A name went below the mount: the kernel lets go of it, of what it led to, and of what it knows below that, as soon as nobody uses it. */
  removeEntry(parent: number, name: Name): Promise<void>;
}

/** Resolves when the mount answers. @throws FsError when it cannot be mounted, with what to do in its detail */
export type MountDriver = (vfs: Vfs, options: MountOptions) => Promise<Mounted>;
