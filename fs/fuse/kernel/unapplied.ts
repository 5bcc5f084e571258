import { readFileSync } from 'node:fs';
import { kernelLimits } from './limits.ts';

/**
 * Replies with attributes or names that the kernel may not have applied yet. It applies a reply on the thread that
 * asked, whenever that gets the processor, and what was announced or done meanwhile is older news to it:
 *
 * - Attributes of an inode that it knows are dropped then, but only if what came in between counted as a change
 *   (attr_version: announcements, writes, truncation, fuse_reverse_inval_inode). What it merely marks as out of date does not
 *   (fuse_dir_changed, fuse_update_ctime, fuse_invalidate_atime), and a reply that is applied afterwards takes the mark off.
 * - An inode that it learns of by the reply has no version yet; those of CREATE, MKDIR, LINK and SETATTR are not compared.
 * - A name that it looks up again (fuse_dentry_revalidate) is believed, whatever was announced. Names that it looks up
 *   for the first time, or lists, are so under the lock of the directory, which announcements wait for.
 *
 * A thread waits for its reply before it asks again, so the last one of each thread is all there is to remember.
 */
export class Unapplied {
  readonly #threads = new Map<number, Thread>();
  /** How many of the replies are about inodes of this slot: most are about none that anybody else asks for. */
  readonly #slots = new Uint32Array(slots);
  /** The one noted last: most replies go to the same thread as the one before. */
  #last = new Thread(0);
  /** Replies that still say something about inodes. */
  #standing = 0;
  /** Inodes in listings. */
  #listed = 0;
  #strangers = 0;

  /** A reply names `ino` as what `name` in `parent` leads to, with its attributes. */
  entry(pid: number, parent: number, name: string, ino: number): void {
    const thread = this.#next(pid, ino);
    thread.parent = parent;
    thread.name = name;
  }

  /** A reply carries the attributes of `ino`. */
  attributes(pid: number, ino: number): void {
    this.#next(pid, ino);
  }

  /** A reply carries the attributes of these. */
  listing(pid: number, inos: readonly number[]): void {
    const thread = this.#next(pid, undefined);
    thread.listed = inos;
    for (const ino of inos) this.#count(ino, 1);
    if (inos.length > 0) this.#standing++;
    this.#listed += inos.length;
    while (this.#listed > kernelLimits.listedNoted && this.#threads.size > 1) this.#dropOldest();
  }

  /**
   * Thread `pid` has changed what the kernel then marks as out of date by itself. True: others may take that mark off,
   * and the kernel is to be told now; after that they cannot.
   */
  isOvertaking(pid: number, ino: number): boolean {
    const standing = this.#slots[slotOf(ino)];
    if (standing === 0 || (standing === 1 && this.#last.pid === pid && this.#last.ino === ino)) return false;
    let isFound = false;
    for (const thread of this.#threads.values()) {
      if (thread.pid === pid || !thread.isAbout(ino)) continue;
      isFound = true;
      this.#strike(thread, ino);
    }
    return isFound;
  }

  /** Whether any thread but `pid` has attributes to apply: `isOvertaking` may be true for some inode. */
  hasOthers(pid: number): boolean {
    const own = this.#threads.get(pid)?.stands === true ? 1 : 0;
    if (this.#standing === own) return false;
    // Who has gone, or sleeps elsewhere, has applied what it got: looked at once, since it is over then.
    for (const thread of this.#threads.values()) {
      if (thread.pid !== pid && thread.stands && isOver(thread)) this.#clear(thread);
    }
    return this.#standing > own;
  }

  /** Replies that a peer's change of the inode may miss. */
  ofInode(ino: number): readonly Standing[] {
    return this.#slots[slotOf(ino)] === 0 ? [] : this.#matching((thread) => thread.isAbout(ino));
  }

  /** Replies that a peer's change of the name may miss. */
  ofName(parent: number, name: string): readonly Standing[] {
    return this.#matching((thread) => thread.parent === parent && thread.name === name);
  }

  #matching(is: (thread: Thread) => boolean): readonly Standing[] {
    const found: Standing[] = [];
    for (const thread of this.#threads.values()) {
      if (is(thread)) found.push(new Standing(thread));
    }
    return found;
  }

  #next(pid: number, ino: number | undefined): Thread {
    const thread = this.#last.pid === pid && pid !== 0 ? this.#last : this.#threadOf(pid);
    this.#clear(thread);
    thread.serial++;
    thread.name = '';
    if (ino !== undefined) {
      thread.ino = ino;
      this.#standing++;
      this.#count(ino, 1);
    }
    return thread;
  }

  /** Of another PID namespace the kernel says 0: threads unknown, so each reply counts as one of its own for a while. */
  #threadOf(pid: number): Thread {
    const key = pid === 0 ? -1 - (this.#strangers++ % kernelLimits.strangersNoted) : pid;
    const thread = this.#threads.get(key) ?? new Thread(key);
    this.#threads.delete(key);
    this.#threads.set(key, thread);
    this.#last = thread;
    if (this.#threads.size > kernelLimits.threadsNoted) this.#dropOldest();
    return thread;
  }

  #dropOldest(): void {
    for (const oldest of this.#threads.values()) {
      this.#clear(oldest);
      oldest.serial++;
      this.#threads.delete(oldest.pid);
      return;
    }
  }

  #clear(thread: Thread): void {
    if (!thread.stands) return;
    this.#standing--;
    if (thread.ino !== 0) this.#count(thread.ino, -1);
    for (const ino of thread.listed) this.#count(ino, -1);
    this.#listed -= thread.listed.length;
    thread.ino = 0;
    thread.listed = nothingListed;
  }

  #strike(thread: Thread, ino: number): void {
    if (thread.ino === ino) {
      thread.ino = 0;
      this.#count(ino, -1);
    }
    const others = thread.listed.filter((one) => one !== ino);
    this.#count(ino, others.length - thread.listed.length); // once for each of its names
    this.#listed += others.length - thread.listed.length;
    thread.listed = others;
    if (!thread.stands) this.#standing--;
  }

  #count(ino: number, by: number): void {
    const slot = slotOf(ino);
    this.#slots[slot] = (this.#slots[slot] ?? 0) + by;
  }
}

const slots = 16_384;
const nothingListed: readonly number[] = [];

/** The last reply to one thread. */
class Thread {
  readonly pid: number;
  /** Counts its replies. */
  serial = 0;
  /** 0: none. */
  ino = 0;
  listed: readonly number[] = nothingListed;
  parent = 0;
  name = '';

  constructor(pid: number) {
    this.pid = pid;
  }

  get stands(): boolean {
    return this.ino !== 0 || this.listed.length > 0;
  }

  isAbout(ino: number): boolean {
    return this.ino === ino || this.listed.includes(ino);
  }
}

/** One reply to a thread, as long as it may not be applied. */
export class Standing {
  readonly #thread: Thread;
  readonly #serial: number;

  constructor(thread: Thread) {
    this.#thread = thread;
    this.#serial = thread.serial;
  }

  get isOver(): boolean {
    return this.#thread.serial !== this.#serial || isOver(this.#thread);
  }
}

function slotOf(ino: number): number {
  return ino % slots;
}

/** Asleep, stopped or gone: a reply wakes its thread, which does not sleep again before it has applied it (proc_pid_stat(5)). */
function isOver({ pid }: Thread): boolean {
  if (pid <= 0) return false;
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return 'SITtZXx'.includes(stat.charAt(stat.lastIndexOf(')') + 2));
  } catch {
    return !exists(pid); // it may be hidden from us (hidepid)
  }
}

function exists(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}
