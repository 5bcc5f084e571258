/**
 * Operations done on three sides at once: the filesystem under test, a tmpfs, and the model. All answers have to be the
 * same, and from time to time all that is there.
 */
import { join } from 'node:path';
import { alice, become, type Identity, root } from '../posix/support/identity.ts';
import type { Stat } from '../posix/support/structs.ts';
import { Durable, isReading } from './durable.ts';
import { flagBits, getFlags } from './flags.ts';
import { Model } from './model.ts';
import { entryLine, listing, type Node, statLines, statOf } from './node.ts';
import type { OpenFile } from './open-file.ts';
import { isError, isSame, type Operation, type Outcome, type PeerOperation, printed } from './operations.ts';
import { removeQuota, setQuota } from './peer.ts';
import { judge, type QuotaTree, verifyUse } from './quotas.ts';
import type { Side } from './side.ts';

export class Episode {
  readonly model: Model;
  readonly #mount: Side;
  readonly #reference: Side;
  readonly #identity: Identity;
  readonly #durable: Durable;
  /** Inode numbers on the filesystem under test, which stay. */
  readonly #numbers = new Map<Node, number>();

  constructor(mount: Side, reference: Side, isRoot: boolean) {
    this.#mount = mount;
    this.#reference = reference;
    this.#identity = isRoot ? root : alice;
    this.model = new Model(this.#identity, isRoot);
    this.#durable = new Durable(this.model);
  }

  /** Does it everywhere. Answers in words what differs. */
  async step(operation: Operation): Promise<string | undefined> {
    become(this.#identity);
    const { model } = this;
    if (!model.applies(operation)) return undefined;
    if (isPeers(operation)) return this.#peers(operation);
    if (isOwn(operation)) return this.#own(operation);
    if (operation.op === 'seekData' || operation.op === 'seekHole') return this.#seek(operation);
    const watched = this.#watched(operation);
    const before = watched.map((path) => this.#times(path));
    const tree = model.quotaOf(operation);
    const limited = tree === undefined ? undefined : this.#limited(operation, tree);
    if (limited?.differs !== undefined) return `${printed(operation)}: ${limited.differs}`;
    if (limited?.got === 'EDQUOT') {
      this.#leaveClosed(operation);
      return undefined;
    }
    const done = withRoomFor(operation, limited?.got);
    const { differs, isRefused } = this.#everywhere(done, limited?.got);
    return differs ?? this.#compareTimes(done, watched, before, isRefused);
  }

  #everywhere(operation: Operation, known: Outcome): { readonly differs: string | undefined; isRefused: boolean } {
    const { model } = this;
    const mapped = 'map' in operation ? model.mappedBytes(operation.map) : 0;
    const isForbidding = model.hasFlags;
    const foreseen = this.#identity === root && !isForbidding ? model.apply(operation) : undefined;
    // Elsewhere there are no quotas, and the operation would be done.
    const isOurs = foreseen === 'EXDEV';
    const isEmulated = operation.op === 'fallocate' && (operation.mode === 'zero' || operation.mode === 'zeroKeep');
    const isAlone = isEmulated || isOurs;
    const reference = isAlone ? undefined : this.#reference.apply(operation, mapped);
    const got = known ?? this.#mount.apply(operation, mapped);
    // On a FUSE mount the kernel looks for other errors before the filesystem is asked for this one.
    if (isForbidding && isError(reference) && isError(got) && (reference === 'EPERM' || got === 'EPERM')) {
      if (operation.op === 'open' || operation.op === 'tmpfile') model.open.delete(operation.slot);
      return { differs: undefined, isRefused: true };
    }
    if (this.#identity !== root && (reference === 'EACCES' || reference === 'EPERM')) {
      if (operation.op === 'open' || operation.op === 'tmpfile') model.open.delete(operation.slot);
      return { differs: difference(operation, 'tmpfs', reference, got), isRefused: true };
    }
    const expected = foreseen ?? model.apply(operation);
    if (isEmulated && !isError(expected)) this.#reference.replace(operation.slot, nodeOf(model, operation.slot).bytes);
    this.#noteMapped(operation);
    if (!isError(expected) && !isReading(operation)) this.#durable.note(operation);
    const differs =
      difference(operation, 'the model', expected, got) ??
      (isAlone ? undefined : difference(operation, 'the model', expected, reference, 'tmpfs'));
    return { differs, isRefused: isError(expected) };
  }

  /** What goes by the metadata server, and only root asks for. */
  async #peers(operation: PeerOperation): Promise<string | undefined> {
    become(root);
    const path = join(this.#mount.base, operation.path);
    const got =
      operation.op === 'setQuota' ? await setQuota(path, operation.blocks, operation.inodes) : await removeQuota(path);
    return difference(operation, 'the model', this.model.apply(operation), got);
  }

  /** In a tree that has a quota. */
  #limited(operation: Operation, tree: QuotaTree): { readonly got: Outcome; readonly differs: string | undefined } {
    const path = this.model.pathOf(tree.root);
    const isWhole = this.model.isWhole(operation);
    const before = this.#mount.statfs(path);
    const got = this.#mount.apply(operation, 0);
    const after = this.#mount.statfs(path);
    if (typeof before === 'string' || typeof after === 'string') return { got, differs: `statfs of ${path} fails` };
    return { got, differs: judge(tree, operation, got, before, after, isWhole) };
  }

  /** An open that failed leaves no descriptor in its slot. */
  #leaveClosed(operation: Operation): void {
    if ((operation.op !== 'open' && operation.op !== 'tmpfile') || !this.model.open.delete(operation.slot)) return;
    this.#reference.apply({ op: 'close', slot: operation.slot }, 0);
  }

