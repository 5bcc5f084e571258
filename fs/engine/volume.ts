/**
 * The state of a mounted filesystem that the operations work on: what is resident, what is free, what the open group
 * has to write. Each operation is a function of this state; the files beside this one hold them, by subject.
 */
import { totalmem } from 'node:os';
import type { BarDevice } from '../bar/device.ts';
import { Counts } from '../counts.ts';
import { FsError } from '../errors.ts';
import { decodeDentry, encodeCounts, encodeQuota, encodeStore } from '../format/codec.ts';
import { countsKey, dentryRange, parseDentryKey, quotaKey, storeKey } from '../format/keys.ts';
import { INODE_SNAPSHOT, type QuotaRecord, type StoreRecord } from '../format/records.ts';
import { buffersIno } from '../format/session-buffers.ts';
import { limits } from '../limits.ts';
import { CachedStore } from '../meta/cached-store.ts';
import { GroupCommit } from '../meta/group-commit.ts';
import type { MetaStore, StoreOp } from '../meta/store.ts';
import type { Access, BlockRange, Space } from '../space/space.ts';
import type { Caller, Reply } from '../vfs.ts';
import { Changes } from './changes.ts';
import type { Clock } from './clock.ts';
import { Copying } from './copying.ts';
import { Cutting } from './cutting.ts';
import type { Dentry, Directory } from './directory.ts';
import { DirectoryTable, residentNamesMax } from './directory.ts';
import { DirtyData } from './dirty-data.ts';
import { ExtentTable, type LoadedExtents } from './extent-table.ts';
import { ExtentMap } from './extents.ts';
import { blocksOf, quarantineProvisional } from './file-space.ts';
import { Fresh } from './fresh.ts';
import { type Inode, InodeTable } from './inode.ts';
import type { BreakReason, ByteRange, LayoutBreak, Leases, ProvidedFile, SpaceNeed } from './leases.ts';
import { noLeases } from './leases.ts';
import { Lingering } from './lingering.ts';
import type { QuotaTree } from './quotas.ts';
import { Quotas } from './quotas.ts';
import { Reaping } from './reaping.ts';
import { snapshotsDirectory } from './snapshots-directory.ts';
import { Unsharing } from './unsharing.ts';
import { LayoutWait, Wait } from './wait.ts';

export const rootIno = 1;

/** Most inode numbers and listing positions that one operation takes. */
const numbersAtOnce = 16;

/**
 * On whose behalf blocks are taken. Root, and the system where it copies in order to free or to save something, may take
 * the last of them; clients, whoever runs on them, and everybody else leave the reserve.
 */
export type Taker = Pick<Caller, 'uid' | 'client'> | 'system' | 'client';

export interface VolumeOptions {
  readonly device: BarDevice;
  readonly store: MetaStore;
  readonly space: Space;
  readonly extents: LoadedExtents;
  readonly provisional: Map<number, ExtentMap>;
  readonly holds: Map<number, Map<number, BlockRange>>;
  readonly grants: Map<number, Map<number, Access>>;
  readonly quotas: readonly QuotaRecord[];
  /** As the store has it: its nextIno is above all numbers that this mount may give out. */
  readonly binding: StoreRecord;
  readonly nextNumber: number;
  readonly inodeCount: number;
  readonly readOnly: boolean;
  readonly clock: Clock;
}

export class Volume {
  readonly device: BarDevice;
  readonly space: Space;
  readonly unsharing: Unsharing;
  readonly fresh = new Fresh();
  readonly inodes: InodeTable;
  readonly directories: DirectoryTable;
  /** Of every file that has blocks. */
  readonly extents: ExtentTable;
  /** Blocks granted for writing, not yet part of the file; `mark` is the client id. */
  readonly provisional: Map<number, ExtentMap>;
  /** What fenced clients may still touch: ranges by first block, by client. */
  readonly holds: Map<number, Map<number, BlockRange>>;
  /** Files that clients may have layouts on: access by inode number, by client. */
  readonly grants: Map<number, Map<number, Access>>;
  /**
   * By inode number, the client whose write layout was last granted over the end of the file, 0 when it gave that back;
   * absent before the first write layout since the mount.
   */
  readonly tailOwners = new Map<number, number>();
  readonly quotas: Quotas;
  readonly lingering = new Lingering();
  readonly copying = new Copying();
  readonly cutting: Cutting;
  readonly reaping = new Reaping();
  /** References the kernel holds, by inode number. */
  readonly kernelRefs = new Counts();
  readonly changes: Changes;
  readonly group: GroupCommit;
  readonly clock: Clock;
  readonly readOnly: boolean;
  leases: Leases = noLeases;
  inodeCount: number;
  /** Filesystem.onAccessed */
  onAccessed: (ino: number) => void = () => {};
  /** Why nothing is written any more. */
  shutdown: string | undefined;

