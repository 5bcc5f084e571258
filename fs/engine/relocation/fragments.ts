/** How scattered the blocks of a file are. */
import { limits } from '../../limits.ts';
import type { Extent } from '../extents.ts';

const huge = limits.hugePage / limits.blockSize;

/** File blocks [from, to) without a hole. */
export interface Stretch {
  readonly from: number;
  readonly to: number;
  /** Pieces that each lie together on the device; one is ideal. */
  readonly pieces: number;
  /** It is large enough to be mapped by huge pages, and lies so that it can be. */
  readonly isAligned: boolean;
}

/** The stretches of a file, in order. Written and unwritten blocks that lie together are one piece. */
export function* stretches(extents: Iterable<Extent>): Generator<Stretch> {
  let from = 0;
  let to = 0;
  let block = 0;
  let pieces = 0;
  let isAligned = true;
  for (const extent of extents) {
    if (pieces > 0 && extent.fileBlock > to) {
      yield { from, to, pieces, isAligned };
      pieces = 0;
    }
    if (pieces === 0) {
      from = extent.fileBlock;
      isAligned = true;
    }
    if (pieces === 0 || extent.block !== block) pieces++;
    isAligned &&= isMappable(extent) || !spansHugePage(extent.fileBlock, extent.fileBlock + extent.length);
    to = extent.fileBlock + extent.length;
    block = extent.block + extent.length;
  }
  if (pieces > 0) yield { from, to, pieces, isAligned };
}

/** There is a whole huge page of the file in these blocks of it. */
export function spansHugePage(from: number, to: number): boolean {
  return hugePagesIn(from, to) > 0;
}

/** Whole huge pages of the file in these blocks of it. */
export function hugePagesIn(from: number, to: number): number {
  return Math.max(0, Math.floor(to / huge) - Math.ceil(from / huge));
}

/** Whole huge pages in the extent, counted in blocks, that a peer can map as such. */
export function hugeBlocks(extent: Extent): number {
  if (!isMappable(extent)) return 0;
  return hugePagesIn(extent.fileBlock, extent.fileBlock + extent.length) * huge;
}

/** Offsets in the file and on the device are the same within a huge page. */
function isMappable({ fileBlock, block }: Extent): boolean {
  return (block - fileBlock) % huge === 0;
}
