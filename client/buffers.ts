import { EventEmitter } from 'node:events';
import { limits as fsLimits } from '../fs/limits.ts';
import type { RecallReply, StateId } from '../layout/types.ts';
import { operations, type ReplyOf, stateIdFromWire, stateIdToWire, status } from '../mds/protocol/index.ts';
import type { Devices, Reach } from './devices.ts';
import { MmapEngine } from './dma/mmap.ts';
import { ClientError } from './errors.ts';
import { type Limits, type OperationOptions, operation } from './operation.ts';
import type { Session } from './session.ts';

export interface BuffersRequest {
  /** Bytes of each; rounded up to 4096. */
  readonly size: number;
  /** Each begins at a multiple of this, of the bus address where there is one: a power of two from 4096 (the default) to 2^30. */
  readonly align?: number;
  /**
   * `free` (default): when the listeners of `recall` and `revoked` have run, nothing of the program touches the buffer any
   * more, and the library frees it. `ignore`: the program calls `free` by itself, in time, or the server fences it; the
   * session does not come back after a loss before it has.
   */
  readonly onRecall?: 'free' | 'ignore';
}

interface BufferEvents {
  /** The memory is taken out of use: to be freed within the lease. */
  recall: [];
  /** It is the program's no more. */
  revoked: [ClientError];
}

/** Memory of the device that is this client's until it is freed or the session ends. What it holds at first is undefined. */
export interface SessionBuffer extends EventEmitter<BufferEvents> {
  /** As in the segments of a layout. */
  readonly deviceId: string;
  /** Byte of the device where it begins. */
  readonly storageOffset: number;
  /** Bytes. */
  readonly length: number;
  /** Of the first byte, as this client's devices reach it; undefined where the memory has none. */
  readonly busAddress: bigint | undefined;
  /** Of this client for the device. */
  readonly key: Uint8Array;
  /** The bytes themselves, where the device is mapped here and takes accesses of any width; in pieces of at most 1 GiB. Not to be touched once it is not `live`. */
  readonly view: readonly Uint8Array[] | undefined;
  /** Accesses may be started: not freed or revoked, and the lease cannot have ended. */
  readonly live: boolean;
}

type Allocated = ReplyOf<typeof operations.BUFFERS_ALLOC>;

class HeldBuffer extends EventEmitter<BufferEvents> implements SessionBuffer {
  readonly storageOffset: number;
  readonly length: number;
  readonly onRecall: 'free' | 'ignore';
  readonly #leaseLive: () => boolean;
  /** The server does not have it any more. */
  isGone = false;
  #reach: Reach | undefined;
  #ended: ClientError | undefined;

  constructor(storageOffset: number, length: number, onRecall: 'free' | 'ignore', leaseLive: () => boolean) {
    super();
    this.storageOffset = storageOffset;
    this.length = length;
    this.onRecall = onRecall;
    this.#leaseLive = leaseLive;
  }

  /** Before the program has it. */
  reachedBy(reach: Reach): void {
    this.#reach = reach;
  }

  get #device(): Reach {
    if (this.#reach === undefined) throw new ClientError('BAD_REPLY', 'a buffer on a device that is not known');
    return this.#reach;
  }

  get deviceId(): string {
    return this.#device.info.deviceId;
  }

  get busAddress(): bigint | undefined {
    const { busAddress } = this.#device.info;
    return busAddress === undefined ? undefined : busAddress + BigInt(this.storageOffset);
  }

  get key(): Uint8Array {
    return this.#device.info.key;
  }

  get view(): readonly Uint8Array[] | undefined {
    const reach = this.#device;
    const isMapped = reach.kind === 'reached' && reach.engine instanceof MmapEngine && reach.info.accessWidth === 1;
    return isMapped && this.#ended === undefined ? reach.engine.views(this.storageOffset, this.length) : undefined;
  }

  get ended(): ClientError | undefined {
    return this.#ended;
  }

  get live(): boolean {
    return this.#ended === undefined && this.#leaseLive();
  }

