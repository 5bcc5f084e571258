/**
 * The pages of files that the kernel of the mount has cached, kept from meeting what peers write. The kernel fills
 * pages and takes stores to them (mmap) without a word, so they count as a reader and a writer that nobody sees. Hence:
 *
 * - C1 While a peer may write a range (a RW layout, an operation through the server) no page of it is cached, and none
 *   becomes cached.
 * - C2 So before that, the pages are written back and dropped, completely: `clean` for a layout, `change` for an
 *   operation. What the kernel writes back recalls the layouts that it has to.
 * - C3 And meanwhile a request of the kernel that would fill pages recalls RW layouts first, as any reader's, and waits
 *   for operations: `fill` and `store`.
 *
 * The kernel blocks an invalidation on pages that a request under way has locked. So nothing that such a request waits
 * for may wait for the invalidation: while pages of a range are being dropped, requests for them go through, and the
 * range is then looked at again.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import type { BreakReason, ByteRange, LayoutBreak, Leases, ProvidedFile, SpaceNeed } from '../../fs/engine/leases.ts';
import { GrantBusy, noLeases } from '../../fs/engine/leases.ts';
import { FsError } from '../../fs/errors.ts';
import type { Mounted } from '../../fs/fuse/driver.ts';
import { limits } from '../../fs/limits.ts';
import type { Name } from '../../fs/name.ts';
import { after } from '../../fs/reply.ts';
import type { Reply } from '../../fs/vfs.ts';

/**
 * How long a peer waits for the kernel to take what it changed, in ms. The kernel drops a name under the lock of its directory, which an
 * operation on the mount may hold that waits for this very peer. Then the peer is answered, and the name is dropped as
 * soon as that operation is over: until then programs on the mount cannot look up names there anyhow, but what they
 * know already they believe.
 */
const announcedMs = 1000;

/** How often a peer tries to announce its change where too many wait for their turn, in ms. It is not answered before. */
const crowdedMs = 20;

/** A range that programs on the mount read again each time its pages were dropped is given up after so many times: EAGAIN. */
const flushRoundsMax = 64;

/**
 * From this round on what fills pages waits, in the hope that it comes after the pages are gone. It goes on after
 * `fillHeldMs`, since the invalidation may be waiting for the very page. Before that it costs a reader nothing.
 */
const fillHeldRound = 4;
const fillHeldMs = 20;

/** Whole pages, in bytes: [start, end). */
interface Span {
  readonly start: number;
  readonly end: number;
}

/** An operation of a peer on bytes that the kernel may have cached. */
interface Change extends Span {
  /** Pages being dropped now: requests for them go through, and are noted in `filled`. undefined: all gone. */
  flushing: Span | undefined;
  filled: Span | undefined;
  /** What fills pages waits for `done`, or as long as it may. */
  holds: boolean;
  readonly done: Promise<void>;
}

/** A layout about to be granted, reserved but not yet mapped. */
interface Grant extends Span {
  /** An operation waits for the reservation. */
  readonly met: () => void;
}

export class KernelCaches {
  /** undefined: the kernel caches nothing, as nothing is mounted. */
  #mounting: Promise<Mounted | undefined> | undefined;
  #leases: Leases = noLeases;
  readonly #changes = new Spans<Change>();
  readonly #grants = new Spans<Grant>();
  readonly #breaks = new Spans<Span>();
  /** Handles of the mount for writing, by inode number: no other file has dirty pages, for a mapping keeps its handle. */
  readonly #writers = new Map<number, number>();

  /** From the moment the kernel can begin to cache: before the mount answers. */
  attach(mounting: Promise<Mounted>): void {
    this.#mounting = mounting.catch(() => undefined);
  }

