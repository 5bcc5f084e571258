/**
 * Random operations on names against a tree in memory: every answer, every link count and every listing is compared;
 * fsck looks at what a crash leaves and at the end. Files that are open without a name count too.
 */
import { fc, test } from '@fast-check/vitest';
import { expect } from 'vitest';
import type { Handle, RenameMode, Vfs } from '../../fs/vfs.ts';
import { errnoOfCall, Lab, n, root } from '../support/filesystem.ts';
import { list } from './fixture.ts';

interface Node {
  ino: number;
  readonly kind: 'file' | 'directory' | 'symlink' | 'whiteout';
  links: number;
  /** Of a directory. */
  readonly entries: Map<string, Node>;
  parent: Node | undefined;
  opens: number;
}

/** Each run takes a tenth of a second where nothing else runs. */
const runsMs = 600_000;
const index = fc.nat({ max: 1000 });
const name = fc.constantFrom('a', 'b', 'c');
const place = fc.record({ dir: index, name });
const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ op: fc.constantFrom('create', 'mkdir', 'mkdir', 'symlink'), at: place }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('link'), node: index, at: place }) },
  { weight: 4, arbitrary: fc.record({ op: fc.constantFrom('unlink', 'rmdir'), at: place }) },
  {
    weight: 6,
    arbitrary: fc.record({
      op: fc.constant('rename'),
      at: place,
      to: place,
      mode: fc.constantFrom<RenameMode>(
        'replace',
        'replace',
        'noreplace',
        'exchange',
        'exchange',
        'whiteout',
        'noreplace-whiteout',
      ),
    }),
  },
  { weight: 2, arbitrary: fc.record({ op: fc.constantFrom('open', 'close'), node: index }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constantFrom('remount', 'crash') }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;
type Place = { readonly dir: number; readonly name: string };

/** What the manual pages say about a tree of names, for root. */
class Tree {
  readonly root: Node = newNode('directory', undefined);

  directories(): readonly Node[] {
    return this.nodes().filter(({ kind }) => kind === 'directory');
  }

  /** Every node that has a name, each once; the root first. */
  nodes(): readonly Node[] {
    const found = new Set<Node>([this.root]);
    for (const node of found) for (const child of node.entries.values()) found.add(child);
    return [...found];
  }

  /** @returns the errno it fails with */
  enter(dir: Node, as: string, node: Node): string | undefined {
    if (dir.entries.has(as)) return 'EEXIST';
    dir.entries.set(as, node);
    if (node.kind === 'directory') {
      node.parent = dir;
      dir.links++;
    }
    return undefined;
  }

  link(node: Node, dir: Node, as: string): string | undefined {
    if (node.kind === 'directory') return 'EPERM';
    const failed = this.enter(dir, as, node);
    if (failed === undefined) node.links++;
    return failed;
  }

  unlink(dir: Node, as: string): string | undefined {
    const node = dir.entries.get(as);
    if (node === undefined) return 'ENOENT';
    if (node.kind === 'directory') return 'EISDIR';
    dir.entries.delete(as);
    node.links--;
    return undefined;
  }

  rmdir(dir: Node, as: string): string | undefined {
    const node = dir.entries.get(as);
    if (node === undefined) return 'ENOENT';
    if (node.kind !== 'directory') return 'ENOTDIR';
    if (node.entries.size > 0) return 'ENOTEMPTY';
    dir.entries.delete(as);
    dir.links--;
    node.links = 0;
    return undefined;
  }

  rename(from: Node, as: string, to: Node, toName: string, mode: RenameMode): string | undefined {
    const node = from.entries.get(as);
    if (node === undefined) return 'ENOENT';
    if (from !== to && isBelow(to, node)) return 'EINVAL';
    const victim = to.entries.get(toName);
    if (mode === 'exchange') {
      if (victim === undefined) return 'ENOENT';
      if (from !== to && isBelow(from, victim)) return 'EINVAL';
      this.#put(from, as, victim);
      this.#put(to, toName, node);
      if (node.kind === 'directory') this.#moved(from, to);
      if (victim.kind === 'directory') this.#moved(to, from);
      return undefined;
    }
    if (victim !== undefined) {
      if (mode.startsWith('noreplace')) return 'EEXIST';
      if (victim === node) return undefined;
      if (victim.kind === 'directory' && node.kind !== 'directory') return 'EISDIR';
      if (victim.kind !== 'directory' && node.kind === 'directory') return 'ENOTDIR';
      const failed = victim.kind === 'directory' ? this.rmdir(to, toName) : this.unlink(to, toName);
      if (failed !== undefined) return failed;
    }
    from.entries.delete(as);
    this.#put(to, toName, node);
    if (node.kind === 'directory') this.#moved(from, to);
    if (mode.endsWith('whiteout')) this.#put(from, as, newNode('whiteout', from));
    return undefined;
  }

  #put(dir: Node, as: string, node: Node): void {
    dir.entries.set(as, node);
    if (node.kind === 'directory') node.parent = dir;
  }

  #moved(from: Node, to: Node): void {
    from.links--;
    to.links++;
  }
}

function newNode(kind: Node['kind'], parent: Node | undefined): Node {
  return { ino: 1, kind, links: kind === 'directory' ? 2 : 1, entries: new Map(), parent, opens: 0 };
}

function isBelow(directory: Node, node: Node): boolean {
  for (let at: Node | undefined = directory; at !== undefined; at = at.parent) if (at === node) return true;
  return false;
}

/** The filesystem and the tree, changed together. */
class Exerciser {
  readonly #lab: Lab;
  readonly #tree = new Tree();
  #open: { readonly node: Node; readonly handle: Handle }[] = [];

  constructor(lab: Lab) {
    this.#lab = lab;
  }