  /** Compares all that is there. */
  async verify(): Promise<string | undefined> {
    become(root);
    for (const [path, node] of this.model.paths()) {
      const wrong = this.#verifyAt(this.#mount, path, node) ?? this.#verifyAt(this.#reference, path, node);
      if (wrong !== undefined) return wrong;
      const number = this.#verifyNumber(path, node);
      if (number !== undefined) return number;
    }
    for (const [name, snapshot] of this.model.snapshots) {
      const wrong = snapshot.verify(this.#mount, name);
      if (wrong !== undefined) return wrong;
    }
    for (const [slot, file] of this.model.open) {
      const wrong = this.#verifyOpen(slot, file);
      if (wrong !== undefined) return wrong;
    }
    for (const tree of this.model.quotas.trees) {
      const path = this.model.pathOf(tree.root);
      const wrong = await verifyUse(
        tree,
        () => this.#mount.statfs(path),
        () => this.#useOf(tree),
      );
      if (wrong !== undefined) return `${path}: ${wrong}`;
    }
    return undefined;
  }

  /** Undefined where something of it is only mapped, so that nobody can ask for its blocks. */
  #useOf(tree: QuotaTree): { readonly blocks: number; readonly inodes: number } | string | undefined {
    const paths = new Map([...this.model.paths()].map(([path, node]) => [node, path]));
    const slots = new Map([...this.model.open].map(([slot, { node }]) => [node, slot]));
    const mapped = new Set([...this.model.maps.values()].map(({ node }) => node));
    let [blocks, inodes] = [0, 0];
    for (const node of this.model.quotas.members(tree)) {
      const at = paths.get(node) ?? slots.get(node);
      if (at === undefined && mapped.has(node)) return undefined;
      if (at === undefined) continue;
      inodes++;
      const own = node.isFile ? this.#mount.blocks(at) : 0;
      if (typeof own === 'string') return own;
      blocks += own;
    }
    return { blocks, inodes };
  }

  /** Compares what a crash has left. */
  verifyCrash(): string | undefined {
    become(root);
    return this.#durable.verify(this.#mount);
  }

  /** Everything that is open is closed. */
  closeAll(): void {
    this.model.open.clear();
    this.model.maps.clear();
    this.#mount.closeAll();
    this.#reference.closeAll();
  }

