import type { Attr, SetAttr } from '../fs/vfs.ts';
import { type Iomode, iomode, type RecallReply, type StateId } from '../layout/types.ts';
import { attrFromWire, operations, setAttrToWire, stateIdFromWire } from '../mds/protocol/index.ts';
import type { BulkReturn } from './bulk-return.ts';
import type { FileRecall } from './callbacks.ts';
import type { Devices } from './devices.ts';
import { Prepared } from './dma/prepared.ts';
import { ClientError, type ClientStatus } from './errors.ts';
import { type Counters, FileData, type Uncommitted } from './file-data.ts';
import { type GrantOwner, Grants } from './grants.ts';
import { HeldLayout, type Layout, type LayoutOwner, type LayoutRequest, type PlacedSegment } from './layout.ts';
import { LayoutHold } from './layout-hold.ts';
import type { OpenState } from './open-state.ts';
import type { Limits } from './operation.ts';
import { type ByteRange, everything, without } from './ranges.ts';
import { joined, reclaimsOf, type SendReclaim } from './reclaim.ts';
import { ServerIo } from './server-io.ts';
import type { Session } from './session.ts';
import { exactWindow } from './windows.ts';

export interface InodeContext {
  readonly session: Session;
  readonly devices: Devices;
  readonly counters: Counters;
  readonly bulk: Pick<BulkReturn, 'active' | 'reconsider'>;
}

/** A commit that failed so may be tried again; after any other its data is lost, but for what is reclaimed. */
const transient: ReadonlySet<ClientStatus> = new Set(['TIMEOUT', 'UNREACHABLE', 'OVERLOAD', 'DELAY', 'GRACE']);

/** A reclaim that failed so may not have reached the server. */
const unheard: ReadonlySet<ClientStatus> = new Set(['TIMEOUT', 'UNREACHABLE', 'STATE_LOST', 'CLOSED', 'DELAY']);

/**
 * One file that is open here, shared by all of its handles: its layouts, what was written under them, and the way
 * through the server.
 *
 * C1 A recall takes its range out of the cache before it is answered. What is under way there ends, then commit and
 *    return follow.
 * C2 No grant is used that was on its way while something was given back: nobody knows which came first.
 * C3 I/O through the server never meets own layouts on its range: they are committed and given back before.
 * C4 Written data that cannot be committed any more is reported once, by the next sync or close (as fsync(2) does).
 * C5 When the session is lost what was not committed is kept by place. The next incarnation reclaims it before it does
 *    anything else; until then nothing here is committed, nor does a sync return.
 */
export class OpenInode implements LayoutOwner, GrantOwner {
  readonly ino: number;
  readonly data: FileData;
  readonly hold: LayoutHold;
  prepared = new Prepared();
  readonly #context: InodeContext;
  readonly #io: ServerIo;
  readonly #grants: Grants;
  readonly #opens = new Set<OpenState>();
  /** Those of the program. */
  readonly #layouts = new Set<HeldLayout>();
  /** Revoked, and the server does not know yet that we have noticed. */
  readonly #revoked = new Set<StateId>();
  #commits: Promise<unknown> = Promise.resolve();
  /** At the server, without a reply. */
  #committing: Uncommitted | undefined;
  /** C5. */
  #unclaimed: Uncommitted | undefined;
  #failure: ClientError | undefined;
  /** Recalls that the program's own layouts keep from being answered with all of their range. */
  readonly #unfinished = new Set<{ readonly range: ByteRange; readonly mode: number }>();

  constructor(ino: number, size: number, context: InodeContext) {
    const { session, counters, devices } = context;
    this.ino = ino;
    this.#context = context;
    this.data = new FileData(session.lease, counters, size);
    this.hold = new LayoutHold(ino, session, counters);
    this.#io = new ServerIo(session, counters, ino);
    this.#grants = new Grants(this, devices);
  }

  get opens(): ReadonlySet<OpenState> {
    return this.#opens;
  }

  /** Something was written directly that is not, as far as is known here, part of the file yet. */
  get isDirty(): boolean {
    return this.data.dirtyRanges > 0 || this.#committing !== undefined || this.#unclaimed !== undefined;
  }

