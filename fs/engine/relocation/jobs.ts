/** What each job does. */
import { FsError } from '../../errors.ts';
import { encodeBad } from '../../format/codec.ts';
import { badKey } from '../../format/keys.ts';
import { limits } from '../../limits.ts';
import type { BlockRange } from '../../space/space.ts';
import type { JobRequest } from '../filesystem.ts';
import type { Volume } from '../volume.ts';
import { defragmentAll, defragmentFile } from './defragment.ts';
import { evacuate } from './evacuate.ts';
import type { JobWork } from './job.ts';
import { Relocator } from './relocator.ts';
import { resize, type SetBlockCount } from './resize.ts';

const bs = limits.blockSize;

/** @throws FsError EROFS, EIO (shut down), ESTALE (no such file), EINVAL (no such range) */
export function jobOf(v: Volume, request: JobRequest, setBlockCount: SetBlockCount): JobWork {
  if (v.readOnly) throw new FsError('EROFS', { detail: 'mounted read-only' });
  if (v.shutdown !== undefined) throw new FsError('EIO', { detail: v.shutdown });
  switch (request.kind) {
    case 'defragment': {
      const { ino } = request;
      if (ino === undefined) return (progress, signal) => defragmentAll(new Relocator(v, signal, progress));
      v.inodes.get(ino);
      return (progress, signal) => defragmentFile(new Relocator(v, signal, progress), ino);
    }
    case 'evacuate': {
      const range = blockRange(v, request);
      return (progress, signal) => evacuation(new Relocator(v, signal, progress), range, request.retire);
    }
    case 'resize': {
      const { size } = request;
      return (progress, signal) => resize(new Relocator(v, signal, progress), size, setBlockCount);
    }
  }
}

async function evacuation(r: Relocator, range: BlockRange, isBad: boolean): Promise<void> {
  const { v } = r;
  // Known before anything moves: what is interrupted here leaves a range into which nothing is put any more.
  if (isBad) await retire(v, range);
  v.space.close(range);
  try {
    await evacuate(r, range);
  } finally {
    v.space.reopen(range);
  }
}

/** Durable when it settles. @throws FsError EIO */
async function retire(v: Volume, range: BlockRange): Promise<void> {
  const { sec: since } = v.clock.now();
  let at = range.block;
  const end = { block: range.block + range.length, length: 0 };
  for (const { block, length } of [...v.space.retiredIn(range), end]) {
    if (block > at) v.changes.record(badKey(at), encodeBad({ device: 0, length: block - at, since }));
    at = block + length;
  }
  v.space.retire(range);
  await v.sync();
}

/** Whole blocks that hold these bytes; the superblocks stay where they are. @throws FsError EINVAL */
function blockRange(v: Volume, { offset, length }: { readonly offset: number; readonly length: number }): BlockRange {
  const { total } = v.space.counts();
  const [first, end] = [Math.floor(offset / bs), Math.ceil((offset + length) / bs)];
  if (length <= 0 || offset < 0 || end > total) {
    throw new FsError('EINVAL', {
      range: { offset, length },
      detail: `not within the ${total * bs} bytes of the filesystem`,
    });
  }
  const block = Math.max(1, first);
  const range = { block, length: Math.min(end, total - 1) - block };
  if (range.length > 0) return range;
  throw new FsError('EINVAL', { range: { offset, length }, detail: 'a superblock, which cannot be moved' });
}