  /** Of what tmpfs has not, only the model can tell. */
  #own(operation: OwnOperation): string | undefined {
    const got = this.#mount.apply(operation, 0);
    return difference(operation, 'the model', this.model.apply(operation), got);
  }

  #seek(operation: Extract<Operation, { op: 'seekData' | 'seekHole' }>): string | undefined {
    const { node } = fileOf(this.model, operation.slot);
    const got = this.#mount.apply(operation, 0);
    const { offset } = operation;
    const say = (problem: string): string =>
      `${printed(operation)}: ${problem}: ${String(got)} in a file of ${node.size}`;
    if (offset >= node.size) return got === 'ENXIO' ? undefined : say('ENXIO expected at the end');
    if (got === 'ENXIO' && operation.op === 'seekData')
      return isZero(node.bytes.subarray(offset)) ? undefined : say('there is data behind');
    if (typeof got !== 'number') return say('a position expected');
    if (got < offset || got > node.size) return say('not in the rest of the file');
    if (operation.op === 'seekData')
      return isZero(node.bytes.subarray(offset, got)) ? undefined : say('passes over data');
    if (got === node.size) return undefined;
    return isZero(node.bytes.subarray(got, Math.ceil((got + 1) / 4096) * 4096)) ? undefined : say('data, not a hole');
  }

  /** One in four operations on names, the same ones in every replay. */
  #watched(operation: Operation): readonly string[] {
    if (!('path' in operation) || printed(operation).length % 4 !== 0) return [];
    if (['utimens', 'readlink', 'list', 'setFlags'].includes(operation.op)) return [];
    // tmpfs notes also that a list is gone which was not there (simple_set_acl); ext4 does not, nor do we.
    if (operation.op === 'removexattr' && operation.name.startsWith('system.')) return [];
    const paths = 'to' in operation && operation.op !== 'symlink' ? [operation.path, operation.to] : [operation.path];
    return paths.flatMap((path) => [path, path.includes('/') ? path.slice(0, path.lastIndexOf('/')) : '.']);
  }

  #times(path: string): { readonly mount: Stat | string; readonly reference: Stat | string } {
    return { mount: this.#mount.stat(path), reference: this.#reference.stat(path) };
  }

  #compareTimes(
    operation: Operation,
    watched: readonly string[],
    before: readonly { readonly mount: Stat | string; readonly reference: Stat | string }[],
    hasFailed: boolean,
  ): string | undefined {
    for (const [i, path] of watched.entries()) {
      const was = before[i];
      const is = this.#times(path);
      const node = this.model.nodeAt(path);
      if (was === undefined || (node !== undefined && this.model.mapped.has(node))) continue;
      for (const time of ['mtime', 'ctime'] as const) {
        const mount = hasChanged(was.mount, is.mount, time);
        const reference = hasChanged(was.reference, is.reference, time);
        // The clock of tmpfs ticks some hundred times a second: two changes may show one time.
        if (mount === reference || (mount === true && !hasFailed)) continue;
        return `${printed(operation)}: ${time} of ${path} ${mount === true ? 'changed' : 'did not change'}, unlike on tmpfs`;
      }
    }
    return undefined;
  }

  #noteMapped(operation: Operation): void {
    if (operation.op === 'mapWrite' || operation.op === 'map')
      this.model.mapped.add(nodeOf(this.model, operation.slot));
  }

  #verifyAt(side: Side, path: string, node: Node): string | undefined {
    const say = (what: string, is: unknown, shouldBe: unknown): string =>
      `${side.name}: ${what} of ${JSON.stringify(path)}: ${show(is)} instead of ${show(shouldBe)}`;
    const stat = side.stat(path);
    if (typeof stat === 'string') return say('lstat', stat, 0);
    const lines = statLines(stat);
    if (path !== '.' && !isSame(lines, statOf(node))) return say('lstat', lines, statOf(node));
    if (node.isDirectory) {
      const entries = side.list(path);
      if (!isSame(entries, listing(node))) return say('entries', entries, listing(node));
    }
    if (node.flag !== 'none') {
      const flags = getFlags(side.path(path));
      if (flags !== flagBits[node.flag]) return say('flags', flags, node.flag);
    }
    if (node.isFile) {
      const wrong = verifyContent(side, path, node);
      if (wrong !== undefined) return say('content', wrong, `${node.size} bytes as written`);
    }
    const names = side.xattrs(path, false);
    if (!isSame(names, [...node.xattrs.keys()].sort())) return say('xattrs', names, [...node.xattrs.keys()].sort());
    for (const [name, value] of node.xattrs) {
      const is = side.xattr(path, name, false);
      if (!isSame(is, value)) return say(name, is, value);
    }
    return undefined;
  }

  /** One number for each inode, and the same one always; a listing shows it too. */
  #verifyNumber(path: string, node: Node): string | undefined {
    const stat = this.#mount.stat(path);
    if (typeof stat === 'string') return stat;
    const known = this.#numbers.get(node) ?? stat.ino;
    this.#numbers.set(node, known);
    if (known !== stat.ino) return `inode number of ${path}: ${stat.ino} instead of ${known}`;
    if (!node.isDirectory) return undefined;
    const entries = this.#mount.entries(path);
    if (isError(entries)) return `entries of ${path}: ${entries}`;
    for (const { name, ino, type } of entries) {
      const child = this.#mount.stat(path === '.' ? name : `${path}/${name}`);
      if (typeof child === 'string' || child.ino !== ino)
        return `readdir of ${path}: ${entryLine(name, type)} has number ${ino}, stat says ${typeof child === 'string' ? child : child.ino}`;
    }
    return undefined;
  }

  #verifyOpen(slot: number, { node, flags }: OpenFile): string | undefined {
    for (const side of [this.#mount, this.#reference]) {
      const stat = side.apply({ op: 'fstat', slot }, 0);
      if (!isSame(stat, statOf(node)) && node !== this.model.root)
        return `${side.name}: fstat of slot ${slot}: ${show(stat)} instead of ${show(statOf(node))}`;
      if (!node.isFile || (flags & 3) === 1) continue;
      const bytes = side.apply({ op: 'pread', slot, offset: 0, length: node.size + 1 }, 0);
      const wrong = contentDifference(bytes, node.bytes);
      if (wrong !== undefined) return `${side.name}: content of slot ${slot}: ${wrong}`;
    }
    return undefined;
  }
}

