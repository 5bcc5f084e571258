/** Any number of different values for a key. A key without values takes no room. */
export class MultiMap<K, V> {
  readonly #values = new Map<K, Set<V>>();

  /** Those of now, in the order in which they came; what is added or deleted meanwhile is left as it was. */
  get(key: K): readonly V[] {
    return [...(this.#values.get(key) ?? [])];
  }

  add(key: K, value: V): void {
    const values = this.#values.get(key);
    if (values === undefined) this.#values.set(key, new Set([value]));
    else values.add(value);
  }

  delete(key: K, value: V): void {
    const values = this.#values.get(key);
    values?.delete(value);
    if (values?.size === 0) this.#values.delete(key);
  }
}
