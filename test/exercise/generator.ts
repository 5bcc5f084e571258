/** Makes up operations: what follows from a seed, and from what is there. */
import { O_APPEND, O_CREAT, O_DIRECT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_TRUNC } from '../posix/support/constants.ts';
import { type AclName, accessAcl, defaultAcl } from './acl.ts';
import type { Operation } from './operations.ts';
import type { Random } from './random.ts';

export interface Features {
  /** fallocate, O_TMPFILE, SEEK_DATA, renameat2, special files' times: what only the kernel driver has; times to the nanosecond. */
  readonly isFull: boolean;
  /** Snapshots of the directory under test, and cow: what tmpfs has not. */
  readonly hasSnapshots: boolean;
  /** An ordinary user: no chown, no trusted attributes. */
  readonly isRoot: boolean;
}

const slots = 6;
const maps = 3;
const snapshots: readonly [string, ...string[]] = ['one', 'two', 'three'];
const farEnough = 260_000;
const depthMax = 4;
const longest = `${'n'.repeat(254)}x`;
/** Bytes that are no UTF-8 among them. */
const names: readonly [string, ...string[]] = ['a', 'b', 'c', 'd', 'a', 'b', 'c', '\xff\xfe \n'];

/** Users and groups of their own among them; one says no more than a mode, and one lacks its mask. */
const acls: readonly [string, ...string[]] = [
  'u::rwx,u:4001:rw-,g::r-x,m::rwx,o::r--',
  'u::rwx,g::r-x,g:4100:rwx,m::r-x,o::--x',
  'u::rwx,u:4002:---,g::rwx,g:4001:r--,m::rw-,o::r-x',
  'u::rwx,g::rwx,m::r--,o::r--',
  'u::rwx,g::r-x,o::r-x',
  'u::rw-,u:4001:rw-,g::r--,o::---',
];

/** Names for a driver that knows UTF-8 only. */
const plainNames: readonly [string, ...string[]] = ['a', 'b', 'c', 'd', 'e e'];

export interface Known {
  /** Paths that lead somewhere now. */
  readonly paths: readonly string[];
  readonly directories: readonly string[];
  /** Files that are open or mapped. */
  readonly used: readonly string[];
}

export class Generator {
  readonly #random: Random;
  readonly #features: Features;
  readonly #hasFlags: boolean;
  #fill = 0;

  constructor(random: Random, features: Features) {
    this.#random = random;
    this.#features = features;
    this.#hasFlags = random.oneIn(3);
  }

