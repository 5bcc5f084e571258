import { setTimeout as pause } from 'node:timers/promises';
import { extentState } from '../fs/engine/leases.ts';
import { FsError } from '../fs/errors.ts';
import { limits } from '../fs/limits.ts';
import { type Iomode, iomode } from '../layout/types.ts';
import type { Devices, Reach } from './devices.ts';
import type { LaidOut } from './dma/engine.ts';
import type { Prepared } from './dma/prepared.ts';
import { ClientError, type ClientStatus } from './errors.ts';
import type { FileData } from './file-data.ts';
import { type LayoutRequest, type LayoutSegment, segmentStates } from './layout.ts';
import type { PlacedExtent } from './layout-cache.ts';
import type { Grant, LayoutHold } from './layout-hold.ts';
import { clientLimits } from './limits.ts';
import type { OpenState } from './open-state.ts';
import { type ByteRange, endOf, everything, overlap, without } from './ranges.ts';
import { exactWindow, readWindow, writeWindow } from './windows.ts';

/** The file that layouts are asked for. */
export interface GrantOwner {
  readonly ino: number;
  readonly data: FileData;
  readonly hold: LayoutHold;
  readonly prepared: Prepared;
  /** What the program holds itself of `range` and the library must not use in `mode`, nor ask for. */
  claimed(range: ByteRange, mode: Iomode): readonly ByteRange[];
  commit(): Promise<void>;
  release(range: ByteRange): Promise<void>;
  getattr(): Promise<unknown>;
}

/** What becomes of a request that the server refused. */
type Refusal = 'never' | 'not now' | 'stale' | 'conflict';

const refusals: Partial<Record<ClientStatus, Refusal>> = {
  LAYOUTUNAVAILABLE: 'never',
  NOTSUPP: 'never',
  WRONG_TYPE: 'never',
  BADIOMODE: 'never',
  ACCESS: 'never',
  ADMIN_REVOKED: 'not now',
  EXPIRED: 'not now',
  GRACE: 'not now',
  // The stateid used is none any more.
  BAD_STATEID: 'stale',
  OLD_STATEID: 'stale',
  STATE_LOST: 'stale',
  // Others stand in the way, or the range is too wide.
  LAYOUTTRYLATER: 'conflict',
  RECALLCONFLICT: 'conflict',
  BADLAYOUT: 'conflict',
  TOOSMALL: 'conflict',
  NOSPC: 'conflict',
  DQUOT: 'conflict',
};

/** Asks for the layouts of one file, one after the other, and decides how much to ask for and when to give up. */
export class Grants {
  readonly #owner: GrantOwner;
  readonly #devices: Devices;
  readonly #refused = new Map<Iomode, { readonly reason: string; readonly until: number }>();
  #line: Promise<unknown> = Promise.resolve();
  #lastWrite: ByteRange | undefined;
  #contendedUntil = 0;

  constructor(owner: GrantOwner, devices: Devices) {
    this.#owner = owner;
    this.#devices = devices;
  }

  /** Somebody else works on the file: for a while only what is needed is asked for. */
  contended(): void {
    this.#contendedUntil = performance.now() + clientLimits.contentionHoldMs;
  }

  /** The engine moves nothing just now. */
  engineFailed(reason: string): void {
    for (const mode of [iomode.read, iomode.rw]) this.#refuse(mode, reason, clientLimits.engineHoldMs);
  }

  /** What kept layouts from being had is over. */
  available(): void {
    this.#refused.clear();
  }

  /** Makes `need` accessible directly. Answers undefined, or why it cannot be. @throws ClientError */
  acquire(open: OpenState, mode: Iomode, need: ByteRange): Promise<string | undefined> {
    const isThere = this.#owner.data.cache.covered(need.offset, need.length, mode === iomode.rw) >= need.length;
    if (isThere) return Promise.resolve(undefined);
    return this.#next(() => this.#acquire(open, mode, need));
  }

  /** For the program itself: what was granted, and where it lies. @throws ClientError with the status of LAYOUTGET */
  layout(
    open: OpenState,
    request: LayoutRequest,
  ): Promise<{ readonly granted: ByteRange; readonly segments: readonly LayoutSegment[] }> {
    return this.#next(() => this.#layout(open, request));
  }

