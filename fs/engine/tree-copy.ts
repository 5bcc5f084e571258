/**
 * A copy of a directory tree as one operation. The copy grows in slices below a root that has no name and is on record as
 * an orphan, so that whatever interrupts it leaves nothing but work for the reaper; then the root gets its name in one
 * group: all or nothing.
 *
 * T1 The copy is the tree at one moment, the one at which it is complete: what was taken does not change before that
 *    (copying.ts), and a directory is taken with its entries before what is in it.
 * T2 A file is taken when no layout for writing is out on it, so that nothing a client could still commit is missing.
 *    These are recalled before anything is taken, so that nobody waits for clients; those granted since, when it is
 *    the turn of the file. Commits and returns never wait for the copy.
 * T3 Each step leaves link counts right: a crash between any two of them shows sound trees.
 */
import { FsError } from '../errors.ts';
import { INODE_APPEND, INODE_IMMUTABLE, INODE_SNAPSHOT, INODE_SNAPSHOTS, INODE_XATTRS } from '../format/records.ts';
import { limits } from '../limits.ts';
import type { Caller } from '../vfs.ts';
import { shareBlocks, writtenBlocks } from './clone.ts';
import { requireSettled, zeroPastEnd } from './data.ts';
import type { Dentry, Directory } from './directory.ts';
import { Inode } from './inode.ts';
import { isPinned, unpinnedFlags } from './pinned.ts';
import { copyPinned } from './pinned-copy.ts';
import type { Slices } from './slices.ts';
import type { Volume } from './volume.ts';
import { run } from './wait.ts';
import { noXattrs, putXattr, residentXattrs } from './xattr-records.ts';

export interface TreeCopyOptions {
  /** The copy never changes. */
  readonly isSnapshot: boolean;
  /** What the root says of its parent; it gets its name there. */
  readonly parent: number;
  /** Root, or the owner of everything in the tree; undefined: the owner of the root was asked already. */
  readonly by: Caller | undefined;
}

/** A directory whose entries are being copied. */
interface Level {
  readonly source: Directory;
  readonly copy: number;
  /** Position of the entry copied last. */
  cookie: number;
}

/** A file whose blocks are being shared, or copied, from `next` on. */
interface Sharing {
  readonly source: Inode;
  readonly copy: Inode;
  readonly next: number;
}

export class TreeCopy {
  /** What the copy counts in: the quota of where it gets its name. */
  readonly #quota: number;
  /** The root of the copy, once there is one. */
  root: Inode | undefined;
  /** Directories in it: the links that its root will have besides its own two. */
  #subdirectories = 0;
  readonly #v: Volume;
  readonly #options: TreeCopyOptions;
  readonly #slices: Slices;
  readonly #isStopped: () => boolean;
  readonly #levels: Level[] = [];
  /** Copies of files with several names, by the number of the original. */
  readonly #linked = new Map<number, number>();
  #sharing: Sharing | undefined;
  #inodes = 0;

  constructor(v: Volume, options: TreeCopyOptions, slices: Slices, isStopped: () => boolean) {
    this.#v = v;
    this.#options = options;
    this.#slices = slices;
    this.#isStopped = isStopped;
    this.#quota = v.quotas.of(v.inodes.get(options.parent))?.id ?? 0;
  }

  /** Of the root, once it has a name. */
  get links(): number {
    return 2 + this.#subdirectories;
  }