  async apply(s: Step): Promise<void> {
    switch (s.op) {
      case 'create':
      case 'mkdir':
      case 'symlink':
        await this.#make(s.op, s.at);
        break;
      case 'link':
        await this.#link(s.node, s.at);
        break;
      case 'unlink':
      case 'rmdir':
        await this.#remove(s.op, s.at);
        break;
      case 'rename':
        await this.#rename(s.at, s.to, s.mode);
        break;
      case 'open':
        await this.#openFile(s.node);
        break;
      case 'close':
        await this.#closeFile(s.node);
        break;
      case 'remount':
        this.#open = [];
        await this.#lab.remount();
        break;
      case 'crash':
        await this.#crash();
        break;
    }
  }

  /** Everything is as the tree says. */
  async check(lab: Lab = this.#lab, orphans = this.#orphans()): Promise<void> {
    const { vfs } = lab;
    const nodes = this.#tree.nodes();
    for (const node of nodes) {
      const { nlink } = await vfs.getattr(node.ino, root);
      expect(nlink, `links of ${node.kind} ${node.ino}`).toBe(node.links);
      if (node.kind !== 'directory') continue;
      expect((await list(vfs, node.ino, 3)).sort()).toEqual(['.', '..', ...node.entries.keys()].sort());
      for (const [as, child] of node.entries) {
        expect((await vfs.lookup(node.ino, n(as), root)).ino).toBe(child.ino);
      }
      expect((await vfs.lookup(node.ino, '..', root)).ino).toBe(node.parent?.ino ?? node.ino);
    }
    expect(lab.fs.status().inodes).toBe(nodes.length + orphans);
  }

  #orphans(): number {
    return new Set(this.#open.map(({ node }) => node).filter(({ links }) => links === 0)).size;
  }

  get #vfs(): Vfs {
    return this.#lab.vfs;
  }

  #dir({ dir }: Place): Node {
    const directories = this.#tree.directories();
    return directories[dir % directories.length] ?? this.#tree.root;
  }

  async #make(op: 'create' | 'mkdir' | 'symlink', to: Place): Promise<void> {
    const dir = this.#dir(to);
    const node = newNode(op === 'create' ? 'file' : op === 'mkdir' ? 'directory' : 'symlink', dir);
    const failed = await errnoOfCall(async () => {
      if (op === 'mkdir') node.ino = (await this.#vfs.mkdir(dir.ino, n(to.name), 0o755, root)).ino;
      else if (op === 'create') node.ino = (await this.#vfs.mknod(dir.ino, n(to.name), 0o100644, 0, root)).ino;
      else node.ino = (await this.#vfs.symlink(dir.ino, n(to.name), Buffer.from('target'), root)).ino;
    });
    expect(failed).toBe(this.#tree.enter(dir, to.name, node));
  }

  async #link(which: number, to: Place): Promise<void> {
    const nodes = this.#tree.nodes();
    const node = nodes[which % nodes.length] ?? this.#tree.root;
    const dir = this.#dir(to);
    const failed = await errnoOfCall(() => this.#vfs.link(node.ino, dir.ino, n(to.name), root));
    expect(failed).toBe(this.#tree.link(node, dir, to.name));
  }

  async #remove(op: 'unlink' | 'rmdir', from: Place): Promise<void> {
    const dir = this.#dir(from);
    const failed = await errnoOfCall(() => this.#vfs[op](dir.ino, n(from.name), root));
    expect(failed).toBe(this.#tree[op](dir, from.name));
  }

  async #rename(from: Place, to: Place, mode: RenameMode): Promise<void> {
    const [dir, toDir] = [this.#dir(from), this.#dir(to)];
    const failed = await errnoOfCall(() => this.#vfs.rename(dir.ino, n(from.name), toDir.ino, n(to.name), mode, root));
    expect(failed).toBe(this.#tree.rename(dir, from.name, toDir, to.name, mode));
    const left = dir.entries.get(from.name);
    if (left?.kind !== 'whiteout' || failed !== undefined) return;
    const found = await this.#vfs.lookup(dir.ino, n(from.name), root);
    expect(found).toMatchObject({ mode: 0o020000, rdev: 0 });
    left.ino = found.ino;
  }

  async #openFile(which: number): Promise<void> {
    const nodes = this.#tree.nodes().filter(({ kind }) => kind === 'file' || kind === 'directory');
    const node = nodes[which % nodes.length] ?? this.#tree.root;
    const { ino } = node;
    const handle = node.kind === 'directory' ? await this.#vfs.opendir(ino, root) : await this.#vfs.open(ino, 0, root);
    this.#open.push({ node, handle });
  }

  async #closeFile(which: number): Promise<void> {
    const [closed] = this.#open.splice(which % Math.max(this.#open.length, 1), 1);
    if (closed !== undefined) await this.#vfs.release(closed.handle);
  }

  async #crash(): Promise<void> {
    await this.#vfs.syncfs();
    const crashed = await this.#lab.afterCrash();
    try {
      await this.check(crashed, 0);
      expect(await crashed.problems(), 'found by fsck after a crash').toEqual([]);
    } finally {
      await crashed.remove();
    }
  }
}

test.prop([fc.array(step, { minLength: 1, maxLength: 60, size: 'max' })], {
  numRuns: Number(process.env['IOPMEMFS_RUNS'] ?? 100),
})(
  'names, links and listings are what the manual pages say, through crashes and remounts',
  async (steps) => {
    const lab = await Lab.create(64 * 4096);
    try {
      const exerciser = new Exerciser(lab);
      for (const s of steps) {
        await exerciser.apply(s);
        await exerciser.check();
      }
      expect(await lab.problems(), 'found by fsck').toEqual([]);
    } finally {
      await lab.remove();
    }
  },
  runsMs,
);
