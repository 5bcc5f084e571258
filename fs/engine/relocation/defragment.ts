/**
 * Brings the blocks of files together: each stretch of a file without a hole goes to one free extent, so that offsets in
 * the file and on the device agree within a huge page where it is long enough. Free extents that are too small take a
 * part of it, where that joins at least two pieces.
 */
import { EXTENT_SHARED } from '../../format/records.ts';
import { limits } from '../../limits.ts';
import type { BlockRange } from '../../space/space.ts';
import type { Extent } from '../extents.ts';
import { isPinnedNumber } from '../pinned.ts';
import { type Stretch, spansHugePage, stretches } from './fragments.ts';
import type { Moved } from './move.ts';
import { OwnerIndex, requireRebuild } from './owners.ts';
import type { Relocator } from './relocator.ts';

const bs = limits.blockSize;
const huge = limits.hugePage / bs;

/** @throws FsError ESTALE (the file is gone), ENOSPC, ECANCELED, EIO */
export async function defragmentFile(r: Relocator, ino: number): Promise<void> {
  r.v.inodes.get(ino);
  r.progress.total = (r.v.extents.get(ino)?.blocks ?? 0) * bs;
  await new Defragmentation(r, 'asked for').file(ino);
  r.progress.done = r.progress.total;
}

/** @throws FsError ENOSPC, ECANCELED, EIO */
export async function defragmentAll(r: Relocator): Promise<void> {
  const { v, progress, pace } = r;
  const files = [...v.extents.keys()];
  for (const ino of files) progress.total += (v.extents.get(ino)?.blocks ?? 0) * bs;
  const defragmentation = new Defragmentation(r, 'one of all');
  for (const ino of files) {
    const blocks = v.extents.get(ino)?.blocks ?? 0;
    await defragmentation.file(ino);
    progress.done = Math.min(progress.total, progress.done + blocks * bs);
    if (pace.isOver) await pace.next();
  }
}

class Defragmentation {
  readonly #r: Relocator;
  /** Blocks shared with other files move if the file was asked for; otherwise only if that scatters none of the others. */
  readonly #why: 'asked for' | 'one of all';
  #owners: OwnerIndex | undefined;
  #rebuilt = 0;

  constructor(r: Relocator, why: 'asked for' | 'one of all') {
    this.#r = r;
    this.#why = why;
  }

  async file(ino: number): Promise<void> {
    const { v, progress } = this.#r;
    const map = v.extents.get(ino);
    if (map === undefined || isPinnedNumber(v, ino)) return;
    const due = [...stretches(map.all())].filter((stretch) => isImprovable(stretch));
    for (const stretch of due) {
      progress.ino = ino;
      if (this.#why === 'one of all' && !(await this.#isFreeToMove(ino, stretch))) continue;
      await this.#r.withoutLayouts(ino, stretch.from, stretch.to - stretch.from, () => this.#gather(ino, stretch));
    }
  }

  /** As much of the stretch at a time as the largest free extent holds, if that joins whole pieces of it. */
  async #gather(ino: number, { from, to, pieces }: Stretch): Promise<void> {
    const { v } = this.#r;
    for (let at = from; at < to; ) {
      const ends = pieceEnds(v.extents.get(ino)?.within(at, to) ?? []);
      const [first] = ends;
      if (first === undefined) return; // it went meanwhile
      const room = v.space.largestFree();
      const end = ends.findLast((each) => each - at <= room) ?? first;
      const isWhole = pieces === 1 && first === to && end - at <= room;
      if (end === first && !isWhole) at = first;
      else if (await this.#moveTogether(ino, at, end, isWhole)) at = end;
      else return;
    }
  }

  /** False: the file changed meanwhile, or there is no aligned place for what only needs that. */
  async #moveTogether(ino: number, from: number, to: number, onlyAlign: boolean): Promise<boolean> {
    let goal: number | undefined;
    for (let at = from; at < to; ) {
      const align = spansHugePage(from, to) ? { align: huge, phase: at % huge } : {};
      const place = { room: to - at, ...align, ...(goal !== undefined && { goal }) };
      const length = Math.min(to - at, limits.relocationMax / bs);
      const next = await this.#r.withTarget(length, place, async (target) => {
        if (onlyAlign && (target.block - at) % huge !== 0) return undefined;
        goal = target.block + target.length;
        return (await this.#fill(ino, at, target)) ? at + target.length : undefined;
      });
      if (next === undefined) return false;
      at = next;
    }
    return true;
  }

  /** The blocks of the file from `at` on go to the target. False: it does not have them any more. */
  async #fill(ino: number, at: number, target: BlockRange): Promise<boolean> {
    const { v } = this.#r;
    for (let done = 0; done < target.length; ) {
      const fileBlock = at + done;
      const to = { block: target.block + done, length: target.length - done };
      const owners = this.#owners;
      const moved = await this.#r.slice((mover): Moved => {
        const extent = v.extents.get(ino)?.find(fileBlock);
        if (extent === undefined || extent.fileBlock > fileBlock) return { kind: 'gone', length: 1 };
        const skip = fileBlock - extent.fileBlock;
        const source = { block: extent.block + skip, length: extent.length - skip };
        return mover.move(source, to, owners, { ino, fileBlock });
      });
      if (moved.kind === 'stale') await this.#renew();
      else if (moved.kind === 'moved') done += moved.length;
      else return false;
    }
    return true;
  }

  /** No file that shares blocks of the stretch would be scattered: each has these pieces as they are. */
  async #isFreeToMove(ino: number, { from, to }: Stretch): Promise<boolean> {
    const { v } = this.#r;
    const shared = [...(v.extents.get(ino)?.within(from, to) ?? [])].filter(({ mark }) => (mark & EXTENT_SHARED) !== 0);
    if (shared.length === 0) return true;
    const owners = this.#owners ?? (await this.#renew());
    return shared.every(({ block, length }) =>
      [...owners.of(v, block)].every((owner) => {
        const extent = v.extents.get(owner.ino)?.find(owner.fileBlock);
        return extent?.block === block && extent.length === length;
      }),
    );
  }

  /** @throws FsError EAGAIN: files are cloned faster than they can be moved */
  async #renew(): Promise<OwnerIndex> {
    const { v, pace } = this.#r;
    requireRebuild(this.#rebuilt++);
    this.#owners = await OwnerIndex.build(v, ({ mark }) => (mark & EXTENT_SHARED) !== 0, pace);
    return this.#owners;
  }
}

/** Where the pieces that each lie together on the device end, in file blocks. */
function pieceEnds(extents: Iterable<Extent>): number[] {
  const ends: number[] = [];
  let block: number | undefined;
  for (const extent of extents) {
    const end = extent.fileBlock + extent.length;
    if (extent.block === block) ends[ends.length - 1] = end;
    else ends.push(end);
    block = extent.block + extent.length;
  }
  return ends;
}

function isImprovable({ from, to, pieces, isAligned }: Stretch): boolean {
  return pieces > 1 || (!isAligned && spansHugePage(from, to));
}
