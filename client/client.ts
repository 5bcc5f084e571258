import { EventEmitter } from 'node:events';
import type { MappedExtent, SetAttr } from '../fs/vfs.ts';
import { operations } from '../mds/protocol/index.ts';
import { Administration } from './administration.ts';
import { accessMaskOf, type Data, type Mode, modeOf, ownerOf, type Time, timesOf } from './arguments.ts';
import type { SessionBuffers } from './buffers.ts';
import type { Devices, WayReport } from './devices.ts';
import type { ClientError } from './errors.ts';
import type { Counters } from './file-data.ts';
import type { FileHandle } from './file-handle.ts';
import { clientLimits } from './limits.ts';
import { Copies } from './names/copies.ts';
import { Dir } from './names/dir.ts';
import type { Dirent } from './names/dirent.ts';
import { type FilesystemStats, Names } from './names/names.ts';
import { below, Trees } from './names/trees.ts';
import { type XattrMode, Xattrs } from './names/xattrs.ts';
import { OpenFiles } from './open-files.ts';
import { type OpenFlags, parseFlags } from './open-flags.ts';
import { Opening } from './opening.ts';
import { type Limits, type OperationOptions, operation } from './operation.ts';
import type { MkdirOptions, ReaddirOptions, ReadFileOptions, RmOptions, WriteFileOptions } from './options.ts';
import { Paths } from './paths.ts';
import { type OpenOptions, type PinOptions, pinFile } from './pinning.ts';
import { type Place, placeFromWire } from './place.ts';
import { Session, type SessionOptions } from './session.ts';
import { Stats } from './stats.ts';
import { thenClose, type WholeData } from './whole.ts';

export interface ClientEvents {
  /** The connection broke; calls wait, and what is under a layout goes on while the lease lives. */
  disconnect: [];
  /** Connected again, to the same session or to a new one. */
  reconnect: [];
  /**
   * The server gave up all state of this client: its layouts are void, files are opened again as they are used, and what was
   * written and not synced is reclaimed where that is possible (WRITE_LOST says where it was not).
   */
  lost: [ClientError];
  /** The client was closed. */
  close: [];
}

/**
 * A filesystem as a remote program sees it. Paths begin at its root, whether with '/' or without. Every method rejects
 * with ClientError, whose `code` is what node's own fs functions would give.
 *
 * Here calls are given their limits and their errors a context; the work is done by `Names` and `OpenFiles`.
 */
export class Client extends EventEmitter<ClientEvents> {
  readonly counters: Readonly<Counters>;
  /** For those who run the filesystem and its server. */
  readonly admin: Administration;
  /** Memory of the device for as long as the session. */
  readonly buffers: Pick<SessionBuffers, 'alloc' | 'free'>;
  readonly #session: Session;
  readonly #devices: Devices;
  readonly #paths: Paths;
  readonly #names: Names;
  readonly #trees: Trees;
  readonly #copies: Copies;
  readonly #xattrs: Xattrs;
  readonly #opening: Opening;
  readonly #files: OpenFiles;
  readonly #closed: () => void;
  #place: Place | undefined;
  #wasConnected = false;
  #closing: Promise<void> | undefined;

