/**
 * What may be there after a crash: the names and attributes of one moment since the last fsync, whichever file it was of,
 * and in each file bytes that it held at that place since it was last synced itself. fdatasync makes of the attributes
 * nothing durable but the size: the moment is one since the file has the size that it had then.
 * syncfs(2) promises nothing: the kernel tells it to no filesystem mounted on /dev/fuse without a block device
 * (fuse_sync_fs, fs/fuse/inode.c).
 */
import type { Model } from './model.ts';
import { type Node, statLines, statOf } from './node.ts';
import type { Operation } from './operations.ts';
import type { Side } from './side.ts';

interface Entry {
  readonly node: Node;
  /** All but the size: what a crash cuts off in the middle of a call may have reached any part of it. */
  readonly line: string;
  readonly size: number;
}
type State = ReadonlyMap<string, Entry>;

export class Durable {
  readonly #model: Model;
  #states: State[];
  readonly #contents = new Map<Node, Buffer[]>();

  constructor(model: Model) {
    this.#model = model;
    this.#states = [stateOf(model)];
  }

  /** After an operation that has succeeded. */
  note(operation: Operation): void {
    const { op } = operation;
    const touched = this.#touched(operation);
    if (op === 'fsync' || op === 'fdatasync')
      for (const node of touched) this.#contents.set(node, [Buffer.from(node.bytes)]);
    else
      for (const node of touched)
        this.#contents.set(node, [...(this.#contents.get(node) ?? []), Buffer.from(node.bytes)]);
    const state = stateOf(this.#model);
    this.#states = op === 'fsync' ? [state] : [...this.#states, state];
    if (op === 'fdatasync') for (const node of touched) this.#sizeIsDurable(node);
  }

  /** Of what has no name any more nothing shows. */
  #sizeIsDurable(node: Node): void {
    const sizes = this.#states.map((state) => [...state.values()].find((entry) => entry.node === node)?.size);
    if (sizes.at(-1) === undefined) return;
    this.#states = this.#states.slice(sizes.findLastIndex((size) => size !== node.size) + 1);
  }

  /** Answers in words what cannot be. */
  verify(side: Side): string | undefined {
    const found = entriesOf(side);
    if (typeof found === 'string') return `after the crash: ${found}`;
    const at = this.#states.findIndex((state, i) => fits(found, state, this.#states[i + 1]));
    const state = this.#states[at];
    if (state === undefined)
      return `after the crash: ${this.#states.length} states, and none is there: ${this.#nearest(found)}`;
    for (const [path, { node }] of state) {
      const wrong = node.isFile ? this.#verifyContent(side, path, node) : undefined;
      if (wrong !== undefined) return `after the crash: ${JSON.stringify(path)}: ${wrong}`;
    }
    return undefined;
  }

  #verifyContent(side: Side, path: string, node: Node): string | undefined {
    const bytes = side.content(path);
    if (typeof bytes === 'string') return bytes;
    const past = this.#contents.get(node) ?? [Buffer.alloc(0)];
    for (const [i, byte] of bytes.entries()) {
      if (!past.some((content) => (content[i] ?? 0) === byte))
        return `byte ${i} of ${bytes.length} is ${byte}, which it never was`;
    }
    return undefined;
  }

  #touched(operation: Operation): readonly Node[] {
    const nodes: (Node | undefined)[] = [];
    if ('slot' in operation && !isReading(operation)) nodes.push(this.#model.open.get(operation.slot)?.node);
    if (operation.op === 'copy') nodes.push(this.#model.open.get(operation.to)?.node);
    if (operation.op === 'truncate') nodes.push(this.#model.nodeAt(operation.path, true));
    if (operation.op === 'poke') nodes.push(this.#model.maps.get(operation.map)?.node);
    return nodes.filter((node) => node !== undefined).filter(({ isFile }) => isFile);
  }

  /** The state that differs in the fewest paths, and these. */
  #nearest(found: ReadonlyMap<string, { readonly line: string }>): string {
    const differing = this.#states.map((state) =>
      [...new Set([...found.keys(), ...state.keys()])]
        .filter((path) => found.get(path)?.line !== state.get(path)?.line)
        .map((path) => `${JSON.stringify(path)} ${found.get(path)?.line} instead of ${state.get(path)?.line}`),
    );
    return differing.sort((a, b) => a.length - b.length)[0]?.join('; ') ?? '';
  }
}

export function isReading({ op }: Operation): boolean {
  return [
    'read',
    'pread',
    'fstat',
    'lseek',
    'seekData',
    'seekHole',
    'mapRead',
    'peek',
    'map',
    'view',
    'unmap',
    'stat',
    'lstat',
    'list',
  ].includes(op);
}

function stateOf(model: Model): State {
  const state = new Map<string, Entry>();
  for (const [path, node] of model.paths()) {
    if (path !== '.')
      state.set(path, { node, line: lineOf(statOf(node), [...node.xattrs.keys()].sort()), size: node.size });
  }
  return state;
}

function entriesOf(side: Side): ReadonlyMap<string, { readonly line: string; readonly size: number }> | string {
  const found = new Map<string, { line: string; size: number }>();
  const directories = ['.'];
  for (const directory of directories) {
    const entries = side.entries(directory);
    if (typeof entries === 'string') return `${directory}: ${entries}`;
    for (const { name } of entries) {
      const path = directory === '.' ? name : `${directory}/${name}`;
      const stat = side.stat(path);
      if (typeof stat === 'string') return `${path}: ${stat}`;
      const xattrs = side.xattrs(path, false);
      found.set(path, { line: lineOf(statLines(stat), typeof xattrs === 'string' ? [] : xattrs), size: stat.size });
      if ((stat.mode & 0o170000) === 0o040000) directories.push(path);
    }
  }
  return found;
}

function lineOf(lines: readonly string[], xattrs: readonly string[]): string {
  return [...lines.filter((line) => !line.startsWith('size')), ...xattrs].join(' ');
}

function fits(
  found: ReadonlyMap<string, { readonly line: string; readonly size: number }>,
  state: State,
  next?: State,
): boolean {
  if (found.size !== state.size) return false;
  for (const [path, { line, size }] of found) {
    const entry = state.get(path);
    if (entry?.line !== line) return false;
    if (!entry.node.isFile || size === entry.size) continue;
    const later = next?.get(path)?.size ?? entry.size;
    if (size < Math.min(entry.size, later) || size > Math.max(entry.size, later)) return false;
  }
  return true;
}