  /** Nothing of it may be used any more; the program hears of it, once, unless it asked for it. */
  end(why: ClientError, isTold: boolean): void {
    if (this.#ended !== undefined) return;
    this.#ended = why;
    if (isTold) this.emit('revoked', why);
  }
}

/**
 * The session buffers of this client. One state stands for all of them, as for the layouts of one file; they are void with the
 * session, with the lease and with a fence, and then stay here until the program has let go of them: before that
 * no next session begins, for that would say that nothing reaches them.
 */
export class SessionBuffers {
  readonly #session: Session;
  readonly #devices: Devices;
  readonly #settled: () => void;
  readonly #held = new Set<HeldBuffer>();
  #state: StateId | undefined;
  #revoked: StateId | undefined;
  #allocating = 0;
  /** Everything is asked back: what is freed goes with the rest, in one return. */
  #isBulk = false;

  /** @param settled the last one may have gone */
  constructor(session: Session, devices: Devices, settled: () => void) {
    this.#session = session;
    this.#devices = devices;
    this.#settled = settled;
  }

  /**
   * `count` buffers, or none.
   * @throws ClientError NOSPC (ENOSPC: use other memory), NOTSUPP (the server gives none), INVAL, LAYOUTUNAVAILABLE, STATE_LOST
   */
  async alloc(count: number, request: BuffersRequest, options?: OperationOptions): Promise<readonly SessionBuffer[]> {
    return await operation({ syscall: 'alloc' }, options, async (limits) => {
      const { size, align = fsLimits.blockSize } = request;
      for (const [name, value] of Object.entries({ count, size, align })) {
        if (!Number.isSafeInteger(value) || value < 1) throw new ClientError('ARGUMENT', `${name} ${value}`);
      }
      return await this.#alloc(count, size, align, request.onRecall ?? 'free', limits);
    });
  }

