import type { Fragmentation, JobRequest } from '../fs/engine/filesystem.ts';
import type { JobStatus } from '../fs/engine/relocation/job.ts';
import { nameFromBytes, nameToText } from '../fs/name.ts';
import type { Attr, MappedExtent, StatFs } from '../fs/vfs.ts';
import {
  busAddressFromWire,
  createKind,
  fragmentationFromWire,
  jobRequestToWire,
  jobStatusFromWire,
  operations,
  renameModes,
  type ServerStatus,
  sequenceFlag,
  serverStatusFromWire,
  setAttrToWire,
} from '../mds/protocol/index.ts';
import { BulkReturn } from './bulk-return.ts';
import { Devices } from './devices.ts';
import { ClientError, withContext } from './errors.ts';
import { ClientFile, type OperationOptions } from './file.ts';
import { type Counters, newCounters } from './file-data.ts';
import { OpenInode } from './inode.ts';
import { clientLimits } from './limits.ts';
import { type OpenFlags, parseFlags } from './open-flags.ts';
import { type Opened, Opening } from './opening.ts';
import { Paths } from './paths.ts';
import { Session, type SessionOptions } from './session.ts';
import { Stats } from './stats.ts';

/** One entry of a directory. */
export interface DirectoryEntry {
  readonly name: string;
  /** Names that are not UTF-8 are exact only here. */
  readonly nameBytes: Uint8Array;
  readonly ino: number;
  /** Type bits of st_mode (S_IFMT). */
  readonly type: number;
}

/** A directory with a limit on all that it holds; limits of 0 are none. */
export interface Quota {
  readonly ino: number;
  /** From the root of the filesystem. */
  readonly path: string;
  readonly bytesMax: number;
  /** Blocks of its files, in bytes. */
  readonly bytes: number;
  readonly inodesMax: number;
  readonly inodes: number;
  /** false: all that was there before is still being counted. */
  readonly inForce: boolean;
}

/** State of this client was taken away. */
const revocationFlags =
  sequenceFlag.EXPIRED_ALL_STATE_REVOKED |
  sequenceFlag.EXPIRED_SOME_STATE_REVOKED |
  sequenceFlag.ADMIN_STATE_REVOKED |
  sequenceFlag.RECALLABLE_STATE_REVOKED;

/**
 * A filesystem as a remote program sees it. Paths begin at its root, whether with '/' or without. Every method rejects
 * with ClientError, whose `code` is what node's own fs functions would give.
 */
export class Client {
  readonly counters: Readonly<Counters>;
  readonly #counters: Counters = newCounters();
  readonly #session: Session;
  readonly #devices: Devices;
  readonly #bulk: BulkReturn;
  readonly #paths: Paths;
  readonly #opening: Opening;
  readonly #inodes = new Map<number, OpenInode>();
  readonly #files = new Set<ClientFile>();
  readonly #closed: () => void;
  #checking: Promise<void> | undefined;
  /** The server has said so since the last look began. */
  #isFlagged = false;
  #closing: Promise<void> | undefined;

