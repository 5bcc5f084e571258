/**
 * A `Vfs` in a few maps: the plainest thing a front end can serve, so that a front end's tests fail for the front
 * end's own faults. Checks no permissions (the kernel does) and knows no layouts; everything is answered at once,
 * unless `delayed` makes promises of the answers.
 */
import { type ErrnoName, FsError } from '../../fs/errors.ts';
import type { Name } from '../../fs/name.ts';
import type {
  Attr,
  Caller,
  DirEntry,
  FallocateMode,
  Handle,
  RenameMode,
  SetAttr,
  StatFs,
  Timespec,
  Vfs,
  WritePlace,
} from '../../fs/vfs.ts';

const typeMask = 0o170000;
const directory = 0o040000;
const regular = 0o100000;
const link = 0o120000;
const append = 0o2000;
const truncate = 0o1000;
const blockSize = 4096;

interface Node {
  readonly ino: number;
  mode: number;
  uid: number;
  gid: number;
  rdev: number;
  nlink: number;
  /** How often a front end holds it, by lookups and by open files. */
  held: number;
  size: number;
  data: Buffer;
  readonly entries: Map<Name, { readonly ino: number; readonly cookie: number }>;
  parent: number;
  readonly xattrs: Map<string, Uint8Array>;
  atime: Timespec;
  mtime: Timespec;
  ctime: Timespec;
  readonly btime: Timespec;
  change: number;
}

export class MemoryVfs implements Vfs {
  readonly rootIno: number;
  readonly #nodes = new Map<number, Node>();
  readonly #open = new Map<number, { readonly node: Node; readonly flags: number }>();
  #nextIno: number;
  #nextHandle = 1;
  #nextCookie = 3;

  constructor(rootIno = 1) {
    this.rootIno = rootIno;
    this.#nextIno = rootIno;
    const root = this.#add(directory | 0o755, { uid: 0, gid: 0 }, 0);
    root.nlink = 2;
    root.parent = rootIno;
  }

  /** Inodes alive, the root included; held ones and those with a name. */
  get inodes(): number {
    return this.#nodes.size;
  }