  readonly store: CachedStore;
  #binding: StoreRecord;
  #nextNumber: number;
  /** Above all numbers that may be given out: durable. */
  #numbersMax: number;
  /** The same by the end of a group that is not durable yet. */
  #raised: { readonly group: number; readonly numbersMax: number } | undefined;
  #nextClientId: number;
  readonly #dirtyData: DirtyData;
  /** As the store has it. */
  #countedInodes: number;
  #sealedDirectories: readonly Directory[] = [];
  #trimDue = false;

  constructor(options: VolumeOptions) {
    this.device = options.device;
    this.store = new CachedStore(
      options.store,
      Math.min(limits.recordCacheBytes, totalmem() * limits.recordCacheShare),
    );
    this.space = options.space;
    this.unsharing = new Unsharing(options.space.counts().total);
    this.provisional = options.provisional;
    this.holds = options.holds;
    this.grants = options.grants;
    this.quotas = new Quotas(options.quotas);
    this.cutting = new Cutting(this);
    this.clock = options.clock;
    this.readOnly = options.readOnly;
    this.inodeCount = options.inodeCount;
    this.#countedInodes = options.inodeCount;
    this.#binding = options.binding;
    this.#nextNumber = options.nextNumber;
    this.#numbersMax = options.binding.nextIno;
    this.#nextClientId = options.binding.nextClientId;
    const overfull = (): void => this.#trimSoon();
    this.extents = new ExtentTable(options.extents, { capacity: limits.extentMapsMax, overfull });
    const durable = (): number => this.group.durable;
    this.inodes = new InodeTable({
      snapshots: (ino) => snapshotsDirectory(this, ino),
      load: (ino) => this.store.inode(ino),
      durable,
      capacity: limits.inodeCacheMax,
      overfull,
    });
    this.directories = new DirectoryTable({
      load: (ino, name) => this.store.dentry(ino, name),
      knowsAll: () => this.store.knowsNames,
      loadAll: (ino) => this.#allDentries(ino),
      durable,
      capacity: residentNamesMax,
      overfull,
    });
    this.changes = new Changes(() => this.group, this.extents, this.provisional);
    this.#dirtyData = new DirtyData(this.device, (error) => this.#shutDown('the device failed', error));
    this.group = new GroupCommit(this.store, {
      collect: (group): readonly StoreOp[] => this.#collect(group),
      beforeWrite: () => this.#dirtyData.persist(),
      onDurable: (group) => this.#durable(group),
      onFailure: (error) => this.#shutDown('the metadata store failed', error),
      intervalMs: limits.groupIntervalMs,
      recordsMax: limits.groupRecordsMax,
    });
  }

  /** A number never used before for an inode or a listing position. */
  newNumber(): number {
    return this.#nextNumber++;
  }

  /** All numbers given out so far are below this one. */
  get numbersEnd(): number {
    return this.#nextNumber;
  }

  newClientId(): number {
    return this.#nextClientId++;
  }

  extentsOf(ino: number): ExtentMap {
    return this.extents.of(ino);
  }

  provisionalOf(ino: number): ExtentMap {
    let map = this.provisional.get(ino);
    if (map === undefined) {
      map = new ExtentMap();
      this.provisional.set(ino, map);
    }
    return map;
  }

  /** Bytes of the device changed: they are persisted before the open group's metadata is. */
  wrote(offset: number, length: number): void {
    this.#dirtyData.wrote(offset, length);
  }