  /** Used by `connect`; `closed` is called once at the end. */
  constructor(options: SessionOptions, device: string | undefined, closed: () => void) {
    this.counters = this.#counters;
    this.#closed = closed;
    this.#session = new Session(options, {
      recall: (recall) => {
        this.#counters.recalls += 1;
        const reply = this.#inodes.get(recall.ino)?.recall(recall) ?? 'nomatching';
        if (reply === 'delay') this.#counters.recallsDelayed += 1;
        return reply;
      },
      recallAll: (kind, changed) => {
        this.#counters.recalls += 1;
        return this.#bulk.recalled(kind, changed);
      },
      recallAny: (keep) => this.#keepOnly(keep),
      available: (ino) => this.#inodes.get(ino)?.available(),
      devicesChanged: () => this.#devices.forget(),
      putOff: () => {
        this.#counters.recalls += 1;
        this.#counters.recallsDelayed += 1;
      },
      flagged: (flags) => this.#flagged(flags),
      lost: (why) => {
        this.#devices.forget();
        this.#bulk.forget();
        for (const inode of this.#inodes.values()) inode.loseSession(why);
      },
      reclaim: async (send) => {
        for (const inode of this.#inodes.values()) await inode.reclaim(send);
      },
      leaseEnded: () => {
        const why = new ClientError('EXPIRED', 'the lease could not be renewed in time');
        for (const inode of this.#inodes.values()) inode.revokeLayouts(why);
      },
      quiet: () => [...this.#inodes.values()].every((inode) => inode.quiet),
    });
    this.#devices = new Devices(this.#session, device);
    this.#bulk = new BulkReturn(this.#session, this.#devices, () => this.#inodes.values());
    this.#paths = new Paths(this.#session);
    this.#opening = new Opening(this.#session, this.#paths);
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

  // Files.

  /**
   * @param mode permission bits of a file that is created; no umask is applied
   * @throws ClientError NOENT, EXIST, ISDIR, ACCESS, LOOP…
   */
  async open(path: string, flags: OpenFlags = 'r', mode = 0o644, options: OperationOptions = {}): Promise<ClientFile> {
    return await this.#at('open', path, async () => {
      const parsed = parseFlags(flags);
      return this.#file(path, await this.#opening.open(path, parsed, mode, options), parsed.truncate);
    });
  }

  #file(path: string, { open, attr }: Opened, truncated: boolean): ClientFile {
    let inode = this.#inodes.get(attr.ino);
    if (inode === undefined) {
      const context = {
        session: this.#session,
        devices: this.#devices,
        counters: this.#counters,
        bulk: this.#bulk,
      };
      inode = new OpenInode(attr.ino, attr.size, context);
      this.#inodes.set(attr.ino, inode);
    } else if (truncated) inode.data.doubtSize();
    inode.attach(open);
    const shared = inode;
    const file = new ClientFile(path, inode, open, this.#session, (closed) => {
      this.#files.delete(closed);
      if (shared.opens.size === 0 && this.#inodes.get(shared.ino) === shared) this.#inodes.delete(shared.ino);
    });
    this.#files.add(file);
    return file;
  }

  // Names.

  async stat(path: string, options: OperationOptions = {}): Promise<Stats> {
    return await this.#at('stat', path, async () => this.#stats(await this.#paths.find(path, true, options)));
  }

  async lstat(path: string, options: OperationOptions = {}): Promise<Stats> {
    return await this.#at('lstat', path, async () => this.#stats(await this.#paths.find(path, false, options)));
  }