  attach(open: OpenState): void {
    this.#opens.add(open);
  }

  /** Closes one handle: a barrier for what was written, and the end of all layouts with the last one. */
  async detach(open: OpenState): Promise<void> {
    let failure: unknown;
    try {
      await this.sync();
    } catch (error) {
      failure = error;
    }
    // What may be tried again the server does not hear now.
    const isHeard = !(failure instanceof ClientError && transient.has(failure.status));
    try {
      if (isHeard && this.#opens.size === 1) {
        for (const layout of this.#layouts) await this.returnLayout(layout, everything);
        await this.release(everything);
      }
    } finally {
      this.#opens.delete(open);
      await open.close();
    }
    if (failure !== undefined) throw failure;
  }

  /** Makes `need` accessible directly. Answers undefined, or why it cannot be. @throws ClientError */
  acquire(open: OpenState, mode: Iomode, need: ByteRange): Promise<string | undefined> {
    return this.#grants.acquire(open, mode, need);
  }

  /** A layout for the program itself. @throws ClientError with the status of LAYOUTGET, LAYOUT_HELD */
  async layout(open: OpenState, request: LayoutRequest): Promise<Layout> {
    const { granted, segments } = await this.#grants.layout(open, request);
    const layout = new HeldLayout(this, request, segments, granted, () => this.#context.session.lease.live);
    this.#layouts.add(layout);
    return layout;
  }

  /** The memory of `length` bytes of a segment from `within` on, as this process has it mapped; undefined: it has not. */
  async views(segment: PlacedSegment, within: number, length: number): Promise<readonly Uint8Array[] | undefined> {
    const reach = await this.#context.devices.resolve(Buffer.from(segment.deviceId, 'hex'));
    if (reach.kind === 'unreached' || !reach.engine.synchronous) return undefined;
    // Words of more than a byte are the engine's to put together.
    if (reach.info.accessWidth !== 1) return undefined;
    return reach.engine.views?.(segment.storageOffset + within, length);
  }

  /** Asks for the attributes; the size is current afterwards. */
  async getattr(): Promise<Attr> {
    const [wire] = await this.#context.session.call(operations.GETATTR, [this.ino]);
    const attr = attrFromWire(wire);
    this.data.sizeIs(attr.size);
    return { ...attr, size: this.data.size };
  }

  /** Times that are set stay: what was written here before is committed first, and with it its own. */
  async setattr(changes: SetAttr, limits: Limits): Promise<void> {
    if (changes.mtime !== undefined) await this.commit();
    await this.#context.session.call(operations.SETATTR, [this.ino, null, setAttrToWire(changes)], limits);
  }

  async truncate(open: OpenState | undefined, size: number): Promise<void> {
    await this.commit();
    await this.release(exactWindow({ offset: size, length: Infinity }));
    const stateid = await open?.stateid();
    await this.#context.session.call(operations.SETATTR, [this.ino, stateid ?? null, setAttrToWire({ size })], {
      stateful: stateid !== undefined,
    });
    this.data.doubtSize();
    await this.getattr();
  }

  // Through the server.

  /** C3. All is committed, also what lies elsewhere: it may say where the file ends. Answers the bytes read. */
  async readByServer(open: OpenState, target: Uint8Array, position: number, limits: Limits = {}): Promise<number> {
    await this.commit();
    return await this.#io.read(open, target, position, limits);
  }

  /** C3. Answers the bytes written. @throws ClientError LAYOUT_HELD */
  async writeByServer(open: OpenState, source: Uint8Array, position: number, limits: Limits = {}): Promise<number> {
    const blocks = exactWindow({ offset: position, length: source.length });
    if (this.claimed(blocks, iomode.read).length > 0) {
      throw new ClientError('LAYOUT_HELD', 'a layout of the program for writing covers the range');
    }
    const settled = this.hold.beginReturn();
    try {
      if (this.data.cache.overlaps(blocks)) await this.release(blocks);
      await this.#quiet(blocks);
      const written = await this.#io.write(open, source, position, limits);
      this.data.sizeAtLeast(position + written);
      return written;
    } finally {
      settled();
    }
  }