  /**
   * Before any change: the filesystem takes changes, and not more than it can write.
   * @throws FsError EROFS, EIO (shut down); Wait while too much is unwritten
   */
  requireWritable(): void {
    if (this.readOnly) throw new FsError('EROFS', { detail: 'mounted read-only' });
    if (this.shutdown !== undefined) throw new FsError('EIO', { detail: this.shutdown });
    if (this.changes.size >= limits.unwrittenRecordsMax) throw new Wait(this.group.sync());
    this.#requireNumbers();
  }

  /**
   * Numbers are given out only below the mark that is durable, so that none comes again after a crash, where a peer may
   * hold it. It is raised when half of them are left, so that nobody waits for it.
   * @throws Wait
   */
  #requireNumbers(): void {
    const left = this.#numbersMax - this.#nextNumber;
    if (left >= limits.numbersAhead / 2) return;
    if (this.#raised === undefined) this.touchBinding();
    if (left < numbersAtOnce) throw new Wait(this.group.sync());
  }

  /**
   * Before any change of the inode, but for what clients wrote under their layouts.
   * @throws as requireWritable; FsError EROFS: it is part of a snapshot; Wait while a copy of its tree is being made, or
   *   it is being cut
   */
  requireChangeable(inode: Inode): void {
    this.requireWritable();
    if ((inode.flags & INODE_SNAPSHOT) !== 0)
      throw new FsError('EROFS', { ino: inode.ino, detail: 'snapshots never change' });
    this.copying.requireNotTaken(inode.ino);
    this.cutting.requireNone(inode.ino);
  }

  /**
   * Nobody else holds a layout that `reason` would hurt (xfs_break_layouts before every change).
   * @throws Wait while holders are being recalled
   */
  requireNoLayouts(ino: number, range: ByteRange, reason: BreakReason, client?: number): void {
    const found = this.breakLayouts(ino, range, reason, client);
    if (found !== undefined) throw new LayoutWait(found.done, () => found.release());
  }

  /**
   * Asks for the layouts that `reason` would hurt; undefined: there are none. Where no metadata server is there to ask,
   * what clients of a former run were provided with in the range goes to quarantine: it never becomes the file's.
   */
  breakLayouts(ino: number, range: ByteRange, reason: BreakReason, client?: number): LayoutBreak | undefined {
    const { offset, length } = range;
    if (this.leases === noLeases)
      quarantineProvisional(this, { ino }, Math.floor(offset / limits.blockSize), blocksOf(offset + length));
    return this.leases.breakLayouts(ino, range, reason, client);
  }

  /** Blocks become free, or may be written in place and need no copy, with the open group or with files that go. */
  get getsSpace(): boolean {
    const goes = this.cutting.soon() ?? this.reaping.soon();
    return this.#settles || this.lingering.isAny || goes !== undefined;
  }

