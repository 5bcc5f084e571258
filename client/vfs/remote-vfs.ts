/** A filesystem of a server as a `Vfs`: names and attributes from the metadata server, bytes from the device. */
import { FsError } from '../../fs/errors.ts';
import { isSnapshotsIno } from '../../fs/format/snapshots.ts';
import { type Name, nameFromBytes, nameToBytes } from '../../fs/name.ts';
import { after } from '../../fs/reply.ts';
import type {
  Attr,
  Caller,
  DirEntry,
  DirEntryPlus,
  FallocateMode,
  Handle,
  MappedExtent,
  RenameMode,
  Reply,
  SetAttr,
  StatFs,
  Vfs,
  WritePlace,
} from '../../fs/vfs.ts';
import {
  attrFromWire,
  createKind,
  modeToWire,
  openTarget,
  operations,
  type RequestOf,
  renameModes,
  setAttrToWire,
  type WireAttr,
  wireLimits,
  xattrModes,
} from '../../mds/protocol/index.ts';
import { clientLimits } from '../limits.ts';
import type { OpenFiles } from '../open-files.ts';
import type { Session } from '../session.ts';
import { FileOperations } from './file-operations.ts';
import { UserRequests, unless } from './requests.ts';

/** What an executable may do beyond its user (capabilities(7)). */
const capability = 'security.capability';

/**
 * Nothing of names and attributes is kept here: the kernel believes them as briefly as the mount says, and each answer is
 * the server's. What this client changes the kernel knows at once, since it asked for it.
 */
export class RemoteVfs implements Vfs {
  readonly rootIno: number;
  readonly hasAcls = true;
  readonly takesPrivileges = true;
  readonly #users: UserRequests;
  readonly #files: FileOperations;
  /** Made here, without capabilities: the kernel asks before the first write to each. */
  readonly #new = new Set<number>();
  /** As last heard. */
  #root: Attr;
  #space: StatFs | undefined;

  /** `root`: the directory that is mounted. */
  constructor(session: Session, files: OpenFiles, root: Attr) {
    this.rootIno = root.ino;
    this.#root = root;
    this.#users = new UserRequests(session);
    this.#files = new FileOperations(session, this.#users, files);
  }

  /** `.snapshots` (fs/format/snapshots.ts). */
  mirrors(ino: number): boolean {
    return isSnapshotsIno(ino);
  }

  // Names.

  async lookup(parent: number, name: Name | '.' | '..', by: Caller): Promise<Attr> {
    const found = await this.find(parent, name, by);
    if (found === undefined) throw new FsError('ENOENT', { ino: parent, name });
    return found;
  }