  async #alloc(
    count: number,
    size: number,
    align: number,
    onRecall: 'free' | 'ignore',
    limits: Limits,
  ): Promise<readonly SessionBuffer[]> {
    const { incarnation } = this.#session;
    const isCurrent = (): boolean => incarnation === this.#session.incarnation;
    const late = ([, , offsets]: Allocated): void => {
      if (isCurrent()) void this.#sendFree(offsets).catch(ignored);
    };
    this.#allocating += 1;
    try {
      const args: [number, number, number] = [count, size, align];
      const [stateid, device, offsets] = await this.#session.call(
        operations.BUFFERS_ALLOC,
        args,
        { ...limits, stateful: true },
        late,
      );
      if (!isCurrent()) throw new ClientError('STATE_LOST', 'the session ended while the buffers were on their way');
      this.#state = stateIdFromWire(stateid);
      const length = Math.ceil(size / fsLimits.blockSize) * fsLimits.blockSize;
      const leaseLive = (): boolean => this.#session.lease.live;
      const made = offsets.map((offset) => new HeldBuffer(offset, length, onRecall, leaseLive));
      for (const buffer of made) this.#held.add(buffer);
      try {
        const reach = await this.#devices.resolve(device);
        for (const buffer of made) buffer.reachedBy(reach);
      } catch (error) {
        await this.free(made).catch(ignored);
        throw error;
      }
      const ended = made.find((buffer) => buffer.ended !== undefined)?.ended;
      if (ended === undefined) return made;
      await this.free(made).catch(ignored);
      throw ended;
    } finally {
      this.#allocating -= 1;
    }
  }

  /**
   * Nothing of the program touches them any more; after `revoked` this is what tells the library so. Those that were freed before are no error.
   * @throws ClientError ARGUMENT: one of another client
   */
  async free(buffers: readonly SessionBuffer[], options?: OperationOptions): Promise<void> {
    await operation({ syscall: 'free' }, options, async (limits) => {
      const mine = buffers.map((buffer) => {
        if (buffer instanceof HeldBuffer) return buffer;
        throw new ClientError('ARGUMENT', 'no session buffer');
      });
      const known = mine.filter((buffer) => this.#held.delete(buffer));
      const living = known.filter(({ isGone }) => !isGone);
      for (const buffer of living) buffer.end(new ClientError('CLOSED', 'the buffer was freed'), false);
      if (living.length > 0 && !this.#isBulk)
        await this.#sendFree(
          living.map((each) => each.storageOffset),
          limits,
        );
      await this.#letGo();
    });
  }

  /** Gone at the server already, or about to go with everything else. */
  async #sendFree(offsets: readonly number[], limits: Limits = {}): Promise<void> {
    try {
      await this.#session.call(operations.BUFFERS_FREE, [[...offsets]], { ...limits, urgent: true, stateful: true });
    } catch (error) {
      const isGone =
        error instanceof ClientError &&
        ['STATE_LOST', 'INVAL', 'RECALLCONFLICT', 'ADMIN_REVOKED'].includes(error.status);
      if (!isGone) throw error;
    }
  }

  async #letGo(): Promise<void> {
    if (!this.quiet) return;
    const revoked = this.#revoked;
    this.#revoked = undefined;
    if (revoked !== undefined)
      await this.#session
        .call(operations.FREE_STATEID, [stateIdToWire(revoked)], { urgent: true, stateful: true })
        .catch(ignored);
    this.#settled();
  }

  // What the server says. Used by OpenFiles.

  /** A request is on its way whose reply may bring buffers. */
  get busy(): boolean {
    return this.#allocating > 0;
  }

  get any(): boolean {
    return this.#held.size > 0;
  }

  /** No engine of the program uses any of them. */
  get quiet(): boolean {
    return this.#held.size === 0;
  }

  /** CB_BUFFERS_RECALL. The replies that it refers to have come. */
  recalled(stateid: StateId, offsets: readonly number[]): RecallReply {
    if (this.#state?.other !== stateid.other) return this.busy ? 'delay' : 'nomatching';
    const asked = new Set(offsets);
    const due = [...this.#held].filter((buffer) => asked.has(buffer.storageOffset) && buffer.ended === undefined);
    this.#notice(due);
    return 'ok';
  }

  /** Everything is asked back. Until `returned` nothing is freed by itself. */
  recallAll(): void {
    this.#isBulk = true;
    this.#notice([...this.#held]);
  }

  /** What was asked back as a whole is given back. */
  returned(): void {
    this.#isBulk = false;
    if (this.quiet) this.#state = undefined;
  }

  /** The program hears of it, and what answers by itself is freed after the answer. */
  #notice(due: readonly HeldBuffer[]): void {
    for (const buffer of due) buffer.emit('recall');
    const own = due.filter(({ onRecall }) => onRecall === 'free');
    queueMicrotask(() => void this.free(own).catch(ignored));
  }

  /** The session is gone, and all of them with it. */
  loseSession(why: ClientError): void {
    this.#state = undefined;
    this.#revoked = undefined;
    this.#isBulk = false;
    this.#lose(why);
  }

  /** The lease could have ended: the program may not go on with them, whatever the server says when it is heard again. */
  leaseEnded(why: ClientError): void {
    for (const buffer of this.#held) buffer.end(why, true);
    void this.free([...this.#held].filter(({ onRecall }) => onRecall === 'free')).catch(ignored);
  }

  #lose(why: ClientError): void {
    for (const buffer of this.#held) {
      buffer.isGone = true;
      buffer.end(why, true);
      if (buffer.onRecall === 'free') this.#held.delete(buffer);
    }
  }

  /** The server may have taken them away. */
  async checkRevoked(): Promise<void> {
    const tested = this.#state;
    if (tested === undefined) return;
    const [[answer]] = await this.#session.call(operations.TEST_STATEID, [[stateIdToWire(tested)]], {
      urgent: true,
      stateful: true,
    });
    if (this.#state?.other !== tested.other || answer === status.OK || answer === status.OLD_STATEID) return;
    this.#state = undefined;
    if (answer === status.BAD_STATEID && this.quiet) return;
    this.#revoked = tested;
    this.#lose(new ClientError('ADMIN_REVOKED', 'the server revoked the session buffers'));
    await this.#letGo();
  }
}

function ignored(error: unknown): void {
  if (!(error instanceof ClientError)) throw error;
}