function isPeers(operation: Operation): operation is PeerOperation {
  return operation.op === 'setQuota' || operation.op === 'removeQuota';
}

/** A write goes as far as the quota does. */
function withRoomFor(operation: Operation, got: Outcome): Operation {
  const canBeLess = operation.op === 'write' || operation.op === 'pwrite' || operation.op === 'copy';
  return canBeLess && typeof got === 'number' && got < operation.length ? { ...operation, length: got } : operation;
}

type OwnOperation = Extract<Operation, { op: 'snapshot' | 'unsnapshot' | 'cow' }>;

function isOwn(operation: Operation): operation is OwnOperation {
  return operation.op === 'snapshot' || operation.op === 'unsnapshot' || operation.op === 'cow';
}

function difference(
  operation: Operation,
  by: string,
  expected: Outcome,
  got: Outcome,
  side = 'the filesystem',
): string | undefined {
  if (isSame(expected, got)) return undefined;
  const detail = Buffer.isBuffer(expected) && Buffer.isBuffer(got) ? ` (${contentDifference(got, expected)})` : '';
  return `${printed(operation)}: ${side} answers ${show(got)}, ${by} ${show(expected)}${detail}`;
}

function verifyContent(side: Side, path: string, node: Node): string | undefined {
  const wrong = contentDifference(side.content(path), node.bytes);
  if (wrong !== undefined) return wrong;
  const segments = side.segments(path);
  if (isError(segments)) return `SEEK_DATA: ${segments}`;
  let end = 0;
  for (let i = 0; i < segments.length; i += 2) {
    const start = segments[i] ?? node.size;
    if (!isZero(node.bytes.subarray(end, start))) return `data in a hole between ${end} and ${start}`;
    end = segments[i + 1] ?? node.size;
  }
  return isZero(node.bytes.subarray(end)) ? undefined : `data in the hole from ${end} on`;
}

export function contentDifference(is: Outcome, shouldBe: Buffer): string | undefined {
  if (!Buffer.isBuffer(is)) return show(is);
  if (is.equals(shouldBe)) return undefined;
  const length = Math.min(is.length, shouldBe.length);
  let at = 0;
  while (at < length && is[at] === shouldBe[at]) at++;
  if (at === length) return `${is.length} bytes instead of ${shouldBe.length}`;
  let end = at;
  while (end < length && is[end] !== shouldBe[end]) end++;
  return `bytes ${at} to ${end} of ${shouldBe.length}: ${is[at]} instead of ${shouldBe[at]}`;
}

function hasChanged(before: Stat | string, after: Stat | string, time: 'mtime' | 'ctime'): boolean | undefined {
  if (typeof before === 'string' || typeof after === 'string') return undefined;
  return before.ino === after.ino ? before[time] !== after[time] : undefined;
}

function isZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0);
}

function show(value: unknown): string {
  if (Buffer.isBuffer(value)) return `${value.length} bytes`;
  return Array.isArray(value) ? value.join(', ') : String(value);
}

function fileOf(model: Model, slot: number): OpenFile {
  const file = model.open.get(slot);
  if (file === undefined) throw new Error(`slot ${slot} is not open`);
  return file;
}

function nodeOf(model: Model, slot: number): Node {
  return fileOf(model, slot).node;
}