  /** Used by `connect`; `closed` is called once at the end. */
  constructor(options: SessionOptions, devices: (session: Session) => Devices, closed: () => void) {
    super();
    this.#closed = closed;
    this.#session = new Session(options, {
      recall: (recall) => this.#files.recall(recall),
      recallAll: (kind, changed) => this.#files.recallAll(kind, changed),
      recallBuffers: (stateid, offsets) => this.#files.buffers.recalled(stateid, offsets),
      recallAny: (keep) => this.#files.keepOnly(keep),
      putOff: () => this.#files.putOff(),
      available: (ino) => this.#files.available(ino),
      devicesChanged: () => this.#devices.forget(),
      flagged: (flags) => this.#files.flagged(flags),
      lost: (why) => {
        this.#devices.forget();
        this.#files.loseSession(why);
        this.#tell('lost', why);
      },
      reclaim: (send) => this.#files.reclaim(send),
      leaseEnded: () => this.#files.leaseEnded(),
      settling: () => this.#devices.settled,
      disconnected: () => this.#tell('disconnect'),
      connected: () => {
        if (this.#wasConnected) this.#tell('reconnect');
        this.#wasConnected = true;
      },
      quiet: () => this.#files.quiet,
      placed: (place) => {
        this.#place = placeFromWire(place);
      },
    });
    this.#devices = devices(this.#session);
    this.#paths = new Paths(this.#session);
    this.#files = new OpenFiles(this.#session, this.#devices);
    this.buffers = this.#files.buffers;
    this.#opening = new Opening(this.#session, this.#paths);
    this.#names = new Names(this.#session, this.#paths, this.#files);
    this.#trees = new Trees(this.#session, this.#names);
    this.#copies = new Copies(this.#session, this.#paths, this.#files, this.#names, this.#opening);
    this.#xattrs = new Xattrs(this.#session);
    this.admin = new Administration(this.#session, this.#paths, this.#files);
    this.counters = this.#files.counters;
  }

  /** Used by `connect`. */
  async start(signal: AbortSignal | undefined): Promise<void> {
    await this.#devices.check();
    await this.#session.open(signal);
    try {
      await this.#devices.requireForced();
    } catch (error) {
      // The program gets no client that it could close, and an open connection keeps its process alive.
      await this.close();
      throw error;
    }
  }

  /** Connected, or on the way to be again. */
  get state(): Session['state'] {
    return this.#session.state;
  }

  /** How bytes go between this program and the device, the fastest way first, and why not otherwise. */
  ways(): readonly WayReport[] {
    return this.#devices.ways;
  }

  /** How the PCI function that was named to `connect` reaches the device; undefined: none was. */
  get place(): Place | undefined {
    return this.#place;
  }

  // Files.

  /**
   * @param flags as node takes them, or numbers of open(2)
   * @param mode permission bits of a file that is created, 0644 by default; no umask is applied. Or the options
   * @throws ClientError NOENT, EXIST, ISDIR, ACCESS, LOOP…; of a pinned file also as `pin`
   */
  async open(
    path: string,
    flags: OpenFlags = 'r',
    mode: Mode | OpenOptions = 0o644,
    options: OpenOptions | undefined = typeof mode === 'object' ? mode : undefined,
  ): Promise<FileHandle> {
    const opened = async (limits: Limits): Promise<FileHandle> => {
      const parsed = parseFlags(flags);
      const bits = typeof mode === 'object' ? 0o644 : modeOf(mode);
      const pin = options?.pinned === true ? options : undefined;
      const found = await this.#opening.open(path, parsed, bits, limits, pin);
      return this.#files.add(path, { ...parsed, truncate: parsed.truncate || pin !== undefined }, found);
    };
    return await this.#do('open', path, options, opened, (late) => late.close());
  }

