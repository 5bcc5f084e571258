/**
 * What the manual pages say about files and names, in memory, for root: the answer of every operation and the tree that
 * it leaves. For an ordinary user it does not foretell permissions; what these refuse is not applied to it.
 */
import {
  NAME_MAX,
  O_APPEND,
  O_CREAT,
  O_DIRECT,
  O_EXCL,
  O_NOFOLLOW,
  O_TRUNC,
  S_IFDIR,
  S_IFLNK,
  S_IFREG,
  S_IFSOCK,
} from '../posix/support/constants.ts';
import { defaultAcl, followMode, inherit, setAcl } from './acl.ts';
import {
  attribute,
  chown,
  dropName,
  dropPrivileges,
  isBelow,
  listing,
  moveTo,
  Node,
  type Owner,
  statOf,
} from './node.ts';
import {
  accessMask,
  copy,
  fallocate,
  isMappable,
  type Mapping,
  type OpenFile,
  opening,
  put,
  resize,
} from './open-file.ts';
import { isError, type Operation, type Outcome, pattern } from './operations.ts';
import { find, type Place } from './path.ts';
import { below, Quotas, type QuotaTree } from './quotas.ts';
import { Snapshot } from './snapshot.ts';

const umask = 0o022;

/** What only needs to know where a path leads. */
type OnPath = Extract<
  Operation,
  {
    op:
      | 'truncate'
      | 'readlink'
      | 'stat'
      | 'lstat'
      | 'list'
      | 'chmod'
      | 'chown'
      | 'utimens'
      | 'setxattr'
      | 'setAcl'
      | 'getxattr'
      | 'removexattr'
      | 'listxattr'
      | 'cow'
      | 'setFlags';
  }
>;

export class Model {
  readonly root: Node;
  readonly open = new Map<number, OpenFile>();
  readonly maps = new Map<number, Mapping>();
  readonly snapshots = new Map<string, Snapshot>();
  readonly quotas = new Quotas();
  /** Something was made immutable or append-only. */
  hasFlags = false;
  /** Files written through mappings: what of it the filesystem knows, and since when, is the kernel's choice. */
  readonly mapped = new Set<Node>();
  readonly #owner: Owner;
  readonly #isRoot: boolean;

  constructor(owner: Owner, isRoot: boolean) {
    this.#owner = owner;
    this.#isRoot = isRoot;
    this.root = new Node(S_IFDIR, 0o755, owner);
  }

  /** Every path that leads to a node through directories only; the root is '.'. */
  paths(): ReadonlyMap<string, Node> {
    const found = new Map<string, Node>([['.', this.root]]);
    for (const [path, node] of found) {
      for (const [name, child] of node.entries) found.set(path === '.' ? name : `${path}/${name}`, child);
    }
    return found;
  }

  /** What a path leads to, if it does. */
  nodeAt(path: string, follows = false): Node | undefined {
    const found = this.#there(path, follows);
    return isError(found) ? undefined : found;
  }

  /** Of a directory that is there. */
  pathOf(directory: Node): string {
    return [...this.paths()].find(([, node]) => node === directory)?.[0] ?? '.';
  }

  /** Can this operation be done at all: what it needs is open, what it touches in memory is there. */
  applies(operation: Operation): boolean {
    const { op } = operation;
    if (op === 'open' || op === 'tmpfile') return true;
    // That there is none on a file, the kernel answers by itself on a FUSE mount, which knows no flags.
    if (op === 'removexattr' && operation.name === defaultAcl)
      return (this.nodeAt(operation.path, true)?.flag ?? 'none') === 'none';
    if (op === 'removeQuota') return isPlain(operation.path);
    if (op === 'setFlags') return this.#canHaveFlag(operation.path);
    if (op === 'cow') return this.nodeAt(operation.path, true)?.flag !== 'immutable';
    if (op === 'setQuota') return !this.hasFlags && this.#isMeasurable(operation.path);
    if (op === 'unmap') return this.maps.has(operation.map);
    if (op === 'peek') return this.mappedBytes(operation.map) > 0;
    if (op === 'poke') return this.maps.get(operation.map)?.isWritable === true && this.mappedBytes(operation.map) > 0;
    if (!('slot' in operation)) return true;
    const file = this.open.get(operation.slot);
    if (file === undefined) return false;
    // The kernel does not know on a FUSE mount that there may be no shared mapping of what is append-only.
    if (file.node.flag !== 'none' && (op === 'mapRead' || op === 'view' || op === 'map' || op === 'mapWrite'))
      return false;
    // tmpfs has no such fallocate.
    if (file.node.flag !== 'none' && op === 'fallocate')
      return operation.mode !== 'zero' && operation.mode !== 'zeroKeep';
    if (op === 'copy') return this.open.has(operation.to);
    if (op === 'lseek' || op === 'seekData' || op === 'seekHole') return file.node.isFile;
    if (op === 'mapRead' || op === 'view') return isMappable(file, false, operation);
    // What is stored to a page is counted when the kernel hands it on, and is lost where there is no room.
    if (op === 'map' || op === 'mapWrite')
      return isMappable(file, true, operation) && this.quotas.of(file.node) === undefined;
    return true;
  }

