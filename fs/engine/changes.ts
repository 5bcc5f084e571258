/**
 * What the open group has to write. Operations name what they changed; the records are encoded once, when the group is
 * sealed, from the state as it is then: a thousand writes to one file are one inode record, and a file that came and
 * went within the group is none at all.
 */
import { encodeDentry, encodeExtent, encodeInode, encodeOrphan, encodeProvisional } from '../format/codec.ts';
import { dentryKey, extentKey, inodeKey, orphanKey, provisionalKey } from '../format/keys.ts';
import type { GroupCommit } from '../meta/group-commit.ts';
import type { StoreOp } from '../meta/store.ts';
import type { Name } from '../name.ts';
import type { Dentry, Directory } from './directory.ts';
import type { ExtentMap } from './extents.ts';
import type { Inode } from './inode.ts';

interface MapsByFile {
  get(ino: number): ExtentMap | undefined;
}

export class Changes {
  readonly #group: () => GroupCommit;
  readonly #extentMaps: MapsByFile;
  readonly #provisionalMaps: MapsByFile;

  /** Each once; some may have been deleted since. */
  #inodes: Inode[] = [];
  /** Of those that the store may have. */
  #deleted: number[] = [];
  /** By inode number: an orphan that the store has not, one that it may have, or none any more. */
  #orphans = new Map<number, 'new' | 'again' | 'none'>();
  #dentries = new Map<Directory, Map<Name, Dentry | undefined>>();
  /** Entries under names that the store may have: another was removed there in this group. */
  #replacing = new Set<Dentry>();
  #extents = new BlocksByFile();
  /** Of the group that is being written. */
  #sealedExtents: BlocksByFile | undefined;
  #provisional = new BlocksByFile();
  #raw = new Map<string, StoreOp>();
  #size = 0;

  constructor(group: () => GroupCommit, extents: MapsByFile, provisional: MapsByFile) {
    this.#group = group;
    this.#extentMaps = extents;
    this.#provisionalMaps = provisional;
  }

  /** Records waiting for the next group. */
  get size(): number {
    return this.#size;
  }

  inode(inode: Inode): void {
    inode.needed = this.#group().open;
    this.times(inode);
  }

  /** Nothing but its times and its change attribute: what it contains is found without. */
  times(inode: Inode): void {
    const { open } = this.#group();
    if (inode.group === open) return;
    inode.group = open;
    this.#inodes.push(inode);
    this.#count();
  }

  /** One that the store does not have. */
  inodeCreated(inode: Inode): void {
    inode.born = this.#group().open;
    this.inode(inode);
  }

  /** With its extents, which are unmapped already. */
  inodeDeleted(inode: Inode): void {
    inode.isGone = true;
    if (inode.born === this.#group().open) {
      this.#extents.forget(inode.ino);
      return;
    }
    this.#deleted.push(inode.ino);
    this.#count();
  }

  orphan(ino: number, is: boolean): void {
    const known = this.#orphans.get(ino);
    if (!is && known === 'new') {
      this.#orphans.delete(ino);
      return;
    }
    if (is) this.#orphans.set(ino, known === undefined ? 'new' : 'again');
    else this.#orphans.set(ino, 'none');
    this.#count();
  }

  dentry(directory: Directory, name: Name, entry: Dentry | undefined): void {
    directory.group = this.#group().open;
    let names = this.#dentries.get(directory);
    if (names === undefined) {
      names = new Map();
      this.#dentries.set(directory, names);
    }
    const known = names.get(name);
    if (entry === undefined && known !== undefined && !this.#replacing.has(known)) {
      names.delete(name); // came in this group
      return;
    }
    if (entry !== undefined && names.has(name)) this.#replacing.add(entry);
    names.set(name, entry);
    this.#count();
  }

  /** For ExtentMap's `touch`. */
  extentsOf(ino: number): (fileBlock: number) => void {
    return this.#toucher(this.#extents, ino);
  }

