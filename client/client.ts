import type { MappedExtent, StatFs } from '../fs/vfs.ts';
import { operations } from '../mds/protocol/index.ts';
import { Administration } from './administration.ts';
import { Devices } from './devices.ts';
import type { ClientFile } from './file.ts';
import type { Counters } from './file-data.ts';
import { clientLimits } from './limits.ts';
import { type DirectoryEntry, Names } from './names/names.ts';
import { OpenFiles } from './open-files.ts';
import { type OpenFlags, parseFlags } from './open-flags.ts';
import { Opening } from './opening.ts';
import { type OperationOptions, operation } from './operation.ts';
import { Paths } from './paths.ts';
import { type OpenOptions, type PinOptions, pinFile } from './pinning.ts';
import { type Place, placeFromWire } from './place.ts';
import { Session, type SessionOptions } from './session.ts';
import { Stats } from './stats.ts';

/**
 * A filesystem as a remote program sees it. Paths begin at its root, whether with '/' or without. Every method rejects
 * with ClientError, whose `code` is what node's own fs functions would give.
 *
 * Here calls are given their limits and their errors a context; the work is done by `Names` and `OpenFiles`.
 */
export class Client {
  readonly counters: Readonly<Counters>;
  /** For those who run the filesystem and its server. */
  readonly admin: Administration;
  readonly #session: Session;
  readonly #devices: Devices;
  readonly #paths: Paths;
  readonly #names: Names;
  readonly #opening: Opening;
  readonly #files: OpenFiles;
  readonly #closed: () => void;
  #place: Place | undefined;
  #closing: Promise<void> | undefined;

