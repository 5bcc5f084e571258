import { assert } from './assert.ts';
import { limits } from './limits.ts';
import { intersect, lengthOf, type Range, subtract } from './ranges.ts';
import {
  type Accept,
  find,
  findLast,
  type Held,
  overlapping,
  type SegmentIndex,
  type SegmentOwner,
  SegmentTrees,
  withAdded,
  withoutGone,
} from './segment-index.ts';
import { type Iomode, iomode, type Segment } from './types.ts';

/** The iomodes that a return or a recall of READ (1), RW (2) or ANY (3) is about. */
export function iomodesOf(wanted: 1 | 2 | 3): readonly Iomode[] {
  return wanted === iomode.any ? bothIomodes : [wanted];
}

export const bothIomodes: readonly Iomode[] = [iomode.read, iomode.rw];
export const wholeFile: Range = { start: 0, end: Infinity };

/** RW excludes READ and RW of every other client, READ excludes RW: single writer or many readers, byte by byte. */
export function excludes(a: Iomode, b: Iomode): boolean {
  return a === iomode.rw || b === iomode.rw;
}

/**
 * Who holds which bytes of one file. A client's held segments of one iomode never overlap nor touch: neighbours become
 * one, and a return from the middle leaves two (RFC 8881 §18.44.3 lets a client return any part). Reserved ones stay apart,
 * since each of them is confirmed or cancelled by itself.
 */
export class FileSegments {
  /** Of all clients, for conflicts. While it is a list it serves for each client's own as well. */
  #all: SegmentIndex;
  #lastId = 0;
  /** L1 does not hold here: several clients may hold the same bytes for writing. */
  isShared = false;

  get empty(): boolean {
    return this.#all === undefined;
  }

