import { assert } from './assert.ts';
import { type Interval, Intervals } from './intervals.ts';
import { intersect, lengthOf, type Range, subtract } from './ranges.ts';
import { type Iomode, iomode, type Segment } from './types.ts';

/** The iomodes that a return or a recall of READ (1), RW (2) or ANY (3) is about. */
export function iomodesOf(wanted: 1 | 2 | 3): readonly Iomode[] {
  return wanted === iomode.any ? bothIomodes : [wanted];
}

export const bothIomodes: readonly Iomode[] = [iomode.read, iomode.rw];
const wholeFile: Range = { start: 0, end: Infinity };

/** RW excludes READ and RW of every other client, READ excludes RW: single writer or many readers, byte by byte. */
export function excludes(a: Iomode, b: Iomode): boolean {
  return a === iomode.rw || b === iomode.rw;
}

/** Bytes that one client holds, or that are reserved for it until its mapping is durable. */
export interface Held extends Interval {
  readonly client: number;
  readonly iomode: Iomode;
}

interface PerIomode {
  readonly [iomode.read]: Intervals<Held>;
  readonly [iomode.rw]: Intervals<Held>;
}

function perIomode(): PerIomode {
  return { [iomode.read]: new Intervals<Held>(), [iomode.rw]: new Intervals<Held>() };
}

/**
 * Who holds which bytes of one file. A client's held segments of one iomode never overlap nor touch: neighbours become
 * one, and a return from the middle leaves two (RFC 8881 §18.44.3 lets a client return any part). Reserved ones stay apart,
 * since each of them is confirmed or cancelled by itself.
 */
export class FileSegments {
  /** Held and reserved ones of all clients, for conflicts. */
  readonly #all = perIomode();
  readonly #byClient = new Map<number, { readonly held: PerIomode; readonly reserved: PerIomode }>();
  #lastId = 0;

  get empty(): boolean {
    return this.#byClient.size === 0;
  }

  /** Segments of `client`, held and reserved. */
  countOf(client: number): number {
    const own = this.#byClient.get(client);
    if (own === undefined) return 0;
    return bothIomodes.reduce((sum, mode) => sum + own.held[mode].size + own.reserved[mode].size, 0);
  }

  reserve(client: number, mode: Iomode, range: Range): Held {
    return this.#add('reserved', client, mode, range);
  }

  unreserve(held: Held): void {
    this.#delete('reserved', held);
  }

  /** `client` holds `range` from now on; what it held overlapping or touching becomes part of the same segment. */
  hold(client: number, mode: Iomode, range: Range): void {
    let { start, end } = range;
    const near = this.#byClient.get(client)?.held[mode].overlapping({ start: start - 1, end: end + 1 }) ?? [];
    for (const held of near) {
      this.#delete('held', held);
      start = Math.min(start, held.start);
      end = Math.max(end, held.end);
    }
    this.#add('held', client, mode, { start, end });
  }

  /** Takes `range` away from what `client` holds; answers what that was. */
  release(client: number, modes: readonly Iomode[], range: Range): Segment[] {
    const released: Segment[] = [];
    for (const mode of modes) {
      for (const held of this.#byClient.get(client)?.held[mode].overlapping(range) ?? []) {
        const gone = intersect(held, range);
        assert(gone !== undefined, 'an overlapping segment shares no byte');
        this.#delete('held', held);
        for (const rest of subtract(held, [range])) this.#add('held', client, mode, rest);
        released.push(toSegment(mode, gone));
      }
    }
    return released;
  }

  /** Would releasing `range` leave more segments than there are now? */
  splits(client: number, modes: readonly Iomode[], range: Range): boolean {
    return modes.some((mode) => {
      const held = this.#byClient.get(client)?.held[mode].find(range);
      return held !== undefined && held.start < range.start && range.end < held.end;
    });
  }

  /** Everybody who holds a byte of `range`, or has it reserved, and for whom `accept` holds. */
  clientsOn(range: Range, modes: readonly Iomode[], accept: (client: number, mode: Iomode) => boolean): Set<number> {
    const clients = new Set<number>();
    for (const mode of modes) {
      for (const held of this.#all[mode].overlapping(range)) {
        if (accept(held.client, mode)) clients.add(held.client);
      }
    }
    return clients;
  }

  anyOn(range: Range, modes: readonly Iomode[], accept: (client: number, mode: Iomode) => boolean): boolean {
    return modes.some((mode) => this.#all[mode].find(range, (held) => accept(held.client, mode)) !== undefined);
  }

  /** Does `client` hold a byte of `range`, or has it one reserved? */
  standsOn(client: number, modes: readonly Iomode[], range: Range): boolean {
    const reserved = this.#byClient.get(client)?.reserved;
    return this.holds(client, modes, range) || modes.some((mode) => reserved?.[mode].find(range) !== undefined);
  }

  holds(client: number, modes: readonly Iomode[], range: Range): boolean {
    return modes.some((mode) => this.#byClient.get(client)?.held[mode].find(range) !== undefined);
  }

  /** The smallest range with every byte of `range` that `client` holds. */
  hull(client: number, modes: readonly Iomode[], range: Range): Range | undefined {
    let hull: Range | undefined;
    for (const mode of modes) {
      const held = this.#byClient.get(client)?.held[mode];
      const first = held?.find(range);
      const last = held?.findLast(range);
      if (first === undefined || last === undefined) continue;
      hull = {
        start: Math.min(hull?.start ?? Infinity, Math.max(first.start, range.start)),
        end: Math.max(hull?.end ?? -Infinity, Math.min(last.end, range.end)),
      };
    }
    return hull;
  }

  /** Does `client` hold every byte of `range`? Neighbours are one segment, so one segment must have it all. */
  covers(client: number, mode: Iomode, range: Range): boolean {
    const held = this.#byClient.get(client)?.held[mode].find(range);
    return held !== undefined && held.start <= range.start && range.end <= held.end;
  }

  /** What `client` holds, READ first, ascending. */
  heldBy(client: number): Segment[] {
    return this.#list('held', client);
  }

  reservedFor(client: number): Segment[] {
    return this.#list('reserved', client);
  }

  #list(role: 'held' | 'reserved', client: number): Segment[] {
    const own = this.#byClient.get(client)?.[role];
    if (own === undefined) return [];
    return bothIomodes.flatMap((mode) => own[mode].overlapping(wholeFile).map((held) => toSegment(mode, held)));
  }

  #add(role: 'held' | 'reserved', client: number, mode: Iomode, range: Range): Held {
    const rivals = mode === iomode.rw ? bothIomodes : [iomode.rw];
    assert(
      !this.anyOn(range, rivals, (other) => other !== client),
      `bytes ${range.start}-${range.end} go to client ${client} while another client has them`,
    );
    let own = this.#byClient.get(client);
    if (own === undefined) {
      own = { held: perIomode(), reserved: perIomode() };
      this.#byClient.set(client, own);
    }
    const held: Held = { id: ++this.#lastId, client, iomode: mode, start: range.start, end: range.end };
    own[role][mode].add(held);
    this.#all[mode].add(held);
    return held;
  }

  #delete(role: 'held' | 'reserved', held: Held): void {
    const own = this.#byClient.get(held.client);
    assert(own !== undefined, `client ${held.client} has no segment to give up`);
    own[role][held.iomode].delete(held);
    this.#all[held.iomode].delete(held);
    if (this.countOf(held.client) === 0) this.#byClient.delete(held.client);
  }
}

export function toSegment(mode: Iomode, range: Range): Segment {
  return { iomode: mode, offset: range.start, length: lengthOf(range) };
}
