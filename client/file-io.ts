import { iomode } from '../layout/types.ts';
import { operations } from '../mds/protocol/index.ts';
import { ClientError } from './errors.ts';
import type { OpenInode } from './inode.ts';
import { clientLimits } from './limits.ts';
import type { OpenState } from './open-state.ts';
import type { Limits } from './operation.ts';
import { type ByteRange, overlap } from './ranges.ts';
import type { Session } from './session.ts';
import type { Moved as Transferred } from './transfers.ts';
import { afterTurn } from './turns.ts';

/** How the bytes went: from and to the device itself, or through the server, and then why. */
export type Route =
  | { readonly path: 'direct'; readonly reason?: undefined }
  | { readonly path: 'server'; readonly reason: string };

/** Bytes of one handle, by the way that they went. */
export interface RouteCounters {
  readonly directBytesRead: number;
  readonly directBytesWritten: number;
  readonly serverBytesRead: number;
  readonly serverBytesWritten: number;
  /** Why the last I/O went through the server that did. */
  readonly lastReason: string | undefined;
}

interface Moved {
  readonly count: number;
  readonly route: Route;
}

export const direct = { path: 'direct' } as const;

const recalledAsFast = 'RECALLCONFLICT: recalled as fast as granted';

/**
 * Reads and writes of one open file: directly where a layout is to be had, through the server where not.
 *
 * An operation that is aborted stops between two slices of a copy and before each request. What it asked for already goes on
 * by itself: a layout that comes later is cached like any other, and no reply reaches the caller's buffer.
 */
export class FileIo {
  readonly counters: { -readonly [Name in keyof RouteCounters]: RouteCounters[Name] } = {
    directBytesRead: 0,
    directBytesWritten: 0,
    serverBytesRead: 0,
    serverBytesWritten: 0,
    lastReason: undefined,
  };
  readonly #inode: OpenInode;
  readonly #open: OpenState;
  readonly #session: Session;

  constructor(inode: OpenInode, open: OpenState, session: Session) {
    this.#inode = inode;
    this.#open = open;
    this.#session = session;
  }

  /** Under a cached layout, at once. Answers the bytes read: as `FileData.read`. */
  readNow(target: Uint8Array, position: number): number {
    const count = this.#inode.data.read(target, position);
    this.counters.directBytesRead += count;
    return count;
  }

  /** As `readNow`. */
  writeNow(source: Uint8Array, position: number): number {
    const count = this.#inode.data.write(source, position);
    this.counters.directBytesWritten += count;
    return count;
  }

  /** The rest of a read of which `start` bytes are there already. */
  async read(target: Uint8Array, position: number, start: number, limits: Limits): Promise<Moved> {
    const { data } = this.#inode;
    let done = start;
    for (let tries = 0; tries < clientLimits.directTriesMax; ) {
      const at = position + done;
      if (at >= data.size) await this.#inode.getattr();
      if (at >= data.size) return { count: done, route: direct };
      limits.signal?.throwIfAborted();
      const need = { offset: at, length: Math.min(target.length - done, data.size - at) };
      const reason = await this.#inode.acquire(this.#open, iomode.read, need);
      limits.signal?.throwIfAborted();
      if (reason !== undefined) return await this.#readByServer(target, position, reason, limits);
      if (!data.sizeCurrent) await this.#inode.getattr();
      await this.#proveLease(limits);
      limits.signal?.throwIfAborted();

      let count = this.readNow(target.subarray(done), at);
      if (count === 0) {
        const { bytes, failure } = await this.#transferIn(target.subarray(done), at, limits);
        if (failure !== undefined) return await this.#readByServer(target, position, failure, limits);
        count = bytes;
      }
      done += count;
      if (done === target.length) return { count: done, route: direct };
      if (count === 0) tries += 1;
      else await afterTurn(undefined);
    }
    return await this.#readByServer(target, position, recalledAsFast, limits);
  }