  next(known: Known): Operation {
    const random = this.#random;
    if (this.#features.hasSnapshots && random.oneIn(25)) return this.#own(known);
    const weight = random.below(100);
    if (weight < 50) return this.#data(known);
    if (weight < 85) return this.#name(known);
    return this.#attribute(known);
  }

  #data(known: Known): Operation {
    const random = this.#random;
    const slot = random.below(slots);
    const offset = this.#offset();
    const length = this.#length();
    switch (random.below(this.#features.isFull ? 21 : 14)) {
      case 0:
      case 1:
      case 2:
        return {
          op: 'open',
          slot,
          // Openers with other flags beside, mappings among them: what one writes the others have to see.
          path: (random.oneIn(3) ? random.pickAny(known.used) : undefined) ?? this.#path(known),
          flags: this.#flags(),
          mode: random.pick([0o644, 0o600, 0o777]),
        };
      case 3:
        return { op: 'close', slot };
      case 4:
        return { op: 'read', slot, length };
      case 5:
        return { op: 'pread', slot, offset, length };
      case 6:
        return { op: 'write', slot, length, fill: this.#newFill() };
      case 7:
      case 8:
        return { op: 'pwrite', slot, offset, length, fill: this.#newFill() };
      case 9:
        return { op: 'ftruncate', slot, size: offset };
      case 10:
        return { op: 'lseek', slot, offset: random.oneIn(4) ? -offset : offset, whence: random.below(3) };
      case 11:
        return { op: random.pick(['fsync', 'fdatasync', 'fstat', 'syncfs']), slot };
      case 12:
        return random.oneIn(3) ? { op: 'mapRead', slot, offset, length } : this.#mapped(slot, offset, length);
      case 13:
        return { op: 'mapWrite', slot, offset, length, fill: this.#newFill() };
      case 14:
      case 15:
        return {
          op: 'fallocate',
          slot,
          mode: random.pick(['allocate', 'keep', 'punch', 'punch', 'zero', 'zeroKeep']),
          offset,
          length,
        };
      case 16:
      case 17:
        return this.#copy(slot, offset, length);
      case 18:
        return { op: random.pick(['seekData', 'seekHole']), slot, offset };
      case 19:
        return { op: 'tmpfile', slot, path: random.pickAny(known.directories) ?? '.', mode: 0o640 };
      default:
        return { op: 'linkSlot', slot, to: this.#path(known) };
    }
  }

  /** What other filesystems have not. */
  #own(known: Known): Operation {
    const name = this.#random.pick(snapshots);
    if (this.#features.isRoot && this.#random.oneIn(2)) return this.#limit(known);
    switch (this.#random.below(5)) {
      case 0:
      case 1:
        return { op: 'snapshot', name };
      case 2:
      case 3:
        return { op: 'unsnapshot', name };
      default:
        if (!this.#features.isRoot) return { op: 'stat', path: this.#path(known) };
        return { op: 'cow', path: this.#path(known), value: this.#random.pick(['on', 'off']) };
    }
  }

  /** Limits of trees, or what forbids changes. */
  #limit(known: Known): Operation {
    const random = this.#random;
    if (!this.#hasFlags) return this.#quota(known);
    return { op: 'setFlags', path: this.#path(known), flag: random.pick(['none', 'none', 'immutable', 'append']) };
  }

  #quota(known: Known): Operation {
    const random = this.#random;
    const path = random.pickAny(known.directories) ?? this.#path(known);
    if (random.oneIn(5)) return { op: 'removeQuota', path };
    return random.oneIn(3)
      ? { op: 'setQuota', path, blocks: 0, inodes: random.pick([1, 3, 8]) }
      : { op: 'setQuota', path, blocks: random.pick([1, 5, 20, 60]), inodes: random.pick([0, 3, 20]) };
  }

  #mapped(slot: number, offset: number, length: number): Operation {
    const map = this.#random.below(maps);
    switch (this.#random.below(8)) {
      case 0:
      case 1:
        return { op: 'map', map, slot, offset, length };
      case 2:
      case 3:
        return { op: 'view', map, slot, offset, length };
      case 4:
      case 5:
        return { op: 'peek', map };
      case 6:
        return { op: 'poke', map, fill: this.#newFill() };
      default:
        return { op: 'unmap', map };
    }
  }

  #copy(slot: number, offset: number, length: number): Operation {
    const to = this.#random.below(slots);
    const toOffset = this.#offset();
    if (this.#random.oneIn(3)) return { op: 'copy', slot, offset, to, toOffset, length };
    const count = this.#random.oneIn(2) ? farEnough : blocks(length) + 4096;
    return { op: 'copy', slot, offset: blocks(offset), to, toOffset: blocks(toOffset), length: count };
  }

  #name(known: Known): Operation {
    const random = this.#random;
    const path = this.#path(known);
    switch (random.below(13)) {
      case 0:
      case 1:
        return { op: 'mkdir', path, mode: random.pick([0o755, 0o700, 0o777, 0o2775]) };
      case 2:
        return { op: 'rmdir', path };
      case 3:
        return { op: 'unlink', path };
      case 4:
        return { op: this.#features.isFull ? 'socket' : 'stat', path };
      case 5:
        return { op: 'link', path, to: this.#path(known) };
      case 6:
        return { op: 'symlink', path: this.#path(known), to: this.#target() };
      case 7:
        return { op: random.pick(['readlink', 'stat', 'lstat']), path };
      case 8:
        return { op: 'list', path: random.pickAny(known.directories) ?? path };
      case 9:
        return { op: 'truncate', path, size: this.#offset() };
      default:
        return {
          op: 'rename',
          path,
          to: this.#path(known),
          flags: this.#features.isFull ? random.pick([0, 0, 0, 1, 2, 2]) : 0,
        };
    }
  }

  #acl(path: string): Operation {
    const random = this.#random;
    const name = random.pick<AclName>([accessAcl, defaultAcl]);
    switch (random.below(6)) {
      case 0:
        return { op: 'getxattr', path, name };
      case 1:
        return { op: 'removexattr', path, name };
      default:
        return { op: 'setAcl', path, name, acl: random.pick(acls) };
    }
  }

  #attribute(known: Known): Operation {
    const random = this.#random;
    const path = this.#path(known);
    if (this.#features.isFull && random.oneIn(4)) {
      const directory = random.oneIn(2) ? random.pickAny(known.directories) : undefined;
      return this.#acl(directory ?? path);
    }
    const name = random.pick(
      this.#features.isRoot ? ['user.a', 'user.b', 'trusted.c'] : ['user.a', 'user.b', 'user.c'],
    );
    switch (random.below(9)) {
      case 0:
        return { op: 'chmod', path, mode: random.pick([0o644, 0o755, 0o4755, 0o2755, 0o2644, 0o1755, 0o600]) };
      case 1:
        if (!this.#features.isRoot) return { op: 'stat', path };
        return {
          op: 'chown',
          path,
          // Not both left alone: the kernel then does not say that a chown asks (fuse_do_setattr), and the bits stay.
          uid: random.pick([0, 4001]),
          gid: random.pick([0, 4100, 0xffff_ffff]),
        };
      case 2:
        if (!this.#features.isFull) return { op: 'lstat', path };
        return { op: 'utimens', path, atime: 1 + random.below(2 ** 31), mtime: random.below(2 ** 31) - 2 ** 30 };
      case 3:
      case 4:
      case 5:
        return {
          op: 'setxattr',
          path,
          name,
          length: random.pick([0, 1, 20, 1000, 3000]),
          fill: this.#newFill(),
          flags: random.pick([0, 0, 1, 2]),
        };
      case 6:
        return { op: 'getxattr', path, name };
      case 7:
        return { op: 'removexattr', path, name };
      default:
        return { op: 'listxattr', path };
    }
  }

  /** Of something that is there, more often than not, or up to three names deep. */
  #path(known: Known): string {
    const random = this.#random;
    const there = random.oneIn(2) ? random.pickAny(known.paths) : undefined;
    if (there !== undefined && !random.oneIn(10)) return there;
    const shallow = known.directories.filter((path) => path.split('/').length < depthMax);
    const directory = random.oneIn(3) ? undefined : random.pickAny(shallow);
    if (random.oneIn(60)) return join(directory, 'm'.repeat(256));
    if (random.oneIn(6) && there !== undefined) return join(there, this.#component());
    return join(directory, this.#component());
  }

  #component(): string {
    if (this.#random.oneIn(50)) return longest;
    return this.#random.pick(this.#features.isFull ? names : plainNames);
  }

  /** Never upwards: what a link leads to stays in the directory under test. */
  #target(): string {
    const component = (): string => this.#component();
    return this.#random.oneIn(3) ? `${component()}/${component()}` : component();
  }

  #flags(): number {
    const random = this.#random;
    let flags = random.pick([0, 1, 1, 2, 2, 2]);
    if (random.oneIn(2)) flags |= O_CREAT;
    if (random.oneIn(10) && (flags & O_CREAT) !== 0) flags |= O_EXCL;
    if (random.oneIn(8)) flags |= O_TRUNC;
    if (random.oneIn(8)) flags |= O_APPEND;
    if (random.oneIn(6) && this.#features.isFull) flags |= O_DIRECT;
    if (random.oneIn(20)) flags |= O_NOFOLLOW;
    if (random.oneIn(30) && (flags & O_CREAT) === 0) flags |= O_DIRECTORY;
    return flags;
  }

  #offset(): number {
    const random = this.#random;
    const far = random.pick([5000, 20_000, 70_000, farEnough]);
    const offset = random.below(far);
    if (random.oneIn(3)) return Math.floor(offset / 4096) * 4096;
    return random.oneIn(20) ? Math.floor(offset / 4096) * 4096 + random.pick([1, 4095]) : offset;
  }

  #length(): number {
    const random = this.#random;
    const length = random.below(random.pick([10, 5000, 20_000, 70_000]));
    return random.oneIn(3) ? Math.ceil(length / 4096) * 4096 : length;
  }

  #newFill(): number {
    return (this.#fill = (this.#fill + 1 + this.#random.below(50)) % 255);
  }
}

/** The offset of the block that holds it. */
function blocks(bytes: number): number {
  return Math.floor(bytes / 4096) * 4096;
}

function join(directory: string | undefined, name: string): string {
  return directory === undefined || directory === '.' ? name : `${directory}/${name}`;
}
