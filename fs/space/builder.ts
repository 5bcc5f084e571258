import { FsError } from '../errors.ts';
import type { Access, Hold } from './holds.ts';
import { type Piece, RangeMap } from './range-map.ts';
import { type BlockRange, describeRole, fileRole, free, type Role, reserved, sameRole } from './role.ts';
import type { Space } from './space.ts';

/**
 * Computes a `Space` from the records on the media. Extents of files come in any order and by the million: their ends are
 * kept as bare numbers, sorted, and swept once.
 */
export class SpaceBuilder {
  readonly #totalBlocks: number;
  readonly #create: (roles: RangeMap<Role>) => Space;
  readonly #fileStarts = new NumberList();
  readonly #fileEnds = new NumberList();
  /** Pieces that overlap nothing. */
  readonly #claims: Piece<Role>[] = [];
  readonly #holds: Hold[] = [];

  constructor(totalBlocks: number, reservedRanges: readonly BlockRange[], create: (roles: RangeMap<Role>) => Space) {
    this.#totalBlocks = totalBlocks;
    this.#create = create;
    for (const range of reservedRanges) this.#claim(range, reserved);
  }

  /** An extent of a file; the same block again raises its share count. @throws FsError EUCLEAN outside the device */
  addFile(range: BlockRange): void {
    this.#requireInside(range, 'extent of a file');
    this.#fileStarts.push(range.block);
    this.#fileEnds.push(range.block + range.length);
  }

  /** @throws FsError EUCLEAN outside the device */
  addProvisional(range: BlockRange, client: number): void {
    this.#claim(range, { role: 'provisional', client });
  }

  /** A fenced client may touch the range; blocks that nobody owns any more are quarantined. @throws FsError EUCLEAN */
  addHold(range: BlockRange, client: number, access: Access): void {
    this.#requireInside(range, 'quarantine');
    this.#holds.push({ range, client, access });
  }

  /** @throws FsError EUCLEAN when a block would have two roles */
  finish(): Space {
    const roles = RangeMap.from(tile(this.#pieces(), this.#totalBlocks), sameRole);
    for (const { range, client } of this.#holds) {
      for (const { start, length, value } of roles.slice(range.block, range.length)) {
        if (value.role !== 'reserved') continue;
        throw new FsError('EUCLEAN', { client, detail: `quarantine over reserved blocks ${start}+${length}` });
      }
    }
    const space = this.#create(roles);
    for (const { range, client, access } of this.#holds) space.hold(range, client, access);
    return space;
  }

  #claim(range: BlockRange, role: Role): void {
    this.#requireInside(range, describeRole(role));
    this.#claims.push({ start: range.block, length: range.length, value: role });
  }

  /** Pieces of files and claims, ascending by start. */
  *#pieces(): Generator<Piece<Role>> {
    const claims = this.#claims.toSorted((a, b) => a.start - b.start);
    let next = 0;
    for (const file of shareRuns(this.#fileStarts.sorted(), this.#fileEnds.sorted())) {
      for (let claim = claims[next]; claim !== undefined && claim.start < file.start; claim = claims[++next])
        yield claim;
      yield file;
    }
    yield* claims.slice(next);
  }

  #requireInside({ block, length }: BlockRange, what: string): void {
    const valid = Number.isSafeInteger(block) && Number.isSafeInteger(length) && block >= 0 && length > 0;
    if (valid && block + length <= this.#totalBlocks) return;
    throw new FsError('EUCLEAN', { detail: `${what}: blocks ${block}+${length} on a device of ${this.#totalBlocks}` });
  }
}

/** The runs of blocks covered by equally many of the ranges; both arrays sorted, which range an end belongs to is no matter. */
function* shareRuns(starts: Float64Array, ends: Float64Array): Generator<Piece<Role>> {
  let from = 0;
  let count = 0;
  for (let begun = 0, ended = 0; ended < ends.length; ) {
    const start = starts[begun] ?? Infinity;
    const to = Math.min(start, ends[ended] ?? Infinity);
    if (count > 0 && to > from) yield { start: from, length: to - from, value: fileRole(count) };
    from = to;
    if (start === to) {
      begun++;
      count++;
    } else {
      ended++;
      count--;
    }
  }
}

/** Fills the gaps between ascending pieces with free space. @throws FsError EUCLEAN when two of them overlap */
function* tile(pieces: Iterable<Piece<Role>>, totalBlocks: number): Generator<Piece<Role>> {
  let end = 0;
  let last: Role = free;
  for (const piece of pieces) {
    if (piece.start < end) {
      const clash = `${describeRole(last)} and ${describeRole(piece.value)}`;
      throw new FsError('EUCLEAN', { detail: `block ${piece.start} is ${clash}: run fsck.iopmemfs` });
    }
    if (piece.start > end) yield { start: end, length: piece.start - end, value: free };
    yield piece;
    end = piece.start + piece.length;
    last = piece.value;
  }
  if (end < totalBlocks) yield { start: end, length: totalBlocks - end, value: free };
}

/** Numbers without a box each. */
class NumberList {
  #numbers = new Float64Array(1024);
  #length = 0;

  push(value: number): void {
    if (this.#length === this.#numbers.length) {
      const larger = new Float64Array(this.#length * 2);
      larger.set(this.#numbers);
      this.#numbers = larger;
    }
    this.#numbers[this.#length++] = value;
  }

  sorted(): Float64Array {
    return this.#numbers.slice(0, this.#length).sort();
  }
}