  find(parent: number, name: Name | '.' | '..', by: Caller): Reply<Attr | undefined> {
    if (name === '.') return this.getattr(parent);
    if (name === '..') return parent === this.rootIno ? this.getattr(parent) : this.#parentOf(parent, by);
    const found = this.#users.ask(operations.LOOKUP, [parent, nameToBytes(name)], by);
    return after(unless(found, 'ENOENT'), (reply) => (reply === undefined ? undefined : this.#attr(reply[0])));
  }

  #parentOf(ino: number, by: Caller): Reply<Attr> {
    return after(this.#users.ask(operations.LOOKUPP, [ino], by), ([attr]) => this.#attr(attr));
  }

  /** The server keeps what is open; names that are only known need nothing there. */
  remember(_ino: number, _count: number): void {}

  forget(ino: number, _count: number): void {
    this.#files.forget(ino);
    this.#new.delete(ino);
  }

  mkdir(parent: number, name: Name, mode: number, by: Caller): Reply<Attr> {
    return this.#create(parent, name, [createKind.directory, modeToWire(mode & 0o7777, by.umask)], by);
  }

  mknod(parent: number, name: Name, mode: number, rdev: number, by: Caller): Reply<Attr> {
    return this.#create(parent, name, [createKind.node, modeToWire(mode, by.umask), rdev], by);
  }

  symlink(parent: number, name: Name, target: Uint8Array, by: Caller): Reply<Attr> {
    if (target.length === 0) throw new FsError('ENOENT', { ino: parent, name, detail: 'empty target' });
    if (target.length > wireLimits.symlinkMax) throw new FsError('ENAMETOOLONG', { ino: parent, name });
    return this.#create(parent, name, [createKind.symlink, target], by);
  }

  #create(parent: number, name: Name, what: RequestOf<typeof operations.CREATE>[2], by: Caller): Reply<Attr> {
    const made = this.#users.ask(operations.CREATE, [parent, nameToBytes(name), what], by);
    return after(made, ([attr]) => this.#attr(attr));
  }

  readlink(ino: number, by: Caller): Reply<Uint8Array> {
    return after(this.#users.ask(operations.READLINK, [ino], by), ([target]) => target);
  }

  link(ino: number, parent: number, name: Name, by: Caller): Reply<Attr> {
    const linked = this.#users.ask(operations.LINK, [ino, parent, nameToBytes(name)], by);
    return after(linked, ([attr]) => this.#attr(attr));
  }

  unlink(parent: number, name: Name, by: Caller): Reply<void> {
    return after(this.#users.ask(operations.REMOVE, [parent, nameToBytes(name), false], by), nothing);
  }

  rmdir(parent: number, name: Name, by: Caller): Reply<void> {
    return after(this.#users.ask(operations.REMOVE, [parent, nameToBytes(name), true], by), nothing);
  }

  rename(parent: number, name: Name, toParent: number, toName: Name, mode: RenameMode, by: Caller): Reply<void> {
    const how = renameModes.indexOf(mode);
    const args: RequestOf<typeof operations.RENAME> = [parent, nameToBytes(name), toParent, nameToBytes(toName), how];
    return after(this.#users.ask(operations.RENAME, args, by), nothing);
  }

  opendir(ino: number, by: Caller): Reply<Handle> {
    return this.#files.handles.add({ kind: 'directory', ino, by });
  }

  readdir(handle: Handle, cookie: number, limit: number): Reply<readonly DirEntry[]> {
    return after(this.#list(handle, cookie, limit, false), (list) => list.map(({ entry }) => entry));
  }

  readdirPlus(handle: Handle, cookie: number, limit: number): Reply<readonly DirEntryPlus[]> {
    return this.#list(handle, cookie, limit, true);
  }

  #list(handle: Handle, cookie: number, limit: number, withAttrs: boolean): Reply<readonly DirEntryPlus[]> {
    const { ino, by } = this.#files.handles.directory(handle);
    const most = Math.min(limit, wireLimits.direntsMax);
    const listed = this.#users.ask(operations.READDIR, [ino, cookie, most, withAttrs], by);
    // A directory that was removed while it is open lists nothing (readdir(3)).
    return after(unless(listed, 'ESTALE', 'ENOENT'), (reply) =>
      (reply?.[0] ?? []).map(([bytes, entryIno, type, next, wire]) => {
        const entry = { name: listedName(bytes), ino: entryIno, type, cookie: next };
        const isOther = entry.name !== '.' && entry.name !== '..';
        return { entry, attr: wire === null || !isOther ? undefined : this.#attr(wire) };
      }),
    );
  }

  // Attributes.

  getattr(ino: number, by?: Caller): Reply<Attr> {
    if (ino === this.rootIno) {
      const asked = this.#users.ask(operations.GETATTR, [ino], by).then(([attr]) => (this.#root = attrFromWire(attr)));
      return orAsKnown(asked, () => this.#root);
    }
    return after(this.#files.committed(ino), () =>
      after(this.#users.ask(operations.GETATTR, [ino], by), ([attr]) => this.#attr(attr)),
    );
  }

  setattr(ino: number, changes: SetAttr, by: Caller, handle?: Handle): Reply<Attr> {
    const set = () =>
      after(this.#stateOf(handle), (stateid) =>
        after(
          this.#users.ask(operations.SETATTR, [ino, stateid, setAttrToWire(changes)], by, stateid !== null),
          ([attr]) => attrFromWire(attr),
        ),
      );
    // A commit sets the times as well: before, not after.
    return after(this.#files.committed(ino), () =>
      changes.size === undefined ? set() : this.#files.resized(ino, changes.size, set),
    );
  }

  #stateOf(handle: Handle | undefined) {
    const open = handle === undefined ? undefined : this.#files.handles.peek(handle);
    return open?.kind === 'file' && open.open.writable ? open.open.stateid() : null;
  }

  access(ino: number, mask: number, by: Caller): Reply<void> {
    return after(this.#users.ask(operations.ACCESS, [ino, mask & 7], by), nothing);
  }

  findxattr(ino: number, name: string, by: Caller): Reply<Uint8Array | undefined> {
    if (name === capability && this.#new.has(ino)) return undefined;
    const found = this.#users.ask(operations.GETXATTR, [ino, Buffer.from(name, 'latin1')], by);
    return after(unless(found, 'ENODATA'), (reply) => reply?.[0]);
  }

  getxattr(ino: number, name: string, by: Caller): Reply<Uint8Array> {
    return after(this.#users.ask(operations.GETXATTR, [ino, Buffer.from(name, 'latin1')], by), ([value]) => value);
  }

  listxattr(ino: number, by: Caller): Reply<readonly string[]> {
    return after(this.#users.ask(operations.LISTXATTRS, [ino], by), ([names]) =>
      names.map((name) => Buffer.from(name).toString('latin1')),
    );
  }

  setxattr(ino: number, name: string, value: Uint8Array, mode: (typeof xattrModes)[number], by: Caller): Reply<void> {
    const args: RequestOf<typeof operations.SETXATTR> = [
      ino,
      Buffer.from(name, 'latin1'),
      value,
      xattrModes.indexOf(mode),
    ];
    this.#new.delete(ino);
    return after(this.#users.ask(operations.SETXATTR, args, by), nothing);
  }

  removexattr(ino: number, name: string, by: Caller): Reply<void> {
    // The kernel takes capabilities from whatever is written, whoever writes (file_remove_privs); users it has checked.
    const who = name === capability ? undefined : by;
    return after(this.#users.ask(operations.REMOVEXATTR, [ino, Buffer.from(name, 'latin1')], who), nothing);
  }

  statfs(ino?: number): Reply<StatFs> {
    const ask = () => this.#users.ask(operations.STATFS, [ino ?? null], undefined);
    const found = Promise.resolve(after(this.#files.released(), ask)).then(
      ([blockSize, blocks, blocksFree, blocksAvailable, files, filesFree, nameMax]) => {
        this.#space = { blockSize, blocks, blocksFree, blocksAvailable, files, filesFree, nameMax };
        return this.#space;
      },
    );
    return orAsKnown(found, () => this.#space);
  }

  // Files.

  create(parent: number, name: Name, mode: number, flags: number, by: Caller) {
    const target: RequestOf<typeof operations.OPEN>[0] = [
      openTarget.create,
      parent,
      nameToBytes(name),
      modeToWire(mode & 0o7777, by.umask),
      true,
    ];
    return after(this.#files.open(target, flags, by), (opened) => {
      this.#new.add(opened.attr.ino);
      return opened;
    });
  }

  tmpfile(parent: number, mode: number, flags: number, by: Caller) {
    return this.#files.open([openTarget.unnamed, parent, modeToWire(mode & 0o7777, by.umask)], flags, by);
  }

  open(ino: number, flags: number, by: Caller): Reply<Handle> {
    return this.#files.open([openTarget.inode, ino], flags, by).then(({ handle }) => handle);
  }

  keepsPages(handle: Handle): boolean {
    return this.#files.handles.file(handle).unchanged;
  }

  /** The inodes of which the kernel may have pages; it is not to keep them at the next open. */
  forgetPages(): readonly number[] {
    return this.#files.forgetPages();
  }

  flush(handle: Handle): Reply<void> {
    return this.#files.flush(handle);
  }

  release(handle: Handle): Reply<void> {
    const open = this.#files.handles.remove(handle);
    return open?.kind === 'file' ? this.#files.release(open) : undefined;
  }

  read<T>(
    handle: Handle,
    offset: number,
    length: number,
    _by: Caller,
    use: (pieces: readonly Uint8Array[]) => T,
  ): Reply<T> {
    return this.#files.read(handle, offset, length, use);
  }

  write(handle: Handle, offset: number, data: Uint8Array, _by: Caller, at?: WritePlace): Reply<number> {
    return this.#files.write(handle, offset, data, at);
  }

  fallocate(handle: Handle, mode: FallocateMode, offset: number, length: number, by: Caller): Reply<void> {
    return this.#files.fallocate(handle, mode, offset, length, by);
  }

  seek(handle: Handle, offset: number, whence: 'data' | 'hole', by: Caller): Reply<number> {
    return this.#files.seek(handle, offset, whence, by);
  }

  copyRange(from: Handle, fromOffset: number, to: Handle, toOffset: number, length: number, by: Caller): Reply<number> {
    return this.#files.copyRange(from, fromOffset, to, toOffset, length, by);
  }

  map(handle: Handle, from: number, limit: number, by: Caller): Reply<readonly MappedExtent[]> {
    return this.#files.map(handle, from, limit, by);
  }

  fsync(ino: number, dataOnly: boolean): Reply<void> {
    return this.#files.fsync(ino, dataOnly);
  }

  syncfs(): Reply<void> {
    return after(this.#files.syncAll(), () => after(this.#users.ask(operations.SYNCFS, [], undefined), nothing));
  }

  #attr(wire: WireAttr): Attr {
    const attr = attrFromWire(wire);
    return { ...attr, size: this.#files.sizeSeen(attr) };
  }
}

function nothing(): void {}

/**
 * What umount(8) asks before it unmounts, and df(1) of every mount there is: it has an answer although the server gives
 * none.
 */
async function orAsKnown<T>(asked: Promise<T>, known: () => T | undefined): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, clientLimits.knownAnswersAfterMs, undefined);
  });
  const answered = await Promise.race([asked, late]).catch((error: unknown) => {
    if (error instanceof FsError && error.code === 'ETIMEDOUT') return undefined;
    throw error;
  });
  clearTimeout(timer);
  return answered ?? known() ?? (await asked);
}

function listedName(bytes: Uint8Array): DirEntry['name'] {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
  return text === '.' || text === '..' ? text : nameFromBytes(bytes);
}