  /** By an engine that takes its time. Where the caller may leave before it is done it works on bytes of its own. */
  async #transferIn(target: Uint8Array, position: number, { signal }: Limits): Promise<Transferred> {
    const { transfers } = this.#inode.data;
    const own = signal === undefined ? target : Buffer.allocUnsafe(target.length);
    const moved = await transfers.read(own, position);
    signal?.throwIfAborted();
    if (own !== target) target.set(own.subarray(0, moved.bytes));
    this.counters.directBytesRead += moved.bytes;
    if (moved.failure !== undefined) this.#inode.engineFailed(moved.failure);
    return moved;
  }

  /** As `#transferIn`. */
  async #transferOut(source: Uint8Array, position: number, { signal }: Limits): Promise<Transferred> {
    const { transfers } = this.#inode.data;
    const moved = await transfers.write(signal === undefined ? source : Buffer.from(source), position);
    this.counters.directBytesWritten += moved.bytes;
    if (moved.failure !== undefined) this.#inode.engineFailed(moved.failure);
    signal?.throwIfAborted();
    return moved;
  }

  async #readByServer(target: Uint8Array, position: number, reason: string, limits: Limits): Promise<Moved> {
    const count = await this.#inode.readByServer(this.#open, target, position, limits);
    this.counters.serverBytesRead += count;
    this.counters.lastReason = reason;
    return { count, route: { path: 'server', reason } };
  }

  /** The rest of a write of which `start` bytes are written already. */
  async write(source: Uint8Array, position: number, start: number, limits: Limits): Promise<Moved> {
    const { data } = this.#inode;
    let done = start;
    for (let tries = 0; tries < clientLimits.directTriesMax; ) {
      if (data.dirtyRanges >= clientLimits.dirtyRangesMax) await this.#inode.commit();
      limits.signal?.throwIfAborted();
      const need = { offset: position + done, length: source.length - done };
      const reason = await this.#inode.acquire(this.#open, iomode.rw, need);
      limits.signal?.throwIfAborted();
      if (reason !== undefined) return await this.#writeByServer(source, position, done, reason, limits);
      // So that what is written can be read back without asking.
      if (this.#open.readable && !data.sizeCurrent) await this.#inode.getattr();
      await this.#proveLease(limits);
      limits.signal?.throwIfAborted();

      let count = this.writeNow(source.subarray(done), position + done);
      if (count === 0) {
        const { bytes, failure } = await this.#transferOut(source.subarray(done), position + done, limits);
        if (failure !== undefined) return await this.#writeByServer(source, position, done + bytes, failure, limits);
        count = bytes;
      }
      done += count;
      if (done === source.length) return { count: done, route: direct };
      if (count === 0) tries += 1;
      else await afterTurn(undefined);
    }
    return await this.#writeByServer(source, position, done, recalledAsFast, limits);
  }

  /** Only what is left after `done` bytes: others may have written there since. */
  async #writeByServer(
    source: Uint8Array,
    position: number,
    done: number,
    reason: string,
    limits: Limits,
  ): Promise<Moved> {
    const rest = await this.#inode.writeByServer(this.#open, source.subarray(done), position + done, limits);
    return this.#writtenByServer(done, rest, reason);
  }

  /**
   * Calls `use` with the bytes of `range` where they lie, at once: no recall comes between. Of a range for reading, what is in the
   * file. @throws ClientError NOT_DIRECT; what `use` throws
   */
  async view<T>(
    range: ByteRange,
    writing: boolean,
    use: (views: readonly Uint8Array[]) => T,
    limits: Limits,
  ): Promise<T> {
    const { data } = this.#inode;
    let reason: string | undefined = recalledAsFast;
    for (let tries = 0; tries < clientLimits.directTriesMax; tries++) {
      if (!writing) await this.#inode.getattr();
      const part = writing ? range : overlap(range, { offset: 0, length: data.size });
      if (part === undefined || part.length === 0) return use([]);
      if (data.dirtyRanges >= clientLimits.dirtyRangesMax) await this.#inode.commit();
      limits.signal?.throwIfAborted();
      reason = await this.#inode.acquire(this.#open, writing ? iomode.rw : iomode.read, part);
      limits.signal?.throwIfAborted();
      if (reason !== undefined) break;
      if (!writing && !data.sizeCurrent) await this.#inode.getattr();
      await this.#proveLease(limits);
      limits.signal?.throwIfAborted();
      const views = data.views(part, writing);
      if (views !== undefined) return use(views);
      reason = 'its bytes are not mapped into this process';
    }
    throw new ClientError('NOT_DIRECT', reason ?? recalledAsFast);
  }

  /** At the end of the file, wherever that is then. A request at a time: each is at the end as a whole. */
  async append(source: Uint8Array, limits: Limits): Promise<Moved> {
    const count = await this.#inode.append(this.#open, source, limits);
    return this.#writtenByServer(0, count, 'open for appending: the server knows the end of the file');
  }

  #writtenByServer(done: number, rest: number, reason: string): Moved {
    this.counters.serverBytesWritten += rest;
    this.counters.lastReason = reason;
    return { count: done + rest, route: { path: 'server', reason } };
  }

  /** Renews the lease if nothing proves that it lives. */
  async #proveLease(limits: Limits): Promise<void> {
    if (!this.#session.lease.live) await this.#session.call(operations.SEQUENCE, [], limits);
  }
}

export function requireDirect(count: number, length: number): void {
  if (count === 0 && length > 0) throw new ClientError('NOT_CACHED', 'no live layout of this client covers it');
}
