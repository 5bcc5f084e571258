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

/** First and last. */
function sectors(offset: number, length: number): string {
  return `${offset / sector}..${(offset + length) / sector - 1}`;
}

function hex(value: number | bigint): string {
  return `0x${value.toString(16)}`;
}
