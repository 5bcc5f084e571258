import { iomode, type RecallReply } from '../layout/types.ts';
import { operations } from '../mds/protocol/index.ts';
import type { SessionBuffers } from './buffers.ts';
import type { Devices } from './devices.ts';
import { ClientError } from './errors.ts';
import type { OpenInode } from './inode.ts';
import type { Session } from './session.ts';

/**
 * CB_LAYOUTRECALL of everything (RFC 8881 §12.5.5.2.1.5): all is committed, then one LAYOUTRETURN gives back all layouts, and
 * the device ids go with them. Until then no file is returned by itself. What the program holds with `onRecall`
 * `ignore` is waited for.
 */
export class BulkReturn {
  readonly #session: Session;
  readonly #devices: Devices;
  readonly #inodes: () => Iterable<OpenInode>;
  readonly #buffers: SessionBuffers;
  #kind: 2 | 3 | undefined;
  #committed = false;
  /** With a layout when the question came. They get no others before the return; what others get after it stays. */
  #held: readonly OpenInode[] = [];
  #settled: (() => void)[] = [];

  constructor(session: Session, devices: Devices, inodes: () => Iterable<OpenInode>, buffers: SessionBuffers) {
    this.#buffers = buffers;
    this.#session = session;
    this.#devices = devices;
    this.#inodes = inodes;
  }

  get active(): boolean {
    return this.#kind !== undefined;
  }

  /** The server's question. Layout requests that are on their way end first. */
  recalled(kind: 2 | 3, changed: boolean): RecallReply {
    if (this.#kind !== undefined) return 'ok';
    const inodes = [...this.#inodes()];
    if (this.#buffers.busy || inodes.some((inode) => inode.hold.busy)) return 'delay';
    const held = inodes.filter((inode) => inode.hold.stateid !== undefined);
    if (held.length === 0 && !this.#buffers.any && !this.#devices.anyKnown) return 'nomatching';
    this.#kind = kind;
    this.#committed = false;
    this.#held = held;
    this.#settled = held.map((inode) => inode.recallAll(changed));
    this.#buffers.recallAll();
    // After the answer, which leaves in this turn.
    queueMicrotask(() => {
      void Promise.all(held.map((inode) => inode.commitForReturn())).then(() => {
        this.#committed = true;
        this.reconsider();
      });
    });
    return 'ok';
  }

  /** The program may have given back the last of its own layouts. */
  reconsider(): void {
    const kind = this.#kind;
    if (kind === undefined || !this.#committed || !this.#buffers.quiet) return;
    if ([...this.#inodes()].some((inode) => !inode.quiet)) return;
    this.#committed = false;
    void this.#return(kind);
  }

  /** The session, or all that was granted, is gone. */
  forget(): void {
    this.#kind = undefined;
    this.#buffers.returned();
    this.#held = [];
    for (const settled of this.#settled.splice(0)) settled();
  }

  async #return(kind: 2 | 3): Promise<void> {
    try {
      await this.#session.call(operations.LAYOUTRETURN, [kind, null, null, iomode.any, 0, Infinity, false], {
        urgent: true,
        stateful: true,
      });
      for (const inode of this.#held) inode.hold.forget();
      this.#devices.forget();
    } catch (error) {
      // What was not returned the server fences, and flags tell.
      if (!(error instanceof ClientError)) throw error;
    } finally {
      this.forget();
    }
  }
}
