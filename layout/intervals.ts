import { assert } from './assert.ts';
import type { Range } from './ranges.ts';

/** A range with a number of its own, so that equal ranges can be told apart. */
export interface Interval extends Range {
  readonly id: number;
}

interface Node<T> {
  readonly item: T;
  left: Node<T> | undefined;
  right: Node<T> | undefined;
  height: number;
  /** The largest end in this subtree: what makes a look-up skip whatever ends before it. */
  endMax: number;
}

/**
 * Intervals that may overlap, ordered by start and then by id: an AVL tree that knows the largest end below each node.
 * Adding, deleting and finding one takes O(log n); finding k overlapping ones O(log n + k).
 */
export class Intervals<T extends Interval> {
  #root: Node<T> | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Levels of the tree: what a look-up costs. */
  get height(): number {
    return height(this.#root);
  }

  add(item: T): void {
    this.#root = insert(this.#root, item);
    this.#size++;
  }

  /** `item` must be in here, with the start it had when it was added. */
  delete(item: T): void {
    this.#root = remove(this.#root, item);
    this.#size--;
  }

  /** Ascending by start. */
  overlapping(range: Range): T[] {
    const found: T[] = [];
    visit(this.#root, range, (item) => {
      found.push(item);
      return false;
    });
    return found;
  }

  /** The first one that overlaps `range` and for which `accept` holds. */
  find(range: Range, accept: (item: T) => boolean = always): T | undefined {
    let found: T | undefined;
    visit(this.#root, range, (item) => {
      if (!accept(item)) return false;
      found = item;
      return true;
    });
    return found;
  }

  /** The one that overlaps `range`, for which `accept` holds, and that starts last. */
  findLast(range: Range, accept: (item: T) => boolean = always): T | undefined {
    return last(this.#root, range, accept);
  }

  values(): T[] {
    return this.overlapping({ start: -Infinity, end: Infinity });
  }
}

function always(): boolean {
  return true;
}

/** Calls `stop` for each overlapping item in order, until it says so. */
function visit<T extends Interval>(node: Node<T> | undefined, range: Range, stop: (item: T) => boolean): boolean {
  if (node === undefined || node.endMax <= range.start) return false;
  if (visit(node.left, range, stop)) return true;
  if (node.item.start >= range.end) return false;
  if (node.item.end > range.start && stop(node.item)) return true;
  return visit(node.right, range, stop);
}

function last<T extends Interval>(
  node: Node<T> | undefined,
  range: Range,
  accept: (item: T) => boolean,
): T | undefined {
  if (node === undefined || node.endMax <= range.start) return undefined;
  if (node.item.start >= range.end) return last(node.left, range, accept);
  const later = last(node.right, range, accept);
  if (later !== undefined) return later;
  return node.item.end > range.start && accept(node.item) ? node.item : last(node.left, range, accept);
}

function before(a: Interval, b: Interval): boolean {
  return a.start < b.start || (a.start === b.start && a.id < b.id);
}

function insert<T extends Interval>(node: Node<T> | undefined, item: T): Node<T> {
  if (node === undefined) return { item, left: undefined, right: undefined, height: 1, endMax: item.end };
  assert(item.id !== node.item.id, `interval ${item.id} added twice`);
  if (before(item, node.item)) node.left = insert(node.left, item);
  else node.right = insert(node.right, item);
  return balanced(node);
}

function remove<T extends Interval>(node: Node<T> | undefined, item: T): Node<T> | undefined {
  assert(node !== undefined, `interval ${item.id} is not in the index`);
  if (node.item === item) {
    if (node.left === undefined) return node.right;
    if (node.right === undefined) return node.left;
    const { rest, first } = removeFirst(node.right);
    first.left = node.left;
    first.right = rest;
    return balanced(first);
  }
  if (before(item, node.item)) node.left = remove(node.left, item);
  else node.right = remove(node.right, item);
  return balanced(node);
}

/** Takes the leftmost node out of a subtree. */
function removeFirst<T extends Interval>(node: Node<T>): { first: Node<T>; rest: Node<T> | undefined } {
  if (node.left === undefined) return { first: node, rest: node.right };
  const { first, rest } = removeFirst(node.left);
  node.left = rest;
  return { first, rest: balanced(node) };
}

/** Heights of the two sides differ by two at most here, by one afterwards. */
function balanced<T extends Interval>(node: Node<T>): Node<T> {
  const lean = height(node.left) - height(node.right);
  if (lean > 1 && node.left !== undefined) {
    if (height(node.left.left) < height(node.left.right)) node.left = rotateLeft(node.left);
    return rotateRight(node);
  }
  if (lean < -1 && node.right !== undefined) {
    if (height(node.right.right) < height(node.right.left)) node.right = rotateRight(node.right);
    return rotateLeft(node);
  }
  return measured(node);
}

function rotateRight<T extends Interval>(node: Node<T>): Node<T> {
  const top = node.left;
  assert(top !== undefined, 'nothing to rotate up from the left');
  node.left = top.right;
  top.right = measured(node);
  return measured(top);
}

function rotateLeft<T extends Interval>(node: Node<T>): Node<T> {
  const top = node.right;
  assert(top !== undefined, 'nothing to rotate up from the right');
  node.right = top.left;
  top.left = measured(node);
  return measured(top);
}

function measured<T extends Interval>(node: Node<T>): Node<T> {
  node.height = 1 + Math.max(height(node.left), height(node.right));
  node.endMax = Math.max(node.item.end, node.left?.endMax ?? -Infinity, node.right?.endMax ?? -Infinity);
  return node;
}

function height<T>(node: Node<T> | undefined): number {
  return node === undefined ? 0 : node.height;
}
