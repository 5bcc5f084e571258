import { type Piece, RangeMap } from './range-map.ts';
import type { BlockRange } from './role.ts';

export type Access = 'read' | 'write';

/** A fenced client that may still touch a range. */
export interface Hold {
  readonly range: BlockRange;
  readonly client: number;
  readonly access: Access;
}

/** Who holds one block, each client once, ascending. */
type Holders = readonly Omit<Hold, 'range'>[];

const nobody: Holders = [];

/** The holds over the blocks of a device: several clients may hold the same block. */
export class Holds {
  readonly #holders: RangeMap<Holders>;

  constructor(totalBlocks: number) {
    this.#holders = RangeMap.filled(totalBlocks, nobody, sameHolders);
  }

  get empty(): boolean {
    return this.#holders.pieceCount === 1 && this.#holders.get(0).length === 0;
  }

  /** A client that may write a block may read it too: writing wins over reading. */
  add(range: BlockRange, client: number, access: Access): void {
    for (const { start, length, value } of this.#holders.slice(range.block, range.length)) {
      const before = value.find((holder) => holder.client === client);
      if (before !== undefined && (before.access === 'write' || access === 'read')) continue;
      const others = value.filter((holder) => holder.client !== client);
      const holders = [...others, { client, access }].sort((a, b) => a.client - b.client);
      this.#holders.set(start, length, holders);
    }
  }

  /** Answers the ranges that the client held there, ascending. */
  drop(client: number, within: BlockRange): readonly BlockRange[] {
    const dropped: { block: number; length: number }[] = [];
    for (const { start, length, value } of this.#holders.slice(within.block, within.length)) {
      const others = value.filter((holder) => holder.client !== client);
      if (others.length === value.length) continue;
      this.#holders.set(start, length, others);
      const last = dropped.at(-1);
      if (last !== undefined && last.block + last.length === start) last.length += length;
      else dropped.push({ block: start, length });
    }
    return dropped;
  }

  /** The range cut into pieces that are held by somebody and pieces that are not. */
  cut(range: BlockRange): readonly Piece<boolean>[] {
    return this.#cut(range, (holders) => holders.length > 0);
  }

  /** The same by who may write it. */
  cutByWriters(range: BlockRange): readonly Piece<boolean>[] {
    return this.#cut(range, (holders) => holders.some(({ access }) => access === 'write'));
  }

  #cut(range: BlockRange, by: (holders: Holders) => boolean): readonly Piece<boolean>[] {
    if (this.empty) return [{ start: range.block, length: range.length, value: false }];
    const pieces = this.#holders.slice(range.block, range.length);
    return pieces.map(({ start, length, value }) => ({ start, length, value: by(value) }));
  }

  /** Makes the device `blocks` long. Nobody holds what goes. */
  resize(blocks: number): void {
    this.#holders.resize(blocks, nobody);
  }

  *[Symbol.iterator](): Generator<Hold> {
    for (const { start, length, value } of this.#holders.slice(0, this.#holders.size)) {
      for (const { client, access } of value) yield { range: { block: start, length }, client, access };
    }
  }
}

function sameHolders(a: Holders, b: Holders): boolean {
  return (
    a.length === b.length && a.every((holder, i) => holder.client === b[i]?.client && holder.access === b[i]?.access)
  );
}