  /** The quota that an operation may exceed. */
  quotaOf(operation: Operation): QuotaTree | undefined {
    if (this.quotas.trees.size === 0) return undefined;
    const node = this.growing(operation);
    return node === undefined ? undefined : this.quotas.of(node);
  }

  /** Writes all or nothing where room ends. */
  isWhole(operation: Operation): boolean {
    const file = 'slot' in operation ? this.open.get(operation.slot) : undefined;
    return file !== undefined && (file.node.isCow || (file.flags & O_DIRECT) !== 0);
  }

  /** The file that it writes to, or the directory that it makes something in. */
  growing(operation: Operation): Node | undefined {
    const { op } = operation;
    if (op === 'write' || op === 'pwrite' || op === 'fallocate') return this.open.get(operation.slot)?.node;
    if (op === 'copy') return this.open.get(operation.to)?.node;
    if (op === 'tmpfile') return this.nodeAt(operation.path, true);
    if (op !== 'open' && op !== 'mkdir' && op !== 'symlink' && op !== 'socket') return undefined;
    const place = this.#find(operation.path, op === 'open');
    return isError(place) || place.node !== undefined ? undefined : place.directory;
  }

  /**
   * Not what is open or mapped: other filesystems let those write who could before. What forbids and what a quota forbids
   * are not tried at once.
   */
  #canHaveFlag(path: string): boolean {
    const node = this.nodeAt(path);
    if (node === undefined || node === this.root || this.quotas.trees.size > 0) return false;
    if (node.isDirectory) return true;
    const isUsed = [...this.open.values(), ...this.maps.values()].some((each) => each.node === node);
    return node.isFile && !isUsed && !this.mapped.has(node);
  }

  /** A name that needs no looking up of links, and nothing below that may have stores on their way. */
  #isMeasurable(path: string): boolean {
    const node = this.paths().get(path);
    if (path === '.' || node === undefined || !isPlain(path)) return false;
    return ![...below(node)].some((each) => this.mapped.has(each));
  }

  /** Bytes of a mapping that lie within the file: touching more ends the process. */
  mappedBytes(map: number): number {
    const mapping = this.maps.get(map);
    return mapping === undefined ? 0 : Math.min(mapping.length, mapping.node.size - mapping.offset);
  }

  /** Does it, and answers what the system call has to answer. */
  apply(operation: Operation): Outcome {
    switch (operation.op) {
      case 'open':
        return this.#open(operation.slot, operation.path, operation.flags, operation.mode);
      case 'tmpfile':
        return this.#tmpfile(operation.slot, operation.path, operation.mode);
      case 'close':
        this.open.delete(operation.slot);
        return 0;
      case 'fsync':
      case 'fdatasync':
      case 'syncfs':
        return 0;
      case 'fstat':
        return statOf(this.#file(operation.slot).node);
      case 'read':
      case 'pread':
        return this.#read(
          this.#file(operation.slot),
          'offset' in operation ? operation.offset : undefined,
          operation.length,
        );
      case 'write':
      case 'pwrite':
        return this.#write(
          this.#file(operation.slot),
          'offset' in operation ? operation.offset : undefined,
          pattern(operation.length, operation.fill),
        );
      case 'mapRead':
        return Buffer.from(
          this.#file(operation.slot).node.bytes.subarray(operation.offset, operation.offset + operation.length),
        );
      case 'mapWrite':
        this.#file(operation.slot).node.bytes.set(pattern(operation.length, operation.fill), operation.offset);
        return 0;
      case 'map':
      case 'view':
        this.maps.set(operation.map, {
          node: this.#file(operation.slot).node,
          isWritable: operation.op === 'map',
          offset: operation.offset,
          length: operation.length,
        });
        return 0;
      case 'unmap':
        this.maps.delete(operation.map);
        return 0;
      case 'peek':
      case 'poke':
        return this.#touch(operation.map, operation.op === 'poke' ? operation.fill : undefined);
      case 'lseek':
        return this.#lseek(this.#file(operation.slot), operation.offset, operation.whence);
      case 'ftruncate': {
        const { node, flags } = this.#file(operation.slot);
        if ((flags & accessMask) === 0 || !node.isFile) return 'EINVAL';
        resize(node, operation.size);
        this.#written(node);
        return 0;
      }
      case 'fallocate': {
        const file = this.#file(operation.slot);
        const done = fallocate(file, operation.mode, operation.offset, operation.length);
        if (!isError(done)) this.#written(file.node);
        return done;
      }
      case 'copy': {
        const to = this.#file(operation.to);
        const done = copy(this.#file(operation.slot), operation.offset, to, operation.toOffset, operation.length);
        if (typeof done === 'number' && done > 0) this.#written(to.node);
        return done;
      }
      case 'linkSlot':
        return this.#link(this.#file(operation.slot).node, operation.to, true);
      case 'link': {
        const from = this.#there(operation.path, false);
        return isError(from) ? from : this.#link(from, operation.to, false);
      }
      case 'symlink':
        return this.#make(operation.path, () => new Node(S_IFLNK, 0o777, this.#owner, operation.to));
      case 'mkdir':
        return this.#make(operation.path, () => new Node(S_IFDIR, operation.mode & 0o1777, this.#owner));
      case 'socket':
        return this.#make(operation.path, () => new Node(S_IFSOCK, 0o666, this.#owner));
      case 'rmdir':
      case 'unlink':
        return this.#remove(operation.path, operation.op === 'rmdir');
      case 'rename':
        return this.#rename(operation.path, operation.to, operation.flags);
      case 'snapshot':
        if (this.snapshots.has(operation.name)) return 'EEXIST';
        this.snapshots.set(operation.name, new Snapshot(this.paths(), this.mapped));
        return 0;
      case 'unsnapshot':
        return this.snapshots.delete(operation.name) ? 0 : 'ENOENT';
      case 'setQuota':
      case 'removeQuota': {
        const directory = this.#there(operation.path, true);
        if (isError(directory)) return directory;
        if (!directory.isDirectory) return 'ENOTDIR';
        if (operation.op === 'removeQuota') return this.quotas.remove(directory);
        return this.quotas.set(directory, operation.blocks, operation.inodes);
      }
      case 'seekData':
      case 'seekHole':
      case 'remount':
      case 'crash':
        return undefined;
      case 'truncate':
      case 'readlink':
      case 'stat':
      case 'lstat':
      case 'list':
      case 'chmod':
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

  #onPath(operation: OnPath): Outcome {
    const follows = operation.op !== 'lstat' && operation.op !== 'readlink' && operation.op !== 'utimens';
    const node = this.#there(operation.path, follows);
    if (isError(node)) return node;
    switch (operation.op) {
      case 'truncate':
        if (node.isDirectory) return 'EISDIR';
        if (!node.isFile) return 'EINVAL';
        resize(node, operation.size);
        this.#written(node);
        return 0;
      case 'readlink':
        return node.type === S_IFLNK ? Buffer.from(node.target, 'latin1') : 'EINVAL';
      case 'stat':
      case 'lstat':
        return statOf(node);
      case 'list':
        return node.isDirectory ? listing(node) : 'ENOTDIR';
      case 'chmod':
        node.permissions = operation.mode;
        followMode(node);
        return 0;
      case 'chown':
        chown(node, operation.uid, operation.gid);
        return 0;
      case 'setFlags':
        node.flag = operation.flag;
        this.hasFlags = true;
        return 0;
      case 'setAcl':
        return setAcl(node, operation.name, operation.acl);
      case 'cow':
        if (!node.isFile && !node.isDirectory) return 'EOPNOTSUPP';
        node.isCow = operation.value === 'on';
        return 0;
      case 'utimens':
        return [`atime ${operation.atime}`, `mtime ${operation.mtime}`];
      case 'setxattr':
      case 'getxattr':
      case 'removexattr':
      case 'listxattr':
        return attribute(node, operation);
    }
  }

  #file(slot: number): OpenFile {
    const file = this.open.get(slot);
    if (file === undefined) throw new Error(`slot ${slot} is not open`);
    return file;
  }

  #open(slot: number, path: string, flags: number, mode: number): Outcome {
    this.open.delete(slot);
    const creates = (flags & O_CREAT) !== 0;
    const exclusive = creates && (flags & O_EXCL) !== 0;
    const place = this.#find(path, (flags & O_NOFOLLOW) === 0 && !exclusive);
    if (isError(place)) return place;
    let { node } = place;
    if (node === undefined) {
      if (!creates) return 'ENOENT';
      node = this.#enter(place, new Node(S_IFREG, mode, this.#owner));
    } else {
      if (exclusive) return 'EEXIST';
      const error = opening(node, flags);
      if (error !== undefined) return error;
      if (node.isFile && (flags & O_TRUNC) !== 0) {
        resize(node, 0);
        this.#written(node);
      }
    }
    this.open.set(slot, { node, flags, position: 0 });
    return 0;
  }

  #tmpfile(slot: number, path: string, mode: number): Outcome {
    this.open.delete(slot);
    const directory = this.#there(path, true);
    if (isError(directory)) return directory;
    if (!directory.isDirectory) return 'ENOTDIR';
    const node = new Node(S_IFREG, mode, this.#owner);
    if ((directory.permissions & 0o2000) !== 0) node.gid = directory.gid;
    inherit(node, directory, umask);
    this.quotas.inherit(node, directory);
    node.isCow = directory.isCow;
    node.links = 0;
    node.isUnnamed = true;
    this.open.set(slot, { node, flags: 2, position: 0 });
    return 0;
  }

  #read(file: OpenFile, offset: number | undefined, length: number): Outcome {
    if ((file.flags & accessMask) === 1) return 'EBADF';
    if (file.node.isDirectory) return 'EISDIR';
    const at = offset ?? file.position;
    const bytes = Buffer.from(file.node.bytes.subarray(at, at + length));
    if (offset === undefined) file.position += bytes.length;
    return bytes;
  }

  #write(file: OpenFile, offset: number | undefined, data: Buffer): Outcome {
    if ((file.flags & accessMask) === 0) return 'EBADF';
    const at = (file.flags & O_APPEND) === 0 ? (offset ?? file.position) : file.node.size;
    if (data.length > 0) {
      put(file.node, at, data);
      this.#written(file.node);
    }
    if (offset === undefined && data.length > 0) file.position = at + data.length;
    return data.length;
  }

  /** Whoever writes without CAP_FSETID takes what lets the file run as somebody else (write(2), truncate(2)). */
  #written(node: Node): void {
    if (!this.#isRoot) dropPrivileges(node);
  }

  #touch(map: number, fill: number | undefined): Outcome {
    const mapping = this.maps.get(map);
    const length = this.mappedBytes(map);
    if (mapping === undefined) return undefined;
    if (fill === undefined) return Buffer.from(mapping.node.bytes.subarray(mapping.offset, mapping.offset + length));
    mapping.node.bytes.set(pattern(length, fill), mapping.offset);
    return 0;
  }

  #lseek(file: OpenFile, offset: number, whence: number): Outcome {
    const from = [0, file.position, file.node.size][whence] ?? 0;
    if (from + offset < 0) return 'EINVAL';
    return (file.position = from + offset);
  }

  #make(path: string, node: () => Node): Outcome {
    const place = this.#find(path, false);
    if (isError(place)) return place;
    if (place.node !== undefined) return 'EEXIST';
    this.#enter(place, node());
    return 0;
  }

  /** @param fromSlot an open file without a name is linkable only if it never had one */
  #link(node: Node, to: string, fromSlot: boolean): Outcome {
    const place = this.#find(to, false);
    if (isError(place)) return place;
    if (place.node !== undefined) return 'EEXIST';
    if (fromSlot && node.links === 0 && !node.isUnnamed) return 'ENOENT';
    if (node.isDirectory) return 'EPERM';
    if (this.quotas.of(node) !== this.quotas.of(place.directory)) return 'EXDEV';
    node.links++;
    node.isUnnamed = false;
    place.directory.entries.set(place.name, node);
    return 0;
  }

  #remove(path: string, isRmdir: boolean): Outcome {
    if (path === '.') return isRmdir ? 'EINVAL' : 'EISDIR';
    const place = this.#find(path, false);
    if (isError(place)) return place;
    const { directory, name, node } = place;
    if (node === undefined) return 'ENOENT';
    if (isRmdir && !node.isDirectory) return 'ENOTDIR';
    if (!isRmdir && node.isDirectory) return 'EISDIR';
    if (isRmdir && node.entries.size > 0) return 'ENOTEMPTY';
    directory.entries.delete(name);
    this.#drop(directory, node);
    return 0;
  }

  #rename(path: string, to: string, flags: 0 | 1 | 2): Outcome {
    const from = this.#find(path, false, true);
    if (isError(from)) return from;
    const target = this.#find(to, false, true);
    if (isError(target)) return target;
    if (path === '.' || to === '.') return 'EBUSY';
    const long = [from, target].some(({ name }) => name.length > NAME_MAX);
    if (from.name.length > NAME_MAX) return 'ENAMETOOLONG';
    if (from.node === undefined) return 'ENOENT';
    if (long) return 'ENAMETOOLONG';
    if (flags === 1 && target.node !== undefined) return 'EEXIST';
    if (flags === 2 && target.node === undefined) return 'ENOENT';
    if (isBelow(target.directory, from.node)) return 'EINVAL';
    if (target.node !== undefined && isBelow(from.directory, target.node)) return flags === 2 ? 'EINVAL' : 'ENOTEMPTY';
    if (from.node === target.node) return 0;
    const crosses = this.quotas.of(from.directory) !== this.quotas.of(target.directory);
    if (crosses && flags === 2) return 'EXDEV';
    if (flags === 2 && target.node !== undefined) {
      moveTo(from.directory, target.directory, target.name, from.node);
      moveTo(target.directory, from.directory, from.name, target.node);
      return 0;
    }
    if (target.node !== undefined) {
      if (from.node.isDirectory && !target.node.isDirectory) return 'ENOTDIR';
      if (!from.node.isDirectory && target.node.isDirectory) return 'EISDIR';
      if (crosses) return 'EXDEV';
      if (target.node.entries.size > 0) return 'ENOTEMPTY';
      this.#drop(target.directory, target.node);
    } else if (crosses) return 'EXDEV';
    from.directory.entries.delete(from.name);
    moveTo(from.directory, target.directory, target.name, from.node);
    return 0;
  }

  /** A directory takes its quota along. */
  #drop(directory: Node, node: Node): void {
    dropName(directory, node);
    if (node.isDirectory) this.quotas.remove(node);
  }

  #enter({ directory, name }: Place, node: Node): Node {
    inherit(node, directory, umask);
    this.quotas.inherit(node, directory);
    node.isCow = directory.isCow;
    directory.entries.set(name, node);
    if ((directory.permissions & 0o2000) !== 0) {
      node.gid = directory.gid;
      if (node.isDirectory) node.permissions |= 0o2000;
    }
    if (node.isDirectory) {
      node.parent = directory;
      directory.links++;
    }
    return node;
  }

  #there(path: string, follows: boolean): Node | string {
    const place = this.#find(path, follows);
    if (isError(place)) return place;
    return place.node ?? 'ENOENT';
  }

  /** @param laterName the caller looks at the length of the last name itself */
  #find(path: string, follows: boolean, laterName = false): Place | string {
    return find(this.root, path, follows, laterName);
  }
}

/** Programs of ours take paths as text. */
function isPlain(path: string): boolean {
  return /^[ -~]*$/.test(path);
}
