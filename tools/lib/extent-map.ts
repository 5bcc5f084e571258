import type { Extent } from '../../fs/engine/extents.ts';
import { hugeBlocks, hugePagesIn, stretches } from '../../fs/engine/relocation/fragments.ts';
import { limits } from '../../fs/limits.ts';
import type { MappedExtent } from '../../fs/vfs.ts';
import { formatColumns } from './columns.ts';

/** Unit of FILE-OFFSET, BLOCK-RANGE and TOTAL in xfs_bmap(8), in bytes. */
const sector = 512;
/** FLAGS of xfs_bmap(8), in octal. */
const flagShared = 0o100000;
const flagUnwritten = 0o010000;

/**
 * The layout of `xfs_bmap -v`, holes included, and where each extent lies on the device (bytes) and on the bus.
 * @param size of the file in bytes: the hole at the end is shown up to here
 */
export function formatExtentMap(path: string, size: number, extents: readonly MappedExtent[]): string {
  if (extents.length === 0) return `${path}: no extents`;
  const rows: string[][] = [['EXT:', 'FILE-OFFSET', 'BLOCK-RANGE', 'TOTAL', 'FLAGS', 'DEVICE-OFFSET', 'BUS-ADDRESS']];
  const add = (offset: number, length: number, ...rest: readonly [range: string, ...more: string[]]): void => {
    const [range, ...more] = rest;
    const place = `[${sectors(offset, length)}]:`;
    rows.push([`${rows.length - 1}:`, place, range, String(length / sector), ...more]);
  };
  let end = 0;
  for (const { offset, length, storageOffset, busAddress, unwritten, shares } of extents) {
    if (offset > end) add(end, offset - end, 'hole');
    const flags = (shares > 1 ? flagShared : 0) | (unwritten ? flagUnwritten : 0);
    const where = [flags.toString(8).padStart(6, '0'), hex(storageOffset), hex(busAddress)];
    add(offset, length, sectors(storageOffset, length), ...where);
    end = offset + length;
  }
  const whole = Math.ceil(size / sector) * sector;
  if (whole > end) add(end, whole - end, 'hole');
  return `${path}:\n${formatColumns(rows, ['right', 'left', 'left', 'right', 'right', 'right', 'right'])}`;
}

export interface FileFragmentation {
  /** Pieces that each lie together on the device. */
  readonly extents: number;
  /** As few as there could be: one for each stretch without a hole. */
  readonly idealExtents: number;
  /** Bytes in whole huge pages of the file. */
  readonly hugePageBytes: number;
  /** Of these, bytes that a peer can map by huge pages. */
  readonly hugeMappableBytes: number;
}

export function fragmentationOf(mapped: readonly MappedExtent[]): FileFragmentation {
  const bs = limits.blockSize;
  const extents = mapped.map(({ offset, storageOffset, length }) => ({
    fileBlock: offset / bs,
    block: storageOffset / bs,
    length: length / bs,
    mark: 0,
  }));
  const sum = { extents: 0, idealExtents: 0, hugePageBytes: 0, hugeMappableBytes: 0 };
  for (const { from, to, pieces } of stretches(extents)) {
    sum.extents += pieces;
    sum.idealExtents++;
    sum.hugePageBytes += hugePagesIn(from, to) * limits.hugePage;
  }
  for (const extent of joined(extents)) sum.hugeMappableBytes += hugeBlocks(extent) * bs;
  return sum;
}

/** What is listed apart only because other files share a part of it is one piece all the same. */
function* joined(extents: readonly Extent[]): Generator<Extent> {
  let last: Extent | undefined;
  for (const extent of extents) {
    const continues =
      last !== undefined &&
      last.fileBlock + last.length === extent.fileBlock &&
      last.block + last.length === extent.block;
    if (last !== undefined && !continues) yield last;
    last = last !== undefined && continues ? { ...last, length: last.length + extent.length } : extent;
  }
  if (last !== undefined) yield last;
}

/** `1 extent, 1 would be ideal`, `3 extents, 1 would be ideal; 50 % of its huge pages can be mapped as such` */
export function fragmentationText(f: FileFragmentation): string {
  const pieces = `${f.extents} ${f.extents === 1 ? 'extent' : 'extents'}, ${f.idealExtents} would be ideal`;
  if (f.hugePageBytes === 0) return pieces;
  return `${pieces}; ${Math.round((100 * f.hugeMappableBytes) / f.hugePageBytes)} % of its huge pages can be mapped as such`;
}

/** First and last. */
function sectors(offset: number, length: number): string {
  return `${offset / sector}..${(offset + length) / sector - 1}`;
}

function hex(value: number | bigint): string {
  return `0x${value.toString(16)}`;
}