  provisionalOf(ino: number): (fileBlock: number) => void {
    return this.#toucher(this.#provisional, ino);
  }

  /** After a crash now the file might be shorter, or have its data elsewhere: what says so is not durable. */
  mayMove(inode: Inode): boolean {
    const { ino, needed } = inode;
    return needed > this.#group().durable || this.#extents.has(ino) || this.#sealedExtents?.has(ino) === true;
  }

  /** The group that was collected last is durable. */
  durable(): void {
    this.#sealedExtents = undefined;
  }

  /** Any other record, encoded already; undefined deletes it. */
  record(key: Uint8Array, value: Uint8Array | undefined): void {
    this.#raw.set(Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('latin1'), { key, value });
    this.#count();
  }

  /** Everything changed so far, encoded; the next group starts empty. Also answers the directories it changed. */
  collect(): { readonly ops: StoreOp[]; readonly directories: readonly Directory[] } {
    const ops: StoreOp[] = [...this.#raw.values()];
    for (const ino of this.#deleted) ops.push({ key: inodeKey(ino), value: undefined });
    for (const inode of this.#inodes) {
      if (!inode.isGone) ops.push({ key: inodeKey(inode.ino), value: encodeInode(inode) });
    }
    for (const [ino, is] of this.#orphans) {
      ops.push({ key: orphanKey(ino), value: is === 'none' ? undefined : encodeOrphan() });
    }
    for (const [directory, names] of this.#dentries) {
      for (const [name, entry] of names) {
        ops.push({ key: dentryKey(directory.ino, name), value: entry === undefined ? undefined : encodeDentry(entry) });
      }
    }
    this.#extents.each((ino, fileBlock) => {
      const extent = this.#extentMaps.get(ino)?.at(fileBlock);
      const value =
        extent === undefined
          ? undefined
          : encodeExtent({ device: 0, block: extent.block, length: extent.length, flags: extent.mark });
      ops.push({ key: extentKey(ino, fileBlock), value });
    });
    this.#provisional.each((ino, fileBlock) => {
      const extent = this.#provisionalMaps.get(ino)?.at(fileBlock);
      const value =
        extent === undefined ? undefined : encodeProvisional({ ...extent, device: 0, clientId: extent.mark });
      ops.push({ key: provisionalKey(ino, fileBlock), value });
    });
    const directories = [...this.#dentries.keys()];
    this.#inodes = [];
    this.#deleted = [];
    this.#orphans = new Map();
    this.#dentries = new Map();
    if (this.#replacing.size > 0) this.#replacing = new Set();
    this.#sealedExtents = this.#extents;
    this.#extents = new BlocksByFile();
    this.#provisional = new BlocksByFile();
    this.#raw = new Map();
    this.#size = 0;
    return { ops, directories };
  }

  #count(): void {
    this.#size++;
    this.#group().dirty();
  }

  #toucher(blocks: BlocksByFile, ino: number): (fileBlock: number) => void {
    return (fileBlock) => {
      if (blocks.add(ino, fileBlock)) this.#count();
    };
  }
}

/** File blocks by inode number, each once. Most files have one, which needs no set. */
class BlocksByFile {
  readonly #of = new Map<number, number | Set<number>>();

  /** False: it was there. */
  add(ino: number, fileBlock: number): boolean {
    const known = this.#of.get(ino);
    if (known === undefined) this.#of.set(ino, fileBlock);
    else if (typeof known === 'number') {
      if (known === fileBlock) return false;
      this.#of.set(ino, new Set([known, fileBlock]));
    } else {
      const before = known.size;
      return known.add(fileBlock).size > before;
    }
    return true;
  }

  has(ino: number): boolean {
    return this.#of.has(ino);
  }

  forget(ino: number): void {
    this.#of.delete(ino);
  }

  each(visit: (ino: number, fileBlock: number) => void): void {
    for (const [ino, known] of this.#of) {
      if (typeof known === 'number') visit(ino, known);
      else for (const fileBlock of known) visit(ino, fileBlock);
    }
  }
}
