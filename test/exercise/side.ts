/** One directory under test, and the operations on it as real system calls of this process. */
import { encodeAcl } from '../posix/support/acl.ts';
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_SYMLINK_FOLLOW,
  AT_SYMLINK_NOFOLLOW,
  FALLOC_KEEP_SIZE,
  FALLOC_PUNCH_HOLE,
  FALLOC_ZERO_RANGE,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_RDONLY,
  O_RDWR,
  O_TMPFILE,
  S_IFSOCK,
  SEEK_CUR,
  SEEK_DATA,
  SEEK_HOLE,
  SEEK_SET,
} from '../posix/support/constants.ts';
import { cString } from '../posix/support/libc.ts';
import {
  decodeDirents,
  decodeNames,
  decodeStatfs,
  encodeTimes,
  type Stat,
  type StatFs,
  statfsSize,
} from '../posix/support/structs.ts';
import { call, filled, lines, offsetOf, statx } from './calls.ts';
import { setFlags } from './flags.ts';
import { Mappings } from './mappings.ts';
import { entryLine } from './node.ts';
import {
  type FallocateMode,
  isError,
  type Operation,
  type Outcome,
  type PeerOperation,
  pattern,
} from './operations.ts';
import { snapshotPath } from './snapshot.ts';

const page = 4096;
const AT_STATX_FORCE_SYNC = 0x2000;

const fallocateModes: Readonly<Record<FallocateMode, number>> = {
  allocate: 0,
  keep: FALLOC_KEEP_SIZE,
  punch: FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE,
  zero: FALLOC_ZERO_RANGE,
  zeroKeep: FALLOC_ZERO_RANGE | FALLOC_KEEP_SIZE,
};

export class Side {
  readonly name: string;
  readonly base: string;
  readonly #fds = new Map<number, number>();
  readonly #mappings = new Mappings();

  constructor(name: string, base: string) {
    this.name = name;
    this.base = base;
  }

