/**
 * Ranges of many extents that leave their file, by truncate(2) or as a hole. Whoever takes one out puts it on record
 * (`T`) together with the new size, so that a crash leaves the file as it was before or as it is after; then the extents
 * go a few at a time. Until the last has gone only this file waits, its readers too: nobody sees half of it.
 */
import { FsError } from '../errors.ts';
import { encodeCut } from '../format/codec.ts';
import { cutKey } from '../format/keys.ts';
import type { CutRecord } from '../format/records.ts';
import { limits } from '../limits.ts';
import { unmapSome } from './file-space.ts';
import { Slices } from './slices.ts';
import type { Volume } from './volume.ts';
import { run, Wait } from './wait.ts';

interface Pending extends CutRecord {
  readonly done: Promise<void>;
  readonly settle: () => void;
}

export class Cutting {
  readonly #v: Volume;
  readonly #slices = new Slices();
  /** One for a file, since it waits; in the order in which they go. */
  readonly #pending = new Map<number, Pending>();
  #running: Promise<void> | undefined;
  #isStopped = false;

  constructor(v: Volume) {
    this.#v = v;
  }

  /** With the operation that takes the range out of the file. */
  add(cut: CutRecord): void {
    this.#v.changes.record(cutKey(cut.ino), encodeCut(cut));
    this.resume(cut);
  }

  /** One that is on record already. */
  resume(cut: CutRecord): void {
    let settle = nothing;
    const done = new Promise<void>((resolve) => {
      settle = resolve;
    });
    this.#pending.set(cut.ino, { ...cut, done, settle });
    if (this.#isStopped) settle();
    else this.#running ??= this.#run();
  }

  /** Before what the file maps is looked at, or changes. @throws Wait until it is cut; FsError ESHUTDOWN, EIO: it never will be */
  requireNone(ino: number): void {
    const pending = this.#pending.size === 0 ? undefined : this.#pending.get(ino);
    if (pending === undefined) return;
    const { shutdown } = this.#v;
    if (shutdown !== undefined) throw new FsError('EIO', { ino, detail: shutdown });
    if (this.#isStopped) throw new FsError('ESHUTDOWN', { ino, detail: 'unmounted meanwhile' });
    throw new Wait(pending.done);
  }

  /** Settles when the file is cut; undefined where it is. */
  of(ino: number): Promise<void> | undefined {
    return this.#pending.get(ino)?.done;
  }

  /** Settles when more blocks are free; undefined where none are to be expected. */
  soon(): Promise<void> | undefined {
    const [first] = this.#isStopped ? [] : this.#pending.values();
    return first?.done;
  }

  /** Some of the files that are being cut are as `is` says. */
  some(is: (ino: number) => boolean): boolean {
    return !this.#isStopped && [...this.#pending.keys()].some(is);
  }

  /** Settles when the step under way is over; the rest is the next mount's. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#running;
    for (const { settle } of this.#pending.values()) settle();
  }

  async #run(): Promise<void> {
    // The operation that made the work is over first.
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
    try {
      for (let cut = this.#first; cut !== undefined; cut = this.#first) await this.#cut(cut);
    } catch (error) {
      // The filesystem has shut down, and says so to everybody. Anything but FsError is a fault of ours.
      if (!(error instanceof FsError)) throw error;
      for (const { settle } of this.#pending.values()) settle();
    }
    this.#running = undefined;
  }

  get #first(): Pending | undefined {
    const [first] = this.#isStopped ? [] : this.#pending.values();
    return first;
  }

  /** A group takes few of the extents: with its end their records are encoded, and their blocks become free, in one go. */
  async #cut(cut: Pending): Promise<void> {
    for (let extents = 0; !this.#isStopped; ) {
      const reply = run(() => this.#step(cut));
      const isDone = reply instanceof Promise ? await reply : reply;
      if (isDone) return;
      extents += limits.releasedExtentsMax;
      if (extents >= limits.reapedExtentsMax) {
        extents = 0;
        await this.#v.sync();
      }
      const slice = this.#slices.step();
      if (slice !== undefined) await slice;
    }
  }

  /** Answers whether nothing is left. */
  #step({ ino, from, to, settle }: Pending): boolean {
    const v = this.#v;
    v.requireWritable();
    unmapSome(v, v.inodes.get(ino), from, to);
    const next = v.extents.get(ino)?.find(from);
    if (next !== undefined && next.fileBlock < to) return false;
    v.changes.record(cutKey(ino), undefined);
    this.#pending.delete(ino);
    settle();
    return true;
  }
}

function nothing(): void {}
