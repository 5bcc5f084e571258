/**
 * The memory behind a BAR, as the rest of the filesystem sees it. Offsets and lengths are bytes from the start of the
 * device; everything is synchronous memory access but `persist`.
 */
export type DeviceKind = 'file' | 'tmpfs' | 'pci' | 'devdax' | 'block';
export type CacheMode = 'wb' | 'wt' | 'wc' | 'uc';

/** What the iopmem driver's direct_access answered for a sector of 512 bytes. */
export interface DirectAccess {
  /** Bus address of the sector, after the configured translation. */
  readonly busAddress: bigint;
  /** Page frame number of 4 KiB pages within the bus address space. */
  readonly pageFrame: bigint;
  /** Bytes that follow contiguously from the sector's start to the end of the device. */
  readonly contiguous: number;
}

/** A range kept alive: teardown waits for it. */
export interface PagePin {
  readonly offset: number;
  readonly length: number;
  unpin(): void;
}

export interface BarDevice {
  readonly path: string;
  readonly kind: DeviceKind;
  /** Usable bytes. */
  readonly size: number;
  /** Some hardware takes only whole aligned words of this many bytes; read and write go through them then. */
  readonly accessWidth: 1 | 4 | 8;
  readonly cacheMode: CacheMode;
  /** Bus address of byte 0; 0n for images, which have none of their own. */
  readonly busAddress: bigint;
  readonly writable: boolean;

  /**
   * The memory itself, one piece per mapping window crossed. Valid until close.
   * With accessWidth > 1 a caller must touch whole aligned words only; `read` and `write` see to that by themselves.
   * @throws FsError EINVAL outside the device, ENODEV after close
   */
  views(offset: number, length: number): readonly Uint8Array[];
  /** @throws FsError EINVAL, ENODEV */
  read(offset: number, target: Uint8Array): void;
  /** @throws FsError EINVAL, ENODEV, EROFS */
  write(offset: number, source: Uint8Array): void;
  zero(offset: number, length: number): void;
  /** Copies within the device; the ranges must not overlap. */
  copy(from: number, to: number, length: number): void;
  /**
   * Everything written to the range before the call survives power loss when it settles: msync for a file, nothing
   * for tmpfs (it has no later), a read-back for a PCI BAR, since only a read flushes posted writes.
   * @throws FsError EIO
   */
  persist(offset: number, length: number): Promise<void>;
  /**
   * Looks how large the device is now. What it grew by can be used when it settles; what it lost must not be in use.
   * Views stay valid.
   * @throws FsError with mmap(2)'s errno, ENODEV
   */
  refresh(): Promise<void>;
  /** @throws FsError EIO outside the device, as the driver answered */
  directAccess(sector: number): DirectAccess;
  /** @throws FsError ENODEV once teardown began */
  pin(offset: number, length: number): PagePin;
  /** Refuses new pins, waits for the pins held, unmaps, gives up the lock. */
  close(): Promise<void>;
}