  /** The leases as the filesystem gets them: whoever meets a grant whose pages are still being dropped ends that grant. */
  guard(leases: Leases): Leases {
    this.#leases = {
      breakLayouts: (ino: number, range: ByteRange, reason: BreakReason, client: number | undefined) => {
        const found = leases.breakLayouts(ino, range, reason, client);
        return found === undefined ? undefined : this.#noted(ino, spanOf(range), found);
      },
      takeBackSpare: (ino: number) => leases.takeBackSpare?.(ino),
      takeBackProvided: (files: readonly ProvidedFile[], need: SpaceNeed) => leases.takeBackProvided?.(files, need),
    };
    return this.#leases;
  }

  /**
   * Before blocks are granted for writing, while the grant is reserved.
   * @throws GrantBusy: what had to be written back, or a reader, waits for the reservation
   */
  clean(ino: number, range: ByteRange): Reply<void> {
    return this.#mounting === undefined ? undefined : this.#clean(ino, range);
  }

  /**
   * Runs a peer's `operation`, which changes these bytes, with none of their pages cached.
   * @throws FsError EAGAIN when programs on the mount never leave off filling them
   */
  change<T>(ino: number, range: ByteRange, operation: () => Reply<T>): Promise<T> {
    return this.#changing(ino, spanOf(range), (isClean) => {
      if (isClean) return operation();
      throw new FsError('EAGAIN', { ino, range, detail: 'programs on the mount keep reading it' });
    });
  }

  /**
   * The same for a write of a program on the mount, which is past the pages of the kernel (`Vfs.writePastPages`) and
   * cannot be told to try again. Where others never leave off filling pages these are dropped after the write.
   */
  overwrite<T>(ino: number, range: ByteRange, write: () => Reply<T>): Promise<T> {
    const span = spanOf(range);
    return this.#changing(ino, span, async (isClean) => {
      const written = await write();
      if (!isClean) await this.#flush(ino, span);
      return written;
    });
  }

  /** Runs `operation` when the pages are gone, and while it keeps new ones off; or with false when that is not to be had. */
  async #changing<T>(ino: number, span: Span, operation: (isClean: boolean) => Reply<T>): Promise<T> {
    let finish = nothing;
    const done = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const change: Change = { ...span, flushing: span, filled: undefined, holds: false, done };
    this.#changes.add(ino, change);
    try {
      for (let round = 0; change.flushing !== undefined; round++) {
        if (round === flushRoundsMax) return await operation(false);
        change.holds = round >= fillHeldRound;
        await this.#flush(ino, change.flushing);
        change.flushing = change.filled;
        change.filled = undefined;
      }
      return await operation(true);
    } finally {
      this.#changes.delete(ino, change);
      finish();
    }
  }

  /** Dirty pages of the file are in the file afterwards; those who store meanwhile are not waited for. */
  writeBack(ino: number): Promise<void> {
    return this.#flush(ino, { start: 0, end: Infinity });
  }

  /** The kernel opened the file for writing. */
  opened(ino: number): void {
    this.#writers.set(ino, (this.#writers.get(ino) ?? 0) + 1);
  }

  released(ino: number): void {
    const left = (this.#writers.get(ino) ?? 0) - 1;
    if (left > 0) this.#writers.set(ino, left);
    else this.#writers.delete(ino);
  }

  /** As `writeBack`, of all files: before a moment is taken at which a whole tree is copied. */
  async writeBackAll(): Promise<void> {
    const known = [...this.#writers.keys()]; // what is opened meanwhile is not waited for
    for (const ino of known) await this.writeBack(ino);
  }

  /** A READ of the kernel: it fills pages, or may. */
  fill<T>(ino: number, range: ByteRange, serve: () => Reply<T>, mayHold = true): Reply<T> {
    const held = this.#changes.isEmpty ? undefined : this.#admit(ino, spanOf(range), mayHold);
    if (held !== undefined) return held.then((isOver) => this.fill(ino, range, serve, isOver !== 'waited enough'));
    const broken = this.#leases.breakLayouts(ino, range, 'cache', undefined);
    // At once: a READ that is answered in the turn of this look is in the cache before anybody can be granted anything.
    return broken === undefined ? serve() : afterBreak(broken, serve);
  }

  /** A WRITE of the kernel: what it wrote stays cached. The filesystem itself recalls the layouts. */
  store<T>(ino: number, range: ByteRange, serve: () => Reply<T>): Reply<T> {
    const held = this.#changes.isEmpty ? undefined : this.#admit(ino, spanOf(range), false);
    return held === undefined ? serve() : after(held, () => this.store(ino, range, serve));
  }

  /** Size, times, mode or links changed. Never rejects. */
  attributes(ino: number): Reply<void> {
    if (this.#mounting === undefined) return;
    return this.#announce((mounted) => mounted.invalidateAttributes(ino));
  }

  /** A name in a directory appeared, went or leads elsewhere. Never rejects. */
  name(parent: number, name: Name): Promise<void> {
    return this.#announce((mounted) => mounted.invalidateEntry(parent, name));
  }

  /** A name is gone for good, and the kernel is to let go of what it led to. Never rejects. */
  gone(parent: number, name: Name): Promise<void> {
    return this.#announce((mounted) => mounted.removeEntry(parent, name));
  }

  async #clean(ino: number, range: ByteRange): Promise<void> {
    const span = spanOf(range);
    let met = nothing;
    const waitedFor = new Promise<'met'>((resolve) => {
      met = () => resolve('met');
    });
    const grant: Grant = { ...span, met };
    const flushed = this.#flush(ino, span);
    this.#grants.add(ino, grant);
    if (this.#breaks.overlap(ino, span)) met();
    try {
      if ((await Promise.race([flushed, waitedFor])) !== 'met') return;
    } finally {
      this.#grants.delete(ino, grant);
    }
    throw new GrantBusy(flushed.catch(nothing));
  }

  async #flush(ino: number, { start, end }: Span): Promise<void> {
    const mounted = await this.#mounting;
    await mounted?.invalidate(ino, start, end - start);
  }

  /** undefined: go on. Otherwise to be asked again afterwards. */
  #admit(ino: number, span: Span, mayHold: boolean): Promise<void | 'waited enough'> | undefined {
    for (const change of this.#changes.overlapping(ino, span)) {
      if (change.flushing === undefined || !overlap(change.flushing, span)) return change.done;
      if (change.holds && mayHold)
        return Promise.race([change.done, sleep(fillHeldMs, 'waited enough' as const, { ref: false })]);
      change.filled = hull(change.filled, span);
    }
    return undefined;
  }

  #noted(ino: number, span: Span, found: LayoutBreak): LayoutBreak {
    const noted = { ...span };
    this.#breaks.add(ino, noted);
    for (const grant of this.#grants.overlapping(ino, span)) grant.met();
    return {
      done: found.done,
      release: () => {
        this.#breaks.delete(ino, noted);
        found.release();
      },
    };
  }

  /** A change that cannot be announced yet holds up its peer; what fails otherwise is the driver's to give again. */
  async #announce(tell: (mounted: Mounted) => Promise<void>): Promise<void> {
    const mounted = await this.#mounting;
    if (mounted === undefined) return;
    while ((await within(announcedMs, tell(mounted).then(nothing, isCrowded))) === true) {
      await within(crowdedMs, new Promise(nothing));
    }
  }
}

