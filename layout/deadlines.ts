/** Something that is due once, or never. Its fields belong to the `Deadlines` that it was given to. */
export interface Due {
  dueAt: number;
  /** Where it stands in the heap; undefined when nothing is due. */
  heapIndex: number | undefined;
}

/** What is due, earliest first: a binary heap whose entries know their place. Every change takes O(log n). */
export class Deadlines<T extends Due> {
  readonly #heap: T[] = [];

  /** The earliest, or undefined. */
  first(): T | undefined {
    return this.#heap[0];
  }

  /** `entry` is due at `at`, whether it was due before or not. */
  set(entry: T, at: number): void {
    if (entry.heapIndex !== undefined) this.delete(entry);
    entry.dueAt = at;
    this.#heap.push(entry);
    this.#rise(entry, this.#heap.length - 1);
  }

  delete(entry: T): void {
    const index = entry.heapIndex;
    if (index === undefined) return;
    entry.heapIndex = undefined;
    const last = this.#heap.pop();
    if (last === undefined || last === entry) return;
    this.#rise(last, index);
    this.#sink(last, last.heapIndex ?? index);
  }

  #rise(entry: T, from: number): void {
    let index = from;
    while (index > 0) {
      const parentIndex = (index - 1) >> 1;
      const parent = this.#heap[parentIndex];
      if (parent === undefined || parent.dueAt <= entry.dueAt) break;
      this.#put(parent, index);
      index = parentIndex;
    }
    this.#put(entry, index);
  }

  #sink(entry: T, from: number): void {
    let index = from;
    for (;;) {
      const child = this.#earlierChild(index);
      if (child === undefined || child.entry.dueAt >= entry.dueAt) break;
      this.#put(child.entry, index);
      index = child.index;
    }
    this.#put(entry, index);
  }

  #earlierChild(index: number): { readonly entry: T; readonly index: number } | undefined {
    const left = this.#heap[2 * index + 1];
    const right = this.#heap[2 * index + 2];
    if (left === undefined) return undefined;
    if (right === undefined || left.dueAt <= right.dueAt) return { entry: left, index: 2 * index + 1 };
    return { entry: right, index: 2 * index + 2 };
  }

  #put(entry: T, index: number): void {
    this.#heap[index] = entry;
    entry.heapIndex = index;
  }
}
