/**
 * Mounting: the extent map of every file becomes resident, and from it follows what is free, shared, provisional and
 * quarantined. Inodes and names stay in the store until somebody asks. Damage found here refuses the mount and names
 * fsck.
 */
import { FsError } from '../errors.ts';
import {
  decodeBad,
  decodeClient,
  decodeCounts,
  decodeCut,
  decodeExtent,
  decodeGrant,
  decodeHold,
  decodeProvisional,
  decodeQuota,
} from '../format/codec.ts';
import type { KeyRange } from '../format/keys.ts';
import {
  badRange,
  clientRange,
  countsKey,
  cutRange,
  extentRange,
  grantRange,
  holdRange,
  inodeRange,
  orphanRange,
  parseBadKey,
  parseExtentKey,
  parseGrantKey,
  parseHoldKey,
  parseOrphanKey,
  parseProvisionalKey,
  provisionalRange,
  quotaRange,
} from '../format/keys.ts';
import type { ClientRecord, CutRecord, QuotaRecord } from '../format/records.ts';
import type { MetaStore, StoreEntry } from '../meta/store.ts';
import type { Access, BlockRange } from '../space/space.ts';
import { Space } from '../space/space.ts';
import { LoadedExtents } from './extent-table.ts';
import { type Extent, ExtentMap } from './extents.ts';

export interface Loaded {
  readonly space: Space;
  readonly extents: LoadedExtents;
  readonly provisional: Map<number, ExtentMap>;
  readonly holds: Map<number, Map<number, BlockRange>>;
  readonly grants: Map<number, Map<number, Access>>;
  readonly clients: readonly ClientRecord[];
  readonly quotas: readonly QuotaRecord[];
  readonly orphans: readonly number[];
  /** To be finished by a mount for writing. */
  readonly cuts: readonly CutRecord[];
  readonly inodeCount: number;
}

/** A mount only for reading shows what is being cut as it will be. @throws FsError EUCLEAN, EIO */
export async function load(
  store: MetaStore,
  blockCount: number,
  generation: number,
  readOnly: boolean,
): Promise<Loaded> {
  const builder = Space.builder(blockCount, [
    { block: 0, length: 1 },
    { block: blockCount - 1, length: 1 },
  ]);

  const cuts: CutRecord[] = [];
  await each(store, cutRange(), ([key, value]) => {
    cuts.push(decodeCut(key, value));
  });
  const hidden = new Map(readOnly ? cuts.map((cut) => [cut.ino, cut] as const) : []);

  const extents = new LoadedExtents();
  await each(store, extentRange(), ([key, value]) => {
    const { ino, fileBlock } = parseExtentKey(key);
    const { block, length, flags } = decodeExtent(key, value);
    for (const part of without(hidden.get(ino), { fileBlock, block, length, mark: flags })) {
      if (!extents.add(ino, part)) throw overlap(ino, fileBlock);
      builder.addFile({ block: part.block, length: part.length });
    }
  });

  const provisional = new Map<number, ExtentMap>();
  await each(store, provisionalRange(), ([key, value]) => {
    const { ino, fileBlock } = parseProvisionalKey(key);
    const { block, length, clientId } = decodeProvisional(key, value);
    append(provisional, ino, { fileBlock, block, length, mark: clientId });
    builder.addProvisional({ block, length }, clientId);
  });

  const holds = new Map<number, Map<number, BlockRange>>();
  await each(store, holdRange(), ([key, value]) => {
    const { block, clientId } = parseHoldKey(key);
    const { length, access } = decodeHold(key, value);
    let held = holds.get(clientId);
    if (held === undefined) {
      held = new Map();
      holds.set(clientId, held);
    }
    held.set(block, { block, length });
    builder.addHold({ block, length }, clientId, access);
  });

  const grants = new Map<number, Map<number, Access>>();
  await each(store, grantRange(), ([key, value]) => {
    const { clientId, ino } = parseGrantKey(key);
    const { access } = decodeGrant(key, value);
    const files = grants.get(clientId);
    if (files === undefined) grants.set(clientId, new Map([[ino, access]]));
    else files.set(ino, access);
  });
  for (const [ino, map] of provisional) {
    for (const { mark } of map.all()) grants.set(mark, (grants.get(mark) ?? new Map()).set(ino, 'write'));
  }

  const clients: ClientRecord[] = [];
  await each(store, clientRange(), ([key, value]) => {
    clients.push(decodeClient(key, value));
  });
  const orphans: number[] = [];
  await each(store, orphanRange(), ([key]) => {
    orphans.push(parseOrphanKey(key).ino);
  });
  const quotas: QuotaRecord[] = [];
  await each(store, quotaRange(), ([key, value]) => {
    quotas.push(decodeQuota(key, value));
  });
  const inodeCount = knownInodes(store, generation) ?? (await countInodes(store));
  const space = builder.finish();
  await each(store, badRange(), ([key, value]) => {
    const { block } = parseBadKey(key);
    // A crash may have come between a smaller filesystem and the end of what lay past it.
    const end = Math.min(block + decodeBad(key, value).length, blockCount - 1);
    if (block < end) space.retire({ block, length: end - block });
  });
  return { space, extents, provisional, holds, grants, clients, quotas, orphans, cuts, inodeCount };
}

/** What is left of an extent before and behind the cut. */
function without(cut: CutRecord | undefined, extent: Extent): readonly Extent[] {
  const { fileBlock, length } = extent;
  const end = fileBlock + length;
  if (cut === undefined || end <= cut.from || cut.to <= fileBlock) return [extent];
  const before = cut.from - fileBlock;
  const behind = cut.to - fileBlock;
  const parts: Extent[] = [];
  if (before > 0) parts.push({ ...extent, length: before });
  if (cut.to < end) parts.push({ ...extent, fileBlock: cut.to, block: extent.block + behind, length: length - behind });
  return parts;
}

/** Undefined where the last mount for writing, of `generation`, was by a program that kept no counts. */
function knownInodes(store: MetaStore, generation: number): number | undefined {
  const key = countsKey();
  const value = store.get(key);
  const counts = value === undefined ? undefined : decodeCounts(key, value);
  return counts?.generation === generation ? counts.inodes : undefined;
}

async function countInodes(store: MetaStore): Promise<number> {
  let count = 0;
  await each(store, inodeRange(), () => {
    count++;
  });
  return count;
}

function append(
  maps: Map<number, ExtentMap>,
  ino: number,
  extent: { fileBlock: number; block: number; length: number; mark: number },
): void {
  let map = maps.get(ino);
  if (map === undefined) {
    map = new ExtentMap();
    maps.set(ino, map);
  }
  const last = map.last;
  if (last !== undefined && last.fileBlock + last.length > extent.fileBlock) throw overlap(ino, extent.fileBlock);
  map.load(extent);
}

function overlap(ino: number, fileBlock: number): FsError {
  const detail = `the extent at file block ${fileBlock} and the one before it overlap: run fsck.iopmemfs`;
  return new FsError('EUCLEAN', { ino, detail });
}

async function each(store: MetaStore, { from, to }: KeyRange, visit: (entry: StoreEntry) => void): Promise<void> {
  for await (const page of store.range(from, to)) for (const entry of page) visit(entry);
}
