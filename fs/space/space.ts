/**
 * The room of a device, in blocks: who owns each, and which may be handed out.
 *
 * One interval map from block to role is the truth, so that a block has exactly one role by construction. Everything
 * else is derived from it and kept beside it: free extents by size, counts by role, the blocks that wait for a group.
 * Nothing of this is on the media: `SpaceBuilder` computes it from the extents of all files at mount.
 *
 *     free ──allocate──▶ file ──release──▶ freeing ──durable──▶ free
 *       └─allocateProvisional─▶ provisional ──provisionalToFile──▶ file
 *                                   └──releaseProvisional──▶ freeing
 *     on the way out, a block that a fenced client holds ──▶ quarantined ──dropHolds──▶ freeing or free
 *     what becomes free in a closed range is withheld (until `reopen`) or bad (for good) instead
 */
import { assert } from '../errors.ts';
import { SpaceBuilder } from './builder.ts';
import { FreeExtents } from './free-extents.ts';
import { type Access, type Hold, Holds } from './holds.ts';
import { type Piece, RangeMap } from './range-map.ts';
import { type BlockRange, bad, describeRole, fileRole, free, kept, type Role, reserved, withheld } from './role.ts';

export type { SpaceBuilder } from './builder.ts';
export type { Access, Hold } from './holds.ts';
export type { BlockRange, Role } from './role.ts';

export interface AllocateOptions {
  /** Preferred first block: if it is free, the range from there on is used first, so that an extent grows in place. */
  readonly goal?: number | undefined;
  /** One piece or nothing. */
  readonly contiguous?: boolean | undefined;
  /** The first block is a multiple of this: always with `contiguous`, otherwise where that keeps it in one piece. */
  readonly align?: number | undefined;
  /** It lies this many blocks after such a multiple instead; less than `align`. */
  readonly phase?: number | undefined;
  /** Inode number of the file: what is kept for it is used first, if it begins at the goal, and otherwise let go. */
  readonly owner?: number | undefined;
  /** Up to so many blocks behind these are kept for the owner, whose file grows. */
  readonly keep?: number | undefined;
  /** Where possible this many blocks are free from the first one on: what follows is to be taken next. */
  readonly room?: number | undefined;
}

type Aligned = Pick<AllocateOptions, 'align' | 'phase'>;

/** Blocks by role; `shared` is part of `file`, the others add up to `total`. */
export interface SpaceCounts {
  readonly total: number;
  readonly reserved: number;
  readonly free: number;
  readonly file: number;
  readonly shared: number;
  readonly provisional: number;
  readonly quarantined: number;
  readonly freeing: number;
  readonly withheld: number;
  readonly bad: number;
}

/** What becomes of a block that nobody needs any more. */
type Openness = 'open' | 'withheld' | 'bad';

const openRoles: Readonly<Record<Openness, Role>> = { open: free, withheld, bad };

/** Of what was given up in groups before this mount. */
const settledGroup = -1;

