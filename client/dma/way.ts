import type { DeviceInfo } from '../devices.ts';
import type { DmaEngine } from './engine.ts';

export type DirectWay = 'mmap' | 'rma';

/** One way to the device, tried when the first layout names it. client/devices.ts asks them in the order of their speed. */
export interface Way {
  readonly name: DirectWay;
  /** Before there is a session: what the program named must be here. @throws FsError ENOENT, EACCES, EINVAL */
  check?(): Promise<void>;
  /**
   * An engine to the very memory that the server means, proven and ready for transfers. Called once for each device id, so
   * again after a loss of the session or a fence; what was opened before may be used on.
   * @throws FsError or ClientError when it does not get there: its message is the reason that is reported
   */
  reach(device: DeviceInfo): Promise<DmaEngine>;
  /** Ids and keys of the incarnation are void. When it settles nothing is under way that was begun before. */
  forget(): Promise<void>;
  /** Ends all that was opened, as `DmaEngine.close`. */
  close(): Promise<void>;
}
