/**
 * From a hash of 32 bits to the records that have it: open addressing, hash and place side by side in one line of the
 * processor's cache. Cut into parts that grow one by one, since growing is one synchronous step: a part of a table of two
 * million is done in a fraction of a millisecond.
 *
 * A search is `first`, then `next` while the record found is another's; `set`, `add` and `remove` work where it ended.
 */
const partBits = 6;
const parts = 2 ** partBits;
const placesMin = 16;

export class RecordIndex {
  /** Hash and record in turn; record 0: the place is free. */
  readonly #parts: Uint32Array[] = Array.from({ length: parts }, () => new Uint32Array(2 * placesMin));
  readonly #sizes = new Uint32Array(parts);
  #bytes = parts * 8 * placesMin;
  /** Where the search is. */
  #hash = 0;
  #part: Uint32Array = new Uint32Array(2 * placesMin);
  #at = 0;

  get size(): number {
    let size = 0;
    for (const of of this.#sizes) size += of;
    return size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** The first record under the hash; 0: none. */
  first(hash: number): number {
    const part = this.#parts[hash & (parts - 1)] ?? this.#part;
    this.#hash = hash;
    this.#part = part;
    this.#at = ((hash >>> partBits) * 2) & (part.length - 1);
    return this.#seek();
  }

  /** The next record under the hash; 0: there is no more. */
  next(): number {
    this.#at = (this.#at + 2) & (this.#part.length - 1);
    return this.#seek();
  }

  /** The record found is now called otherwise. */
  set(record: number): void {
    this.#part[this.#at + 1] = record;
  }

  /** After a search without a result. */
  add(record: number): void {
    const number = this.#hash & (parts - 1);
    const size = (this.#sizes[number] ?? 0) + 1;
    if (size * 8 > this.#part.length * 3) {
      this.#grow(number);
      for (let found = this.first(this.#hash); found !== 0; found = this.next());
    }
    this.#sizes[number] = size;
    this.#part[this.#at] = this.#hash;
    this.#part[this.#at + 1] = record;
  }

  /** Takes the record found out; those behind it close up (Knuth, The Art of Computer Programming, volume 3, 6.4, algorithm R). */
  remove(): void {
    const part = this.#part;
    const mask = part.length - 1;
    const number = this.#hash & (parts - 1);
    this.#sizes[number] = (this.#sizes[number] ?? 0) - 1;
    let free = this.#at;
    for (let at = (free + 2) & mask; part[at + 1] !== 0; at = (at + 2) & mask) {
      const wanted = (((part[at] ?? 0) >>> partBits) * 2) & mask;
      if (((at - wanted) & mask) < ((at - free) & mask)) continue;
      part[free] = part[at] ?? 0;
      part[free + 1] = part[at + 1] ?? 0;
      free = at;
    }
    part[free + 1] = 0;
  }

  #seek(): number {
    const part = this.#part;
    const mask = part.length - 1;
    const hash = this.#hash;
    let at = this.#at;
    for (;;) {
      const record = part[at + 1] ?? 0;
      if (record === 0 || part[at] === hash) {
        this.#at = at;
        return record;
      }
      at = (at + 2) & mask;
    }
  }

  #grow(number: number): void {
    const old = this.#parts[number] ?? this.#part;
    const grown = new Uint32Array(old.length * 2);
    const mask = grown.length - 1;
    for (let from = 0; from < old.length; from += 2) {
      if (old[from + 1] === 0) continue;
      const hash = old[from] ?? 0;
      let at = ((hash >>> partBits) * 2) & mask;
      while (grown[at + 1] !== 0) at = (at + 2) & mask;
      grown[at] = hash;
      grown[at + 1] = old[from + 1] ?? 0;
    }
    this.#parts[number] = grown;
    this.#bytes += (grown.length - old.length) * 4;
  }
}
