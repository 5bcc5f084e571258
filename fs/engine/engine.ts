/**
 * Making and mounting a filesystem. The story of one write: a driver calls LocalVfs.write, the runner starts data.ts,
 * which asks the leases, takes blocks from space, puts the bytes on the device and notes in the open group what changed;
 * fsync waits until the group is durable.
 */
import type { BarDevice } from '../bar/device.ts';
import { FsError } from '../errors.ts';
import { encodeClient, encodeCounts, encodeInode, encodeStore } from '../format/codec.ts';
import { clientKey, countsKey, cutKey, inodeKey, storeKey } from '../format/keys.ts';
import type { ClientRecord } from '../format/records.ts';
import { buffersIno } from '../format/session-buffers.ts';
import type { Superblock } from '../format/superblock.ts';
import { formatVersion, knownFeatures, readOnlyOnly } from '../format/superblock.ts';
import { uuidToText } from '../format/uuid.ts';
import { limits } from '../limits.ts';
import { bindStore, checkBinding, nextGeneration, readBinding } from '../meta/binding.ts';
import type { MetaStore } from '../meta/store.ts';
import type { Name } from '../name.ts';
import { after } from '../reply.ts';
import type { Attr, Caller, MappedExtent, Reply, Vfs } from '../vfs.ts';
import type { Clock } from './clock.ts';
import { SystemClock } from './clock.ts';
import { cloneFile } from './clone.ts';
import { mappedExtents } from './extent-map.ts';
import { dropHolds, quarantine, quarantineFormer } from './fencing.ts';
import type {
  Filesystem,
  FilesystemStatus,
  Fragmentation,
  JobRequest,
  OpenOptions,
  QuotaStatus,
} from './filesystem.ts';
import { forgetGrant, forgetGrants, grantsOf, recordGrant } from './grants.ts';
import { heldBy } from './holds.ts';
import { attrOf, S_IFDIR } from './inode.ts';
import { reachOf } from './layout-reach.ts';
import { commit, mapForRead, mapForWrite, releaseProvisional } from './layouts.ts';
import type { LayoutBackend, Leases } from './leases.ts';
import { type Loaded, load } from './load.ts';
import { LocalVfs } from './local-vfs.ts';
import { reap } from './namespace.ts';
import { isPinnedNumber } from './pinned.ts';
import { pinFile, unpinFile } from './pinning.ts';
import { quotaStatus, removeQuota, setQuota } from './quota-admin.ts';
import { holdForFormer, Reaper } from './reaper.ts';
import type { NameListener } from './reaping.ts';
import { reclaim } from './reclaim.ts';
import { measureFragmentation } from './relocation/fragmentation.ts';
import { type JobStatus, Jobs } from './relocation/job.ts';
import { jobOf } from './relocation/jobs.ts';
import { provideBuffers } from './session-buffers.ts';
import { cloneTree } from './snapshots.ts';
import { readSuperblock, writeSuperblocks } from './superblocks.ts';
import { TreeCopies } from './tree-copies.ts';
import { rootIno, Volume } from './volume.ts';
import { run } from './wait.ts';
import { WarmUp } from './warm-up.ts';

const bs = limits.blockSize;

export interface FormatOptions {
  readonly device: BarDevice;
  /** Empty. */
  readonly store: MetaStore;
  readonly uuid: Uint8Array;
  readonly label: string;
  readonly volatile: boolean;
  /** Kept for root: hundredths of a percent of the blocks, at most limits.reserveMax; 0 if absent. */
  readonly reserve?: number;
  /** Owner of the root directory. */
  readonly uid: number;
  readonly gid: number;
}

