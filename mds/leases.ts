/**
 * Acts on what the layout table decides: sends the recalls, fences, wakes those who wait, keeps its deadlines. And it
 * stands between the filesystem and its blocks (`Leases`): an operation that needs a layout back asks here.
 *
 * - Whoever waits holds nothing here: a break is a promise, and returns and commits run beside it (I4).
 * - A fence holds for the layouts only when the filesystem has put away, durably, what the client could reach (fencing/
 *   sees to it, and to what follows): until then nobody gets the range. A filesystem that has shut down makes nothing durable
 *   any more: then whoever waits is woken, and fails. A fence that fails is tried again without end, but nobody waits for it
 *   longer than for one more deadline of a recall (`StuckFences`).
 * - After a restart former clients count as holding what the store says was granted to them, until the grace period
 *   ends (RFC 8881 §8.4.2).
 */
import type { Filesystem } from '../fs/engine/filesystem.ts';
import type {
  BreakReason,
  ByteRange,
  FencedSegment,
  LayoutBreak,
  Leases,
  ProvidedFile,
  SpaceNeed,
} from '../fs/engine/leases.ts';
import { FsError } from '../fs/errors.ts';
import {
  type Action,
  type BulkKind,
  iomode,
  type LayoutTable,
  type RecallReply,
  type Segment,
} from '../layout/types.ts';
import { wholeBlocks, without } from './blocks.ts';
import type { HintAction, RecallAction } from './callbacks.ts';
import type { Clock } from './clock.ts';
import type { Counters } from './counters.ts';
import type { Fences } from './fencing/fences.ts';
import { Grace } from './grace.ts';
import { IdleGrants } from './idle-grants.ts';
import type { Log } from './log.ts';
import type { BreakStatus } from './protocol/server-status.ts';
import { ProvidedSpace } from './provided-space.ts';
import { SpareGrants } from './spare-grants.ts';
import { StuckFences } from './stuck-fences.ts';

type ReleasedAction = Extract<Action, { type: 'released' }>;
type BulkEndedAction = Extract<Action, { type: 'bulk-ended' }>;
type FenceAction = Extract<Action, { type: 'fence' }>;

/** The way to the clients. */
export interface RecallChannel {
  recall(action: RecallAction): Promise<RecallReply>;
  hint(action: HintAction): void;
  /** It was asked for everything, and holds nothing: its device ids are void. */
  devicesVoid(client: number): void;
  /** Its layouts are revoked. */
  revoked(client: number): void;
  /** Its lease is over: what somebody needs of it is taken without asking it. */
  isCourteous(client: number): boolean;
}

interface UntilEmpty {
  readonly client: number;
  /** undefined: its fence is waited for. */
  readonly recallId: number | undefined;
  readonly resolve: () => void;
  readonly reject: (why: FsError) => void;
}

interface Waiting extends BreakStatus {
  readonly since: number;
  readonly wake: () => void;
}

export class LayoutLeases implements Leases {
  readonly table: LayoutTable;
  readonly grace: Grace;
  readonly spare = new SpareGrants();
  readonly #provided: ProvidedSpace;
  readonly #fs: Pick<Filesystem, 'layouts' | 'status' | 'isPinned'>;
  readonly #clock: Clock;
  readonly #counters: Counters;
  readonly #log: Log;
  readonly #channel: RecallChannel;
  readonly #fencing: Pick<Fences, 'begin' | 'beginFormer' | 'blocked'>;
  readonly #breaks = new Map<number, Waiting>();
  readonly #fences = new Map<number, Promise<void>>();
  /** Those who wait for a client to hold nothing. */
  readonly #untilEmpty = new Set<UntilEmpty>();
  readonly #stuck: StuckFences;
  readonly #idle: IdleGrants;
  #armed: { readonly at: number; readonly cancel: () => void } | undefined;
  #closed = false;
  /** The filesystem shut down before a fence held. */
  #failed = false;

  constructor(
    table: LayoutTable,
    fs: Pick<Filesystem, 'layouts' | 'status' | 'isPinned'>,
    channel: RecallChannel,
    fencing: Pick<Fences, 'begin' | 'beginFormer' | 'blocked'>,
    fenceWaitMs: number,
    clock: Clock,
    counters: Counters,
    log: Log,
  ) {
    this.table = table;
    this.grace = new Grace(clock);
    this.#provided = new ProvidedSpace(clock);
    this.#idle = new IdleGrants(table, fs.layouts, clock);
    this.#fs = fs;
    this.#channel = channel;
    this.#fencing = fencing;
    const giveUp = (client: number, isFormer: boolean): void => this.#giveUpOn(client, isFormer);
    this.#stuck = new StuckFences(fencing, fenceWaitMs, clock, giveUp);
    this.#clock = clock;
    this.#counters = counters;
    this.#log = log;
  }