  reserve(owner: SegmentOwner, mode: Iomode, range: Range): Held {
    const held = newHeld(++this.#lastId, owner, mode, true, range);
    this.#all = added(this.#all, held, this.isShared);
    return held;
  }

  unreserve(held: Held): void {
    this.#all = removed(this.#all, held);
  }

  /** `owner` holds `range` from now on; what it held overlapping or touching becomes part of the same segment. */
  hold(owner: SegmentOwner, mode: Iomode, range: Range): void {
    let { start, end } = range;
    for (const held of ownHeld(this.#all, owner, mode, { start: start - 1, end: end + 1 })) {
      this.#all = removed(this.#all, held);
      start = Math.min(start, held.start);
      end = Math.max(end, held.end);
    }
    this.#all = added(this.#all, newHeld(++this.#lastId, owner, mode, false, { start, end }), this.isShared);
  }

  /** Takes `range` away from what `owner` holds; answers what that was. */
  release(owner: SegmentOwner, modes: readonly Iomode[], range: Range): Segment[] {
    const released: Segment[] = [];
    for (const mode of modes) {
      for (const held of ownHeld(this.#all, owner, mode, range)) {
        const gone = intersect(held, range);
        assert(gone !== undefined, 'an overlapping segment shares no byte');
        this.#all = removed(this.#all, held);
        for (const rest of subtract(held, [range])) {
          this.#all = added(this.#all, newHeld(++this.#lastId, owner, mode, false, rest), this.isShared);
        }
        released.push(toSegment(mode, gone));
      }
    }
    return released;
  }

  /** Would releasing `range` leave more segments than there are now? */
  splits(owner: SegmentOwner, modes: readonly Iomode[], range: Range): boolean {
    return modes.some((mode) => {
      const held = find(indexOf(this.#all, owner), mode, range, heldBy(owner));
      return held !== undefined && held.start < range.start && range.end < held.end;
    });
  }

  /** Everybody who holds a byte of `range`, or has it reserved, and for whom `accept` holds. */
  clientsOn(range: Range, modes: readonly Iomode[], accept: (client: number, mode: Iomode) => boolean): Set<number> {
    const clients = new Set<number>();
    for (const mode of modes) {
      for (const { owner } of overlapping(this.#all, mode, range, anybody)) {
        if (accept(owner.client.id, mode)) clients.add(owner.client.id);
      }
    }
    return clients;
  }

  anyOn(range: Range, modes: readonly Iomode[], accept: (client: number, mode: Iomode) => boolean): boolean {
    return modes.some((mode) => anyOn(this.#all, range, mode, (client) => accept(client, mode)));
  }

  /**
   * The first byte of `range` that somebody holds, or has reserved, for whom `accept` holds; or where limits.looksMax
   * others were passed over.
   */
  firstOn(range: Range, modes: readonly Iomode[], accept: (client: number, mode: Iomode) => boolean): number {
    let first = range.end;
    for (const mode of modes) {
      let looks = 0;
      const found = find(this.#all, mode, range, ({ owner }) => {
        return accept(owner.client.id, mode) || ++looks > limits.looksMax;
      });
      if (found !== undefined) first = Math.min(first, Math.max(found.start, range.start));
    }
    return first;
  }

  /** Does `owner` hold a byte of `range`, or has it one reserved? */
  standsOn(owner: SegmentOwner, modes: readonly Iomode[], range: Range): boolean {
    const index = indexOf(this.#all, owner);
    return modes.some((mode) => find(index, mode, range, (held) => held.owner === owner) !== undefined);
  }

  holds(owner: SegmentOwner, modes: readonly Iomode[], range: Range): boolean {
    const index = indexOf(this.#all, owner);
    return modes.some((mode) => find(index, mode, range, heldBy(owner)) !== undefined);
  }

  /** The smallest range with every byte of `range` that `owner` holds. */
  hull(owner: SegmentOwner, modes: readonly Iomode[], range: Range): Range | undefined {
    const index = indexOf(this.#all, owner);
    let hull: Range | undefined;
    for (const mode of modes) {
      const first = find(index, mode, range, heldBy(owner));
      const last = findLast(index, mode, range, heldBy(owner));
      if (first === undefined || last === undefined) continue;
      hull = {
        start: Math.min(hull?.start ?? Infinity, Math.max(first.start, range.start)),
        end: Math.max(hull?.end ?? -Infinity, Math.min(last.end, range.end)),
      };
    }
    return hull;
  }

  /** Does `owner` hold every byte of `range`? Neighbours are one segment, so one segment must have it all. */
  covers(owner: SegmentOwner, mode: Iomode, range: Range): boolean {
    const held = find(indexOf(this.#all, owner), mode, range, heldBy(owner));
    return held !== undefined && held.start <= range.start && range.end <= held.end;
  }

  /** What `owner` holds, READ first, ascending. */
  heldBy(owner: SegmentOwner, range = wholeFile): Segment[] {
    return bothIomodes.flatMap((mode) => ownHeld(this.#all, owner, mode, range).map((held) => toSegment(mode, held)));
  }

  reservedFor(owner: SegmentOwner): Segment[] {
    const index = indexOf(this.#all, owner);
    const reserved: Accept = (held) => held.reserved && held.owner === owner;
    return bothIomodes.flatMap((mode) =>
      overlapping(index, mode, wholeFile, reserved).map((held) => toSegment(mode, held)),
    );
  }
}

/** Of `owner` alone. */
function indexOf(all: SegmentIndex, owner: SegmentOwner): SegmentIndex {
  return all instanceof SegmentTrees ? owner.own : all;
}

function ownHeld(all: SegmentIndex, owner: SegmentOwner, mode: Iomode, range: Range): Held[] {
  return overlapping(indexOf(all, owner), mode, range, heldBy(owner));
}

function anyOn(all: SegmentIndex, range: Range, mode: Iomode, accept: (client: number) => boolean): boolean {
  return find(all, mode, range, ({ owner }) => accept(owner.client.id)) !== undefined;
}

function newHeld(id: number, owner: SegmentOwner, mode: Iomode, reserved: boolean, { start, end }: Range): Held {
  return { id, owner, iomode: mode, reserved, start, end, next: undefined };
}

/** The index with `held` in it. L1, byte by byte, on what is added. */
function added(all: SegmentIndex, held: Held, isShared: boolean): SegmentIndex {
  const { owner, iomode: mode, start, end } = held;
  const { client } = owner;
  const rivals = mode === iomode.rw ? bothIomodes : [iomode.rw];
  assert(
    isShared || !rivals.some((rival) => anyOn(all, held, rival, (other) => other !== client.id)),
    `L1: bytes ${start}-${end} go to client ${client.id} while another client has them`,
  );
  owner.count++;
  client.counted(1);
  if (all instanceof SegmentTrees) {
    owner.own = withAdded(owner.own, held);
    return withAdded(all, held);
  }
  const grown = withAdded(all, held);
  if (grown instanceof SegmentTrees) giveOwnIndexes(grown);
  return grown;
}

/** The index without `held`. */
function removed(all: SegmentIndex, held: Held): SegmentIndex {
  const { owner } = held;
  owner.count--;
  owner.client.counted(-1);
  if (all instanceof SegmentTrees) owner.own = withoutGone(owner.own, held);
  return withoutGone(all, held);
}

/** The list of a file became trees: from now on each client has an index of its own. */
function giveOwnIndexes(trees: SegmentTrees): void {
  for (const mode of bothIomodes) {
    for (const held of trees.of(mode).values()) held.owner.own = withAdded(held.owner.own, held);
  }
}

function anybody(): boolean {
  return true;
}

function heldBy(owner: SegmentOwner): Accept {
  return (held) => !held.reserved && held.owner === owner;
}

export function toSegment(mode: Iomode, range: Range): Segment {
  return { iomode: mode, offset: range.start, length: lengthOf(range) };
}
