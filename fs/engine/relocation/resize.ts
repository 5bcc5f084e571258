/**
 * Makes a mounted filesystem larger or smaller. The superblock in the first block decides where it ends: once that is
 * written, after the copies, the new size holds; a crash before finds the old one (docs/format.md, "Another size").
 */
import { FsError } from '../../errors.ts';
import { decodeBad } from '../../format/codec.ts';
import { badRange, parseBadKey } from '../../format/keys.ts';
import { limits } from '../../limits.ts';
import type { BlockRange } from '../../space/space.ts';
import type { Volume } from '../volume.ts';
import { evacuate, requireNoQuarantine } from './evacuate.ts';
import type { Relocator } from './relocator.ts';

const bs = limits.blockSize;

/** Writes the superblocks. @throws FsError EIO */
export type SetBlockCount = (blocks: number) => Promise<void>;

/**
 * @param size bytes; undefined: as large as the device is now
 * @throws FsError EINVAL (too small, larger than the device), ENOSPC, EBUSY (quarantined or pinned blocks), ECANCELED, EIO
 */
export async function resize(r: Relocator, size: number | undefined, setBlockCount: SetBlockCount): Promise<void> {
  const { v } = r;
  await v.device.refresh();
  const blocks = Math.floor((size ?? v.device.size) / bs);
  if (blocks * bs > v.device.size) {
    throw new FsError('EINVAL', { path: v.device.path, detail: `the device has only ${v.device.size} bytes` });
  }
  if (blocks * bs < limits.deviceSizeMin) {
    throw new FsError('EINVAL', { detail: `${blocks * bs} bytes are too few: at least ${limits.deviceSizeMin}` });
  }
  const bad = await badBlocks(v);
  if (bad.some(({ block, length }) => block < blocks && blocks <= block + length)) {
    throw new FsError('EINVAL', { detail: `the last block would be bad memory: choose another size` });
  }
  const before = v.space.counts().total;
  if (blocks > before) await grow(v, blocks, bad, setBlockCount);
  if (blocks < before) await shrink(r, blocks, setBlockCount);
}

async function grow(
  v: Volume,
  blocks: number,
  bad: readonly BlockRange[],
  setBlockCount: SetBlockCount,
): Promise<void> {
  const before = v.space.counts().total;
  await setBlockCount(blocks);
  v.resize(blocks);
  // What was retired before the filesystem became smaller is as bad as it was.
  for (const { block, length } of bad) {
    const from = Math.max(block, before - 1);
    const to = Math.min(block + length, blocks - 1);
    if (from < to) v.space.retire({ block: from, length: to - from });
  }
}

async function shrink(r: Relocator, blocks: number, setBlockCount: SetBlockCount): Promise<void> {
  const { v } = r;
  const before = v.space.counts().total;
  const tail = { block: blocks - 1, length: before - blocks };
  requireNoQuarantine(v, tail);
  v.space.close(tail);
  try {
    requireRoom(v, tail);
    await evacuate(r, tail);
    await setBlockCount(blocks);
  } catch (error) {
    v.space.reopen(tail);
    throw error;
  }
  v.resize(blocks);
}

/** What has to move fits, for all that is known. @throws FsError ENOSPC */
function requireRoom(v: Volume, tail: BlockRange): void {
  let inUse = 0;
  for (const { length, value } of v.space.rolesIn(tail)) {
    if (value.role === 'file' || value.role === 'provisional') inUse += length;
  }
  const { free, freeing } = v.space.counts();
  if (inUse <= free + freeing) return;
  const detail = `${inUse * bs} bytes lie past the new end, and only ${(free + freeing) * bs} are free before it`;
  throw new FsError('ENOSPC', { detail });
}

async function badBlocks(v: Volume): Promise<readonly BlockRange[]> {
  const bad: BlockRange[] = [];
  const { from, to } = badRange();
  for await (const page of v.store.range(from, to)) {
    for (const [key, value] of page) bad.push({ block: parseBadKey(key).block, length: decodeBad(key, value).length });
  }
  return bad;
}
