/**
 * What the open group has to write. Operations name what they changed; the records are encoded once, when the group is
 * sealed, from the state as it is then: a thousand writes to one file are one inode record.
 */
import { encodeDentry, encodeExtent, encodeInode, encodeProvisional } from '../format/codec.ts';
import { dentryKey, extentKey, inodeKey, provisionalKey } from '../format/keys.ts';
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

  #inodes = new Set<Inode>();
  #deleted = new Set<number>();
  #dentries = new Map<Directory, Map<Name, Dentry | undefined>>();
  #extents = new Map<number, Set<number>>();
  #provisional = new Map<number, Set<number>>();
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
    const { open } = this.#group();
    if (inode.group === open) return;
    inode.group = open;
    this.#inodes.add(inode);
    this.#count();
  }

  inodeDeleted(inode: Inode): void {
    this.#inodes.delete(inode);
    this.#deleted.add(inode.ino);
    this.#count();
  }

  dentry(directory: Directory, name: Name, entry: Dentry | undefined): void {
    directory.group = this.#group().open;
    let names = this.#dentries.get(directory);
    if (names === undefined) {
      names = new Map();
      this.#dentries.set(directory, names);
    }
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

  /** Any other record, encoded already; undefined deletes it. */
  record(key: Uint8Array, value: Uint8Array | undefined): void {
    this.#raw.set(Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('latin1'), { key, value });
    this.#count();
  }

  /** Everything changed so far, encoded; the next group starts empty. Also answers the directories it changed. */
  collect(): { readonly ops: StoreOp[]; readonly directories: readonly Directory[] } {
    const ops: StoreOp[] = [...this.#raw.values()];
    for (const ino of this.#deleted) ops.push({ key: inodeKey(ino), value: undefined });
    for (const inode of this.#inodes) ops.push({ key: inodeKey(inode.ino), value: encodeInode(inode) });
    for (const [directory, names] of this.#dentries) {
      for (const [name, entry] of names) {
        ops.push({ key: dentryKey(directory.ino, name), value: entry === undefined ? undefined : encodeDentry(entry) });
      }
    }
    for (const [ino, fileBlocks] of this.#extents) {
      const map = this.#extentMaps.get(ino);
      for (const fileBlock of fileBlocks) {
        const extent = map?.at(fileBlock);
        const value = extent === undefined ? undefined : encodeExtent({ ...extent, device: 0, flags: extent.mark });
        ops.push({ key: extentKey(ino, fileBlock), value });
      }
    }
    for (const [ino, fileBlocks] of this.#provisional) {
      const map = this.#provisionalMaps.get(ino);
      for (const fileBlock of fileBlocks) {
        const extent = map?.at(fileBlock);
        const value =
          extent === undefined ? undefined : encodeProvisional({ ...extent, device: 0, clientId: extent.mark });
        ops.push({ key: provisionalKey(ino, fileBlock), value });
      }
    }
    const directories = [...this.#dentries.keys()];
    this.#inodes = new Set();
    this.#deleted = new Set();
    this.#dentries = new Map();
    this.#extents = new Map();
    this.#provisional = new Map();
    this.#raw = new Map();
    this.#size = 0;
    return { ops, directories };
  }

  #count(): void {
    this.#size++;
    this.#group().dirty();
  }

  #toucher(sets: Map<number, Set<number>>, ino: number): (fileBlock: number) => void {
    let set = sets.get(ino);
    return (fileBlock) => {
      if (set === undefined) {
        set = new Set();
        sets.set(ino, set);
      }
      if (set.has(fileBlock)) return;
      set.add(fileBlock);
      this.#count();
    };
  }
}