/** A device can hold a filesystem: big enough, whole blocks. @throws FsError EINVAL */
export function requireFormattable(device: Pick<BarDevice, 'path' | 'size'>): void {
  const { path, size } = device;
  if (size < limits.deviceSizeMin) {
    throw new FsError('EINVAL', {
      path,
      detail: `${size} bytes are too small: at least ${limits.deviceSizeMin} are needed`,
    });
  }
  if (size % bs !== 0) {
    throw new FsError('EINVAL', { path, detail: `${size} bytes are not a multiple of the block size ${bs}` });
  }
}

/** Writes an empty filesystem: the store first, the superblocks last. @throws FsError EINVAL, EIO, ENOSPC, ESTALE (store not empty) */
export async function formatFilesystem(options: FormatOptions): Promise<Superblock> {
  const { device, store, uuid, label } = options;
  requireFormattable(device);
  const now = new SystemClock().now();
  const root = {
    ino: rootIno,
    mode: S_IFDIR | 0o755,
    uid: options.uid,
    gid: options.gid,
    nlink: 2,
    size: 0,
    rdev: 0,
    atime: now,
    mtime: now,
    ctime: now,
    btime: now,
    change: 1,
    flags: 0,
    parent: rootIno,
    target: new Uint8Array(0),
    quota: 0,
  };
  // Numbers up to 2 are '.' and '..' in listings; inode 1 is the root.
  const binding = {
    formatVersion,
    uuid,
    generation: 1,
    superblockGeneration: 0,
    nextIno: 16,
    nextClientId: 1,
    reserve: options.reserve ?? 0,
  };
  await store.batch(
    [
      { key: storeKey(), value: encodeStore(binding) },
      { key: inodeKey(rootIno), value: encodeInode(root) },
      { key: countsKey(), value: encodeCounts({ generation: binding.generation, inodes: 1 }) },
    ],
    [{ key: storeKey(), value: undefined }],
  );
  const superblock: Superblock = {
    formatVersion,
    compat: 0n,
    roCompat: 0n,
    incompat: 0n,
    blockSize: bs,
    blockCount: Math.floor(device.size / bs),
    uuid,
    label,
    createdAt: now.sec,
    mountedAt: 0,
    generation: 1,
    dirty: false,
    volatile: options.volatile,
  };
  await writeSuperblocks(device, superblock);
  return superblock;
}

/**
 * Mounts. On success the device and the store belong to the filesystem and are closed with it; on failure they stay
 * the caller's.
 * @throws FsError EINVAL, EUCLEAN, EOPNOTSUPP, ESTALE (store and device do not belong together), EROFS, EIO
 */
export async function openFilesystem(options: OpenOptions & { readonly clock?: Clock }): Promise<Filesystem> {
  const { device, store } = options;
  const superblock = readSuperblock(device);
  const readOnly = options.readOnly ?? false;
  if (!readOnly && readOnlyOnly(superblock)) {
    throw new FsError('EROFS', {
      path: device.path,
      detail: 'features of a newer version are in use: mount it read-only',
    });
  }
  let binding = readBinding(store);
  checkBinding(superblock, binding);
  const loaded = await load(store, superblock.blockCount, binding.generation, readOnly);
  const clock = options.clock ?? new SystemClock();
  let mounted = superblock;
  const nextNumber = binding.nextIno;
  if (!readOnly) {
    // What a daemon that was killed had stored is read from now on, and a sync answers for it, whoever stored it.
    if (superblock.dirty) await device.persist(0, superblock.blockCount * bs);
    const next = {
      ...binding,
      nextIno: binding.nextIno + limits.numbersAhead,
      generation: nextGeneration(superblock),
      superblockGeneration: superblock.generation,
    };
    const counts = encodeCounts({ generation: next.generation, inodes: loaded.inodeCount });
    await bindStore(store, next, binding, [{ key: countsKey(), value: counts }]);
    const { roCompat } = superblock;
    mounted = {
      ...superblock,
      roCompat: roCompat | knownFeatures.roCompat,
      generation: next.generation,
      dirty: true,
      mountedAt: clock.now().sec,
    };
    await writeSuperblocks(device, mounted);
    binding = { ...next, superblockGeneration: next.generation };
    await bindStore(store, binding, next);
  }
  const volume = new Volume({ ...loaded, device, store, binding, nextNumber, readOnly, clock });
  if (options.leases !== undefined) volume.leases = options.leases;
  const warmUp = options.warmUp === true ? new WarmUp(volume.store) : undefined;
  if (readOnly) return new Engine(volume, mounted, loaded.clients, warmUp);
  resumeCuts(volume, loaded);
  forgetStrayGrants(volume, loaded.clients);
  await reapOrphans(volume, loaded.orphans);
  return new Engine(volume, mounted, await keepClients(volume, loaded.clients), warmUp);
}

