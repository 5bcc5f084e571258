/** How scattered files and free space are: what `iopmemfs status` shows. */
import { limits } from '../../limits.ts';
import type { Fragmentation } from '../filesystem.ts';
import type { Volume } from '../volume.ts';
import { hugeBlocks, hugePagesIn, stretches } from './fragments.ts';
import { Pace } from './pace.ts';

const bs = limits.blockSize;

export async function measureFragmentation(v: Volume): Promise<Fragmentation> {
  const pace = new Pace(new AbortController().signal);
  const sum = { files: 0, fragmentedFiles: 0, extents: 0, idealExtents: 0, mapped: 0, huge: 0, mappable: 0 };
  const files = [...v.extents.keys()]; // as they are now: files come and go while others have their turn
  for (const ino of files) {
    const map = v.extents.get(ino);
    if (map === undefined || map.isEmpty) continue;
    let [pieces, ideal] = [0, 0];
    for (const stretch of stretches(map.all())) {
      pieces += stretch.pieces;
      ideal++;
      sum.huge += hugePagesIn(stretch.from, stretch.to);
    }
    for (const extent of map.all()) sum.mappable += hugeBlocks(extent);
    sum.files++;
    if (pieces > ideal) sum.fragmentedFiles++;
    sum.extents += pieces;
    sum.idealExtents += ideal;
    sum.mapped += map.blocks;
    if (pace.isOver) await pace.next();
  }
  return {
    files: sum.files,
    fragmentedFiles: sum.fragmentedFiles,
    extents: sum.extents,
    idealExtents: sum.idealExtents,
    mappedBytes: sum.mapped * bs,
    hugePageBytes: sum.huge * limits.hugePage,
    hugeMappableBytes: sum.mappable * bs,
    freeExtents: v.space.freeExtents(),
    largestFreeBytes: v.space.largestFree() * bs,
  };
}