export class Space {
  readonly #roles: RangeMap<Role>;
  readonly #holds: Holds;
  readonly #openness: RangeMap<Openness>;
  readonly #free = new FreeExtents();
  readonly #counts = {
    reserved: 0,
    free: 0,
    file: 0,
    provisional: 0,
    quarantined: 0,
    freeing: 0,
    withheld: 0,
    bad: 0,
    kept: 0,
  };
  #shared = 0;
  /** Blocks behind files that grow, by inode number: free, but not for others while there is enough. */
  readonly #kept = new Map<number, { block: number; length: number }>();
  /** Ranges that became freeing, by group; some may have left that role since. */
  readonly #freeing = new Map<number, { block: number; length: number }[]>();
  /** Of the group that gave something up last. */
  #freeingRole: Extract<Role, { readonly role: 'freeing' }> = { role: 'freeing', group: settledGroup };
  #durable = settledGroup;

  private constructor(roles: RangeMap<Role>) {
    this.#roles = roles;
    this.#holds = new Holds(roles.size);
    this.#openness = RangeMap.filled<Openness>(roles.size, 'open', (a, b) => a === b);
    for (const { start, length, value } of roles.slice(0, roles.size)) {
      this.#count(value, length);
      if (value.role === 'free') this.#free.add({ block: start, length });
    }
  }

  /** Collects what is known of a device of `totalBlocks` at mount; the rest of it is free. */
  static builder(totalBlocks: number, reservedRanges: readonly BlockRange[]): SpaceBuilder {
    return new SpaceBuilder(totalBlocks, reservedRanges, (roles) => new Space(roles));
  }

  /**
   * Blocks for a file, in one piece where possible (the smallest free extent that holds it), otherwise in several, the
   * largest first. No more pieces than `length`: who must give the loop back bounds that.
   * @returns undefined when not enough is free now; nothing changed then
   */
  allocate(length: number, options: AllocateOptions = {}): readonly BlockRange[] | undefined {
    return this.#allocate(length, fileRole(1), options);
  }

  /** As `allocate`, for a client to write to: the blocks belong to no file before `provisionalToFile`. */
  allocateProvisional(
    length: number,
    client: number,
    options: AllocateOptions = {},
  ): readonly BlockRange[] | undefined {
    return this.#allocate(length, { role: 'provisional', client }, options);
  }

  /** The client committed what it wrote: the blocks are a file's, once. */
  provisionalToFile(range: BlockRange, client: number): void {
    for (const piece of this.#provisionalOf(range, client)) this.#set(piece, fileRole(1));
  }

  /** Provisional blocks are given up in `group`, uncommitted. */
  releaseProvisional(range: BlockRange, group: number, client: number): void {
    this.#requireOpen(group);
    for (const piece of this.#provisionalOf(range, client)) this.#giveUp(piece, group);
  }

  /** The client was fenced with provisional blocks in its hands: no file's, nobody else's, until its holds are dropped. */
  quarantineProvisional(range: BlockRange, client: number): void {
    for (const piece of this.#provisionalOf(range, client)) {
      this.#set(piece, { role: 'quarantined', group: settledGroup });
    }
    this.#holds.add(range, client, 'write');
  }

  /** One more extent maps the range. */
  share(range: BlockRange): void {
    for (const { piece, count } of this.#filePieces(range)) this.#set(piece, fileRole(count + 1));
  }

  /** One extent less maps the range, by a change in `group`; blocks that no other maps may be reused once that is durable. */
  release(range: BlockRange, group: number): void {
    this.#requireOpen(group);
    const { start, length, value } = this.#roles.pieceAt(range.block);
    if (value.role === 'file' && value.count === 1 && range.block + range.length <= start + length) {
      this.#giveUp({ start: range.block, length: range.length, value }, group);
      return;
    }
    for (const { piece, count } of this.#filePieces(range)) {
      if (count > 1) this.#set(piece, fileRole(count - 1));
      else this.#giveUp(piece, group);
    }
  }

  /** The file does not grow any more: what was kept for it is free for all. */
  letGoOfKept(owner: number): void {
    const own = this.#kept.get(owner);
    if (own === undefined) return;
    this.#kept.delete(owner);
    this.#setFree({ start: own.block, length: own.length, value: kept });
  }

  /** All groups up to this one are durable: what they gave up is free. */
  durable(group: number): void {
    this.#durable = Math.max(this.#durable, group);
    for (const [waiting, ranges] of this.#freeing) {
      if (waiting > this.#durable) continue;
      this.#freeing.delete(waiting);
      for (const { block, length } of ranges) {
        for (const piece of this.#roles.slice(block, length)) {
          if (piece.value.role === 'freeing' && piece.value.group === waiting) this.#setFree(piece);
        }
      }
    }
  }

  /** A fenced client may still touch the range: none of it becomes free before the hold is dropped. */
  hold(range: BlockRange, client: number, access: Access): void {
    this.#letGoOfKeptIn(range);
    const pieces = this.#roles.slice(range.block, range.length);
    for (const piece of pieces) assert(piece.value.role !== 'reserved', `hold over ${describePiece(piece)}`);
    this.#holds.add(range, client, access);
    for (const piece of pieces) {
      const was = piece.value;
      if (was.role === 'free' || was.role === 'withheld')
        this.#set(piece, { role: 'quarantined', group: settledGroup });
      if (was.role === 'freeing') this.#set(piece, { role: 'quarantined', group: was.group });
    }
  }

  /**
   * The client is known dead or has forgotten its layouts. Quarantined blocks that nobody else holds become free at once,
   * or with the group that gave them up if that is not durable yet.
   * @param within what is let go; all that it holds if absent
   * @returns the ranges that it held, ascending
   */
  dropHolds(client: number, within: BlockRange = { block: 0, length: this.total }): readonly BlockRange[] {
    const dropped = this.#holds.drop(client, within);
    for (const range of dropped) {
      for (const { start, length, value: held } of this.#holds.cut(range)) {
        if (held) continue;
        for (const piece of this.#roles.slice(start, length)) {
          if (piece.value.role === 'quarantined') this.#letGo(piece, piece.value.group);
        }
      }
    }
    return dropped;
  }

  /**
   * Free blocks in one piece, closed to everybody but the caller, who may `occupy` them and must `reopen` the range: as
   * many as asked for, or the largest free extent.
   * @returns undefined when nothing is free
   */
  setAside(length: number, options: AllocateOptions = {}): BlockRange | undefined {
    let found = this.#roomFor(length, options);
    if ((found?.length ?? 0) < length && this.#kept.size > 0) {
      this.#letGoOfAllKept();
      found = this.#roomFor(length, options);
    }
    if (found === undefined) return undefined;
    const range = { block: found.block, length: Math.min(found.length, length) };
    this.close(range);
    return range;
  }

  /** As `allocate`, in one piece that is aligned as asked, wherever on the device there is one. */
  allocateExactly(length: number, { align = 1, phase = 0 }: Aligned): BlockRange | undefined {
    const found = length > this.free ? undefined : this.#exactFit(length, align, phase);
    if (found !== undefined) this.#take(found, fileRole(1));
    return found;
  }

  /** `count` ranges of `length` blocks, each aligned as asked, for a client to write to; all of them or none. */
  allocateProvisionalEach(
    count: number,
    length: number,
    client: number,
    { align = 1, phase = 0 }: Aligned,
  ): readonly BlockRange[] | undefined {
    const role: Role = { role: 'provisional', client };
    const ranges: BlockRange[] = [];
    while (ranges.length < count) {
      const found =
        count * length > this.free + ranges.length * length ? undefined : this.#exactFit(length, align, phase);
      if (found === undefined) {
        // Nobody was told of them: they need not wait for any group.
        for (const range of ranges) this.#setFree({ start: range.block, length, value: role });
        return undefined;
      }
      this.#take(found, role);
      ranges.push(found);
    }
    return ranges;
  }

  /** Blocks of the longest free range that is aligned so. */
  largestFreeAligned(align: number, phase: number): number {
    this.#letGoOfAllKept();
    return this.#free.largestFit(align, phase);
  }

  /** Blocks that were set aside are mapped by `count` extents of files. */
  occupy(range: BlockRange, count: number): void {
    for (const piece of this.#roles.slice(range.block, range.length)) {
      assert(piece.value.role === 'withheld', `${describePiece(piece)}, not set aside`);
      this.#set(piece, fileRole(count));
    }
  }

  /** From now on nothing is put into the range; what is in use there stays until it is given up. */
  close(range: BlockRange): void {
    this.#letGoOfKeptIn(range);
    for (const { start, length, value } of this.#openness.slice(range.block, range.length)) {
      if (value !== 'open') continue;
      this.#openness.set(start, length, 'withheld');
      this.#turn({ block: start, length }, 'free', withheld);
    }
  }

  /** What `close` closed may be used again; what is bad stays so. */
  reopen(range: BlockRange): void {
    for (const { start, length, value } of this.#openness.slice(range.block, range.length)) {
      if (value !== 'withheld') continue;
      this.#openness.set(start, length, 'open');
      this.#turn({ block: start, length }, 'withheld', free);
    }
  }

  /** Nothing is ever put into the range again; what is in use there stays until it is given up. */
  retire(range: BlockRange): void {
    this.#letGoOfKeptIn(range);
    this.#openness.set(range.block, range.length, 'bad');
    this.#turn(range, 'free', bad);
    this.#turn(range, 'withheld', bad);
  }

  /** The parts of a range that are retired, whether they are in use still or not. */
  retiredIn(range: BlockRange): readonly BlockRange[] {
    const pieces = this.#openness.slice(range.block, range.length).filter(({ value }) => value === 'bad');
    return pieces.map(({ start, length }) => ({ block: start, length }));
  }

  /** The roles of a range, ascending. A copy. */
  rolesIn({ block, length }: BlockRange): readonly Piece<Role>[] {
    return this.#roles.slice(block, length);
  }

  /** The piece of one role around a block. */
  pieceAt(block: number): Piece<Role> {
    return this.#roles.pieceAt(block);
  }

  /**
   * Makes the device `blocks` long. Its last block is reserved, and the block that was is free. What goes, and what
   * becomes the last block, has been closed and holds nothing any more.
   */
  resize(blocks: number): void {
    const before = this.#roles.size;
    if (blocks < before) this.#cut(blocks);
    this.#holds.resize(blocks);
    this.#openness.resize(blocks, 'open');
    if (blocks <= before) return;
    this.#roles.resize(blocks, reserved);
    this.#count(reserved, blocks - before);
    this.#setFree({ start: before - 1, length: blocks - before, value: reserved });
  }

  /** All holds, ascending by block, then by client. */
  holds(): Iterable<Hold> {
    return this.#holds;
  }

  get total(): number {
    return this.#roles.size;
  }

  get freeing(): number {
    return this.#counts.freeing;
  }

  counts(): SpaceCounts {
    const { reserved: superblocks, free: ofNobody, file, provisional, quarantined, freeing } = this.#counts;
    return {
      total: this.#roles.size,
      reserved: superblocks,
      free: ofNobody + this.#counts.kept,
      file,
      shared: this.#shared,
      provisional,
      quarantined,
      freeing,
      withheld: this.#counts.withheld,
      bad: this.#counts.bad,
    };
  }

  /** Blocks that can be handed out now. */
  get free(): number {
    return this.#counts.free + this.#counts.kept;
  }

  /** How many extents map the blocks of a range that belongs to files. */
  sharesIn(range: BlockRange): Iterable<BlockRange & { readonly count: number }> {
    return this.#filePieces(range).map(({ piece, count }) => ({ block: piece.start, length: piece.length, count }));
  }

  isShared(block: number): boolean {
    const role = this.#roles.get(block);
    return role.role === 'file' && role.count > 1;
  }

  /** The range cut into pieces that a fenced client may still write to and pieces that none may. */
  writersIn(range: BlockRange): Iterable<BlockRange & { readonly isWritable: boolean }> {
    return this.#holds
      .cutByWriters(range)
      .map(({ start, length, value }) => ({ block: start, length, isWritable: value }));
  }

  roleOf(block: number): Role {
    return this.#roles.get(block);
  }

  /** Length in blocks of the largest free extent. */
  largestFree(): number {
    return this.#free.largest;
  }

  freeExtents(): number {
    return this.#free.count;
  }

  #allocate(length: number, role: Role, options: AllocateOptions): readonly BlockRange[] | undefined {
    const { contiguous = false, align = 1, phase = 0, owner, keep = 0, room = 0 } = options;
    assert(Number.isSafeInteger(length) && length > 0, `allocation of ${length} blocks`);
    assert(Number.isSafeInteger(align) && align > 0, `alignment to ${align} blocks`);
    if (length > this.free) return undefined;
    const pieces: BlockRange[] = [];
    let { goal } = options;
    let missing = length;
    if (owner !== undefined && contiguous) this.letGoOfKept(owner);
    const own = owner === undefined ? undefined : this.#takeKept(owner, goal, length, role);
    if (own !== undefined) {
      pieces.push(own);
      missing -= own.length;
      goal = own.block + own.length;
      if (missing === 0) return pieces;
    }
    if (missing > this.#counts.free) this.#letGoOfAllKept();
    const atGoal = goal === undefined ? undefined : this.#freeFrom(goal, missing, contiguous ? align : 1);
    if (contiguous) {
      const whole = atGoal?.length === missing ? atGoal : this.#bestFit(missing, keep, align, phase);
      if (whole === undefined) return undefined;
      this.#take(whole, role);
      pieces.push(whole);
    } else {
      for (let next = atGoal; missing > 0; next = undefined) {
        // Where the first block would lie if all were in one piece.
        next ??= this.#nextPiece(missing, Math.max(keep, room - missing), align, (phase + length - missing) % align);
        this.#take(next, role);
        pieces.push(next);
        missing -= next.length;
      }
    }
    const last = pieces.at(-1);
    if (owner !== undefined && keep > 0 && last !== undefined) this.#keep(owner, last.block + last.length, keep);
    return pieces;
  }

  #exactFit(length: number, align: number, phase: number): BlockRange | undefined {
    const found = this.#free.anyFit(length, align, phase);
    if (found !== undefined || this.#kept.size === 0) return found;
    this.#letGoOfAllKept();
    return this.#free.anyFit(length, align, phase);
  }

  /** A free extent, or the part of one, that holds as much as possible of what is wanted. */
  #roomFor(length: number, { goal, room = length, align = 1, phase = 0 }: AllocateOptions): BlockRange | undefined {
    const atGoal = goal === undefined ? undefined : this.#freeFrom(goal, length, 1);
    if (atGoal?.length === length) return atGoal;
    const whole = Math.max(room, length);
    return (
      this.#free.bestFit(whole, align, phase) ??
      this.#free.bestFit(whole, 1) ??
      this.#free.bestFit(length, align, phase) ??
      this.#free.bestFit(length, 1) ??
      this.#free.largestExtent()
    );
  }

  /** Blocks kept for the owner, from the first one on, if they are what it wants. */
  #takeKept(owner: number, goal: number | undefined, length: number, role: Role): BlockRange | undefined {
    const own = this.#kept.get(owner);
    if (own === undefined) return undefined;
    if (own.block !== goal) {
      this.letGoOfKept(owner);
      return undefined;
    }
    const taken = { block: own.block, length: Math.min(length, own.length) };
    this.#set({ start: taken.block, length: taken.length, value: kept }, role);
    own.block += taken.length;
    own.length -= taken.length;
    if (own.length === 0) this.#kept.delete(owner);
    return taken;
  }

  #keep(owner: number, from: number, most: number): void {
    const behind = this.#freeFrom(from, most, 1);
    if (behind === undefined) return;
    this.#set({ start: behind.block, length: behind.length, value: free }, kept);
    this.#kept.set(owner, behind);
  }

  #letGoOfKeptIn({ block, length }: BlockRange): void {
    for (const [owner, own] of this.#kept) {
      if (own.block < block + length && block < own.block + own.length) this.letGoOfKept(owner);
    }
  }

  #letGoOfAllKept(): void {
    for (const owner of this.#kept.keys()) this.letGoOfKept(owner);
  }

  /** Up to `length` free blocks from `goal` on. */
  #freeFrom(goal: number, length: number, align: number): BlockRange | undefined {
    if (goal < 0 || goal >= this.#roles.size || goal % align !== 0) return undefined;
    const { start, length: around, value } = this.#roles.pieceAt(goal);
    if (value.role !== 'free') return undefined;
    return { block: goal, length: Math.min(length, start + around - goal) };
  }

  #nextPiece(missing: number, behind: number, align: number, phase: number): BlockRange {
    const piece = this.#bestFit(missing, behind, align, phase) ?? this.#free.bestFit(missing, 1);
    if (piece !== undefined) return piece;
    // Rather whole than kept for others.
    if (this.#kept.size > 0) this.#letGoOfAllKept();
    const whole = this.#free.bestFit(missing, align, phase) ?? this.#free.bestFit(missing, 1);
    const largest = whole ?? this.#free.largestExtent();
    assert(largest !== undefined, 'more blocks are counted free than the free extents hold');
    return largest;
  }

  /** Aligned, with as much free behind them as is wanted, or without. */
  #bestFit(length: number, behind: number, align: number, phase: number): BlockRange | undefined {
    const roomy = behind <= 0 ? undefined : this.#free.bestFit(length + behind, align, phase);
    return roomy === undefined ? this.#free.bestFit(length, align, phase) : { block: roomy.block, length };
  }

  #take({ block, length }: BlockRange, role: Role): void {
    this.#set({ start: block, length, value: free }, role);
  }

  #giveUp(piece: Piece<Role>, group: number): void {
    if (this.#holds.empty) {
      this.#letGo(piece, group);
      return;
    }
    for (const { start, length, value: held } of this.#holds.cut({ block: piece.start, length: piece.length })) {
      const part = { start, length, value: piece.value };
      if (held) this.#set(part, { role: 'quarantined', group });
      else this.#letGo(part, group);
    }
  }

  /** Nobody holds the piece: it is free as soon as the group that gave it up is durable. */
  #letGo(piece: Piece<Role>, group: number): void {
    if (group <= this.#durable) {
      this.#setFree(piece);
      return;
    }
    if (this.#freeingRole.group !== group) this.#freeingRole = { role: 'freeing', group };
    this.#set(piece, this.#freeingRole);
    const ranges = this.#freeing.get(group);
    const last = ranges?.at(-1);
    // Files that were written one after the other are mostly deleted in this order, too: then it is one range.
    if (last !== undefined && last.block + last.length === piece.start) last.length += piece.length;
    else if (ranges === undefined) this.#freeing.set(group, [{ block: piece.start, length: piece.length }]);
    else ranges.push({ block: piece.start, length: piece.length });
  }

  /** Free, or what that is where the range is closed. */
  #setFree(piece: Piece<Role>): void {
    if (this.#openness.pieceCount === 1) {
      this.#set(piece, openRoles[this.#openness.get(0)]);
      return;
    }
    for (const { start, length, value } of this.#openness.slice(piece.start, piece.length)) {
      this.#set({ start, length, value: piece.value }, openRoles[value]);
    }
  }

  /** Blocks of one role in a range get another. */
  #turn({ block, length }: BlockRange, from: Role['role'], to: Role): void {
    for (const piece of this.#roles.slice(block, length)) if (piece.value.role === from) this.#set(piece, to);
  }

  #cut(blocks: number): void {
    const last = blocks - 1;
    const end = this.#roles.size;
    for (const piece of this.#roles.slice(last, end - last)) {
      const { role } = piece.value;
      const empty = role === 'withheld' || role === 'bad' || (role === 'reserved' && piece.start === end - 1);
      assert(empty, `cutting off ${describePiece(piece)}`);
      this.#count(piece.value, -piece.length);
    }
    this.#roles.resize(blocks, reserved);
    this.#roles.set(last, 1, reserved);
    this.#openness.set(last, 1, 'open');
    this.#count(reserved, 1);
  }

  /** Every change of a role passes here: the map, the counts and the free extents change together. */
  #set(piece: Piece<Role>, to: Role): void {
    const { start, length, value: from } = piece;
    const end = start + length;
    this.#count(from, -length);
    this.#count(to, length);
    if (from.role === 'free') {
      const around = this.#roles.pieceAt(start);
      const aroundEnd = around.start + around.length;
      assert(around.value.role === 'free' && aroundEnd >= end, `taking ${describePiece(around)} as free`);
      this.#free.remove({ block: around.start, length: around.length });
      if (around.start < start) this.#free.add({ block: around.start, length: start - around.start });
      if (end < aroundEnd) this.#free.add({ block: end, length: aroundEnd - end });
    }
    if (to.role === 'free') {
      if (start > 0) this.#unlistFree(start - 1);
      if (end < this.#roles.size) this.#unlistFree(end);
    }
    this.#roles.set(start, length, to);
    if (to.role === 'free') {
      const merged = this.#roles.pieceAt(start);
      this.#free.add({ block: merged.start, length: merged.length });
    }
  }

  #unlistFree(neighbour: number): void {
    const { start, length, value } = this.#roles.pieceAt(neighbour);
    if (value.role === 'free') this.#free.remove({ block: start, length });
  }

  #count(role: Role, blocks: number): void {
    this.#counts[role.role] += blocks;
    if (role.role === 'file' && role.count > 1) this.#shared += blocks;
  }

  #filePieces({ block, length }: BlockRange): readonly { readonly piece: Piece<Role>; readonly count: number }[] {
    return this.#roles.slice(block, length).map((piece) => {
      assert(piece.value.role === 'file', `${describePiece(piece)}, not of a file`);
      return { piece, count: piece.value.count };
    });
  }

  #provisionalOf({ block, length }: BlockRange, client: number): readonly Piece<Role>[] {
    const pieces = this.#roles.slice(block, length);
    for (const piece of pieces) {
      const mine = piece.value.role === 'provisional' && piece.value.client === client;
      assert(mine, `${describePiece(piece)}, not provisional of client ${client}`);
    }
    return pieces;
  }

  #requireOpen(group: number): void {
    assert(group > this.#durable, `blocks given up in group ${group}, which is durable already`);
  }
}

function describePiece({ start, length, value }: Piece<Role>): string {
  return `blocks ${start}+${length} are ${describeRole(value)}`;
}
