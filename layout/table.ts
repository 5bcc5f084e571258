/**
 * Objects by a number that each of them knows: open addressing with linear probing, and no trace of what was deleted.
 * V8's own Map keeps deleted entries in the chains of their buckets until it grows: a number that comes and goes again and
 * again, as a file does whose layout is got and returned, costs time in proportion to all that is in the Map.
 */
export class Table<T extends object> {
  readonly #numberOf: (item: T) => number;
  readonly #slotsMin: number;
  #slots: (T | undefined)[];
  #size = 0;

  /** `slotsMin`, a power of two: it is never smaller, so that few items that come and go do not make it grow and shrink. */
  constructor(numberOf: (item: T) => number, slotsMin = 8) {
    this.#numberOf = numberOf;
    this.#slotsMin = slotsMin;
    this.#slots = emptySlots(slotsMin);
  }

  get size(): number {
    return this.#size;
  }

  get(wanted: number): T | undefined {
    return this.#slots[this.#find(wanted)];
  }

  /** In the place of what has the same number. */
  add(item: T): void {
    const at = this.#find(this.#numberOf(item));
    if (this.#slots[at] === undefined) this.#size++;
    this.#slots[at] = item;
    if (this.#size * 4 > this.#slots.length * 3) this.#resize(this.#slots.length * 2);
  }

  delete(wanted: number): void {
    const slots = this.#slots;
    const last = slots.length - 1;
    let hole = this.#find(wanted);
    if (slots[hole] === undefined) return;
    this.#size--;
    for (let at = (hole + 1) & last; ; at = (at + 1) & last) {
      const item = slots[at];
      if (item === undefined) break;
      // It stays findable in the hole only if its probing began there or before.
      if (((at - homeOf(this.#numberOf(item), last)) & last) < ((at - hole) & last)) continue;
      slots[hole] = item;
      hole = at;
    }
    slots[hole] = undefined;
    if (slots.length > this.#slotsMin && this.#size * 8 < slots.length) this.#resize(slots.length / 2);
  }

  /** In no particular order; nothing may be added or deleted meanwhile. */
  *values(): Generator<T> {
    for (const item of this.#slots) if (item !== undefined) yield item;
  }

  /** Where `wanted` is, or the free slot where it would be. */
  #find(wanted: number): number {
    const last = this.#slots.length - 1;
    for (let at = homeOf(wanted, last); ; at = (at + 1) & last) {
      const item = this.#slots[at];
      if (item === undefined || this.#numberOf(item) === wanted) return at;
    }
  }

  #resize(length: number): void {
    const items = this.#slots;
    this.#slots = emptySlots(length);
    for (const item of items) if (item !== undefined) this.#slots[this.#find(this.#numberOf(item))] = item;
  }
}

function emptySlots<T>(length: number): (T | undefined)[] {
  return Array.from<undefined>({ length });
}

/** Multiplied by 2^32 over the golden ratio and folded, numbers that count up or step by powers of two lie spread (Knuth, TAOCP 6.4). */
function homeOf(wanted: number, last: number): number {
  const mixed = Math.imul((wanted >>> 0) ^ ((wanted / 2 ** 32) >>> 0), 0x9e37_79b1);
  return (mixed ^ (mixed >>> 15)) & last;
}