  /** Lookups that a front end has not forgotten, and open files. */
  get held(): number {
    let sum = 0;
    for (const { held } of this.#nodes.values()) sum += held;
    return sum;
  }

  get openFiles(): number {
    return this.#open.size;
  }

  lookup(parent: number, name: Name | '.' | '..'): Attr {
    const dir = this.#dir(parent);
    if (name === '.') return attrOf(dir);
    if (name === '..') return attrOf(this.#node(dir.parent));
    return attrOf(this.#child(dir, name));
  }

  find(parent: number, name: Name | '.' | '..'): Attr | undefined {
    try {
      return this.lookup(parent, name);
    } catch (error) {
      if (error instanceof FsError && error.code === 'ENOENT') return undefined;
      throw error;
    }
  }

  remember(ino: number, count: number): void {
    this.#node(ino).held += count;
  }

  forget(ino: number, count: number): void {
    this.#drop(this.#node(ino), count);
  }

  getattr(ino: number): Attr {
    return attrOf(this.#node(ino));
  }

  setattr(ino: number, changes: SetAttr): Attr {
    const node = this.#node(ino);
    const now = currentTime();
    if (changes.mode !== undefined) node.mode = (node.mode & typeMask) | changes.mode;
    if (changes.uid !== undefined) node.uid = changes.uid;
    if (changes.gid !== undefined) node.gid = changes.gid;
    if (changes.size !== undefined) {
      resize(node, changes.size);
      node.mtime = now;
    }
    if (changes.atime !== undefined) node.atime = changes.atime === 'now' ? now : changes.atime;
    if (changes.mtime !== undefined) node.mtime = changes.mtime === 'now' ? now : changes.mtime;
    touch(node);
    return attrOf(node);
  }

  access(): void {}

  create(parent: number, name: Name, mode: number, flags: number, by: Caller): { attr: Attr; handle: Handle } {
    const attr = this.#make(parent, name, regular | (mode & 0o7777), by, 0);
    return { attr, handle: this.#opened(this.#node(attr.ino), flags) };
  }

  mkdir(parent: number, name: Name, mode: number, by: Caller): Attr {
    return this.#make(parent, name, directory | (mode & 0o7777), by, 0);
  }

  mknod(parent: number, name: Name, mode: number, rdev: number, by: Caller): Attr {
    return this.#make(parent, name, mode, by, rdev);
  }

  symlink(parent: number, name: Name, target: Uint8Array, by: Caller): Attr {
    const attr = this.#make(parent, name, link | 0o777, by, 0);
    const node = this.#node(attr.ino);
    node.data = Buffer.from(target);
    node.size = target.byteLength;
    return attrOf(node);
  }

  tmpfile(_parent: number, mode: number, flags: number, by: Caller): { attr: Attr; handle: Handle } {
    const node = this.#add(regular | (mode & 0o7777), by, 0);
    node.nlink = 0;
    return { attr: attrOf(node), handle: this.#opened(node, flags) };
  }

  readlink(ino: number): Uint8Array {
    return this.#node(ino).data;
  }

  link(ino: number, parent: number, name: Name): Attr {
    const node = this.#node(ino);
    const dir = this.#dir(parent);
    this.#requireFree(dir, name);
    node.nlink++;
    this.#enter(dir, name, node);
    return attrOf(node);
  }

  unlink(parent: number, name: Name): void {
    const dir = this.#dir(parent);
    const node = this.#child(dir, name);
    if (isDirectory(node)) throw fail('EISDIR', parent, name);
    this.#leave(dir, name, node);
  }

  rmdir(parent: number, name: Name): void {
    const dir = this.#dir(parent);
    const node = this.#child(dir, name);
    if (!isDirectory(node)) throw fail('ENOTDIR', parent, name);
    if (node.entries.size > 0) throw fail('ENOTEMPTY', parent, name);
    dir.nlink--;
    node.nlink--;
    this.#leave(dir, name, node);
  }

  rename(parent: number, name: Name, toParent: number, toName: Name, mode: RenameMode): void {
    const from = this.#dir(parent);
    const to = this.#dir(toParent);
    const node = this.#child(from, name);
    const target = to.entries.get(toName);
    if (mode.startsWith('noreplace') && target !== undefined) throw fail('EEXIST', toParent, toName);
    if (mode === 'exchange') {
      const other = this.#child(to, toName);
      from.entries.delete(name);
      to.entries.delete(toName);
      this.#enter(to, toName, node);
      this.#enter(from, name, other);
      return;
    }
    if (target?.ino === node.ino) return;
    if (target !== undefined) {
      if (isDirectory(this.#node(target.ino))) this.rmdir(toParent, toName);
      else this.unlink(toParent, toName);
    }
    from.entries.delete(name);
    if (isDirectory(node)) {
      from.nlink--;
      to.nlink++;
    }
    this.#enter(to, toName, node);
    touch(from);
  }

  open(ino: number, flags: number): Handle {
    const node = this.#node(ino);
    if ((flags & truncate) !== 0) resize(node, 0);
    return this.#opened(node, flags);
  }

  opendir(ino: number): Handle {
    return this.#opened(this.#dir(ino), 0);
  }

  release(handle: Handle): void {
    const { node } = this.#file(handle);
    this.#open.delete(handle);
    this.#drop(node, 1);
  }

  read<T>(handle: Handle, offset: number, length: number, _by: Caller, use: (pieces: readonly Uint8Array[]) => T): T {
    const { node } = this.#file(handle);
    node.atime = currentTime();
    return use([node.data.subarray(Math.min(offset, node.size), Math.min(offset + length, node.size))]);
  }

  write(handle: Handle, offset: number, data: Uint8Array, _by?: Caller, place?: WritePlace): number {
    const { node, flags } = this.#file(handle);
    const at = (flags & append) !== 0 && place !== 'offset' ? node.size : offset;
    if (at + data.byteLength > node.size) resize(node, at + data.byteLength);
    node.data.set(data, at);
    node.mtime = touch(node);
    return data.byteLength;
  }

  fallocate(handle: Handle, mode: FallocateMode, offset: number, length: number): void {
    const { node } = this.#file(handle);
    const end = offset + length;
    if (mode === 'collapse' || mode === 'insert') throw fail('EOPNOTSUPP', node.ino);
    if ((mode === 'allocate' || mode === 'zero') && end > node.size) resize(node, end);
    if (mode === 'punch' || mode.startsWith('zero'))
      node.data.fill(0, Math.min(offset, node.size), Math.min(end, node.size));
    touch(node);
  }

  /** Every file is one piece of data with a hole at its end. */
  seek(handle: Handle, offset: number, whence: 'data' | 'hole'): number {
    const { node } = this.#file(handle);
    if (offset >= node.size) throw fail('ENXIO', node.ino);
    return whence === 'data' ? offset : node.size;
  }

  copyRange(from: Handle, fromOffset: number, to: Handle, toOffset: number, length: number): number {
    const source = this.#file(from).node;
    const data = Buffer.from(
      source.data.subarray(Math.min(fromOffset, source.size), Math.min(fromOffset + length, source.size)),
    );
    return data.length === 0 ? 0 : this.write(to, toOffset, data);
  }

  fsync(): void {}

  syncfs(): void {}

  readdir(handle: Handle, cookie: number, limit: number): readonly DirEntry[] {
    const { node } = this.#file(handle);
    const entries: DirEntry[] = [];
    if (cookie < 1) entries.push({ name: '.', ino: node.ino, type: directory, cookie: 1 });
    if (cookie < 2) entries.push({ name: '..', ino: node.parent, type: directory, cookie: 2 });
    for (const [name, entry] of node.entries) {
      if (entries.length >= limit) break;
      if (entry.cookie > cookie)
        entries.push({ name, ino: entry.ino, type: this.#node(entry.ino).mode & typeMask, cookie: entry.cookie });
    }
    return entries.slice(0, limit);
  }

  findxattr(ino: number, name: string): Uint8Array | undefined {
    return this.#node(ino).xattrs.get(name);
  }

  getxattr(ino: number, name: string): Uint8Array {
    const value = this.findxattr(ino, name);
    if (value === undefined) throw fail('ENODATA', ino);
    return value;
  }

  listxattr(ino: number): readonly string[] {
    return [...this.#node(ino).xattrs.keys()];
  }

  setxattr(ino: number, name: string, value: Uint8Array, mode: 'either' | 'create' | 'replace'): void {
    const { xattrs } = this.#node(ino);
    if (mode === 'create' && xattrs.has(name)) throw fail('EEXIST', ino);
    if (mode === 'replace' && !xattrs.has(name)) throw fail('ENODATA', ino);
    xattrs.set(name, Uint8Array.from(value));
  }

  removexattr(ino: number, name: string): void {
    if (!this.#node(ino).xattrs.delete(name)) throw fail('ENODATA', ino);
  }

  statfs(): StatFs {
    const blocks = 2 ** 20;
    const files = this.#nodes.size;
    return {
      blockSize,
      blocks,
      blocksFree: blocks / 2,
      blocksAvailable: blocks / 2,
      files,
      filesFree: 1000,
      nameMax: 255,
    };
  }

  #make(parent: number, name: Name, mode: number, by: Caller, rdev: number): Attr {
    const dir = this.#dir(parent);
    this.#requireFree(dir, name);
    const node = this.#add(mode, by, rdev);
    if (isDirectory(node)) {
      node.nlink++;
      dir.nlink++;
    }
    this.#enter(dir, name, node);
    return attrOf(node);
  }

  #add(mode: number, by: { readonly uid: number; readonly gid: number }, rdev: number): Node {
    const now = currentTime();
    const node: Node = {
      ino: this.#nextIno++,
      mode,
      uid: by.uid,
      gid: by.gid,
      rdev,
      nlink: 1,
      held: 0,
      size: 0,
      data: Buffer.alloc(0),
      entries: new Map(),
      parent: 0,
      xattrs: new Map(),
      atime: now,
      mtime: now,
      ctime: now,
      btime: now,
      change: 1,
    };
    this.#nodes.set(node.ino, node);
    return node;
  }

  #enter(dir: Node, name: Name, node: Node): void {
    dir.entries.set(name, { ino: node.ino, cookie: this.#nextCookie++ });
    if (isDirectory(node)) node.parent = dir.ino;
    dir.mtime = touch(dir);
    touch(node);
  }

  #leave(dir: Node, name: Node | Name, node: Node): void {
    if (typeof name === 'string') dir.entries.delete(name);
    dir.mtime = touch(dir);
    node.nlink--;
    touch(node);
    this.#drop(node, 0);
  }

  #drop(node: Node, count: number): void {
    node.held -= count;
    if (node.held === 0 && node.nlink === 0) this.#nodes.delete(node.ino);
  }

  #opened(node: Node, flags: number): Handle {
    node.held++;
    this.#open.set(this.#nextHandle, { node, flags });
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- this filesystem's brand
    return this.#nextHandle++ as Handle;
  }

  #requireFree(dir: Node, name: Name): void {
    if (dir.entries.has(name)) throw fail('EEXIST', dir.ino, name);
  }

  #child(dir: Node, name: Name): Node {
    const entry = dir.entries.get(name);
    if (entry === undefined) throw fail('ENOENT', dir.ino, name);
    return this.#node(entry.ino);
  }

  #dir(ino: number): Node {
    const node = this.#node(ino);
    if (!isDirectory(node)) throw fail('ENOTDIR', ino);
    return node;
  }

  #node(ino: number): Node {
    const node = this.#nodes.get(ino);
    if (node === undefined) throw fail('ESTALE', ino);
    return node;
  }

  #file(handle: Handle): { readonly node: Node; readonly flags: number } {
    const file = this.#open.get(handle);
    if (file === undefined) throw new FsError('EBADF', { detail: `handle ${handle}` });
    return file;
  }
}

function isDirectory(node: Node): boolean {
  return (node.mode & typeMask) === directory;
}

function resize(node: Node, size: number): void {
  if (size > node.data.length) {
    const grown = Buffer.alloc(Math.max(size, 2 * node.data.length));
    node.data.copy(grown, 0, 0, node.size);
    node.data = grown;
  }
  if (size < node.size) node.data.fill(0, size, node.size);
  node.size = size;
}

function touch(node: Node): Timespec {
  node.ctime = currentTime();
  node.change++;
  return node.ctime;
}

const epoch = BigInt(Date.now()) * 1_000_000n - process.hrtime.bigint();

/** To the nanosecond, so that what comes later has a later time. */
function currentTime(): Timespec {
  const now = epoch + process.hrtime.bigint();
  return { sec: Number(now / 1_000_000_000n), nsec: Number(now % 1_000_000_000n) };
}

function attrOf(node: Node): Attr {
  const { ino, mode, nlink, uid, gid, rdev, size, atime, mtime, ctime, btime, change } = node;
  const blocks = Math.ceil(size / 512);
  return { ino, mode, nlink, uid, gid, rdev, size, blocks, atime, mtime, ctime, btime, change };
}

function fail(code: ErrnoName, ino: number, name?: Name): FsError {
  return new FsError(code, name === undefined ? { ino } : { ino, name });
}

/** The same filesystem, but every answer comes after `wait`: what a front end sees of a Vfs that waits. */
export function delayed(vfs: Vfs, wait: () => Promise<void>): Vfs {
  return new Proxy(vfs, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key, target);
      if (typeof value !== 'function') return value;
      const call = (args: unknown[]): unknown => Reflect.apply(value, target, args);
      if (key === 'remember' || key === 'forget') return (...args: unknown[]) => call(args);
      return async (...args: unknown[]): Promise<unknown> => {
        await wait();
        return call(args);
      };
    },
  });
}
