/**
 * The extent maps of all files, always resident: what is free follows from them. A file in use has an `ExtentMap`; when it
 * was not used for a while and has one extent, as nearly all have, that becomes a few numbers again.
 */
import { type Extent, ExtentMap } from './extents.ts';
import { PackedExtents } from './packed-extents.ts';

export interface ExtentTableOptions {
  /** Maps of files that could be packed. */
  readonly capacity: number;
  /** Asks for a `trim` once no operation runs: an operation may hold what a trim packs. */
  overfull(): void;
}

export class ExtentTable {
  readonly #options: ExtentTableOptions;
  /** In the order in which they came into use. */
  readonly #used = new Map<number, ExtentMap>();
  /** Those that could not be packed when they were looked at. */
  readonly #fragmented = new Map<number, ExtentMap>();
  readonly #packed: PackedExtents;

  constructor(loaded: LoadedExtents, options: ExtentTableOptions) {
    this.#packed = loaded.packed;
    this.#fragmented = loaded.fragmented;
    this.#options = options;
  }

  /** Files that have blocks, and some that had. */
  *keys(): Generator<number> {
    yield* this.#used.keys();
    yield* this.#fragmented.keys();
    yield* this.#packed.inos();
  }

  /** The map of a file that has blocks; for this operation only: the next may find another one. */
  get(ino: number): ExtentMap | undefined {
    const known = this.#used.get(ino) ?? this.#fragmented.get(ino);
    if (known !== undefined) return known;
    const extent = this.#packed.get(ino);
    if (extent === undefined) return undefined;
    this.#packed.delete(ino);
    const map = new ExtentMap();
    map.load(extent);
    return this.#use(ino, map);
  }

  /** The same for a file that may have none yet. */
  of(ino: number): ExtentMap {
    return this.get(ino) ?? this.#use(ino, new ExtentMap());
  }

  /** Blocks mapped by a file. */
  blocksOf(ino: number): number {
    const map = this.#used.get(ino) ?? this.#fragmented.get(ino);
    return map === undefined ? this.#packed.blocksOf(ino) : map.blocks;
  }

  delete(ino: number): void {
    if (!this.#used.delete(ino) && !this.#fragmented.delete(ino)) this.#packed.delete(ino);
  }

  /** Looks at an eighth of those in use, those that came first. */
  trim(): void {
    if (this.#used.size <= this.#options.capacity) return;
    let looks = 1 + (this.#options.capacity >> 3);
    for (const [ino, map] of this.#used) {
      if (looks-- <= 0) return;
      this.#used.delete(ino);
      const extent = map.last;
      if (extent === undefined) continue;
      if (map.count === 1 && PackedExtents.takes(extent)) this.#packed.add(ino, extent);
      else this.#fragmented.set(ino, map);
    }
  }

  #use(ino: number, map: ExtentMap): ExtentMap {
    this.#used.set(ino, map);
    if (this.#used.size > this.#options.capacity) this.#options.overfull();
    return map;
  }
}

/** What a mount reads, in the order of inode numbers and file blocks. */
export class LoadedExtents {
  readonly packed = new PackedExtents();
  readonly fragmented = new Map<number, ExtentMap>();
  #lastIno = 0;
  #lastEnd = 0;

  /** Answers false, and adds nothing, where the extent overlaps the one before. */
  add(ino: number, extent: Extent): boolean {
    if (ino !== this.#lastIno) {
      if (PackedExtents.takes(extent)) this.packed.add(ino, extent);
      else this.#mapOf(ino).load(extent);
    } else {
      if (extent.fileBlock < this.#lastEnd) return false;
      this.#mapOf(ino).load(extent);
    }
    this.#lastIno = ino;
    this.#lastEnd = extent.fileBlock + extent.length;
    return true;
  }

  #mapOf(ino: number): ExtentMap {
    let map = this.fragmented.get(ino);
    if (map === undefined) {
      map = new ExtentMap();
      this.fragmented.set(ino, map);
      const first = this.packed.get(ino);
      if (first !== undefined) {
        map.load(first);
        this.packed.delete(ino);
      }
    }
    return map;
  }
}
