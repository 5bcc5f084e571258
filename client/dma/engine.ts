/**
 * The way to the memory of the device. Offsets are bytes from its start. An access has reached the device when the
 * call returns; test/client/dma-conformance.ts holds what every engine must do.
 */
export interface DmaEngine {
  readonly name: string;
  /** Bytes of the device within reach. */
  readonly size: number;
  readonly writable: boolean;
  /** @throws FsError EINVAL outside of the device, ENODEV after close */
  read(storageOffset: number, target: Uint8Array): void;
  /** @throws FsError EINVAL, ENODEV, EROFS */
  write(storageOffset: number, source: Uint8Array): void;
  close(): Promise<void>;
}
