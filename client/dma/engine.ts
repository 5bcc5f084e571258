/**
 * The ways of bytes between this program and the memory of the device. Offsets are bytes from the start of the device.
 * test/client/dma-conformance.ts holds what every engine must do.
 *
 * E1 What a transfer wrote has reached the device, and what it read is in the target, when it is over with success.
 * E2 No transfer touches anything but its range of the device and its buffer.
 * E3 A transfer that failed is over, unless it failed with TransferTimeout: then it is over when that says so. An engine
 *    sees to it that every one ends, by tearing down what carries it if need be: the layout below is not given back
 *    before.
 * E4 `close` settles when all transfers are over; nothing is touched after it.
 */
import { type ErrorContext, FsError } from '../../fs/errors.ts';

interface EngineBase {
  /** As reports and results name the way: `mmap`, `rma`… */
  readonly name: string;
  /** Bytes of the device within reach. */
  readonly size: number;
  readonly writable: boolean;
  /** E4. A second call waits for the first. */
  close(): Promise<void>;
}

/** A copy by this processor: over when the call returns, so that a recall never finds one under way. */
export interface SynchronousEngine extends EngineBase {
  readonly synchronous: true;
  /** @throws FsError EINVAL outside of the device, ENODEV after close */
  read(storageOffset: number, target: Uint8Array): void;
  /** @throws FsError EINVAL, ENODEV, EROFS */
  write(storageOffset: number, source: Uint8Array): void;
  /** The bytes themselves, in pieces; only where this process has them mapped. @throws as `read` */
  views?(storageOffset: number, length: number): readonly Uint8Array[];
}

/** Bytes of a file under a layout, and where on the device they begin. What a key may be asked for. */
export interface LaidOut {
  readonly ino: number;
  /** Within the file. */
  readonly offset: number;
  readonly length: number;
  readonly storageOffset: number;
  readonly writable: boolean;
}

/** Something else than this processor moves the bytes, several transfers at once. */
export interface AsynchronousEngine extends EngineBase {
  readonly synchronous: false;
  /** Most bytes of one transfer; whole blocks. The caller cuts what is longer. */
  readonly transferMax: number;
  /** Transfers at once that keep it busy; the caller of one read or write issues no more. */
  readonly transfersMax: number;
  /**
   * A layout has come: gets whatever transfers to `pieces` need (keys, registrations) before the first of them. May name
   * again what is prepared already, also for writing what was for reading. What it throws becomes the reason for going
   * through the server.
   * @throws FsError, ClientError
   */
  prepare(pieces: readonly LaidOut[]): Promise<void>;
  /** The layout on `pieces` is about to be given back, or is void; no transfer on them is under way. Parts of what was prepared. */
  release(pieces: readonly LaidOut[]): void;
  /**
   * E1, E3. `target` is not touched any more once it has failed, by TransferTimeout neither.
   * @throws FsError EINVAL outside of the device or longer than `transferMax`, ENODEV after close, EIO, EACCES (no key),
   * TransferTimeout
   */
  read(storageOffset: number, target: Uint8Array): Promise<void>;
  /** E1, E3. `source` may be read, and the device written, until it is over. @throws as `read`; FsError EROFS */
  write(storageOffset: number, source: Uint8Array): Promise<void>;
}

export type DmaEngine = SynchronousEngine | AsynchronousEngine;

/** A transfer that was not over in time: a wrong key, for one, may never be answered. It counts as under way until `over`. */
export class TransferTimeout extends FsError {
  /** Settles, and never rejects, when the transfer can touch nothing any more (E3). */
  readonly over: Promise<void>;

  constructor(over: Promise<void>, context: ErrorContext) {
    super('ETIMEDOUT', context);
    this.over = over;
  }
}
