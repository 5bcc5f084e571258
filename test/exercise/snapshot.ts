/** A directory tree as it was at one moment, and whether a snapshot of it shows that. */
import { listing, type Node, statLines, statOf } from './node.ts';
import { isError, isSame } from './operations.ts';
import type { Side } from './side.ts';

interface Frozen {
  readonly stat: readonly string[];
  readonly listing: readonly string[] | undefined;
  /** Undefined: no file, or one with stores to a mapping that the kernel may not have handed on yet. */
  readonly bytes: Buffer | undefined;
  readonly xattrs: ReadonlyMap<string, Buffer>;
}

export class Snapshot {
  readonly #nodes = new Map<string, Frozen>();

  /** @param mapped files with stores to mappings */
  constructor(paths: ReadonlyMap<string, Node>, mapped: ReadonlySet<Node>) {
    for (const [path, node] of paths) {
      this.#nodes.set(path, {
        stat: statOf(node),
        listing: node.isDirectory ? listing(node) : undefined,
        bytes: node.isFile && !mapped.has(node) ? Buffer.from(node.bytes) : undefined,
        xattrs: new Map(node.xattrs),
      });
    }
  }

  /** Answers in words what is not as it was. */
  verify(side: Side, name: string): string | undefined {
    for (const [path, frozen] of this.#nodes) {
      const wrong = verifyAt(side, path === '.' ? snapshotPath(name) : `${snapshotPath(name)}/${path}`, frozen);
      if (wrong !== undefined) return `snapshot ${name}: ${JSON.stringify(path)}: ${wrong}`;
    }
    return undefined;
  }
}

export function snapshotPath(name: string): string {
  return `.snapshots/${name}`;
}

function verifyAt(side: Side, path: string, frozen: Frozen): string | undefined {
  const stat = side.stat(path);
  if (typeof stat === 'string') return stat;
  if (!isSame(statLines(stat), frozen.stat))
    return `${statLines(stat).join(', ')} instead of ${frozen.stat.join(', ')}`;
  if (frozen.listing !== undefined) {
    const entries = side.list(path);
    if (!isSame(entries, frozen.listing)) return `entries ${String(entries)} instead of ${frozen.listing.join(', ')}`;
  }
  if (frozen.bytes !== undefined && !isSame(side.content(path), frozen.bytes)) return 'other bytes';
  const names = side.xattrs(path, false);
  if (isError(names) || !isSame(names, [...frozen.xattrs.keys()].sort())) return `xattrs ${String(names)}`;
  for (const [name, value] of frozen.xattrs) {
    if (!isSame(side.xattr(path, name, false), value)) return `another ${name}`;
  }
  return undefined;
}