  /**
   * The file lies in one piece from now on, at a multiple of `align`, and never moves (docs/files.md).
   * @throws ClientError NOSPC (the message names the largest piece), DQUOT, INVAL, FILE_OPEN (EBUSY: pinned otherwise, or
   * changed meanwhile), NOTSUPP (a `cow` file), PERM
   */
  async pin(path: string, pin: PinOptions = {}, options?: OperationOptions): Promise<void> {
    await this.#do('pin', path, options, async (limits) => {
      const { ino } = await this.#paths.find(path, true, limits);
      await this.#files.find(ino)?.commit();
      await pinFile(this.#session, ino, pin, limits);
      this.#files.find(ino)?.data.doubtSize();
    });
  }

  /** An ordinary file again. */
  async unpin(path: string, options?: OperationOptions): Promise<void> {
    await this.#do('unpin', path, options, async (limits) => {
      const { ino } = await this.#paths.find(path, true, limits);
      await this.#session.call(operations.UNPIN, [ino], limits);
    });
  }

  readFile(path: string, options?: ReadFileOptions<null>): Promise<Buffer>;
  readFile(path: string, options: BufferEncoding | ReadFileOptions<BufferEncoding>): Promise<string>;
  /** All of a file. `flag` is `r` by default. @throws ClientError as `open`; FBIG from 2 GiB on */
  async readFile(
    path: string,
    options?: BufferEncoding | ReadFileOptions<BufferEncoding | null>,
  ): Promise<Buffer | string> {
    const { encoding, flag = 'r', ...limits } = typeof options === 'string' ? { encoding: options } : (options ?? {});
    return await this.#do('open', path, limits, async (within) => {
      const file = await this.open(path, flag, undefined, within);
      const content = await thenClose(file, () => file.readFile(within));
      return typeof encoding === 'string' ? content.toString(encoding) : content;
    });
  }

  /**
   * Makes or replaces a file; durable, and seen by others, when it settles. `flag` is `w` by default.
   * @throws ClientError as `open`; NOSPC, DQUOT
   */
  async writeFile(path: string, data: WholeData, options?: BufferEncoding | WriteFileOptions): Promise<void> {
    const {
      encoding,
      flag = 'w',
      mode,
      ...limits
    } = typeof options === 'string' ? { encoding: options } : (options ?? {});
    await this.#do('open', path, limits, async (within) => {
      const file = await this.open(path, flag, mode, within);
      await thenClose(file, () => file.writeFile(data, { ...within, encoding: encoding ?? null }));
    });
  }

  /** At the end, also of what others append meanwhile. @throws ClientError as `writeFile` */
  async appendFile(path: string, data: WholeData, options?: BufferEncoding | WriteFileOptions): Promise<void> {
    const given = typeof options === 'string' ? { encoding: options } : options;
    await this.writeFile(path, data, { flag: 'a', ...given });
  }

  /**
   * On the same blocks where they can be shared; no byte passes this client. What this client wrote counts.
   * @param mode 0, or fs.constants.COPYFILE_EXCL: EXIST where `to` is there. It clones in any case
   */
  async copyFile(from: string, to: string, mode = 0, options?: OperationOptions): Promise<void> {
    await this.#do('copyfile', from, options, (limits) => this.#copies.copyFile(from, to, mode, limits));
  }

  async truncate(path: string, size = 0, options?: OperationOptions): Promise<void> {
    await this.#do('truncate', path, options, (limits) => this.#names.truncate(path, size, limits));
  }

  /** Where the blocks of the file are; what this client wrote counts. */
  async map(path: string, options?: OperationOptions): Promise<MappedExtent[]> {
    return await this.#do('map', path, options, (limits) => this.#names.map(path, limits));
  }

  // Attributes.

  async stat(path: string, options?: OperationOptions): Promise<Stats> {
    return await this.#do(
      'stat',
      path,
      options,
      async (limits) => new Stats(await this.#names.stat(path, true, limits)),
    );
  }

  async lstat(path: string, options?: OperationOptions): Promise<Stats> {
    return await this.#do(
      'lstat',
      path,
      options,
      async (limits) => new Stats(await this.#names.stat(path, false, limits)),
    );
  }

  /** @param mode fs.constants.F_OK (the default), or R_OK, W_OK, X_OK. @throws ClientError ACCESS, NOENT, ROFS */
  async access(path: string, mode = 0, options?: OperationOptions): Promise<void> {
    await this.#do('access', path, options, (limits) => this.#names.access(path, accessMaskOf(mode), limits));
  }

  async chmod(path: string, mode: Mode, options?: OperationOptions): Promise<void> {
    await this.#set('chmod', path, true, () => ({ mode: modeOf(mode) }), options);
  }

  async chown(path: string, uid: number, gid: number, options?: OperationOptions): Promise<void> {
    await this.#set('chown', path, true, () => ownerOf(uid, gid), options);
  }

  async lchown(path: string, uid: number, gid: number, options?: OperationOptions): Promise<void> {
    await this.#set('lchown', path, false, () => ownerOf(uid, gid), options);
  }

  async utimes(path: string, atime: Time, mtime: Time, options?: OperationOptions): Promise<void> {
    await this.#set('utime', path, true, () => timesOf(atime, mtime), options);
  }

  async lutimes(path: string, atime: Time, mtime: Time, options?: OperationOptions): Promise<void> {
    await this.#set('lutime', path, false, () => timesOf(atime, mtime), options);
  }

  /** @throws ClientError NOXATTR (ENODATA) */
  async getxattr(path: string, name: string, options?: OperationOptions): Promise<Buffer> {
    return await this.#xattr('getxattr', path, options, (ino, limits) => this.#xattrs.get(ino, name, limits));
  }

  /** @throws ClientError EXIST with `mode: 'create'`, NOXATTR (ENODATA) with `mode: 'replace'`, XATTR2BIG */
  async setxattr(
    path: string,
    name: string,
    value: Data,
    options?: OperationOptions & { readonly mode?: XattrMode },
  ): Promise<void> {
    await this.#xattr('setxattr', path, options, (ino, limits) =>
      this.#xattrs.set(ino, name, value, options?.mode ?? 'either', limits),
    );
  }

  async listxattr(path: string, options?: OperationOptions): Promise<string[]> {
    return await this.#xattr('listxattr', path, options, (ino, limits) => this.#xattrs.list(ino, limits));
  }

  /** @throws ClientError NOXATTR (ENODATA) */
  async removexattr(path: string, name: string, options?: OperationOptions): Promise<void> {
    await this.#xattr('removexattr', path, options, (ino, limits) => this.#xattrs.remove(ino, name, limits));
  }

  // Names.

  mkdir(path: string, options?: Mode | (MkdirOptions & { readonly recursive?: false })): Promise<undefined>;
  mkdir(path: string, options: MkdirOptions): Promise<string | undefined>;
  /** With `recursive` it may be there, and answers the first directory that was made. No umask is applied. */
  async mkdir(path: string, options: Mode | MkdirOptions = {}): Promise<string | undefined> {
    const { mode = 0o755, recursive = false, ...limits } = typeof options === 'object' ? options : { mode: options };
    return await this.#do('mkdir', path, limits, async (within) => {
      if (recursive) return await this.#trees.mkdir(path, modeOf(mode), within);
      await this.#names.mkdir(path, modeOf(mode), within);
      return undefined;
    });
  }

  /** Makes a directory of mode 0700: `prefix` and six characters. */
  async mkdtemp(prefix: string, options?: OperationOptions): Promise<string> {
    return await this.#do('mkdtemp', prefix, options, (limits) => this.#trees.mkdtemp(prefix, limits));
  }

  readdir(path: string, options?: ReaddirOptions & { readonly withFileTypes?: false }): Promise<string[]>;
  readdir(path: string, options: ReaddirOptions & { readonly withFileTypes: true }): Promise<Dirent[]>;
  /** Without '.' and '..', in no particular order. With `recursive` all that is below, by paths relative to `path`. */
  async readdir(
    path: string,
    options?: ReaddirOptions & { readonly withFileTypes?: boolean },
  ): Promise<string[] | Dirent[]> {
    const entries = await this.#do('scandir', path, options, async (limits) =>
      options?.recursive === true
        ? await this.#trees.list(path, limits)
        : await this.#names.entries(await this.#names.directory(path, limits), path, limits),
    );
    if (options?.withFileTypes === true) return entries;
    return entries.map(({ parentPath, name }) => below(parentPath.slice(path.length).replace(/^\//, ''), name));
  }

  /** A directory a page at a time: `for await (const entry of await client.opendir(path))`. */
  async opendir(path: string, options?: OperationOptions): Promise<Dir> {
    return await this.#do('opendir', path, options, async (limits) => {
      const ino = await this.#names.directory(path, limits);
      return new Dir(path, (cookie, within) => this.#names.page(ino, path, cookie, within));
    });
  }

  /** Replaces what `to` names, as rename(2) does. */
  async rename(from: string, to: string, options?: OperationOptions): Promise<void> {
    await this.#do('rename', from, options, (limits) => this.#names.rename(from, to, limits));
  }

  /** `force`: it need not be there. @throws ClientError ISDIR for a directory without `recursive` */
  async rm(path: string, options: RmOptions = {}): Promise<void> {
    const { recursive = false, force = false } = options;
    await this.#do('rm', path, options, (limits) => this.#trees.rm(path, recursive, force, limits));
  }

  async unlink(path: string, options?: OperationOptions): Promise<void> {
    await this.#do('unlink', path, options, (limits) => this.#names.unlink(path, limits));
  }

  async rmdir(path: string, options?: OperationOptions): Promise<void> {
    await this.#do('rmdir', path, options, (limits) => this.#names.rmdir(path, limits));
  }

  async symlink(target: string, path: string, options?: OperationOptions): Promise<void> {
    await this.#do('symlink', path, options, (limits) => this.#names.symlink(target, path, limits));
  }

  async readlink(path: string, options?: OperationOptions): Promise<string> {
    return await this.#do('readlink', path, options, (limits) => this.#names.readlink(path, limits));
  }

  /** The path without symbolic links, from the root of the filesystem. */
  async realpath(path: string, options?: OperationOptions): Promise<string> {
    return await this.#do('realpath', path, options, (limits) => this.#names.realpath(path, limits));
  }

  async link(existing: string, path: string, options?: OperationOptions): Promise<void> {
    await this.#do('link', existing, options, (limits) => this.#names.link(existing, path, limits));
  }

  // Copies on the same blocks.

  /** A new file `to` with the content of `from` on the same blocks; what this client wrote counts. @throws ClientError EXIST */
  async clone(from: string, to: string, options?: OperationOptions): Promise<void> {
    await this.#do('clone', from, options, (limits) => this.#copies.clone(from, to, limits));
  }

  /**
   * A new directory `to` with everything below `from`, on the same blocks, as it is at one moment: all of it or nothing.
   * Large trees take their time; what this client wrote and did not commit is recalled. Nothing else limits it.
   */
  async cloneTree(from: string, to: string, options?: OperationOptions): Promise<void> {
    await this.#do('clone', from, options, (limits) => this.#copies.cloneTree(from, to, limits));
  }

  /** A snapshot: mkdir in the `.snapshots` of a directory, where it can also be listed and removed (rmdir). As patient as `cloneTree`. */
  async snapshot(directory: string, name: string, options?: OperationOptions): Promise<void> {
    await this.#do('mkdir', directory, options, (limits) => this.#copies.snapshot(directory, name, limits));
  }

  // The whole filesystem.

  /** Of the whole filesystem, or of the quota that a path counts in. */
  async statfs(path?: string, options?: OperationOptions): Promise<FilesystemStats> {
    return await this.#do('statfs', path ?? '/', options, (limits) => this.#names.statfs(path, limits));
  }

  /**
   * Closes all files, with what that commits and returns, then the session. What the server cannot be told within 10 s is
   * left to the end of the lease. @throws ClientError of the first file that did not close in good order
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    const timer = setTimeout(() => void this.#session.close(), clientLimits.closeTimeoutMs);
    const results = await this.#files.close();
    clearTimeout(timer);
    await this.#session.close();
    await this.#devices.close();
    this.#closed();
    this.#tell('close');
    const failed = results.find((result) => result.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }

  /** When what is under way is done: listeners may call anything, and throw. */
  #tell<Name extends keyof ClientEvents>(name: Name, ...about: ClientEvents[Name]): void {
    process.nextTick(() => EventEmitter.prototype.emit.call(this, name, ...about));
  }

  /** Runs a call within its limits; its errors say which one it was. */
  #do<T>(
    syscall: string,
    path: string,
    options: OperationOptions | undefined,
    work: (limits: Limits) => Promise<T>,
    undo?: (made: T) => Promise<unknown>,
  ): Promise<T> {
    return operation({ syscall, path }, options, work, undo);
  }

  async #set(
    syscall: string,
    path: string,
    follow: boolean,
    changes: () => SetAttr,
    options: OperationOptions | undefined,
  ): Promise<void> {
    await this.#do(syscall, path, options, async (limits) => this.#names.setattr(path, follow, changes(), limits));
  }

  async #xattr<T>(
    syscall: string,
    path: string,
    options: OperationOptions | undefined,
    work: (ino: number, limits: Limits) => Promise<T>,
  ): Promise<T> {
    return await this.#do(syscall, path, options, async (limits) => {
      const { ino } = await this.#paths.find(path, true, limits);
      return await work(ino, limits);
    });
  }
}