  async #acquire(open: OpenState, mode: Iomode, wanted: ByteRange): Promise<string | undefined> {
    const { data } = this.#owner;
    data.touch();
    const writing = mode === iomode.rw;
    if (data.cache.size >= clientLimits.cachedSegmentsMax) await this.#owner.release(everything);
    const giveUpAt = performance.now() + clientLimits.layoutWaitMs;
    let need = wanted;
    let narrow = performance.now() < this.#contendedUntil;
    let conflicts = 0;
    let failure = 'RECALLCONFLICT: recalled as fast as granted';
    for (let tries = 0; tries < clientLimits.layoutTriesMax && performance.now() < giveUpAt; ) {
      const covered = data.cache.covered(need.offset, need.length, writing);
      if (covered >= need.length) return undefined;
      const reason = this.#reasonAgainst(mode, need);
      if (reason !== undefined) return reason;

      const missing = { offset: need.offset + covered, length: need.length - covered };
      const range = this.#wish(missing, mode, narrow);
      try {
        // What one copy moves is needed, so that others are asked once for all of it; then whatever is to be had.
        const needed = conflicts > 0 ? 1 : Math.min(missing.length, clientLimits.directSlice);
        const grant = await this.#get(open, mode, range, missing.offset + needed - range.offset);
        const unfit = await this.#keep(grant, mode);
        if (unfit !== undefined) return unfit;
        if (data.cache.covered(need.offset, need.length, writing) === covered) tries += 1;
        else if (writing) this.#lastWrite = grant.segment;
        continue;
      } catch (error) {
        if (!(error instanceof ClientError)) throw error;
        const refusal = refusals[error.status];
        failure = `${error.status}: ${error.detail}`;
        if (refusal === undefined) throw error;
        if (refusal === 'not now') return failure;
        if (refusal === 'never') this.#refuse(mode, failure, clientLimits.refusalHoldMs);
        if (refusal === 'stale') this.#owner.hold.forget();
        if (refusal === 'conflict' && error.status === 'BADLAYOUT' && !writing) need = await this.#withinFile(need);
        else if (refusal === 'conflict' && narrow) await pause(clientLimits.delayFirstMs * 2 ** tries);
        if (refusal === 'conflict') {
          narrow = true;
          conflicts += 1;
        }
      }
      tries += 1;
    }
    this.#refuse(mode, failure, clientLimits.conflictHoldMs);
    return failure;
  }

  async #layout(
    open: OpenState,
    request: LayoutRequest,
  ): Promise<{ readonly granted: ByteRange; readonly segments: readonly LayoutSegment[] }> {
    const blocks = exactWindow(request);
    const mode = request.iomode === 'RW' ? iomode.rw : iomode.read;
    if (this.#owner.claimed(blocks, mode).length > 0) {
      throw new ClientError('LAYOUT_HELD', 'another layout of the program covers the range');
    }
    await this.#owner.release(blocks);
    // All of it is needed and nothing more wished for: the program gets what it asks for.
    const grant = await this.#get(open, mode, blocks, blocks.length);
    const segments: LayoutSegment[] = [];
    for (const [state, offset, length, deviceId, storageOffset] of grant.extents) {
      const name = segmentStates.get(state);
      if (name === undefined) {
        segments.push({ state: 'NONE_DATA', offset, length });
        continue;
      }
      const { info } = await this.#devices.resolve(deviceId);
      const busAddress = info.busAddress === undefined ? undefined : info.busAddress + BigInt(storageOffset);
      segments.push({ state: name, offset, length, deviceId: info.deviceId, storageOffset, busAddress });
    }
    if (grant.intact()) return { granted: grant.segment, segments };
    await this.#owner.release(grant.segment);
    throw new ClientError('RECALLCONFLICT', 'the layout was asked back while its device was looked up');
  }

  async #get(open: OpenState, mode: Iomode, range: ByteRange, minlength: number): Promise<Grant> {
    // It takes the place of what is held for reading, whose blocks may be another file's before the reply is here.
    if (mode === iomode.rw) {
      const { cache, transfers } = this.#owner.data;
      cache.remove(range, 'readable');
      if (transfers.busy) await transfers.quiet(range);
    }
    const grant = await this.#owner.hold.get(open, mode, range, minlength);
    // Between our last look at the size and the grant it may have shrunk without a recall to us (D3 of FileData).
    this.#owner.data.doubtSize();
    for (const [state, offset, length, , storageOffset] of grant.extents) {
      const places = state === extentState.none ? [offset, length] : [offset, length, storageOffset];
      if (length > 0 && places.every((place) => place % limits.blockSize === 0)) continue;
      throw new ClientError('BAD_REPLY', `LAYOUTGET: ${offset}+${length} at ${storageOffset} is not of whole blocks`);
    }
    return grant;
  }

  /** Puts a grant into the cache. Answers why not, if its device is out of reach. */
  async #keep(grant: Grant, mode: Iomode): Promise<string | undefined> {
    const extents: PlacedExtent[] = [];
    for (const [state, offset, length, deviceId, storageOffset] of grant.extents) {
      if (state === extentState.none) {
        extents.push({ state, offset, length, place: undefined });
        continue;
      }
      const reach = await this.#devices.resolve(deviceId);
      const unfit = unfitFor(reach, storageOffset + length, mode === iomode.rw);
      if (reach.kind === 'unreached' || unfit !== undefined) {
        await this.#owner.release(grant.segment);
        return unfit;
      }
      extents.push({ state, offset, length, place: { engine: reach.engine, storageOffset } });
    }
    const unprepared = await this.#prepare(extents);
    if (unprepared !== undefined) {
      this.#refuse(mode, unprepared, clientLimits.engineHoldMs);
      await this.#owner.release(grant.segment);
      return unprepared;
    }
    // C2: while the device was looked up some of it may have gone; what is left of the grant goes as well.
    if (!grant.intact()) await this.#owner.release(grant.segment);
    else {
      const { cache } = this.#owner.data;
      cache.insert(extents);
      // The server may grant more than was asked for, also what the program holds already.
      for (const claimed of this.#owner.claimed(grant.segment, mode)) cache.remove(claimed);
    }
    return undefined;
  }

  /** Tells asynchronous engines of what they are about to reach. Answers why they cannot. */
  async #prepare(extents: readonly PlacedExtent[]): Promise<string | undefined> {
    for (const engine of new Set(extents.map(({ place }) => place?.engine))) {
      if (engine === undefined || engine.synchronous) continue;
      const pieces: LaidOut[] = [];
      for (const { place, offset, length, state } of extents) {
        if (place?.engine !== engine) continue;
        const writable = state === extentState.readWrite || state === extentState.invalid;
        pieces.push({ ino: this.#owner.ino, offset, length, storageOffset: place.storageOffset, writable });
      }
      try {
        await this.#owner.prepared.add(engine, pieces);
      } catch (error) {
        if (!(error instanceof FsError || error instanceof ClientError)) throw error;
        return `${engine.name}: ${error.message}`;
      }
    }
    return undefined;
  }

  /**
   * From what is missing to the end of a window around it, and no farther than to what the program holds. What lies before
   * would be needed as well (RFC 8881 §18.43.3): the server adds it by itself where nobody else is there.
   */
  #wish(missing: ByteRange, mode: Iomode, narrow: boolean): ByteRange {
    const exact = exactWindow(missing);
    const end = narrow ? endOf(exact) : endOf(this.#window(mode, missing));
    const wish = { offset: exact.offset, length: Math.max(end, endOf(exact)) - exact.offset };
    const [first] = without(wish, this.#owner.claimed(wish, mode));
    return first ?? wish;
  }

  /** Nothing was found to read: it may be gone, or not be there yet, where own writes beyond are not committed. */
  async #withinFile(need: ByteRange): Promise<ByteRange> {
    await this.#owner.commit();
    await this.#owner.getattr();
    return overlap(need, { offset: 0, length: this.#owner.data.size }) ?? { offset: need.offset, length: 0 };
  }

  #window(mode: Iomode, missing: ByteRange): ByteRange {
    return mode === iomode.rw ? writeWindow(missing, this.#lastWrite) : readWindow(missing, this.#owner.data.size);
  }

  #reasonAgainst(mode: Iomode, need: ByteRange): string | undefined {
    if (this.#devices.unreached !== undefined) return this.#devices.unreached;
    const refused = this.#refused.get(mode);
    if (refused !== undefined && performance.now() < refused.until) return refused.reason;
    const isClaimed = this.#owner.claimed(need, mode).length > 0;
    return isClaimed ? 'LAYOUT_HELD: a layout of the program covers the range' : undefined;
  }

  #refuse(mode: Iomode, reason: string, holdMs: number): void {
    this.#refused.set(mode, { reason, until: performance.now() + holdMs });
  }

  #next<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#line.then(work);
    this.#line = run.catch(() => {});
    return run;
  }
}

function unfitFor(reach: Reach, end: number, writing: boolean): string | undefined {
  if (reach.kind === 'unreached') return `NO_DEVICE: ${reach.reason}`;
  if (writing && !reach.engine.writable) return 'NO_DEVICE: the device may only be read from here';
  if (end > reach.engine.size) return `NO_DEVICE: an extent ends at ${end}, the device at ${reach.engine.size}`;
  return undefined;
}