  get now(): number {
    return this.#clock.now();
  }

  /**
   * A layout that covers some of a block is recalled with all of it: its holder could not tell what to give back.
   * @throws FsError EIO, ESHUTDOWN: what is in the way does not go away
   */
  breakLayouts(
    ino: number,
    bytes: ByteRange,
    reason: BreakReason,
    client: number | undefined,
  ): LayoutBreak | undefined {
    if (!this.#closed) this.requireRunning();
    // Of nearly every file nobody has a layout, and this stands before each read and write.
    if (!this.table.concerns(ino) && !this.grace.covers(ino, reason)) return undefined;
    // They are read and written in place by everybody at once; nothing of that is kept (docs/files.md).
    if ((reason === 'write' || reason === 'cache') && this.#fs.isPinned(ino)) return undefined;
    const range = wholeBlocks(bytes);
    const { offset, length } = range;
    if (this.#closed) return this.#refuseBreak(ino, range, reason, client);
    if (this.grace.covers(ino, reason)) {
      this.#requireNoFormerStuck(ino, range);
      return this.grace.wait(ino, range, reason);
    }
    const begun = this.table.break(this.now, { ino, offset, length, reason, client });
    if (begun === undefined) return undefined;
    const done = this.awaitBreak(begun.breakId, { ino, offset, length, reason });
    this.perform(begun.actions);
    const stuck = this.#stuckIn(begun.breakId);
    if (stuck === undefined) return { done, release: () => this.endBreak(begun.breakId) };
    this.endBreak(begun.breakId);
    throw this.#stuck.errorOf(stuck, { ino, range });
  }

  takeBackSpare(ino: number): Promise<void> | undefined {
    if (this.#closed || this.#failed) return undefined;
    return this.spare.takeBack(ino, ({ client, ino: of, start, end }) => {
      return this.recallOwn(client, { ino: of, offset: start, length: end - start }, 'space');
    });
  }

  takeBackProvided(files: readonly ProvidedFile[], { blocks, client }: SpaceNeed): Promise<void> | undefined {
    if (this.#closed || this.#failed) return undefined;
    const others = client === undefined ? files : files.filter(({ ino }) => !this.table.holds(client, ino));
    return this.#provided.takeBack(others, blocks, (file) => this.recallOwn(undefined, file, 'space'));
  }

  /**
   * Recalls what the client, or anybody, holds there for writing. Settles when nothing of it is left; undefined: there is nothing, or
   * a client has it whose fence fails, and nobody waits for that.
   */
  recallOwn(
    client: number | undefined,
    range: ByteRange & { readonly ino: number },
    reason: 'close' | 'space',
  ): Promise<void> | undefined {
    const { ino, offset, length } = range;
    const begun = this.table.break(this.now, { ino, offset, length, reason, client });
    if (begun === undefined) return undefined;
    const done = this.awaitBreak(begun.breakId, { ino, offset, length, reason }).then(() =>
      this.endBreak(begun.breakId),
    );
    this.perform(begun.actions);
    if (this.#stuckIn(begun.breakId) === undefined) return done;
    this.endBreak(begun.breakId);
    return undefined;
  }

  /** Must be called before the actions that came with the break are performed. */
  awaitBreak(breakId: number, what: Omit<BreakStatus, 'waitingMs'>): Promise<void> {
    return new Promise((resolve) => {
      this.#breaks.set(breakId, { ...what, waitingMs: 0, since: this.now, wake: resolve });
    });
  }

  /** The get that waits in this break is told to come later. Whether it will be told when. */
  giveUp(breakId: number, signal: boolean): boolean {
    this.#breaks.delete(breakId);
    if (this.#closed) return false;
    const { kept, actions } = this.table.giveUp(this.now, breakId, signal);
    this.perform(actions);
    return kept && signal;
  }

  /**
   * Everything is asked back from the client; settles when it holds nothing, if need be by its fence, or the server closes.
   * @throws FsError EIO: its fence fails, and is not waited for any longer
   */
  recallAll(client: number, kind: BulkKind, changed: boolean): Promise<void> {
    const begun = this.table.recallAll(this.now, client, kind, changed);
    if (begun === undefined && !this.#fences.has(client)) return Promise.resolve();
    if (this.#stuck.has(client)) return Promise.reject(this.#stuck.errorOf(client));
    return new Promise((resolve, reject) => {
      this.#untilEmpty.add({ client, recallId: begun?.recallId, resolve, reject });
      this.perform(begun?.actions ?? []);
    });
  }

  /** The fence of the client fails, and nobody waits for it any longer. */
  isStuck(client: number): boolean {
    return this.#stuck.has(client);
  }

  endBreak(breakId: number): void {
    this.#breaks.delete(breakId);
    if (!this.#closed) this.perform(this.table.endBreak(this.now, breakId));
  }

  perform(actions: readonly Action[]): void {
    for (const action of actions) {
      switch (action.type) {
        case 'recall':
        case 'bulk-recall':
          this.#askBack(action);
          break;
        case 'fence':
          this.#beginFence(action);
          break;
        case 'released':
          this.#letGo(action);
          break;
        case 'broken':
          this.#wake(action.breakId);
          break;
        case 'bulk-ended':
          this.#bulkEnded(action);
          break;
        case 'available':
        case 'recall-any':
          this.#channel.hint(action);
      }
    }
    this.#arm();
  }

  /**
   * Uncommitted blocks below `segments`, which the client does not hold any more, go back to free space: but for those that
   * another get of it may be about to grant.
   */
  releaseProvisional(client: number, ino: number, segments: readonly Segment[]): void {
    const written = segments.filter((segment) => segment.iomode === iomode.rw);
    if (written.length === 0) return;
    const reserved = this.table.reservedOn(client, ino).filter((segment) => segment.iomode === iomode.rw);
    for (const { offset, length } of written.flatMap((each) => without(each, reserved))) {
      const released = this.#fs.layouts.releaseProvisional(ino, { offset, length }, client);
      if (!(released instanceof Promise)) continue;
      released.catch((error: unknown) => {
        this.#log.error({ client, ino, offset, length, error }, 'provisional blocks could not be released');
      });
    }
  }

  /** What the client held of the file has become less; that it holds nothing at all the store learns later. */
  settle(client: number, ino: number): void {
    if (!this.table.holds(client, ino)) this.#idle.add(client, ino);
  }

  /** A fence cannot hold any more, and nothing may change in place. @throws FsError EIO */
  requireRunning(): void {
    if (this.#failed) throw new FsError('EIO', { detail: 'the filesystem shut down before a fence held' });
  }

  /** Everything the client has is revoked; settles when its fence holds. @throws FsError ESHUTDOWN, EIO */
  async clientLost(client: number): Promise<void> {
    this.revoke(client);
    await this.fenceOf(client);
  }

  /** All layouts of the client are revoked, and it is being fenced. */
  revoke(client: number): void {
    this.perform(this.table.clientLost(this.now, client));
  }

  /** Settles when no fence of the client is under way. @throws FsError ESHUTDOWN, EIO */
  async fenceOf(client: number): Promise<void> {
    await this.#fences.get(client);
  }

  /** Clients of the former run that nobody has heard of: all they may reach is put away. @throws FsError ESHUTDOWN, EIO */
  async fenceFormer(clients: readonly number[]): Promise<void> {
    const fence = this.#fencing.beginFormer(clients);
    for (const client of clients) {
      this.#fences.set(client, fence);
      this.#stuck.watch(client, true);
    }
    try {
      await fence;
    } catch (error) {
      this.#fenceFailed();
      throw error;
    } finally {
      for (const client of clients) this.#fenceOver(client);
    }
  }

  isFencing(client: number): boolean {
    return this.#fences.has(client);
  }

  waiting(): readonly BreakStatus[] {
    const now = this.now;
    const breaks = [...this.#breaks.values()].map(({ ino, offset, length, reason, since }) => ({
      ino,
      offset,
      length,
      reason,
      waitingMs: Math.round(now - since),
    }));
    return [...breaks, ...this.grace.waiting()];
  }

  /** Nobody is kept waiting by a server that is gone; what was not returned stays in the way (`#refuseBreak`). */
  close(): void {
    this.#closed = true;
    this.#armed?.cancel();
    this.#stuck.close();
    this.#wakeAll();
  }

  /** Nothing is under way any more: what was given back need not be asked for after the restart. */
  settleAll(): void {
    this.#idle.close();
  }

  /** No client can be asked any more, so the operation fails rather than wait or go on. @throws FsError ESHUTDOWN */
  #refuseBreak(ino: number, range: ByteRange, reason: BreakReason, client: number | undefined): undefined {
    const begun = this.table.break(this.now, { ino, ...range, reason, client });
    if (begun === undefined && !this.grace.covers(ino, reason)) return undefined;
    if (begun !== undefined) this.table.endBreak(this.now, begun.breakId);
    throw new FsError('ESHUTDOWN', { ino, range, detail: 'a client holds a layout and the metadata server is closed' });
  }

  /** A client in the way of the break whose fence fails. */
  #stuckIn(breakId: number): number | undefined {
    return [...this.#stuck.clients()].find((each) => this.table.waitsFor(breakId, each));
  }

  #wakeAll(): void {
    for (const breakId of this.#breaks.keys()) this.#wake(breakId);
    for (const { resolve } of this.#untilEmpty) resolve();
    this.#untilEmpty.clear();
    this.grace.wakeAll();
  }

  #bulkEnded({ client, recallId }: BulkEndedAction): void {
    this.#channel.devicesVoid(client);
    this.#tellEmpty((waiting) => waiting.recallId === recallId);
  }

  #tellEmpty(isIt: (waiting: UntilEmpty) => boolean, why?: FsError): void {
    for (const waiting of [...this.#untilEmpty].filter(isIt)) {
      this.#untilEmpty.delete(waiting);
      if (why === undefined) waiting.resolve();
      else waiting.reject(why);
    }
  }

  #letGo({ client, ino, segments }: ReleasedAction): void {
    this.releaseProvisional(client, ino, segments);
    this.settle(client, ino);
  }

  #wake(breakId: number): void {
    this.#breaks.get(breakId)?.wake();
    this.#breaks.delete(breakId);
  }

  #askBack(action: RecallAction): void {
    if (this.#channel.isCourteous(action.client)) this.revoke(action.client);
    else void this.#recall(action);
  }

  async #recall(action: RecallAction): Promise<void> {
    this.#counters.recallsSent++;
    // What was just granted can be asked back at once: after the reply that grants it, so that the client need not wait
    // for that (RFC 8881 §12.5.5.2), and in the order of their seqids.
    await new Promise(setImmediate);
    const reply = await this.#channel.recall(action);
    if (!this.#closed) this.perform(this.table.recallReply(this.now, action.recallId, reply));
  }

  #beginFence(action: FenceAction): void {
    const { client, fenceId } = action;
    this.#counters.layoutsRevoked += action.segments.length;
    this.#log.warn({ client, segments: action.segments.length }, 'layouts revoked, fencing');
    this.#channel.revoked(client);
    const fence = this.#fencing.begin(client, action.segments.map(fencedSegment));
    const held = fence.then(() => {
      this.#fenceOver(client);
      if (!this.#closed) this.perform(this.table.fenced(this.now, fenceId));
      this.#tellEmpty((waiting) => waiting.client === client && waiting.recallId === undefined);
    });
    this.#fences.set(client, held);
    this.#stuck.watch(client);
    // Whoever waits for it learns that the server or the filesystem stopped first; without anybody it concerns nobody.
    held.catch(() => this.#fenceFailed());
  }

  #fenceOver(client: number): void {
    this.#fences.delete(client);
    this.#stuck.over(client);
  }

  /** Whoever waits for the client fails. */
  #giveUpOn(client: number, isFormer: boolean): void {
    for (const breakId of this.#breaks.keys()) if (this.table.waitsFor(breakId, client)) this.#wake(breakId);
    if (isFormer) this.grace.pass();
    this.#tellEmpty((waiting) => waiting.client === client, this.#stuck.errorOf(client));
  }

  /** @throws FsError EIO */
  #requireNoFormerStuck(ino: number, range: ByteRange): void {
    for (const client of this.#stuck.clients()) {
      if (this.#fs.layouts.granted(client).has(ino)) throw this.#stuck.errorOf(client, { ino, range });
    }
  }

  /** What could not be made durable now never will be: whoever waits is woken, and fails. */
  #fenceFailed(): void {
    if (this.#fs.status().shutdown === undefined) return;
    this.#failed = true;
    this.#wakeAll();
  }

  #arm(): void {
    const at = this.#closed ? undefined : this.table.nextDeadline();
    if (at === this.#armed?.at) return;
    this.#armed?.cancel();
    this.#armed = undefined;
    if (at === undefined) return;
    const cancel = this.#clock.after(at - this.now, () => {
      this.#armed = undefined;
      this.perform(this.table.tick(this.now));
    });
    this.#armed = { at, cancel };
  }
}

function fencedSegment(segment: FenceAction['segments'][number]): FencedSegment {
  const { ino, offset, length } = segment;
  return { ino, offset, length, access: segment.iomode === iomode.rw ? 'write' : 'read' };
}
