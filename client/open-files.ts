import type { RecallReply } from '../layout/types.ts';
import { operations, sequenceFlag } from '../mds/protocol/index.ts';
import { SessionBuffers } from './buffers.ts';
import { BulkReturn } from './bulk-return.ts';
import type { FileRecall } from './callbacks.ts';
import type { Devices } from './devices.ts';
import { ClientError } from './errors.ts';
import { type Counters, newCounters } from './file-data.ts';
import { FileHandle } from './file-handle.ts';
import { OpenInode } from './inode.ts';
import { clientLimits } from './limits.ts';
import type { OpenFile } from './open-file.ts';
import type { HandleFlags } from './open-flags.ts';
import type { Opened } from './opening.ts';
import type { SendReclaim } from './reclaim.ts';
import type { Session } from './session.ts';

/** State of this client was taken away. */
const revocationFlags =
  sequenceFlag.EXPIRED_ALL_STATE_REVOKED |
  sequenceFlag.EXPIRED_SOME_STATE_REVOKED |
  sequenceFlag.ADMIN_STATE_REVOKED |
  sequenceFlag.RECALLABLE_STATE_REVOKED;

/** The files that are open here, and what the server says about their state: recalls, revocations, the end of the session. */
export class OpenFiles {
  readonly counters: Counters = newCounters();
  readonly buffers: SessionBuffers;
  readonly #session: Session;
  readonly #devices: Devices;
  readonly #bulk: BulkReturn;
  readonly #inodes = new Map<number, OpenInode>();
  readonly #files = new Set<OpenFile>();
  #checking: Promise<void> | undefined;
  /** The server has said so since the last look began. */
  #isFlagged = false;

  constructor(session: Session, devices: Devices) {
    this.#session = session;
    this.#devices = devices;
    this.buffers = new SessionBuffers(session, devices, () => {
      this.#bulk.reconsider();
      session.reconsider();
    });
    this.#bulk = new BulkReturn(session, devices, () => this.#inodes.values(), this.buffers);
  }

  get opened(): Iterable<OpenInode> {
    return this.#inodes.values();
  }

  /** The inode as far as it is open here. */
  find(ino: number): OpenInode | undefined {
    return this.#inodes.get(ino);
  }

  add(path: string, flags: HandleFlags, opened: Opened): FileHandle {
    const { open, attr } = opened;
    let inode = this.#inodes.get(attr.ino);
    if (inode === undefined) {
      const context = {
        session: this.#session,
        devices: this.#devices,
        counters: this.counters,
        bulk: this.#bulk,
      };
      inode = new OpenInode(attr.ino, attr.size, context);
      this.#inodes.set(attr.ino, inode);
    } else if (flags.truncate) inode.data.doubtSize();
    inode.attach(open);
    const shared = inode;
    const file = new FileHandle(path, flags, inode, opened, this.#session, (closed) => {
      this.#files.delete(closed);
      if (shared.opens.size === 0 && this.#inodes.get(shared.ino) === shared) this.#inodes.delete(shared.ino);
    });
    this.#files.add(file);
    return file;
  }

  /** All of them, each as `FileHandle.close`. */
  async close(): Promise<PromiseSettledResult<void>[]> {
    return await Promise.allSettled([...this.#files].map((file) => file.close()));
  }

  // What the server says.

  recall(recall: FileRecall): RecallReply {
    this.counters.recalls += 1;
    const reply = this.#inodes.get(recall.ino)?.recall(recall) ?? 'nomatching';
    if (reply === 'delay') this.counters.recallsDelayed += 1;
    return reply;
  }

  recallAll(kind: 2 | 3, changed: boolean): RecallReply {
    this.counters.recalls += 1;
    return this.#bulk.recalled(kind, changed);
  }

  /** A recall was answered with DELAY before it was looked at. */
  putOff(): void {
    this.counters.recalls += 1;
    this.counters.recallsDelayed += 1;
  }

  /** The least recently used layouts go (RFC 8881 §20.6); what the program holds itself stays. */
  keepOnly(keep: number): void {
    const held = [...this.#inodes.values()].filter((inode) => inode.hold.stateid !== undefined);
    const oldestFirst = held.sort((a, b) => a.data.usedAt - b.data.usedAt);
    // What is on its way is about to be held, and is why the server asks.
    const coming = [...this.#inodes.values()].filter(({ hold }) => hold.stateid === undefined && hold.isGetting);
    const many = held.length + coming.length - keep;
    for (const inode of oldestFirst.slice(0, Math.max(many, 0))) inode.giveUpLayouts();
  }

  available(ino: number): void {
    this.#inodes.get(ino)?.available();
  }

  /** Until it is known what was revoked no direct I/O starts. */
  flagged(flags: number): void {
    if ((flags & revocationFlags) === 0) return;
    this.#session.lease.doubt();
    this.#isFlagged = true;
    if (this.#checking !== undefined) return;
    this.#checking = this.#checkRevoked().finally(() => {
      this.#checking = undefined;
    });
  }

  loseSession(why: ClientError): void {
    this.#bulk.forget();
    this.buffers.loseSession(why);
    for (const inode of this.#inodes.values()) inode.loseSession(why);
  }

  async reclaim(send: SendReclaim): Promise<void> {
    for (const inode of this.#inodes.values()) await inode.reclaim(send);
  }

  leaseEnded(): void {
    const why = new ClientError('EXPIRED', 'the lease could not be renewed in time');
    for (const inode of this.#inodes.values()) inode.revokeLayouts(why);
    this.buffers.leaseEnded(why);
  }

  /** No engine of the program uses what was granted to it. */
  get quiet(): boolean {
    return this.buffers.quiet && [...this.#inodes.values()].every((inode) => inode.quiet);
  }

  /**
   * A reply from before the fence may come again with the flags, and tell of a layout that is void: it is known, and looked
   * at, by the time the reply to a SEQUENCE is there. Flags that stay are of states that this client never heard of.
   */
  async #checkRevoked(): Promise<void> {
    try {
      for (let round = 0; round < clientLimits.revocationRoundsMax; round++) {
        this.#isFlagged = false;
        for (const inode of this.#inodes.values()) await inode.checkRevoked();
        await this.buffers.checkRevoked();
        await this.#session.call(operations.SEQUENCE, [], { urgent: true });
        if (!this.#isFlagged) break;
      }
      this.#session.lease.settle();
    } catch (error) {
      // The flags stay up at the server: the next reply brings us here again.
      if (!(error instanceof ClientError)) throw error;
    }
  }
}
