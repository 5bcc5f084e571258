/**
 * The B+ trees of sorted-btree, reached through its bulk loader alone: the package's default export is `{ default }` to
 * node and the class itself to a bundler, while this named export is the same to both.
 */
import { bulkLoad } from 'sorted-btree/extended/bulkLoad.js';

/** Fastest of 16 to 128 for single-block allocation on 10^5 free extents. */
const nodeSize = 32;

export type SortedTree<K, V> = ReturnType<typeof bulkLoad<K, V>>;

/** A tree of the given entries; `keys` strictly ascending. */
export function sortedTree<K, V>(keys: K[], values: V[], compare: (a: K, b: K) => number): SortedTree<K, V> {
  return bulkLoad(keys, values, nodeSize, compare);
}
