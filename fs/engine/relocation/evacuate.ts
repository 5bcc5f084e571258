/**
 * Empties a range of the device: closes it to allocation, moves what lies there, and waits for what is being freed.
 * What a fenced client may still reach cannot be given up, and is reported.
 */
import { FsError } from '../../errors.ts';
import { limits } from '../../limits.ts';
import type { BlockRange, Role } from '../../space/space.ts';
import type { Extent } from '../extents.ts';
import { isPinnedNumber } from '../pinned.ts';
import type { Volume } from '../volume.ts';
import { OwnerIndex, requireRebuild } from './owners.ts';
import type { Relocator } from './relocator.ts';

const bs = limits.blockSize;
const huge = limits.hugePage / bs;

/**
 * The range, which the caller closed, holds nothing any more when it settles, and that is durable.
 * @throws FsError EBUSY (quarantined or pinned blocks, with what to do), ENOSPC, ECANCELED, EIO
 */
export async function evacuate(r: Relocator, range: BlockRange): Promise<void> {
  const { v, progress } = r;
  for (const { length, value } of v.space.rolesIn(range)) {
    if (value.role === 'file' || value.role === 'provisional') progress.total += length * bs;
  }
  const evacuation = new Evacuation(r, range);
  for (let round = 0; round < limits.evacuationRoundsMax; round++) {
    try {
      await evacuation.pass();
    } catch (error) {
      throw error instanceof FsError && error.code === 'ENOSPC' ? noRoom(v, range, error) : error;
    }
    await v.sync();
    if (!evacuation.isWorthwhile) break;
  }
  requireEmpty(v, range);
}

class Evacuation {
  readonly #r: Relocator;
  readonly #range: BlockRange;
  #owners: OwnerIndex | undefined;
  #rebuilt = 0;

  constructor(r: Relocator, range: BlockRange) {
    this.#r = r;
    this.#range = range;
  }

  /** Something in the range can still be moved, or is about to be free. */
  get isWorthwhile(): boolean {
    for (const { value } of this.#r.v.space.rolesIn(this.#range)) {
      if (value.role === 'provisional' || value.role === 'freeing' || value.role === 'file') return true;
    }
    return false;
  }

  async pass(): Promise<void> {
    const { v, pace } = this.#r;
    const end = this.#range.block + this.#range.length;
    for (let at = this.#range.block; at < end; ) {
      const piece = v.space.pieceAt(at);
      const to = Math.min(end, piece.start + piece.length);
      if (piece.value.role === 'file') at = await this.#moveSome(at, to);
      else {
        if (piece.value.role === 'provisional') await this.#recall(at, to);
        at = to;
      }
      if (pace.isOver) await pace.next();
    }
  }

  /** One extent of a file that begins or goes on at `from`; answers where to go on. */
  async #moveSome(from: number, to: number): Promise<number> {
    const r = this.#r;
    const { v, progress } = r;
    const [owner] = (await this.#index()).of(v, from);
    if (owner === undefined) return this.#renew(from);
    const extent = v.extents.get(owner.ino)?.find(owner.fileBlock);
    if (extent === undefined) return from;
    progress.ino = owner.ino;
    // Before anything is asked back for it.
    if (isPinnedNumber(v, owner.ino)) throw pinnedThere(owner.ino, extent.block, extent.length);
    const rest = extent.fileBlock + extent.length - owner.fileBlock;
    const length = Math.min(to - from, rest, limits.relocationMax / bs);
    const align = length >= huge ? { align: huge, phase: owner.fileBlock % huge } : {};
    return r.withoutLayouts(owner.ino, owner.fileBlock, length, () =>
      r.withTarget(length, align, async (target) => {
        for (let done = 0; done < target.length; ) {
          const left = target.length - done;
          const index = await this.#index();
          const moved = await r.slice((mover) =>
            mover.move({ block: from + done, length: left }, { block: target.block + done, length: left }, index),
          );
          if (moved.kind === 'stale') return this.#renew(from + done);
          if (moved.kind === 'pinned') throw pinnedThere(moved.ino, from + done, moved.length);
          if (moved.kind === 'moved') progress.done += moved.length * bs;
          done += moved.length;
        }
        return from + target.length;
      }),
    );
  }

