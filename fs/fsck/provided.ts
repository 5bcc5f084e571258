/** File blocks from `from` to `to`, not itself among them. */
export interface FileRange {
  readonly from: number;
  readonly to: number;
}

/** Where in files clients were granted new blocks to write to. Added and asked for in ascending order of a file's blocks. */
export class Provided {
  readonly #files = new Map<number, { readonly ranges: FileRange[]; next: number }>();

  /** Answers what of it was there already. */
  add(ino: number, { from, to }: FileRange): FileRange | undefined {
    const file = this.#files.get(ino);
    if (file === undefined) {
      this.#files.set(ino, { ranges: [{ from, to }], next: 0 });
      return undefined;
    }
    const before = file.ranges.at(-1)?.to ?? 0;
    file.ranges.push({ from, to: Math.max(before, to) });
    return from < before ? { from, to: Math.min(before, to) } : undefined;
  }

  /** The first that shares a block with the range. */
  overlapping(ino: number, { from, to }: FileRange): FileRange | undefined {
    const file = this.#files.get(ino);
    if (file === undefined) return undefined;
    let first = file.ranges[file.next];
    while (first !== undefined && first.to <= from) first = file.ranges[++file.next];
    return first !== undefined && first.from < to ? first : undefined;
  }
}