/** Spans of each inode; there are only as many as operations under way. */
class Spans<T extends Span> {
  readonly #of = new Map<number, Set<T>>();

  get isEmpty(): boolean {
    return this.#of.size === 0;
  }

  add(ino: number, span: T): void {
    const spans = this.#of.get(ino) ?? new Set();
    this.#of.set(ino, spans.add(span));
  }

  delete(ino: number, span: T): void {
    const spans = this.#of.get(ino);
    spans?.delete(span);
    if (spans?.size === 0) this.#of.delete(ino);
  }

  *overlapping(ino: number, span: Span): Generator<T> {
    for (const each of this.#of.get(ino) ?? []) if (overlap(each, span)) yield each;
  }

  overlap(ino: number, span: Span): boolean {
    return this.overlapping(ino, span).next().done !== true;
  }
}

async function afterBreak<T>(broken: LayoutBreak, serve: () => Reply<T>): Promise<T> {
  await broken.done;
  try {
    return await serve();
  } finally {
    broken.release();
  }
}

function overlap(a: Span, b: Span): boolean {
  return a.start < b.end && b.start < a.end;
}

function hull(a: Span | undefined, b: Span): Span {
  return a === undefined ? b : { start: Math.min(a.start, b.start), end: Math.max(a.end, b.end) };
}

function spanOf({ offset, length }: ByteRange): Span {
  const page = limits.blockSize;
  return { start: Math.floor(offset / page) * page, end: Math.ceil((offset + length) / page) * page };
}

/** What `told` comes to, undefined when it takes longer. */
async function within<T>(ms: number, told: Promise<T>): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const over = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, ms, undefined);
  });
  const outcome = await Promise.race([told, over]);
  clearTimeout(timer);
  return outcome;
}

function isCrowded(error: unknown): boolean {
  return error instanceof FsError && error.code === 'EAGAIN';
}

function nothing(): void {}