  /** @param mapped bytes of the operation's mapping that may be touched */
  apply(operation: Operation, mapped: number): Outcome {
    switch (operation.op) {
      case 'open':
        return this.#opened(
          operation.slot,
          call('open', this.path(operation.path), operation.flags | O_NONBLOCK, operation.mode),
        );
      case 'tmpfile':
        return this.#opened(
          operation.slot,
          call('open', this.path(operation.path), O_TMPFILE | O_RDWR, operation.mode),
        );
      case 'close':
        return this.#close(operation.slot);
      case 'fsync':
      case 'fdatasync':
      case 'syncfs':
        return call(operation.op, this.fd(operation.slot));
      case 'fstat':
        return lines(statx(this.fd(operation.slot), '', AT_EMPTY_PATH));
      case 'read':
        return filled('read', 1, operation.length, this.fd(operation.slot), operation.length);
      case 'pread':
        return filled('pread', 1, operation.length, this.fd(operation.slot), operation.length, operation.offset);
      case 'write':
        return call('write', this.fd(operation.slot), pattern(operation.length, operation.fill), operation.length);
      case 'pwrite': {
        const { length, offset } = operation;
        return call('pwrite', this.fd(operation.slot), pattern(length, operation.fill), length, offset);
      }
      case 'map':
      case 'view':
        return this.#mappings.map(operation.map, this.fd(operation.slot), operation, operation.op === 'map');
      case 'unmap':
        return this.#mappings.unmap(operation.map);
      case 'peek':
        return this.#mappings.peek(operation.map, mapped);
      case 'poke':
        return this.#mappings.poke(operation.map, pattern(mapped, operation.fill));
      case 'mapRead':
        return this.#mappings.readOnce(this.fd(operation.slot), operation);
      case 'mapWrite':
        return this.#mappings.writeOnce(this.fd(operation.slot), operation, pattern(operation.length, operation.fill));
      case 'lseek':
        return call('lseek', this.fd(operation.slot), operation.offset, operation.whence);
      case 'seekData':
      case 'seekHole':
        return this.#seek(
          this.fd(operation.slot),
          operation.offset,
          operation.op === 'seekData' ? SEEK_DATA : SEEK_HOLE,
        );
      case 'ftruncate':
        return call('ftruncate', this.fd(operation.slot), operation.size);
      case 'fallocate': {
        const { slot, mode, offset, length } = operation;
        return call('fallocate', this.fd(slot), fallocateModes[mode], offset, length);
      }
      case 'copy':
        return this.#copy(operation);
      case 'linkSlot': {
        const link = cString(`/proc/self/fd/${this.fd(operation.slot)}`);
        return call('linkat', AT_FDCWD, link, AT_FDCWD, this.path(operation.to), AT_SYMLINK_FOLLOW);
      }
      case 'snapshot':
        return call('mkdir', this.path(snapshotPath(operation.name)), 0o755);
      case 'unsnapshot':
        return call('rmdir', this.path(snapshotPath(operation.name)));
      case 'setQuota':
      case 'removeQuota':
      case 'remount':
      case 'crash':
        return undefined;
      case 'truncate':
      case 'mkdir':
      case 'chmod':
      case 'rmdir':
      case 'unlink':
      case 'socket':
      case 'readlink':
      case 'stat':
      case 'lstat':
      case 'list':
      case 'link':
      case 'symlink':
      case 'rename':
      case 'chown':
      case 'utimens':
      case 'setxattr':
      case 'setAcl':
      case 'getxattr':
      case 'removexattr':
      case 'listxattr':
      case 'cow':
      case 'setFlags':
        return this.#onPath(operation);
    }
  }

  #onPath(operation: Exclude<Extract<Operation, { path: string }>, PeerOperation>): Outcome {
    const path = this.path(operation.path);
    switch (operation.op) {
      case 'truncate':
        return call('truncate', path, operation.size);
      case 'mkdir':
        return call('mkdir', path, operation.mode);
      case 'chmod':
        return call('chmod', path, operation.mode);
      case 'rmdir':
        return call('rmdir', path);
      case 'unlink':
        return call('unlink', path);
      case 'socket':
        return call('mknod', path, S_IFSOCK | 0o666, 0);
      case 'readlink':
        return filled('readlink', 1, page, path, page);
      case 'stat':
        return lines(this.stat(operation.path, 0));
      case 'lstat':
        return lines(this.stat(operation.path));
      case 'list':
        return this.list(operation.path);
      case 'link':
        return call('link', path, this.path(operation.to));
      case 'symlink':
        return call('symlink', cString(Buffer.from(operation.to, 'latin1')), path);
      case 'rename':
        return call('renameat2', AT_FDCWD, path, AT_FDCWD, this.path(operation.to), operation.flags);
      case 'chown':
        return call('chown', path, operation.uid, operation.gid);
      case 'utimens':
        return this.#utimens(operation.path, operation.atime, operation.mtime);
      case 'setxattr': {
        const value = pattern(operation.length, operation.fill);
        return call('setxattr', path, cString(operation.name), value, value.length, operation.flags);
      }
      case 'setFlags':
        return setFlags(path, operation.flag);
      case 'setAcl': {
        const value = encodeAcl(operation.acl);
        return call('setxattr', path, cString(operation.name), value, value.length, 0);
      }
      case 'cow': {
        const value = Buffer.from(operation.value);
        return call('setxattr', path, cString('system.iopmemfs.cow'), value, value.length, 0);
      }
      case 'getxattr':
        return this.xattr(operation.path, operation.name, true);
      case 'removexattr':
        return call('removexattr', path, cString(operation.name));
      case 'listxattr':
        return this.xattrs(operation.path, true);
      case 'open':
      case 'tmpfile':
        throw new Error(`${operation.op} is not for paths alone`);
    }
  }

  path(path: string): Buffer {
    return cString(Buffer.concat([Buffer.from(`${this.base}/`), Buffer.from(path, 'latin1')]));
  }

  fd(slot: number): number {
    const fd = this.#fds.get(slot);
    if (fd === undefined) throw new Error(`${this.name}: slot ${slot} is not open`);
    return fd;
  }

  statfs(path: string): StatFs | string {
    const buffer = Buffer.alloc(statfsSize);
    const done = call('statfs', this.path(path), buffer);
    return typeof done === 'string' ? done : decodeStatfs(buffer);
  }

  /** Blocks of 4096 bytes, asked of the filesystem: by path, or by descriptor. */
  blocks(at: string | number): number | string {
    const [dirfd, path, flags] =
      typeof at === 'number' ? [this.fd(at), '', AT_EMPTY_PATH] : [AT_FDCWD, this.path(at), AT_SYMLINK_NOFOLLOW];
    const stat = statx(dirfd, path, flags | AT_STATX_FORCE_SYNC);
    return typeof stat === 'string' ? stat : stat.blocks / 8;
  }

  stat(path: string, flags = AT_SYMLINK_NOFOLLOW): Stat | string {
    return statx(AT_FDCWD, this.path(path), flags);
  }

  /** Names and types, sorted. */
  list(path: string): readonly string[] | string {
    const entries = this.entries(path);
    return isError(entries) ? entries : entries.map(({ name, type }) => entryLine(name, type)).sort();
  }

  entries(path: string): readonly { readonly name: string; readonly type: number; readonly ino: number }[] | string {
    const fd = call('open', this.path(path), O_RDONLY | O_DIRECTORY, 0);
    if (typeof fd === 'string') return fd;
    try {
      const entries: { name: string; type: number; ino: number }[] = [];
      for (;;) {
        const bytes = filled('getdents64', 1, 4096, fd, 4096);
        if (typeof bytes === 'string') return bytes;
        if (!Buffer.isBuffer(bytes) || bytes.length === 0) break;
        entries.push(...decodeDirents(bytes, 'latin1'));
      }
      return entries.filter(({ name }) => name !== '.' && name !== '..');
    } finally {
      call('close', fd);
    }
  }

  /** The whole content of a file. */
  content(path: string): Buffer | string {
    const stat = this.stat(path);
    if (typeof stat === 'string') return stat;
    const fd = call('open', this.path(path), O_RDONLY | O_NOFOLLOW, 0);
    if (typeof fd === 'string') return fd;
    try {
      const read = filled('pread', 1, stat.size + 1, fd, stat.size + 1, 0);
      return typeof read === 'string' || Buffer.isBuffer(read) ? read : 'EIO';
    } finally {
      call('close', fd);
    }
  }

  /** Where data and holes begin, in turn: [data, hole, data, hole …]. */
  segments(path: string): readonly number[] | string {
    const fd = call('open', this.path(path), O_RDONLY | O_NOFOLLOW, 0);
    if (typeof fd === 'string') return fd;
    try {
      const found: number[] = [];
      for (let at = 0; ; ) {
        const next = call('lseek', fd, at, found.length % 2 === 0 ? SEEK_DATA : SEEK_HOLE);
        if (next === 'ENXIO') return found;
        if (typeof next === 'string') return next;
        found.push(next);
        at = next;
      }
    } finally {
      call('close', fd);
    }
  }

  xattr(path: string, name: string, follows: boolean): Outcome {
    return filled(follows ? 'getxattr' : 'lgetxattr', 2, 65_536, this.path(path), cString(name), 65_536);
  }

  /** Of users and of root; what a security module adds is not ours. */
  xattrs(path: string, follows: boolean): readonly string[] | string {
    const list = filled(follows ? 'listxattr' : 'llistxattr', 1, 65_536, this.path(path), 65_536);
    if (!Buffer.isBuffer(list)) return typeof list === 'string' ? list : 'EIO';
    return decodeNames(list)
      .filter((name) => /^(user|trusted|system\.posix_acl_(access|default)$)/.test(name))
      .sort();
  }

  /** Puts bytes in place of all that an open file holds: what the reference cannot do by itself. */
  replace(slot: number, bytes: Buffer): void {
    call('ftruncate', this.fd(slot), 0);
    call('pwrite', this.fd(slot), bytes, bytes.length, 0);
  }

  /** Closes and unmaps everything. */
  closeAll(): void {
    this.#mappings.unmapAll();
    for (const slot of this.#fds.keys()) this.#close(slot);
  }

  #opened(slot: number, fd: Outcome): Outcome {
    if (this.#fds.has(slot)) this.#close(slot);
    if (typeof fd !== 'number') return fd;
    this.#fds.set(slot, fd);
    return 0;
  }

  #close(slot: number): Outcome {
    const fd = this.fd(slot);
    this.#fds.delete(slot);
    return call('close', fd);
  }

  /** Where it leads is answered, and the position is as it was. */
  #seek(fd: number, offset: number, whence: number): Outcome {
    const position = call('lseek', fd, 0, SEEK_CUR);
    const found = call('lseek', fd, offset, whence);
    call('lseek', fd, Number(position), SEEK_SET);
    return found;
  }

  /** copy_file_range(2) may do less than asked, and goes on; not with what it has made itself at the end of the file. */
  #copy({ slot, offset, to, toOffset, length }: Extract<Operation, { op: 'copy' }>): Outcome {
    const stat = statx(this.fd(slot), '', AT_EMPTY_PATH);
    if (typeof stat === 'string') return stat;
    const count = Math.max(0, Math.min(length, stat.size - offset));
    for (let done = 0; ; ) {
      const [from, target] = [offsetOf(offset + done), offsetOf(toOffset + done)];
      const copied = call('copy_file_range', this.fd(slot), from, this.fd(to), target, count - done, 0);
      if (typeof copied === 'string') return done > 0 ? done : copied;
      done += copied;
      if (copied === 0 || done >= count) return done;
    }
  }

  /** Both times, and what stat says afterwards. */
  #utimens(path: string, atime: number, mtime: number): Outcome {
    const times = encodeTimes(BigInt(atime) * 1_000_000_007n, BigInt(mtime) * 1_000_000_007n);
    const set = call('utimensat', AT_FDCWD, this.path(path), times, AT_SYMLINK_NOFOLLOW);
    if (typeof set === 'string') return set;
    const stat = this.stat(path);
    if (typeof stat === 'string') return stat;
    return [`atime ${stat.atime / 1_000_000_007n}`, `mtime ${stat.mtime / 1_000_000_007n}`];
  }
}
