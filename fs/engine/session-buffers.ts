/**
 * Memory of the device that a client has for as long as its session: provisional blocks of no file (fs/format/session-buffers.ts). So
 * everything that holds for granted blocks holds for these: one role, on record before the client hears of them, given back by
 * `releaseProvisional`, and put in quarantine with whatever else a fenced client, or one of a former run, may reach.
 */
import { FsError } from '../errors.ts';
import { buffersIno } from '../format/session-buffers.ts';
import { limits } from '../limits.ts';
import { blocksOf } from './file-space.ts';
import { recordGrant } from './grants.ts';
import { placeFor, requireAlignment } from './pinned.ts';
import type { Volume } from './volume.ts';

const bs = limits.blockSize;

export interface BuffersRequest {
  readonly count: number;
  /** Bytes of each, rounded up to blocks. */
  readonly length: number;
  /** Bytes: a power of two from 4096 to limits.pinAlignMax. */
  readonly align: number;
}

/** Where each begins on the device, in bytes; what they hold is undefined. @throws FsError EINVAL, ENOSPC (nothing was taken), EROFS; Wait */
export function provideBuffers(v: Volume, { count, length, align }: BuffersRequest, client: number): readonly number[] {
  v.requireWritable();
  requireAlignment(align);
  const place = placeFor(v.device, align);
  const blocks = blocksOf(length);
  if (count < 1 || blocks < 1) throw new FsError('EINVAL', { client, detail: `${count} buffers of ${length} bytes` });
  v.requireRecords(buffersIno);
  const isRoom = count * blocks <= v.freeTo('client');
  const ranges = isRoom ? v.space.allocateProvisionalEach(count, blocks, client, place) : undefined;
  if (ranges === undefined) noRoom(v, { count, length, align });
  const map = v.provisionalOf(buffersIno);
  const touch = v.changes.provisionalOf(buffersIno);
  for (const range of ranges) map.insert({ ...range, fileBlock: range.block, mark: client }, touch);
  recordGrant(v, client, buffersIno, 'write');
  return ranges.map(({ block }) => block * bs);
}

function noRoom(v: Volume, { count, length, align }: BuffersRequest): never {
  try {
    v.noSpace(buffersIno);
  } catch (error) {
    if (!(error instanceof FsError && error.code === 'ENOSPC')) throw error;
    const place = placeFor(v.device, align);
    const largest = v.space.largestFreeAligned(place.align, place.phase) * bs;
    const detail = `no ${count} buffers of ${length} bytes aligned to ${align}: the largest such piece has ${largest}`;
    throw new FsError('ENOSPC', { detail }, error);
  }
}