  /** Blocks granted to clients: they commit or return them when they are asked, or are fenced. */
  async #recall(from: number, to: number): Promise<void> {
    const r = this.#r;
    const reached: { readonly ino: number; readonly extent: Extent }[] = [];
    for (const [ino, map] of r.v.provisional) {
      for (const extent of map.all()) {
        if (extent.block < to && from < extent.block + extent.length) reached.push({ ino, extent });
      }
    }
    for (const { ino, extent } of reached) {
      r.progress.ino = ino;
      await r.withoutLayouts(ino, extent.fileBlock, extent.length, async () => undefined);
    }
  }

  async #index(): Promise<OwnerIndex> {
    const { v, pace } = this.#r;
    const end = this.#range.block + this.#range.length;
    const inside = ({ block, length }: Extent) => block < end && this.#range.block < block + length;
    this.#owners ??= await OwnerIndex.build(v, inside, pace);
    return this.#owners;
  }

  /** Files were cloned since. @throws FsError EAGAIN: that goes on and on */
  #renew(at: number): number {
    requireRebuild(this.#rebuilt++);
    this.#owners = undefined;
    return at;
  }
}

function pinnedThere(ino: number, block: number, length: number): FsError {
  const where = `bytes ${block * bs}+${length * bs}`;
  const detail = `inode ${ino} is pinned at ${where} and is never moved: unpin it (iopmemfs unpin), or delete it`;
  return new FsError('EBUSY', { ino, detail });
}

/** What lies in the range, and how much has no other place. */
function noRoom(v: Volume, range: BlockRange, cause: FsError): FsError {
  let left = 0;
  for (const { length, value } of v.space.rolesIn(range)) if (value.role === 'file') left += length;
  const { free } = v.space;
  const where = `bytes ${range.block * bs}+${range.length * bs}`;
  const missing = `${free * bs} bytes are free elsewhere, ${(left - free) * bs} are missing`;
  return new FsError('ENOSPC', { detail: `${left * bs} bytes of files are left in ${where}: ${missing}` }, cause);
}

/** Nothing is left in the range. @throws FsError EBUSY with what is, and what to do */
function requireEmpty(v: Volume, range: BlockRange): void {
  requireRoles(v, range, (role) => emptyRoles.has(role));
}

/** Nothing in the range is out of reach: time is not spent on what must fail. @throws FsError EBUSY */
export function requireNoQuarantine(v: Volume, range: BlockRange): void {
  requireRoles(v, range, (role) => role !== 'quarantined');
}

function requireRoles(v: Volume, range: BlockRange, allowed: (role: Role['role']) => boolean): void {
  const left = v.space.rolesIn(range).filter(({ value: { role } }) => !allowed(role));
  if (left.length === 0) return;
  const clients = new Map<number, number>();
  const end = range.block + range.length;
  for (const { range: held, client } of v.space.holds()) {
    const bytes = (Math.min(end, held.block + held.length) - Math.max(range.block, held.block)) * bs;
    if (bytes > 0) clients.set(client, (clients.get(client) ?? 0) + bytes);
  }
  const reasons = [...clients].map(
    ([client, bytes]) =>
      `client ${client} may still reach ${bytes} bytes (iopmemfs client evict ${client}, once it is dead)`,
  );
  const other = left.filter(({ value }) => value.role !== 'quarantined').reduce((sum, { length }) => sum + length, 0);
  if (other > 0) reasons.push(`${other * bs} bytes belong to files that came back meanwhile`);
  throw new FsError('EBUSY', { detail: `not all of the range is free: ${reasons.join('; ')}` });
}

const emptyRoles: ReadonlySet<Role['role']> = new Set(['withheld', 'bad', 'reserved']);
