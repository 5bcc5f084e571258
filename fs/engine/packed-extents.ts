/**
 * The extents of files that have one, from their first block on, as bare numbers: 20 bytes a place, at most three in four
 * places taken. A million objects instead would take five times the memory, and the collector would look at each of them
 * again and again. A hash table with open addressing; an entry that goes is closed up by those behind it.
 */
import type { Extent } from './extents.ts';

/** Marks are two bits; the length has the rest of 32. */
const markBits = 2;
const lengthMax = 2 ** (32 - markBits) - 1;
const placesMinBits = 10;

export class PackedExtents {
  #size = 0;
  #bits = placesMinBits;
  /** Inode numbers; 0: the place is free. */
  #inos = new Float64Array(2 ** placesMinBits);
  #blocks = new Float64Array(2 ** placesMinBits);
  #lengths = new Uint32Array(2 ** placesMinBits);

  get size(): number {
    return this.#size;
  }

  /** Whether an extent can be kept here. */
  static takes({ fileBlock, length, mark }: Extent): boolean {
    return fileBlock === 0 && length <= lengthMax && mark < 2 ** markBits;
  }

  get(ino: number): Extent | undefined {
    const place = this.#find(ino);
    if (this.#inos[place] !== ino) return undefined;
    const packed = this.#lengths[place] ?? 0;
    const mark = packed & (2 ** markBits - 1);
    return { fileBlock: 0, block: this.#blocks[place] ?? 0, length: packed >>> markBits, mark };
  }

  /** Blocks of the file; 0 when it is not here. */
  blocksOf(ino: number): number {
    const place = this.#find(ino);
    return this.#inos[place] === ino ? (this.#lengths[place] ?? 0) >>> markBits : 0;
  }

  /** Only what `takes` says, and of no file that is here. */
  add(ino: number, { block, length, mark }: Extent): void {
    if ((this.#size + 1) * 4 > this.#inos.length * 3) this.#resize(this.#bits + 1);
    this.#put(ino, block, length * 2 ** markBits + mark);
    this.#size++;
  }

  delete(ino: number): void {
    let free = this.#find(ino);
    if (this.#inos[free] !== ino) return;
    this.#size--;
    // Knuth, The Art of Computer Programming, volume 3, 6.4, algorithm R.
    const mask = this.#inos.length - 1;
    for (let place = (free + 1) & mask; ; place = (place + 1) & mask) {
      const other = this.#inos[place] ?? 0;
      if (other === 0) break;
      const wanted = this.#first(other);
      if (((place - wanted) & mask) < ((place - free) & mask)) continue;
      this.#inos[free] = other;
      this.#blocks[free] = this.#blocks[place] ?? 0;
      this.#lengths[free] = this.#lengths[place] ?? 0;
      free = place;
    }
    this.#inos[free] = 0;
    if (this.#size * 8 < this.#inos.length && this.#bits > placesMinBits) this.#resize(this.#bits - 1);
  }

  *inos(): Generator<number> {
    for (const ino of this.#inos) if (ino !== 0) yield ino;
  }

  #put(ino: number, block: number, packedLength: number): void {
    const place = this.#find(ino);
    this.#inos[place] = ino;
    this.#blocks[place] = block;
    this.#lengths[place] = packedLength;
  }

  /** Where the file is, or would be put. */
  #find(ino: number): number {
    const mask = this.#inos.length - 1;
    let place = this.#first(ino);
    for (let at = this.#inos[place]; at !== ino && at !== 0; at = this.#inos[place]) place = (place + 1) & mask;
    return place;
  }

  /** Fibonacci hashing: inode numbers that follow each other lie apart, and those in steps do not meet. */
  #first(ino: number): number {
    const folded = (ino % 2 ** 32) ^ Math.floor(ino / 2 ** 32);
    return Math.imul(folded, 0x9e37_79b1) >>> (32 - this.#bits);
  }

  #resize(bits: number): void {
    const [inos, blocks, lengths] = [this.#inos, this.#blocks, this.#lengths];
    this.#inos = new Float64Array(2 ** bits);
    this.#blocks = new Float64Array(2 ** bits);
    this.#lengths = new Uint32Array(2 ** bits);
    this.#bits = bits;
    for (let place = 0; place < inos.length; place++) {
      const ino = inos[place] ?? 0;
      if (ino !== 0) this.#put(ino, blocks[place] ?? 0, lengths[place] ?? 0);
    }
  }
}