/** Made for a client that ended meanwhile, and a crash came before they were forgotten: no such grant has left the server. */
function forgetStrayGrants(volume: Volume, clients: readonly ClientRecord[]): void {
  const known = new Set(clients.map(({ clientId }) => clientId));
  for (const client of volume.grants.keys()) if (!known.has(client)) forgetGrants(volume, client);
}

/** What was being cut when the filesystem went down; of a file without a name all goes. */
function resumeCuts(volume: Volume, { cuts, orphans }: Pick<Loaded, 'cuts' | 'orphans'>): void {
  const nameless = new Set(orphans);
  for (const cut of cuts) {
    if (nameless.has(cut.ino)) volume.changes.record(cutKey(cut.ino), undefined);
    else volume.cutting.resume(cut);
  }
}

/** Files that were open without a name when the filesystem went down; trees, and what is large, go once it is mounted. */
async function reapOrphans(volume: Volume, orphans: readonly number[]): Promise<void> {
  for (const ino of orphans) {
    const inode = volume.inodes.peek(ino);
    if (inode === undefined) continue;
    if (inode.isDirectory && (await run(() => volume.directories.requireComplete(ino).size)) > 0) {
      volume.reaping.add(inode);
      continue;
    }
    holdForFormer(volume, inode);
    await run(() => reap(volume, inode));
  }
  if (orphans.length > 0) await volume.sync();
}

/** Clients that may still reach something; of the others nothing needs to be known any more. */
async function keepClients(volume: Volume, clients: readonly ClientRecord[]): Promise<readonly ClientRecord[]> {
  for (const [client, files] of volume.grants) {
    for (const ino of files.keys())
      if (ino !== buffersIno && volume.inodes.peek(ino) === undefined) forgetGrant(volume, client, ino);
  }
  const kept = clients.filter(({ clientId }) => volume.grants.has(clientId) || volume.holds.has(clientId));
  for (const client of clients) {
    if (!kept.includes(client)) volume.changes.record(clientKey(client.clientId), undefined);
  }
  if (volume.changes.size > 0) await volume.sync();
  return kept;
}

class Engine implements Filesystem {
  readonly vfs: Vfs;
  readonly layouts: LayoutBackend;
  readonly #volume: Volume;
  readonly #clients = new Map<number, ClientRecord>();
  readonly #copies: TreeCopies;
  readonly #reaper: Reaper;
  readonly #jobs = new Jobs();
  readonly #warmUp: WarmUp | undefined;
  readonly uuid: string;
  #superblock: Superblock;