  /** Used by `connect`; `closed` is called once at the end. */
  constructor(options: SessionOptions, device: string | undefined, closed: () => void) {
    this.#closed = closed;
    this.#session = new Session(options, {
      recall: (recall) => this.#files.recall(recall),
      recallAll: (kind, changed) => this.#files.recallAll(kind, changed),
      recallAny: (keep) => this.#files.keepOnly(keep),
      putOff: () => this.#files.putOff(),
      available: (ino) => this.#files.available(ino),
      devicesChanged: () => this.#devices.forget(),
      flagged: (flags) => this.#files.flagged(flags),
      lost: (why) => {
        this.#devices.forget();
        this.#files.loseSession(why);
      },
      reclaim: (send) => this.#files.reclaim(send),
      leaseEnded: () => this.#files.leaseEnded(),
      quiet: () => this.#files.quiet,
      placed: (place) => {
        this.#place = placeFromWire(place);
      },
    });
    this.#devices = new Devices(this.#session, device);
    this.#paths = new Paths(this.#session);
    this.#files = new OpenFiles(this.#session, this.#devices);
    this.#opening = new Opening(this.#session, this.#paths);
    this.#names = new Names(this.#session, this.#paths, this.#files);
    this.admin = new Administration(this.#session, this.#paths, this.#files);
    this.counters = this.#files.counters;
  }

  /** Used by `connect`. */
  async start(signal: AbortSignal | undefined): Promise<void> {
    await this.#devices.check();
    await this.#session.open(signal);
  }

  /** Connected, or on the way to be again. */
  get state(): Session['state'] {
    return this.#session.state;
  }

  /** How the PCI function that was named to `connect` reaches the device; undefined: none was. */
  get place(): Place | undefined {
    return this.#place;
  }

  // Files.

  /**
   * @param mode permission bits of a file that is created, 0644 by default; no umask is applied. Or the options
   * @throws ClientError NOENT, EXIST, ISDIR, ACCESS, LOOP…; of a pinned file also as `pin`
   */
  async open(
    path: string,
    flags: OpenFlags = 'r',
    mode: number | OpenOptions = 0o644,
    options: OpenOptions | undefined = typeof mode === 'number' ? undefined : mode,
  ): Promise<ClientFile> {
    return await operation({ syscall: 'open', path }, options, async (limits) => {
      const parsed = parseFlags(flags);
      const bits = typeof mode === 'number' ? mode : 0o644;
      const pin = options?.pinned === true ? options : undefined;
      const opened = await this.#opening.open(path, parsed, bits, limits, pin);
      return this.#files.add(path, opened, parsed.truncate || pin !== undefined);
    });
  }

  /**
   * The file lies in one piece from now on, at a multiple of `align`, and never moves (docs/files.md).
   * @throws ClientError NOSPC (the message names the largest piece), DQUOT, INVAL, FILE_OPEN (EBUSY: pinned otherwise, or
   * changed meanwhile), NOTSUPP (a `cow` file), PERM
   */
  async pin(path: string, pin: PinOptions = {}, options?: OperationOptions): Promise<void> {
    await operation({ syscall: 'pin', path }, options, async (limits) => {
      const { ino } = await this.#paths.find(path, true, limits);
      await this.#files.find(ino)?.commit();
      await pinFile(this.#session, ino, pin, limits);
      this.#files.find(ino)?.data.doubtSize();
    });
  }

  /** An ordinary file again. */
  async unpin(path: string, options?: OperationOptions): Promise<void> {
    await operation({ syscall: 'unpin', path }, options, async (limits) => {
      const { ino } = await this.#paths.find(path, true, limits);
      await this.#session.call(operations.UNPIN, [ino], limits);
    });
  }

  async truncate(path: string, size = 0, options?: OperationOptions): Promise<void> {
    await operation({ syscall: 'truncate', path }, options, (limits) => this.#names.truncate(path, size, limits));
  }

  /** Where the blocks of the file are; what this client wrote counts. */
  async map(path: string, options?: OperationOptions): Promise<MappedExtent[]> {
    return await operation({ syscall: 'map', path }, options, (limits) => this.#names.map(path, limits));
  }

  // Names.

  async stat(path: string, options?: OperationOptions): Promise<Stats> {
    return await operation(
      { syscall: 'stat', path },
      options,
      async (limits) => new Stats(await this.#names.stat(path, true, limits)),
    );
  }

  async lstat(path: string, options?: OperationOptions): Promise<Stats> {
    return await operation(
      { syscall: 'lstat', path },
      options,
      async (limits) => new Stats(await this.#names.stat(path, false, limits)),
    );
  }

  /** @param mode permission bits; no umask is applied */
  async mkdir(path: string, mode = 0o755, options?: OperationOptions): Promise<void> {
    await operation({ syscall: 'mkdir', path }, options, (limits) => this.#names.mkdir(path, mode, limits));
  }

  readdir(path: string, options?: OperationOptions & { readonly withFileTypes?: false }): Promise<string[]>;
  readdir(path: string, options: OperationOptions & { readonly withFileTypes: true }): Promise<DirectoryEntry[]>;
  /** Without '.' and '..', in no particular order. */
  async readdir(
    path: string,
    options?: OperationOptions & { readonly withFileTypes?: boolean },
  ): Promise<string[] | DirectoryEntry[]> {
    const entries = await operation({ syscall: 'scandir', path }, options, (limits) =>
      this.#names.readdir(path, limits),
    );
    return options?.withFileTypes === true ? entries : entries.map((entry) => entry.name);
  }

  /** Replaces what `to` names, as rename(2) does. */
  async rename(from: string, to: string, options?: OperationOptions): Promise<void> {
    await operation({ syscall: 'rename', path: from }, options, (limits) => this.#names.rename(from, to, limits));
  }

  async unlink(path: string, options?: OperationOptions): Promise<void> {
    await operation({ syscall: 'unlink', path }, options, (limits) => this.#names.unlink(path, limits));
  }

  async rmdir(path: string, options?: OperationOptions): Promise<void> {
    await operation({ syscall: 'rmdir', path }, options, (limits) => this.#names.rmdir(path, limits));
  }

  async symlink(target: string, path: string, options?: OperationOptions): Promise<void> {
    await operation({ syscall: 'symlink', path }, options, (limits) => this.#names.symlink(target, path, limits));
  }

  async readlink(path: string, options?: OperationOptions): Promise<string> {
    return await operation({ syscall: 'readlink', path }, options, (limits) => this.#names.readlink(path, limits));
  }

  async link(existing: string, path: string, options?: OperationOptions): Promise<void> {
    await operation({ syscall: 'link', path }, options, (limits) => this.#names.link(existing, path, limits));
  }

  // Copies on the same blocks.

  /** A new file `to` with the content of `from` on the same blocks; what this client wrote counts. */
  async clone(from: string, to: string, options?: OperationOptions): Promise<void> {
    await operation({ syscall: 'clone', path: from }, options, (limits) => this.#names.clone(from, to, limits));
  }

  /**
   * A new directory `to` with everything below `from`, on the same blocks, as it is at one moment: all of it or nothing.
   * Large trees take their time; what this client wrote and did not commit is recalled. Nothing else limits it.
   */
  async cloneTree(from: string, to: string, options?: OperationOptions): Promise<void> {
    await operation({ syscall: 'clone', path: from }, options, (limits) => this.#names.cloneTree(from, to, limits));
  }

  /** A snapshot: mkdir in the `.snapshots` of a directory, where it can also be listed and removed (rmdir). As patient as `cloneTree`. */
  async snapshot(directory: string, name: string, options?: OperationOptions): Promise<void> {
    await operation({ syscall: 'mkdir', path: directory }, options, (limits) =>
      this.#names.snapshot(directory, name, limits),
    );
  }

  // The whole filesystem.

  /** Of the whole filesystem, or of the quota that a path counts in. */
  async statfs(path?: string, options?: OperationOptions): Promise<StatFs> {
    return await operation({ syscall: 'statfs', ...(path !== undefined && { path }) }, options, async (limits) => {
      const ino = path === undefined ? null : (await this.#paths.find(path, true, limits)).ino;
      const [blockSize, blocks, blocksFree, blocksAvailable, files, filesFree, nameMax] = await this.#session.call(
        operations.STATFS,
        [ino],
        limits,
      );
      return { blockSize, blocks, blocksFree, blocksAvailable, files, filesFree, nameMax };
    });
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
    const failed = results.find((result) => result.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }
}