  /** C3, of all layouts: only the server knows where the end is. Answers the bytes written. @throws ClientError LAYOUT_HELD */
  async append(open: OpenState, source: Uint8Array, limits: Limits): Promise<number> {
    if (this.claimed(everything, iomode.read).length > 0) {
      throw new ClientError('LAYOUT_HELD', 'a layout of the program for writing may cover the end of the file');
    }
    const settled = this.hold.beginReturn();
    try {
      await this.release(everything);
      const written = await this.#io.append(open, source, limits);
      this.data.doubtSize();
      return written;
    } finally {
      settled();
    }
  }

  // Committing and giving back.

  /** Everything written directly becomes part of the file, durably. @throws ClientError; C4 */
  commit(): Promise<void> {
    return this.#inLine(() => this.#commit());
  }

  /**
   * The barrier of close(2) on a mount: everybody sees what was written. What the server has taken need not be durable, as
   * nothing need be that is closed without a sync. @throws as `sync`
   */
  publish(): Promise<void> {
    return this.#saying(() => this.commit());
  }

  /** A file is closed that nobody synced: its bytes are the server's from now on. */
  leaveToServer(): void {
    this.#io.forget();
  }

  /** The barrier of fsync and close, on both paths. */
  sync(): Promise<void> {
    return this.#saying(async () => {
      await this.commit();
      await this.#io.commit();
    });
  }

  /** C4. What `barrier` fails with for now only is said as well, and leaves nothing out. */
  async #saying(barrier: () => Promise<void>): Promise<void> {
    let said: unknown;
    try {
      await barrier();
    } catch (error) {
      said = error;
    }
    const failure = this.#failure ?? said;
    this.#failure = undefined;
    if (failure !== undefined) throw failure;
  }

  /** Gives back what the library holds in `range`, committed; what the program holds itself stays. */
  async release(range: ByteRange): Promise<void> {
    if (this.hold.stateid === undefined) return;
    const settled = this.hold.beginReturn();
    try {
      this.data.leave(range);
      await this.#quiet(range);
      await this.#commitBeforeReturn();
      await this.#giveBack(range, iomode.any);
    } finally {
      settled();
    }
  }

  /** In line with the library's own commits, so that a recall's return follows all of them. */
  async commitLayout(ranges: readonly ByteRange[], lastWriteOffset: number | undefined): Promise<void> {
    const size = await this.#inLine(() => this.hold.commit(ranges, lastWriteOffset));
    if (size !== null) this.data.sizeAtLeast(size);
  }

  async returnLayout(layout: HeldLayout, range: ByteRange): Promise<void> {
    const pieces = layout.within(range, iomode.any);
    this.#drop(layout, range);
    if (!this.#context.bulk.active) {
      for (const piece of pieces) await this.release(piece);
      await this.#finishRecalls();
    }
    this.#context.bulk.reconsider();
    await this.#freeRevoked();
    this.#context.session.reconsider();
  }

  /** An engine failed: the file goes through the server for a while, and its layouts back. */
  engineFailed(reason: string): void {
    this.#grants.engineFailed(reason);
    this.giveUpLayouts();
  }

  /** Nothing of the library is under way on `range`, which is out of the cache. */
  async #quiet(range: ByteRange): Promise<void> {
    if (this.data.transfers.busy) await this.data.transfers.quiet(range);
  }

  async #commit(): Promise<void> {
    await this.#untilReclaimed();
    const taken = this.data.takeUncommitted();
    if (taken === undefined) return;
    this.#committing = taken;
    try {
      const size = await this.hold.commit(taken.ranges, taken.lastWriteOffset);
      if (size !== null) this.data.sizeAtLeast(size);
    } catch (error) {
      if (error instanceof ClientError && transient.has(error.status)) {
        this.data.putBack(taken);
        throw error;
      }
      // The session went while it was on its way: it is among what is to be reclaimed.
      if (this.#unclaimed !== undefined) return await this.#untilReclaimed();
      // Revoked before a flag of the server could say so.
      const isRevoked = error instanceof ClientError && error.status === 'ADMIN_REVOKED';
      const failure = isRevoked ? lostWrites(this.ino, error) : error;
      this.#fail(failure);
      throw failure;
    } finally {
      this.#committing = undefined;
    }
  }

  /** Nothing is answered before the session is there again, and by then it has been tried. @throws ClientError TIMEOUT, CLOSED… */
  async #untilReclaimed(): Promise<void> {
    while (this.#unclaimed !== undefined) await this.#context.session.call(operations.SEQUENCE, [], { urgent: true });
  }

  /** C5, in a new incarnation. @throws ClientError: it has to be tried once more */
  async reclaim(send: SendReclaim): Promise<void> {
    const claimed = this.#unclaimed;
    if (claimed === undefined) return;
    try {
      for (const args of reclaimsOf(this.ino, claimed)) {
        const size = await send(args);
        if (size !== null) this.data.sizeAtLeast(size);
      }
    } catch (error) {
      if (!(error instanceof ClientError) || unheard.has(error.status)) throw error;
      this.#fail(lostWrites(this.ino, error));
    }
    this.#unclaimed = undefined;
  }

  /** Without the layout a commit cannot be tried again: what failed for good is reported later (C4). */
  async #commitBeforeReturn(): Promise<void> {
    try {
      await this.commit();
    } catch (error) {
      // For good: kept for the next sync.
      if (!(error instanceof ClientError) || transient.has(error.status)) throw error;
    }
  }

  /** LAYOUTRETURN of all of `range` that no layout of the program holds. */
  async #giveBack(range: ByteRange, mode: number): Promise<void> {
    const held = [...this.#layouts].flatMap((layout) => layout.within(range, mode));
    for (const piece of without(range, held)) {
      this.prepared.release(piece, mode === iomode.any ? 'all' : mode === iomode.rw ? 'writable' : 'readable');
      await this.hold.return(piece, mode);
    }
  }

  #holdsWithin(range: ByteRange, mode: number): boolean {
    return [...this.#layouts].some((layout) => layout.within(range, mode).length > 0);
  }

  /** A recall ends with a return of all that it asked for, though the program gave the last of it back in pieces. */
  async #finishRecalls(): Promise<void> {
    for (const recall of this.#unfinished) {
      if (this.#holdsWithin(recall.range, recall.mode)) continue;
      this.#unfinished.delete(recall);
      await this.hold.return(recall.range, recall.mode);
    }
  }

  /** One commit at a time, and none overtakes another. */
  #inLine<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#commits.then(work);
    this.#commits = run.catch(() => {});
    return run;
  }

  // The program's own layouts.

  /**
   * What it writes only it reads, and what it reads nobody makes writable: a layout for writing would take the place of the
   * one for reading without a word to the program.
   */
  claimed(range: ByteRange, mode: Iomode): readonly ByteRange[] {
    return [...this.#layouts]
      .filter((layout) => layout.iomode === 'RW' || mode === iomode.rw)
      .flatMap((layout) => layout.within(range, iomode.any));
  }

  /** No engine of the program uses what was granted to it. */
  get quiet(): boolean {
    return this.#layouts.size === 0;
  }

  #drop(layout: HeldLayout, range: ByteRange): void {
    layout.drop(range);
    if (layout.ranges.length === 0) this.#layouts.delete(layout);
  }

  // What the server takes away.

  /** CB_LAYOUTRECALL. C1. */
  recall({ stateid, iomode: mode, offset, length, changed }: FileRecall): RecallReply {
    const range = exactWindow({ offset, length });
    const order = this.hold.recalled(stateIdFromWire(stateid));
    if (order !== 'ok') return order;
    const settled = this.hold.beginReturn();
    this.data.leave(range, mode === iomode.any ? 'all' : mode === iomode.rw ? 'writable' : 'readable');
    this.data.doubtSize();
    this.#grants.contended();
    // After the answer, which leaves in this turn.
    queueMicrotask(() => void this.#answerRecall(range, mode).finally(settled));
    this.#notice(range, mode, changed);
    return 'ok';
  }

  /** CB_LAYOUTRECALL of everything. C1. Answers what is to be called when all is returned. */
  recallAll(changed: boolean): () => void {
    const settled = this.hold.beginReturn();
    this.data.leave(everything);
    this.data.doubtSize();
    this.#grants.contended();
    this.#notice(everything, iomode.any, changed);
    return settled;
  }

  /** What was written becomes part of the file before all layouts go; what cannot is reported later (C4). */
  async commitForReturn(): Promise<void> {
    try {
      await this.#quiet(everything);
      await this.#commitBeforeReturn();
    } catch (error) {
      this.#fail(error);
    }
  }

  /** The program hears that its layouts are asked back. */
  #notice(range: ByteRange, mode: number, changed: boolean): void {
    for (const layout of this.#layouts) {
      for (const part of layout.within(range, mode)) {
        layout.emit('recall', { ...part, changed });
        if (layout.onRecall === 'return') this.#drop(layout, part);
      }
    }
  }

  /**
   * What was written before the recall is committed, also when the blocks are about to move: it lies there already, and
   * commits are legal until the return (RFC 8881 §12.5.5.2). What cannot be returned the server will fence; the flags
   * of a later reply tell.
   */
  async #answerRecall(range: ByteRange, mode: number): Promise<void> {
    try {
      await this.#quiet(range);
      await this.#commitBeforeReturn();
      await this.#giveBack(range, mode);
      if (this.#holdsWithin(range, mode)) this.#unfinished.add({ range, mode });
    } catch (error) {
      this.#fail(error);
    }
  }

  /** The server wants memory back: all that the library holds of this file goes. */
  giveUpLayouts(): void {
    this.release(everything).catch((error: unknown) => this.#fail(error));
  }

  /** A layout that was refused is to be had: it is asked for again with the next access. */
  available(): void {
    this.#grants.available();
  }

  /** Some state of this client was revoked: was ours? @throws ClientError of TEST_STATEID */
  async checkRevoked(): Promise<void> {
    const { stateid } = this.hold;
    if (stateid === undefined || (await this.hold.isHonoured())) return;
    this.#revoked.add(stateid);
    const why = new ClientError('ADMIN_REVOKED', `the server revoked the layout on inode ${this.ino}`);
    const lost = this.#loseLayouts(why);
    if (lost !== undefined) this.#fail(lostWrites(this.ino, why));
    await this.#quiet(everything);
    await this.#freeRevoked();
  }

  /** The session is gone, and all layouts with it. C5. */
  loseSession(why: ClientError): void {
    const lost = this.#loseLayouts(why);
    this.#unclaimed = joined([this.#unclaimed, this.#committing, lost]);
  }

  /** All layouts are void. Answers what was not committed. */
  #loseLayouts(why: ClientError): Uncommitted | undefined {
    const lost = this.data.takeUncommitted();
    this.hold.forget();
    this.#unfinished.clear();
    this.data.voidLayouts();
    const former = this.prepared;
    this.prepared = new Prepared();
    void this.#quiet(everything).then(() => former.release(everything));
    this.revokeLayouts(why);
    return lost;
  }

  /** The program may not go on with its own layouts; those that answer by themselves stay until it has returned them. */
  revokeLayouts(why: ClientError): void {
    for (const layout of this.#layouts) {
      layout.revoke(why);
      if (layout.onRecall === 'return') {
        this.returnLayout(layout, everything).catch((error: unknown) => this.#fail(error));
      }
    }
  }

  async #freeRevoked(): Promise<void> {
    if (!this.quiet) return;
    const freed = [...this.#revoked];
    this.#revoked.clear();
    for (const stateid of freed) await this.hold.free(stateid);
  }

  #fail(error: unknown): void {
    this.#failure ??=
      error instanceof ClientError ? error : new ClientError('BAD_REPLY', String(error), { cause: error });
  }
}

function lostWrites(ino: number, cause: ClientError): ClientError {
  return new ClientError('WRITE_LOST', `uncommitted writes to inode ${ino} are lost: ${cause.message}`, { cause });
}
