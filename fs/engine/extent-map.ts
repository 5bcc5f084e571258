/** Where the blocks of a file lie, for those who look from outside. */
import { limits } from '../limits.ts';
import type { MappedExtent } from '../vfs.ts';
import { requireFile } from './data.ts';
import type { Extent } from './extents.ts';
import { byShares, isUnwritten } from './file-space.ts';
import type { Inode } from './inode.ts';
import type { Volume } from './volume.ts';

const bs = limits.blockSize;

/** The extents with a block at or after byte `from`, whole, ascending; holes are not listed. */
export function* mappedExtents(v: Volume, ino: number, from = 0): Generator<MappedExtent> {
  const map = v.extents.get(ino);
  const first = map?.find(Math.floor(from / bs));
  if (map === undefined || first === undefined) return;
  for (const extent of map.within(first.fileBlock, Infinity)) yield* mapped(v, extent, from);
}

/** In pieces by who shares them; only those that reach past byte `from`. */
function* mapped(v: Volume, extent: Extent, from: number): Generator<MappedExtent> {
  for (const { fileBlock, block, length, shares } of byShares(v, extent)) {
    if ((fileBlock + length) * bs <= from) continue;
    yield {
      offset: fileBlock * bs,
      length: length * bs,
      device: 0,
      storageOffset: block * bs,
      busAddress: v.device.busAddress + BigInt(block * bs),
      unwritten: isUnwritten(extent),
      shares,
    };
  }
}

/** `{"next":N}` with the largest offset, and its line feed. */
const nextMax = `{"next":${limits.fileSizeMax}}\n`.length;

/**
 * JSON, one extent a line, in bytes, in the fields of MappedExtent; the bus address in hexadecimal. Where not all fit
 * into `room` bytes the last line is `{"next":OFFSET}`: the rest is to be had from there on.
 * @throws FsError EISDIR, EINVAL (not a regular file)
 */
export function mapLines(v: Volume, inode: Inode, from: number, room: number): Uint8Array {
  requireFile(inode);
  let text = '';
  for (const extent of mappedExtents(v, inode.ino, from)) {
    const line = `${JSON.stringify({ ...extent, busAddress: `0x${extent.busAddress.toString(16)}` })}\n`;
    if (text.length + line.length + nextMax > room) return Buffer.from(`${text}{"next":${extent.offset}}\n`);
    text += line;
  }
  return Buffer.from(text);
}