  constructor(volume: Volume, superblock: Superblock, clients: readonly ClientRecord[], warmUp: WarmUp | undefined) {
    this.#volume = volume;
    this.#warmUp = warmUp;
    warmUp?.start();
    this.#superblock = superblock;
    this.uuid = uuidToText(superblock.uuid);
    for (const record of clients) this.#clients.set(record.clientId, record);
    this.#copies = new TreeCopies(volume);
    this.#reaper = new Reaper(volume);
    this.vfs = new LocalVfs(volume, this.#copies);
    this.layouts = layoutBackend(volume);
    if (!volume.readOnly) this.#reaper.start();
  }

  get device(): BarDevice {
    return this.#volume.device;
  }

  get generation(): number {
    return this.#superblock.generation;
  }

  setLeases(leases: Leases): void {
    this.#volume.leases = leases;
  }

  map(ino: number): Reply<readonly MappedExtent[]> {
    const v = this.#volume;
    v.inodes.get(ino);
    return [...mappedExtents(v, ino)];
  }

  cloneFile(ino: number, parent: number, name: Name, by: Caller): Reply<Attr> {
    const v = this.#volume;
    return run(() => {
      const clone = cloneFile(v, ino, parent, name, by);
      return attrOf(clone, v.extents.blocksOf(clone.ino));
    }, by);
  }

  async cloneTree(ino: number, parent: number, name: Name, by: Caller): Promise<Attr> {
    const v = this.#volume;
    return attrOf(await cloneTree(v, this.#copies, ino, parent, name, by), 0);
  }

  pin(ino: number, size: number | undefined, align: number, by: Caller): Promise<void> {
    return pinFile(this.#volume, ino, { size, align }, by);
  }

  unpin(ino: number, by: Caller): Promise<void> {
    return unpinFile(this.#volume, ino, by);
  }

  isPinned(ino: number): boolean {
    return isPinnedNumber(this.#volume, ino);
  }

  async setReserve(reserve: number): Promise<void> {
    const v = this.#volume;
    v.requireWritable();
    if (!Number.isInteger(reserve) || reserve < 0 || reserve > limits.reserveMax) {
      throw new FsError('EINVAL', {
        detail: `a reserve of ${reserve / 100} percent: at most ${limits.reserveMax / 100}`,
      });
    }
    v.setReserve(reserve);
    await v.sync();
  }

  setQuota(ino: number, bytesMax: number, inodesMax: number): Promise<void> {
    return setQuota(this.#volume, ino, { blocksMax: Math.floor(bytesMax / bs), inodesMax });
  }

  removeQuota(ino: number): Promise<void> {
    return removeQuota(this.#volume, ino);
  }

  quotas(ino?: number): Promise<readonly QuotaStatus[]> {
    return quotaStatus(this.#volume, ino);
  }

  onNameRemoved(listener: NameListener): void {
    this.#volume.reaping.onNameRemoved(listener);
  }

  onAccessed(listener: (ino: number) => void): void {
    this.#volume.onAccessed = listener;
  }

  status(): FilesystemStatus {
    const v = this.#volume;
    return {
      uuid: this.uuid,
      label: this.#superblock.label,
      device: v.device.path,
      generation: this.generation,
      blockSize: bs,
      blocks: v.space.counts(),
      inodes: v.inodeCount,
      reserve: v.reserve,
      copying: v.copying.count,
      reaping: { trees: v.reaping.trees, inodes: v.reaping.inodes },
      readOnly: v.readOnly,
      shutdown: v.shutdown,
    };
  }

  fragmentation(): Promise<Fragmentation> {
    return measureFragmentation(this.#volume);
  }

  startJob(request: JobRequest): number {
    const work = jobOf(this.#volume, request, (blocks) => this.#setBlockCount(blocks));
    return this.#jobs.start(request.kind, work);
  }

  job(): JobStatus | undefined {
    return this.#jobs.current();
  }

  cancelJob(id: number): void {
    this.#jobs.cancel(id);
  }

  /** On the media, durable; memory follows by the caller. @throws FsError EIO */
  async #setBlockCount(blockCount: number): Promise<void> {
    const next = { ...this.#superblock, blockCount };
    await writeSuperblocks(this.#volume.device, next);
    this.#superblock = next;
  }

  clientRecords(): readonly ClientRecord[] {
    return [...this.#clients.values()];
  }

  newClientId(): number {
    return this.#volume.newClientId();
  }

  async putClient(record: ClientRecord): Promise<void> {
    this.#volume.requireWritable();
    this.#clients.set(record.clientId, record);
    this.#volume.changes.record(clientKey(record.clientId), encodeClient(record));
    await this.#volume.sync();
  }

  async removeClient(clientId: number): Promise<void> {
    if (!this.#clients.delete(clientId)) return;
    forgetGrants(this.#volume, clientId);
    this.#volume.changes.record(clientKey(clientId), undefined);
    await this.#volume.sync();
  }

  quarantined(): ReadonlyMap<number, number> {
    const bytes = new Map<number, number>();
    for (const { range, client } of this.#volume.space.holds()) {
      bytes.set(client, (bytes.get(client) ?? 0) + range.length * bs);
    }
    return bytes;
  }

  async close(): Promise<void> {
    const v = this.#volume;
    await this.#warmUp?.stop();
    await this.#jobs.close();
    v.quotas.walk?.stop();
    await v.quotas.walk?.done.catch(() => undefined); // whoever set it has been told
    try {
      await Promise.all([this.#copies.stop(), this.#reaper.stop(), v.cutting.stop()]);
      if (!v.readOnly && v.shutdown === undefined) {
        await v.sync();
        v.touchBinding();
      }
      await v.group.close();
      if (!v.readOnly && v.shutdown === undefined) {
        this.#superblock = { ...this.#superblock, dirty: false };
        await v.device.refresh(); // an image may have been cut at the end of a filesystem that became smaller
        await writeSuperblocks(v.device, this.#superblock);
      }
    } finally {
      await v.store.close();
      await v.device.close();
    }
  }
}

/** Answers it when all that was changed so far is durable. @throws FsError EIO */
function whenDurable<T>(v: Volume, reply: Reply<T>): Reply<T> {
  return after(reply, (value) => (v.isDurable ? value : v.sync().then(() => value)));
}

/** Every answer leaves only after what it says is durable (I5). */
function layoutBackend(v: Volume): LayoutBackend {
  return {
    reach: (ino, range, extentsMax) => run(() => reachOf(v, v.inodes.get(ino), range, extentsMax)),
    mapForRead: (ino, range, client) => {
      const mapped = run(() => {
        const extents = mapForRead(v, v.inodes.get(ino), range);
        recordGrant(v, client, ino, 'read');
        return extents;
      });
      return whenDurable(v, mapped);
    },
    mapForWrite: (ino, range, client, { isUrgent, places } = { isUrgent: false }) => {
      const mapped = run(
        () => {
          const extents = mapForWrite(v, v.inodes.get(ino), range, client, isUrgent);
          recordGrant(v, client, ino, 'write');
          return extents;
        },
        { client, places },
      );
      return whenDurable(v, mapped);
    },
    provideBuffers: (request, client) =>
      whenDurable(
        v,
        run(() => provideBuffers(v, request, client)),
      ),
    commitLayout: async (ino, request, client) => {
      const answer = await run(() => commit(v, v.inodes.get(ino), request, client));
      await v.sync();
      return answer;
    },
    reclaimLayout: async (ino, request, formers) => {
      const answer = await run(() => {
        const inode = v.inodes.peek(ino);
        return inode === undefined ? undefined : reclaim(v, inode, request, formers);
      });
      if (answer !== undefined) await v.sync();
      return answer;
    },
    granted: (client) => grantsOf(v, client),
    forgetGrant: (ino, client) => forgetGrant(v, client, ino),
    releaseProvisional: (ino, range, client) => {
      releaseProvisional(v, ino, range, client);
    },
    quarantine: async (client, segments) => {
      await quarantine(v, client, segments);
      forgetGrants(v, client);
      await v.sync();
    },
    quarantineFormer: async (clients) => {
      await quarantineFormer(v, clients);
      for (const client of clients) forgetGrants(v, client);
      await v.sync();
    },
    held: (client) => heldBy(v, client),
    releaseQuarantine: async (client) => {
      await dropHolds(v, client);
      await v.sync();
    },
  };
}