  /**
   * Copies all below the directory. Sources stay taken; the caller lets them go.
   * @throws FsError E2BIG, EPERM (something in it is somebody else's), ENOSPC (records), EDQUOT, ENOENT, ESHUTDOWN, EIO
   */
  async make(source: number): Promise<Inode> {
    const v = this.#v;
    const root = await run(() => {
      const inode = v.inodes.get(source);
      const listing = this.#requireDirectory(inode);
      const copy = this.#copyInode(inode, this.#options.parent);
      copy.nlink = 0;
      v.changes.orphan(copy.ino, true);
      this.root = copy;
      this.#descend(listing, copy);
      return copy;
    });
    try {
      for (;;) {
        const slice = this.#slices.step();
        if (slice !== undefined) await slice;
        if (v.changes.size >= limits.longWorkRecordsMax) await v.sync();
        if (this.#isStopped()) throw new FsError('ESHUTDOWN', { ino: source, detail: 'unmounted meanwhile' });
        if (this.#levels.length === 0) return root;
        const reply = run(() => this.#step());
        if (reply instanceof Promise) await reply;
      }
    } finally {
      for (const { source: listing } of this.#levels) listing.opens--;
    }
  }

  /** The next entry, or the next blocks of a file. @throws Wait, FsError; nothing was changed then */
  #step(): void {
    const v = this.#v;
    v.requireWritable();
    const sharing = this.#sharing;
    if (sharing !== undefined) {
      this.#share(sharing);
      return;
    }
    const level = this.#levels.at(-1);
    if (level === undefined) return;
    const [entry] = level.source.between(level.cookie, Infinity, 1);
    if (entry === undefined) {
      level.source.opens--;
      this.#levels.pop();
      return;
    }
    this.#copyEntry(level, entry);
    level.cookie = entry.cookie;
  }

  #copyEntry({ copy: directory }: Level, entry: Dentry): void {
    const v = this.#v;
    v.requireRecords(entry.ino);
    const known = this.#linked.get(entry.ino);
    if (known !== undefined) {
      const copy = v.inodes.get(known);
      copy.nlink++;
      v.changes.inode(copy);
      this.#enter(directory, entry, known);
      return;
    }
    const source = v.inodes.get(entry.ino);
    if (source.isDirectory) {
      const listing = this.#requireDirectory(source);
      const parent = v.inodes.get(directory);
      const copy = this.#copyInode(source, directory);
      this.#enter(directory, entry, copy.ino);
      if (parent === this.root) this.#subdirectories++;
      else parent.nlink++;
      v.changes.inode(parent);
      this.#descend(listing, copy);
      return;
    }
    if (source.isFile) requireSettled(v, source);
    this.#requireCopyable(source);
    // What whoever stores to a pinned file has stored so far is in the copy: nobody is asked for its layouts (pinned.ts).
    if (source.isFile && !isPinned(source)) v.requireNoLayouts(source.ino, { offset: 0, length: Infinity }, 'share');
    const copy = this.#copyInode(source, 0);
    this.#enter(directory, entry, copy.ino);
    if (source.nlink > 1) this.#linked.set(source.ino, copy.ino);
    if (!source.isFile || v.extents.get(source.ino) === undefined) return;
    if (isPinned(source)) {
      this.#sharing = { source, copy, next: 0 };
      return;
    }
    zeroPastEnd(v, source, Infinity);
    this.#share({ source, copy, next: 0 });
  }

  #share(sharing: Sharing): void {
    const { source, copy, next } = sharing;
    const rest = isPinned(source)
      ? copyPinned(this.#v, source, copy, next)
      : shareBlocks(this.#v, source, copy, next, Infinity, next, limits.sharedExtentsMax);
    this.#sharing = rest === undefined ? undefined : { ...sharing, next: rest };
  }

  /** With everything that is needed of it resident. */
  #requireDirectory(source: Inode): Directory {
    this.#requireCopyable(source);
    return this.#v.directories.requireComplete(source.ino);
  }

  #requireCopyable(source: Inode): void {
    const { by } = this.#options;
    const { ino } = source;
    if (by !== undefined && by.uid !== 0 && by.uid !== source.uid)
      throw new FsError('EPERM', { ino, detail: `uid ${by.uid} does not own everything in the tree` });
    const most = limits.treeCopyInodesMax;
    if (this.#inodes >= most)
      throw new FsError('E2BIG', { ino, detail: `the tree has more than ${most} files and directories` });
    residentXattrs(this.#v, source);
    this.#requireRoom(source);
  }

  /** @throws FsError EDQUOT; Wait */
  #requireRoom(source: Inode): void {
    const blocks = source.isFile ? writtenBlocks(this.#v, source, 0, Infinity) : 0;
    this.#v.requireQuota({ ino: this.#options.parent, quota: this.#quota }, blocks, 1);
  }

  #descend(listing: Directory, copy: Inode): void {
    listing.opens++; // it stays resident
    this.#levels.push({ source: listing, copy: copy.ino, cookie: 2 });
  }

  #enter(directory: number, { name, type }: Dentry, ino: number): void {
    const v = this.#v;
    const resident = v.directories.get(directory);
    const entry = { name, ino, type, cookie: v.newNumber() };
    resident.set(entry);
    v.directories.grew();
    v.changes.dentry(resident, name, entry);
  }

  #flagsOf({ flags }: Inode): number {
    const kept = unpinnedFlags(flags) & ~(INODE_SNAPSHOT | INODE_SNAPSHOTS | INODE_XATTRS);
    if (this.#options.isSnapshot) return kept | INODE_SNAPSHOT;
    // Only root can clear these, so only root makes files that have them.
    return this.#options.by?.uid === 0 ? kept : kept & ~(INODE_IMMUTABLE | INODE_APPEND);
  }

  /** The source is taken with it. Times, owners, attributes are as they are there. */
  #copyInode(source: Inode, parent: number): Inode {
    const v = this.#v;
    const copy = new Inode({
      ...source.record,
      ino: v.newNumber(),
      nlink: source.isDirectory ? 2 : 1,
      flags: this.#flagsOf(source),
      parent,
      quota: this.#quota,
      // Of a snapshot it says when it was made; of everything else, what it said.
      btime: this.root === undefined ? v.clock.now() : source.btime,
    });
    copy.xattrs = noXattrs;
    for (const [name, value] of source.xattrs ?? []) putXattr(v, copy, name, value);
    if (copy.isDirectory) v.directories.created(copy.ino);
    v.inodes.add(copy);
    v.changes.inodeCreated(copy);
    v.inodeCount++;
    v.quotas.chargeInode(copy, 1);
    v.copying.take(source.ino);
    this.#inodes++;
    return copy;
  }
}