  /** Settles when some of what goes has gone; undefined where nothing goes. */
  #leaving(): Promise<void> | undefined {
    return this.lingering.soon() ?? this.cutting.soon() ?? this.reaping.soon();
  }

  /** When the open group is durable there is more space. */
  get #settles(): boolean {
    return this.space.freeing > 0 || !this.unsharing.isEmpty;
  }

  /**
   * Space is short now.
   * @param need what other clients are asked to give back of what they have not committed; undefined: nothing
   * @throws Wait if there will be more, FsError ENOSPC if not
   */
  noSpace(ino: number, need?: SpaceNeed): never {
    if (this.#settles && this.shutdown === undefined) throw new Wait(this.group.sync());
    const leaving = this.#leaving();
    if (leaving !== undefined) throw new Wait(leaving);
    this.#awaitReturns(ino, need);
    throw new FsError('ENOSPC', { ino, detail: 'no free blocks on the device' });
  }

  /** Before something new: its records will have room. What deletes needs no leave. @throws FsError ENOSPC */
  requireRecords(ino: number): void {
    if (this.store.room > 0) return;
    throw new FsError('ENOSPC', { ino, detail: 'the disk of the metadata directory is nearly full' });
  }

  /**
   * @param free what whoever asks may take of (freeTo)
   * @param by for whom other clients are asked to give back what they have not committed
   * @throws as noSpace, where there is less; FsError ENOSPC without room for their records
   */
  requireSpace(ino: number, blocks: number, free = this.freeTo('system'), by?: Pick<Caller, 'client'>): void {
    if (blocks > 0) this.requireRecords(ino);
    if (blocks > free) this.noSpace(ino, by && { blocks: blocks - free, client: by.client });
  }

  /** Blocks that may be taken now on behalf of somebody. */
  freeTo(taker: Taker): number {
    const { free } = this.space;
    const mayTakeAll = taker === 'system' || (taker !== 'client' && taker.uid === 0);
    return mayTakeAll ? free : Math.max(0, free - this.reservedBlocks);
  }

  /** Hundredths of a percent of the blocks that are kept for root. */
  get reserve(): number {
    return this.#binding.reserve;
  }

  get reservedBlocks(): number {
    return Math.floor((this.space.total * this.reserve) / 10_000);
  }

  /** Durable with the next group. */
  setReserve(reserve: number): void {
    this.#binding = { ...this.#binding, reserve };
    this.touchBinding();
  }

  /** More blocks that the file may get by its quota. */
  quotaRoom(inode: Inode): number {
    return this.quotas.of(inode)?.room ?? Infinity;
  }

  /** Files of the same quota, or parts of some, are about to go, and count no more then. */
  getsQuota({ quota }: Pick<Inode, 'quota'>): boolean {
    return (
      this.lingering.some((ino) => this.inodes.peek(ino)?.quota === quota) ||
      this.cutting.some((ino) => this.inodes.peek(ino)?.quota === quota) ||
      this.reaping.some((inode) => inode.quota === quota)
    );
  }

  /** @throws Wait where clients give back what they did not ask for, or, where there is a need, did not commit */
  #awaitReturns(ino: number, need: SpaceNeed | undefined, quota?: number): void {
    if (this.shutdown !== undefined) return;
    const { leases } = this;
    const spare = leases.takeBackSpare?.(ino);
    if (spare !== undefined) throw new Wait(spare);
    const provided = need && leases.takeBackProvided?.(this.#providedBut(ino, quota), need);
    if (provided !== undefined) throw new LayoutWait(provided);
  }

  /**
   * Files, of the quota, with blocks of clients, but for one: who commits there must not wait for its own return. Buffers of
   * sessions are in use and never committed: they are nobody's to ask for.
   */
  #providedBut(ino: number, quota: number | undefined): readonly ProvidedFile[] {
    const files: ProvidedFile[] = [];
    for (const [of, map] of this.provisional) {
      const [first, last] = [map.find(0), map.last];
      if (of === ino || of === buffersIno || first === undefined || last === undefined) continue;
      if (quota !== undefined && this.inodes.peek(of)?.quota !== quota) continue;
      const offset = first.fileBlock * limits.blockSize;
      const length = (last.fileBlock + last.length) * limits.blockSize - offset;
      files.push({ ino: of, offset, length, blocks: map.blocks });
    }
    return files.toSorted((a, b) => b.blocks - a.blocks);
  }

  /**
   * The quota is used up now.
   * @param need as for noSpace
   * @throws Wait where files that go may make room, or what clients give back; FsError EDQUOT
   */
  noQuota(inode: Pick<Inode, 'ino' | 'quota'>, of: 'blocks' | 'inodes', need?: SpaceNeed): never {
    const leaving = this.getsQuota(inode) ? this.#leaving() : undefined;
    if (leaving !== undefined) throw new Wait(leaving);
    if (of === 'blocks') this.#awaitReturns(inode.ino, need, inode.quota);
    throw new FsError('EDQUOT', { ino: inode.ino, detail: `the quota of its directory tree has no ${of} left` });
  }

  /** `blocks` more in the file, or `inodes` more in the directory, are within the quota. @throws as noQuota */
  requireQuota(inode: Pick<Inode, 'ino' | 'quota'>, blocks: number, inodes = 0, by?: Pick<Caller, 'client'>): void {
    if (inode.quota === 0) return;
    const tree = this.quotas.of(inode);
    if (tree === undefined) return;
    if (blocks > tree.room) this.noQuota(inode, 'blocks', by && { blocks: blocks - tree.room, client: by.client });
    if (inodes > tree.inodeRoom) this.noQuota(inode, 'inodes');
  }

  /** The record of the quota goes into the next group. */
  touchQuota(tree: QuotaTree): void {
    this.quotas.touch(tree);
    this.changes.record(quotaKey(tree.id), encodeQuota(tree));
  }

  /** The filesystem has so many blocks from now on, and the superblocks say so. */
  resize(blocks: number): void {
    this.space.resize(blocks);
    this.unsharing.resize(blocks);
  }

  /** Everything changed so far is durable when it settles. @throws FsError EIO */
  sync(): Promise<void> {
    return this.group.sync();
  }

  /**
   * The data of the file as it is now is durable when it settles. Bytes that were overwritten in place are found without
   * any record that is not: then the store has no part in it (fdatasync(2): times alone need not be written).
   * @throws FsError EIO
   */
  syncData(inode: Inode): Reply<void> {
    if (this.shutdown !== undefined)
      throw new FsError('EIO', { op: 'fdatasync', ino: inode.ino, detail: this.shutdown });
    if (!inode.isFile || this.changes.mayMove(inode)) return this.sync();
    return this.#dirtyData.persist()?.catch((cause: unknown) => {
      throw new FsError('EIO', { op: 'fdatasync', ino: inode.ino, detail: 'the device failed' }, cause);
    });
  }

  /** Nothing changed since the last durable group. */
  get isDurable(): boolean {
    return this.changes.size === 0 && this.group.durable === this.group.open - 1;
  }

  /** The counters go into the next group. */
  touchBinding(): void {
    this.changes.record(storeKey(), this.#encodeBinding(this.group.open));
  }

  #encodeBinding(group: number): Uint8Array {
    const numbersMax = this.#nextNumber + limits.numbersAhead;
    this.#raised = { group, numbersMax };
    this.#binding = {
      ...this.#binding,
      nextIno: numbersMax,
      nextClientId: this.#nextClientId,
    };
    return encodeStore(this.#binding);
  }

  /** Records that are made only here belong to the group that is sealed: as changes they would count for the next one. */
  #collect(group: number): readonly StoreOp[] {
    this.fresh.clear();
    const { ops, directories } = this.changes.collect();
    if (this.#nextClientId > this.#binding.nextClientId)
      ops.push({ key: storeKey(), value: this.#encodeBinding(group) });
    for (const tree of this.quotas.takeChanged()) ops.push({ key: quotaKey(tree.id), value: encodeQuota(tree) });
    if (this.inodeCount !== this.#countedInodes) {
      this.#countedInodes = this.inodeCount;
      const { generation } = this.#binding;
      ops.push({ key: countsKey(), value: encodeCounts({ generation, inodes: this.inodeCount }) });
    }
    this.#sealedDirectories = directories;
    return ops;
  }

  #shutDown(what: string, error: unknown): void {
    this.shutdown ??= `${what}: ${error instanceof Error ? error.message : String(error)}`;
  }

  #durable(group: number): void {
    this.changes.durable();
    this.space.durable(group);
    this.unsharing.durable(group);
    this.inodes.forgetDeleted(group);
    if (this.#raised !== undefined && this.#raised.group <= group) {
      this.#numbersMax = this.#raised.numbersMax;
      this.#raised = undefined;
    }
    for (const directory of this.#sealedDirectories) if (directory.group <= group) directory.settle();
    this.#sealedDirectories = [];
  }

  async *#allDentries(ino: number): AsyncIterable<readonly Dentry[]> {
    const { from, to } = dentryRange(ino);
    for await (const page of this.store.range(from, to)) {
      yield page.map(([key, value]) => ({ ...decodeDentry(key, value), name: parseDentryKey(key).name }));
    }
  }

  #trimSoon(): void {
    if (this.#trimDue) return;
    this.#trimDue = true;
    setImmediate(() => {
      this.#trimDue = false;
      this.inodes.trim();
      this.extents.trim();
      this.directories.trim();
    });
  }
}