  /** @param mode permission bits; no umask is applied */
  async mkdir(path: string, mode = 0o755, options: OperationOptions = {}): Promise<void> {
    await this.#at('mkdir', path, async () => {
      const { parent, name } = await this.#named(path, 'EXIST', options);
      await this.#session.call(operations.CREATE, [parent, name, [createKind.directory, mode]], options);
    });
  }

  readdir(path: string, options?: OperationOptions & { readonly withFileTypes?: false }): Promise<string[]>;
  readdir(path: string, options: OperationOptions & { readonly withFileTypes: true }): Promise<DirectoryEntry[]>;
  /** Without '.' and '..', in no particular order. */
  async readdir(
    path: string,
    options: OperationOptions & { readonly withFileTypes?: boolean } = {},
  ): Promise<string[] | DirectoryEntry[]> {
    const entries = await this.#at('scandir', path, async () => {
      const directory = await this.#paths.find(path, true, options);
      return await this.#entries(directory.ino, options);
    });
    return options.withFileTypes === true ? entries : entries.map((entry) => entry.name);
  }

  /** Replaces what `to` names, as rename(2) does. */
  async rename(from: string, to: string, options: OperationOptions = {}): Promise<void> {
    await this.#at('rename', from, async () => {
      const source = await this.#named(from, 'INVAL', options);
      const target = await this.#named(to, 'INVAL', options);
      const mode = renameModes.indexOf('replace');
      await this.#session.call(
        operations.RENAME,
        [source.parent, source.name, target.parent, target.name, mode],
        options,
      );
    });
  }

  async unlink(path: string, options: OperationOptions = {}): Promise<void> {
    await this.#at('unlink', path, async () => {
      const { parent, name } = await this.#named(path, 'ISDIR', options);
      await this.#session.call(operations.REMOVE, [parent, name, false], options);
    });
  }

  async rmdir(path: string, options: OperationOptions = {}): Promise<void> {
    await this.#at('rmdir', path, async () => {
      const { parent, name } = await this.#named(path, 'INVAL', options);
      await this.#session.call(operations.REMOVE, [parent, name, true], options);
    });
  }

  async symlink(target: string, path: string, options: OperationOptions = {}): Promise<void> {
    await this.#at('symlink', path, async () => {
      const { parent, name } = await this.#named(path, 'EXIST', options);
      const bytes = Buffer.from(target, 'utf8');
      if (bytes.length === 0) throw new ClientError('NOENT', 'an empty target');
      if (bytes.length >= clientLimits.pathMax) throw new ClientError('TOO_LONG', 'a target of 4096 bytes or more');
      await this.#session.call(operations.CREATE, [parent, name, [createKind.symlink, bytes]], options);
    });
  }

  async readlink(path: string, options: OperationOptions = {}): Promise<string> {
    return await this.#at('readlink', path, async () => {
      const { ino } = await this.#paths.find(path, false, options);
      return await this.#paths.target(ino, options);
    });
  }

  async link(existing: string, path: string, options: OperationOptions = {}): Promise<void> {
    await this.#at('link', path, async () => {
      const { ino } = await this.#paths.find(existing, false, options);
      const { parent, name } = await this.#named(path, 'EXIST', options);
      await this.#session.call(operations.LINK, [ino, parent, name], options);
    });
  }

  async truncate(path: string, size = 0, options: OperationOptions = {}): Promise<void> {
    await this.#at('truncate', path, async () => {
      if (!Number.isSafeInteger(size) || size < 0) throw new ClientError('ARGUMENT', `size ${size}`);
      const { ino } = await this.#paths.find(path, true, options);
      const inode = this.#inodes.get(ino);
      if (inode !== undefined) await inode.truncate(undefined, size);
      else await this.#session.call(operations.SETATTR, [ino, null, setAttrToWire({ size })], options);
    });
  }

  /** A new file `to` with the content of `from` on the same blocks; what this client wrote counts. */
  async clone(from: string, to: string, options: OperationOptions = {}): Promise<void> {
    await this.#at('clone', from, async () => {
      const { ino } = await this.#paths.find(from, true, options);
      const { parent, name } = await this.#named(to, 'EXIST', options);
      await this.#inodes.get(ino)?.commit();
      await this.#session.call(operations.CLONE, [ino, parent, name], options);
    });
  }

  /**
   * A new directory `to` with everything below `from`, on the same blocks, as it is at one moment: all of it or nothing.
   * Large trees take their time; what this client wrote and did not commit is recalled. Nothing else limits it.
   */
  async cloneTree(from: string, to: string, options: OperationOptions = {}): Promise<void> {
    await this.#at('clone', from, async () => {
      const { ino } = await this.#paths.find(from, true, options);
      const { parent, name } = await this.#named(to, 'EXIST', options);
      const patient = { timeoutMs: clientLimits.treeCopyTimeoutMs, ...options };
      await this.#session.call(operations.CLONE_TREE, [ino, parent, name], patient);
    });
  }

  /** A snapshot: mkdir in the `.snapshots` of a directory, where it can also be listed and removed (rmdir). As patient as `cloneTree`. */
  async snapshot(directory: string, name: string, options: OperationOptions = {}): Promise<void> {
    await this.#at('mkdir', directory, async () => {
      const { parent, name: last } = await this.#named(`${directory}/.snapshots/${name}`, 'EXIST', options);
      const patient = { timeoutMs: clientLimits.treeCopyTimeoutMs, ...options };
      await this.#session.call(operations.CREATE, [parent, last, [createKind.directory, 0o755]], patient);
    });
  }

  /** Where the blocks of the file are; what this client wrote counts. */
  async map(path: string, options: OperationOptions = {}): Promise<MappedExtent[]> {
    return await this.#at('map', path, async () => {
      const { ino } = await this.#paths.find(path, true, options);
      await this.#inodes.get(ino)?.commit();
      const extents: MappedExtent[] = [];
      for (let from = 0, last = false; !last; ) {
        const [page, end] = await this.#session.call(operations.MAP, [ino, from], options);
        for (const [offset, length, device, storageOffset, address, unwritten, shares] of page) {
          const busAddress = busAddressFromWire(address);
          extents.push({ offset, length, device, storageOffset, busAddress, unwritten, shares });
          from = offset + length;
        }
        last = end || page.length === 0;
      }
      return extents;
    });
  }

  // The filesystem and the server.

  /** Declares another client dead: nothing of it reaches the device any more, and its blocks are free. Takes uid 0, or that of the server. */
  async evict(who: number | Uint8Array, options: OperationOptions = {}): Promise<readonly number[]> {
    const [evicted] = await this.#session.call(operations.EVICT, [who], options);
    return evicted;
  }

  /**
   * Asks layouts back: of one client, of a range of one file, or all. Settles when they are returned, or whoever did not
   * return them in time is fenced. Takes uid 0, or that of the server.
   */
  async recall(
    what:
      | { readonly client: number }
      | { readonly path: string; readonly offset?: number; readonly length?: number }
      | 'everything',
    options: OperationOptions = {},
  ): Promise<void> {
    const patient = { timeoutMs: clientLimits.recallTimeoutMs, ...options };
    if (what === 'everything') await this.#session.call(operations.RECALL, [null, null, 0, Infinity], patient);
    else if ('client' in what) await this.#session.call(operations.RECALL, [what.client, null, 0, Infinity], patient);
    else {
      const { path, offset = 0, length = Infinity } = what;
      await this.#at('recall', path, async () => {
        const { ino } = await this.#paths.find(path, true, options);
        await this.#session.call(operations.RECALL, [null, ino, offset, length], patient);
      });
    }
  }

  /**
   * Starts long work on the filesystem and answers its number; `job` says how far it is. Takes uid 0 or that of
   * the server, or for one file the permission to write it.
   */
  async startJob(request: JobRequest, options: OperationOptions = {}): Promise<number> {
    const [id] = await this.#session.call(operations.JOB_START, [jobRequestToWire(request)], options);
    return id;
  }

  /** Brings the blocks of one file together: a job. */
  async defragment(path: string, options: OperationOptions = {}): Promise<number> {
    return await this.#at('defragment', path, async () => {
      const { ino } = await this.#paths.find(path, true, options);
      await this.#inodes.get(ino)?.commit();
      return this.startJob({ kind: 'defragment', ino }, options);
    });
  }

  /** The job that runs, or ran last. */
  async job(options: OperationOptions = {}): Promise<JobStatus | undefined> {
    const [job] = await this.#session.call(operations.JOB_STATUS, [], options);
    return job === null ? undefined : jobStatusFromWire(job);
  }

  /** What it did stays done. */
  async cancelJob(id: number, options: OperationOptions = {}): Promise<void> {
    await this.#session.call(operations.JOB_CANCEL, [id], options);
  }

  /** How scattered files and free space are. */
  async fragmentation(options: OperationOptions = {}): Promise<Fragmentation> {
    const [wire] = await this.#session.call(operations.FRAGMENTATION, [], options);
    return fragmentationFromWire(wire);
  }

  /** Of the whole filesystem, or of the quota that a path counts in. */
  async statfs(path?: string, options: OperationOptions = {}): Promise<StatFs> {
    const ino = path === undefined ? null : (await this.#paths.find(path, true, options)).ino;
    const [blockSize, blocks, blocksFree, blocksAvailable, files, filesFree, nameMax] = await this.#session.call(
      operations.STATFS,
      [ino],
      options,
    );
    return { blockSize, blocks, blocksFree, blocksAvailable, files, filesFree, nameMax };
  }

  /** Keeps so many hundredths of a percent of the blocks for root. Takes uid 0, or that of the server. */
  async tune(changes: { readonly reserve?: number }, options: OperationOptions = {}): Promise<void> {
    await this.#session.call(operations.TUNE, [changes.reserve ?? null], options);
  }

  /**
   * Limits what a directory and all below it hold; 0 for no limit. Settles when that is in force; `progress` is told
   * meanwhile how many inodes have been counted. Takes uid 0, or that of the server.
   */
  async setQuota(
    path: string,
    limit: { readonly bytes: number; readonly inodes: number },
    options: OperationOptions & { readonly progress?: (inodes: number) => void } = {},
  ): Promise<void> {
    await this.#at('quotactl', path, async () => {
      const { ino } = await this.#paths.find(path, true, options);
      for (let inForce = false, counted = 0; !inForce; ) {
        [inForce, counted] = await this.#session.call(operations.QUOTA_SET, [ino, limit.bytes, limit.inodes], options);
        if (!inForce) options.progress?.(counted);
      }
    });
  }

  async removeQuota(path: string, options: OperationOptions = {}): Promise<void> {
    await this.#at('quotactl', path, async () => {
      const { ino } = await this.#paths.find(path, true, options);
      await this.#session.call(operations.QUOTA_REMOVE, [ino], options);
    });
  }

  /** The quota that a path counts in, if any; all of them without a path, which takes uid 0 or that of the server. */
  async quotas(path?: string, options: OperationOptions = {}): Promise<Quota[]> {
    return await this.#at('quotactl', path ?? '/', async () => {
      const asked = path === undefined ? null : (await this.#paths.find(path, true, options)).ino;
      const quotas: Quota[] = [];
      for (let after = 0, last = false; !last; ) {
        const [page, end] = await this.#session.call(operations.QUOTA_LIST, [asked, after], options);
        for (const [id, ino, pathBytes, bytesMax, bytes, inodesMax, inodes, inForce] of page) {
          const directory = Buffer.from(pathBytes).toString('utf8');
          quotas.push({ ino, path: directory, bytesMax, bytes, inodesMax, inodes, inForce });
          after = id;
        }
        last = end || page.length === 0;
      }
      return quotas;
    });
  }

  async status(): Promise<ServerStatus> {
    const [status] = await this.#session.callOutside(operations.STATUS, []);
    return serverStatusFromWire(status);
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
    const closing = Promise.allSettled([...this.#files].map((file) => file.close()));
    const timer = setTimeout(() => void this.#session.close(), clientLimits.closeTimeoutMs);
    const results = await closing;
    clearTimeout(timer);
    await this.#session.close();
    await this.#devices.close();
    this.#closed();
    const failed = results.find((result) => result.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }

  /** Until it is known what was revoked no direct I/O starts. */
  #flagged(flags: number): void {
    if ((flags & revocationFlags) === 0) return;
    this.#session.lease.doubt();
    this.#isFlagged = true;
    if (this.#checking !== undefined) return;
    this.#checking = this.#checkRevoked().finally(() => {
      this.#checking = undefined;
    });
  }

  /**
   * A reply from before the fence may come again with the flags, and tell of a layout that is void: it is known, and looked
   * at, by the time the reply to a SEQUENCE is there. Flags that stay are of states that this client never heard of.
   */
  async #checkRevoked(): Promise<void> {
    try {
      for (let round = 0; round < clientLimits.revocationRoundsMax; round++) {
        this.#isFlagged = false;
        for (const inode of this.#inodes.values()) await inode.checkRevoked();
        await this.#session.call(operations.SEQUENCE, [], { urgent: true });
        if (!this.#isFlagged) break;
      }
      this.#session.lease.settle();
    } catch (error) {
      // The flags stay up at the server: the next reply brings us here again.
      if (!(error instanceof ClientError)) throw error;
    }
  }

  /** The least recently used layouts go (RFC 8881 §20.6); what the program holds itself stays. */
  #keepOnly(keep: number): void {
    const held = [...this.#inodes.values()].filter((inode) => inode.hold.stateid !== undefined);
    const oldestFirst = held.sort((a, b) => a.data.usedAt - b.data.usedAt);
    // What is on its way is about to be held, and is why the server asks.
    const coming = [...this.#inodes.values()].filter(({ hold }) => hold.stateid === undefined && hold.isGetting);
    const many = held.length + coming.length - keep;
    for (const inode of oldestFirst.slice(0, Math.max(many, 0))) inode.giveUpLayouts();
  }

  #stats(attr: Attr): Stats {
    const inode = this.#inodes.get(attr.ino);
    return new Stats(inode === undefined ? attr : { ...attr, size: Math.max(attr.size, inode.data.uncommittedEnd) });
  }

  /** The place of a path that must end in a name. */
  async #named(
    path: string,
    otherwise: 'EXIST' | 'INVAL' | 'ISDIR',
    options: OperationOptions,
  ): Promise<{ readonly parent: number; readonly name: Uint8Array }> {
    const { parent, name } = await this.#paths.place(path, options);
    if (name === undefined) throw new ClientError(otherwise, `${path} ends in no name`);
    return { parent, name };
  }

  async #entries(ino: number, options: OperationOptions): Promise<DirectoryEntry[]> {
    const entries: DirectoryEntry[] = [];
    for (let cookie = 0, last = false; !last; ) {
      const [page, end] = await this.#session.call(
        operations.READDIR,
        [ino, cookie, clientLimits.readdirPage, false],
        options,
      );
      for (const [nameBytes, entryIno, type, next] of page) {
        cookie = next;
        const name = nameToText(nameFromBytes(nameBytes));
        if (name !== '.' && name !== '..') entries.push({ name, nameBytes, ino: entryIno, type });
      }
      last = end || page.length === 0;
    }
    return entries;
  }

  async #at<T>(syscall: string, path: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw withContext(error, { syscall, path });
    }
  }
}
