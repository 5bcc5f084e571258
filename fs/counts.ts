/**
 * A count for each of many numbers, in typed arrays: 21 bytes for each where a Map takes 45, and one place in memory to look
 * at. Open addressing, cut into parts that grow and shrink one by one, since that is one synchronous step.
 */
const partBits = 6;
const parts = 2 ** partBits;
/** Lower and upper half of the number, and the count; 0: the place is free. */
const width = 3;
const placesMin = 8;

interface Part {
  places: Uint32Array;
  /** Number of places, a power of two, less one. */
  mask: number;
  size: number;
}

export class Counts {
  readonly #parts: readonly Part[] = Array.from({ length: parts }, () => empty(placesMin));
  #size = 0;
  /** Where `#find` was. */
  #part: Part = empty(placesMin);
  #at = 0;

  /** Numbers whose count is not 0. */
  get size(): number {
    return this.#size;
  }

  get(number: number): number {
    this.#find(number);
    return this.#part.places[this.#at + 2] ?? 0;
  }

  has(number: number): boolean {
    return this.get(number) > 0;
  }

  /** Changes the count by `change`, not below 0. Answers the count, which must stay below 2^32. */
  add(number: number, change: number): number {
    this.#find(number);
    const part = this.#part;
    const was = part.places[this.#at + 2] ?? 0;
    const count = Math.max(0, was + change);
    if (count === 0) {
      if (was !== 0) this.#remove();
      return 0;
    }
    part.places[this.#at + 2] = count;
    if (was !== 0) return count;
    part.places[this.#at] = number >>> 0;
    part.places[this.#at + 1] = Math.floor(number / 2 ** 32);
    part.size++;
    this.#size++;
    if (part.size * 4 > (part.mask + 1) * 3) resize(part, (part.mask + 1) * 2);
    return count;
  }

  /** Each number once, if none is counted for the first or the last time meanwhile. */
  *keys(): Generator<number> {
    for (const { places } of this.#parts) {
      for (let at = 0; at < places.length; at += width) {
        if (places[at + 2] !== 0) yield (places[at + 1] ?? 0) * 2 ** 32 + (places[at] ?? 0);
      }
    }
  }

  clear(): void {
    for (const part of this.#parts) Object.assign(part, empty(placesMin));
    this.#size = 0;
  }

  /** To the place of the number, or the one where it would be put. */
  #find(number: number): void {
    const [low, high] = [number >>> 0, Math.floor(number / 2 ** 32)];
    const hash = hashOf(low, high);
    const part = this.#parts[hash & (parts - 1)] ?? this.#part;
    this.#part = part;
    this.#at = placeOf(part, hash, low, high) * width;
  }

  /** The number found; those behind it close up (Knuth, The Art of Computer Programming, volume 3, 6.4, algorithm R). */
  #remove(): void {
    const part = this.#part;
    const { places, mask } = part;
    let free = this.#at / width;
    for (let place = (free + 1) & mask; places[place * width + 2] !== 0; place = (place + 1) & mask) {
      const at = place * width;
      const wanted = (hashOf(places[at] ?? 0, places[at + 1] ?? 0) >>> partBits) & mask;
      if (((place - wanted) & mask) < ((place - free) & mask)) continue;
      places.copyWithin(free * width, at, at + width);
      free = place;
    }
    places.fill(0, free * width, (free + 1) * width);
    part.size--;
    this.#size--;
    if (part.size * 8 < mask + 1 && mask >= placesMin) resize(part, (mask + 1) / 2);
  }
}

function empty(places: number): Part {
  return { places: new Uint32Array(places * width), mask: places - 1, size: 0 };
}

function placeOf({ places, mask }: Part, hash: number, low: number, high: number): number {
  for (let place = (hash >>> partBits) & mask; ; place = (place + 1) & mask) {
    const at = place * width;
    if (places[at + 2] === 0 || (places[at] === low && places[at + 1] === high)) return place;
  }
}

function resize(part: Part, count: number): void {
  const { places: old } = part;
  part.places = new Uint32Array(count * width);
  part.mask = count - 1;
  for (let from = 0; from < old.length; from += width) {
    if (old[from + 2] === 0) continue;
    const [low, high] = [old[from] ?? 0, old[from + 1] ?? 0];
    const at = placeOf(part, hashOf(low, high), low, high) * width;
    part.places[at] = low;
    part.places[at + 1] = high;
    part.places[at + 2] = old[from + 2] ?? 0;
  }
}

/** Fibonacci hashing, folded so that the lower bits, which choose the part, depend on all. */
function hashOf(low: number, high: number): number {
  const hash = Math.imul(low ^ Math.imul(high, 0x85eb_ca6b), 0x9e37_79b1);
  return (hash ^ (hash >>> 15)) >>> 0;
}
